r"""A cost that is held as a matrix, and the plan that a potential makes of it.

With the potential of one side eliminated (the semi-dual), one pass over the costs gives all that a
solver needs. For the potential f of the other side,

.. math::

    E_{ji} = a_i\, e^{(f_i - C_{ij}) / \varepsilon - m_j}, \quad s_j = \sum_i E_{ji}, \quad
    P_{ij} = \frac{b_j}{s_j} E_{ji}, \qquad g_j = -\varepsilon (m_j + \log s_j),

so that the sums over i are b exactly. What follows (sums over j, sweeps in the kernel domain,
products with the Hessian) are products with E, without an exponential.

Differs from the paper / reference:
  1. Tang et al. (2024), "Accelerating Sinkhorn algorithm with sparse Newton iterations", keep both
     potentials; their plan overflows in trial steps, a softmax cannot.
  2. E is held, not P, and all sums are products with it, so that the exponential has one consumer
     only and is not evaluated again for another.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from theorylab._numerics import HIGHEST
from theorylab.transport._geometry import Reach

AT_ONCE = 2**18  # entries of a plan that is multiplied by without being formed
CAP = {8: 300.0, 4: 60.0}  # largest exponent of a point without mass, which weighs nothing


class DensePlan(NamedTuple):
    """The plan of a potential: ``P.T = scale[:, None] * weights``.

    ``weights`` (m, n), ``scale`` (m,), ``g`` (m,) the eliminated potential, ``rows`` (n,) the sums
    over the eliminated side. In the methods v has n entries, y has m.
    """

    weights: jax.Array
    scale: jax.Array
    g: jax.Array
    rows: jax.Array

    def forward(self, v: jax.Array) -> jax.Array:
        """``P.T @ v`` (m,)."""
        return self.scale * jnp.matmul(self.weights, v, precision=HIGHEST)

    def backward(self, y: jax.Array) -> jax.Array:
        """``P @ y`` (n,)."""
        return jnp.matmul(self.scale * y, self.weights, precision=HIGHEST)

    def gram(self, v: jax.Array, y: jax.Array) -> jax.Array:
        """``P @ (y * (P.T @ v))`` (n,)."""
        return self.backward(y * self.forward(v))

    def squares(self, y: jax.Array) -> jax.Array:
        """``P**2 @ y`` (n,)."""
        return jnp.matmul(self.scale**2 * y, jnp.square(self.weights), precision=HIGHEST)


class Dense(NamedTuple):
    """A cost matrix with the eliminated side first, (m, n)."""

    cost: jax.Array

    @property
    def cheap(self) -> bool:
        """Whether products with a plan cost less than a pass."""
        return True

    def total(self, y: jax.Array) -> jax.Array:
        """Sum over the eliminated side."""
        return jnp.sum(y)

    def reach(self, a: jax.Array, b: jax.Array) -> Reach:
        """Whether costs are numbers, and what each point reaches."""
        open_ = jnp.isfinite(self.cost)
        return Reach(
            ~jnp.any(jnp.isnan(self.cost) | jnp.isneginf(self.cost)),
            jnp.any(open_ & (b > 0)[:, None], axis=0),
            jnp.any(open_ & (a > 0)[None], axis=1),
        )

    def where(self, valid: jax.Array) -> "Dense":
        """The same, or without costs."""
        return Dense(jnp.where(valid, self.cost, 0))

    def lowered(self) -> tuple["Dense", jax.Array]:
        """The least cost (m,) of each eliminated point, and what is left above it."""
        finite = jnp.where(jnp.isfinite(self.cost), self.cost, jnp.inf)
        least = jax.lax.stop_gradient(jnp.min(finite, axis=1))
        least = jnp.where(jnp.isfinite(least), least, 0)
        return Dense(self.cost - least[:, None]), least

    def plan(self, f: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array) -> DensePlan:
        """One pass: the plan of the potential f (n,)."""
        weights, g = softmax(self.cost, f, a, epsilon)
        total = sums(weights)
        scale = b / total
        rows = jnp.matmul(scale, weights, precision=HIGHEST)
        return DensePlan(weights, scale, g - epsilon * jnp.log(total), rows)

    def both(
        self, f: jax.Array, g: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array
    ) -> jax.Array:
        """The plan (n, m) of two potentials, which need not meet a marginal."""
        return joint(self.cost, f, g, a, b, epsilon).T

    def marginals(
        self, f: jax.Array, g: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Sums (n,), (m,) of the plan of two potentials."""
        plan = joint(self.cost, f, g, a, b, epsilon)
        rows = jnp.matmul(jnp.ones_like(g), plan, precision=HIGHEST)
        return rows, jnp.matmul(plan, jnp.ones_like(f), precision=HIGHEST)

    def extend(self, g: jax.Array, b: jax.Array, epsilon: jax.Array) -> jax.Array:
        """The potential (n,) that g makes of the other side; needed where there is no mass."""
        weights, f = softmax(self.cost.T, g, b, epsilon)
        return f - epsilon * jnp.log(sums(weights))

    def apply(
        self,
        f: jax.Array,
        g: jax.Array,
        a: jax.Array,
        b: jax.Array,
        epsilon: jax.Array,
        v: jax.Array,
    ) -> jax.Array:
        """``P.T @ v`` (m, k) for v (n, k), some rows of the transposed plan at a time."""

        def one(row: tuple[jax.Array, ...]) -> jax.Array:
            cost, g, b = row
            plan = joint(cost[None], f, g[None], a, b[None], epsilon)[0]
            return jnp.matmul(plan, v, precision=HIGHEST)

        return jax.lax.map(one, (self.cost, g, b), batch_size=max(1, AT_ONCE // f.size))

    def spent(
        self, f: jax.Array, g: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array
    ) -> jax.Array:
        """Cost of the plan of two potentials."""
        plan = joint(self.cost, f, g, a, b, epsilon)
        return jnp.sum(plan * jnp.where(jnp.isfinite(self.cost), self.cost, 0))

    def largest(self) -> jax.Array:
        """The largest finite cost."""
        return jnp.max(jnp.where(jnp.isfinite(self.cost), self.cost, 0))


def joint(
    cost: jax.Array, f: jax.Array, g: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array
) -> jax.Array:
    """``b exp((f + g - cost) / epsilon) a`` (m, n), 0 at forbidden arcs.

    The potential of a point without mass may be anything, and must not overflow.
    """
    open_ = jnp.isfinite(cost)
    z = (f[None] + g[:, None] - jnp.where(open_, cost, 0)) / epsilon
    live = (a > 0)[None] & (b > 0)[:, None]
    z = jnp.where(live, z, jnp.minimum(z, CAP[z.dtype.itemsize]))
    return jnp.where(open_, b[:, None] * jnp.exp(jnp.where(open_, z, 0)) * a[None], 0)


def sums(weights: jax.Array) -> jax.Array:
    """Sums of rows; 1 where nothing with mass is in reach, so that a potential there is 0."""
    total = jnp.matmul(weights, jnp.ones(weights.shape[1], weights.dtype), precision=HIGHEST)
    return jnp.where(total > 0, total, 1)


def softmax(
    cost: jax.Array, f: jax.Array, a: jax.Array, epsilon: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """``a exp((f - cost) / epsilon - peak)`` (m, n), and ``-epsilon peak`` (m,).

    Forbidden arcs (infinite costs) weigh nothing; so do points without mass, which must not
    overflow, but have a derivative in their mass.
    """
    open_ = jnp.isfinite(cost)
    z = jnp.where(open_, (f[None] - jnp.where(open_, cost, 0)) / epsilon, -jnp.inf)
    peak = jax.lax.stop_gradient(jnp.max(jnp.where(a[None] > 0, z, -jnp.inf), axis=1))
    peak = jnp.where(jnp.isfinite(peak), peak, 0)
    cap = CAP[z.dtype.itemsize]
    return a[None] * jnp.exp(jnp.minimum(z - peak[:, None], cap)), -epsilon * peak
