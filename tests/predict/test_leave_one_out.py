"""Leave-one-out in closed form against refitting, and what rounding does to it."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from theorylab import predict
from theorylab.predict import Status


class Pair(NamedTuple):
    nngp: Any
    ntk: Any


N = 9


def problem(n=N, dtype=np.float64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 3))
    k = np.exp(-((x[:, None] - x[None]) ** 2).sum(-1) / 2)
    return k.astype(dtype), rng.normal(size=(n, 2)).astype(dtype)


def refitted(k, y, ridge):
    """Residuals by n fits to n - 1 points."""
    residuals = np.empty_like(y)
    for i in range(len(k)):
        rest = np.delete(np.arange(len(k)), i)
        weights = np.linalg.solve(k[np.ix_(rest, rest)] + ridge * np.eye(len(rest)), y[rest])
        residuals[i] = y[i] - k[i, rest] @ weights
    return residuals


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 0.5, 1e3])
def test_residuals_are_those_of_refitting_without_each_point(x64, ridge):
    k, y = problem()
    expected = refitted(k, y, ridge)
    residuals = predict.leave_one_out(k, y, ridge=ridge)
    np.testing.assert_allclose(residuals, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        predict.leave_one_out(k, y[:, 0], ridge=ridge), expected[:, 0], rtol=1e-10, atol=1e-12
    )


def test_of_a_pair_the_ntk_is_used_as_by_gradient_flow_and_the_nngp_by_the_posterior(x64):
    k, y = problem()
    pair = Pair(k, k**2 + 2 * k)
    i, rest = 4, np.delete(np.arange(N), 4)
    flow = predict.gradient_flow(pair.ntk[np.ix_(rest, rest)], y[rest], ridge=0.2)
    trained = flow(np.inf, pair.ntk[i : i + 1, rest]).mean[0]
    residuals = predict.leave_one_out(pair, y, ridge=0.2)
    np.testing.assert_allclose(residuals[i], y[i] - trained, rtol=1e-10)
    bayes = predict.posterior(
        k[np.ix_(rest, rest)], k[i : i + 1, rest], k[i : i + 1, i : i + 1], y[rest], noise=0.2
    )
    p = predict.leave_one_out_posterior(pair, y, noise=0.2)
    np.testing.assert_allclose(p.mean[i], bayes.mean[0], rtol=1e-10)
    variance = bayes.cov[0, 0] + 0.2
    np.testing.assert_allclose(p.variance[i], variance, rtol=1e-11)
    density = scipy.stats.norm.logpdf(y[i], bayes.mean[0], np.sqrt(variance))
    np.testing.assert_allclose(p.log_density[i], density, rtol=1e-10)
    assert (int(p.status), float(p.jitter)) == (Status.SUCCESS, 0.0)


def test_without_noise_a_point_given_twice_is_predicted_by_its_twin(x64):
    k, y = problem()
    twice = np.r_[0:N, 0:2]
    residuals = predict.leave_one_out(k[np.ix_(twice, twice)], y[twice], ridge=0.0)
    np.testing.assert_allclose(residuals[np.r_[0:2, N : N + 2]], 0, atol=1e-6)
    alone = predict.leave_one_out(k, y, ridge=0.0)
    np.testing.assert_allclose(residuals[2:N], alone[2:], rtol=1e-6)
    report = predict.leave_one_out_posterior(k[np.ix_(twice, twice)], y[twice], noise=0.0)
    assert report.status == Status.ILL_CONDITIONED  # the variance of a twin is the jitter
    assert report.jitter > 0


def test_residuals_that_rounding_has_eaten_are_nan_and_the_report_says_why(x64):
    # More points than features and no ridge: what the jitter leaves is decided by the last digits.
    x, (_, y) = np.random.default_rng(1).normal(size=(N, 2)), problem()
    residuals = predict.leave_one_out(x @ x.T, y, ridge=0.0)
    report = predict.leave_one_out_posterior(x @ x.T, y, noise=0.0)
    assert np.isnan(residuals).any()
    assert report.status == Status.ILL_CONDITIONED
    ridge = 1e-6
    hat = x @ np.linalg.solve(x.T @ x + ridge * np.eye(2), x.T)
    primal = (y - hat @ y) / (1 - np.diag(hat))[:, None]
    np.testing.assert_allclose(predict.leave_one_out(x @ x.T, y, ridge=ridge), primal, atol=1e-6)


def test_what_float32_does_not_call_lost_is_right_to_a_third_of_its_digits():
    x = np.linspace(0, 4, N)
    k = np.exp(-((x[:, None] - x) ** 2) / 2).astype(np.float32)
    y = problem(dtype=np.float32)[1]
    kept = []
    for ridge in (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-2, 1.0):
        residuals = predict.leave_one_out(k, y, ridge=ridge)
        assert residuals.dtype == jnp.float32
        good = np.isfinite(residuals)
        kept.append(good.mean())
        added = float(np.float32(ridge) + predict.leave_one_out_posterior(k, y, noise=ridge).jitter)
        exact = refitted(k.astype(float), y.astype(float), added)
        assert np.abs(residuals - exact)[good].max(initial=0) < 5e-3 * np.abs(y).max()
    assert kept[0] < 1
    assert kept[-2:] == [1, 1]


def test_without_a_status_a_matrix_that_is_no_kernel_gives_nan(x64):
    k, y = problem()
    crooked = k + 0.1 * np.eye(N, k=1)
    w, v = np.linalg.eigh(k)
    slightly = (v * np.r_[-1e-6, w[1:]]) @ v.T
    for bad, status in [
        (crooked, Status.ASYMMETRIC),
        (slightly, Status.INDEFINITE),
        (-k, Status.NOT_FACTORED),
        (np.where(np.eye(N), np.inf, k), Status.NONFINITE),
    ]:
        assert np.isnan(predict.leave_one_out(bad, y, ridge=0.0)).all()
        assert predict.leave_one_out_posterior(bad, y, noise=0.0).status == status
    assert np.isnan(predict.leave_one_out(k, y, ridge=jnp.asarray(-0.1))).all()


def test_a_single_point_is_predicted_as_zero():
    assert abs(predict.leave_one_out(np.array([[2.0]]), np.array([3.0]), ridge=1.0)[0] - 3) < 1e-6
