r"""The largest entries of a plan, found by thresholds, and products with them alone.

Either so many (``largest``), or so many that what is dropped keeps within a budget in every row and
column (``heaviest``).

Differs from the paper / reference:
  1. Tang et al. (2024) do not say how entries are selected. Sorting a matrix in float64 takes JAX
     a hundred times as long as a pass over it, so the threshold is found by bisection: positive
     floating-point numbers are ordered like the whole numbers that have the same bits, and each
     bit costs one count. Of entries that tie at the threshold the first are kept.
  2. Tang & Qiu (2024), whose budget this is, sort parts of each line in their program. If k entries
     may sum to delta, those up to delta / k are sure to be dropped, those above delta sure to be
     kept; between these the threshold of each line is halved HALVINGS = 8 times in the logarithm,
     so that it is too small by a factor of k^(1/256) at most (2.5 % at 500), never too large.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from theorylab._numerics import HIGHEST

BITS = {8: (jnp.int64, 62), 4: (jnp.int32, 30)}  # whole numbers as wide, the highest bit of a sign
HALVINGS = 8


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

    def squares(self, y: jax.Array, n: int) -> jax.Array:
        """``P**2 @ y`` (n,)."""
        return jnp.zeros(n, y.dtype).at[self.rows].add(self.values**2 * y[self.columns])


class Masked(NamedTuple):
    """A matrix (n, m) with zeros where an entry was dropped."""

    values: jax.Array

    def forward(self, v: jax.Array, m: int) -> jax.Array:
        """``P.T @ v`` (m,)."""
        return jnp.matmul(v, self.values, precision=HIGHEST)

    def backward(self, y: jax.Array, n: int) -> jax.Array:
        """``P @ y`` (n,)."""
        return jnp.matmul(self.values, y, precision=HIGHEST)

    def squares(self, y: jax.Array, n: int) -> jax.Array:
        """``P**2 @ y`` (n,)."""
        return jnp.matmul(jnp.square(self.values), y, precision=HIGHEST)

    def nnz(self) -> jax.Array:
        """How many are left."""
        return jnp.sum(self.values > 0)


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


def heaviest(plan: jax.Array, budget: jax.Array, wanted: jax.Array) -> Masked:
    """A plan (n, m) without its small entries, which sum to at most ``budget`` in each line.

    In each column the smallest are dropped as long as the budget allows; in rows where too much is
    missing now, the largest of those come back. Nothing in particular unless ``wanted``.
    """
    up, across = (jnp.ones(size, plan.dtype) for size in plan.shape)
    limit = _limit(plan, lambda x: jnp.matmul(up, x, precision=HIGHEST)[None], budget, wanted)
    small = jnp.where(plan <= limit, plan, 0)
    limit = _limit(
        small, lambda x: jnp.matmul(x, across, precision=HIGHEST)[:, None], budget, wanted
    )
    return Masked(jnp.where(small <= limit, plan - small, plan))


def _limit(
    entries: jax.Array,
    total: Callable[[jax.Array], jax.Array],
    budget: jax.Array,
    wanted: jax.Array,
) -> jax.Array:
    """Of each line, how large an entry may be for all that are no larger to sum to ``budget``."""

    def fits(limit: jax.Array) -> jax.Array:
        return total(jnp.where(entries <= limit, entries, 0)) <= budget

    def halve(
        state: tuple[jax.Array, jax.Array, jax.Array],
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        left, low, high = state
        middle = jnp.sqrt(low) * jnp.sqrt(high)
        good = fits(middle)
        return left - 1, jnp.where(good, middle, low), jnp.where(good, high, middle)

    high = jnp.full_like(total(entries), budget)
    low = high * (high.size / entries.size)
    _, low, _ = jax.lax.while_loop(
        lambda s: s[0] > 0, halve, (jnp.where(wanted, HALVINGS, 0), low, high)
    )
    return jnp.where(fits(high), high, low)
