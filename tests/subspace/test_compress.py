"""What is compressed comes back, costs the bits that are said, and is refused when altered."""

import json
import math
import struct
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import subspace
from theorylab.subspace import _arithmetic_coder as coder
from theorylab.subspace._quantise import code_of, read_code

RNG = np.random.default_rng(0)
LIKE = {"w": jnp.zeros((40, 30)), "b": jnp.zeros(30, jnp.bfloat16)}


def packed(bits):
    return np.packbits(np.array(bits, np.uint8)).tobytes()


# The integer coder --------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", [1, 2, 3, 50])
@pytest.mark.parametrize("count", [1, 2, 700])
def test_symbols_come_back_whatever_follows_and_the_decoder_knows_the_end(kinds, count):
    weights = RNG.dirichlet(np.full(kinds, 0.3))
    symbols = RNG.choice(kinds, count, p=weights).tolist()
    bits = coder.encode(symbols, kinds)
    for follow in ([], [0] * 60, [1] * 60, RNG.integers(0, 2, 60).tolist()):
        reader = coder.BitReader(packed(bits + follow))
        assert coder.decode(reader, count, kinds) == symbols
        assert reader.position == len(bits)


@pytest.mark.parametrize("kinds", [2, 5, 40])
def test_the_length_of_the_code_is_that_of_its_model_in_exact_arithmetic(kinds):
    symbols = RNG.choice(kinds, 2000, p=RNG.dirichlet(np.ones(kinds))).tolist()
    seen, ideal = [0] * kinds, 0.0
    for n, symbol in enumerate(symbols):
        ideal -= math.log2((2 * seen[symbol] + 1) / (2 * n + kinds))
        seen[symbol] += 1
    assert ideal < len(coder.encode(symbols, kinds)) <= ideal + 2.2
    shares = np.array([s for s in seen if s]) / 2000
    entropy = -2000 * np.sum(shares * np.log2(shares))
    assert entropy < ideal < entropy + 0.5 * (kinds - 1) * math.log2(2000) + kinds


def test_codes_of_all_short_sequences_are_prefix_free():
    words = []
    for number in range(3**4):
        symbols = [number // 3**i % 3 for i in range(4)]
        words.append("".join(map(str, coder.encode(symbols, 3))))
    assert len(set(words)) == 81
    assert not any(b.startswith(a) for a in words for b in words if a != b)
    assert sum(2.0 ** -len(word) for word in words) <= 1


def test_numbers_come_back_and_their_code_is_prefix_free():
    numbers = [*range(1, 200), 2**20, 2**40 + 7, 2**63 - 1]
    for number in numbers:
        reader = coder.BitReader(packed(coder.natural_bits(number)))
        assert coder.read_natural(reader) == number
    words = ["".join(map(str, coder.natural_bits(number))) for number in numbers]
    assert not any(b.startswith(a) for a in words for b in words if a != b)


# Levels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("codebook", ["kmeans", "uniform"])
@pytest.mark.parametrize("levels", [1, 2, 9, 300])
def test_every_coordinate_has_the_nearest_level_and_the_error_is_a_step_at_most(
    levels, codebook, dtype
):
    with jax.enable_x64(dtype == np.float64):
        theta = RNG.standard_normal(500).astype(dtype) * 1e-3
        q = subspace.quantise(theta, levels, codebook=codebook)
        assert q.values.dtype == dtype
        assert len(q.codebook) <= levels
        distance = np.abs(theta[:, None] - np.asarray(q.codebook))
        gap = np.abs(theta - np.asarray(q.values))
        np.testing.assert_allclose(gap, distance.min(1), rtol=1e-6, atol=1e-12)
        assert (np.asarray(q.values) == np.asarray(q.codebook)[np.asarray(q.symbols)]).all()
        if codebook == "uniform":
            assert gap.max() <= np.ptp(theta) / levels / 2 + 1e-3 * 2**-10


def test_k_means_is_a_fixed_point_and_never_worse_than_equal_steps(x64):
    for seed in range(5):
        theta = np.random.default_rng(seed).standard_t(3, 400)
        for levels in (2, 5, 16):
            learned = subspace.quantise(theta, levels)
            equal = subspace.quantise(theta, levels, codebook="uniform")
            loss = [np.sum((theta - np.asarray(q.values)) ** 2) for q in (learned, equal)]
            assert loss[0] <= loss[1]
            symbols = np.asarray(learned.symbols)
            means = [theta[symbols == k].mean() for k in range(len(learned.codebook))]
            tolerance = np.abs(theta).max() * 2**-9
            np.testing.assert_allclose(learned.codebook, means, atol=tolerance)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 3e37])
def test_quantising_again_changes_nothing_at_any_scale(scale):
    theta = (scale * RNG.standard_normal(200)).astype(np.float32)
    for levels in (1, 4, 30):
        once = subspace.quantise(theta, levels)
        again = subspace.quantise(once.values, levels)
        assert (np.asarray(again.values) == np.asarray(once.values)).all()
        np.testing.assert_allclose(
            subspace.quantise(theta / np.float32(scale), levels).symbols, once.symbols, atol=1
        )


