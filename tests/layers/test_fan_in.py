"""Branches that meet again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import theorylab.layers as tl

A, B, C = np.random.default_rng(0).normal(size=(3, 2, 3, 4)).astype(np.float32)


def test_they_are_the_sum_the_product_and_the_concatenation():
    for layer, by_hand in {
        tl.FanInSum(): A + B + C,
        tl.FanInProd(): A * B * C,
        tl.FanInConcat(): np.concatenate([A, B, C], -1),
        tl.FanInConcat(1): np.concatenate([A, B, C], 1),
    }.items():
        shapes = (A.shape, B.shape, C.shape)
        assert layer.init(jax.random.key(0), shapes) == ()
        assert layer.output_shape(shapes) == by_hand.shape
        assert np.allclose(layer.apply((), (A, B, C)), by_hand, rtol=1e-6)


def test_one_branch_is_left_as_it_is():
    for layer in (tl.FanInSum(), tl.FanInProd(), tl.FanInConcat(1)):
        assert np.array_equal(layer.apply((), (A,)), A)


def test_concatenated_branches_may_differ_along_their_axis():
    layer = tl.FanInConcat(-2)
    assert layer.output_shape(((2, 3, 4), (2, 1, 4))) == (2, 4, 4)
    assert layer.apply((), (A, A[:, :1])).shape == (2, 4, 4)


def test_wrong_branches_are_named():
    for layer in (tl.FanInSum(), tl.FanInProd()):
        name = type(layer).__name__
        with pytest.raises(ValueError, match=f"{name}: branches must have equal shapes, got"):
            layer.apply((), (A, A[:, :1]))
    concat = tl.FanInConcat(1)
    with pytest.raises(ValueError, match="branches must have equal shapes but for axis 1, got"):
        concat.apply((), (A, A[:1]))
    with pytest.raises(ValueError, match="branches must have equal shapes but for axis -1, got"):
        tl.FanInConcat().output_shape(((2, 3), (2, 3, 4)))
    with pytest.raises(ValueError, match=r"FanInConcat: axis 3 must be an axis .* \(2, 3, 4\)"):
        tl.FanInConcat(3).apply((), (A, A))
    with pytest.raises(TypeError, match="FanInConcat: axis must be an integer, got None"):
        tl.FanInConcat(None)
    for layer in (tl.FanInSum(), tl.FanInProd(), concat):
        with pytest.raises(ValueError, match=r"needs a tuple of branches, got one of shape \(2, 3"):
            layer.apply((), jnp.asarray(A))  # and does not sum over its first axis
        with pytest.raises(ValueError, match=r"needs a tuple of branches, got \(2, 3\)"):
            layer.init(jax.random.key(0), (2, 3))
        with pytest.raises(ValueError, match=r"needs a tuple of branches, got \(\)"):
            layer.output_shape(())
