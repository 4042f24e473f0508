"""Given bases: burn-in and lottery subspaces, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import subspace

RNG = np.random.default_rng(0)
BASIS = {"b": RNG.normal(size=(4, 3)), "w": RNG.normal(size=(4, 5, 2))}
FLAT = np.concatenate([BASIS["b"], BASIS["w"].reshape(4, -1)], 1).T


def tree(dtype, basis=BASIS):
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), basis)


def explicit(p):
    columns = jax.vmap(p.apply)(jnp.eye(p.d, dtype=p.states[0].dtype))
    flat = [np.asarray(x, "float64").reshape(p.d, -1) for x in jax.tree.leaves(columns)]
    return np.concatenate(flat, 1).T


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-14)])
def test_columns_are_gram_and_schmidts(dtype, tolerance):
    with jax.enable_x64(dtype == "float64"):
        p = subspace.orthogonal(tree(dtype))
        q, g = explicit(p), RNG.normal(size=13)
        back = p.transpose(
            {"b": jnp.asarray(g[:3], dtype), "w": jnp.asarray(g[3:].reshape(5, 2), dtype)}
        )
        assert back.dtype == np.dtype(dtype)
    wanted = np.zeros_like(FLAT)
    for j, column in enumerate(FLAT.T):
        rest = column - wanted @ (wanted.T @ column)
        wanted[:, j] = rest / np.linalg.norm(rest)
    np.testing.assert_allclose(q, wanted, atol=5 * tolerance)
    np.testing.assert_allclose(back, wanted.T @ g, atol=20 * tolerance)


def test_a_list_of_trees_is_the_stacked_tree():
    rows = [jax.tree.map(lambda x, i=i: x[i], tree("float32")) for i in range(4)]
    one, two = subspace.orthogonal(rows), subspace.orthogonal(tree("float32"))
    np.testing.assert_array_equal(one.states[0], two.states[0])
    assert one.layout == two.layout and one.kind == "orthogonal"


def test_parameters_that_are_a_list_are_told_by_like():
    stacked = [jnp.asarray(BASIS["b"]), jnp.asarray(BASIS["w"])]
    like = [jnp.zeros(3), jnp.zeros((5, 2))]
    with pytest.raises(ValueError, match=r"basis\[1\] must have the shape \(4, 3\)"):
        subspace.orthogonal(stacked)
    p = subspace.orthogonal(stacked, like)
    np.testing.assert_allclose(p.states[0], subspace.orthogonal(tree("float32")).states[0])
    image = p.apply(jnp.ones(4))
    assert isinstance(image, list) and image[1].shape == (5, 2)
    listed = [[x[i] for x in stacked] for i in range(4)]
    np.testing.assert_allclose(subspace.orthogonal(listed, like).states[0], p.states[0])


def test_a_mask_leaves_leaves_alone():
    p = subspace.orthogonal(tree("float32"), mask={"b": False, "w": True})
    image = p.apply(jnp.ones(4))
    assert p.size == 10 and not np.any(image["b"]) and np.all(image["w"])


def test_it_trains_like_any_projection():
    p = subspace.orthogonal(tree("float32"))
    start = jax.tree.map(lambda x: x[0], tree("float32"))
    loss = subspace.wrap(lambda q: sum(jnp.sum((x - 1) ** 2) for x in jax.tree.leaves(q)), p, start)
    theta = subspace.init(p) - jax.jit(jax.grad(loss))(subspace.init(p)) / 2
    # One Newton step: an orthonormal basis leaves the quadratic round.
    np.testing.assert_allclose(jax.grad(loss)(theta), 0, atol=1e-5)
    with pytest.raises(ValueError, match="drawn from a key"):
        subspace.redraw(p, 1)
    with pytest.raises(ValueError, match="its basis has to be stored"):
        subspace.record(p)


def test_vmap_over_bases_gives_a_projection_for_each():
    many = jnp.asarray(RNG.normal(size=(3, 2, 6)), "float32")
    ps = jax.jit(jax.vmap(subspace.orthogonal))(many)
    images = jax.vmap(lambda p: p.apply(jnp.ones(2)))(ps)
    for basis, image in zip(many, images, strict=True):
        np.testing.assert_allclose(image, subspace.orthogonal(basis).apply(jnp.ones(2)), atol=1e-6)


def test_lottery_columns_are_the_leading_singular_directions_of_the_moves(x64):
    points = np.cumsum(RNG.normal(size=(6, 13)), axis=0)
    run = {"b": jnp.asarray(points[:, :3]), "w": jnp.asarray(points[:, 3:].reshape(6, 5, 2))}
    u, _, _ = np.linalg.svd(np.diff(points, axis=0).T, full_matrices=False)
    q = explicit(subspace.lottery(run, 3))
    np.testing.assert_allclose(np.abs(np.sum(q * u[:, :3], axis=0)), 1, atol=1e-12)
    # Positive coordinates lead to where the run ended; fewer directions are the first ones.
    assert np.all((points[-1] - points[0]) @ q > 0)
    np.testing.assert_allclose(explicit(subspace.lottery(run, 2)), q[:, :2], atol=1e-12)
    listed = [jax.tree.map(lambda x, i=i: x[i], run) for i in range(6)]
    np.testing.assert_allclose(explicit(subspace.lottery(listed, 3)), q, atol=1e-12)


def test_a_run_that_stays_in_a_plane_is_solved_in_its_lottery_subspace(x64):
    # Gradient descent on a quadratic of rank 2 moves in two dimensions, and ends in them.
    root = RNG.normal(size=(2, 30))
    goal = RNG.normal(size=30)
    residual = lambda q: root @ q - root @ goal  # noqa: E731
    rate = 0.5 / np.linalg.norm(root, 2) ** 2

    def step(q, _):
        q = q - rate * jax.grad(lambda q: jnp.sum(residual(q) ** 2))(q)
        return q, q

    start = jnp.asarray(RNG.normal(size=30))
    run = jnp.concatenate([start[None], jax.lax.scan(step, start, length=20)[1]])
    inside = lambda p, t: residual(subspace.project(p, start, t))  # noqa: E731
    for dim, solved in ((1, False), (2, True)):
        p = subspace.lottery(run, dim)
        zero = jnp.zeros(dim)
        slopes = np.asarray(jax.jacobian(lambda t, p=p: inside(p, t))(zero))
        theta = np.linalg.lstsq(slopes, -np.asarray(inside(p, zero)), rcond=None)[0]
        assert (float(jnp.sum(inside(p, jnp.asarray(theta)) ** 2)) < 1e-20) == solved
    with pytest.raises(ValueError, match="at least 3 of them, got rank 2"):
        subspace.lottery(run, 3)


@pytest.mark.parametrize(
    ("basis", "error", "match"),
    [
        ([], ValueError, "basis must hold at least one tree"),
        (jnp.float32(1.0), ValueError, "basis must have the number of trees"),
        (jnp.zeros((0, 3)), ValueError, "basis must have the number of trees"),
        ({"a": jnp.ones((2, 3)), "b": jnp.ones((3, 3))}, ValueError, r"basis\['b'\]"),
        (jnp.ones((4, 3)), ValueError, "at most D = 3 directions"),
        (jnp.ones((2, 3)), ValueError, "linearly independent, at least 2 of them, got rank 1"),
        (jnp.zeros((1, 3)), ValueError, "got rank 0"),
        (jnp.array([[1.0, np.nan, 0.0]]), ValueError, "basis must be finite"),
        (jnp.ones((2, 3), int), TypeError, "like must be of real floating point"),
        ({"a": 1.0}, TypeError, r"basis\['a'\] must be an array"),
        ([{"a": jnp.ones(3)}, {"b": jnp.ones(3)}], ValueError, r"basis\[1\] must have the struct"),
    ],
)
def test_bases_that_are_none_are_refused(basis, error, match):
    with pytest.raises(error, match=match):
        subspace.orthogonal(basis)


def test_directions_that_rounding_made_different_are_refused():
    one = RNG.normal(size=1000).astype("float32")
    with pytest.raises(ValueError, match="got rank 1 to the precision of float32"):
        subspace.orthogonal(jnp.stack([one, 3 * one * np.float32(1 + 1e-7)]))
    near = one + 1e-3 * RNG.normal(size=1000).astype("float32")
    assert subspace.orthogonal(jnp.stack([one, 1e6 * near])).d == 2


def test_like_must_fit():
    with pytest.raises(ValueError, match=r"basis\['w'\] must have the shape \(5, 3\)"):
        subspace.orthogonal(tree("float32"), {"b": jnp.zeros(3), "w": jnp.zeros((5, 3))})


@pytest.mark.parametrize(
    ("dim", "error", "match"),
    [
        (0, ValueError, "d must be from 1 to T = 2, the moves of trajectory, got 0"),
        (3, ValueError, "from 1 to T = 2"),
        (1.0, TypeError, "d must be an int"),
        (2, ValueError, "at most D = 1"),
    ],
)
def test_a_dimension_that_the_run_has_not_is_refused(dim, error, match):
    with pytest.raises(error, match=match):
        subspace.lottery(jnp.array([[0.0], [1.0], [3.0]]), dim)