def test_equal_steps_never_have_the_smaller_error(x64):
    # Close together, so that in a few of these k-means alone loses more by rounding than it gains.
    for seed in range(200):
        theta = 3 + 1e-3 * np.random.default_rng(seed).standard_normal(8)
        learned, equal = (
            np.sum(np.square(theta - subspace.quantise(theta, 2, codebook=kind).values))
            for kind in ("kmeans", "uniform")
        )
        assert learned <= equal


def test_few_distinct_values_are_kept_to_the_rounding_of_the_codebook(x64):
    theta = np.random.default_rng(0).standard_normal(1000) * 10 ** np.linspace(-9, 0, 1000)
    kept = np.asarray(subspace.quantise(theta, 1000).values)
    largest = np.abs(theta).max()
    assert (np.abs(kept - theta) <= np.maximum(2**-11 * np.abs(theta), 2**-24 * largest)).all()
    assert np.abs(kept - theta).max() > 0


def test_the_largest_number_is_rounded_down_where_there_is_none_above():
    most = np.finfo(np.float32).max
    for theta in ([most, 1], [-most, most], [most] * 3, [most, most / 2, -1, 0]):
        theta = np.array(theta, np.float32)
        for levels in (1, 2):
            q = subspace.quantise(theta, levels)
            assert np.isfinite(np.asarray(q.values)).all()
            values = read_code(packed(code_of(theta, levels, "kmeans")), len(theta))
            assert np.asarray(values).tolist() == np.asarray(q.values).tolist()
            again = subspace.quantise(q.values, levels)
            assert np.asarray(again.values).tolist() == np.asarray(q.values).tolist()
    np.testing.assert_allclose(subspace.quantise(np.array([most, 1]), 2).values, [most, 0], 2**-11)
    with pytest.raises(ValueError, match="theta_d must be finite, in float32"):
        subspace.quantise(np.array([1e300, 1.0]), 2)


def test_numpy_integers_are_whole_numbers():
    theta = RNG.standard_normal(500)
    for few in (np.uint8(200), np.int8(100), np.int64(3)):
        found, expected = (subspace.quantise(theta, k).symbols for k in (few, int(few)))
        assert found.tolist() == expected.tolist()


def test_few_distinct_values_are_kept():
    theta = np.array([0.5, -0.25, 0.5, 0.0, -0.25], np.float32)
    assert subspace.quantise(theta, 3).values.tolist() == theta.tolist()
    assert subspace.quantise(np.zeros(4, np.float32), 5).codebook.tolist() == [0]


def test_half_precision_is_quantised_in_single():
    theta = jnp.asarray([0.1, 0.2, 0.9], jnp.bfloat16)
    assert subspace.quantise(theta, 2).values.dtype == jnp.float32


# The whole ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [1, 2, 16, 1000])
def test_what_is_compressed_comes_back_and_costs_what_is_said(levels):
    p = subspace.hadamard(300, like=LIKE, key=jax.random.key(3))
    theta = (0.01 * RNG.standard_normal(300)).astype(np.float32)
    data = subspace.compress(p, theta, levels)
    again, values = subspace.decompress(data, LIKE)
    expected = subspace.quantise(theta, levels).values
    assert (np.asarray(values) == np.asarray(expected)).all()
    assert values.dtype == np.float32
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(np.asarray(a), np.asarray(b)),
        again.apply(values),
        p.apply(expected),
    )
    bits = subspace.compressed_bits(theta, levels)
    assert bits == len(code_of(theta, levels, "kmeans"))
    head = json.dumps(subspace.record(p), separators=(",", ":"), sort_keys=True)
    assert len(data) == 8 + 8 + len(head) + -(-bits // 8) + 4
    assert data == subspace.compress(subspace.record(p), theta, levels)


def test_double_precision_comes_back_in_double(x64):
    p = subspace.hadamard(20, like=LIKE, key=jax.random.key(0))
    theta = RNG.standard_normal(20) * 1e-60
    _, values = subspace.decompress(subspace.compress(p, theta, 64), LIKE)
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, theta, atol=1e-60 * 2**-8)


def test_codes_of_different_vectors_are_prefix_free():
    words = []
    for d in (1, 2, 3, 9):
        for levels in (1, 2, 4):
            for seed in range(8):
                theta = np.random.default_rng(seed).integers(-2, 3, d).astype(np.float32)
                words.append("".join(map(str, code_of(theta, levels, "kmeans"))))
    words = set(words)
    assert len(words) > 40
    assert not any(b.startswith(a) for a in words for b in words if a != b)


def test_fewer_levels_cost_fewer_bits_and_lose_more():
    theta = RNG.standard_normal(2000)
    bits = [subspace.compressed_bits(theta, k) for k in (2, 4, 16, 64)]
    loss = [np.std(theta - np.asarray(subspace.quantise(theta, k).values)) for k in (2, 4, 16, 64)]
    assert bits == sorted(bits)
    assert loss == sorted(loss, reverse=True)
    assert bits[-1] < 32 * 2000 / 4


