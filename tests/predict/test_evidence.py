"""The evidence against SciPy, its derivatives against finite differences, and its honesty."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from theorylab import predict
from theorylab.predict import Status


class Pair(NamedTuple):
    nngp: Any
    ntk: Any


N = 7


def problem(n=N, dtype=np.float64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3))
    k = np.exp(-((x[:, None] - x[None]) ** 2).sum(-1) / 2)
    return k.astype(dtype), rng.normal(size=(n, 2)).astype(dtype)


def test_the_value_is_the_sum_of_normal_log_densities_of_the_outputs(x64):
    k, y = problem()
    for noise in (0.0, 0.3, 20.0):
        normal = scipy.stats.multivariate_normal(cov=k + noise * np.eye(N))
        expected = normal.logpdf(y.T).sum()
        value = predict.log_marginal_likelihood(k, y, noise=noise)
        assert value.shape == ()
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        report = predict.evidence(Pair(k, None), y.reshape(N, 2, 1), noise=noise)
        np.testing.assert_allclose(report.log_marginal, expected, rtol=1e-12)
        assert (int(report.status), float(report.jitter)) == (Status.SUCCESS, 0.0)


def test_the_evidence_is_that_of_some_points_times_that_of_the_rest_given_them(x64):
    k, y = problem()
    first = predict.log_marginal_likelihood(k[:3, :3], y[:3], noise=0.2)
    mean, cov, *_ = predict.posterior(k[:3, :3], k[3:, :3], k[3:, 3:], y[:3], noise=0.2)
    rest = scipy.stats.multivariate_normal(cov=cov + 0.2 * np.eye(N - 3)).logpdf((y[3:] - mean).T)
    whole = predict.log_marginal_likelihood(k, y, noise=0.2)
    np.testing.assert_allclose(first + rest.sum(), whole, rtol=1e-12)


def test_first_derivatives_are_those_of_the_textbook(x64):
    # Rasmussen & Williams 5.9: half the trace of (alpha alpha' - A^-1) dA, summed over outputs.
    k, y = problem()
    gradient, slope = jax.grad(
        lambda k, noise: predict.log_marginal_likelihood(k, y, noise=noise), argnums=(0, 1)
    )(k, 0.3)
    inverse = np.linalg.inv(k + 0.3 * np.eye(N))
    alpha = inverse @ y
    expected = (alpha @ alpha.T - 2 * inverse) / 2
    np.testing.assert_allclose(gradient, expected, atol=1e-11)
    np.testing.assert_allclose(slope, np.trace(expected), rtol=1e-11)


def test_second_derivatives_agree_with_differences_of_first_ones(x64):
    k, y = problem()
    rng = np.random.default_rng(1)
    direction = rng.normal(size=(N, N))
    direction += direction.T

    def value(p):
        return predict.log_marginal_likelihood(k + p[0] * direction, y * (1 + p[1]), noise=p[2])

    at = np.array([0.0, 0.1, 0.5])
    hessian = jax.hessian(value)(at)
    slope = jax.jit(jax.grad(value))
    for i, step in enumerate(1e-5 * np.eye(3)):
        difference = (slope(at + step) - slope(at - step)) / 2e-5
        np.testing.assert_allclose(hessian[i], difference, rtol=1e-6)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-11)


def test_a_singular_kernel_has_no_evidence_and_the_report_says_so(x64):
    k, y = problem()
    twice = np.r_[0:N, 0:N]
    k2, y2 = k[np.ix_(twice, twice)], y[twice]
    report = predict.evidence(k2, y2, noise=0.0)
    assert report.status == Status.ILL_CONDITIONED
    assert 0 < report.jitter < 1e-12
    assert np.isfinite(predict.log_marginal_likelihood(k2, y2, noise=0.0))
    assert predict.evidence(k2, y2, noise=1e-13).status == Status.ILL_CONDITIONED
    assert predict.evidence(k2, y2, noise=1e-3).status == Status.SUCCESS


def test_a_matrix_that_is_no_covariance_gives_a_status_the_jitter_and_a_nan_scalar(x64):
    k, y = problem()
    w, v = np.linalg.eigh(k)
    slightly = (v * np.r_[-1e-6, w[1:]]) @ v.T
    crooked = k.copy()
    crooked[0, 1] += 0.1
    scalar = jax.value_and_grad(lambda k: predict.log_marginal_likelihood(k, y, noise=0.0))
    cases = [
        (slightly, Status.INDEFINITE),
        (crooked, Status.ASYMMETRIC),
        (-k, Status.NOT_FACTORED),
        (np.zeros_like(k), Status.NOT_FACTORED),
        (np.where(np.eye(N), np.nan, k), Status.NONFINITE),
    ]
    for bad, status in cases:
        report = predict.evidence(bad, y, noise=0.0)
        assert report.status == status
        value, slope = scalar(bad)
        assert np.isnan(value)
        assert np.isnan(slope).any()  # an optimiser that looks at nothing else must not stop here
    lifted = predict.evidence(slightly, y, noise=0.0)
    assert 1e-6 < lifted.jitter < 1e-4
    by_hand = predict.evidence(slightly, y, noise=lifted.jitter)
    np.testing.assert_allclose(lifted.log_marginal, by_hand.log_marginal, rtol=1e-12)


def test_float32_is_within_a_third_of_its_digits_wherever_it_reports_success():
    x = np.linspace(0, 2, N)
    k = np.exp(-((x[:, None] - x) ** 2) / 2).astype(np.float32)
    y = problem(dtype=np.float32)[1]
    trusted = 0
    for noise in 10.0 ** np.arange(-9, 1):
        report = predict.evidence(k, y, noise=noise)
        assert report.log_marginal.dtype == jnp.float32
        with jax.enable_x64(True):
            exact = predict.evidence(k.astype(float), y.astype(float), noise=noise)
        if report.status == Status.SUCCESS:
            trusted += 1
            assert exact.status == Status.SUCCESS
            bound = 5e-3 * (abs(float(exact.log_marginal)) + y.size)
            assert abs(float(report.log_marginal) - float(exact.log_marginal)) < bound
    assert 3 <= trusted <= 8


def test_scales_of_single_points_may_differ_by_many_orders(x64):
    # A pivot counts as rounding beside its own diagonal entry, not beside the others'.
    k, y = problem()
    size = np.logspace(0, -9, N)
    report = predict.evidence(k * size[:, None] * size, y * size[:, None], noise=0.0)
    plain = predict.evidence(k, y, noise=0.0)
    assert (int(report.status), float(report.jitter)) == (Status.SUCCESS, 0.0)
    shift = 2 * np.log(size).sum()
    np.testing.assert_allclose(report.log_marginal, plain.log_marginal - shift, rtol=1e-12)


def test_determinant_and_solutions_and_derivatives_belong_to_one_matrix_jitter_included(x64):
    k, y = problem()
    w, v = np.linalg.eigh(k)
    k = (v * np.r_[-1e-4, w[1:]]) @ v.T
    value, gradient = jax.value_and_grad(lambda k: predict.evidence(k, y, noise=0.0).log_marginal)(
        k
    )
    noisy = k + float(predict.evidence(k, y, noise=0.0).jitter) * np.eye(N)
    expected = scipy.stats.multivariate_normal(cov=noisy).logpdf(y.T).sum()
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    inverse = np.linalg.inv(noisy)
    alpha = inverse @ y
    np.testing.assert_allclose(gradient, (alpha @ alpha.T - 2 * inverse) / 2, rtol=1e-9)
