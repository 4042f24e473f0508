"""Bounds against their formulas, against root finding, and against samples."""

import jax
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import gammaln, rel_entr

from theorylab import subspace

RNG = np.random.default_rng(0)


def binary_kl(q, p):
    return rel_entr(q, p) + rel_entr(1 - q, 1 - p)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_occam_bound_is_its_formula(dtype):
    with jax.enable_x64(dtype == np.float64):
        bits = RNG.uniform(0, 1e5, 50).astype(dtype)
        n, error = RNG.integers(1, 10**6, (4, 1)), RNG.uniform(0, 1, 50).astype(dtype)
        found = subspace.occam_bound(bits, n, error, 0.05)
        expected = error + np.sqrt((bits * np.log(2.0) + np.log(1 / 0.05)) / (2 * n))
        assert found.dtype == dtype
        assert found.shape == (4, 50)
        np.testing.assert_allclose(found, expected, rtol=1e-5 if dtype == np.float32 else 1e-13)


def hypotheses(rng):
    """A finite class with a prefix-free code: lengths, and true errors."""
    bits = np.repeat([2, 4, 6, 8], [2, 4, 8, 32])  # Kraft sum 1
    assert np.sum(2.0**-bits) == 1
    return bits, rng.uniform(0.25, 0.5, len(bits))


@pytest.mark.parametrize("bound", ["occam", "pac-bayes"])
def test_the_bounds_hold_for_all_hypotheses_at_once_as_often_as_they_say(bound, x64):
    # Hypotheses err independently here; the theorem allows any dependence.
    rng, n, delta, trials = np.random.default_rng(1), 40, 0.2, 4000
    bits, truth = hypotheses(rng)
    seen = rng.binomial(n, truth, (trials, len(truth))) / n
    if bound == "occam":
        limit = subspace.occam_bound(bits, n, seen, delta)
    else:
        limit = subspace.pac_bayes_bound(subspace.code_kl(bits), n, seen, delta)
    held = np.mean(np.all(truth <= np.asarray(limit), axis=1))
    assert held >= 1 - delta
    # It is the code that pays for choosing among hypotheses: without its bits the bound fails.
    free = np.mean(np.all(truth <= np.asarray(subspace.occam_bound(0, n, seen, delta)), axis=1))
    assert free < 1 - delta


def test_the_occam_bound_is_reached_by_fixed_hypotheses_within_hoeffding():
    n, delta = 100, 0.1
    seen = RNG.binomial(n, 0.5, 20_000) / n
    failed = np.mean(0.5 > np.asarray(subspace.occam_bound(0, n, seen, delta)))
    assert 0.05 * delta < failed <= delta


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_inverse_of_the_binary_kl_is_that_of_root_finding(dtype):
    with jax.enable_x64(dtype == np.float64):
        kl = np.array([0.0, 1.0, 300.0, 5000.0], dtype)[:, None]
        error = np.array([0.0, 1e-3, 0.05, 0.4, 0.97], dtype)
        found = np.asarray(subspace.pac_bayes_bound(kl, 1000, error, 0.05))
        assert found.dtype == dtype
        budget = (kl.astype(float) + np.log(2 * np.sqrt(1000) / 0.05)) / 1000
        for i, c in enumerate(budget[:, 0]):
            for j, q in enumerate(error.astype(float)):

                def gap(p, q=q, c=c):
                    return binary_kl(q, p) - c

                last = 1 - 1e-15
                root = brentq(gap, q, last, xtol=1e-15) if gap(last) > 0 else 1.0
                tolerance = 2e-6 if dtype == np.float32 else 1e-13
                np.testing.assert_allclose(found[i, j], root, atol=tolerance)
        assert (found >= error).all()
        assert (found <= 1).all()


def longest(kl, n, error, delta):
    """The exact bound, by bisection of the divergence as a function of the gap, in long double."""
    kl, n, q, delta = (np.asarray(x).astype(np.longdouble) for x in (kl, n, error, delta))
    budget = (kl + np.log(2 * np.sqrt(n)) - np.log(delta)) / n
    low, high = np.zeros_like(budget), 1 - q
    for _ in range(140):
        gap = (low + high) / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            wrong = np.where(q > 0, q * np.log1p(gap / q), 0)
            right = np.where(q < 1, (1 - q) * np.log1p(-gap / (1 - q)), 0)
        above = -wrong - right > budget
        low, high = np.where(above, low, gap), np.where(above, gap, high)
    return q + low


def test_in_single_precision_the_kl_bound_is_never_below_the_exact_one_and_hardly_above():
    rng, single = np.random.default_rng(3), np.float32
    error = np.concatenate(
        [rng.uniform(0, 1, 2000), 10 ** rng.uniform(-30, 0, 2000), np.full(500, 0.05), [0, 0, 1]]
    ).astype(single)
    size = len(error)
    n = np.round(10 ** rng.uniform(0, 10, size)).astype(single)
    kl = np.where(rng.random(size) < 0.3, 0, 10 ** rng.uniform(-3, 6, size)).astype(single)
    delta = (10 ** rng.uniform(-30, -0.1, size)).astype(single)
    found = np.asarray(subspace.pac_bayes_bound(kl, n, error, delta))
    exact = longest(kl, n, error, delta)
    assert found.dtype == single
    assert (found >= exact).all()
    assert (found <= exact * (1 + 2e-6)).all()
    at = 1e-3, 10**9, 0.05, 0.05
    np.testing.assert_allclose(subspace.pac_bayes_bound(*at), float(longest(*at)), rtol=2e-6)


