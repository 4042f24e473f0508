"""The escape threshold against random subspaces solved exactly, and laws that are known exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import beta, norm

from theorylab import subspace

D = 80
RNG = np.random.default_rng(0)
RANDOM = RNG.standard_normal(D) / np.sqrt(D)
TOP = np.where(np.arange(D) < 5, 1.0, 0.0)
INDEX = np.arange(1, D + 1)
# Spectrum, start, wanted part of the first loss.
WELLS = {
    "flat": (np.ones(D), RANDOM, 0.3),
    "harmonic": (1 / INDEX, RANDOM, 0.1),
    "harmonic, start along the steepest": (1 / INDEX, TOP, 0.1),
    "squares": (1 / INDEX**2.0, RANDOM, 0.05),
    "bulk": (np.where(INDEX <= 10, 1.0, 1e-3), RANDOM, 0.01),
    "a third without loss": (np.where(INDEX > 27, 1.0, 0.0), RANDOM, 0.3),
}


def frequency(h, m, epsilon, d, trials, seed=1):
    """How often the least loss in a random affine subspace is at most epsilon: least squares."""
    directions = np.random.default_rng(seed).standard_normal((trials, len(h), d))
    basis, _ = np.linalg.qr(np.sqrt(h)[:, None] * directions)
    start = np.sqrt(h) * m
    left = start - np.einsum("nid,nd->ni", basis, np.einsum("nid,i->nd", basis, start))
    return np.mean(0.5 * np.sum(left**2, axis=1) <= epsilon)


@pytest.mark.parametrize("well", WELLS)
def test_success_in_random_subspaces_sets_in_within_two_spreads_of_the_threshold(well, x64):
    h, m, part = WELLS[well]
    epsilon = part * 0.5 * np.sum(h * m**2)
    found = subspace.escape_threshold(h, m, epsilon)
    d_star, spread = float(found.dimension), float(found.spread)
    assert 2 < spread < 8
    low, high = int(d_star - 2 * spread), int(np.ceil(d_star + 2 * spread))
    assert 0 < low < high < D
    assert frequency(h, m, epsilon, low, 200) < 0.1
    assert frequency(h, m, epsilon, high, 200) > 0.9
    middle = int(round(d_star))
    predicted = float(subspace.escape_probability(found, middle))
    assert abs(frequency(h, m, epsilon, middle, 200) - predicted) < 0.15
    assert 0.35 < predicted < 0.65


def test_a_round_well_has_the_law_of_a_random_subspace_and_a_cap(x64):
    # The squared cosine of a fixed direction and a random d-dimensional subspace is
    # Beta(d / 2, (D - d) / 2); success is a cosine above that of the cap.
    size, d = 400, np.arange(1, 400)
    for part in (0.1, 0.3, 0.7):
        exact = beta.sf(1 - part, d / 2, (size - d) / 2)
        h, m = np.full(size, 2.0), np.full(size, 0.5)
        found = subspace.escape_threshold(h, m, part * np.sum(m**2))
        np.testing.assert_allclose(found.dimension, size * (1 - part), rtol=1e-12)
        np.testing.assert_allclose(subspace.escape_probability(found, d), exact, atol=0.03)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_confocal_ellipsoid_goes_through_the_start(scale, x64):
    rng = np.random.default_rng(2)
    for _ in range(20):
        h = scale * 10 ** rng.uniform(-9, 3, D) * (rng.random(D) < 0.8)
        m = 10 ** rng.uniform(-6, 6) * rng.standard_normal(D) * 10 ** rng.uniform(-3, 0, D)
        first = 0.5 * np.sum(h * m**2)
        epsilon = first * 10 ** rng.uniform(-12, -0.01)

        def gap(x, h=h, m=m, epsilon=epsilon):
            return np.log(np.sum(h * m**2 / (h * np.exp(x) + 2 * epsilon)))

        top = np.log(np.sum(m**2))
        root = np.exp(brentq(gap, top - 80, top + 1e-9, xtol=1e-13))
        found = subspace.escape_threshold(h, m, epsilon)
        np.testing.assert_allclose(float(found.radius) ** 2, root, rtol=1e-9)
        assert found.radius <= np.linalg.norm(m) * (1 + 1e-12)


def test_without_tolerance_the_threshold_is_the_rank(x64):
    h = np.where(INDEX <= 13, 1 / INDEX, 0.0)
    found = subspace.escape_threshold(h, RANDOM, 0.0)
    assert found.dimension == 13
    assert found.spread == 0
    assert subspace.escape_probability(found, jnp.array([12, 13])).tolist() == [0, 1]
    assert frequency(h, RANDOM, 1e-20, 12, 20) == 0
    assert frequency(h, RANDOM, 1e-20, 13, 20) == 1


def test_a_start_of_low_loss_needs_no_dimension():
    for epsilon in (1.0, 0.5):  # the loss is 0.5
        found = subspace.escape_threshold(jnp.ones(4), jnp.full(4, 0.5), epsilon)
        assert [float(x) for x in found] == [0, 0, 4, 0]
    nowhere = subspace.escape_threshold(jnp.zeros(4), jnp.ones(4), 0.0)
    assert nowhere.dimension == 0


def test_the_threshold_at_a_distance_is_an_upper_estimate_and_meets_it_for_small_epsilon(x64):
    for h, m, part in WELLS.values():
        first = 0.5 * np.sum(h * m**2)
        reach = np.linalg.norm(m)
        exact = subspace.escape_threshold(h, m, part * first)
        rough = subspace.escape_threshold_at_distance(h, reach, part * first)
        assert rough > exact.dimension
    h, m, _ = WELLS["harmonic"]
    tiny = 1e-9
    np.testing.assert_allclose(
        subspace.escape_threshold(h, m, tiny).dimension,
        subspace.escape_threshold_at_distance(h, np.linalg.norm(m), tiny),
        rtol=1e-9,
    )


def test_derivatives_are_those_of_finite_differences(x64):
    h, m, _ = WELLS["harmonic"]

    def number(x):
        found = subspace.escape_threshold(h * x[0], m + x[1] * TOP, jnp.exp(x[2]))
        return found.dimension + found.spread + found.radius

    value = jax.jit(number)
    slope = jax.jit(jax.grad(number))
    point, step = np.array([1.0, 0.01, np.log(0.002)]), 1e-5
    for i, unit in enumerate(np.eye(3) * step):
        first = (value(point + unit) - value(point - unit)) / (2 * step)
        np.testing.assert_allclose(slope(point)[i], first, rtol=1e-6)


def test_single_precision_keeps_its_dtype_and_five_digits_and_batches_work():
    h, m, part = WELLS["harmonic"]
    first = 0.5 * np.sum(h * m**2)
    eps = np.array([0.5, 0.1, 1e-3, 2.0]) * first
    h32, m32 = h.astype(np.float32), m.astype(np.float32)
    batch = jax.vmap(subspace.escape_threshold, (None, None, 0))(h32, m32, eps.astype(np.float32))
    assert all(x.dtype == np.float32 for x in batch)
    with jax.enable_x64(True):
        for i, e in enumerate(eps):
            exact = subspace.escape_threshold(h, m, e)
            for a, b in zip(batch, exact, strict=True):
                np.testing.assert_allclose(a[i], b, rtol=1e-5)


def test_bad_input_is_refused_and_under_jit_it_is_nan():
    one = jnp.ones(3)
    for arguments, message in [
        ((-one, one, 0.1), "eigenvalues must be >= 0"),
        ((one, one, -0.1), "epsilon must be >= 0"),
        ((one, jnp.ones(2), 0.1), "must be \\(D,\\) both"),
        ((one, one, one), "epsilon must be a scalar"),
    ]:
        with pytest.raises(ValueError, match=message):
            subspace.escape_threshold(*arguments)
    with pytest.raises(ValueError, match="distance must be"):
        subspace.escape_threshold_at_distance(one, 0.0, 0.1)
    with pytest.raises(TypeError, match="eigenvalues must be a real floating"):
        subspace.escape_threshold(jnp.ones(3, int), one, 0.1)
    for h, eps in ((-one, 0.1), (one, -0.1)):
        found = jax.jit(subspace.escape_threshold)(h, one, eps)
        assert np.isnan(found.dimension)


def test_the_normal_law_is_that_of_scipy():
    found = subspace.EscapeThreshold(jnp.float32(10.0), jnp.float32(2.5), None, None)
    d = np.arange(21)
    np.testing.assert_allclose(
        subspace.escape_probability(found, d), norm.cdf((d - 10) / 2.5), rtol=1e-4, atol=1e-6
    )
