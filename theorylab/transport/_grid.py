r"""Costs on a grid that are sums over its axes, of which no matrix is ever made.

With :math:`C_{ij} = \sum_t c_t(i_t, j_t)` the softmax over i is a chain of softmaxes over one axis
after the other. Let :math:`M` be the peaks of the axes done, a function of
:math:`j_1 \dots j_{t-1}, i_t \dots`; then

.. math::

    W_t = e^{(M_{t-1} - c_t(i_t, j_t)) / \varepsilon - M_t}, \qquad
    E_{ji} = a_i \prod_t W_t,

each :math:`W_t` an array of n s_t entries for a grid of n points, s_t along the axis. The W are
at most 1, and are held: so a product with the plan is a product with each of them in turn, signed
vectors included, without an exponential.

Differs from the paper / reference:
  1. Solomon et al. (2015), "Convolutional Wasserstein distances", multiply by one small kernel for
     each axis, which underflows where epsilon is small. Here every axis has the kernel that its own
     peaks make stable. It depends on the other coordinates: n s numbers in place of s^2, as many
     exponentials a pass, and the same number of flops a product.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from theorylab.transport._dense import CAP
from theorylab.transport._geometry import Reach


@jax.tree_util.register_static
@dataclass(frozen=True)
class Grid:
    r"""Costs :math:`C_{ij} = \sum_t |h_t (i_t - j_t)|^p` between the points of one grid.

    Both masses live on the grid: shape ``shape``, or flat (n,) in C order, n its number of points;
    a batch has a leading axis. Potentials come back flat.

    Parameters
    ----------
    shape
        Points along each axis, such as ``(28, 28)``.
    p
        Power, at least 1: 2 is the squared Euclidean distance, 1 the Manhattan distance.
    spacing
        Distance h of neighbours, one number or one for each axis. 1: distances in pixels.

    Notes
    -----
    A pass over the costs takes n (s_1 + s_2 + ...) exponentials and memory instead of n^2: 0.5
    million and not 16.8 million for 64 x 64. No derivatives in the costs. The dtype is that of the
    masses.

    Raises
    ------
    ValueError
        If an axis has no points, p is below 1, or a spacing is not positive.

    Examples
    --------
    >>> from theorylab import transport
    >>> transport.Grid((2, 2)).matrix().tolist()[0]
    [0.0, 1.0, 1.0, 2.0]
    """

    shape: tuple[int, ...]
    p: float = 2
    spacing: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        given = np.atleast_1d(np.asarray(self.shape)).tolist()
        if not given or any(type(s) is not int or s < 1 for s in given):
            raise ValueError(f"shape must hold positive whole numbers, got {self.shape!r}")
        object.__setattr__(self, "shape", tuple(given))
        if not (math.isfinite(self.p) and self.p >= 1):
            raise ValueError(f"p must be at least 1 and finite, got {self.p!r}")
        spacing = np.atleast_1d(np.asarray(self.spacing, float))
        if spacing.shape not in [(1,), (len(given),)] or not (np.isfinite(spacing).all()):
            raise ValueError(
                f"spacing must be one number, or one for each of {len(given)} axes, "
                f"got {self.spacing!r}"
            )
        if (spacing <= 0).any():
            raise ValueError(f"spacing must be positive, got {self.spacing!r}")
        steps = tuple(float(h) for h in np.broadcast_to(spacing, len(given)))
        object.__setattr__(self, "spacing", steps)
        object.__setattr__(self, "p", float(self.p))

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(self.shape)

    def axes(self, dtype: DTypeLike = float) -> tuple[jax.Array, ...]:
        """The costs (s, s) along each axis."""
        assert isinstance(self.spacing, tuple)
        apart = [
            (np.abs(np.subtract.outer(np.arange(s), np.arange(s))) * h) ** self.p
            for s, h in zip(self.shape, self.spacing, strict=True)
        ]
        return tuple(jnp.asarray(c, jnp.dtype(jnp.result_type(dtype))) for c in apart)

    def matrix(self, dtype: DTypeLike = float) -> jax.Array:
        """The costs (n, n), formed."""
        total = jnp.zeros((1, 1), jnp.result_type(dtype))
        for c in self.axes(dtype):
            both = total[:, None, :, None] + c[None, :, None, :]
            total = both.reshape(total.shape[0] * len(c), -1)
        return total


class Separable(NamedTuple):
    """The costs (s, s) along each axis of a grid; symmetric, so that either side is eliminated."""

    axes: tuple[jax.Array, ...]

    @property
    def cheap(self) -> bool:
        """Whether products with a plan cost less than a pass."""
        return True

    def total(self, y: jax.Array) -> jax.Array:
        """Sum over the eliminated side."""
        return jnp.sum(y)

    def reach(self, a: jax.Array, b: jax.Array) -> Reach:
        """Everything reaches everything."""
        return Reach(jnp.bool_(True), jnp.ones(a.shape, bool), jnp.ones(b.shape, bool))

    def where(self, valid: jax.Array) -> "Separable":
        """The same, or without costs."""
        return Separable(tuple(jnp.where(valid, c, 0) for c in self.axes))

    def lowered(self) -> tuple["Separable", jax.Array]:
        """The least costs are 0 as they are."""
        size = math.prod(c.shape[0] for c in self.axes)
        return self, jnp.zeros(size, self.axes[0].dtype)

    def plan(self, f: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array) -> "SeparablePlan":
        """One pass: the plan of the potential f (n,)."""
        shape = tuple(c.shape[0] for c in self.axes)
        peak, live = (f / epsilon).reshape(shape), (a > 0).reshape(shape)
        weights = []
        for t, c in enumerate(self.axes):
            z = jnp.moveaxis(peak, t, -1)[..., None, :] - c.T / epsilon
            alive = jnp.moveaxis(live, t, -1)[..., None, :]
            top = jax.lax.stop_gradient(jnp.max(jnp.where(alive, z, -jnp.inf), axis=-1))
            some = jnp.any(alive, axis=-1)
            top = jnp.where(some, top, jax.lax.stop_gradient(jnp.max(z, axis=-1)))
            weights.append(jnp.exp(jnp.minimum(z - top[..., None], CAP[z.dtype.itemsize])))
            peak = jnp.moveaxis(top, -1, t)
            live = jnp.moveaxis(jnp.broadcast_to(some, top.shape), -1, t)
        weights[0] = weights[0] * jnp.moveaxis(a.reshape(shape), 0, -1)[..., None, :]
        made = SeparablePlan(tuple(weights), jnp.ones_like(b), b, b)
        total = made.forward(jnp.ones_like(f))
        total = jnp.where(total > 0, total, 1)
        made = made._replace(scale=b / total, g=-epsilon * (peak.reshape(-1) + jnp.log(total)))
        return made._replace(rows=made.backward(jnp.ones_like(b)))

    def extend(self, g: jax.Array, b: jax.Array, epsilon: jax.Array) -> jax.Array:
        """The potential (n,) that g makes of the other side."""
        return self.plan(g, b, jnp.ones_like(g), epsilon).g

    def marginals(
        self, f: jax.Array, g: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Sums (n,), (m,) of the plan of two potentials."""
        plan = self.plan(f, a, b, epsilon)
        share = jnp.exp((g - plan.g) / epsilon)  # of what column sums ought to be
        return plan.backward(share), b * share

    def apply(
        self,
        f: jax.Array,
        g: jax.Array,
        a: jax.Array,
        b: jax.Array,
        epsilon: jax.Array,
        v: jax.Array,
    ) -> jax.Array:
        """``P.T @ v`` (m, k) for v (n, k)."""
        plan = self.plan(f, a, b, epsilon)
        columns = jnp.exp((g - plan.g) / epsilon)
        return columns[:, None] * jax.vmap(plan.forward, 1, 1)(v)

    def spent(
        self, f: jax.Array, g: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array
    ) -> jax.Array:
        """Cost of the plan of two potentials: how g moves where all costs grow alike."""

        def eliminated(share: jax.Array) -> jax.Array:
            return Separable(tuple(share * c for c in self.axes)).plan(f, a, b, epsilon).g

        one = jnp.ones((), f.dtype)
        own, change = jax.jvp(eliminated, (one,), (one,))
        return jnp.sum(b * jnp.exp((g - own) / epsilon) * change)

    def largest(self) -> jax.Array:
        """The largest cost."""
        return sum((jnp.max(c) for c in self.axes), jnp.zeros((), self.axes[0].dtype))


