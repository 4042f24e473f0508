"""The function-space kernel of one finite network: products of its outputs.

Differs from the paper / reference:
  1. Semantics of the axes are Neural Tangents'. This is one sample; the NNGP is its mean over
     initialisations, and its limit for wide networks where the traced axis grows.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax import Array

from theorylab.empirical._axes import as_axes, contract_outputs, resolve
from theorylab.empirical._function import (
    Split,
    Structure,
    batch,
    hashable,
    output_shapes,
    same_kind,
    split_params,
)

Tree = Any


def nngp(
    f: Callable[..., Tree],
    params: Tree,
    x1: Tree,
    x2: Tree | None = None,
    *,
    trace_axes: int | tuple[int, ...] = (-1,),
    diagonal_axes: int | tuple[int, ...] = (),
    **kwargs: Any,
) -> Array | Any:
    r"""Products of the outputs of one network, a sample of its NNGP kernel.

    .. math::

        K_{ij}^{o o'} = f_o(x_i)\, f_{o'}(x_j)

    With the default ``trace_axes`` and outputs (n, c): :math:`\tfrac{1}{c} \sum_o f_o(x_i)
    f_o(x_j)`.

    Parameters
    ----------
    f
        Any JAX function ``f(params, x, **kwargs)`` that returns an array (n, ...), or a pytree of
        them.
    params
        Pytree of parameters.
    x1, x2
        Inputs (n1, ...) and (n2, ...), or pytrees of them. ``x2=None`` means x1.
    trace_axes, diagonal_axes
        Output axes to average the diagonal over, and to keep the diagonal of; see :func:`ntk`.
    **kwargs
        Passed on to ``f``, for both batches alike; see :func:`ntk`.

    Returns
    -------
    Array or pytree
        (n1, n2, ...) with the axes that :func:`ntk` has.

    Raises
    ------
    TypeError, ValueError
        As :func:`ntk`.

    Notes
    -----
    Limits: a single sample; its relative error against the mean over initialisations is of order
    one over the square root of the traced size. float32 in, float32 out; half precision is widened.

    References
    ----------
    Neal (1994), chapter 2; Lee et al. (2018), equation 1.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import empirical
    >>> x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    >>> empirical.nngp(lambda w, x: x * w, jnp.array([1.0, 1.0]), x).tolist()
    [[2.5, 5.5], [5.5, 12.5]]
    """
    trace_axes = as_axes("trace_axes", trace_axes)
    diagonal_axes = as_axes("diagonal_axes", diagonal_axes)
    f = hashable(f)
    split, structure = split_params(params, kwargs)
    x1, _ = batch("x1", x1)
    if x2 is not None:
        x2, _ = batch("x2", x2)
        same_kind(x1, x2)
    return _nngp(split, x1, x2, f, structure, trace_axes, diagonal_axes)


@partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _nngp(
    split: Split,
    x1: Tree,
    x2: Tree | None,
    f: Callable[..., Tree],
    structure: Structure,
    trace_axes: tuple[int, ...],
    diagonal_axes: tuple[int, ...],
) -> Tree:
    shapes = output_shapes(f, structure, split, x1)
    axes = resolve(shapes, trace_axes, diagonal_axes)
    out1 = jax.tree.leaves(structure.call(f, split, x1))
    out2 = out1 if x2 is None else jax.tree.leaves(structure.call(f, split, x2))
    blocks = [contract_outputs(a, b, out) for a, b, out in zip(out1, out2, axes, strict=True)]
    return jax.tree.unflatten(jax.tree.structure(shapes), blocks)
