"""Costs that are never formed give what their matrix gives: points in blocks, grids."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.transport import families
from theorylab import transport
from theorylab.transport import Grid, PointCloud

pytestmark = pytest.mark.slow
STEP = 1e-5


def cubed(x, y):
    return jnp.sum(jnp.abs(x - 0.7 * y) ** 3)


def points(n=9, m=14):
    x, y = families.clouds(20, 3)
    _, a, b, _ = families.small(n, m)
    return x[:n], y[:m], a, b


def image(shape, seed=0):
    mass = np.random.default_rng(seed).uniform(0.1, 1, shape)
    return mass / mass.sum()


def same(found, expected):
    """Potentials, value, and what is made of the plan."""
    assert found.status == 0
    for field in ("f", "g", "value"):
        np.testing.assert_allclose(
            getattr(found, field), getattr(expected, field), rtol=1e-9, atol=1e-10
        )
    plan = expected.plan()
    rng = np.random.default_rng(0)
    right, left = rng.normal(size=(plan.shape[1], 3)), rng.normal(size=plan.shape[0])
    np.testing.assert_allclose(found.plan(), plan, atol=1e-11)
    np.testing.assert_allclose(found.apply(right), plan @ right, atol=1e-11)
    np.testing.assert_allclose(found.apply(right[:, 0]), plan @ right[:, 0], atol=1e-11)
    np.testing.assert_allclose(found.apply(left, transpose=True), left @ plan, atol=1e-11)
    np.testing.assert_allclose(found.sharp_cost(), expected.sharp_cost(), rtol=1e-9)
    np.testing.assert_allclose(found.round()[1], expected.round()[1], rtol=1e-9)


@pytest.mark.parametrize(
    ("n", "m", "block", "cost"), [(9, 14, 4, "sqeuclidean"), (14, 9, 7, cubed)]
)
def test_points_in_blocks_are_points_as_a_matrix(x64, n, m, block, cost):
    x, y, a, b = points(n, m)
    found = transport.solve(PointCloud(x, y, cost, block), a, b, epsilon=0.1)
    same(found, transport.solve(PointCloud(x, y, cost), a, b, epsilon=0.1))


def test_blocks_count_every_exponential(x64):
    x, y, a, b = points()
    blocks = transport.solve(PointCloud(x, y, block=4), a, b, epsilon=0.1)
    whole = transport.solve(PointCloud(x, y), a, b, epsilon=0.1)
    # Sweeps with the plan at hand become passes; products with it do too.
    assert blocks.num_lse_passes > blocks.num_matvec_passes > 0
    assert blocks.num_lse_passes >= whole.num_lse_passes + blocks.num_matvec_passes


def test_blocks_with_forbidden_arcs_and_points_without_mass(x64):
    x, y, a, b = points()
    a[2] = b[3] = 0
    a, b = a / a.sum(), b / b.sum()

    def near(x, y):
        apart = jnp.sum(jnp.square(x - y))
        return jnp.where(apart > 20, jnp.inf, apart)

    found = transport.solve(PointCloud(x, y, near, 4), a, b, epsilon=0.1)
    whole = transport.solve(PointCloud(x, y, near), a, b, epsilon=0.1)
    assert np.isinf(PointCloud(x, y, near).matrix()).any()
    same(found, whole)
    cut_off = PointCloud(x, y, lambda x, y: jnp.where(x[0] == x0, jnp.inf, y[0]), 4)
    x0 = x[0, 0]
    nothing = transport.solve(cut_off, a, b, epsilon=0.1)
    assert nothing.status == transport.Status.INVALID and np.isnan(nothing.value)


@pytest.mark.parametrize(("shape", "p"), [((11,), 1), ((2, 3, 4), 1.5)])
def test_a_grid_is_its_matrix(x64, shape, p):
    grid = Grid(shape, p, spacing=tuple(np.linspace(0.5, 1, len(shape))))
    a, b = image(shape, 0), image(shape, 1)
    found = transport.solve(grid, a, b.reshape(-1), epsilon=0.3)
    same(found, transport.solve(grid.matrix(), a.reshape(-1), b.reshape(-1), epsilon=0.3))


def test_the_matrix_of_a_grid_is_that_of_its_points(x64):
    places = np.stack(np.meshgrid(2.0 * np.arange(3), np.arange(4.0), indexing="ij"), -1)
    places = places.reshape(-1, 2)
    cost = PointCloud(places, places).matrix()
    np.testing.assert_allclose(Grid((3, 4), spacing=(2, 1)).matrix(), cost, atol=1e-12)
    cost = np.abs(places[:, None] - places[None]).sum(-1)
    np.testing.assert_allclose(Grid((3, 4), 1, (2, 1)).matrix(), cost, atol=1e-12)


def test_a_grid_with_pixels_without_mass_at_small_epsilon(x64):
    a, b = image((6, 5), 0), image((6, 5), 1)
    a[:3] = 0
    b[:, :2] = 0
    a, b = a / a.sum(), b / b.sum()
    grid = Grid((6, 5))
    found = transport.solve(grid, a, b, epsilon=0.02)
    same(found, transport.solve(grid.matrix(), a.ravel(), b.ravel(), epsilon=0.02))

    def value(cost):
        return lambda a: transport.solve(cost, a, b.ravel(), epsilon=0.5, tol=1e-13).value

    a = jnp.asarray(a.ravel())
    whole = jax.grad(value(grid.matrix()))(a)
    np.testing.assert_allclose(jax.grad(value(grid))(a), whole, rtol=1e-7, atol=1e-9)


def test_a_batch_on_one_grid(x64):
    a = np.stack([image((4, 3), k) for k in range(3)])
    b = image((4, 3), 9)
    together = transport.solve(Grid((4, 3)), a, b, epsilon=0.3)
    assert together.f.shape == (3, 12)
    one = transport.solve(Grid((4, 3)), a[1], b, epsilon=0.3)
    np.testing.assert_allclose(together.value[1], one.value, rtol=1e-12)
    np.testing.assert_allclose(together.plan()[1], one.plan(), atol=1e-12)
    mapped = jax.vmap(lambda a: transport.solve(Grid((4, 3)), a, b, epsilon=0.3))(a)
    np.testing.assert_allclose(mapped.value, together.value, rtol=1e-12)
    v = np.ones((3, 12))
    np.testing.assert_allclose(mapped.apply(v), a.reshape(3, 12), rtol=1e-8)


def blocks_in_points(x):
    y, b = points()[1], points()[3]
    return transport.solve(PointCloud(x, y, block=5), None, b, epsilon=0.3, tol=1e-13)


def grid_in_masses(t):
    a, b = image((4, 3), 0), image((4, 3), 1)
    return transport.solve(Grid((4, 3)), a + t - t.mean(), b, epsilon=0.3 + t[0, 0], tol=1e-13)


@pytest.mark.parametrize(
    ("solved", "start"),
    [(blocks_in_points, points()[0]), (grid_in_masses, np.zeros((4, 3)))],
)
def test_derivatives_through_costs_that_are_not_formed(x64, solved, start):
    rng = np.random.default_rng(1)
    direction = rng.normal(size=start.shape)
    if start.ndim == 2 and not start.any():
        direction /= 100

    def along(t):
        s = solved(start + t * direction)
        right = jnp.cos(jnp.arange(s.g.size))
        return jnp.stack([s.value, jnp.sum(jnp.sin(jnp.arange(s.f.size)) * s.apply(right))])

    difference = (along(STEP) - along(-STEP)) / (2 * STEP)
    np.testing.assert_allclose(jax.jacrev(along)(0.0), difference, rtol=1e-6)
    np.testing.assert_allclose(jax.jvp(along, (0.0,), (1.0,))[1], difference, rtol=1e-6)

    def worth(t):
        return along(t)[0]

    twice = (jax.grad(worth)(1e-4) - jax.grad(worth)(-1e-4)) / 2e-4
    np.testing.assert_allclose(jax.grad(jax.grad(worth))(0.0), twice, rtol=1e-5)


def temporaries(function, *arguments):
    return jax.jit(function).lower(*arguments).compile().memory_analysis().temp_size_in_bytes


def test_no_matrix_is_held():
    n, m = 1500, 2000
    x, y = jnp.zeros((n, 2), jnp.float32), jnp.zeros((m, 2), jnp.float32)

    def value(x, y):
        return transport.solve(PointCloud(x, y, block=20), epsilon=0.1).value

    assert temporaries(value, x, y) < 4 * n * m / 20
    assert temporaries(jax.grad(value), x, y) < 4 * n * m / 20
    a = jnp.ones((48, 48), jnp.float32)
    used = temporaries(lambda a: transport.solve(Grid((48, 48)), a, a, epsilon=1.0).value, a)
    assert used < 4 * 48**4 / 5


def test_float32_blocks_and_grids():
    x, y, a, b = (np.float32(v) for v in points())
    blocks = transport.solve(PointCloud(x, y, block=4), a, b, epsilon=0.5)
    whole = transport.solve(PointCloud(x, y), a, b, epsilon=0.5)
    np.testing.assert_allclose(blocks.value, whole.value, rtol=1e-5)
    a, b = (np.float32(image((4, 3), k)) for k in (0, 1))
    grid = transport.solve(Grid((4, 3)), a, b, epsilon=0.1)
    assert grid.status == 0 and grid.value.dtype == np.float32


BAD = {
    "a shape": (lambda: Grid((3, 0)), "shape must hold positive whole numbers"),
    "a power": (lambda: Grid((3,), 0.5), "p must be at least 1"),
    "a spacing": (lambda: Grid((3,), spacing=-1.0), "spacing must be positive"),
    "spacings": (lambda: Grid((3, 3), spacing=(1, 2, 3)), "one for each of 2 axes"),
    "masses": (
        lambda: transport.solve(Grid((3, 3)), np.ones(4) / 4, epsilon=1.0),
        r"masses on a grid of shape .* got \(4,\)",
    ),
    "a block": (
        lambda: transport.solve(PointCloud(np.ones((2, 1)), np.ones((2, 1)), block=0), epsilon=1.0),
        "block must be a positive whole number",
    ),
    "sns": (
        lambda: transport.solve(Grid((3, 3)), epsilon=1.0, method="sns"),
        r"needs a matrix, got a Grid: pass cost\.matrix\(\)",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_costs_that_do_not_fit_raise_and_name_the_argument(name):
    call, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        call()
