"""From costs as they are given to the geometry that solvers ask, with either side first.

Differs from the paper / reference:
  1. No paper.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from theorylab.transport._blocks import Blocks
from theorylab.transport._costs import PointCloud, between
from theorylab.transport._dense import Dense
from theorylab.transport._geometry import Geometry
from theorylab.transport._grid import Grid, Separable


def oriented(cost: Any, dtype: DTypeLike, *, eliminate: str) -> Geometry:
    """The geometry of costs whose ``"rows"`` or ``"columns"`` are eliminated."""
    if isinstance(cost, Grid):
        return Separable(cost.axes(dtype))
    if isinstance(cost, PointCloud) and cost.block is not None:
        own, other = (cost.x, cost.y) if eliminate == "rows" else (cost.y, cost.x)
        rule = between(cost.cost)
        if eliminate == "columns" and callable(cost.cost):
            given = rule

            def rule(y: jax.Array, x: jax.Array) -> jax.Array:
                return given(x, y).T

        least = jnp.zeros(own.shape[0], dtype)
        return Blocks(own, other, least, jnp.bool_(True), rule, cost.block)
    costs = matrix(cost, dtype)
    return Dense(costs if eliminate == "rows" else costs.T)


def matrix(cost: Any, dtype: DTypeLike) -> jax.Array:
    """The costs (n, m), formed."""
    if isinstance(cost, Grid):
        return cost.matrix(dtype)
    return cost.matrix() if isinstance(cost, PointCloud) else cost
