"""Pairs drawn from a plan: a row by its sum, then a column within the row.

Differs from the paper / reference:
  1. No paper. One list of n m running sums, as for any distribution on pairs, would round small
     entries away in float32: near 1 its spacing is 6e-8, the size of an entry at n = 4000. Running
     sums of rows, and within a row, are short.
"""

from functools import partial

import jax
import jax.numpy as jnp


@partial(jax.jit, static_argnames="count")
def pairs(key: jax.Array, plan: jax.Array, *, count: int) -> tuple[jax.Array, jax.Array]:
    """Rows and columns (..., count), int32, for plans (..., n, m)."""
    return _pairs(key, plan, count)


def _pairs(key: jax.Array, plan: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    if plan.ndim > 2:
        keys = jax.random.split(key, plan.shape[0])
        return jax.vmap(partial(_pairs, count=count))(keys, plan)
    below = jnp.cumsum(jnp.sum(plan, 1))
    inside = jnp.cumsum(plan, 1)
    first, second = jax.random.uniform(key, (2, count), plan.dtype)
    i = _reached(below[None], first[:, None])
    return i, _reached(inside[i], second[:, None])


def _reached(below: jax.Array, share: jax.Array) -> jax.Array:
    """Index (count,) of the first running sum (count, k) above a share (count, 1) of the last."""
    total = below[:, -1:]
    level = jnp.minimum(share * total, jnp.nextafter(total, jnp.zeros_like(total)))
    place = jnp.sum(below <= level, -1, dtype=jnp.int32)
    return jnp.where(place < below.shape[-1], place, 0)  # 0 where sums are NaN
