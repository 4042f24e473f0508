"""Sparsity of plans: counts, the rate of sparse Newton steps by two routes, claims."""

import doctest
import importlib

import jax
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from experiments import _claims, sns_sparsity
from experiments import _sns_sparsity_runs as runs
from experiments import _sns_sparsity_theory as theory
from experiments._progress import Progress
from experiments._sns_problems import problem
from theorylab import transport

SMOKE = sns_sparsity.PRESETS["smoke"]


@pytest.fixture(scope="module")
def arrays():
    with jax.enable_x64(True):
        found = sns_sparsity.run(SMOKE, Progress())
    return {name: np.asarray(value) for name, value in found.items()}


def verdicts(arrays, preset):
    return {claim.name: _claims.verdict(claim, preset) for claim in sns_sparsity.claims(arrays)}


def test_the_smoke_preset_passes(arrays):
    found = list(verdicts(arrays, "smoke").values())
    assert found[:7] == ["pass"] * 7
    assert set(found[7:]) == {"not tested"}


@pytest.mark.parametrize(
    ("field", "wrong", "presets"),
    [
        ("vertex_surplus", 1.0, ("smoke", "quick", "paper")),
        ("vertex_surplus", np.nan, ("smoke", "quick", "paper")),
        ("vertex_misplaced", 1.0, ("smoke", "quick", "paper")),
        ("vertex_excess", 1.1, ("smoke", "quick", "paper")),
        ("vertex_excess", np.nan, ("smoke", "quick", "paper")),
        ("start_miscounted", 1.0, ("smoke", "quick", "paper")),
        ("slow", 1.0, ("smoke", "quick", "paper")),
        ("near_rate", 0.99, ("smoke", "quick", "paper")),
        ("near_rate", np.nan, ("smoke", "quick", "paper")),
        ("near_status", 2, ("quick", "paper")),
    ],
)
def test_a_number_that_is_off_is_a_miss(arrays, field, wrong, presets):
    spoiled = arrays | {field: np.full_like(arrays[field], wrong)}
    for preset in ("smoke", "quick", "paper"):
        assert "MISS" not in verdicts(arrays, preset).values()
        assert ("MISS" in verdicts(spoiled, preset).values()) == (preset in presets)


def test_one_run_that_is_slower_than_predicted_is_a_miss(arrays):
    slow = arrays["near_rate"].copy()
    place = tuple(np.argwhere(np.isfinite(slow))[0])
    slow[place] = arrays["rate"][place] ** 0.8
    found = verdicts(arrays | {"near_rate": slow}, "quick")
    assert [name for name, verdict in found.items() if verdict == "MISS"] == [
        "digits a step near the solution, measured over predicted, least"
    ]


def plan(n, m, seed, concentration=3.0):
    rng = np.random.default_rng(seed)
    return np.exp(concentration * rng.normal(size=(n, m)))


@pytest.mark.parametrize(("n", "m", "count"), [(6, 6, 9), (5, 8, 20), (8, 5, 39)])
def test_the_rate_is_the_spectral_radius_of_a_step_in_plain_coordinates(n, m, count):
    p = plan(n, m, n)
    p /= p.sum()
    kept = theory.largest(p, count)
    assert (kept > 0).sum() == count
    assert kept[kept > 0].min() >= p[kept == 0].max()
    diagonal = np.diag(np.r_[p.sum(1), p.sum(0)])

    def matrix(block):
        return diagonal + np.block([[np.zeros((n, n)), block], [block.T, np.zeros((m, m))]])

    factors = np.linalg.eigvals(np.eye(n + m) - np.linalg.solve(matrix(kept), matrix(p)))
    assert np.abs(factors.imag).max() < 1e-8
    factors = np.sort(factors.real)
    assert factors[-1] == pytest.approx(1)  # of a constant that moves between the potentials
    found = theory.rates(p, count, 1e-12)
    assert found.rate == pytest.approx(np.abs(factors[:-1]).max(), rel=1e-6)
    assert found.slow == pytest.approx(factors[-2], rel=1e-6)
    assert found.slow <= found.bound + 1e-12
    assert found.mass == pytest.approx(1 - kept.sum())


