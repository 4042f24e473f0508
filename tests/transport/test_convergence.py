"""Every family converges within its budget, and what is said of the result is true of its plan."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from tests.transport import families
from theorylab import transport
from theorylab.transport import Status

# passes over the costs, products: 80 / 300 for all but |x - y| on MNIST, 200 / 1500 and 300 / 2500.
CASES = [
    (name, epsilon, *budget)
    for name in ("assignment 500", "mixtures 500", "digits 2", "digits 1")
    for epsilon, budget in (
        (1e-2, (80, 300)),
        (1e-3, (200, 1500) if name == "digits 1" else (80, 300)),
        (5e-4, (300, 2500) if name == "digits 1" else (80, 300)),
    )
]


def marginals(solution, a, b):
    plan = np.asarray(solution.plan(), np.float64)
    return np.abs(plan.sum(1) - a).sum() + np.abs(plan.sum(0) - b).sum()


@pytest.mark.parametrize(("name", "epsilon", "passes", "products"), CASES)
def test_newton_meets_both_marginals_within_its_budget(x64, name, epsilon, passes, products):
    cost, a, b = families.problem(name)
    solution = transport.solve(cost, a, b, epsilon=epsilon)
    assert solution.status == Status.SUCCESS and bool(solution.converged)
    assert solution.num_lse_passes <= passes
    assert solution.num_matvec_passes <= products
    assert solution.marginal_error <= 1e-9
    np.testing.assert_allclose(solution.marginal_error, marginals(solution, a, b), atol=1e-12)


@pytest.mark.parametrize("name", ["assignment 500", "mixtures 500", "digits 2", "digits 1"])
def test_newton_in_float32_meets_them_to_its_precision(name):
    cost, a, b = (np.float32(v) for v in families.problem(name))
    solution = transport.solve(cost, a, b, epsilon=1e-3)
    assert solution.f.dtype == solution.value.dtype == np.float32
    assert solution.status == Status.SUCCESS
    assert marginals(solution, a, b) <= 4e-5


@pytest.mark.parametrize("options", [{}, {"domain": "log"}, {"momentum": 1.5}, {"scaling": True}])
def test_sinkhorn_and_newton_find_the_same_potentials(x64, options):
    cost, a, b = families.problem("mixtures 60")
    newton = transport.solve(cost, a, b, epsilon=0.02, tol=1e-12)
    sweeps = transport.solve(cost, a, b, epsilon=0.02, tol=1e-12, method="sinkhorn", **options)
    assert newton.status == sweeps.status == Status.SUCCESS
    np.testing.assert_allclose(newton.f, sweeps.f, atol=1e-10)
    np.testing.assert_allclose(newton.value, sweeps.value, rtol=1e-12)
    assert newton.num_lse_passes < sweeps.num_lse_passes + sweeps.num_matvec_passes


@pytest.mark.parametrize(("n", "m"), [(7, 9), (9, 7), (1, 5), (5, 1), (1, 1)])
def test_the_dual_value_is_the_primal_one_for_any_shape(x64, n, m):
    cost, a, b, _ = families.small(n, m)
    solution = transport.solve(cost, 3 * a, 3 * b, epsilon=0.05, tol=1e-13)
    plan = np.asarray(solution.plan())
    entropy = np.sum(plan * np.log(plan / np.outer(3 * a, 3 * b)))
    np.testing.assert_allclose(solution.value, np.sum(plan * cost) + 0.05 * entropy, rtol=1e-12)
    np.testing.assert_allclose(3 * a @ solution.f, 3 * b @ solution.g, rtol=1e-10)
    np.testing.assert_allclose(solution.sharp_cost(), np.sum(plan * cost), rtol=1e-12)
    v, w = np.arange(1.0, m + 1), np.arange(1.0, n + 1)[:, None]
    np.testing.assert_allclose(solution.apply(v), plan @ v, rtol=1e-12)
    np.testing.assert_allclose(solution.apply(w, transpose=True), plan.T @ w, rtol=1e-12)


def test_a_rounded_plan_is_feasible_and_between_the_exact_cost_and_its_bound(x64):
    cost, a, b = families.problem("assignment 40")
    exact = cost[linear_sum_assignment(cost)].sum() / 40
    for epsilon, tol in ((1e-2, 1e-9), (1e-3, 1e-9), (1e-3, 1e-1)):
        solution = transport.solve(cost, a, b, epsilon=epsilon, tol=tol)
        plan, spent = solution.round()
        assert (plan >= 0).all()
        np.testing.assert_allclose(plan.sum(1), a, rtol=1e-12)
        np.testing.assert_allclose(plan.sum(0), b, rtol=1e-12)
        assert exact - 1e-12 <= spent
        assert spent <= exact + epsilon * np.log(1600) + 2 * tol


def test_points_without_mass_and_forbidden_arcs_are_as_if_they_were_not_there(x64):
    cost, a, b, _ = families.small(6, 8)
    here = transport.solve(cost, a, b, epsilon=0.02, tol=1e-12)
    wide = np.full((8, 9), np.inf)
    wide[1:7, 1:] = cost
    wide[0], wide[7, 0] = 0.3, 0.2
    more = transport.solve(wide, np.r_[0, a, 0], np.r_[0, b], epsilon=0.02, tol=1e-12)
    assert more.status == Status.SUCCESS
    np.testing.assert_allclose(more.value, here.value, rtol=1e-12)
    np.testing.assert_allclose(more.plan()[1:7, 1:], here.plan(), rtol=1e-8, atol=1e-14)
    assert np.isfinite(more.f).all()
    # The potential of a point without mass is the one that the other side makes of it.
    extended = -0.02 * np.log(np.sum(b * np.exp((more.g[1:] - 0.3) / 0.02)))
    np.testing.assert_allclose(more.f[0], extended, rtol=1e-9)


def test_what_cannot_be_reached_is_said_and_the_best_is_kept(x64):
    cost, a, b = families.problem("assignment 30")
    stopped = transport.solve(cost, a, b, epsilon=1e-3, max_steps=3)
    assert stopped.status == Status.MAX_STEPS and not bool(stopped.converged)
    assert np.isfinite(stopped.f).all()
    narrow = transport.solve(np.float32(cost), np.float32(a), np.float32(b), epsilon=1e-3, tol=1e-9)
    assert narrow.status == Status.STALLED and not bool(narrow.converged)
    assert narrow.marginal_error < 1e-4
    # Mass on the left that only a part of the right may receive: no plan exists.
    split = np.array([[0.0, np.inf], [0.0, 0.0]])
    without = transport.solve(split, np.array([0.7, 0.3]), np.array([0.4, 0.6]), epsilon=0.1)
    assert not bool(without.converged)
    np.testing.assert_allclose(without.marginal_error, marginals(without, [0.7, 0.3], [0.4, 0.6]))


@pytest.mark.parametrize("epsilon", [1e-6, 1e-9])
def test_tiny_epsilon_ends_with_potentials_and_the_truth(x64, epsilon):
    cost, a, b = families.problem("mixtures 40")
    solution = transport.solve(cost, a, b, epsilon=epsilon)
    assert np.isfinite(solution.f).all() and np.isfinite(solution.g).all()
    true = marginals(solution, a, b)
    np.testing.assert_allclose(solution.marginal_error, true, rtol=1e-3, atol=1e-12)
    assert bool(solution.converged) == bool(solution.marginal_error <= 1e-9)
    assert solution.status in (Status.SUCCESS, Status.STALLED, Status.MAX_STEPS)


def test_a_start_near_the_solution_saves_the_stages(x64):
    cost, a, b = families.problem("mixtures 60")
    first = transport.solve(cost, a, b, epsilon=1e-2)
    again = transport.solve(cost, a, b, epsilon=0.009, init=first)
    cold = transport.solve(cost, a, b, epsilon=0.009)
    assert again.status == Status.SUCCESS
    assert again.num_lse_passes < cold.num_lse_passes
    np.testing.assert_allclose(again.f, cold.f, atol=1e-8)
    pair = transport.solve(cost.T, b, a, epsilon=0.009, init=(first.g, first.f))
    np.testing.assert_allclose(pair.g, again.f, atol=1e-8)


def test_history_tells_what_happened_pass_by_pass(x64):
    cost, a, b = families.problem("mixtures 60")
    solution = transport.solve(cost, a, b, epsilon=1e-3)
    made = int(solution.num_lse_passes) - 2  # the last ones make the result and check it
    history = jax.tree.map(np.asarray, solution.history)
    assert np.isfinite(history.marginal_error[:made]).all()
    assert np.isnan(history.marginal_error[made:]).all()
    assert history.products[:made].sum() == solution.num_matvec_passes
    assert (np.diff(history.epsilon[:made]) <= 0).all()
    assert history.epsilon[made - 1] == 1e-3
    assert history.marginal_error[made - 1] <= 1e-9


def test_clouds_of_points_are_their_matrices(x64):
    x, y = families.clouds(30, 0)
    y = y[:20]
    for cost, matrix in (
        ("sqeuclidean", ((x[:, None] - y[None]) ** 2).sum(-1)),
        ("euclidean", np.sqrt(((x[:, None] - y[None]) ** 2).sum(-1))),
        (lambda p, q: jnp.abs(p - q).sum(), np.abs(x[:, None] - y[None]).sum(-1)),
    ):
        cloud = transport.PointCloud(x, y, cost)
        np.testing.assert_allclose(cloud.matrix(), matrix, rtol=1e-13)
        assert cloud.shape == (30, 20)
        ours = transport.solve(cloud, epsilon=0.1)
        np.testing.assert_allclose(
            ours.value, transport.solve(matrix, epsilon=0.1).value, rtol=1e-11
        )
        assert ours.plan().shape == (30, 20)
    far = np.random.default_rng(0).normal(size=(12, 40))
    apart = transport.PointCloud(far + 100, far[:5] + 100).matrix()
    np.testing.assert_allclose(
        apart, ((far[:, None] - far[None, :5]) ** 2).sum(-1), atol=1e-10, rtol=1e-10
    )


def test_masses_that_differ_by_rounding_make_the_plan_that_is_reported(x64):
    cost, a, b, _ = families.small()
    solution = transport.solve(cost, a, b * (1 + 5e-7), epsilon=0.05)
    assert solution.status == Status.SUCCESS
    assert marginals(solution, a, b) <= 1e-9


def test_slow_is_not_stalled(x64):
    """Sinkhorn's method at a rate near 1: hundreds of sweeps, each a little nearer."""
    cost, a, b = families.problem("mixtures 60")
    options = {"method": "sinkhorn", "domain": "log"}
    slow = transport.solve(cost, a, b, epsilon=2e-3, tol=1e-6, **options)
    assert slow.status == Status.SUCCESS
    assert slow.num_lse_passes > 600
