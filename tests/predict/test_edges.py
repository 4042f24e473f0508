"""Where values leave their range or their sign: told, not passed over."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import predict
from theorylab.predict import Status

INF = float("inf")


class Units(NamedTuple):
    nngp: float
    ntk: float


class Pair(NamedTuple):
    nngp: np.ndarray
    ntk: np.ndarray
    log_scale: Units


def test_a_kernel_that_sinks_below_its_dtype_is_not_one_of_zeros():
    y = np.float32([1, -1])
    k = np.float32([[1, 0.3], [0.3, 1]])
    sunk, held = (Pair(k, k, Units(u, u)) for u in (-88.0, -60.0))
    flow = predict.gradient_flow(sunk, y)(INF)
    assert flow.status == Status.NONFINITE
    assert np.isnan(flow.mean).all()
    assert predict.self_distillation(sunk, y, ridge=0.0, alpha=0.5, steps=2).status != 0
    assert np.isnan(predict.max_learning_rate(sunk))
    good = predict.gradient_flow(held, y)(INF)
    assert good.status == 0
    np.testing.assert_allclose(good.mean, y, rtol=1e-5)


@pytest.mark.parametrize("rate", [-1.0, 0.0])
def test_a_rate_that_is_not_positive_under_jit_gives_nan_and_says_so(rate):
    k, y = np.eye(2, dtype=np.float32), np.float32([1, -1])
    rate = jnp.float32(rate)

    def loss(f, y):
        return 0.5 * jnp.mean((f - y) ** 2)

    def results(rate):
        flow = predict.gradient_flow(k, y, learning_rate=rate)
        steps = predict.gradient_steps(k, y, learning_rate=rate)
        descent = predict.gradient_descent(loss, k, y, learning_rate=rate)
        return [flow(1.0), flow(INF), steps(3), descent(1.0)]

    for prediction in jax.jit(results)(rate):
        assert prediction.status == Status.NONFINITE
        assert np.isnan(prediction.mean).all()


def test_the_limit_of_distillation_has_the_right_derivative_without_a_ridge(x64):
    def limit(ridge, alpha):
        return predict.self_distillation(
            np.eye(1), np.ones(1), ridge=ridge, alpha=alpha, steps=2
        ).limit[0]

    for alpha in (0.4, 1.0):
        assert jax.grad(limit)(0.0, alpha) == pytest.approx(-1 / alpha, rel=1e-12)
        assert limit(0.0, alpha) == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_inside_their_range_have_a_limit_whatever_the_ridge(dtype):
    with jax.enable_x64(dtype == np.float64):
        k, y = np.eye(2, dtype=dtype), np.ones(2, dtype)
        tiny = 1e-8 if dtype == np.float32 else 1e-16
        for alpha, ridge in ((0.0, tiny), (tiny / 10, tiny), (tiny, tiny / 10)):
            d = predict.self_distillation(k, y, ridge=ridge, alpha=alpha, steps=2)
            assert d.status == 0
            np.testing.assert_allclose(d.limit, alpha / (alpha + ridge), rtol=1e-3)
        outside = predict.self_distillation(k, y, ridge=0.1, alpha=jnp.asarray(-0.2), steps=2)
        assert outside.status == Status.DIVERGES


def test_scales_that_hardly_exist_have_weight_zero_and_derivatives(x64):
    k, y = np.eye(3, dtype=np.float32), np.float32([1, 2, 3])

    def log_marginal(unit, small):
        def prior(key, n):
            return jnp.full((n,), unit).at[0].set(small * unit)

        p = predict.scale_mixture_posterior(
            k, k, None, y, prior=prior, key=jax.random.key(0), n_samples=200
        )
        return p.log_marginal, p

    for small in (1e-18, 1e-20, 1e-30, 1e-37):
        (value, p), slope = jax.value_and_grad(log_marginal, has_aux=True)(
            jnp.float32(1), jnp.float32(small)
        )
        assert np.isfinite(value)
        assert np.isfinite(slope)
        assert p.weights[0] == 0
        # All others have s = 1: the derivative of log N(y; 0, s) there.
        np.testing.assert_allclose(slope, -3 / 2 + 14 / 2, rtol=1e-4)
