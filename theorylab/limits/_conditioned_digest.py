r"""A digest of points, by which draws for different points differ.

Each 32-bit word of x (float64 has two) and its position are mixed to a word that looks random; the
sum of these modulo 2^32 is mixed once more. Mixing comes first as the words of round numbers differ
in their leading bits alone, where a weighted sum would often agree.

Differs from the reference: none is followed. Origin of constants: MIX are shifts and multipliers of
the finaliser of MurmurHash3 (A. Appleby, public domain); POSITION is 2^32 over the golden ratio.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

MIX = ((16, 0x85EBCA6B), (13, 0xC2B2AE35))
POSITION = 0x9E3779B9


def digest(x: Array) -> Array:
    """uint32 scalar of the entries of x (b, d) in their order; -0 counts as 0."""
    x = jax.lax.stop_gradient(x)
    words = jax.lax.bitcast_convert_type(jnp.where(x == 0, jnp.zeros_like(x), x), np.uint32).ravel()
    places = jnp.arange(1, words.size + 1, dtype=np.uint32) * np.uint32(POSITION)
    return _mixed(jnp.sum(_mixed(_mixed(words) + places), dtype=np.uint32))


def _mixed(word: Array) -> Array:
    for shift, factor in MIX:
        word = (word ^ (word >> np.uint32(shift))) * np.uint32(factor)
    return word ^ (word >> np.uint32(16))
