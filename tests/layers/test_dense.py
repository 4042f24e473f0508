"""The fully connected layer on inputs with spatial axes, in any order of axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import theorylab.layers as tl

KEY = jax.random.key(1)


@pytest.mark.parametrize(
    ("batch_axis", "channel_axis"), [(0, -1), (0, 1), (1, 0), (-1, 2), (2, 3), (3, 0)]
)
def test_it_acts_on_every_position_by_itself(batch_axis, channel_axis):
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    layer = tl.Dense(6, 1.2, 0.4, batch_axis=batch_axis, channel_axis=channel_axis)
    n = x.shape[channel_axis]
    weights = np.random.default_rng(1).normal(size=(n, 6)).astype(np.float32)
    params = {"W": jnp.asarray(weights), "b": jnp.arange(6.0)}
    z = layer.apply(params, x)
    assert z.shape == layer.output_shape(x.shape)
    by_hand = 1.2 / np.sqrt(n) * np.moveaxis(x, channel_axis, -1) @ weights + 0.4 * np.arange(6)
    assert np.allclose(np.moveaxis(z, channel_axis, -1), by_hand, atol=1e-5)


def test_old_positional_arguments_keep_their_meaning():
    layer = tl.Dense(6, 1.2, 0.4, "standard", (2, 3))
    assert (layer.parameterization, layer.s, layer.channels) == ("standard", (2, 3), 18)
    assert (layer.batch_axis, layer.channel_axis) == (0, -1)


def test_the_dtype_is_that_of_the_input_whatever_the_parameters():
    layer = tl.Dense(2, 1.0, 0.1)
    narrow = {"W": np.ones((4, 2), np.float32), "b": np.ones(2, np.float32)}
    with jax.enable_x64(True):
        wide = {"W": np.ones((4, 2)), "b": np.ones(2)}
        for params in (wide, narrow):
            for dtype in (np.float32, np.float64):
                assert layer.apply(params, np.ones((3, 4), dtype)).dtype == dtype
    for dtype in (jnp.bfloat16, np.float16, np.int32):
        assert layer.apply(narrow, jnp.ones((3, 4), dtype)).dtype == np.float32


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (tl.Dense(2), (3,), r"Dense: .* a batch axis and a channel axis, got \(3,\)"),
        (tl.Dense(2), (3, 0), r"Dense: no axis but the batch may be empty, got shape \(3, 0\)"),
        (tl.Dense(2, channel_axis=2), (3, 4), r"Dense: channel_axis 2 must be an axis of"),
        (tl.Dense(2, batch_axis=1), (3, 4), r"Dense: batch_axis 1 and channel_axis -1 must differ"),
    ],
)
def test_wrong_inputs_are_named(layer, shape, message):
    for call in (
        lambda: layer.output_shape(shape),
        lambda: layer.init(KEY, shape),
        lambda: layer.apply({"W": jnp.ones((4, 2))}, jnp.ones(shape)),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_axes_that_are_no_integers_are_refused():
    with pytest.raises(TypeError, match="Dense: channel_axis must be an integer, got 'C'"):
        tl.Dense(2, channel_axis="C")
    with pytest.raises(ValueError, match="Dense: batch_axis and channel_axis must differ, got 0"):
        tl.Dense(2, channel_axis=0)
