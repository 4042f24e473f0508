"""The network as a linear function of its parameters, around where they are.

Differs from the paper / reference:
  1. Leaves that are not floating point (counters, random keys) are those of the expansion point.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from theorylab.empirical._function import Split, hashable, split_params

Tree = Any


def linearize(f: Callable[..., Tree], params: Tree) -> Callable[..., Tree]:
    r"""First-order Taylor expansion of a network in its parameters.

    .. math::

        f_{\text{lin}}(\theta, x) = f(\theta_0, x) + \nabla_\theta f(\theta_0, x) \cdot (\theta -
        \theta_0)

    Parameters
    ----------
    f
        Any JAX function ``f(params, x, ...)`` that returns a pytree of arrays.
    params
        The expansion point :math:`\theta_0`, a pytree.

    Returns
    -------
    callable
        ``f_lin(params, x, ...)``, with ``f``'s shapes; further arguments are passed on to ``f``.
        Like ``f`` it is not compiled here: put it inside your own ``jax.jit``.

    Raises
    ------
    TypeError
        If ``f`` is no function or a leaf is complex or no array.
    ValueError
        If ``params`` has no floating leaf; in the call, if its structure or a shape differs from
        the expansion point's.

    Notes
    -----
    Limits: exact where ``f`` is linear in its parameters, else the error is of second order in the
    distance. One call costs about two forward passes; no Jacobian is formed. dtypes are those of
    ``f``, but float16 and bfloat16 parameters are widened to float32.

    References
    ----------
    Lee et al. (2019), equation 5.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import empirical
    >>> f_lin = empirical.linearize(lambda w, x: x * w**2, jnp.array([3.0]))
    >>> f_lin(jnp.array([4.0]), jnp.array([[1.0]])).tolist()  # 9 + 2 * 3 * (4 - 3)
    [[15.0]]
    """
    f = hashable(f)
    origin, structure = split_params(params)

    def f_lin(params: Tree, *args: Any, **kwargs: Any) -> Tree:
        here = jax.tree.structure(params)
        if here != structure.treedef:
            raise ValueError(
                f"params must have the tree structure of the expansion point, {structure.treedef}, "
                f"got {here}"
            )
        leaves = [
            leaf
            for leaf, own in zip(jax.tree.leaves(params), structure.is_float, strict=True)
            if own
        ]
        steps = []
        for place, (leaf, start) in enumerate(zip(leaves, origin.floats, strict=True)):
            if jnp.shape(leaf) != start.shape:
                raise ValueError(
                    f"params: floating leaf {place} must have the shape of the expansion point's, "
                    f"{start.shape}, got {jnp.shape(leaf)}"
                )
            steps.append(jnp.asarray(leaf, start.dtype) - start)

        def at(floats: list[jax.Array]) -> Tree:
            return f(structure.join(Split(floats, origin.fixed)), *args, **kwargs)

        value, change = jax.jvp(at, (origin.floats,), (steps,))
        return jax.tree.map(jnp.add, value, change)

    return f_lin
