"""Student-t posteriors against conditioning a multivariate t, and against sampling the model."""

from functools import partial

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.stats

from theorylab import predict
from theorylab.kernels import Kernel, LogScale
from theorylab.predict import Status
from theorylab.predict._gamma_ratio import log_gamma_ratio

N, M = 6, 3


def problem(dtype=np.float64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N + M, 2))
    k = np.exp(-((x[:, None] - x[None]) ** 2).sum(-1) / 2).astype(dtype)
    return k[:N, :N], k[N:, :N], k[N:, N:], rng.normal(size=(N, 2)).astype(dtype)


def joint(noise):
    k, ks, kss, _ = problem()
    return np.block([[k + noise * np.eye(N), ks.T], [ks, kss]])


@pytest.mark.parametrize(("a", "b"), [(2.0, 2.0), (0.3, 5.0), (40.0, 0.7)])
@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_one_output_is_a_multivariate_t_of_scipy_conditioned_on_its_targets(x64, a, b, noise):
    k, ks, kss, y = problem()
    y = y[:, 0]
    t = predict.student_t_posterior(k, ks, kss, y, a=a, b=b, noise=noise)
    shape = b / a * joint(noise)
    evidence = scipy.stats.multivariate_t.logpdf(y, shape=shape[:N, :N], df=2 * a)
    np.testing.assert_allclose(t.log_marginal, evidence, rtol=1e-11)
    assert t.df == 2 * a + N
    for f in np.random.default_rng(1).normal(size=(4, M)):
        both = scipy.stats.multivariate_t.logpdf(np.r_[y, f], shape=shape, df=2 * a)
        conditional = scipy.stats.multivariate_t.logpdf(f, t.mean, t.scale, df=float(t.df))
        np.testing.assert_allclose(conditional, both - evidence, rtol=1e-9)
    assert (int(t.status), float(t.jitter)) == (Status.SUCCESS, 0.0)


def test_several_outputs_are_one_multivariate_t_with_a_common_scale(x64):
    # Stacked into one vector of n c targets, conditioned as before.
    k, ks, kss, y = problem()
    t = predict.student_t_posterior(k, ks, kss, y, a=1.5, b=2.5, noise=0.1)
    shape = 2.5 / 1.5 * np.kron(np.eye(2), joint(0.1)[:N, :N])
    evidence = scipy.stats.multivariate_t.logpdf(y.T.ravel(), shape=shape, df=3.0)
    np.testing.assert_allclose(t.log_marginal, evidence, rtol=1e-12)
    assert t.df == 3 + 2 * N
    whole = np.kron(np.eye(2), joint(0.1))
    f = np.random.default_rng(1).normal(size=(M, 2))
    targets = np.concatenate([y, f]).T.ravel()
    both = scipy.stats.multivariate_t.logpdf(targets, shape=2.5 / 1.5 * whole, df=3.0)
    scale = np.kron(np.eye(2), t.scale)
    conditional = scipy.stats.multivariate_t.logpdf(
        f.T.ravel(), np.asarray(t.mean).T.ravel(), scale, df=float(t.df)
    )
    np.testing.assert_allclose(conditional, both - evidence, rtol=1e-10)


def test_posterior_is_that_of_sampled_scales_with_their_weights(x64):
    # By numbers drawn from the model: s, then f given s and the targets, weighted by p(y | s).
    k, ks, kss, y = problem()
    a, b, noise, draws = 3.0, 2.0, 0.3, 200_000
    rng = np.random.default_rng(2)
    s = b / rng.gamma(a, size=draws)
    noisy = k + noise * np.eye(N)
    solved = np.linalg.solve(noisy, y)
    log_weight = -N * np.log(s) - np.sum(y * solved) / (2 * s)  # two outputs
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    gaussian = kss - ks @ np.linalg.solve(noisy, ks.T)
    f = (ks @ solved)[:, 0] + np.sqrt(s)[:, None] * (
        rng.normal(size=(draws, M)) @ np.linalg.cholesky(gaussian).T
    )
    t = predict.student_t_posterior(k, ks, kss, y, a=a, b=b, noise=noise)
    error = 5 * np.sqrt(np.sum(weight**2))
    mean = weight @ f
    np.testing.assert_allclose(mean, t.mean[:, 0], atol=error)
    covariance = (f - mean).T @ (weight[:, None] * (f - mean))
    np.testing.assert_allclose(covariance, t.scale * t.df / (t.df - 2), atol=2 * error)
    for i in range(M):
        z = (f[:, i] - t.mean[i, 0]) / np.sqrt(t.scale[i, i])
        for q in (-2.0, -0.5, 1.0):
            frequency = weight @ (z < q)
            assert abs(frequency - scipy.stats.t.cdf(q, float(t.df))) < error


