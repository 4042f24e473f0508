"""Nothing wrong is ever called converged: errors where values are known, a status where not."""

import re
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import transport
from theorylab.transport import Status

COST = np.array([[0.0, 1.0, 0.5], [1.0, 0.0, 0.25]], np.float32)
A, B = np.float32([0.5, 0.5]), np.float32([0.25, 0.25, 0.5])


def changed(array, place, number):
    array = array.copy()
    array[place] = number
    return array


NAN, INF = np.float32("nan"), np.float32("inf")
# What is wrong, the arguments, the message; values, so that jit cannot raise.
VALUES = {
    "unbalanced": (COST, A, 1.5 * B, 0.1, r"equal sums .*got 1\.0 and 1\.5"),
    "negative mass": (COST, changed(A, 0, -0.5), B, 0.1, r"a must be .* got -0\.5 at index \(0,\)"),
    "infinite mass": (COST, A, changed(B, 1, INF), 0.1, r"b must be .* got inf at index \(1,\)"),
    "no mass": (COST, 0 * A, 0 * B, 0.1, "a must have a positive sum"),
    "NaN cost": (changed(COST, (1, 2), NAN), A, B, 0.1, r"NaN, got one at index \(1, 2\)"),
    "-inf cost": (changed(COST, (0, 1), -INF), A, B, 0.1, r"-inf, got one at index \(0, 1\)"),
    "a row cut off": (changed(COST, 1, INF), A, B, 0.1, r"all arcs of a\[1\]"),
    "a column cut off": (changed(COST, (slice(None), 2), INF), A, B, 0.1, r"all arcs of b\[2\]"),
    "epsilon 0": (COST, A, B, 0.0, "epsilon must be positive and finite, got 0.0"),
    "epsilon below 0": (COST, A, B, -0.1, "epsilon must be positive and finite, got -0.1"),
    "epsilon NaN": (COST, A, B, float("nan"), "epsilon must be positive and finite, got nan"),
}


@cache
def compiled(method):
    return jax.jit(
        lambda cost, a, b, epsilon: transport.solve(cost, a, b, epsilon=epsilon, method=method)
    )


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("method", ["newton", "sns", "sinkhorn"])
def test_values_that_make_no_problem_raise_and_under_jit_end_in_nan_with_a_status(name, method):
    cost, a, b, epsilon, message = VALUES[name]
    with pytest.raises(ValueError, match=message):
        transport.solve(cost, a, b, epsilon=epsilon, method=method)

    solution = compiled(method)(cost, a, b, jnp.float32(epsilon))
    assert solution.status == Status.INVALID
    assert not bool(solution.converged)
    assert np.isnan(solution.f).all() and np.isnan(solution.value)
    assert np.isnan(solution.round()[1]) and np.isnan(solution.apply(B)).all()


