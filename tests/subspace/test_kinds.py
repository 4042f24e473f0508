"""What every kind of random projection must stand: one list, many tests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.subspace.kind_family import (
    KINDS,
    D,
    d,
    flat,
    images,
    made,
    matrix,
    probes,
    shapes,
    tree_of,
)
from theorylab import subspace

kinds = pytest.mark.parametrize("kind", KINDS)
dtypes = pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-13), ("float32", 1e-6)])


def gradient(dtype="float32"):
    """A random vector of D."""
    return np.random.default_rng(1).normal(size=D).astype(dtype)


@kinds
@dtypes
def test_apply_and_transpose_are_products_with_one_explicit_matrix(kind, dtype, tolerance):
    p, explicit, g = made(kind, dtype=dtype), matrix(kind, dtype=dtype), gradient(dtype)
    theta = probes(dtype)[-1].astype("float64")
    with jax.enable_x64(dtype == "float64"):
        image, back = images(p, probes(dtype)), p.transpose(tree_of(g, dtype))
    assert {x.dtype for x in jax.tree.leaves(image)} == {back.dtype} == {np.dtype(dtype)}
    image, back, g = flat(image)[-1].astype("float64"), np.asarray(back, "float64"), g.astype(float)
    assert np.abs(image - explicit @ theta).max() <= tolerance * np.linalg.norm(theta)
    assert np.abs(back - g @ explicit).max() <= tolerance * np.linalg.norm(g)
    assert abs(image @ g - theta @ back) <= tolerance * np.linalg.norm(image) * np.linalg.norm(g)


@kinds
@dtypes
def test_nothing_is_promoted_by_accident(kind, dtype, tolerance, strict_promotion):
    with jax.enable_x64(dtype == "float64"):
        p = KINDS[kind](7, shapes(dtype), jax.random.key(0))
        back = p.transpose(p.apply(jnp.ones(7, dtype)))
    assert back.dtype == dtype and back.shape == (7,)


@kinds
def test_columns_have_unit_norm_and_are_independent(kind):
    explicit = matrix(kind, dtype="float64")
    if kind != "fastfood":
        np.testing.assert_allclose(np.linalg.norm(explicit, axis=0), 1, atol=1e-6)
    assert np.linalg.svd(explicit, compute_uv=False)[-1] > 0.3


@kinds
def test_float32_and_float64_have_the_same_map(kind):
    np.testing.assert_allclose(matrix(kind), matrix(kind, dtype="float64"), atol=1e-6)


@kinds
def test_a_key_fixes_the_map_and_another_gives_another(kind):
    again = flat(images(KINDS[kind](d, shapes(), jax.random.key(0)), probes()))[:d].T
    np.testing.assert_array_equal(again, matrix(kind))
    assert abs(_cosine(matrix(kind), matrix(kind, 1))) < 0.1


def _cosine(a, b):
    """Of two matrices as vectors: about 1 / sqrt(their size) if they are independent."""
    return np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)


def loss(params, x):
    """Not quadratic, and of both leaves."""
    return jnp.sum(jnp.tanh(x @ params["w"]) ** 3) + jnp.sum(jnp.sin(params["b"]))


@kinds
def test_derivatives_are_those_of_the_loss_through_the_matrix(kind, x64):
    p, explicit = made(kind, dtype="float64"), matrix(kind, dtype="float64")
    start, theta = tree_of(gradient("float64"), "float64"), probes("float64")[-1]
    x, v = jnp.linspace(-1.0, 1.0, 60).reshape(2, 30), np.cos(np.arange(float(d)))
    inside = subspace.wrap(loss, p, start)

    @jax.jit
    def both(theta):
        return jax.grad(inside)(theta, x), jax.jvp(lambda t: inside(t, x), (theta,), (v,))[1]

    there = jax.tree.map(jnp.add, start, tree_of(explicit @ theta, "float64"))
    slopes, slope = both(theta)
    np.testing.assert_allclose(slopes, flat(jax.grad(loss)(there, x)) @ explicit, atol=1e-12)
    np.testing.assert_allclose(slope, slopes @ v, atol=1e-12)


@pytest.mark.parametrize("kind", ["dense_rademacher", "sparse"])
def test_second_derivatives_are_those_through_the_matrix(kind, x64):
    p, explicit = made(kind, dtype="float64"), matrix(kind, dtype="float64")
    start, theta = tree_of(gradient("float64"), "float64"), probes("float64")[-1]
    x = jnp.linspace(-1.0, 1.0, 60).reshape(2, 30)
    hessian = jax.jit(jax.hessian(lambda t: subspace.wrap(loss, p, start)(t, x)))(theta)

    def through(t):
        moved = explicit @ t
        delta = {"b": moved[:27], "w": moved[27:].reshape(30, 20)}
        return loss(jax.tree.map(jnp.add, start, delta), x)

    np.testing.assert_allclose(hessian, jax.hessian(through)(theta), atol=1e-12)


@kinds
def test_vmap_over_keys_gives_the_projections_of_each(kind):
    theta = probes()[-1]

    @jax.jit
    @jax.vmap
    def of(key):
        p = KINDS[kind](d, shapes(), key)
        image = p.apply(theta)
        return image, p.transpose(image)

    both, back = of(jnp.stack([jax.random.key(0), jax.random.key(1)]))
    for seed in (0, 1):
        wanted = matrix(kind, seed) @ theta
        np.testing.assert_allclose(flat(both)[seed], wanted, atol=1e-5)
        np.testing.assert_allclose(back[seed], wanted @ matrix(kind, seed), atol=1e-5)


@kinds
def test_a_scan_is_the_loop_and_nothing_is_compiled_twice(kind):
    theta, g = probes()[-1], gradient()

    @jax.jit
    def loop(p, theta, g):
        def step(theta, _):
            moved = jax.tree.map(jnp.add, p.apply(theta), g)
            return theta - 0.1 * p.transpose(moved), None

        return jax.lax.scan(step, theta, length=3)[0]

    for seed in (0, 1):
        last, wanted = loop(made(kind, seed), theta, tree_of(g)), theta
        for _ in range(3):
            wanted = wanted - 0.1 * matrix(kind, seed).T @ (matrix(kind, seed) @ wanted + g)
        np.testing.assert_allclose(last, wanted, atol=1e-5)
    assert loop._cache_size() == 1


@pytest.mark.parametrize("kind", ["dense_gaussian", "rotation"])
def test_leaves_keep_their_dtypes_and_coordinates_theirs(kind):
    like = {"b": jnp.zeros(27, "bfloat16"), "w": jnp.zeros((30, 20))}
    p = KINDS[kind](d, like, jax.random.key(0))
    image = images(p, probes())
    assert image["b"].dtype == jnp.bfloat16 and image["w"].dtype == jnp.float32
    np.testing.assert_allclose(flat(image)[:d].T, matrix(kind), rtol=2**-8)
    assert p.transpose(jax.tree.map(jnp.ones_like, like)).dtype == jnp.float32


@kinds
def test_leaves_with_maps_of_their_own_have_unit_columns_together(kind):
    p, explicit = made(kind, scope="leaf"), matrix(kind, scope="leaf")
    if kind != "fastfood":
        np.testing.assert_allclose(np.linalg.norm(explicit, axis=0), 1, atol=1e-6)
    np.testing.assert_allclose(p.transpose(tree_of(gradient())), gradient() @ explicit, atol=2e-5)
    assert abs(_cosine(explicit[:27], explicit[27:54])) < 0.3


@pytest.mark.parametrize("kind", ["sketch", "kron"])
def test_a_mask_moves_what_it_selects_by_the_map_of_that_alone(kind):
    p = made(kind, mask=_only_w)
    alone = KINDS[kind](d, shapes()["w"], jax.random.key(0))
    image, g = images(p, probes()), tree_of(gradient())
    assert p.size == 600 and not np.any(image["b"])
    np.testing.assert_array_equal(image["w"], images(alone, probes()))
    np.testing.assert_array_equal(p.transpose(g), alone.transpose(g["w"]))


def _only_w(like):
    return {"b": False, "w": True}


@pytest.mark.parametrize("kind", ["dense_gaussian", "dense_rademacher", "sketch", "rotation"])
def test_many_chunks_of_rows_are_one_matrix(kind):
    rows = 150_011
    p = KINDS[kind](d, jax.ShapeDtypeStruct((rows,), "float32"), jax.random.key(2))
    explicit = np.asarray(images(p, probes())[:d], "float64")
    g = np.random.default_rng(0).normal(size=rows).astype("float32")
    np.testing.assert_allclose(p.transpose(g), explicit @ g, atol=1e-6 * np.linalg.norm(g))
    # Columns have unit norm, and angles of about 1 / sqrt(rows) = 0.0026 if chunks differ.
    gram = explicit @ explicit.T
    np.testing.assert_allclose(np.diag(gram), 1, atol=1e-6)
    assert np.abs(gram - np.diag(np.diag(gram))).max() < 0.012
    size = rows // 3
    assert abs(_cosine(explicit[:, :size], explicit[:, size : 2 * size])) < 0.02


@kinds
def test_bad_arguments_are_named(kind):
    make, key = KINDS[kind], jax.random.key(0)
    with pytest.raises(ValueError, match="d must be from 1 to D = 627, the number of parameters"):
        make(628, shapes(), key)
    with pytest.raises(ValueError, match="got 0"):
        make(0, shapes(), key)
    with pytest.raises(ValueError, match="scope must be"):
        make(d, shapes(), key, scope="layer")
    with pytest.raises(TypeError, match="key must be a typed key"):
        make(d, shapes(), 0)
    with pytest.raises(ValueError, match="like must hold parameters"):
        make(d, {}, key)
    with pytest.raises(TypeError, match=r"like\['n'\]"):
        make(d, {"n": jnp.arange(50)}, key)