def test_a_narrow_prior_gives_the_gaussian_process_at_the_rate_of_its_variance():
    with jax.enable_x64(True):
        k, ks, kss, y = problem()
        p = predict.posterior(k, ks, kss, y, noise=0.1)
        evidence = float(predict.log_marginal_likelihood(k, y, noise=0.1))
        gaps = []
        for a in (1e4, 1e6):
            t = predict.student_t_posterior(k, ks, kss, y, a=a, b=a, noise=0.1)
            np.testing.assert_allclose(t.mean, p.mean, rtol=1e-12)
            np.testing.assert_allclose(t.scale, p.cov, rtol=50 / a)
            gaps.append(float(abs(t.log_marginal - evidence)))
        assert gaps[0] < 0.1
        np.testing.assert_allclose(gaps[0] / gaps[1], 100, rtol=0.02)
    # In float32 the logarithms of the two gamma functions alone would be 1e7 with errors of 1.
    single = predict.student_t_posterior(*problem(np.float32), a=1e6, b=1e6, noise=0.1)
    assert single.log_marginal.dtype == jnp.float32
    np.testing.assert_allclose(single.log_marginal, evidence, atol=1e-3)
    np.testing.assert_allclose(single.scale, p.cov, atol=1e-5)


def test_mean_does_not_depend_on_the_prior_and_kernel_units_only_on_b(x64):
    k, ks, kss, y = problem()
    t = predict.student_t_posterior(k, ks, kss, y, a=2.0, b=6.0, noise=0.3)
    same = predict.student_t_posterior(3 * k, 3 * ks, 3 * kss, y, a=2.0, b=2.0, noise=0.9)
    for one, other in zip(t[:4], same[:4], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11)
    pairs = [Kernel(x / 8, None, LogScale(np.log(8.0), None)) for x in (k, ks, kss)]
    units = predict.student_t_posterior(*pairs, y, a=2.0, b=6.0, noise=0.3)
    np.testing.assert_allclose(units.log_marginal, t.log_marginal, rtol=1e-12)
    assert units.scale.shape == (M, M)
    alone = predict.student_t_posterior(k, ks, None, y, a=2.0, b=6.0, noise=0.3)
    assert alone.scale is None
    np.testing.assert_allclose(alone.log_marginal, t.log_marginal, rtol=1e-13)


def test_targets_at_odds_with_the_prior_widen_the_prediction_and_others_narrow_it(x64):
    k, ks, kss, y = problem()
    p = predict.posterior(k, ks, kss, y, noise=0.1)
    wide = predict.student_t_posterior(k, ks, kss, 10 * y, a=2.0, b=2.0, noise=0.1)
    narrow = predict.student_t_posterior(k, ks, kss, 0.01 * y, a=2.0, b=2.0, noise=0.1)
    assert (np.diag(wide.scale) > 4 * np.diag(p.cov)).all()
    assert (np.diag(narrow.scale) < np.diag(p.cov)).all()


def test_a_jitter_decides_about_the_scale_so_it_is_no_success(x64):
    k, ks, kss, y = problem()
    twice = np.r_[0:N, 0:N]
    k2, ks2, y2 = k[np.ix_(twice, twice)], ks[:, twice], y[twice]
    t = predict.student_t_posterior(k2, ks2, kss, y2, a=2.0, b=2.0)
    assert t.status == Status.ILL_CONDITIONED
    assert t.jitter > 0
    np.testing.assert_allclose(t.mean, predict.posterior(k, ks, kss, y).mean, atol=1e-10)
    exact = predict.student_t_posterior(k2, ks2, kss, y2, a=2.0, b=2.0, noise=1e-3)
    assert exact.status == Status.SUCCESS


def test_parameters_out_of_range_whose_values_may_not_be_looked_at_give_nan_and_a_status(x64):
    k, ks, kss, y = problem()

    def posterior(*parameters):
        a, b, noise = (jnp.asarray(value) for value in parameters)  # only plain numbers raise
        return predict.student_t_posterior(k, ks, kss, y, a=a, b=b, noise=noise)

    assert posterior(2.0, 2.0, 0.1).status == Status.SUCCESS
    for bad in [(0.0, 2.0, 0.1), (-3.0, 2.0, 0.1), (2.0, -1.0, 0.1), (2.0, 0.0, 0.1)]:
        t = posterior(*bad)
        assert t.status == Status.NONFINITE
        assert np.isnan(t.log_marginal)
        assert np.isnan(t.scale).all()
    assert posterior(2.0, 2.0, -0.01).status == Status.NONFINITE
    assert posterior(np.nan, 2.0, 0.1).status == Status.NONFINITE


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ratio_of_gamma_functions_keeps_its_digits_and_so_do_its_derivatives(dtype):
    eps = float(np.finfo(dtype).eps)
    pairs = [
        (dtype(a), dtype(h))
        for a in (1e-2, 0.5, 1.0, 8.0, 50.0, 2e3, 1e7)
        for h in (0.5, 1.0, 8.0, 300.0)
    ]
    with jax.enable_x64(dtype == np.float64):
        a, h = jnp.asarray(pairs).T
        slope = jax.grad(log_gamma_ratio)
        functions = [jax.vmap(f) for f in (log_gamma_ratio, slope, jax.grad(slope))]
        results = jax.jit(lambda a, h: [f(a, h) for f in functions])(a, h)
    logarithms = (mpmath.loggamma, mpmath.digamma, partial(mpmath.psi, 1))
    for order, result in enumerate(results):
        assert result.dtype == dtype
        for value, (a, h) in zip(result, pairs, strict=True):
            with mpmath.workdps(40):
                a, h = mpmath.mpf(float(a)), mpmath.mpf(float(h))
                exact = float(logarithms[order](a + h) - logarithms[order](a))
            assert abs(float(value) - exact) <= 40 * eps * (abs(exact) + (order == 0)), (a, h)
