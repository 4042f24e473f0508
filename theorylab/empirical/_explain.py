"""What the empirical NTK would do, leaf by leaf, without doing it.

Differs from the paper / reference:
  1. No paper. Neural Tangents chooses by compiling every method and asking the compiler for
     operation counts; the prediction here comes from shapes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from theorylab._tree import leaves_with_names
from theorylab.empirical._decide import Decision, decide, question
from theorylab.empirical._forms import held_entries

Tree = Any


class Info(NamedTuple):
    """What :func:`ntk` would do.

    Attributes
    ----------
    method
        The algorithm: ``"structured"``, ``"jacobian"`` or ``"vector_product"``.
    reasons
        For each leaf of the parameters, by its path, a sentence that begins with the leaf's own
        method: ``"structured"`` where the product that makes its gradient was found (or it is a
        vector, or unused), ``"jacobian"`` where it falls back, ``"fixed"`` where it is not
        differentiated.
    flops
        Predicted cost in operations; a byte of Jacobians or intermediate products counts as 40.
    bytes
        Predicted bytes of temporaries, the result not included.
    leaves
        For each leaf the first word of its reason.

    Examples
    --------
    >>> from theorylab.empirical import Info
    >>> Info("jacobian", {"params": "jacobian: asked for"}, 8.0, 16.0, {"params": "jacobian"}).bytes
    16.0
    """

    method: str
    reasons: dict[str, str]
    flops: float
    bytes: float
    leaves: dict[str, str]


def explain(
    f: Callable[..., Tree],
    params: Tree,
    x1: Tree,
    x2: Tree | None = None,
    *,
    method: str = "auto",
    trace_axes: int | tuple[int, ...] = (-1,),
    diagonal_axes: int | tuple[int, ...] = (),
    batch_size: int | None = None,
    batch_axis: int | None = 0,
    **kwargs: Any,
) -> Info:
    r"""Say what :func:`ntk` would do with the same arguments, leaf by leaf, and why.

    Nothing is computed: ``f`` is traced. With P parameters in a leaf and O outputs, the Jacobian of
    a leaf takes O P numbers for each example; the operands of its product usually take far fewer.

    Parameters
    ----------
    f, params, x1, x2, method, trace_axes, diagonal_axes, batch_size, batch_axis, **kwargs
        As in :func:`ntk`.

    Returns
    -------
    Info
        ``method``, ``reasons`` (a sentence for each leaf), ``flops``, ``bytes``, ``leaves``.

    Raises
    ------
    TypeError, ValueError
        As :func:`ntk`.

    Notes
    -----
    Limits: costs are predictions from shapes, good to a factor of a few; the compiler may do
    better. float32 and float64 differ in bytes alone.

    References
    ----------
    Novak, Sohl-Dickstein & Schoenholz (2022), "Fast finite width neural tangent kernel", table 1.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import empirical
    >>> x, w = jnp.ones((2, 30)), {"hidden": jnp.ones((30, 50)), "out": jnp.ones((50, 5))}
    >>> f = lambda w, x: jnp.tanh(x @ w["hidden"]) @ jnp.sin(w["out"])
    >>> info = empirical.explain(f, w, x, method="structured")
    >>> info.leaves
    {"params['hidden']": 'structured', "params['out']": 'structured'}
    """
    asked = question(
        f,
        params,
        x1,
        x2,
        method=method,
        trace_axes=trace_axes,
        diagonal_axes=diagonal_axes,
        batch_size=batch_size,
        batch_axis=batch_axis,
        kwargs=kwargs,
    )
    decision = decide(asked.question, asked.split, asked.x1, asked.x2)
    itemsize = max(np.dtype(leaf.dtype).itemsize for leaf in asked.split.floats)
    said = iter(_said(decision, len(asked.split.floats), itemsize, asked.question.method))
    named = leaves_with_names("params", params)
    own = asked.question.structure.is_float
    reasons = {
        name: next(said) if is_float else "fixed: not floating point"
        for (name, _), is_float in zip(named, own, strict=True)
    }
    leaves = {name: reason.split(":")[0] for name, reason in reasons.items()}
    choice = decision.choice
    return Info(choice.method, reasons, choice.flops, choice.bytes, leaves)


def _said(decision: Decision, count: int, itemsize: int, asked: str) -> list[str]:
    method = decision.choice.method
    if method != "structured":
        why = "asked for" if asked == method else "the lowest predicted cost of the three methods"
        return [f"{method}: {why}"] * count
    return [_leaf(decision, k, itemsize) for k in range(count)]


def _leaf(decision: Decision, k: int, itemsize: int) -> str:
    """One leaf, for all outputs: what the first of them says that is not recognised, or else."""
    sentences = []
    for read, choice in zip(decision.reads, decision.choice.kept, strict=True):
        leaf = read.leaves[k]
        if not leaf.recognised:
            return f"jacobian: {leaf.reason}"
        text = f"structured: {leaf.reason}"
        if leaf.kept is not None:
            kept, formed = (
                itemsize * held_entries(read, each) for each in (leaf.kept, leaf.formed)
            )
            text += (
                f"; operands kept, {kept:.3g} bytes an example for {formed:.3g} of its Jacobian"
                if choice[k]
                else f"; multiplied out first, which is cheaper: {formed:.3g} bytes an example"
            )
        sentences.append(text)
    return sentences[0]
