r"""The confocal ellipsoid through the start, on which the escape threshold rests.

With eigenvalues h, squared coordinates :math:`m^2` of the start and the wanted loss epsilon, find
:math:`\rho^2` such that

.. math:: \sum_i \frac{h_i m_i^2}{h_i \rho^2 + 2 \epsilon} = 1 .

STEPS of Newton's method on the reciprocal of the sum, which is concave and increasing in
:math:`\rho^2`, so that from below it converges without overshooting; 10 were enough for every
spectrum tried, over 12 orders of magnitude. Derivatives are those of the implicit function.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

STEPS = 40


def stiff_shares(h: Array, eps: Array, rho2: Array) -> Array:
    """1 - s_i: the share of a dimension that each direction asks for."""
    steep = h > 0
    share = h * rho2 / jnp.where(steep, h * rho2 + 2 * eps, 1)
    return jnp.where(steep | jnp.isnan(h), share, 0)


def confocal(h: Array, m2: Array, eps: Array) -> Array:
    """rho^2 with sum h m^2 / (h rho^2 + 2 eps) = 1, for a sum that is above 1 at rho = 0."""
    weight = h * m2

    def reciprocal(rho2: Array) -> Array:
        live = weight > 0
        terms = jnp.where(live, weight / jnp.where(live, h * rho2 + 2 * eps, 1), 0 * weight)
        return 1 / jnp.sum(terms) - 1

    def solve(f: Any, start: Array) -> Array:
        def step(_: int, x: Array) -> Array:
            value, slope = jax.value_and_grad(f)(x)
            return x - value / slope

        return jax.lax.fori_loop(0, STEPS, step, start)

    # Every denominator is at most that of the largest eigenvalue: a point below the root.
    below = jnp.maximum(jnp.sum(weight) - 2 * eps, 0) / jnp.max(jnp.where(weight > 0, h, 0))
    return jax.lax.custom_root(
        reciprocal, jax.lax.stop_gradient(below), solve, lambda g, y: y / g(jnp.ones_like(y))
    )
