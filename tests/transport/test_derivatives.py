"""Derivatives of values, plans and potentials against central differences; both modes; twice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.transport import families
from theorylab import transport

STEP = 1e-5


def value(*problem):
    return transport.solve(*problem[:3], epsilon=problem[3], tol=1e-13).value


def of_the_plan(*problem):
    plan = transport.solve(*problem[:3], epsilon=problem[3], tol=1e-13).plan()
    return jnp.sum(jnp.sin(jnp.arange(plan.size)).reshape(plan.shape) * plan)


def of_potentials(*problem):
    s = transport.solve(*problem[:3], epsilon=problem[3], tol=1e-13)
    return jnp.sum(jnp.sin(jnp.arange(s.f.size)) * s.f) + jnp.sum(jnp.cos(s.g))


def problem(n, m):
    """A problem, and for each argument a direction in which it stays one."""
    cost, a, b, direction = families.small(n, m)
    rng = np.random.default_rng(1)
    masses = [rng.normal(size=k) / 100 for k in (n, m)]
    directions = [direction, *(d - d.mean() for d in masses), 0.1]
    return [cost, a, b, np.float64(0.05)], directions


@pytest.mark.parametrize("f", [value, of_the_plan, of_potentials])
@pytest.mark.parametrize(("n", "m"), [(7, 9), (9, 7)])
def test_derivatives_are_those_of_central_differences(x64, f, n, m):
    arguments, directions = problem(n, m)

    def along(t):
        """All arguments moved at once: one program for the four directions."""
        return f(*[x + s * d for x, s, d in zip(arguments, t, directions, strict=True)])

    gradients = jax.grad(f, (0, 1, 2, 3))(*arguments)
    start = np.zeros(4)
    for k, unit in enumerate(np.eye(4)):
        difference = (along(STEP * unit) - along(-STEP * unit)) / (2 * STEP)
        reverse = np.sum(gradients[k] * directions[k])
        forward = jax.jvp(along, (start,), (unit,))[1]
        np.testing.assert_allclose(reverse, difference, rtol=1e-6)
        np.testing.assert_allclose(forward, reverse, rtol=1e-9)


def test_second_derivatives_of_the_value_see_the_potentials_move(x64):
    (cost, a, b, epsilon), (direction, *_) = problem(7, 9)

    def along(t):
        return value(cost + t * direction, a, b, epsilon)

    h = 1e-4
    difference = (jax.grad(along)(h) - jax.grad(along)(-h)) / (2 * h)
    for twice in (jax.grad(jax.grad(along)), jax.jacfwd(jax.jacfwd(along)), jax.hessian(along)):
        np.testing.assert_allclose(twice(0.0), difference, rtol=1e-6)


@pytest.mark.parametrize("name", ["sqeuclidean", "euclidean"])
def test_derivatives_in_points(x64, name):
    x, y = families.clouds(8, 0)
    direction = np.random.default_rng(2).normal(size=x.shape)

    def f(x):
        return transport.solve(transport.PointCloud(x, y, name), epsilon=0.3, tol=1e-13).value

    difference = (f(x + STEP * direction) - f(x - STEP * direction)) / (2 * STEP)
    np.testing.assert_allclose(np.sum(jax.grad(f)(x) * direction), difference, rtol=1e-6)


def test_derivatives_where_there_is_no_mass_or_no_arc_are_finite_and_one_sided(x64):
    (cost, a, b, epsilon), _ = problem(7, 9)
    cost[1, 3] = np.inf
    a[2] = 0
    a /= a.sum()
    for f in (value, of_the_plan):
        for gradient in jax.grad(f, (0, 1, 2, 3))(cost, a, b, epsilon):
            assert np.isfinite(gradient).all()
    gradient = jax.grad(value, 1)(cost, a, b, epsilon)
    moved = np.zeros(7)
    moved[2], moved[0] = 1e-6, -1e-6
    difference = (value(cost, a + moved, b, epsilon) - value(cost, a, b, epsilon)) / 1e-6
    np.testing.assert_allclose(gradient[2] - gradient[0], difference, rtol=1e-4)


def test_the_gradient_of_a_value_solves_nothing(x64):
    """The envelope theorem: no loop runs beside those of the solution itself."""
    (cost, a, b, epsilon), _ = problem(7, 9)

    def loops(f):
        text = jax.jit(f).lower(cost).compile().as_text()
        return text.count(" while(")

    def only_value(c):
        return value(c, a, b, epsilon)

    assert loops(jax.grad(only_value)) == loops(only_value)


def test_derivatives_in_float32():
    (cost, a, b, epsilon), (direction, *_) = problem(7, 9)
    with jax.enable_x64(True):
        exact = jax.grad(of_the_plan)(cost, a, b, epsilon)
    narrow = [np.float32(v) for v in (cost, a, b, epsilon)]

    def f(c):
        plan = transport.solve(c, *narrow[1:3], epsilon=narrow[3], tol=2e-6).plan()
        return jnp.sum(jnp.sin(jnp.arange(plan.size)).reshape(plan.shape) * plan)

    np.testing.assert_allclose(jax.grad(f)(narrow[0]), exact, atol=2e-4 * np.abs(exact).max())


@pytest.mark.parametrize("n", [7, 9])
def test_a_value_has_one_sided_derivatives_where_either_side_has_no_mass(x64, n):
    (cost, a, b, epsilon), _ = problem(n, 16 - n)
    for k, mass in ((1, a), (2, b)):
        mass = mass.copy()
        mass[2] = 0
        mass /= mass.sum()
        moved = np.zeros(mass.size)
        moved[2], moved[0] = 1e-6, -1e-6
        given = [cost, a, b, epsilon]
        given[k] = mass
        gradient = jax.grad(value, k)(*given)
        at = value(*given)
        given[k] = mass + moved
        difference = (value(*given) - at) / 1e-6
        np.testing.assert_allclose(gradient[2] - gradient[0], difference, rtol=1e-4)
