"""SNS and its table: problems, curves that count as the solver does, clocks, claims."""

import doctest
import importlib

import jax
import numpy as np
import pytest

from experiments import _claims, _sns_runs, sns_convergence
from experiments import _sns_convergence_cases as cases
from experiments._progress import Progress
from experiments._sns_problems import problem
from theorylab.transport import Status

SMOKE = sns_convergence.PRESETS["smoke"]
RUNS = [(case, run) for case, runs in cases.cases(SMOKE).items() for run in runs]


@pytest.fixture(scope="module")
def arrays():
    with jax.enable_x64(True):
        found = sns_convergence.run(SMOKE, Progress())
    return {name: np.asarray(value) for name, value in found.items()}


def verdicts(arrays, preset):
    return {claim.name: _claims.verdict(claim, preset) for claim in sns_convergence.claims(arrays)}


def misses(arrays, preset):
    return [name for name, verdict in verdicts(arrays, preset).items() if verdict == "MISS"]


def test_the_smoke_preset_passes(arrays):
    found = list(verdicts(arrays, "smoke").values())
    assert found[:3] == ["pass"] * 3
    assert set(found[3:]) == {"not tested"}


@pytest.mark.parametrize("preset", ["smoke", "quick", "paper"])
@pytest.mark.parametrize(
    ("field", "change", "name"),
    [
        ("assignment_sns2_value", 1 + 1e-7, "values of SNS and of Sinkhorn's method"),
        ("squares_sinkhorn_value", 1 + 1e-7, "values of SNS and of Sinkhorn's method"),
        ("squares_newton_primal", 1 + 1e-5, "dual less primal value"),
        ("distances_newton_formed", 1e9, "marginal error of plans"),
        ("assignment_sns2_formed", np.nan, "marginal error of plans"),
    ],
)
def test_an_identity_that_is_off_is_a_miss_in_every_preset(arrays, preset, field, change, name):
    assert not [miss for miss in misses(arrays, preset) if miss.startswith(name)]
    wrong = misses(arrays | {field: arrays[field] * change}, preset)
    assert [miss for miss in wrong if miss.startswith(name)]


def test_nothing_converged_is_no_pass(arrays):
    failed = arrays | {
        name: np.full_like(value, int(Status.STALLED))
        for name, value in arrays.items()
        if name.endswith("_status")
    }
    assert len(misses(failed, "smoke")) == 3


def published(arrays):
    """Return the arrays as if every case had gone as the paper's table says, 2 draws each."""
    steps = {"sinkhorn": 60_000, "newton": 10, "sns2": 29, "sns4": 29, "sns15": 30}
    rows = {"squares": (2000, 53), "distances": (5700, 777)}
    table = dict(arrays)
    for case in (*sns_convergence.FAMILIES, "squares_bare", "distances_bare"):
        sinkhorn, sns = rows.get(case.removesuffix("_bare"), (60_000, 29))
        for run, count in (steps | {"sinkhorn": sinkhorn, "sns15": sns}).items():
            for field in ("value", "primal", "formed", "largest", "seconds", "passes"):
                table[f"{case}_{run}_{field}"] = arrays[f"assignment_newton_{field}"]
            table[f"{case}_{run}_status"] = np.zeros(2, int)
            table[f"{case}_{run}_steps"] = np.full(2, count)
    return table


def test_the_published_table_misses_nothing_but_the_stall_that_it_does_not_have(arrays):
    assert misses(published(arrays), "quick") == [
        "squared L2, SNS 2/n: draws that stall, and say so"
    ]


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("assignment_newton_status", [0, 2], "Newton: solves that do not converge"),
        ("assignment_sns2_status", [0, 2], "assignment, SNS 2/n: draws that converge"),
        ("squares_sns2_status", [0, 1], "squared L2, SNS 2/n: draws that converge"),
        ("squares_sns15_status", [2, 0], "squared L2, SNS 15/n: draws that converge"),
        ("squares_bare_sns2_status", [2, 0], "squared L2, no background, SNS 2/n: draws that"),
        ("distances_sns15_status", [0, 2], "L1, SNS 15/n: draws that converge"),
        ("distances_bare_sns15_status", [0, 2], "L1, no background, SNS 15/n: draws that"),
        ("assignment_sns2_steps", [29, 61], "assignment, SNS 2/n: most iterations of a draw"),
        ("assignment_sns4_steps", [29, 61], "assignment, SNS 4/n: most iterations of a draw"),
        ("assignment_sinkhorn_steps", [2800, 2800], "assignment, hardest draw: iterations of"),
        ("squares_sinkhorn_steps", [40, 40], "squared L2: iterations of Sinkhorn over SNS"),
        ("distances_sinkhorn_steps", [400, 400], "L1: iterations of Sinkhorn over SNS 15/n"),
        ("squares_sinkhorn_steps", [300, 300], "iterations of Sinkhorn over SNS: squared"),
        ("assignment_sinkhorn_steps", [900, 900], "iterations of Sinkhorn over SNS: assign"),
    ],
)
def test_a_row_that_is_not_as_published_is_a_miss(arrays, field, value, name):
    table = published(arrays)
    assert not [miss for miss in misses(table, "quick") if miss.startswith(name)]
    wrong = misses(table | {field: np.asarray(value)}, "quick")
    assert [miss for miss in wrong if miss.startswith(name)]


