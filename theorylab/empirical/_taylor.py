"""The network as a polynomial in its parameters, around where they are.

Differs from the paper / reference:
  1. Derivatives along the line from the expansion point are taken by forward mode inside forward
     mode, which needs no Jacobian; degree k costs of the order of 2^k forward passes.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from theorylab.empirical._function import Split, hashable
from theorylab.empirical._origin import Outputs, apart, origin_of

Tree = Any


def taylor_expand(f: Callable[..., Tree], params: Tree, degree: int) -> Callable[..., Tree]:
    r"""Taylor polynomial of a network in its parameters.

    .. math::

        f_{(d)}(\theta, x) = \sum_{k=0}^{d} \frac{1}{k!}
            \left. \frac{d^k}{ds^k} f(\theta_0 + s (\theta - \theta_0), x) \right|_{s=0}

    Parameters
    ----------
    f
        Any JAX function ``f(params, x, ...)`` that returns a pytree of arrays.
    params
        The expansion point :math:`\theta_0`, a pytree.
    degree
        Whole number d, 0 or more. Degree 1 is :func:`linearize`.

    Returns
    -------
    callable
        ``f_taylor(params, x, ...)``, with ``f``'s shapes; further arguments are passed on to ``f``.
        Like ``f`` it is not compiled here: put it inside your own ``jax.jit``.

    Raises
    ------
    TypeError
        If ``f`` is no function, a leaf is complex or no array, or ``degree`` no whole number.
    ValueError
        If ``degree`` is negative, or ``params`` has no floating leaf; in the call, if its structure
        or a shape differs from the expansion point's.

    Notes
    -----
    Limits: exact where ``f`` is a polynomial of that degree in its parameters, else the error is of
    the next order in the distance. Kinked activations (ReLU) have no second derivative: the terms
    that it would give are left out. Functions with a ``jax.custom_vjp`` have no forward mode, which
    is needed here. Outputs that are not floating point are those at the expansion point. dtypes are
    those of ``f``, but float16 and bfloat16 parameters are widened to float32; in float32 a term of
    order k is good to about :math:`k` times the rounding of ``f``.

    References
    ----------
    Bai & Lee (2020), "Beyond linearization: on quadratic and higher-order approximation of wide
    neural networks", section 2; Dyer & Gur-Ari (2020), section 2.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import empirical
    >>> cube = lambda w, x: x * w**3
    >>> f2 = empirical.taylor_expand(cube, jnp.array([1.0]), 2)
    >>> f2(jnp.array([2.0]), jnp.array([[1.0]])).tolist()  # 1 + 3 + 3, without the last 1
    [[7.0]]
    """
    if isinstance(degree, bool) or not isinstance(degree, int | np.integer):
        raise TypeError(f"degree must be a whole number, got {degree!r}")
    if degree < 0:
        raise ValueError(f"degree must be 0 or more, got {degree}")
    f = hashable(f)
    origin = origin_of(params)

    def f_taylor(params: Tree, *args: Any, **kwargs: Any) -> Tree:
        steps = origin.steps(params)

        def along(s: jax.Array) -> tuple[list[jax.Array], Outputs]:
            floats = [
                start + s.astype(start.dtype) * step
                for start, step in zip(origin.floats, steps, strict=True)
            ]
            return apart(f(origin.structure.join(Split(floats, origin.fixed, [])), *args, **kwargs))

        zero = jnp.zeros((), jnp.result_type(*origin.floats))
        total, outputs = along(zero)
        derivative: Callable[[jax.Array], list[jax.Array]] = lambda s: along(s)[0]  # noqa: E731
        factorial = 1.0
        for order in range(1, int(degree) + 1):
            derivative = _derivative(derivative)
            factorial *= order
            terms = zip(total, derivative(zero), strict=True)
            total = [a + b / factorial for a, b in terms]
        return outputs.together(total)

    return f_taylor


def _derivative(
    g: Callable[[jax.Array], list[jax.Array]],
) -> Callable[[jax.Array], list[jax.Array]]:
    return lambda s: jax.jvp(g, (s,), (jnp.ones_like(s),))[1]
