"""The published algorithm: exact selection, its convergence, and its stalls, which it admits."""

import jax.numpy as jnp
import numpy as np
import pytest

from tests.transport import families
from theorylab import transport
from theorylab.transport import Status
from theorylab.transport._select import largest


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
    ],
)
def test_options_that_make_no_sense_raise(options, message):
    with pytest.raises(ValueError, match=message):
        transport.solve(np.ones((3, 4), np.float32), epsilon=0.1, method="sns", **options)
