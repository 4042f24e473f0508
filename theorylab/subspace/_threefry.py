"""Random numbers that are the same for ever: Threefry-2x32-20, counted, in uint32 arithmetic.

A checkpoint of a run in a random subspace holds the seed of its projection and not the projection.
It is worth something only if the same seed gives the same numbers in every later version of JAX,
on every backend and with any setting, which JAX does not promise of its own generators. So the
numbers come from here. Entry i of a stream depends on the seed, the stream and i alone: a loop
makes those of any block when it needs them, and none are kept.

The function is that of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2,
3" (SC 2011), with two words of 32 bits and 20 rounds; tests hold it against their known answers.

Differs from the paper / reference:
  1. Counters are (i // 2, stream), where i counts words: a stream has 2^33 of them.
  2. Signs take one bit each: word i // 32, from its lowest bit on.
"""

import jax
import jax.numpy as jnp
import numpy as np

# Rotations of the eight rounds that repeat, and the constant of the key schedule (table 4 and
# section 4.2 of the paper; the constant is that of Skein).
ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA
ROUNDS_OF_FOUR = 5
WORD = 32


@jax.jit  # not for speed: a projection draws in many places, and here its rounds are traced once
def threefry(seed: jax.Array, first: jax.Array, second: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two words for every counter (first, second), under a seed of two words."""

    def rotate(x: jax.Array, by: int) -> jax.Array:
        return (x << np.uint32(by)) | (x >> np.uint32(WORD - by))

    keys = (seed[0], seed[1], seed[0] ^ seed[1] ^ np.uint32(PARITY))
    x, y = first + keys[0], second + keys[1]
    for turn in range(ROUNDS_OF_FOUR):
        for by in ROTATIONS[turn % 2]:
            x = x + y
            y = rotate(y, by) ^ x
        x = x + keys[(turn + 1) % 3]
        y = y + keys[(turn + 2) % 3] + np.uint32(turn + 1)
    return x, y


def fold(seed: jax.Array, first: int | jax.Array, second: int | jax.Array = 0) -> jax.Array:
    """A seed of its own, (2,), for the label (first, second)."""
    return jnp.stack(threefry(seed, jnp.asarray(first, "uint32"), jnp.asarray(second, "uint32")))


def words(seed: jax.Array, stream: int, start: int | jax.Array, count: int) -> jax.Array:
    """Words ``start`` to ``start + count`` of a stream, (count,) of uint32; an even ``start``."""
    pairs = -(-count // 2)
    index = jnp.asarray(start, "uint32") // np.uint32(2) + jax.lax.iota("uint32", pairs)
    both = threefry(seed, index, jnp.full((pairs,), stream, "uint32"))
    return jnp.stack(both, axis=-1).reshape(-1)[:count]


def _once(packed: jax.Array) -> jax.Array:
    """The same words, in a form that XLA computes once and not again for each of their 32 signs.

    On CPUs a broadcast is fused with what it spreads, unless that is a reduction; a barrier is
    taken away before. So the words are reduced over an axis of themselves and zeros.
    """
    return jnp.max(jnp.stack([packed, jnp.zeros_like(packed)]), axis=0)


def signs(
    seed: jax.Array, stream: int, start: int | jax.Array, count: int, dtype: jax.typing.DTypeLike
) -> jax.Array:
    """Random signs ``start`` to ``start + count``, (count,); ``start`` a multiple of 64."""
    packed = words(seed, stream, jnp.asarray(start, "uint32") // np.uint32(WORD), -(-count // WORD))
    packed = _once(packed)
    bits = (packed[:, None] >> jax.lax.iota("uint32", WORD)[None]) & np.uint32(1)
    return (1 - 2 * bits.astype(dtype)).reshape(-1)[:count]
