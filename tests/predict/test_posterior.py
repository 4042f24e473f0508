"""Posteriors against SciPy, and honest reports where the factorisation is in trouble."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from theorylab import predict
from theorylab.kernels import Kernel, LogScale
from theorylab.predict import Status


class Pair(NamedTuple):
    nngp: Any
    ntk: Any


def problem(n=8, m=5, dtype=np.float64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n + m, 3))
    k = np.exp(-((x[:, None] - x[None]) ** 2).sum(-1) / 2).astype(dtype)
    return k[:n, :n], k[n:, :n], k[n:, n:], rng.normal(size=(n, 2)).astype(dtype)


@pytest.mark.parametrize("noise", [0.0, 0.01, 2.0])
def test_mean_and_covariance_are_those_that_scipy_computes(x64, noise):
    k, ks, kss, y = problem()
    factor = scipy.linalg.cho_factor(k + noise * np.eye(len(k)))
    p = predict.posterior(k, ks, kss, y, noise=noise)
    np.testing.assert_allclose(p.mean, ks @ scipy.linalg.cho_solve(factor, y), atol=1e-10)
    np.testing.assert_allclose(p.cov, kss - ks @ scipy.linalg.cho_solve(factor, ks.T), atol=1e-10)
    assert p.status == Status.SUCCESS
    assert p.jitter == 0


def test_posterior_agrees_with_conditioning_on_the_points_one_by_one(x64):
    # Exact sequential updating: the posterior after each point is the prior for the next.
    k, ks, kss, y = problem()
    n = len(k)
    joint = np.block([[k, ks.T], [ks, kss]])
    mean, cov = np.zeros((len(joint), 2)), joint.copy()
    for i in range(n):
        gain = cov[:, i] / (cov[i, i] + 0.1)
        mean = mean + np.outer(gain, y[i] - mean[i])
        cov = cov - np.outer(gain, cov[i])
    p = predict.posterior(k, ks, kss, y, noise=0.1)
    np.testing.assert_allclose(p.mean, mean[n:], atol=1e-12)
    np.testing.assert_allclose(p.cov, cov[n:, n:], atol=1e-12)


def test_kernels_in_units_of_their_own_are_read_in_natural_ones(x64):
    k, ks, kss, y = problem()
    logs = (1.5, -2.0, 0.5)
    units = [
        Kernel(a * np.exp(-log), None, LogScale(log, None))
        for a, log in zip((k, ks, kss), logs, strict=True)
    ]
    natural = predict.posterior(k, ks, kss, y, noise=0.1)
    scaled = predict.posterior(*units, y, noise=0.1)
    np.testing.assert_allclose(scaled.mean, natural.mean, atol=1e-12)
    np.testing.assert_allclose(scaled.cov, natural.cov, atol=1e-12)


def test_a_kernel_that_its_dtype_cannot_hold_is_no_success():
    k, ks, kss, y = problem(dtype=np.float32)
    huge = [Kernel(a, None, LogScale(200.0, None)) for a in (k, ks, kss)]
    assert predict.posterior(*huge, y, noise=0.1).status != Status.SUCCESS


def test_a_pair_is_read_as_its_nngp_and_the_covariance_may_be_left_out(x64):
    k, ks, kss, y = problem()
    pairs = [Pair(a, 3 * a) for a in (k, ks, kss)]
    array = predict.posterior(k, ks, kss, y[:, 0], noise=0.1)
    pair = predict.posterior(*pairs, y[:, 0], noise=0.1)
    np.testing.assert_array_equal(array.mean, pair.mean)
    np.testing.assert_array_equal(array.cov, pair.cov)
    alone = predict.posterior(k, ks, None, y[:, 0], noise=0.1)
    assert alone.cov is None
    np.testing.assert_allclose(alone.mean, array.mean, rtol=1e-13)
    assert alone.mean.shape == (5,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_duplicated_points_need_a_jitter_and_it_is_reported(dtype):
    with jax.enable_x64(dtype == np.float64):
        k, ks, kss, y = problem(dtype=dtype)
        twice = np.r_[0:8, 0:8]
        p = predict.posterior(k[np.ix_(twice, twice)], ks[:, twice], kss, y[twice])
        exact = predict.posterior(k, ks, kss, y)
        eps = np.finfo(dtype).eps
        assert p.status == Status.SUCCESS
        assert eps <= p.jitter <= 1e4 * eps
        np.testing.assert_allclose(p.mean, exact.mean, atol=1e5 * eps)
        assert p.mean.dtype == p.cov.dtype == p.jitter.dtype == dtype
        assert (np.diag(p.cov) >= 0).all()


def test_contradicting_targets_at_one_point_are_not_reported_as_success(x64):
    k, ks, kss, y = problem()
    twice = np.r_[0:8, 0:8]
    p = predict.posterior(k[np.ix_(twice, twice)], ks[:, twice], kss, np.concatenate([y, -y]))
    assert p.status == Status.ILL_CONDITIONED
    p = predict.posterior(k[np.ix_(twice, twice)], ks[:, twice], kss, np.r_[y, -y], noise=0.01)
    assert p.status == Status.SUCCESS
    np.testing.assert_allclose(p.mean, 0, atol=1e-10)


def test_a_matrix_that_is_no_kernel_gives_nan_and_not_factored(x64):
    k, ks, kss, y = problem()
    for bad in (-k, np.zeros_like(k), k - 0.5 * np.eye(8)):
        p = predict.posterior(bad, ks, kss, y)
        assert p.status == Status.NOT_FACTORED
        assert np.isnan(p.mean).all()
        assert p.jitter <= 1e-1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", range(4))
def test_nonfinite_input_anywhere_is_reported(x64, bad, place):
    arguments = [a.copy() for a in problem()]
    arguments[place][0, 0] = bad
    p = predict.posterior(*arguments, noise=0.1)
    assert p.status == Status.NONFINITE
    assert not np.isfinite(np.concatenate([p.mean.ravel(), p.cov.ravel()])).all()


def test_kernels_that_do_not_belong_together_are_reported_as_indefinite(x64):
    k, ks, kss, y = problem()
    p = predict.posterior(k, 3 * ks, kss, y, noise=0.1)
    assert p.status == Status.INDEFINITE
    assert (np.diag(p.cov) >= 0).all()


def test_float32_is_within_its_rounding_of_float64():
    p = predict.posterior(*problem(dtype=np.float32), noise=0.1)
    with jax.enable_x64(True):
        exact = predict.posterior(*problem(), noise=0.1)
        np.testing.assert_allclose(p.mean, exact.mean, atol=1e-5)
        np.testing.assert_allclose(p.cov, exact.cov, atol=1e-5)
    half = predict.posterior(*(jnp.asarray(a, jnp.float16) for a in problem()), noise=0.1)
    assert half.mean.dtype == jnp.float32


def test_means_of_close_points_are_right_to_a_third_of_their_digits_wherever_float32_succeeds():
    # The solution loses its digits here before the sum over its terms does.
    _, _, _, y = problem(dtype=np.float32)
    x = np.r_[np.linspace(0, 2, 6), 1e-4, 0.4001, 0.3, 1.1, 1.7]
    k = np.exp(-((x[:, None] - x) ** 2) / 2).astype(np.float32)
    wide = k.astype(float)
    trusted = []
    for noise in 10.0 ** np.arange(-8, 0):
        p = predict.posterior(k[:8, :8], k[8:, :8], None, y, noise=noise)
        noisy = wide[:8, :8] + float(np.float32(noise) + p.jitter) * np.eye(8)
        error = np.abs(p.mean - wide[8:, :8] @ np.linalg.solve(noisy, y.astype(float))).max()
        trusted.append(bool(p.status == Status.SUCCESS))
        assert not trusted[-1] or error < 5e-3 * np.abs(y).max()
    assert not trusted[0]
    assert all(trusted[-3:])


def test_a_kernel_with_a_negative_eigenvalue_beyond_rounding_is_indefinite(x64):
    k, ks, _, y = problem()
    w, v = np.linalg.eigh(k)
    slightly = (v * np.r_[-1e-6, w[1:]]) @ v.T
    p = predict.posterior(slightly, ks, None, y)
    assert p.status == Status.INDEFINITE
    assert 1e-6 < p.jitter < 1e-4
    assert np.isfinite(p.mean).all()


def test_strict_promotion_finds_nothing(x64, strict_promotion):
    k, ks, kss, y = problem()
    jax.grad(lambda s: predict.posterior(s * k, ks, kss, y, noise=0.1).cov.sum())(jnp.ones(()))