CALLS = {
    "integers": ((COST.astype(int),), {}, TypeError, "cost must be a real floating-point array"),
    "a vector": ((COST[0],), {}, ValueError, r"cost must be .*got shape \(3,\)"),
    "no points": ((COST[:0],), {}, ValueError, r"cost must be a non-empty matrix"),
    "a does not fit": ((COST, B, B), {}, ValueError, r"a must have shape \(2,\) .*got \(3,\)"),
    "b does not fit": ((COST, A, A), {}, ValueError, r"b must have shape \(3,\) .*got \(2,\)"),
    "method": ((COST,), {"method": "simplex"}, ValueError, "method must be one of 'newton'"),
    "option": ((COST,), {"momentum": 1.5}, TypeError, "momentum is no option of method 'newton'"),
    "momentum": (
        (COST,),
        {"method": "sinkhorn", "momentum": 2.0},
        ValueError,
        r"momentum must lie in \(0, 2\), got 2\.0",
    ),
    "sparsify": (
        (COST,),
        {"method": "sns", "sparsify": "rows"},
        ValueError,
        "sparsify must be 'count' or 'budget', got 'rows'",
    ),
    "density": (
        (COST,),
        {"method": "sns", "sparsify": "budget", "density": 0.1},
        TypeError,
        "density is no option of sparsify='budget'",
    ),
    "domain": ((COST,), {"method": "sinkhorn", "domain": "fft"}, ValueError, "domain must be"),
    "epsilons": ((COST,), {"epsilon": A}, ValueError, r"epsilon must be a scalar, got shape"),
    "epsilon below the dtype": (
        (COST,),
        {"epsilon": 1e-60},
        ValueError,
        "epsilon must be positive and finite in float32",
    ),
    "tol": ((COST,), {"tol": 0.0}, ValueError, "tol must be positive"),
    "max_steps": ((COST,), {"max_steps": 0}, ValueError, "max_steps must be a positive whole"),
    "init": ((COST,), {"init": A}, TypeError, "init must be a Solution or a pair"),
    "init's shape": ((COST,), {"init": (A, A)}, ValueError, r"init\[1\] must have shape \(3,\)"),
    "dimension": (
        (transport.PointCloud(COST, COST[:, :2]),),
        {},
        ValueError,
        "points of the same dimension",
    ),
    "cost function": (
        (transport.PointCloud(COST, COST, "cosine"),),
        {},
        ValueError,
        "'sqeuclidean', 'euclidean' or a function",
    ),
    "a point at infinity": (
        (transport.PointCloud(changed(COST, (0, 1), INF), COST),),
        {},
        ValueError,
        r"cost\.x must be finite, got inf at index \(0, 1\)",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_that_do_not_fit_raise_and_name_the_argument(name):
    arguments, options, error, message = CALLS[name]
    with pytest.raises(error, match=message):
        transport.solve(*arguments, **{"epsilon": 0.1} | options)


def test_in_a_batch_one_bad_problem_spoils_itself_alone():
    costs = jnp.stack([COST, changed(COST, (0, 0), NAN), COST + 0.5])
    solution = jax.jit(jax.vmap(lambda c: transport.solve(c, A, B, epsilon=0.1)))(costs)
    assert solution.status.tolist() == [Status.SUCCESS, Status.INVALID, Status.SUCCESS]
    np.testing.assert_allclose(solution.value[2] - solution.value[0], 0.5, rtol=1e-5)
    with pytest.raises(ValueError, match=re.escape("at index (1, 0, 0)")):
        transport.solve(costs, A, B, epsilon=0.1)


def test_poor_potentials_of_points_without_mass_are_no_nan():
    cost = np.random.default_rng(0).uniform(size=(6, 8)).astype(np.float32)
    a, b = np.ones(6, np.float32), np.ones(8, np.float32)
    a[:2] = b[3:5] = 0
    s = transport.solve(cost, a / a.sum(), b / b.sum(), epsilon=1e-3, max_steps=3)
    assert s.status == Status.MAX_STEPS
    assert np.isfinite(s.marginal_error) and np.isfinite(s.plan()).all()


def test_a_vector_that_does_not_fit_the_plan_raises():
    s = transport.solve(COST, A, B, epsilon=0.1)
    with pytest.raises(ValueError, match=r"v must have shape \(3,\) or \(3, 'k'\), got \(2,\)"):
        s.apply(A)


def test_rounding_leaves_forbidden_arcs_empty():
    cost = changed(COST, (0, 2), INF)
    plan, spent = transport.solve(cost, A, B, epsilon=0.05).round()
    assert plan[0, 2] == 0 and np.isfinite(spent)
    np.testing.assert_allclose(plan.sum(0), B, atol=1e-4)


def test_errors_are_relative_to_the_mass():
    one = transport.solve(COST, A, B, epsilon=0.1)
    many = transport.solve(COST, 1e6 * A, 1e6 * B, epsilon=0.1)
    assert many.status == 0 and many.marginal_error <= 2e-5
    # KL(P | a b^T) has P once and the masses twice.
    np.testing.assert_allclose(many.value, 1e6 * (one.value - 0.1 * np.log(1e6)), rtol=1e-5)
