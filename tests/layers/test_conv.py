"""Convolutions against loops over positions, and the distribution of their outputs."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import theorylab.layers as tl

KEY = jax.random.key(3)


def rearrange(array, spec, other):
    """Axes in the order ``spec`` to the order ``other``."""
    return np.transpose(array, [spec.index(letter) for letter in other])


def conv_by_hand(x, weights, strides, padding, specs):
    """Sum over every position of the image that a filter covers, one at a time."""
    letters = "".join(c for c in specs[1] if c not in "IO")
    x = rearrange(x, specs[0], f"N{letters}C")
    weights = rearrange(weights, specs[1], f"{letters}IO")
    sizes, window = x.shape[1:-1], weights.shape[:-2]
    out, low = [], []
    for n, f, s in zip(sizes, window, strides, strict=True):
        count = (n - f) // s + 1 if padding == "VALID" else math.ceil(n / s)
        out.append(count)
        low.append(0 if padding == "VALID" else max((count - 1) * s + f - n, 0) // 2)
    z = np.zeros((x.shape[0], *out, weights.shape[-1]))
    for p in itertools.product(*map(range, out)):
        for q in itertools.product(*map(range, window)):
            at = np.array(p) * strides + np.array(q) - low
            if padding == "CIRCULAR":
                at = at % sizes
            if np.all(at >= 0) and np.all(at < sizes):
                z[(slice(None), *p)] += x[(slice(None), *at)] @ weights[q]
    return rearrange(z, f"N{letters}O", specs[2].replace("C", "O"))


def random(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def parameters(layer, shape):
    """Random numbers in the place of parameters; drawing them would have to be compiled."""
    drawn = jax.eval_shape(lambda: layer.init(KEY, shape))
    return jax.tree.map(lambda a: random(a.shape, a.size).astype(a.dtype), drawn)


@pytest.mark.parametrize("padding", ["VALID", "SAME", "CIRCULAR"])
@pytest.mark.parametrize(
    ("shape", "window", "strides", "specs"),
    [
        ((2, 7, 3), (3,), None, None),
        ((2, 7, 3), (4,), (3,), None),
        ((3, 2, 7), (2,), (2,), ("CNH", "OIH", "NHC")),
        ((2, 5, 6, 3), (3, 2), None, None),
        ((2, 6, 5, 3), (2, 4), (2, 1), ("NHWC", "HWIO", "NHWC")),
        ((2, 3, 5, 6), (3, 2), (1, 2), ("NCHW", "OIHW", "NCHW")),
        ((2, 3, 5, 6), (2, 3), (2, 1), ("NCWH", "HIWO", "HNCW")),
        ((5, 3, 6, 2), (3, 3), (2, 2), ("aCbN", "baOI", "NbaC")),
        ((2, 3, 4, 4, 2), (2, 3, 1), (1, 2, 2), None),
        ((2, 2, 3, 4, 4), (2, 3, 3), (1, 2, 1), ("NCDHW", "WDHIO", "DNWCH")),
        ((1, 2, 3, 2, 2, 2), (2, 1, 2, 2), (1, 2, 1, 2), None),
    ],
)
def test_it_is_the_sum_over_the_filter(shape, window, strides, padding, specs):
    layer = tl.Conv(2, window, strides, padding, 1.3, 0.2, specs)
    with jax.enable_x64(True):
        x, params = random(shape), parameters(layer, shape)
        z = np.asarray(jax.jit(layer.apply)(params, x))
    assert z.shape == layer.output_shape(shape) and z.dtype == np.float64
    weights, bias = params["W"], params["b"]
    strides = (1,) * len(window) if strides is None else strides
    fan_in = np.prod(weights.shape) / 2
    z0 = conv_by_hand(x, weights, strides, padding, layer.dimension_numbers)
    along = [-1 if letter == "C" else 1 for letter in layer.dimension_numbers[2]]
    z0 = 1.3 / np.sqrt(fan_in) * z0 + 0.2 * bias.reshape(along)
    assert np.allclose(z, z0, rtol=0, atol=1e-13)


def test_circular_images_may_be_smaller_than_the_filter():
    layer = tl.Conv(1, (8,), padding="CIRCULAR")
    x, weights = random((1, 2, 1)).astype(np.float32), random((8, 1, 1), 1).astype(np.float32)
    specs = layer.dimension_numbers
    by_hand = conv_by_hand(x, weights, (1,), "CIRCULAR", specs) / np.sqrt(8)
    assert np.allclose(layer.apply({"W": jnp.asarray(weights)}, x), by_hand, atol=1e-6)


def test_a_filter_of_one_position_is_a_dense_layer():
    x = random((2, 3, 4, 5)).astype(np.float32)
    conv, dense = tl.Conv(6, (1, 1), None, "SAME", 1.2, 0.4), tl.Dense(6, 1.2, 0.4)
    params = parameters(conv, x.shape)
    one = conv.apply(params, x)
    other = dense.apply({"W": params["W"][0, 0], "b": params["b"]}, x)
    assert np.allclose(one, other, atol=1e-6)


def test_circular_convolutions_commute_with_rotations_of_the_image():
    x = random((2, 5, 4, 3)).astype(np.float32)
    layer = tl.Conv(2, (3, 3), padding="CIRCULAR")
    params = parameters(layer, x.shape)
    turned = layer.apply(params, np.roll(x, (2, 1), (1, 2)))
    assert np.allclose(turned, np.roll(layer.apply(params, x), (2, 1), (1, 2)), atol=1e-6)


@pytest.mark.parametrize(
    ("padding", "parameterization", "s"),
    [("VALID", "ntk", (1, 1)), ("SAME", "standard", (1, 1)), ("CIRCULAR", "standard", (4, 1))],
)
def test_outputs_have_the_variance_that_theory_gives_them(padding, parameterization, s):
    """Output channels are independent draws: their sample variance is right within 5 sigma."""
    x = random((1, 4, 3, 2)).astype(np.float32)
    layer = tl.Conv(5_000, (3, 2), (1, 1), padding, 1.5, 0.3, None, parameterization, s)
    z = np.asarray(layer.apply(layer.init(KEY, x.shape), x), np.float64)[0]
    squares = np.sum(x.astype(np.float64) ** 2, axis=-1, keepdims=True)
    ones = np.ones((3, 2, 1, 1))
    received = conv_by_hand(squares, ones, (1, 1), padding, layer.dimension_numbers)[0, ..., 0]
    theory = 1.5**2 * received / (3 * 2 * 2) + 0.3**2
    assert np.all(np.abs(z.var(axis=-1) / theory - 1) < 5 * np.sqrt(2 / layer.channels))
    assert np.all(np.abs(z.mean(axis=-1)) < 5 * np.sqrt(theory / layer.channels))


def test_the_standard_parameterization_is_the_other_one_with_scaled_weights():
    x = random((2, 5, 5, 3)).astype(np.float32)
    ntk = tl.Conv(4, (3, 3), None, "SAME", 1.5, 0.3)
    standard = tl.Conv(4, (3, 3), None, "SAME", 1.5, 0.3, None, "standard", (2, 1))
    one, other = ntk.init(KEY, x.shape), standard.init(KEY, x.shape)
    assert np.allclose(other["W"], 1.5 * np.sqrt(2 / 27) * one["W"], rtol=1e-6)
    assert np.allclose(other["b"], 0.3 * one["b"], rtol=1e-6)
    assert np.allclose(ntk.apply(one, x), standard.apply(other, x), atol=1e-5)


def test_width_multipliers_widen_the_standard_layer_alone():
    assert tl.Conv(4, (3,), parameterization="standard", s=(2, 3)).channels == 12
    assert tl.Conv(4, (3,), s=(2, 3)).channels == 4
    wide = tl.Conv(4, (3,), parameterization="standard", s=(2, 3))
    assert wide.output_shape((2, 7, 5)) == (2, 5, 12)
    assert parameters(wide, (2, 7, 5))["W"].shape == (3, 5, 12)


def test_no_bias_is_not_a_bias_of_zero():
    assert "b" not in parameters(tl.Conv(2, (3,)), (1, 5, 1))
    assert "b" in parameters(tl.Conv(2, (3,), b_std=0.0), (1, 5, 1))


def test_axes_of_any_order_are_read_off_the_specification():
    axes = tl.Conv(2, (3, 5), dimension_numbers=("NCWH", "HIWO", "HNCW")).axes
    assert axes == tl.ConvAxes(0, 1, 1, 2, (3, 2), (0, 3))
    assert tl.Conv(2, (1, 1, 1)).axes == tl.ConvAxes(0, 4, 0, 4, (1, 2, 3), (1, 2, 3))


def test_what_is_given_is_stored_in_one_form():
    plain = tl.Conv(np.int64(4), [3, np.int32(3)], None, "same", 1.0, None, None, "ntk", [1, 1])
    full = tl.Conv(4, (3, 3), (1, 1), "SAME", dimension_numbers=["NHWC", "HWIO", "NHWC"])
    assert plain == full and hash(plain) == hash(full) and repr(plain) == repr(full)
    assert jax.tree.structure(plain) == jax.tree.structure(full)
    assert plain.strides == (1, 1) and type(plain.filter_shape[1]) is int


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((0, (3,)), {}, ValueError, "Conv: out_chan must be at least 1, got 0"),
        ((2.0, (3,)), {}, TypeError, "Conv: out_chan must be an integer, got 2.0"),
        ((2, 3), {}, TypeError, "Conv: filter_shape must be a tuple of integers, .* got 3"),
        ((2, ()), {}, TypeError, r"Conv: filter_shape must be a tuple of integers, .* got \(\)"),
        ((2, (3, 0)), {}, ValueError, r"Conv: filter_shape must be at least 1 .* got \(3, 0\)"),
        ((2, (3, 3.0)), {}, TypeError, r"Conv: filter_shape must be a tuple of integers"),
        ((2, (3, 3), (1,)), {}, ValueError, r"Conv: strides must have 2 entries, .* got \(1,\)"),
        ((2, (3,), (0,)), {}, ValueError, r"Conv: strides must be at least 1 .* got \(0,\)"),
        ((2, (3,), None, "FULL"), {}, ValueError, r"Conv: padding must be 'VALID', .* 'FULL'"),
        ((2, (3,), None, 1), {}, ValueError, r"Conv: padding must be 'VALID', .* got 1"),
        ((2, (3,)), {"W_std": -1.0}, ValueError, "Conv: W_std must not be negative, got -1.0"),
        ((2, (3,)), {"b_std": np.inf}, ValueError, "Conv: b_std must be finite, got inf"),
        ((2, (3,)), {"parameterization": "mup"}, ValueError, "'ntk' or 'standard', got 'mup'"),
        ((2, (3,)), {"s": (1, 0)}, ValueError, r"Conv: s must be two positive integers"),
        ((2, (3,)), {"dimension_numbers": "NHC"}, TypeError, "must be three strings .* 'NHC'"),
        (
            (2, (3,)),
            {"dimension_numbers": ("NHC", "HIO")},
            TypeError,
            "dimension_numbers must be three strings",
        ),
        (
            (2, (3,)),
            {"dimension_numbers": ("NHH", "HIO", "NHC")},
            ValueError,
            "must have different letters, among them N and C in 'NHH'",
        ),
        (
            (2, (3,)),
            {"dimension_numbers": ("NHC", "HIC", "NHC")},
            ValueError,
            "must have different letters, among them I and O in 'HIC'",
        ),
        (
            (2, (3,)),
            {"dimension_numbers": ("NHC", "WIO", "NHC")},
            ValueError,
            "must have the same spatial letters in all three",
        ),
        (
            (2, (3,)),
            {"dimension_numbers": ("NHC", "HIO", "NWC")},
            ValueError,
            "must have the same spatial letters in all three",
        ),
        (
            (2, (3,)),
            {"dimension_numbers": ("NCI", "NIO", "NCO")},
            ValueError,
            "must have the same spatial letters in all three, none of them N, C, I or O",
        ),
        (
            (2, (3, 3)),
            {"dimension_numbers": ("NHC", "HIO", "NHC")},
            ValueError,
            "as many spatial letters as filter_shape has entries, 2, got",
        ),
    ],
)
def test_wrong_convolutions_are_refused_when_they_are_made(arguments, options, error, message):
    with pytest.raises(error, match=message):
        tl.Conv(*arguments, **options)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((5, 5, 3), r"Conv: the input must have the axes NHWC, got shape \(5, 5, 3\)"),
        ((2, 5, 5, 5, 3), r"Conv: the input must have the axes NHWC, got shape \(2, 5, 5, 5, 3\)"),
        ((2, 5, 2, 3), r"Conv: the window \(3, 3\) must fit .*'VALID', got shape \(2, 5, 2, 3\)"),
        ((2, 5, 0, 3), r"Conv: no axis but the batch may be empty, got shape \(2, 5, 0, 3\)"),
        ((2, 5, 5, 0), r"Conv: no axis but the batch may be empty, got shape \(2, 5, 5, 0\)"),
    ],
)
def test_wrong_images_are_named(shape, message):
    layer = tl.Conv(2, (3, 3))
    params = parameters(layer, (2, 5, 5, 3))
    with pytest.raises(ValueError, match=message):
        layer.output_shape(shape)
    with pytest.raises(ValueError, match=message):
        layer.init(KEY, shape)
    with pytest.raises(ValueError, match=message):
        layer.apply(params, jnp.ones(shape))


def test_weights_that_do_not_fit_the_image_are_named():
    layer = tl.Conv(2, (3, 3))
    params = parameters(layer, (2, 5, 5, 3))
    with pytest.raises(ValueError, match=r"Conv: the weights must have shape \(3, 3, 4, 2\) for"):
        layer.apply(params, jnp.ones((2, 5, 5, 4)))
    with pytest.raises(ValueError, match="Conv: takes one array, got 2 branches"):
        layer.apply(params, (jnp.ones((2, 5, 5, 3)),) * 2)
