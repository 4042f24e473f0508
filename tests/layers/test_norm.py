"""LayerNorm against NumPy, and where it may not be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import theorylab.layers as tl


@pytest.mark.parametrize(
    ("axis", "channel_axis", "batch_axis"),
    [(-1, -1, 0), ((1, 2, 3), -1, 0), ((1,), 1, 0), ((2, -3), 1, 3), ((0, -1), 3, 1)],
)
def test_every_input_has_mean_zero_and_variance_one(axis, channel_axis, batch_axis):
    x = np.random.default_rng(0).normal(2.0, 3.0, size=(3, 4, 5, 6))
    layer = tl.LayerNorm(axis, 1e-3, batch_axis, channel_axis)
    with jax.enable_x64(True):
        y = layer.apply(layer.init(jax.random.key(0), x.shape), x)
    by_hand = (x - x.mean(axis, keepdims=True)) / np.sqrt(x.var(axis, keepdims=True) + 1e-3)
    assert y.shape == layer.output_shape(x.shape)
    assert np.allclose(y, by_hand, rtol=0, atol=1e-13)


def test_it_forgets_shifts_and_scales_of_every_input():
    x = np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32)
    layer = tl.LayerNorm()
    assert np.allclose(layer.apply((), 5 * x + 100), layer.apply((), x), atol=1e-4)


def test_constant_inputs_give_zeros_and_finite_gradients():
    x = jnp.full((2, 5), 3.0)
    for eps in (0.0, 1e-12):
        layer = tl.LayerNorm(eps=eps)
        assert np.array_equal(layer.apply((), x), np.zeros((2, 5)))
        gradient = jax.grad(lambda z, layer=layer: jnp.sum(layer.apply((), z) ** 2))(x)
        assert np.all(np.isfinite(gradient))


def test_wrong_arguments_and_inputs_are_named():
    with pytest.raises(ValueError, match="LayerNorm: eps must be finite and not negative, got -1"):
        tl.LayerNorm(eps=-1.0)
    with pytest.raises(TypeError, match="LayerNorm: eps must be a real number, got '0'"):
        tl.LayerNorm(eps="0")
    with pytest.raises(TypeError, match="LayerNorm: axis must be an integer, got None"):
        tl.LayerNorm(None)
    for axis in ((), (1, 1)):
        with pytest.raises(ValueError, match="LayerNorm: axis must be one axis or several, got"):
            tl.LayerNorm(axis)
    for layer, shape, message in [
        (
            tl.LayerNorm((0, -1)),
            (3, 4, 5),
            r"axis \(0, -1\) must not contain the batch axis 0",
        ),
        (tl.LayerNorm(1), (3, 4, 5), r"axis 1 must contain the channel axis 2, got shape \(3, 4"),
        (tl.LayerNorm((2, -1)), (3, 4, 5), r"axis \(2, -1\) must not name an axis twice, got"),
        (tl.LayerNorm((3, -1)), (3, 4, 5), r"axis 3 must be an axis of the input, got shape"),
        (tl.LayerNorm(), (3,), r"must have a batch axis and a channel axis, got \(3,\)"),
    ]:
        for call in (
            lambda layer=layer, shape=shape: layer.output_shape(shape),
            lambda layer=layer, shape=shape: layer.init(jax.random.key(0), shape),
            lambda layer=layer, shape=shape: layer.apply((), jnp.ones(shape)),
        ):
            with pytest.raises(ValueError, match="LayerNorm: .*" + message):
                call()


def test_what_is_given_is_stored_in_one_form():
    one, other = tl.LayerNorm([1, np.int64(2)], np.float64(1e-6)), tl.LayerNorm((1, 2), 1e-6)
    assert one == other and hash(one) == hash(other) and repr(one) == repr(other)
