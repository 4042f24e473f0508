"""Flatten: row-major order, batch anywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import theorylab.layers as tl


@pytest.mark.parametrize("batch_axis", [0, 1, -1])
@pytest.mark.parametrize("batch_axis_out", [0, 1, -1, -2])
def test_every_input_is_its_entries_in_row_major_order(batch_axis, batch_axis_out):
    x = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    layer = tl.Flatten(batch_axis, batch_axis_out)
    y = np.asarray(layer.apply(layer.init(jax.random.key(0), x.shape), x))
    assert y.shape == layer.output_shape(x.shape)
    for i in range(x.shape[batch_axis]):
        one = np.take(x, i, axis=batch_axis).ravel()
        assert np.array_equal(np.take(y, i, axis=batch_axis_out), one)


def test_two_axes_stay_what_they_are():
    x = np.ones((3, 4), np.float32)
    assert np.array_equal(tl.Flatten().apply((), x), x)
    assert np.array_equal(tl.Flatten(0, 1).apply((), x), x.T)


def test_wrong_arguments_and_inputs_are_named():
    with pytest.raises(ValueError, match="Flatten: batch_axis_out must be 0 or 1, got 2"):
        tl.Flatten(0, 2)
    with pytest.raises(TypeError, match="Flatten: batch_axis must be an integer, got 0.5"):
        tl.Flatten(0.5)
    for layer, shape, message in [
        (tl.Flatten(), (3,), r"Flatten: the input must have axes beside the batch, got \(3,\)"),
        (tl.Flatten(3), (3, 4), r"Flatten: batch_axis 3 must be an axis .* got shape \(3, 4\)"),
        (tl.Flatten(), (3, 0, 2), r"Flatten: no axis but the batch may be empty"),
    ]:
        with pytest.raises(ValueError, match=message):
            layer.output_shape(shape)
        with pytest.raises(ValueError, match=message):
            layer.init(jax.random.key(0), shape)
        with pytest.raises(ValueError, match=message):
            layer.apply((), jnp.ones(shape))
