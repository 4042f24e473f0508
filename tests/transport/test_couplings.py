"""Couplings: plans, weights and draws against what they are defined by; bias is never success."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import transport
from theorylab.transport import Status

KINDS = ("newton", "gibbs")


def points(n=5, m=7, seed=0, count=None):
    """Two clouds in the plane with masses; with ``count``, a batch of them."""
    rng = np.random.default_rng(seed)
    batch = () if count is None else (count,)
    x, y = rng.normal(size=(*batch, n, 2)), rng.normal(size=(*batch, m, 2)) + 1
    a, b = rng.uniform(0.2, 1, n), rng.uniform(0.2, 1, m)
    return x, y, a / a.sum(), b / b.sum()


def costs(x, y):
    return ((x[:, None] - y[None]) ** 2).sum(-1)


def test_a_gibbs_plan_is_its_formula_and_says_how_far_its_marginals_are(x64):
    x, y, a, b = points()
    c = transport.coupling(x, y, kind="gibbs", epsilon=0.7, a=a, b=b)
    expected = a[:, None] * b * np.exp(-costs(x, y) / 0.7)
    expected /= expected.sum()
    np.testing.assert_allclose(c.plan, expected, rtol=1e-13)
    error = np.abs(expected.sum(1) - a).sum() + np.abs(expected.sum(0) - b).sum()
    np.testing.assert_allclose(c.marginal_error, error, rtol=1e-12)
    assert error > 0.1
    assert c.status == Status.BIASED
    assert not bool(c.converged)
    allowed = transport.coupling(x, y, kind="gibbs", epsilon=0.7, a=a, b=b, tol=1.01 * error)
    assert bool(allowed.converged)
    refused = transport.coupling(x, y, kind="gibbs", epsilon=0.7, a=a, b=b, tol=0.99 * error)
    assert not bool(refused.converged)


def test_gibbs_weights_that_keep_the_marginals_converge(x64):
    angles = 2 * np.pi * np.arange(6) / 6
    x = np.stack([np.cos(angles), np.sin(angles)], 1)  # every point sees the same of 3 x
    gibbs = transport.coupling(x, 3 * x, kind="gibbs", epsilon=4.0)
    newton = transport.coupling(x, 3 * x, epsilon=4.0)
    assert bool(gibbs.converged)
    np.testing.assert_allclose(gibbs.plan, newton.plan, atol=1e-9)


def test_a_newton_coupling_is_the_plan_of_solve(x64):
    x, y, a, b = points()
    c = transport.coupling(x, y, epsilon=0.1, a=3 * a, b=3 * b, tol=1e-12)
    s = transport.solve(costs(x, y), 3 * a, 3 * b, epsilon=0.1, tol=1e-12)
    np.testing.assert_allclose(c.plan, s.plan(), atol=1e-11)
    assert bool(c.converged)
    error = np.abs(c.plan.sum(1) - 3 * a).sum() + np.abs(c.plan.sum(0) - 3 * b).sum()
    np.testing.assert_allclose(c.marginal_error, error / 3, atol=1e-13)
    assert c.marginal_error < 3e-12


def test_other_costs(x64):
    x, y, a, b = points()
    lengths = np.sqrt(costs(x, y))
    expected = a[:, None] * b * np.exp(-lengths / 0.7)
    for cost in ("euclidean", lambda p, q: jnp.sqrt(jnp.sum((p - q) ** 2))):
        c = transport.coupling(x, y, kind="gibbs", epsilon=0.7, a=a, b=b, cost=cost)
        np.testing.assert_allclose(c.plan, expected / expected.sum(), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_make_independent_pairs_right(x64, kind):
    x, y, a, b = points()
    if kind == "gibbs":
        a[2] = 0.0
        a /= a.sum()
    c = transport.coupling(x, y, kind=kind, epsilon=0.5, a=2 * a, b=2 * b)
    weights = np.asarray(c.weights())
    np.testing.assert_allclose(2 * a[:, None] * b * weights, c.plan, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose((a[:, None] * b * weights).sum(), 1, rtol=1e-9)
    assert (weights[a == 0] == 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("epsilon", [1e-3, 1e-6, 1e-12])
def test_small_epsilon_never_ends_in_zero_over_zero(x64, dtype, epsilon):
    x, y = (dtype(v) for v in points()[:2])
    masses = np.full(5, 1e-9, dtype), np.full(7, 5e-9 / 7, dtype)
    near = np.unravel_index(np.argmin(costs(x, y)), (5, 7))
    masses[0][near[0]] *= dtype(1e-12)  # the nearest pair weighs next to nothing
    masses[1][:] = masses[0].sum(dtype=np.float64) / 7
    a, b = masses
    c = transport.coupling(x, y, kind="gibbs", epsilon=epsilon, a=a, b=b)
    plan = np.asarray(c.plan)
    assert np.isfinite(plan).all()
    np.testing.assert_allclose(plan.sum(), a.sum(), rtol=1e-5)
    logs = np.log(np.float64(a))[:, None] - np.float64(costs(x, y)) / epsilon
    assert np.argmax(plan) == np.argmax(logs)
    slope = jax.grad(
        lambda x: transport.coupling(x, y, kind="gibbs", epsilon=epsilon, a=a, b=b).plan[1, 1]
    )(x)
    assert np.isfinite(slope).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_its_problems_one_by_one(x64, kind):
    x, y, a, b = points(count=3)
    epsilon = np.array([0.3, 0.5, 0.9])
    native = transport.coupling(x, y, kind=kind, epsilon=epsilon, a=a, b=b)

    def one(x, y, epsilon):
        return transport.coupling(x, y, kind=kind, epsilon=epsilon, a=a, b=b)

    made = [native]
    if kind == "gibbs":
        made.append(jax.jit(jax.vmap(one))(x, y, epsilon))
    for k in range(3):
        alone = one(x[k], y[k], epsilon[k])
        for together in made:
            for found, expected in zip(together, alone, strict=True):
                np.testing.assert_allclose(found[k], expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(native.weights()[1], one(x[1], y[1], 0.5).weights(), rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_those_of_central_differences(x64, kind):
    x, y, a, b = points()
    rng = np.random.default_rng(1)
    probe, towards = rng.normal(size=(5, 7)), rng.normal(size=x.shape)
    shift = np.array([0.1, -0.3, 0.1, 0.1, 0.0])

    @jax.jit
    @jax.value_and_grad
    def along(t, points, masses, scale):
        c = transport.coupling(
            x + t * points * towards, y, kind=kind, epsilon=0.6 + t * scale,
            a=a + t * masses * shift, b=b, tol=1e-13,
        )  # fmt: skip
        return jnp.sum(probe * c.plan)

    for each in np.eye(3):
        slope = along(0.0, *each)[1]
        difference = (along(1e-5, *each)[0] - along(-1e-5, *each)[0]) / 2e-5
        np.testing.assert_allclose(slope, difference, rtol=1e-6)


def test_a_point_without_mass_has_a_derivative_in_its_mass(x64):
    x, y, a, b = points()
    a[0], direction = 0.0, np.array([1.0, -1.0, 0, 0, 0])
    a = a / a.sum()

    def plan(t):
        return transport.coupling(x, y, kind="gibbs", epsilon=0.6, a=a + t * direction, b=b).plan

    forward = jax.jvp(plan, (0.0,), (1.0,))[1]
    difference = (-3 * plan(0.0) + 4 * plan(1e-4) - plan(2e-4)) / 2e-4
    np.testing.assert_allclose(forward, difference, rtol=1e-5, atol=1e-6)
    assert np.abs(forward[0]).max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_draws_have_the_frequencies_of_the_plan(kind):
    x, y, a, b = (np.float32(v) for v in points())
    if kind == "gibbs":
        a[1], b[6] = 0, 0
        a, b = a / a.sum(), b / b.sum()
    c = transport.coupling(x, y, kind=kind, epsilon=0.5, a=a, b=b)
    count = 40_000
    i, j = c.sample(jax.random.key(0), count)
    assert i.shape == j.shape == (count,)
    seen = np.zeros((5, 7))
    np.add.at(seen, (np.asarray(i), np.asarray(j)), 1)
    plan = np.asarray(c.plan, np.float64)
    assert (seen[plan == 0] == 0).all()
    big = plan > 1e-4
    chi = ((seen - count * plan)[big] ** 2 / (count * plan[big])).sum()
    assert chi < big.sum() + 5 * np.sqrt(2 * big.sum())
    again = c.sample(jax.random.key(0), count)
    np.testing.assert_array_equal(i, again[0])
    assert (np.asarray(c.sample(jax.random.key(1), count)[0]) != i).any()


def test_draws_in_batches_and_under_jit():
    x, y, a, b = points(count=3)
    c = transport.coupling(x, y, kind="gibbs", epsilon=0.5)
    i, j = c.sample(jax.random.key(3), 8)
    assert i.shape == j.shape == (3, 8)
    assert len({tuple(row) for row in np.asarray(i).tolist()}) == 3  # each with a key of its own
    inside = jax.jit(lambda c: c.sample(jax.random.key(3), 8))(c)
    np.testing.assert_array_equal(inside, (i, j))
    keys = jax.random.split(jax.random.key(3), 3)
    mapped = jax.vmap(lambda c, key: c.sample(key, 8))(c, keys)
    np.testing.assert_array_equal(mapped, (i, j))


def test_the_last_pair_of_a_plan_is_not_fallen_past():
    plan = jnp.zeros((4, 3)).at[2, 1].set(0.7)  # nothing behind it
    c = transport.Coupling(plan, *[jnp.zeros(())] * 3, jnp.ones(4), jnp.ones(3))
    i, j = c.sample(jax.random.key(0), 1000)
    assert set(zip(np.asarray(i).tolist(), np.asarray(j).tolist(), strict=True)) == {(2, 1)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_follow_the_points(x64, kind, dtype):
    x, y, _, b = (dtype(v) for v in points())
    c = transport.coupling(x, y, kind=kind, epsilon=0.5, b=b)
    assert c.plan.dtype == c.marginal_error.dtype == c.weights().dtype == dtype
    assert c.status.dtype == np.int32
    assert {v.dtype for v in c.sample(jax.random.key(0), 3)} == {np.dtype(np.int32)}


def test_half_precision_is_widened_and_promotion_is_never_implicit(x64, strict_promotion):
    x, y, a, b = points()
    c = transport.coupling(x, y, kind="gibbs", epsilon=0.5, a=a, b=b)
    c.weights()
    c.sample(jax.random.key(0), 3)
    half = [jnp.asarray(v, jnp.bfloat16) for v in (x, y)]
    assert transport.coupling(*half, kind="gibbs", epsilon=0.5).plan.dtype == np.float32


X, Y = (np.float32(v) for v in points()[:2])
A, B = np.full(5, 0.2, np.float32), np.full(7, 1 / 7, np.float32)
NAN = np.float32("nan")


def changed(array, place, number):
    array = array.copy()
    array[place] = number
    return array


VALUES = {
    "a point at infinity": (changed(X, (0, 1), np.inf), A, 0.5, "x must be finite, got inf at"),
    "NaN in x": (changed(X, (2, 0), NAN), A, 0.5, r"x must be finite, got nan at index \(2, 0\)"),
    "negative mass": (X, changed(A, 0, -0.2), 0.5, "a must be finite and not negative"),
    "unbalanced": (X, 2 * A, 0.5, "equal sums"),
    "epsilon 0": (X, A, 0.0, "epsilon must be positive and finite, got 0.0"),
    "epsilon below 0": (X, A, -1.0, "epsilon must be positive and finite, got -1.0"),
}
COMPILED = {
    kind: jax.jit(
        lambda x, a, epsilon, kind=kind: transport.coupling(
            x, Y, kind=kind, epsilon=epsilon, a=a, b=B
        )
    )
    for kind in KINDS
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", VALUES)
def test_values_that_make_no_problem_raise_and_under_jit_end_in_nan_with_a_status(name, kind):
    x, a, epsilon, message = VALUES[name]
    with pytest.raises(ValueError, match=message):
        transport.coupling(x, Y, kind=kind, epsilon=epsilon, a=a, b=B)
    c = COMPILED[kind](x, a, jnp.float32(epsilon))
    assert c.status == Status.INVALID
    assert not bool(c.converged)
    assert np.isnan(c.plan).all() and np.isnan(c.marginal_error)
    with pytest.raises(ValueError, match="plan must not be NaN"):
        c.sample(jax.random.key(0), 3)


def test_in_a_batch_one_bad_problem_spoils_itself_alone():
    epsilon = jnp.array([0.5, -1.0, 0.5])
    c = jax.vmap(lambda e: transport.coupling(X, Y, kind="gibbs", epsilon=e))(epsilon)
    assert c.status.tolist() == [Status.BIASED, Status.INVALID, Status.BIASED]
    assert np.isfinite(c.plan[0]).all() and np.isnan(c.plan[1]).all()


CALLS = {
    "kind": ({"kind": "sinkhorn"}, ValueError, "kind must be 'newton' or 'gibbs', got 'sinkhorn'"),
    "integers": ({"x": X.astype(int)}, TypeError, "^x must be a real floating-point array"),
    "a vector": ({"y": Y[:, 0]}, ValueError, r"^x and y must be non-empty.*\(5, 2\) and \(7,\)"),
    "no points": ({"x": X[:0]}, ValueError, r"^x and y must be non-empty.*\(0, 2\)"),
    "dimension": ({"y": Y[:, :1]}, ValueError, "^x and y must have points of the same dimension"),
    "batch": ({"x": X[None]}, ValueError, "^x and y must be non-empty"),
    "masses": ({"a": B}, ValueError, r"^a must have shape \(5,\)"),
    "tol": ({"tol": 0.0}, ValueError, "^tol must be positive"),
    "cost": ({"cost": "cosine"}, ValueError, "^cost must be 'sqeuclidean', 'euclidean' or a"),
    "cost's type": ({"cost": 2}, TypeError, "^cost must be a name or a function of two points"),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_that_do_not_fit_raise_and_name_the_argument(name):
    options, error, message = CALLS[name]
    with pytest.raises(error, match=message):
        transport.coupling(**{"x": X, "y": Y, "epsilon": 0.5, "kind": "gibbs"} | options)


def test_draws_ask_for_a_typed_key_and_a_count():
    c = transport.coupling(X, Y, kind="gibbs", epsilon=0.5)
    for key in (0, jax.random.PRNGKey(0)):
        with pytest.raises(TypeError, match="key must be a typed JAX key"):
            c.sample(key, 3)
    with pytest.raises(
        ValueError, match=re.escape("single key, got an array of keys of shape (2,")
    ):
        c.sample(jax.random.split(jax.random.key(0)), 3)
    with pytest.raises(ValueError, match="count must be a positive whole number, got 0"):
        c.sample(jax.random.key(0), 0)


def test_trouble_of_the_solver_is_not_hidden():
    c = transport.coupling(X, Y, epsilon=1e-4, tol=1e-12)  # beyond float32
    assert not bool(c.converged)
    assert c.status == Status.STALLED
    error = np.abs(c.plan.sum(1) - A).sum() + np.abs(c.plan.sum(0) - B).sum()
    np.testing.assert_allclose(c.marginal_error, error, rtol=1e-2, atol=1e-7)
