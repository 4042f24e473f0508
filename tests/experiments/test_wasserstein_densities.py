"""Densities on grids: exact costs by other routes, and claims that notice what is wrong."""

import doctest

import jax
import numpy as np
import pytest
from scipy.optimize import linprog

from experiments import _claims, wasserstein_densities
from experiments import _wasserstein_densities_between as between
from experiments import _wasserstein_densities_cases as cases
from experiments import _wasserstein_densities_exact as exact
from experiments._progress import Progress
from theorylab import transport

SMOKE = wasserstein_densities.PRESETS["smoke"]


@pytest.fixture(scope="module")
def arrays():
    with jax.enable_x64(True):
        found = wasserstein_densities.run(SMOKE, Progress())
    return {name: np.asarray(value) for name, value in found.items()}


def verdicts(arrays, preset="smoke"):
    return {c.name: _claims.verdict(c, preset) for c in wasserstein_densities.claims(arrays)}


def least(a, b, costs):
    """Linear programming: the cost of the best plan."""
    n, m = costs.shape
    sums = np.vstack([np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))])
    found = linprog(costs.ravel(), A_eq=sums[:-1], b_eq=np.concatenate([a, b])[:-1])
    assert found.success
    return found.fun


def masses(size, seed=0):
    rng = np.random.default_rng(seed)
    return [cases.normalised(rng.random(size) * (rng.random(size) > 0.3)) for _ in range(2)]


@pytest.mark.parametrize("p", [1, 1.5, 2])
def test_quantiles_cost_what_linear_programming_finds(p):
    a, b = masses(13)
    grid = np.arange(13) * 0.5
    costs = np.abs(grid[:, None] - grid) ** p
    np.testing.assert_allclose(exact.on_line(a, b, 0.5, p), least(a, b, costs), rtol=1e-9)


def test_the_distance_on_a_line_is_the_area_between_the_sums():
    pair = cases.line_w1(64)
    area = np.abs(np.cumsum(pair.a - pair.b)).sum() * cases.EXTENT / 64
    np.testing.assert_allclose(pair.exact, area, rtol=1e-12)


def test_products_cost_the_sum_of_their_factors(x64):
    pair = cases.plane_w2(6)
    costs = np.asarray(pair.grid.matrix())
    found = least(pair.a.ravel(), pair.b.ravel(), costs)
    np.testing.assert_allclose(pair.exact, found, rtol=1e-6)  # its sums are met to 1e-7


def test_a_digit_is_moved_whole():
    pair = cases.plane_w1()
    np.testing.assert_array_equal(np.roll(pair.a, cases.SHIFT, (0, 1)), pair.b)
    where = np.add.outer(np.arange(cases.CANVAS), np.arange(cases.CANVAS))
    np.testing.assert_allclose(np.sum((pair.b - pair.a) * where), pair.exact, rtol=1e-12)