@pytest.mark.parametrize(("case", "run"), RUNS)
def test_curves_count_as_the_solver_does_and_end_where_it_ends(arrays, case, run):
    for draw in range(SMOKE.seeds):
        x, y, status, steps, passes, error = (
            arrays[f"{case}_{run.name}_{field}"][draw]
            for field in ("curve_x", "curve_y", "status", "steps", "passes", "error")
        )
        x, y = x[np.isfinite(y)], y[np.isfinite(y)]
        assert (np.diff(x) > 0).all() or run.method == "sns"
        if run.method == "sns":
            # The first look at both potentials is a pass without a step.
            assert (np.diff(x) >= 0).all() and (np.diff(x) == 0).sum() <= 1
        if status == Status.SUCCESS:
            count = {"newton": passes, "sinkhorn": steps + 1, "sns": steps}[run.method]
            # What makes and checks the result is not on the curve; discarded sweeps are.
            assert count - 3 <= x[-1] <= 1.01 * count + 5
            assert run.method != "sns" or x[-1] == steps
            if run.method == "sns":  # one potential is made anew of the other, and better
                assert error <= y[-1]
            else:
                assert y[-1] == pytest.approx(error, rel=0.1, abs=1e-12)


def test_clocks_run_from_low_to_high_accuracy(arrays):
    for case, run in RUNS:
        seconds, errors = (arrays[f"{case}_{run.name}_clock_{axis}"] for axis in "xy")
        assert (seconds > 0).all() and len(seconds) == len(errors)
        assert (np.diff(errors) <= 0).all() or run.method == "sinkhorn"
        hardest = int(arrays[f"{case}_hardest"])
        assert errors[-1] <= arrays[f"{case}_{run.name}_error"][hardest] * 1.1 + 1e-12


def test_both_costs_see_the_same_images_with_and_without_background():
    squares, distances = (problem(name, 28, 3, 0.01) for name in ("squares", "distances"))
    np.testing.assert_array_equal(squares.a, distances.a)
    assert squares.a.min() > 0
    bare = problem("squares", 28, 3)
    lit = bare.a > 0
    assert 50 < lit.sum() < 400
    np.testing.assert_allclose(
        squares.a[lit] - squares.a.min(), bare.a[lit] * (squares.a - squares.a.min()).sum()
    )
    # One pixel to the right costs 1 of 2 * 27 and of 2 * 27**2.
    assert distances.cost[0, 1] == pytest.approx(1 / 54)
    assert squares.cost[0, 1] == pytest.approx(1 / 1458)
    middle = problem("squares", 10, 3)
    whole = bare.a.reshape(28, 28)[9:19, 9:19].ravel()
    np.testing.assert_allclose(middle.a, whole / whole.sum())


def test_clouds_and_assignments_are_scaled_and_repeat():
    for family in ("assignment", "mixtures"):
        drawn = problem(family, 30, 1)
        assert drawn.cost.max() == 1 and drawn.cost.min() >= 0
        np.testing.assert_array_equal(drawn.cost, problem(family, 30, 1).cost)
        assert (drawn.cost != problem(family, 30, 2).cost).any()


def test_what_there_is_not_is_refused():
    with pytest.raises(ValueError, match="family must be one of .* got 'letters'"):
        problem("letters", 5, 0)
    with pytest.raises(ValueError, match="size must be between 1 and 28 for images, got 29"):
        problem("squares", 29, 0)


def test_a_solve_that_stalls_keeps_its_end_on_the_clock(x64):
    drawn = problem("squares", 10, 0, 0.01)
    run = _sns_runs.Run("sns", 2, 20)
    before = _sns_runs.measured(drawn, run, 1 / 1200, 1e-9)
    assert before["status"] == Status.STALLED
    clock = _sns_runs.clocked(drawn, run, 1 / 1200, np.asarray([1e-1, 1e-9]), before)
    assert clock["clock_y"][-1] == before["error"] > 1e-9
    assert len(clock["clock_x"]) == 2


def test_the_figure_has_words(arrays):
    assert "SHA-256" in sns_convergence.caption(arrays)
    assert "Six panels" in sns_convergence.alt(arrays)


def test_the_figure_is_drawn(arrays, tmp_path, monkeypatch):
    from experiments import _figures

    monkeypatch.setattr(_figures, "PNG_DPI", 60)
    _figures.draw(sns_convergence, arrays, "Data: MNIST.", tmp_path)
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["_sns_problems", "_sns_runs", "_sns_convergence_cases"])
def test_the_examples_are_true(name):
    assert doctest.testmod(importlib.import_module(f"experiments.{name}")).failed == 0
