"""Normal numbers from a table: quantiles to a known error, and one rounding however compiled."""

from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtri

from theorylab.subspace import _normal as normal

HALF = 2 ** (normal.BITS - 1)


def words(upper):
    """Words that begin with the bits of a number, the others zero."""
    return jnp.asarray(upper, jnp.uint32) << np.uint32(32 - normal.BITS)


@pytest.fixture(scope="module")
def lower():
    """Normal numbers below zero, all that there are, from the smallest on."""
    return np.asarray(jax.jit(normal.normal_of)(words(np.arange(HALF))))


def test_all_of_them_are_the_quantiles(lower):
    exact = ndtri((np.arange(HALF) + 0.5) / (2 * HALF))
    assert np.abs(lower - exact).max() < 4e-6
    assert -5.3 < lower[0] and lower[-1] == pytest.approx(0, abs=2e-6)
    assert (lower.astype(float) ** 2).mean() == pytest.approx(1, rel=1e-6)
    assert (lower.astype(float) ** 4).mean() == pytest.approx(3, rel=4e-6)


def test_they_are_symmetric_to_the_bit(lower):
    upper = np.asarray(jax.jit(normal.normal_of)(words(np.arange(HALF, 2 * HALF))))
    np.testing.assert_array_equal(upper[::-1], -lower)


def test_the_table_is_the_one_that_checkpoints_were_made_with():
    sizes, slopes, _ = normal.table()
    assert (crc32(sizes.tobytes()), crc32(slopes.tobytes())) == (0xC60BEDFB, 0x2C55F9D2)
    assert not sizes.flags.writeable and not slopes.flags.writeable


def test_bits_below_the_upper_ones_do_not_matter():
    w = np.random.default_rng(0).integers(0, 2**32, 1000, dtype=np.uint32)
    np.testing.assert_array_equal(normal.normal_of(jnp.asarray(w)), normal.normal_of(words(w >> 9)))


def test_a_product_and_a_sum_in_one_rounding_are_the_same(lower):
    # In float64 product and sum are exact: the rounding to float32 is the only one there is.
    sizes, slopes, first = normal.table()
    mass = (np.arange(HALF, dtype=np.float32) + np.float32(0.5)).view(np.uint32)
    cell, place = (mass >> normal.PLACE_BITS) - first, mass % 2**normal.PLACE_BITS
    product = slopes[cell].astype(float) * place
    np.testing.assert_array_equal(product, product.astype(np.float32))
    fused = (sizes[cell] + product).astype(np.float32)
    np.testing.assert_array_equal(-lower, fused)
    assert len(sizes) == len(slopes) == cell.max() + 1 and cell.min() == 0


def test_they_do_not_depend_on_what_stands_around_them():
    w = words(np.random.default_rng(1).integers(0, 2 * HALF, 2**14))
    with jax.disable_jit():
        plain = normal.normal_of(w)
    np.testing.assert_array_equal(jax.jit(normal.normal_of)(w), plain)
    table, scale = jax.jit(lambda w, s: (normal.normal_of(w).reshape(128, 128), s))(w, 3.0)
    around = jax.jit(lambda w, s: jnp.max(normal.normal_of(w).reshape(128, 128) * 2 + s, axis=0))
    np.testing.assert_array_equal(around(w, scale), np.asarray(table * 2 + scale).max(axis=0))