def coupled(c, A, B, epsilon):
    """Cost of the Gaussian coupling with the covariance c in between."""
    both = np.block([[A, c], [c.T, B]])
    information = np.linalg.slogdet(A)[1] + np.linalg.slogdet(B)[1] - np.linalg.slogdet(both)[1]
    return np.trace(A) + np.trace(B) - 2 * np.trace(c) + epsilon / 2 * information


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 5.0])
def test_no_gaussian_coupling_costs_less_than_the_closed_form(epsilon):
    A, B = cases.COVARIANCES
    value = exact.gaussians(np.zeros(2), A, B, epsilon)
    lam = exact.singular_values(A, B)
    # The best one, written without singular vectors.
    roots = [np.linalg.cholesky(A), np.linalg.cholesky(B)]
    u, s, vt = np.linalg.svd(roots[0].T @ roots[1])
    np.testing.assert_allclose(np.sort(s), lam, rtol=1e-12)
    e = epsilon / (4 * s)
    best = roots[0] @ (u * (np.sqrt(1 + e**2) - e)) @ vt @ roots[1].T
    np.testing.assert_allclose(coupled(best, A, B, epsilon), value, rtol=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert coupled(best + 0.01 * rng.normal(size=(2, 2)), A, B, epsilon) > value


def test_the_debiased_error_is_the_series_and_inside_its_bounds():
    A, B = cases.COVARIANCES
    k, low, high = exact.debiased_curvature(A, B)
    zero = np.zeros(2)
    for epsilon in (0.05, 1.0, 20.0):
        debiased = exact.gaussians(zero, A, B, epsilon) - 0.5 * sum(
            exact.gaussians(zero, S, S, epsilon) for S in (A, B)
        )
        left = (debiased - exact.gaussians(zero, A, B, 0.0)) / epsilon**2
        assert low < left < high
        if epsilon == 0.05:
            np.testing.assert_allclose(left, k, rtol=1e-2)


def test_the_interval_of_the_slope_holds_without_a_grid():
    s, t = cases.DEVIATIONS
    A, B = np.square(cases.DEVIATIONS)
    apart = np.zeros(1)

    def error(epsilon):
        own = sum(exact.gaussians(apart, S, S, epsilon) for S in (A, B)) / 2
        return exact.gaussians(apart, A, B, epsilon) - own - exact.gaussians(apart, A, B, 0.0)

    slope = np.log2(error(0.25) / error(0.125))
    low, high = exact.slope_interval(s, t, 0.125, 0.25)
    assert low < slope < high
    assert high - low < 0.08
    with pytest.raises(ValueError, match="the series says nothing"):
        exact.slope_interval(s, t, 1.0, 2.0)


def test_the_smoke_preset_passes(arrays):
    found = list(verdicts(arrays).values())
    assert (found.count("pass"), found.count("MISS"), found.count("not tested")) == (16, 0, 14)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("line_w2_error", lambda x: x + 1e-8),
        ("line_w2_rounded", lambda x: x - [1, 0, 0]),
        ("plane_w1_sharp", lambda x: x - 1),
        ("plane_w1_rounded", lambda x: x + 100),
        ("plane_w1_debiased", lambda x: x - 15),
        ("line_w2_debiased", lambda x: x + [0, 1e-4, 0]),
        ("barycenter_blurred", lambda x: x + 1e-5),
        ("barycenter_debiased", lambda x: x * np.nan),
        ("barycenter_itself", lambda x: x + 0.01),
        ("debiased_images", lambda x: x * (1 + 1e-11)),
    ],
)
def test_a_number_that_is_off_is_one_miss(arrays, field, change):
    found = verdicts(arrays | {field: change(arrays[field])})
    assert list(found.values()).count("MISS") == 1


def test_a_value_that_is_off_misses_its_closed_form(arrays):
    found = verdicts(arrays | {"line_w2_value": arrays["line_w2_value"] + 1e-7})
    assert [name for name, word in found.items() if word == "MISS"] == [
        "Gaussians on the line: value = closed form, largest difference"
    ]


def test_pairs_that_were_not_run_are_missed_where_they_bind(arrays):
    found = verdicts(arrays, "quick")
    missed = [name for name, word in found.items() if word == "MISS"]
    assert len(missed) == 12
    assert all(name.startswith(("line, abs", "plane, sq", "Gaussians in")) for name in missed)


def test_trouble_is_not_passed_on(x64, monkeypatch):
    real = transport.barycenter
    monkeypatch.setattr(
        transport, "barycenter", lambda *args, **rest: real(*args, max_steps=1, **rest)
    )
    with pytest.raises(ArithmeticError, match="barycenter reports MAX_STEPS"):
        between.between(between.digits(), 0.5, 1.0, "blurred", 1e-5)


def test_the_figure_is_drawn_and_has_words(arrays, tmp_path, monkeypatch):
    from experiments import _figures

    monkeypatch.setattr(_figures, "PNG_DPI", 60)
    _figures.draw(wasserstein_densities, arrays, "Data: MNIST.", tmp_path)
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000
    assert "(a) two Gaussians on 128 points" in wasserstein_densities.caption(arrays)
    assert "exact 19" in wasserstein_densities.alt(arrays)


def test_the_examples_are_true():
    assert doctest.testmod(exact).failed == 0
