"""Divergences against their definition and limits; barycenters against their own optimality."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.transport import families
from theorylab import transport
from theorylab.transport import Grid, PointCloud, Status


def test_a_divergence_is_made_of_three_values_and_vanishes_at_home(x64):
    x, y = families.clouds(9, 0)
    found = transport.divergence(x, y, epsilon=0.3)
    assert found.status == 0 and bool(found.converged)

    def value(x, y):
        return transport.solve(PointCloud(x, y), epsilon=0.3).value

    np.testing.assert_allclose(
        found.value, value(x, y) - (value(x, x) + value(y, y)) / 2, rtol=1e-12
    )
    assert float(found) == float(found.value) > 0
    assert abs(float(transport.divergence(x, x, epsilon=0.3))) < 1e-12


def test_a_shift_costs_its_square_at_any_epsilon(x64):
    x, _ = families.clouds(9, 1)
    shift = np.array([0.3, -0.4])
    for epsilon in (0.05, 5.0):
        found = transport.divergence(x, x + shift, epsilon=epsilon)
        np.testing.assert_allclose(found.value, 0.25, rtol=1e-8)


def test_with_p_1_the_divergence_goes_to_the_distance(x64):
    x, _ = families.clouds(9, 1)
    found = transport.divergence(x, x + np.array([3.0, -4.0]), epsilon=1e-3, p=1)
    np.testing.assert_allclose(found.value, 5.0, rtol=1e-3)


def test_the_gradient_of_a_divergence_is_that_of_central_differences(x64):
    x, y = families.clouds(9, 0)
    direction = np.random.default_rng(0).normal(size=x.shape)

    def f(x):
        return transport.divergence(x, y, epsilon=0.3, tol=1e-13).value

    difference = (f(x + 1e-5 * direction) - f(x - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose(np.sum(jax.grad(f)(x) * direction), difference, rtol=1e-6)


def test_trouble_in_a_problem_with_itself_is_trouble_of_the_divergence(x64):
    x, y = families.clouds(9, 0)
    found = transport.divergence(x, y, epsilon=0.3, max_steps=3)
    assert found.status == Status.MAX_STEPS and not bool(found.converged)
    with pytest.raises(ValueError, match="p must be 1 or 2, got 3"):
        transport.divergence(x, y, epsilon=0.3, p=3)


def densities(shape=(15,)):
    rng = np.random.default_rng(0)
    places = np.stack(np.meshgrid(*(np.arange(s) for s in shape), indexing="ij"), -1)
    made = []
    for width in (1.5, 2.5, 2.0):
        middle = [rng.uniform(0.3 * s, 0.7 * s) for s in shape]
        made.append(np.exp(-((places - middle) ** 2).sum(-1) / (2 * width**2)))
    made = np.stack(made)
    return made / made.sum(tuple(range(1, made.ndim)), keepdims=True)


def test_the_barycenter_of_one_density_is_itself_and_blurred_if_not_debiased(x64):
    one = densities()[:1]
    found = transport.barycenter(Grid((15,)), one, epsilon=0.5, tol=1e-6)
    assert found.status == 0
    np.testing.assert_allclose(found.mass, one[0], atol=1e-5)
    blurred = transport.barycenter(Grid((15,)), one, epsilon=0.5, debiased=False)
    kernel = np.exp(-np.asarray(Grid((15,)).matrix()) / 0.5)
    # u K v with v = 1 is the only plan whose free marginal costs nothing.
    expected = kernel.T @ (one[0] / kernel.sum(1))
    np.testing.assert_allclose(blurred.mass, expected, atol=1e-6)


def test_a_debiased_barycenter_cannot_be_improved(x64):
    masses, weights = densities(), np.array([0.2, 0.5, 0.3])
    grid, epsilon = Grid((15,)), 1.0
    found = transport.barycenter(grid, masses, weights, epsilon=epsilon, tol=1e-6, max_steps=50_000)
    assert found.status == 0

    def objective(mass):
        def value(a, b):
            return transport.solve(grid, a, b, epsilon=epsilon).value

        with_all = jnp.sum(weights * jax.vmap(lambda m: value(m, mass))(masses))
        return with_all - value(mass, mass) / 2

    slope = jax.grad(objective)(found.mass)
    slope = slope - jnp.sum(slope * found.mass)
    towards = jnp.abs(jax.grad(objective)(masses.mean(0)) @ (found.mass - masses.mean(0)))
    # No move of mass changes the objective to first order, unlike at the plain mean.
    assert jnp.sum(jnp.abs(slope) * found.mass) < 1e-3 * towards


def test_images_matrices_and_float32_agree(x64):
    masses = densities((5, 4))
    grid = Grid((5, 4))
    image = transport.barycenter(grid, masses, epsilon=0.8, debiased=False)
    flat = transport.barycenter(grid.matrix(), masses.reshape(3, -1), epsilon=0.8, debiased=False)
    assert image.mass.shape == (5, 4)
    np.testing.assert_allclose(image.mass.reshape(-1), flat.mass, rtol=1e-9)
    narrow = transport.barycenter(grid, np.float32(masses), epsilon=0.8, debiased=False)
    assert narrow.mass.dtype == np.float32 and narrow.status == 0
    np.testing.assert_allclose(narrow.mass, image.mass, atol=1e-4)


BAD = {
    "not symmetric": (np.array([[0.0, 1.0], [2.0, 0.0]]), np.eye(2), {}, "cost must be symmetric"),
    "a vector": (Grid((3,)), np.ones(3), {}, r"masses must have shape \(k, 3\)"),
    "sums": (Grid((2,)), np.array([[1.0, 0], [1, 1]]), {}, "masses must have equal"),
    "below 0": (Grid((2,)), np.array([[2.0, -1], [1, 0]]), {}, "masses must be finite and not neg"),
    "weights": (Grid((2,)), np.eye(2), {"weights": np.ones(2)}, "weights must sum to 1, got 2"),
    "epsilon": (Grid((2,)), np.eye(2), {"epsilon": 0.0}, "epsilon must be positive"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_has_no_barycenter_raises_and_under_jit_ends_in_nan(name):
    cost, masses, options, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        transport.barycenter(cost, masses, **{"epsilon": 1.0} | options)
    with pytest.raises(TypeError, match="Grid or a symmetric matrix"):
        transport.barycenter(PointCloud(np.eye(2), np.eye(2)), np.eye(2), epsilon=1.0)


def test_values_under_jit_end_in_a_status():
    run = jax.jit(lambda m: transport.barycenter(Grid((2,)), m, epsilon=1.0))
    assert run(jnp.array([[1.0, 0.0], [1.0, 1.0]])).status == Status.INVALID


def test_a_barycenter_that_is_stopped_early_is_still_a_mass():
    ends = np.eye(9, dtype=np.float32)[[0, 8]]
    for steps in (1, 5):
        found = transport.barycenter(Grid((9,)), ends, epsilon=0.01, max_steps=steps)
        assert found.status == Status.MAX_STEPS
        np.testing.assert_allclose(found.mass.sum(), 1, rtol=1e-5)
