"""The network as a linear function of its parameters, around where they are.

Differs from the paper / reference:
  1. Nothing but what ``_origin`` says of leaves that are not floating point.
"""

from collections.abc import Callable
from typing import Any

import jax

from theorylab.empirical._function import Split, hashable
from theorylab.empirical._origin import Outputs, apart, origin_of

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
    distance. One call costs about two forward passes; no Jacobian is formed. Functions with a
    ``jax.custom_vjp`` have no forward mode, which is needed here. Outputs that are not floating
    point are those at the expansion point. dtypes are those of ``f``, but float16 and bfloat16
    parameters are widened to float32.

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
    origin = origin_of(params)

    def f_lin(params: Tree, *args: Any, **kwargs: Any) -> Tree:
        def at(floats: list[jax.Array]) -> tuple[list[jax.Array], Outputs]:
            return apart(f(origin.structure.join(Split(floats, origin.fixed, [])), *args, **kwargs))

        steps = origin.steps(params)
        value, change, outputs = jax.jvp(at, (origin.floats,), (steps,), has_aux=True)
        return outputs.together([a + b for a, b in zip(value, change, strict=True)])

    return f_lin
