"""Rows of a projection in chunks: each with random words of its own, made when they are needed.

Counters of the generator have 32 bits, and a projection may have more entries. A chunk of rows
therefore has a seed of its own, folded from that of the map, and counts from zero.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

from theorylab.subspace._threefry import fold

# The second label of a chunk's seed: the stream of no map has this number.
SEEDS = 64


def seed_of(seed: Array, chunk: Array) -> Array:
    """The seed of one chunk, uint32 (2,)."""
    return fold(seed, chunk, SEEDS)


def count_of(rows: int, size: int) -> int:
    """How many chunks of ``size`` rows hold all rows."""
    return -(-rows // size)


def _indices(count: int) -> Array:
    return jnp.arange(count, dtype=jnp.int32)


def stacked(rows: int, size: int, make: Callable[[Array], Array]) -> Array:
    """(rows,): the (size,) of every chunk one after another, the last one cut."""
    out = lax.map(make, _indices(count_of(rows, size)))
    return out.reshape(-1)[:rows]


def summed(flat: Array, size: int, start: Array, add: Callable[[Array, Array], Array]) -> Array:
    """``start`` plus what ``add(chunk, values)`` gives for all chunks of ``flat``, one by one.

    The last chunk is filled with zeros. Beside the sum, the memory is that of one chunk.
    """
    rows = flat.shape[0]
    count = count_of(rows, size)
    chunks = jnp.pad(flat, (0, count * size - rows)).reshape(count, size)

    def step(total: Array, chunk: tuple[Array, Array]) -> tuple[Array, None]:
        return total + add(*chunk), None

    return lax.scan(step, start, (_indices(count), chunks))[0]


def summed_exactly(count: int, start: Array, make: Callable[[Array], Array]) -> Array:
    """``start`` plus ``make(chunk)`` for all chunks, with the rounding of each sum carried on.

    Kahan's sum: thousands of chunks lose no more than a few units in the last place.
    """

    def step(carry: tuple[Array, Array], chunk: Array) -> tuple[tuple[Array, Array], None]:
        total, lost = carry
        term = make(chunk) - lost
        larger = total + term
        return (larger, (larger - total) - term), None

    return lax.scan(step, (start, jnp.zeros_like(start)), _indices(count))[0][0]


def rows_in(chunk: Array, size: int, rows: int) -> Array:
    """(size,) booleans: which rows of a chunk the map has."""
    return lax.iota(jnp.int32, size) < rows - chunk * size
