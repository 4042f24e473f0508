"""The neural tangent kernel of a finite network.

Differs from the paper / reference:
  1. Semantics of ``trace_axes`` and ``diagonal_axes`` are Neural Tangents'; the algorithms are said
     in ``_methods`` and ``_structured``, the choice between them in ``_cost``.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax import Array

from theorylab.empirical._decide import Decision, Question, decide, question
from theorylab.empirical._function import Split
from theorylab.empirical._methods import Method, jacobian, vector_product
from theorylab.empirical._structured import Side, structured
from theorylab.empirical._tiles import rectangle, square

Tree = Any


def ntk(
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
) -> Array | Any:
    r"""Neural tangent kernel of a finite network at its present parameters.

    .. math::

        \Theta_{ij}^{o o'} = \sum_p
            \frac{\partial f_o(x_i)}{\partial \theta_p} \frac{\partial f_{o'}(x_j)}{\partial
            \theta_p}

    With the default ``trace_axes`` and outputs (n, c), the mean over the c outputs of the diagonal:
    :math:`\Theta_{ij} = \tfrac{1}{c} \sum_o \Theta_{ij}^{oo}`.

    Parameters
    ----------
    f
        Any JAX function ``f(params, x, **kwargs)`` (flax, equinox, plain). It returns an array (n,
        ...), or a pytree of them; the outputs for one example must not depend on the others of its
        batch, unless ``batch_axis`` is None.
    params
        Pytree. Floating leaves are differentiated; others are held fixed.
    x1, x2
        Inputs (n1, ...) and (n2, ...), or pytrees of them. ``x2=None`` means x1 and uses the
        symmetry.
    method
        ``"structured"``: the products at the end of each leaf's backward pass are found and their
        operands contracted in pairs, which never forms the Jacobian of a matrix or filter where
        that is dearer; leaves where none is found get their Jacobian. ``"jacobian"``: contracts
        Jacobians. ``"vector_product"``: NTK-vector products. ``"auto"``: the one with the lowest
        predicted cost. Their values agree to rounding (see the limits below); :func:`explain` says
        what would be done.
    trace_axes
        Output axes (as of ``f``'s output, the batch being axis 0) over whose pairs to take the
        *mean* of the diagonal. For outputs of shape (n,) the default means no axis.
    diagonal_axes
        Output axes of whose pairs to keep the diagonal alone.
    batch_size
        Rows and columns are computed in tiles of at most so many examples; it need not divide n1 or
        n2. None: as many as keep what a tile needs inside 512 MiB.
    batch_axis
        0, or None for functions that mix the examples of a batch (batch normalisation in training
        mode): x1 and x2 are then differentiated as two whole batches, without tiles.
    **kwargs
        Passed on to ``f`` as they are, for both batches alike. Arrays are traced, anything else
        (``train=False``) must be hashable and is part of the function. What belongs to single
        examples (a mask for each) goes into ``x``, which may be a pytree.

    Returns
    -------
    Array or pytree
        (n1, n2, ...): for each output axis nothing if traced, its size once if diagonal, else twice
        (o1, o1', o2, o2', ...). A pytree of them if ``f`` returns one (outputs with themselves).

    Raises
    ------
    TypeError
        If a leaf is complex or no array, or an output is not floating point.
    ValueError
        If batches are empty or do not fit, no leaf of ``params`` is floating point, outputs of one
        example and of several differ in shape, an axis is the batch axis, unknown or given twice,
        the method is unknown, ``batch_size`` is not a positive whole number, or ``batch_axis`` is
        neither 0 nor None.

    Notes
    -----
    Limits: with ``batch_axis=0`` layers that mix the examples of a batch are outside the definition
    and not detected. Structured derivatives multiply stored signals by each other and
    backpropagated ones by each other: where the squares of either leave the range of the dtype
    (signals above 1e19 or so in float32) they give infinities or NaN, though Jacobians might not.
    NTK-vector products need forward mode, which a ``jax.custom_vjp`` has not (``"auto"`` knows). A
    pass through ``jax.checkpoint`` is written out by structured derivatives, so that it saves no
    memory there. Integer inputs are passed on to ``f`` (tokens). Products inside ``f`` have the
    precision that ``f`` gives them; those of the kernel have the highest. float32 in, float32 out;
    float16 and bfloat16 parameters, inputs and outputs are widened to float32 (what ``f`` computes
    in half precision inside, structured derivatives multiply in float32). The function is compiled
    here, once for each ``f`` and shapes: pass the same function object again. One that cannot be
    hashed is known by its identity. Memory: what two tiles need, inside 512 MiB, and the result; a
    single example may need more.

    References
    ----------
    Jacot et al. (2018), equation of section 4; Novak, Sohl-Dickstein & Schoenholz (2022), "Fast
    finite width neural tangent kernel", sections 3.2 to 3.4.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import empirical
    >>> x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    >>> linear = lambda w, x: x @ w
    >>> empirical.ntk(linear, jnp.zeros((2, 3)), x).tolist()  # x x^T
    [[5.0, 11.0], [11.0, 25.0]]
    >>> empirical.ntk(linear, jnp.zeros((2, 3)), x, trace_axes=()).shape
    (2, 2, 3, 3)
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
    return _ntk(asked.split, asked.x1, asked.x2, asked.question)


@partial(jax.jit, static_argnums=(3,))
def _ntk(split: Split, x1: Tree, x2: Tree | None, asked: Question) -> Tree:
    decision = decide(asked, split, x1, x2)
    way, whole = _method(decision, split), asked.batch_axis is None
    if whole:
        rows = way.prepare(x1)
        blocks = way.combine(rows, rows if x2 is None else way.prepare(x2))
    elif x2 is None:
        blocks = square(way, x1, decision.axes, decision.choice.tile)
    else:
        blocks = rectangle(way, x1, x2, decision.choice.tile)
    return jax.tree.unflatten(jax.tree.structure(decision.shapes), blocks)


def _method(decision: Decision, split: Split) -> Method:
    choice, whole = decision.choice, decision.whole
    if choice.method == "structured":
        rows, columns = (
            Side(reads, [r.forms(kept) for r, kept in zip(reads, choice.kept, strict=True)])
            for reads in (decision.reads, decision.column_reads)
        )
        return structured(rows, columns, split.floats, whole=whole)
    if choice.method == "jacobian":
        return jacobian(decision.g, split.floats, decision.axes, whole=whole)
    return vector_product(decision.g, split.floats, decision.axes, choice.pulled, whole=whole)
