"""Pools against loops over windows."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import theorylab.layers as tl

PADDINGS = ["VALID", "SAME", "CIRCULAR"]


def pool_by_hand(x, window, strides, padding):
    """Sums, and numbers of positions inside the image, for ``x`` of shape (n, *S, c)."""
    sizes = x.shape[1:-1]
    out, low = [], []
    for n, f, s in zip(sizes, window, strides, strict=True):
        count = (n - f) // s + 1 if padding == "VALID" else math.ceil(n / s)
        out.append(count)
        low.append(0 if padding == "VALID" else max((count - 1) * s + f - n, 0) // 2)
    sums, inside = np.zeros((x.shape[0], *out, x.shape[-1])), np.zeros((1, *out, 1))
    for p in itertools.product(*map(range, out)):
        for q in itertools.product(*map(range, window)):
            at = np.array(p) * strides + np.array(q) - low
            if padding == "CIRCULAR":
                at = at % sizes
            if np.all(at >= 0) and np.all(at < sizes):
                sums[(slice(None), *p)] += x[(slice(None), *at)]
                inside[(0, *p)] += 1
    return sums, inside


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(
    ("shape", "window", "strides", "order"),
    [
        ((2, 7, 3), (3,), (1,), (0, 1, 2)),
        ((2, 7, 3), (4,), (3,), (2, 1, 0)),
        ((2, 5, 6, 3), (3, 2), (1, 1), (0, 1, 2, 3)),
        ((2, 6, 5, 3), (2, 4), (2, 1), (0, 3, 1, 2)),
        ((2, 6, 5, 3), (2, 2), (2, 2), (1, 3, 2, 0)),
        ((2, 3, 4, 4, 2), (2, 3, 1), (1, 2, 2), (0, 1, 2, 3, 4)),
    ],
)
def test_they_are_sums_and_averages_over_windows(shape, window, strides, padding, order):
    """``order`` permutes the axes of the array while its spatial axes keep their order."""
    x = np.random.default_rng(0).normal(size=shape)
    sums, inside = pool_by_hand(x, window, strides, padding)
    axes = {"batch_axis": order.index(0), "channel_axis": order.index(len(shape) - 1)}
    x = np.transpose(x, order)
    make = (window, strides, padding)
    layers = {
        tl.SumPool(*make, **axes): sums,
        tl.AvgPool(*make, **axes): sums / np.prod(window),
        tl.AvgPool(*make, normalize_edges=True, **axes): sums / inside,
    }
    with jax.enable_x64(True):
        for layer, by_hand in layers.items():
            assert layer.init(jax.random.key(0), x.shape) == ()
            y = layer.apply((), x)
            assert y.shape == layer.output_shape(x.shape) and y.dtype == np.float64
            assert np.allclose(y, np.transpose(by_hand, order), rtol=0, atol=1e-14)


def test_circular_images_may_be_smaller_than_the_window():
    x = np.random.default_rng(0).normal(size=(1, 2, 1)).astype(np.float32)
    sums, _ = pool_by_hand(x, (8,), (1,), "CIRCULAR")
    assert np.allclose(tl.SumPool((8,), padding="CIRCULAR").apply((), x), sums, atol=1e-5)


def test_averages_of_a_constant_are_that_constant_unless_zeros_are_averaged_in():
    x = np.full((1, 5, 4, 2), 3.0, np.float32)
    for padding in PADDINGS:
        even = tl.AvgPool((3, 2), (2, 1), padding, normalize_edges=True).apply((), x)
        assert np.allclose(even, 3.0, rtol=1e-6)
    assert np.min(tl.AvgPool((3, 2), (2, 1), "SAME").apply((), x)) < 2.1


@pytest.mark.parametrize(
    ("batch_axis", "channel_axis", "spatial"),
    [(0, -1, (1, 2)), (0, 1, (2, 3)), (3, 0, (1, 2)), (-1, 1, (0, 2))],
)
def test_global_pools_leave_batch_and_channels_in_their_order(batch_axis, channel_axis, spatial):
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    for layer, by_hand in {
        tl.GlobalAvgPool(batch_axis, channel_axis): x.mean(spatial),
        tl.GlobalSumPool(batch_axis, channel_axis): x.sum(spatial),
    }.items():
        assert layer.init(jax.random.key(0), x.shape) == ()
        assert layer.output_shape(x.shape) == by_hand.shape
        assert np.allclose(layer.apply((), x), by_hand, atol=1e-5)


def test_a_window_of_the_whole_image_is_a_global_pool():
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    window = tl.AvgPool((3, 4)).apply((), x)
    assert np.allclose(tl.GlobalAvgPool().apply((), x), window[:, 0, 0], atol=1e-6)


def test_what_is_given_is_stored_in_one_form():
    plain = tl.AvgPool([2, np.int64(2)], None, "valid")
    full = tl.AvgPool((2, 2), (1, 1), "VALID", False, 0, -1)
    assert plain == full and hash(plain) == hash(full) and repr(plain) == repr(full)
    assert plain.strides == (1, 1)


@pytest.mark.parametrize("make", [tl.AvgPool, tl.SumPool])
@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((2,), {}, TypeError, "window_shape must be a tuple of integers"),
        (((2, -1),), {}, ValueError, "window_shape must be at least 1"),
        (((2, 2), (2,)), {}, ValueError, "strides must have 2 entries"),
        (((2, 2), None, "EDGE"), {}, ValueError, "padding must be 'VALID', .* got 'EDGE'"),
        (((2,),), {"batch_axis": None}, TypeError, "batch_axis must be an integer, got None"),
        (((2,),), {"batch_axis": -1}, ValueError, "batch_axis and channel_axis must differ"),
    ],
)
def test_wrong_pools_are_refused_when_they_are_made(make, arguments, options, error, message):
    with pytest.raises(error, match=f"{make.__name__}: {message}"):
        make(*arguments, **options)


def test_normalize_edges_is_a_bool():
    with pytest.raises(TypeError, match="AvgPool: normalize_edges must be a bool, got 1"):
        tl.AvgPool((2,), normalize_edges=1)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (
            tl.AvgPool((2, 2)),
            (3, 4, 5),
            r"AvgPool: the window \(2, 2\) has 2 spatial axes, .* got shape \(3, 4, 5\)",
        ),
        (
            tl.SumPool((2,), channel_axis=1),
            (3, 4, 1),
            r"SumPool: the window \(2,\) must fit into the image .* got shape \(3, 4, 1\)",
        ),
        (tl.SumPool((2,)), (3, 0, 2), "SumPool: no axis but the batch may be empty"),
        (
            tl.GlobalAvgPool(),
            (3, 4),
            r"GlobalAvgPool: the input must have spatial axes .* got shape \(3, 4\)",
        ),
        (tl.GlobalSumPool(2, 3), (3, 4, 5), "GlobalSumPool: channel_axis 3 must be an axis"),
    ],
)
def test_wrong_images_are_named(layer, shape, message):
    for call in (
        lambda: layer.output_shape(shape),
        lambda: layer.init(jax.random.key(0), shape),
        lambda: layer.apply((), jnp.ones(shape)),
    ):
        with pytest.raises(ValueError, match=message):
            call()
