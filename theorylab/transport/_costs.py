r"""Costs that are functions of points.

Differs from the paper / reference:
  1. Squared distances in more than FEW = 16 dimensions come from inner products of centred points;
     in fewer, from differences, which keep the digits of near points.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from theorylab._numerics import HIGHEST, safe_sqrt

FEW = 16

CostFunction = Callable[[jax.Array, jax.Array], jax.Array]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PointCloud:
    r"""Costs :math:`C_{ij} = c(x_i, y_j)` between two clouds of points.

    Parameters
    ----------
    x, y
        (n, d) and (m, d), floating point.
    cost
        ``"sqeuclidean"``, :math:`\|x - y\|^2`; ``"euclidean"``, :math:`\|x - y\|`, whose derivative
        at coinciding points is taken for 0; or a function of two points (d,), (d,) that returns a
        scalar.
    block
        None: the costs are held as a matrix. Else costs are never held: ``block`` points of the
        larger side at a time meet all points of the smaller one, in every pass and in every product
        with a plan, and memory is block x min(n, m) in place of n x m.

    Notes
    -----
    A pytree of x and y, so that derivatives in points exist. float32 in, float32 out; squared
    distances in more than 16 dimensions lose digits where points are near beside their spread.
    With ``block``, a function of two points must not close over values that derivatives are taken
    in, and ``num_lse_passes`` of a solution counts products with the plan as well, since each of
    them makes the exponentials again.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import transport
    >>> cloud = transport.PointCloud(jnp.array([[0.0], [3.0]]), jnp.array([[1.0]]))
    >>> cloud.matrix().tolist()
    [[1.0], [4.0]]
    """

    x: jax.Array
    y: jax.Array
    cost: str | CostFunction = field(default="sqeuclidean", metadata={"static": True})
    block: int | None = field(default=None, metadata={"static": True})

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, m), behind the leading axes of a batch."""
        return (*self.x.shape[:-1], self.y.shape[-2])

    def matrix(self) -> jax.Array:
        """The costs (n, m)."""
        rule = between(self.cost)
        for _ in range(self.x.ndim - 2):
            rule = jax.vmap(rule)
        return rule(jnp.asarray(self.x), jnp.asarray(self.y))


def between(cost: str | CostFunction) -> CostFunction:
    """From points (n, d) and (m, d) to their costs (n, m)."""
    if cost == "sqeuclidean":
        return _squares
    if cost == "euclidean":
        return _lengths
    assert callable(cost)
    return jax.vmap(jax.vmap(cost, (None, 0)), (0, None))


def _lengths(x: jax.Array, y: jax.Array) -> jax.Array:
    return safe_sqrt(_squares(x, y))


def _squares(x: jax.Array, y: jax.Array) -> jax.Array:
    if x.shape[-1] <= FEW:
        return jnp.sum(jnp.square(x[:, None] - y[None]), axis=-1)
    middle = jax.lax.stop_gradient(jnp.mean(y, axis=0))
    x, y = x - middle, y - middle
    lengths = jnp.sum(x * x, -1)[:, None] + jnp.sum(y * y, -1)[None]
    return jnp.maximum(lengths - 2 * jnp.matmul(x, y.T, precision=HIGHEST), 0)
