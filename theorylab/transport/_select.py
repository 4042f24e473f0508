r"""The largest entries of a plan, found by a threshold, and products with them alone.

Differs from the paper / reference:
  1. Tang et al. (2024) do not say how entries are selected. Sorting a matrix in float64 takes JAX
     a hundred times as long as a pass over it, so the threshold is found by bisection: positive
     floating-point numbers are ordered like the whole numbers that have the same bits, and each
     bit costs one count. Of entries that tie at the threshold the first are kept.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

BITS = {8: (jnp.int64, 62), 4: (jnp.int32, 30)}  # whole numbers as wide, the highest bit of a sign


class Kept(NamedTuple):
    """Entries (k,) of a matrix (n, m), with their rows and columns."""

    values: jax.Array
    rows: jax.Array
    columns: jax.Array

    def forward(self, v: jax.Array, m: int) -> jax.Array:
        """``P.T @ v`` (m,)."""
        return jnp.zeros(m, v.dtype).at[self.columns].add(self.values * v[self.rows])

    def backward(self, y: jax.Array, n: int) -> jax.Array:
        """``P @ y`` (n,)."""
        return jnp.zeros(n, y.dtype).at[self.rows].add(self.values * y[self.columns])


def largest(plan: jax.Array, count: int, wanted: jax.Array) -> Kept:
    """The ``count`` largest entries of a matrix without negative ones; none unless ``wanted``."""
    flat = plan.reshape(-1)
    whole, high = BITS[plan.dtype.itemsize]
    keys = jax.lax.bitcast_convert_type(flat, whole)

    def lower(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        bit, least = state
        candidate = least | jnp.left_shift(jnp.ones((), whole), bit.astype(whole))
        enough = jnp.sum(keys >= candidate, dtype=jnp.int32) >= count
        return bit - 1, jnp.where(enough, candidate, least)

    start = jnp.where(wanted, high, -1).astype(jnp.int32), jnp.zeros((), whole)
    threshold = jax.lax.while_loop(lambda s: s[0] >= 0, lower, start)[1]
    above, ties = keys > threshold, keys == threshold
    room = count - jnp.sum(above, dtype=jnp.int32)
    kept = above | (ties & (jnp.cumsum(ties, dtype=jnp.int32) <= room))
    places = jnp.nonzero(kept, size=count, fill_value=0)[0]
    columns = plan.shape[1]
    return Kept(flat[places], places // columns, places % columns)