def test_every_altered_bit_and_every_cut_is_noticed():
    p = subspace.hadamard(12, like=LIKE, key=jax.random.key(0))
    data = subspace.compress(p, RNG.standard_normal(12), 4)
    for cut in range(len(data)):
        with pytest.raises(ValueError, match="data"):
            subspace.decompress(data[:cut], LIKE)
    with pytest.raises(ValueError, match="added to"):
        subspace.decompress(data + b"\0", LIKE)
    for place in RNG.permutation(8 * len(data))[:200]:
        altered = bytearray(data)
        altered[place // 8] ^= 1 << place % 8
        with pytest.raises(ValueError, match="data"):
            subspace.decompress(bytes(altered), LIKE)


def forged(data, code=None, head=None):
    """Data with another code or record, and the right lengths and checksum."""
    size, length = struct.unpack_from(">II", data, 8)
    head = data[16 : 16 + size] if head is None else head
    code = data[16 + size : 16 + size + length] if code is None else code
    body = data[:8] + struct.pack(">II", len(head), len(code)) + head + code
    return body + struct.pack(">I", crc32(body))


def test_what_has_the_right_checksum_but_makes_no_sense_is_refused():
    p = subspace.hadamard(12, like=LIKE, key=jax.random.key(0))
    data = subspace.compress(p, RNG.standard_normal(12), 4)
    good, _ = subspace.decompress(forged(data), LIKE)
    assert good.d == 12
    bits = code_of(RNG.standard_normal(12), 4, "kmeans")
    start = coder.natural_bits(12) + [0]
    for code, message in [
        (packed(coder.natural_bits(2**50)), "must hold d = 12 coordinates"),
        (packed(start + coder.natural_bits(12)), "no room for a codebook of 12"),
        (packed(start + coder.natural_bits(2**40)), "no room for a codebook"),
        (b"\0" * 30, "above 2\\^63"),
        (b"", "ends early"),
        (packed(bits)[:-3], "ends early"),
        (packed(bits) + b"\0", "must end after"),
        (packed(start + [1] + [0] * 12 + [0, 1, 1, 1, 1, 1] + [0] * 20), "finite"),
        (packed(start + [1] + [0] + [1] * 11 + [0, 0, 1, 1, 1] + [0] * 13), "exponent 2047"),
    ]:
        with pytest.raises(ValueError, match=message):
            subspace.decompress(forged(data, code), LIKE)
    for head, message in [
        (b"{", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "dict"),
        (b"{}", "record of a projection"),
    ]:
        with pytest.raises(ValueError, match=message):
            subspace.decompress(forged(data, head=head), LIKE)
    with pytest.raises(ValueError, match="like must have the leaves"):
        subspace.decompress(data, {"w": jnp.zeros((40, 30)), "b": jnp.zeros(31, jnp.bfloat16)})


def test_what_is_no_bytes_is_refused():
    for wrong in ("abc", 5, None, [1, 2]):
        with pytest.raises(TypeError, match="data must be bytes, got"):
            subspace.decompress(wrong, LIKE)
    p = subspace.hadamard(2, like=LIKE, key=jax.random.key(0))
    data = subspace.compress(p, np.ones(2), 1)
    for kind in (bytearray, memoryview):
        assert subspace.decompress(kind(data), LIKE)[1].tolist() == [1, 1]


def test_random_codes_are_read_or_refused_and_never_anything_else():
    for seed in range(300):
        rng = np.random.default_rng(seed)
        bits = coder.natural_bits(5) + rng.integers(0, 2, rng.integers(0, 200)).tolist()
        try:
            values = read_code(packed(bits), 5)
        except ValueError:
            continue
        assert values.shape == (5,)
        assert np.isfinite(np.asarray(values)).all()


@pytest.mark.parametrize(
    ("theta", "levels", "options", "error", "message"),
    [
        (np.ones(3, int), 2, {}, TypeError, "theta_d must be a real floating"),
        (np.ones((3, 1)), 2, {}, ValueError, "theta_d must be"),
        (np.zeros(0), 2, {}, ValueError, "theta_d must be"),
        (np.array([1.0, np.nan]), 2, {}, ValueError, "finite"),
        (np.ones(3), 0, {}, ValueError, "levels must be a whole number"),
        (np.ones(3), 2.5, {}, ValueError, "levels must be a whole number"),
        (np.ones(3), 2**16 + 1, {}, ValueError, "levels must be a whole number"),
        (np.ones(3), 2, {"codebook": "random"}, ValueError, "codebook must be"),
    ],
)
def test_bad_input_is_refused(theta, levels, options, error, message):
    for call in (subspace.quantise, subspace.compressed_bits):
        with pytest.raises(error, match=message):
            call(theta, levels, **options)


def test_a_theta_that_does_not_fit_or_no_projection_is_refused():
    p = subspace.hadamard(12, like=LIKE, key=jax.random.key(0))
    with pytest.raises(ValueError, match="theta_d must have shape \\(12,\\), got \\(11,\\)"):
        subspace.compress(p, np.ones(11), 2)
    for wrong in (subspace.said(p), None):
        with pytest.raises(TypeError, match="projection must be"):
            subspace.compress(wrong, np.ones(12), 2)
