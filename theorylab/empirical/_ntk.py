"""The neural tangent kernel of a finite network.

Differs from the paper / reference:
  1. Semantics of ``trace_axes`` and ``diagonal_axes`` are Neural Tangents'; the algorithms are said
     in ``_methods``, the choice between them in ``_cost``.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array

from theorylab.empirical._axes import as_axes, resolve
from theorylab.empirical._cost import choose
from theorylab.empirical._function import (
    Split,
    Structure,
    batch,
    hashable,
    one_example,
    output_shapes,
    same_kind,
    split_params,
)
from theorylab.empirical._methods import METHODS
from theorylab.empirical._tiles import rectangle, square

Tree = Any


def ntk(
    f: Callable[[Tree, Tree], Tree],
    params: Tree,
    x1: Tree,
    x2: Tree | None = None,
    *,
    method: str = "auto",
    trace_axes: int | tuple[int, ...] = (-1,),
    diagonal_axes: int | tuple[int, ...] = (),
    batch_size: int | None = None,
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
        Any JAX function ``f(params, x)`` (flax, equinox, plain). It returns an array (n, ...), or a
        pytree of them; the outputs for one example must not depend on the others of its batch.
    params
        Pytree. Floating leaves are differentiated; others are held fixed.
    x1, x2
        Inputs (n1, ...) and (n2, ...), or pytrees of them. ``x2=None`` means x1 and uses the
        symmetry.
    method
        ``"jacobian"``: contracts Jacobians. ``"vector_product"``: NTK-vector products, cheaper
        where many outputs are kept and the forward pass is cheap. ``"auto"``: the one with fewer
        predicted operations. Their values agree to rounding.
    trace_axes
        Output axes (as of ``f``'s output, the batch being axis 0) over whose pairs to take the
        *mean* of the diagonal. For outputs of shape (n,) the default means no axis.
    diagonal_axes
        Output axes of whose pairs to keep the diagonal alone.
    batch_size
        Rows and columns are computed in tiles of at most so many examples; it need not divide n1 or
        n2. None: as many as keep two tiles of Jacobians inside 512 MiB.

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
        If batches are empty or do not fit, an axis is the batch axis, unknown or given twice, the
        method is unknown, or ``batch_size`` is not a positive whole number.

    Notes
    -----
    Limits: layers that mix the examples of a batch (batch normalisation in training mode) are
    outside the definition and not detected. Integer inputs are passed on to ``f`` (tokens).
    Products inside ``f`` have the precision that ``f`` gives them; those of the kernel have the
    highest. float32 in, float32 out; float16 and bfloat16 parameters, inputs and outputs are
    widened to float32. The function is compiled here, once for each ``f`` and shapes: pass the same
    function object again. Memory: two tiles of Jacobians, tile x outputs x parameters, and the
    result.

    References
    ----------
    Jacot et al. (2018), equation of section 4; Novak, Sohl-Dickstein & Schoenholz (2022), "Fast
    finite width neural tangent kernel", sections 3.2 and 3.3.

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
    if method not in ("auto", *METHODS):
        names = ", ".join(repr(name) for name in ("auto", *METHODS))
        raise ValueError(f"method must be one of {names}, got {method!r}")
    if batch_size is not None and (
        isinstance(batch_size, bool)
        or not isinstance(batch_size, int | np.integer)
        or batch_size < 1
    ):
        raise ValueError(f"batch_size must be a positive whole number or None, got {batch_size!r}")
    trace_axes = as_axes("trace_axes", trace_axes)
    diagonal_axes = as_axes("diagonal_axes", diagonal_axes)
    f = hashable(f)
    split, structure = split_params(params)
    x1, _ = batch("x1", x1)
    if x2 is not None:
        x2, _ = batch("x2", x2)
        same_kind(x1, x2)
    return _ntk(split, x1, x2, f, structure, method, trace_axes, diagonal_axes, batch_size)


@partial(jax.jit, static_argnums=(3, 4, 5, 6, 7, 8))
def _ntk(
    split: Split,
    x1: Tree,
    x2: Tree | None,
    f: Callable[[Tree, Tree], Tree],
    structure: Structure,
    method: str,
    trace_axes: tuple[int, ...],
    diagonal_axes: tuple[int, ...],
    batch_size: int | None,
) -> Tree:
    shapes = output_shapes(f, structure.join(split), x1)
    axes = resolve(shapes, trace_axes, diagonal_axes)
    g = one_example(f, structure, split.fixed)
    n1, n2 = batch("x1", x1)[1], None if x2 is None else batch("x2", x2)[1]
    choice = choose(method, g, split.floats, x1, axes, n1, n2, batch_size)
    way = METHODS[choice.method](g, split.floats, axes, choice.pulled)
    if x2 is None:
        blocks = square(way, x1, axes, choice.tile)
    else:
        blocks = rectangle(way, x1, x2, choice.tile)
    return jax.tree.unflatten(jax.tree.structure(shapes), blocks)
