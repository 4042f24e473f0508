"""Importance sampling of the scale: against the closed form, quadrature, and its own report."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
import scipy.stats

from theorylab import predict
from theorylab.predict import Status

N, M = 5, 3


def problem(dtype=np.float64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N + M, 2))
    k = np.exp(-((x[:, None] - x[None]) ** 2).sum(-1) / 2).astype(dtype)
    return k[:N, :N], k[N:, :N], k[N:, N:], rng.normal(size=(N, 2)).astype(dtype)


def inverse_gamma(seed):
    """IG(2, 2), by NumPy: nothing to compile."""
    return lambda _, n: 2 / np.random.default_rng(seed).gamma(2.0, size=n)


def log_normal(key, n):
    return np.exp(np.random.default_rng(0).normal(size=n))


def test_an_inverse_gamma_prior_gives_the_closed_form_at_the_rate_of_monte_carlo(x64):
    k, ks, kss, y = problem()
    t = predict.student_t_posterior(k, ks, kss, y, a=2.0, b=2.0, noise=0.1)
    covariance = t.scale * t.df / (t.df - 2)
    key, errors = jax.random.key(0), []
    for n_samples in (625, 10_000):
        runs = [
            predict.scale_mixture_posterior(
                k, ks, kss, y, prior=inverse_gamma(seed), key=key, noise=0.1, n_samples=n_samples
            )
            for seed in range(50)
        ]
        assert all(p.status == Status.SUCCESS for p in runs)
        np.testing.assert_allclose(runs[0].mean, t.mean, rtol=1e-12)
        np.testing.assert_allclose(np.ptp(np.asarray(runs[0].cov / covariance)), 0, atol=1e-10)
        ratios = np.array([p.cov[0, 0] / covariance[0, 0] - 1 for p in runs])
        logs = np.array([p.log_marginal - t.log_marginal for p in runs])
        claimed = [np.sqrt(1 / p.effective_sample_size - 1 / n_samples) for p in runs]
        assert 0.7 < np.sqrt(np.mean(logs**2)) / np.mean(claimed) < 1.4
        errors.append([np.sqrt(np.mean(ratios**2)), np.sqrt(np.mean(logs**2))])
    # 16 times the samples: a quarter of the error; 50 runs know either to a tenth.
    assert 2.8 < errors[0][0] / errors[1][0] < 5.6
    assert 2.8 < errors[0][1] / errors[1][1] < 5.6


def test_any_other_prior_agrees_with_quadrature(x64):
    k, ks, kss, y = problem()
    noisy = k + 0.1 * np.eye(N)
    quadratic = np.sum(y * np.linalg.solve(noisy, y))
    constant = -N * np.log(2 * np.pi) - np.linalg.slogdet(noisy)[1]  # two outputs

    def density(log_s):
        likelihood = np.exp(constant - N * log_s - quadratic * np.exp(-log_s) / 2)
        return likelihood * scipy.stats.norm.pdf(log_s)

    total = scipy.integrate.quad(density, -8, 8)[0]
    mean_s = scipy.integrate.quad(lambda u: np.exp(u) * density(u), -8, 8)[0] / total

    def quantiles(key, n):  # equally spaced in probability: as good as very many samples
        return np.exp(scipy.stats.norm.ppf((np.arange(n) + 0.5) / n))

    p = predict.scale_mixture_posterior(
        k, ks, kss, y, prior=quantiles, key=jax.random.key(1), noise=0.1
    )
    np.testing.assert_allclose(p.log_marginal, np.log(total), atol=1e-4)
    posterior = predict.posterior(k, ks, kss, y, noise=0.1)
    np.testing.assert_allclose(p.cov, mean_s * posterior.cov, rtol=1e-3)
    np.testing.assert_allclose(p.mean, posterior.mean, rtol=1e-12)
    np.testing.assert_allclose(p.weights.sum(), 1, rtol=1e-12)


def test_a_prior_at_one_scale_is_a_gaussian_process_of_that_scale(x64):
    k, ks, kss, y = problem()
    p = predict.scale_mixture_posterior(
        k, ks, kss, y, prior=lambda _, n: jnp.full(n, 3.0), key=jax.random.key(0), noise=0.1
    )
    gaussian = predict.posterior(3 * k, 3 * ks, 3 * kss, y, noise=0.3)
    np.testing.assert_allclose(p.mean, gaussian.mean, rtol=1e-11)
    np.testing.assert_allclose(p.cov, gaussian.cov, rtol=1e-10)
    evidence = predict.log_marginal_likelihood(3 * k, y, noise=0.3)
    np.testing.assert_allclose(p.log_marginal, evidence, rtol=1e-11)
    np.testing.assert_allclose(p.effective_sample_size, 10_000, rtol=1e-9)


def test_a_prior_far_from_the_targets_is_reported():
    k, ks, kss, y = problem(np.float32)
    p = predict.scale_mixture_posterior(
        k, ks, kss, 100 * y, prior=log_normal, key=jax.random.key(0), noise=0.1
    )
    assert p.effective_sample_size < 10
    assert p.status == Status.FEW_SAMPLES
    assert np.isfinite(p.cov).all()


def test_scales_that_overflow_or_vanish_have_no_weight_and_impossible_ones_are_reported(x64):
    k, ks, kss, y = problem()

    def posterior(*extra):
        def prior(key, n):
            return np.concatenate([log_normal(key, n - 2), extra])

        return predict.scale_mixture_posterior(
            k, ks, kss, y, prior=prior, key=jax.random.key(0), noise=0.1
        )

    p = posterior(0.0, jnp.inf)
    assert p.status == Status.SUCCESS
    assert (p.weights[-2:] == 0).all()
    np.testing.assert_allclose(p.cov, posterior(1e-300, 1e300).cov, rtol=1e-12)
    assert posterior(-1.0, 1.0).status == Status.NONFINITE
    assert posterior(jnp.nan, 1.0).status == Status.NONFINITE
    nothing = predict.scale_mixture_posterior(
        k, ks, kss, y, prior=lambda _, n: jnp.zeros(n), key=jax.random.key(0), noise=0.1
    )
    assert nothing.status == Status.NONFINITE


def test_derivatives_pass_through_samples_to_the_parameters_of_the_prior(x64):
    k, ks, _, y = problem()
    unit = inverse_gamma(0)(None, 10_000)

    @jax.jit
    @jax.value_and_grad
    def log_marginal(b):
        return predict.scale_mixture_posterior(
            k, ks, None, y, prior=lambda _, n: b * unit, key=jax.random.key(0), noise=0.1
        ).log_marginal

    difference = (log_marginal(1.1 + 1e-6)[0] - log_marginal(1.1 - 1e-6)[0]) / 2e-6
    np.testing.assert_allclose(log_marginal(1.1)[1], difference, rtol=1e-6)
