"""The published algorithms: what they keep, where they converge, and stalls, which they admit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.transport import families
from theorylab import transport
from theorylab.transport import Status
from theorylab.transport._select import heaviest, largest

pytestmark = pytest.mark.slow

BUDGET = {"method": "sns", "sparsify": "budget"}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_largest_entries_are_those_of_a_sort(x64, dtype):
    rng = np.random.default_rng(0)
    spread = np.exp(-300 * rng.uniform(size=(20, 30))).astype(dtype)
    tied = rng.integers(0, 4, size=(20, 30)).astype(dtype)
    for plan in (spread, tied):
        for count in (1, 40, 599, 600):
            kept = largest(jnp.asarray(plan), count, jnp.bool_(True))
            assert kept.values.shape == (count,)
            np.testing.assert_array_equal(np.sort(kept.values), np.sort(plan.reshape(-1))[-count:])
            places = np.asarray(kept.rows) * 30 + np.asarray(kept.columns)
            assert len(set(places.tolist())) == count
            np.testing.assert_array_equal(plan.reshape(-1)[places], kept.values)


def test_products_with_what_is_kept_are_those_of_the_matrix(x64):
    rng = np.random.default_rng(0)
    plan = rng.uniform(size=(5, 7))
    kept = largest(jnp.asarray(plan), 12, jnp.bool_(True))
    sparse = np.where(plan >= np.sort(plan.reshape(-1))[-12], plan, 0)
    v, y = rng.normal(size=5), rng.normal(size=7)
    np.testing.assert_allclose(kept.forward(v, 7), sparse.T @ v, rtol=1e-13)
    np.testing.assert_allclose(kept.backward(y, 5), sparse @ y, rtol=1e-13)


def kept_at_newton_steps(solution):
    nnz = np.asarray(solution.history.nnz)
    return nnz[~np.isnan(nnz)]


def test_assignment_converges_with_two_entries_a_row(x64):
    cost, a, b = families.problem("assignment 500")
    solution = transport.solve(cost, a, b, epsilon=1 / 1200, method="sns")
    assert solution.status == Status.SUCCESS
    assert 20 < solution.num_steps <= 80  # 20 sweeps among them
    nnz = kept_at_newton_steps(solution)
    assert len(nnz) == solution.num_steps - 20
    assert set(nnz) == {1000}
    newton = transport.solve(cost, a, b, epsilon=1 / 1200)
    np.testing.assert_allclose(solution.value, newton.value, rtol=1e-10)


def test_digits_stall_at_two_entries_a_row_and_converge_at_fifteen(x64):
    cost, a, b = families.problem("digits 2")
    options = {"epsilon": 1 / 1200, "method": "sns"}
    stalled = transport.solve(cost, a, b, **options)
    assert stalled.status == Status.STALLED and not bool(stalled.converged)
    assert stalled.marginal_error > 1e-4
    assert set(kept_at_newton_steps(stalled)) == {2 * 784}
    reached = transport.solve(cost, a, b, density=15 / 784, **options)
    assert reached.status == Status.SUCCESS
    assert set(kept_at_newton_steps(reached)) == {15 * 784}


def test_with_all_entries_it_is_newtons_method_in_both_potentials(x64):
    cost, a, b, _ = families.small()
    full = transport.solve(cost, a, b, epsilon=0.05, method="sns", density=1.0, tol=1e-11)
    newton = transport.solve(cost, a, b, epsilon=0.05, tol=1e-11)
    assert full.status == Status.SUCCESS
    np.testing.assert_allclose(full.f, newton.f, atol=1e-9)
    errors = np.asarray(full.history.marginal_error)
    errors = errors[~np.isnan(errors)]
    assert len(errors) < 35  # 20 sweeps, then a few steps


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"density": 0.0}, r"density must lie in \(0, 1\], got 0\.0"),
        ({"density": 1.5}, r"density must lie in \(0, 1\], got 1\.5"),
        ({"sweeps": 0}, "sweeps must be a positive whole number, got 0"),
        ({"sparsify": "rows"}, "sparsify must be 'count' or 'budget', got 'rows'"),
    ],
)
def test_options_that_make_no_sense_raise(options, message):
    with pytest.raises(ValueError, match=message):
        transport.solve(np.ones((3, 4), np.float32), epsilon=0.1, method="sns", **options)


def test_a_density_is_no_option_where_a_budget_decides():
    with pytest.raises(TypeError, match="density is no option of sparsify='budget'"):
        transport.solve(np.ones((3, 4), np.float32), epsilon=0.1, density=0.5, **BUDGET)


def dropped_by_sorting(plan, budget):
    """Which entries the rule drops: the smallest of each column, then of what is left out a row."""
    small = np.ones(plan.shape, bool)
    for axis in (0, 1):
        candidates = np.where(small, plan, 0)
        order = np.argsort(candidates, axis)
        sums = np.cumsum(np.take_along_axis(candidates, order, axis), axis)
        fits = np.zeros(plan.shape, bool)
        np.put_along_axis(fits, order, sums <= budget, axis)
        small &= fits
    return small


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_is_dropped_is_what_sorting_drops_and_within_the_budget(x64, dtype):
    rng = np.random.default_rng(0)
    uneven = rng.exponential(size=(40, 60)) ** 4 * 10 ** rng.uniform(-3, 0, (40, 1))
    keep = jax.jit(heaviest)
    for plan in (uneven, np.exp(-60 * rng.uniform(size=(40, 60))), np.ones((40, 60))):
        plan = (plan / plan.sum()).astype(dtype)
        for budget in (0, 1e-9, 1e-5, 1e-3, 1e-1, 2):
            kept = keep(jnp.asarray(plan), jnp.asarray(budget, dtype), jnp.bool_(True))
            values = np.asarray(kept.values)
            lost = np.where(values == 0, plan, 0)
            np.testing.assert_array_equal(np.where(values == 0, 0, plan), values)
            for axis in (0, 1):
                assert (lost.sum(axis) <= budget * (1 + 1e-5)).all()
            assert np.linalg.norm(lost, 2) <= budget * (1 + 1e-5)
            sorted_ = dropped_by_sorting(plan.astype(np.float64), budget)
            assert kept.nnz() == np.count_nonzero(values)
            assert abs(int(kept.nnz()) - np.count_nonzero(plan[~sorted_])) <= 0.02 * plan.size


def test_products_with_a_masked_plan_are_those_of_the_matrix(x64):
    rng = np.random.default_rng(0)
    kept = heaviest(jnp.asarray(rng.uniform(size=(5, 7))), jnp.asarray(0.5), jnp.bool_(True))
    plan, v, y = np.asarray(kept.values), rng.normal(size=5), rng.normal(size=7)
    assert 0 < kept.nnz() < 35
    np.testing.assert_allclose(kept.forward(v, 7), plan.T @ v, rtol=1e-13)
    np.testing.assert_allclose(kept.backward(y, 5), plan @ y, rtol=1e-13)
    np.testing.assert_allclose(kept.squares(y, 5), plan**2 @ y, rtol=1e-12)


# Iterations of regot 0.0.3 (sinkhorn_ssns, by the authors; tol = 1e-9 / sqrt(n), an L2 error).
CASES = [
    ("assignment 500", 1e-2, 6),
    ("assignment 500", 1e-3, 13),
    ("assignment 500", 5e-4, 22),
    ("mixtures 500", 1e-2, 12),
    ("mixtures 500", 1e-3, 40),
    ("mixtures 500", 5e-4, 78),
    ("digits 2", 1e-2, 14),
    ("digits 2", 1e-3, 42),
    ("digits 2", 5e-4, 73),
    ("digits 1", 1e-2, 28),
]


@pytest.mark.parametrize(("name", "epsilon", "theirs"), CASES)
def test_a_budget_converges_in_about_as_many_steps_as_its_authors_program(
    x64, name, epsilon, theirs
):
    cost, a, b = families.problem(name)
    solution = transport.solve(cost, a, b, epsilon=epsilon, sweeps=1, **BUDGET)
    assert solution.status == Status.SUCCESS and bool(solution.converged)
    nnz = kept_at_newton_steps(solution)
    assert len(nnz) == solution.num_steps - 1 <= 1.2 * theirs
    assert len(set(nnz)) > 3
    assert nnz[-1] == nnz.max() < cost.size
    plan = np.asarray(solution.plan())
    assert np.abs(plan.sum(1) - a).sum() + np.abs(plan.sum(0) - b).sum() <= 1e-9
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = np.where(plan > 0, plan * np.log(plan / np.outer(a, b)), 0).sum()
    np.testing.assert_allclose(solution.value, (plan * cost).sum() + epsilon * entropy, rtol=1e-8)


def uneven(dtype=np.float64):
    """n != m, points without mass on both sides, half of the arcs forbidden."""
    rng = np.random.default_rng(0)
    cost, a, b = rng.uniform(size=(20, 30)), rng.uniform(size=20), rng.uniform(size=30)
    cost[rng.uniform(size=cost.shape) < 0.5] = np.inf
    a[:3], b[-4:] = 0, 0
    return cost.astype(dtype), (a / a.sum()).astype(dtype), (b / b.sum()).astype(dtype)


def test_a_budget_serves_forbidden_arcs_and_points_without_mass(x64):
    cost, a, b = uneven()
    newton = transport.solve(cost, a, b, epsilon=1e-3, tol=1e-12)
    one = transport.solve(cost, a, b, epsilon=1e-3, tol=1e-12, **BUDGET)
    other = transport.solve(cost.T, b, a, epsilon=1e-3, tol=1e-12, **BUDGET)
    assert one.status == other.status == Status.SUCCESS
    np.testing.assert_allclose(one.value, newton.value, rtol=1e-12)
    np.testing.assert_allclose(one.plan(), newton.plan(), atol=1e-11)
    np.testing.assert_allclose(other.plan().T, newton.plan(), atol=1e-11)
    assert (np.asarray(one.plan())[np.isinf(cost)] == 0).all()
    lengths = np.asarray(one.history.step)
    assert set(lengths[~np.isnan(lengths)]) == {1, 0.5, 0.25, 0.1, 0}


def test_a_budget_ends_with_a_rate_beyond_linear(x64):
    cost, a, b = uneven()
    solution = transport.solve(cost, a, b, epsilon=0.02, tol=1e-12, **BUDGET)
    errors = np.asarray(solution.history.marginal_error)
    errors = errors[20 : solution.num_lse_passes - 3]
    late = errors[:-1] < 1e-2
    assert late.sum() >= 3
    assert (errors[1:][late] <= errors[:-1][late] ** 1.3).all()


def test_a_budget_does_not_depend_on_units(x64):
    cost, a, b = uneven()
    plain = transport.solve(cost, a, b, epsilon=1e-3, **BUDGET)
    scaled = transport.solve(1e6 * cost, a, b, epsilon=1e3, **BUDGET)
    heavy = transport.solve(cost, 1e8 * a, 1e8 * b, epsilon=1e-3, **BUDGET)
    for solution, mass in ((scaled, 1), (heavy, 1e8)):
        assert solution.status == Status.SUCCESS
        assert abs(int(solution.num_steps - plain.num_steps)) <= 2
        np.testing.assert_allclose(solution.plan() / mass, plain.plan(), atol=1e-9)


def test_a_budget_in_float32_meets_the_masses_to_its_precision(x64, strict_promotion):
    cost, a, b = uneven(np.float32)
    solution = transport.solve(cost, a, b, epsilon=2e-3, **BUDGET)
    assert solution.status == Status.SUCCESS
    assert solution.f.dtype == solution.value.dtype == np.float32
    plan = np.asarray(solution.plan(), np.float64)
    assert np.abs(plan.sum(1) - a).sum() + np.abs(plan.sum(0) - b).sum() <= 4e-5


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_budget_admits_a_tolerance_beyond_precision(x64, strict_promotion, dtype):
    cost, a, b = uneven(dtype)
    beyond = transport.solve(cost, a, b, epsilon=1e-3, tol=1e-18, **BUDGET)
    assert beyond.status == Status.STALLED and not bool(beyond.converged)
    assert beyond.marginal_error < 300 * np.finfo(dtype).eps


def test_a_budget_that_was_stopped_says_so(x64):
    cost, a, b = uneven()
    short = transport.solve(cost, a, b, epsilon=1e-3, max_steps=40, **BUDGET)
    assert short.status == Status.MAX_STEPS and not bool(short.converged)
    plan = np.asarray(short.plan())
    error = np.abs(plan.sum(1) - a).sum() + np.abs(plan.sum(0) - b).sum()
    np.testing.assert_allclose(short.marginal_error, error, rtol=1e-10)
    assert error > 1e-3


def test_a_solution_nearby_saves_steps(x64):
    cost, a, b = uneven()
    near = transport.solve(cost, a, b, epsilon=1e-3, **BUDGET)
    cold = transport.solve(1.001 * cost, a, b, epsilon=1e-3, **BUDGET)
    warm = transport.solve(1.001 * cost, a, b, epsilon=1e-3, init=near, **BUDGET)
    assert cold.status == warm.status == Status.SUCCESS
    assert 3 * len(kept_at_newton_steps(warm)) < len(kept_at_newton_steps(cold))
    np.testing.assert_allclose(warm.value, cold.value, rtol=1e-9)


def test_a_batch_with_budgets_is_its_problems_one_by_one(x64):
    cost, a, b = uneven()
    closed = np.isinf(cost)
    costs = np.stack([cost, cost**2, np.where(closed, np.inf, 1 - cost), np.where(closed, 2, cost)])
    options = {"epsilon": 2e-3, "tol": 1e-12, **BUDGET}
    alone = [transport.solve(cost, a, b, **options) for cost in costs]
    mapped = jax.vmap(lambda cost: transport.solve(cost, a, b, **options))(costs)
    for solution in (transport.solve(costs, a, b, **options), mapped):
        assert solution.status.tolist() == [0] * 4
        assert len({int(s.num_steps) for s in alone}) > 1
        assert solution.num_steps.tolist() == [int(s.num_steps) for s in alone]
        np.testing.assert_allclose(solution.value, [s.value for s in alone], rtol=1e-12)
        plans = np.stack([s.plan() for s in alone])
        np.testing.assert_allclose(solution.plan(), plans, atol=1e-12)