def test_a_delta_too_small_for_the_dtype_is_no_zero():
    expected = 0.1 + np.sqrt(50 * np.log(10) / 200)
    np.testing.assert_allclose(subspace.occam_bound(0, 100, 0.1, 1e-50), expected, rtol=1e-6)
    found = subspace.pac_bayes_bound(0.0, 1000, 0.1, np.float64(1e-50))
    np.testing.assert_allclose(found, float(longest(0.0, 1000, 0.1, 1e-50)), rtol=2e-6)


def test_single_precision_stays_single_where_double_is_on_and_promotion_is_strict(x64):
    bits, rest = np.float32([10, 1000]), (np.float32(500), np.float32(0.1), np.float32(0.05))
    with jax.numpy_dtype_promotion("strict"):
        for prefix_free in (True, False):
            kl = subspace.code_kl(bits, prefix_free=prefix_free)
            assert kl.dtype == np.float32
            assert subspace.pac_bayes_bound(kl, *rest).dtype == np.float32
        assert subspace.occam_bound(bits, *rest).dtype == np.float32
        assert subspace.occam_bound(bits, 500, 0.1, 0.05).dtype == np.float32


def test_without_errors_the_inverse_has_a_closed_form(x64):
    kl, n, delta = np.linspace(0, 2000, 9), 500.0, 0.01
    budget = (kl + np.log(2 * np.sqrt(n) / delta)) / n
    found = subspace.pac_bayes_bound(kl, n, 0.0, delta)
    np.testing.assert_allclose(found, -np.expm1(-budget), rtol=1e-12)
    assert float(subspace.pac_bayes_bound(1.0, 10, 1.0, 0.05)) == 1.0


@pytest.mark.parametrize("n", [1, 2, 7, 8, 50, 1000])
def test_the_exponential_moment_of_the_binary_kl_is_below_two_roots_of_n(n):
    k = np.arange(n + 1)
    log_binomial = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    xi = np.sum(np.exp(log_binomial + n * (rel_entr(k / n, 1) + rel_entr(1 - k / n, 1))))
    for p in (0.1, 0.37):
        terms = log_binomial + k * np.log(p) + (n - k) * np.log(1 - p) + n * binary_kl(k / n, p)
        np.testing.assert_allclose(np.sum(np.exp(terms)), xi, rtol=1e-9)
    assert np.sqrt(n) <= xi <= 2 * np.sqrt(n)


def test_the_kl_bound_is_below_pinskers_and_far_below_for_small_errors(x64):
    kl, n, delta = np.linspace(0, 3000, 7)[:, None], 10_000, 0.05
    error = np.linspace(0, 0.9, 10)
    budget = (kl + np.log(2 * np.sqrt(n) / delta)) / n
    found = np.asarray(subspace.pac_bayes_bound(kl, n, error, delta))
    assert (found <= np.minimum(error + np.sqrt(budget / 2), 1) + 1e-12).all()
    assert (np.diff(found, axis=0) > 0).all()
    assert (np.diff(found, axis=1) > 0).all()


def test_the_prior_of_a_code_that_is_not_prefix_free_sums_to_one(x64):
    bits = np.arange(100_000.0)  # 2^b strings of b bits, each of weight exp(-KL)
    kl = np.asarray(subspace.code_kl(bits, prefix_free=False))
    np.testing.assert_allclose(np.sum(np.exp(bits * np.log(2) - kl)), 1, atol=1.1e-5)
    reference = bits[1:] * np.log(2) + 2 * np.log(bits[1:])
    assert (kl[1:] >= reference).all()
    np.testing.assert_allclose(kl[1000:], reference[999:], atol=0.003)
    np.testing.assert_allclose(subspace.code_kl(bits), bits * np.log(2))


def test_derivatives_are_those_of_finite_differences(x64):
    point, step = np.array([400.0, 5000.0, 0.2, 0.05]), np.array([1e-2, 1e-1, 1e-5, 1e-5])

    def bound(x):
        return subspace.pac_bayes_bound(*x)

    value, slope = jax.jit(bound), jax.jit(jax.grad(bound))
    curvature = jax.jit(jax.jacrev(jax.grad(bound)))(point)
    for i in range(4):
        unit = step * (np.arange(4) == i)
        first = (value(point + unit) - value(point - unit)) / (2 * step[i])
        second = (slope(point + unit) - slope(point - unit)) / (2 * step[i])
        np.testing.assert_allclose(slope(point)[i], first, rtol=1e-5)
        np.testing.assert_allclose(curvature[i], second, rtol=1e-4)
    without_errors = slope(np.array([400.0, 5000.0, 0.0, 0.05]))
    assert np.isfinite(without_errors).all()
    np.testing.assert_allclose(  # there the bound is 1 - exp(-budget)
        without_errors[0], (1 - value(np.array([400.0, 5000.0, 0.0, 0.05]))) / 5000, rtol=1e-6
    )
    assert without_errors[2] > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": -1}, "bits must be >= 0"),
        ({"n": 0}, "n must be >= 1"),
        ({"error": 1.5}, "error must be in"),
        ({"error": np.nan}, "error must be in"),
        ({"delta": 0.0}, "delta must be in"),
        ({"delta": 1.0}, "delta must be in"),
        ({"delta": [0.1, 2.0]}, "delta must be in"),
        ({"bits": 1j}, "bits must be real"),
    ],
)
def test_bad_input_is_refused(change, message):
    arguments = {"bits": 10, "n": 100, "error": 0.1, "delta": 0.05} | change
    with pytest.raises(ValueError, match=message):
        subspace.occam_bound(**arguments)
    if "bits" in change:
        arguments["bits"] = 10
        return
    arguments["kl"] = arguments.pop("bits")
    with pytest.raises(ValueError, match=message):
        subspace.pac_bayes_bound(**arguments)