class SeparablePlan(NamedTuple):
    """The plan of a potential; ``weights[t]`` has j and i of axis t at its end, (..., s, s)."""

    weights: tuple[jax.Array, ...]
    scale: jax.Array
    g: jax.Array
    rows: jax.Array

    def forward(self, v: jax.Array) -> jax.Array:
        """``P.T @ v`` (m,)."""
        return self.scale * _forward(self.weights, v)

    def backward(self, y: jax.Array) -> jax.Array:
        """``P @ y`` (n,)."""
        return _backward(self.weights, self.scale * y)

    def gram(self, v: jax.Array, y: jax.Array) -> jax.Array:
        """``P @ (y * (P.T @ v))`` (n,)."""
        return self.backward(y * self.forward(v))

    def squares(self, y: jax.Array) -> jax.Array:
        """``P**2 @ y`` (n,)."""
        return _backward(tuple(jnp.square(w) for w in self.weights), self.scale**2 * y)


def _shape(weights: tuple[jax.Array, ...]) -> tuple[int, ...]:
    return tuple(w.shape[-1] for w in weights)


def _forward(weights: tuple[jax.Array, ...], v: jax.Array) -> jax.Array:
    v = v.reshape(_shape(weights))
    for t, w in enumerate(weights):
        v = jnp.sum(w * jnp.moveaxis(v, t, -1)[..., None, :], axis=-1)
        v = jnp.moveaxis(v, -1, t)
    return v.reshape(-1)


def _backward(weights: tuple[jax.Array, ...], y: jax.Array) -> jax.Array:
    y = y.reshape(_shape(weights))
    for t, w in reversed(list(enumerate(weights))):
        y = jnp.sum(w * jnp.moveaxis(y, t, -1)[..., :, None], axis=-2)
        y = jnp.moveaxis(y, -1, t)
    return y.reshape(-1)
