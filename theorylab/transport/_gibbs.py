r"""The plan that Gibbs weights on independent pairs stand for, in one pass.

.. math::

    P_{ij} = \frac{a_i b_j}{Z}\, e^{-c(x_i, y_j) / \varepsilon}.

Differs from the paper / reference:
  1. Calvo-Ordoñez et al. (2025), "Weighted conditional flow matching", do not normalise. Here
     weights are differences of logarithms, the largest being 0, so that none is 0 / 0.
  2. CAP (``_dense``) bounds the exponent of a pair without mass, which weighs nothing but has a
     derivative in its mass.
"""

import jax
import jax.numpy as jnp

from theorylab.transport._arguments import BALANCE
from theorylab.transport._costs import PointCloud
from theorylab.transport._dense import CAP
from theorylab.transport._results import Status


@jax.jit
def gibbs(
    cloud: PointCloud, a: jax.Array, b: jax.Array, epsilon: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """The plan, both masses, b brought to the sum of a, and a status; for each of a batch."""
    matrix = cloud.matrix()
    a, b = (jnp.broadcast_to(mass, (*matrix.shape[:-2], mass.shape[-1])) for mass in (a, b))
    valid = _valid(matrix, a, b, epsilon)
    mass = jnp.sum(a, -1)
    b = b * (mass / jnp.sum(b, -1))[..., None]
    each, a_, b_ = epsilon[..., None, None], a[..., :, None], b[..., None, :]
    open_ = jnp.isfinite(matrix)
    live = (a_ > 0) & (b_ > 0) & open_
    least = jnp.min(jnp.where(live, matrix, jnp.inf), (-2, -1), keepdims=True)
    least = jax.lax.stop_gradient(jnp.where(jnp.isfinite(least), least, 0))
    z = (least - jnp.where(open_, matrix, least)) / each
    logarithms = z + jnp.log(jnp.where(live, a_, 1)) + jnp.log(jnp.where(live, b_, 1))
    peak = jnp.max(jnp.where(live, logarithms, -jnp.inf), (-2, -1), keepdims=True)
    peak = jax.lax.stop_gradient(jnp.where(jnp.isfinite(peak), peak, 0))
    # A point without mass weighs nothing, but has a derivative in its mass.
    exponent = jnp.where(live, logarithms - peak, jnp.minimum(z - peak, CAP[z.dtype.itemsize]))
    weights = jnp.where(live, 1, jnp.where(open_, a_ * b_, 0)) * jnp.exp(exponent)
    plan = mass[..., None, None] * weights / jnp.sum(weights, (-2, -1), keepdims=True)
    status = jnp.where(valid, int(Status.SUCCESS), int(Status.INVALID)).astype(jnp.int32)
    return plan, a, b, status


def _valid(matrix: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array) -> jax.Array:
    """Whether all numbers are what they must be, for each problem of a batch."""
    sums = jnp.sum(a, -1), jnp.sum(b, -1)
    balanced = jnp.abs(sums[0] - sums[1]) <= BALANCE[a.dtype.itemsize] * jnp.maximum(*sums)
    live = (a[..., :, None] > 0) & (b[..., None, :] > 0) & jnp.isfinite(matrix)
    return (
        ~jnp.any(jnp.isnan(matrix) | jnp.isneginf(matrix), (-2, -1))
        & jnp.all((a == 0) | jnp.any(live, -1), -1)
        & jnp.all((b == 0) | jnp.any(live, -2), -1)
        & (sums[0] > 0)
        & jnp.all((a >= 0) & jnp.isfinite(a), -1)
        & jnp.all((b >= 0) & jnp.isfinite(b), -1)
        & balanced
        & (epsilon > 0)
        & jnp.isfinite(epsilon)
    )
