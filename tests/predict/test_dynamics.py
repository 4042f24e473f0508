"""Gradient flow and steps against matrix exponentials, explicit loops and simulated ensembles."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from theorylab import predict
from theorylab.predict import Status

N, M, C = 7, 4, 3
RATE, RIDGE = 1.7, 0.3
INF = float("inf")


class Pair(NamedTuple):
    nngp: Any
    ntk: Any


def gram(seed, features, dtype=np.float64):
    """Kernels (train, test by train, test) of N + M random points with this many features."""
    x = np.random.default_rng(seed).normal(size=(N + M, features)) / np.sqrt(features)
    k = (x @ x.T).astype(dtype)
    return k[:N, :N], k[N:, :N], k[N:, N:]


def problem(dtype=np.float64):
    rng = np.random.default_rng(2)
    y = rng.normal(size=(N, C)).astype(dtype)
    f0 = rng.normal(size=(N + M, C)).astype(dtype)
    nngp, ntk = gram(0, 30, dtype), gram(1, 20, dtype)
    return [Pair(a, b) for a, b in zip(nngp, ntk, strict=True)], y, f0[:N], f0[N:]


def influence(ntk, cross, t, ridge=RIDGE):
    """A_t by matrix exponential and inverse, as the papers write it."""
    regularised = ntk + ridge * np.eye(N)
    left = np.zeros((N, N)) if t == INF else scipy.linalg.expm(-RATE * regularised * t / N)
    return cross @ np.linalg.solve(regularised, np.eye(N) - left)


@pytest.mark.parametrize("t", [0.0, 1e-8, 0.4, 25.0, INF])
@pytest.mark.parametrize("ridge", [0.0, RIDGE])
def test_flow_equals_the_matrix_exponential_in_mean_and_covariance(x64, t, ridge):
    (k, ks, kss), y, f0, f0s = problem()
    flow = predict.gradient_flow(k, y, learning_rate=RATE, ridge=ridge)
    a = influence(k.ntk, ks.ntk, t, ridge)
    drawn = flow(t, ks, kss)
    np.testing.assert_allclose(drawn.mean, a @ y, rtol=1e-11, atol=1e-12)
    expected = kss.nngp - a @ ks.nngp.T - ks.nngp @ a.T + a @ k.nngp @ a.T
    np.testing.assert_allclose(drawn.cov, expected, atol=1e-12)
    given = flow(t, ks, kss, f0, f0s)
    np.testing.assert_allclose(given.mean, f0s + a @ (y - f0), rtol=1e-11, atol=1e-12)
    assert given.cov is None
    assert drawn.status == given.status == Status.SUCCESS


@pytest.mark.parametrize("t", [0.0, 0.4, 25.0, INF])
def test_without_test_points_the_prediction_is_that_at_the_training_points(x64, t):
    (k, _, _), y, f0, _ = problem()
    flow = predict.gradient_flow(k, y, learning_rate=RATE, ridge=RIDGE)
    here, there = flow(t), flow(t, k, k)
    np.testing.assert_allclose(here.mean, there.mean, atol=1e-13)
    np.testing.assert_allclose(here.cov, there.cov, atol=1e-13)
    np.testing.assert_allclose(flow(t, f0_train=f0).mean, flow(t, k, None, f0, f0).mean, atol=1e-13)


def test_at_time_zero_the_start_is_returned_unchanged(x64):
    (k, ks, kss), y, f0, f0s = problem()
    flow = predict.gradient_flow(k, y)
    np.testing.assert_array_equal(flow(0, ks, kss, f0, f0s).mean, f0s)
    np.testing.assert_array_equal(flow(0, f0_train=f0).mean, f0)
    np.testing.assert_allclose(flow(0, ks, kss).cov, kss.nngp, rtol=1e-15)


def test_at_infinity_the_flow_is_kernel_ridge_regression(x64):
    (k, ks, kss), y, _, _ = problem()
    flow = predict.gradient_flow(k.ntk, y, ridge=RIDGE)
    np.testing.assert_allclose(
        flow(jnp.inf, ks.ntk).mean,
        predict.posterior(k.ntk, ks.ntk, kss.ntk, y, noise=RIDGE).mean,
        rtol=1e-10,
    )
    np.testing.assert_allclose(predict.gradient_flow(k.ntk, y)(jnp.inf).mean, y, atol=1e-12)


def test_flow_with_the_nngp_as_tangent_kernel_ends_in_the_noiseless_posterior(x64):
    # Training only the last layer samples the Bayesian posterior (Lee et al. 2019, section 2.4).
    (k, ks, kss), y, _, _ = problem()
    same = [Pair(p.nngp, p.nngp) for p in (k, ks, kss)]
    trained = predict.gradient_flow(same[0], y)(jnp.inf, same[1], same[2])
    bayes = predict.posterior(k, ks, kss, y)
    np.testing.assert_allclose(trained.mean, bayes.mean, atol=1e-10)
    np.testing.assert_allclose(trained.cov, bayes.cov, atol=1e-10)


def test_mean_and_covariance_are_those_of_a_simulated_ensemble_of_linear_models(x64):
    # f = phi(x) . theta, trained by descent on parameters in tiny steps, from Gaussian theta.
    rng = np.random.default_rng(5)
    features, networks, steps, t = 4, 20_000, 40, 3.0
    phi = rng.normal(size=(N + M, features)) / 2
    y = rng.normal(size=N)
    scale = np.array([1.0, 0.5, 2.0, 1.5])  # so that the NNGP is not the NTK
    theta = scale[:, None] * rng.normal(size=(features, networks))
    train = phi[:N]
    for _ in range(steps):
        theta -= t / steps / N * train.T @ (train @ theta - y[:, None])
    f = phi @ theta
    ntk, nngp = phi @ phi.T, (phi * scale**2) @ phi.T
    blocks = (slice(N), slice(N)), (slice(N, None), slice(N)), (slice(N, None), slice(N, None))
    k, ks, kss = [Pair(nngp[b], ntk[b]) for b in blocks]
    p = predict.gradient_steps(k, y, learning_rate=t / steps)(steps, ks, kss)
    sd = np.sqrt(np.diag(p.cov))
    np.testing.assert_array_less(np.abs(f[N:].mean(1) - p.mean) / sd, 5 / np.sqrt(networks))
    deviation = np.abs(np.cov(f[N:]) - p.cov) / np.outer(sd, sd)
    np.testing.assert_array_less(deviation, 6 / np.sqrt(networks))


@pytest.mark.parametrize(
    "learning_rate", [0.5, 5.0, 11.0], ids=["gentle", "oscillating", "diverging"]
)
def test_closed_form_of_steps_equals_the_explicit_loop(x64, learning_rate):
    (k, ks, _), y, f0, f0s = problem()
    largest = learning_rate * (np.linalg.eigvalsh(k.ntk)[-1] + RIDGE) / N
    assert (largest > 2) == (learning_rate == 11.0)
    f, fs = f0.copy(), f0s.copy()
    means = []
    for _ in range(10):
        means.append(fs)
        residual = f - y
        fs = fs - learning_rate / N * (ks.ntk @ residual + RIDGE * (fs - f0s))
        f = f - learning_rate / N * (k.ntk @ residual + RIDGE * (f - f0))
    steps = predict.gradient_steps(k.ntk, y, learning_rate=learning_rate, ridge=RIDGE)
    p = steps(np.arange(10), ks.ntk, None, f0, f0s)
    np.testing.assert_allclose(p.mean, np.stack(means), rtol=1e-11, atol=1e-11)
    assert p.status == Status.SUCCESS


def test_many_small_steps_become_the_flow_and_infinitely_many_its_limit(x64):
    (k, ks, _), y, _, _ = problem()
    errors = []
    for steps in (1000, 2000):
        descent = predict.gradient_steps(k.ntk, y, learning_rate=3 / steps)
        exact = predict.gradient_flow(k.ntk, y)(3.0, ks.ntk).mean
        errors.append(float(jnp.abs(descent(steps, ks.ntk).mean - exact).max()))
    assert 1.8 < errors[0] / errors[1] < 2.2
    descent = predict.gradient_steps(k.ntk, y, learning_rate=1.0)
    flow = predict.gradient_flow(k.ntk, y)
    np.testing.assert_allclose(descent(INF, ks.ntk).mean, flow(INF, ks.ntk).mean, rtol=1e-12)


def test_infinitely_many_diverging_steps_are_nan_and_say_so(x64):
    (k, _, _), y, _, _ = problem()
    p = predict.gradient_steps(k.ntk, y, learning_rate=50.0)([3, INF])
    assert p.status == Status.DIVERGES
    assert np.isfinite(p.mean[0]).all()
    assert np.isnan(p.mean[1]).any()


def test_a_vector_of_times_puts_a_leading_axis_before_the_results(x64):
    (k, ks, kss), y, _, _ = problem()
    flow = predict.gradient_flow(k, y)
    times = np.array([0.0, 0.7, np.inf])
    p = flow(times, ks, kss)
    assert p.mean.shape == (3, M, C)
    assert p.cov.shape == (3, M, M)
    assert p.status.shape == p.jitter.shape == ()
    for i, t in enumerate(times):
        one = flow(t, ks, kss)
        np.testing.assert_allclose(p.mean[i], one.mean, atol=1e-14)
        np.testing.assert_allclose(p.cov[i], one.cov, atol=1e-14)


def test_vector_targets_and_targets_with_several_axes_are_the_same_columns(x64):
    (k, ks, _), y, f0, f0s = problem()
    flow = predict.gradient_flow(k, y)
    whole = flow(0.8, ks, None, f0, f0s).mean
    column = predict.gradient_flow(k, y[:, 1])(0.8, ks, None, f0[:, 1], f0s[:, 1]).mean
    deep = predict.gradient_flow(k, y[:, :, None])(
        0.8, ks, None, f0[..., None], f0s[..., None]
    ).mean
    np.testing.assert_allclose(column, whole[:, 1], atol=1e-14)
    np.testing.assert_allclose(deep[..., 0], whole, atol=1e-14)


@pytest.mark.parametrize("make", [predict.gradient_flow, predict.gradient_steps])
def test_float32_agrees_with_float64_and_keeps_its_dtype(make):
    (k, ks, kss), y, _, _ = problem(np.float32)
    p = make(k, y, learning_rate=RATE)(4, ks, kss)
    assert p.mean.dtype == p.cov.dtype == p.jitter.dtype == jnp.float32
    half = make(k.ntk.astype(jnp.bfloat16), y, learning_rate=RATE)(4)
    assert half.mean.dtype == jnp.float32
    with jax.enable_x64(True):
        (k, ks, kss), y, _, _ = problem()
        exact = make(k, y, learning_rate=RATE)(4, ks, kss)
        assert exact.mean.dtype == exact.cov.dtype == jnp.float64
        np.testing.assert_allclose(p.mean, exact.mean, atol=3e-6)
        np.testing.assert_allclose(p.cov, exact.cov, atol=3e-6)


def test_duplicated_points_with_contradicting_targets_end_at_their_average(x64):
    x = np.random.default_rng(0).normal(size=(4, 6))
    x = np.concatenate([x, x])
    y = np.random.default_rng(1).normal(size=8)
    average = np.tile((y[:4] + y[4:]) / 2, 2)
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
        k = (x @ x.T).astype(dtype)
        for t in (1e9, jnp.inf):
            p = predict.gradient_flow(k, y.astype(dtype))(t, k)
            np.testing.assert_allclose(p.mean, average, atol=tolerance)
            assert p.status == Status.SUCCESS
            assert 0 <= p.jitter <= 1e-5


def test_tiny_eigenvalues_are_exact(x64):
    # A diagonal kernel: each point on its own, known to the last digit.
    values = np.array([1e-9, 1e-6, 1.0])
    flow = predict.gradient_flow(np.diag(values), np.ones(3), learning_rate=3.0)
    for t in (1e-6, 1.0, 1e7):
        np.testing.assert_allclose(flow(t).mean, -np.expm1(-values * t), rtol=1e-14)
    steps = predict.gradient_steps(np.diag(values), np.ones(3), learning_rate=3.0)
    exact = -np.expm1(1e6 * np.log1p(-values[:2]))
    np.testing.assert_allclose(steps(1_000_000).mean, [*exact, 1.0], rtol=1e-13)


def test_an_indefinite_kernel_is_reported_with_the_size_of_its_negative_part(x64):
    p = predict.gradient_flow(np.diag([1.0, 0.5, -0.25]), np.ones(3))(jnp.inf)
    assert p.status == Status.INDEFINITE
    assert p.jitter == 0.25
    np.testing.assert_allclose(p.mean, [1, 1, 0], atol=1e-15)


def test_a_mean_whose_terms_cancel_is_not_reported_as_success(x64):
    k, cross = np.diag([1.0, 1e-13, 1e-13]), np.array([[1.0, 1.0, -1.0]])
    assert predict.gradient_flow(k, np.ones(3))(jnp.inf, cross).status == Status.ILL_CONDITIONED
    assert predict.gradient_flow(k, np.ones(3))(1e3, cross).status == Status.SUCCESS


@pytest.mark.parametrize("make", [predict.gradient_flow, predict.gradient_steps])
def test_asymmetric_kernels_are_reported_and_rounding_is_not(x64, make):
    (k, ks, kss), y, f0, f0s = problem()
    turned = np.triu(np.ones((N, N))) * 1e-3
    tilted = np.triu(np.ones((M, M))) * 1e-3
    ntk, nngp = Pair(k.nngp, k.ntk + turned), Pair(k.nngp + turned, k.ntk)
    middle = Pair(k.nngp, k.ntk + (turned + turned.T) / 2)
    p = make(ntk, y, learning_rate=RATE)(4, ks, kss)
    symmetric = make(middle, y, learning_rate=RATE)(4, ks, kss)
    assert p.status == Status.ASYMMETRIC
    assert symmetric.status == Status.SUCCESS
    np.testing.assert_allclose(p.mean, symmetric.mean, atol=1e-14)
    # The other kernels matter where the covariance is made of them.
    drawn = make(nngp, y, learning_rate=RATE)
    assert drawn(4, ks, kss).status == drawn(4).status == Status.ASYMMETRIC
    assert drawn(4, ks).status == drawn(4, ks, kss, f0, f0s).status == Status.SUCCESS
    other = Pair(kss.nngp + tilted, kss.ntk)
    assert make(k, y, learning_rate=RATE)(4, ks, other).status == Status.ASYMMETRIC
    for dtype in (np.float64, np.float32):
        rounded = (k.ntk * (1 + 50 * np.finfo(dtype).eps * np.triu(turned * 1e3))).astype(dtype)
        p = make(rounded, y.astype(dtype), learning_rate=RATE)(4)
        assert p.status == Status.SUCCESS


@pytest.mark.parametrize("make", [predict.gradient_flow, predict.gradient_steps])
def test_times_and_ridges_that_turn_out_negative_under_jit_give_nan_and_say_so(x64, make):
    (k, _, _), y, _, _ = problem()

    def trained(t, ridge):
        return make(k.ntk, y, learning_rate=RATE, ridge=ridge)(t)

    for t, ridge in ((-1.0, 0.1), (2.0, -0.1), ([2.0, -1.0], 0.1)):
        p = jax.jit(trained)(jnp.asarray(t), ridge)
        assert p.status == Status.NONFINITE
        assert np.isnan(p.mean).any()
    assert jax.jit(trained)(2.0, 0.1).status == Status.SUCCESS


@pytest.mark.parametrize("make", [predict.gradient_flow, predict.gradient_steps])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nonfinite_kernels_and_targets_give_nan_and_say_so(x64, make, bad):
    (k, ks, kss), y, _, _ = problem()
    broken = k.ntk.copy()
    broken[1, 2] = bad
    p = make(Pair(k.nngp, broken), y, learning_rate=1.0)([1, 2], ks, kss)
    assert p.status == Status.NONFINITE
    assert np.isnan(p.mean).all()
    broken_y = y.copy()
    broken_y[0, 0] = bad
    p = make(k, broken_y, learning_rate=1.0)(1, ks, kss)
    assert p.status == Status.NONFINITE
    assert not np.isfinite(p.mean[:, 0]).any()


@pytest.mark.parametrize("make", [predict.gradient_flow, predict.gradient_steps])
def test_strict_promotion_finds_nothing(x64, strict_promotion, make):
    (k, ks, kss), y, f0, f0s = problem()
    predictor = make(k, y, learning_rate=RATE, ridge=RIDGE)
    predictor(np.array([1.0, 2.0]), ks, kss)
    jax.grad(
        lambda c: make(c * k.ntk, y, learning_rate=RATE)(2.0, ks.ntk, None, f0, f0s).mean.sum()
    )(jnp.ones(()))
