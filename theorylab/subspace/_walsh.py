"""The fast Walsh-Hadamard transform, as a few small products.

H_1 = [[1]], H_2m = [[H_m, H_m], [H_m, -H_m]] (Sylvester's order), so that H_m is the Kronecker
product of smaller ones and each of those is a product with a small matrix: log m additions would
be fewer operations, products are what processors are fast at. On two CPU cores factors of at most
32 were fastest (at m = 1024 two products with 32 x 32; a butterfly took 2 to 4 times as long).

Differs from the paper / reference:
  1. No paper. Matrix units of accelerators are 128 wide, hence the other size there (not measured).
     The matrix is the same whatever the factors are.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.lax import Precision

CPU_FACTOR, ACCELERATOR_FACTOR = 32, 128


def _matrix(m: int, dtype: Any) -> jax.Array:
    """H_m: entry (i, j) is -1 to the number of bits that i and j share.

    Computed, and not a constant, which inside of ``shard_map`` linear solvers take amiss.
    """
    i, j = (jax.lax.broadcasted_iota("int32", (m, m), axis) for axis in (0, 1))
    return 1 - 2 * (jax.lax.population_count(i & j) & 1).astype(dtype)


def _factors(m: int, largest: int) -> list[int]:
    """Powers of two, at most ``largest`` and nearly equal, whose product is m."""
    exponent, most = m.bit_length() - 1, largest.bit_length() - 1
    count = -(-exponent // most)
    return [2 ** (exponent // count + (i < exponent % count)) for i in range(count)]


def walsh_hadamard(x: jax.Array, last_first: bool = True) -> jax.Array:
    """H_m x along the last axis of ``x`` (..., m), m a power of two; not normalised.

    Factors commute. With ``last_first`` the first product needs no transposed x, else the last
    one gives no transposed result: whichever neighbour is worth more to leave in order.
    """
    *batch, m = x.shape
    largest = CPU_FACTOR if jax.default_backend() == "cpu" else ACCELERATOR_FACTOR
    factors = _factors(m, largest)
    y = x.reshape(*batch, *factors)
    axes = list(enumerate(factors, start=len(batch)))
    for axis, size in reversed(axes) if last_first else axes:
        h = _matrix(size, x.dtype)
        y = jnp.moveaxis(jnp.tensordot(y, h, (axis, 0), precision=Precision.HIGHEST), -1, axis)
    return y.reshape(x.shape)
