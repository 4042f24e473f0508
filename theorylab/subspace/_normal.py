r"""Normal numbers that are the same to the bit wherever they are made.

A projection and its transpose draw one matrix twice, in two programs. They are adjoint to rounding
in float64 only if both draw the same numbers, to the last bit of float32. Formulas of the inverse
distribution function do not give that: whether a compiler contracts a product and a sum into one
rounding depends on what stands around them. So quantiles come from a table, with one rounding:

.. math:: |z| = t_k + s_k\, j , \qquad \Phi(-|z|) = q / 2^{23} ,

where the exponent and the first bits of the tail's mass q, as a float32, are the cell k, and the
bits that remain are the place j inside it. The slope :math:`s_k` has so few bits that
:math:`s_k j` is exact. Then a sum with one rounding and a product that is rounded before it agree.

Differs from the paper / reference:
  1. A table in cells of equal width in each octave of q, linear inside: 2^8 cells an octave and
     slopes of 9 bits leave an error of 4e-6 at most, and second moments right to 1e-6 (tests go
     through all 2^22 values). The table has 46 KiB; with 2^9 cells it would have 92 and an error of
     1e-6, with 2^7 cells 23 and 1.5e-5.
  2. Numbers are float32 whatever theta's dtype is: a projection does not depend on x64 being on.
  3. Quantiles of the table are those of Wichura's algorithm AS 241 (1988), in the standard library.
"""

import functools
import statistics

import jax
import jax.numpy as jnp
import numpy as np

from theorylab.subspace._threefry import words

BITS = 23  # of a word, and of a float32 behind its leading one
CELL_BITS = 8
PLACE_BITS = BITS - CELL_BITS
SLOPE_BITS = 9  # with those of the place, the 24 of a float32


@functools.cache
def table() -> tuple[np.ndarray, np.ndarray, np.uint32]:
    """Sizes where the cells begin, slopes, and the first cell's number; cells by falling size."""
    ends = np.array([0.5, 2.0 ** (BITS - 1)], np.float32).view(np.uint32) >> np.uint32(PLACE_BITS)
    cells = np.arange(ends[0], ends[1] + 1, dtype=np.uint32)
    masses = (cells << np.uint32(PLACE_BITS)).view(np.float32).astype(float) / 2**BITS
    quantile = statistics.NormalDist().inv_cdf
    sizes = np.array([-quantile(mass) for mass in masses])
    mantissa, exponent = np.frexp(np.diff(sizes) / 2**PLACE_BITS)
    slopes = np.ldexp(np.round(mantissa * 2**SLOPE_BITS), exponent - SLOPE_BITS)
    held = sizes[:-1].astype(np.float32), slopes.astype(np.float32)
    for array in held:
        array.setflags(write=False)
    return (*held, ends[0])


def normals(seed: jax.Array, stream: int, start: int | jax.Array, count: int) -> jax.Array:
    """Standard normal numbers, (count,) of float32, at most 5.3 in size; an even ``start``."""
    return normal_of(words(seed, stream, start, count))


def normal_of(word: jax.Array) -> jax.Array:
    """Words as normal numbers: the quantile at the upper 23 bits plus one half, over 2^23."""
    sizes, slopes, first = table()
    upper = word >> np.uint32(32 - BITS)
    above = upper >= np.uint32(2 ** (BITS - 1))
    tail = jnp.where(above, np.uint32(2**BITS - 1) - upper, upper)
    # Below 2^22 a half is exact, and never lost: no number is infinite.
    mass = jax.lax.bitcast_convert_type(tail.astype("float32") + np.float32(0.5), jnp.uint32)
    cell = (mass >> np.uint32(PLACE_BITS)) - first
    place = (mass & np.uint32(2**PLACE_BITS - 1)).astype("float32")
    size, slope = (jnp.asarray(v).at[cell].get(mode="promise_in_bounds") for v in (sizes, slopes))
    found = size + slope * place
    return jnp.where(above, found, -found)
