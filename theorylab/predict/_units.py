r"""Powers of two in which kernels and targets are of order one.

Predictions are linear in the targets, and depend on the kernel, the ridge and the time through
:math:`K / \lambda` and :math:`K t` alone; computed in units of their own size they neither overflow
nor sink below the range of the dtype on the way.

Differs from the paper / reference:
  1. No paper. A power of two changes no digit, so results in ordinary units are what they were.
  2. LARGEST = 126: 2^126 and its inverse are both normal numbers in float32, while subnormal ones
     are flushed to zero on CPUs. The same range serves float64, whose own is wider.
"""

import jax
import jax.numpy as jnp

LARGEST = 126


def unit_of(*arrays: jax.Array | None) -> jax.Array:
    """The power of two at or just below the largest entry; 1 for zeros and infinities.

    A constant to derivatives. Multiply by ``1 / unit`` or divide: both are exact.
    """
    peaks = [jnp.max(jnp.abs(jax.lax.stop_gradient(x)), initial=0) for x in arrays if x is not None]
    peak = jnp.max(jnp.stack(peaks))
    plain = jnp.isfinite(peak) & (peak > 0)
    exponent = jnp.frexp(jnp.where(plain, peak, 1))[1] - 1
    exponent = jnp.clip(exponent, -LARGEST, LARGEST)
    return jnp.ldexp(jnp.ones_like(peak), exponent)


def rescaled(rate: jax.Array, unit: jax.Array) -> jax.Array:
    """A rate in inverse units, which must not become 0 or infinite where it was neither."""
    info = jnp.finfo(rate.dtype)
    inside = (rate > 0) & jnp.isfinite(rate)
    return jnp.where(inside, jnp.clip(rate * unit, info.tiny, info.max), rate)
