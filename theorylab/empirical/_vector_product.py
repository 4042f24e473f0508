"""The tangent kernel as a linear map: products with vectors, and no matrix.

Differs from the paper / reference:
  1. Neural Tangents returns the closure uncompiled. Here each call runs one compiled program, which
     goes forwards and back again every time, so that nothing is held between calls.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from theorylab._tree import leaves_with_names
from theorylab.empirical._function import (
    Split,
    Structure,
    batch,
    batch_shapes,
    hashable,
    require_same_outputs,
    same_kind,
    split_params,
)

Tree = Any


def ntk_vp(
    f: Callable[..., Tree], params: Tree, x1: Tree, x2: Tree | None = None, **kwargs: Any
) -> Callable[[Tree], Tree]:
    r"""Products of the NTK with vectors, without forming it.

    .. math::

        (\Theta v)_{io} = \sum_p \frac{\partial f_o(x_i)}{\partial \theta_p}
            \sum_{j o'} \frac{\partial f_{o'}(x_j)}{\partial \theta_p} v_{jo'}

    over all pairs of outputs: nothing is traced and nothing divided.

    Parameters
    ----------
    f
        Any JAX function ``f(params, x, **kwargs)`` that returns an array (n, ...), or a pytree of
        them. Examples may depend on each other.
    params
        Pytree. Floating leaves are differentiated; others are held fixed.
    x1, x2
        Inputs (n1, ...) and (n2, ...), or pytrees of them. ``x2=None`` means x1.
    **kwargs
        Passed on to ``f``, for both batches alike; see :func:`ntk`.

    Returns
    -------
    callable
        ``product(v)``: from a vector of the shape of ``f(params, x2)`` to one of the shape of
        ``f(params, x1)``, both pytrees if ``f`` returns one (the outputs are then one vector, and
        products between them count). Symmetric and positive semi-definite for ``x2=None``.

    Raises
    ------
    TypeError, ValueError
        As :func:`ntk`; in the call, if ``v`` has not the structure and shapes of ``f(params, x2)``.

    Notes
    -----
    Limits: functions with a ``jax.custom_vjp`` have no forward mode, which is needed here (JAX's
    TypeError says so); :func:`ntk` needs none. Each product costs two forward passes and two
    backward ones, whatever the number of outputs, and their memory for the whole batch; take
    smaller batches and add up if that is too much. float32 in, float32 out; half precision is
    widened. Derivatives through the product exist. The program is compiled once for each ``f`` and
    shapes: pass the same function object again.

    References
    ----------
    Novak, Sohl-Dickstein & Schoenholz (2022), "Fast finite width neural tangent kernel", section
    3.3.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import empirical
    >>> x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    >>> product = empirical.ntk_vp(lambda w, x: x @ w, jnp.zeros(2), x)
    >>> product(jnp.array([1.0, 0.0])).tolist()  # the first column of x x^T
    [5.0, 11.0]
    """
    split, structure = split_params(params, kwargs)
    f = hashable(f)
    x1, n1 = batch("x1", x1)
    shapes = batch_shapes(f, structure, split, x1, n1)
    if x2 is not None:
        x2, n2 = batch("x2", x2)
        same_kind(x1, x2)
        first, shapes = shapes, batch_shapes(f, structure, split, x2, n2)
        require_same_outputs(first, shapes, n1, n2)

    def product(v: Tree) -> Tree:
        return _product(split, x1, x2, _like("v", v, shapes), f, structure)

    return product


def _like(name: str, v: Tree, shapes: Tree) -> Tree:
    here: Any = jax.tree.structure(v)
    there: Any = jax.tree.structure(shapes)
    if here != there:
        raise ValueError(
            f"{name} must have the tree structure of f(params, x2), {there}, got {here}"
        )
    for (leaf_name, leaf), shape in zip(
        leaves_with_names(name, v), jax.tree.leaves(shapes), strict=True
    ):
        if jnp.shape(leaf) != shape.shape:
            raise ValueError(
                f"{leaf_name} must have the shape of f(params, x2), {shape.shape}, "
                f"got {jnp.shape(leaf)}"
            )
    return jax.tree.map(lambda a, s: jnp.asarray(a, s.dtype), v, shapes)


@partial(jax.jit, static_argnums=(4, 5))
def _product(
    split: Split,
    x1: Tree,
    x2: Tree | None,
    v: Tree,
    f: Callable[..., Tree],
    structure: Structure,
) -> Tree:
    def at(floats: list[jax.Array], x: Tree) -> Tree:
        return structure.call(f, split._replace(floats=floats), x)

    pull = jax.vjp(lambda p: at(p, x1 if x2 is None else x2), split.floats)[1]
    return jax.jvp(lambda p: at(p, x1), (split.floats,), (pull(v)[0],))[1]
