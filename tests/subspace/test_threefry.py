"""The generator: known answers of its authors, and numbers that depend on their place alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from theorylab.subspace import _threefry as threefry
from theorylab.subspace._normal import normals

# Random123's known answers for threefry2x32 with 20 rounds: counter, key, result.
ANSWERS = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]
SEED = jnp.array([3, 5], jnp.uint32)


@pytest.mark.parametrize(("counter", "key", "answer"), ANSWERS)
def test_the_words_are_the_authors(counter, key, answer):
    found = threefry.threefry(jnp.asarray(key, jnp.uint32), *jnp.asarray(counter, jnp.uint32))
    assert tuple(int(word) for word in found) == answer


@pytest.mark.parametrize("draw", [threefry.words, normals])
def test_an_entry_depends_on_its_place_alone(draw):
    whole = draw(SEED, 1, 0, 1000)
    for start, count in ((0, 7), (64, 129), (998, 2)):
        np.testing.assert_array_equal(draw(SEED, 1, start, count), whole[start : start + count])
    traced = jax.jit(lambda start: draw(SEED, 1, start, 10))(jnp.asarray(64))
    np.testing.assert_array_equal(traced, whole[64:74])


def test_signs_are_the_bits_of_the_words():
    words = np.asarray(threefry.words(SEED, 2, 0, 8))
    bits = (words[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    found = threefry.signs(SEED, 2, 0, 250, "float32")
    np.testing.assert_array_equal(found, 1 - 2.0 * bits.reshape(-1)[:250])
    later = threefry.signs(SEED, 2, 128, 100, "float32")
    np.testing.assert_array_equal(later, found[128:228])


def test_streams_and_seeds_give_other_numbers():
    draws = [threefry.words(SEED, stream, 0, 4) for stream in (0, 1)]
    draws += [threefry.words(threefry.fold(SEED, label), 0, 0, 4) for label in (0, 1)]
    assert len({tuple(np.asarray(words).tolist()) for words in draws}) == 4


def test_normals_and_signs_have_their_distributions():
    # Kolmogorov-Smirnov and binomial tests of fixed numbers: they pass always or never.
    n = 2**16
    assert scipy.stats.kstest(normals(SEED, 4, 0, n), "norm").pvalue > 0.01
    positive = int((threefry.signs(SEED, 5, 0, n, "float32") > 0).sum())
    assert scipy.stats.binomtest(positive, n).pvalue > 0.01


def test_numbers_do_not_depend_on_x64():
    # Two cached runs of one function would be one and the same: each is compiled anew.
    def draw():
        return [np.asarray(f(SEED, 6, 64, 100)) for f in (threefry.words, normals)]

    narrow = draw()
    with jax.enable_x64(True):
        wide = draw()
    for one, other in zip(narrow, wide, strict=True):
        np.testing.assert_array_equal(one, other)
    assert wide[1].dtype == np.float32