def test_nothing_dropped_is_newtons_method_and_what_moves_too_little_is_not_seen():
    p = plan(6, 6, 0)
    assert theory.rates(p / p.sum(), 36, 1e-12).rate < 1e-10
    # Two blocks that exchange next to nothing, each well connected, nothing of the rest kept.
    weak = np.full((4, 4), 1e-9)
    weak[:2, :2] = weak[2:, 2:] = 1.0
    weak /= weak.sum()
    assert theory.rates(weak, 8, 1e-12).rate > 0.4
    assert theory.rates(weak, 8, 1e-6).rate < 1e-6


def test_the_bound_is_far_from_1_where_little_is_dropped_only(arrays):
    assert (arrays["slow"] <= arrays["bound"] + 1e-9).all()
    assert arrays["bound"].min() < 0.5 < arrays["bound"].max()


def test_rates_that_are_measured_are_those_predicted(arrays):
    seen = np.isfinite(arrays["near_rate"])
    assert seen.sum() >= 5
    np.testing.assert_allclose(
        np.log(arrays["near_rate"][seen]), np.log(arrays["rate"][seen]), rtol=0.15
    )


def test_entries_that_are_needed_are_those_of_every_subset():
    p = plan(3, 3, 1)
    for short in (0.3, 0.05, 1e-5):
        count = theory.needed(p, short)
        assert theory.largest(p, count).sum() >= (1 - short) * p.sum()
        assert theory.largest(p, count - 1).sum() < (1 - short) * p.sum()
    by_row = runs.entries(np.array([[1.0, 0, 0], [1, 1, 0], [1, 1, 1]]), 1e-5)
    assert by_row.tolist() == [1, 2, 3]


def test_the_path_is_sinkhorns_method(x64):
    drawn = problem("mixtures", 12, 0)
    found = runs.path(drawn, 0.02, [5, 15])
    f = np.zeros(12)
    for sweep in range(1, 16):
        kernel = np.exp((f[:, None] - drawn.cost) / 0.02) * drawn.a[:, None]
        p = kernel / kernel.sum(0) * drawn.b
        f = f + 0.02 * np.log(drawn.a / p.sum(1))
        if sweep in found:
            kernel = np.exp((f[:, None] - drawn.cost) / 0.02) * drawn.a[:, None]
            np.testing.assert_allclose(found[sweep][1], kernel / kernel.sum(0) * drawn.b, rtol=1e-9)


def test_vertices_are_those_of_the_best_assignment_and_their_gap_of_the_next(x64):
    points = 5
    found = runs.vertex(points, 0, 1e-5)
    cost = problem("assignment", points, 0).cost
    from itertools import permutations

    sums = sorted(cost[range(points), list(p)].sum() for p in permutations(range(points)))
    assert sums[0] == pytest.approx(cost[linear_sum_assignment(cost)].sum())
    assert found["gap"] == pytest.approx((sums[1] - sums[0]) / points)
    assert found["surplus"] == found["misplaced"] == 0
    assert 0 < found["excess"] <= 1


def test_a_vertex_that_is_not_reached_is_no_number(x64, monkeypatch):
    real = transport.solve
    monkeypatch.setattr(transport, "solve", lambda *args, **rest: real(*args, max_steps=1, **rest))
    assert np.isnan(runs.vertex(5, 0, 1e-5)["excess"])


def test_the_figure_has_words(arrays):
    assert "SHA-256" in sns_sparsity.caption(arrays)
    assert "Eight panels" in sns_sparsity.alt(arrays)


def test_the_figure_is_drawn(arrays, tmp_path, monkeypatch):
    from experiments import _figures

    monkeypatch.setattr(_figures, "PNG_DPI", 60)
    _figures.draw(sns_sparsity, arrays, "Data: MNIST.", tmp_path)
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000


def test_the_examples_are_true():
    assert doctest.testmod(importlib.import_module(theory.__name__)).failed == 0
