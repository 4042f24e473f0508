"""Taylor expansions and NTK-vector products against derivatives taken another way."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import empirical


def cubic(params, x):
    """A polynomial of degree 3 in its parameters."""
    return (x @ params["a"]) * (x @ params["b"]) * params["scale"]


def problem(dtype=np.float64):
    rng = np.random.default_rng(0)
    params = {"a": rng.normal(size=(4, 2)), "b": rng.normal(size=(4, 2)), "scale": np.array(0.7)}
    moved = {name: value + 0.3 * rng.normal(size=value.shape) for name, value in params.items()}
    x1, x2 = rng.normal(size=(5, 4)), rng.normal(size=(3, 4))
    return jax.tree.map(lambda a: np.asarray(a, dtype), (params, moved, x1, x2))


def test_a_polynomial_is_its_own_expansion_from_its_degree_on(x64):
    params, moved, x, _ = problem()
    exact = cubic(moved, x)
    errors = [
        np.abs(empirical.taylor_expand(cubic, params, d)(moved, x) - exact).max() for d in range(5)
    ]
    assert min(errors[:3]) > 1e-3
    assert max(errors[3:]) < 1e-13


def test_degree_one_is_the_linearisation_and_degree_zero_the_network(x64):
    params, moved, x, _ = problem()
    np.testing.assert_allclose(
        empirical.taylor_expand(cubic, params, 0)(moved, x), cubic(params, x), rtol=1e-14
    )
    np.testing.assert_allclose(
        empirical.taylor_expand(cubic, params, 1)(moved, x),
        empirical.linearize(cubic, params)(moved, x),
        rtol=1e-14,
    )


def test_the_error_of_an_expansion_falls_with_the_distance_as_its_order_says(x64):
    params, moved, x, _ = problem()

    def f(p, x):
        return jnp.tanh(x @ p["a"]) @ p["b"].T * jnp.exp(p["scale"])

    for degree in (1, 2, 3):
        expansion = empirical.taylor_expand(f, params, degree)
        errors = []
        for size in (0.02, 0.01):
            near = jax.tree.map(lambda a, b, s=size: a + s * (b - a), params, moved)
            errors.append(np.abs(expansion(near, x) - f(near, x)).max())
        assert np.log2(errors[0] / errors[1]) == pytest.approx(degree + 1, abs=0.1)


def test_expansions_keep_fixed_leaves_keywords_pytrees_and_float32():
    params, moved, x, _ = problem(np.float32)
    params["steps"], moved["steps"] = np.int32(2), np.int32(7)

    def f(p, x, *, times=1.0):
        return {"out": cubic(p, x) * times * p["steps"]}

    out = jax.jit(empirical.taylor_expand(f, params, 3))(moved, x, times=3.0)["out"]
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, 6 * cubic(moved, x), rtol=1e-4, atol=1e-4)


def test_products_are_those_of_the_matrix_between_all_outputs(x64):
    params, _, x1, x2 = problem()
    full = empirical.ntk(cubic, params, x1, x2, trace_axes=())  # (n1, n2, o, o')
    v = np.random.default_rng(1).normal(size=(3, 2))
    ours = empirical.ntk_vp(cubic, params, x1, x2)(v)
    np.testing.assert_allclose(ours, np.einsum("ijab,jb->ia", full, v), rtol=1e-12)
    square = empirical.ntk(cubic, params, x1, trace_axes=())
    w = np.random.default_rng(2).normal(size=(5, 2))
    ours = empirical.ntk_vp(cubic, params, x1)(w)
    np.testing.assert_allclose(ours, np.einsum("ijab,jb->ia", square, w), rtol=1e-12)


def test_products_of_pytrees_include_those_between_outputs(x64):
    params, _, x, _ = problem()

    def f(p, x):
        return {"a": x @ p["a"], "b": cubic(p, x)[:, 0]}

    jacobian = jax.jacrev(lambda p: jnp.concatenate([f(p, x)["a"].ravel(), f(p, x)["b"]]))(params)
    rows = np.concatenate([leaf.reshape(15, -1) for leaf in jax.tree.leaves(jacobian)], axis=1)
    v = np.random.default_rng(1).normal(size=15)
    ours = empirical.ntk_vp(f, params, x)({"a": v[:10].reshape(5, 2), "b": v[10:]})
    together = np.concatenate([ours["a"].ravel(), ours["b"]])
    np.testing.assert_allclose(together, rows @ rows.T @ v, rtol=1e-12)


def test_products_compile_once_work_in_jit_and_vmap_and_have_derivatives(x64):
    from theorylab.empirical import _vector_product

    params, _, x, _ = problem()
    product = empirical.ntk_vp(cubic, params, x)
    many = np.random.default_rng(1).normal(size=(4, 5, 2))
    product(many[0])
    before = _vector_product._product._cache_size()
    each = [product(v) for v in many]
    assert _vector_product._product._cache_size() == before
    np.testing.assert_allclose(jax.vmap(product)(many), each, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(product)(many[0]), each[0], rtol=1e-12)

    def quadratic(params):
        return (many[0] * empirical.ntk_vp(cubic, params, x)(many[0])).sum()

    def by_matrix(params):
        full = empirical.ntk(cubic, params, x, trace_axes=())
        return jnp.einsum("ia,ijab,jb->", many[0], full, many[0])

    for a, b in zip(
        jax.tree.leaves(jax.grad(quadratic)(params)),
        jax.tree.leaves(jax.grad(by_matrix)(params)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_mistakes_are_named():
    params, moved, x, _ = problem(np.float32)
    with pytest.raises(ValueError, match="degree must be 0 or more, got -1"):
        empirical.taylor_expand(cubic, params, -1)
    with pytest.raises(TypeError, match="degree must be a whole number, got 1.5"):
        empirical.taylor_expand(cubic, params, 1.5)
    with pytest.raises(ValueError, match="tree structure of the expansion point"):
        empirical.taylor_expand(cubic, params, 2)({**moved, "more": x}, x)
    product = empirical.ntk_vp(cubic, params, x)
    with pytest.raises(ValueError, match=r"v must have the shape of .*\(5, 2\), got \(4, 2\)"):
        product(np.zeros((4, 2), np.float32))
    with pytest.raises(ValueError, match="v must have the tree structure"):
        product([np.zeros((5, 2), np.float32)])
    with pytest.raises(ValueError, match="x2 must hold examples of the shape"):
        empirical.ntk_vp(cubic, params, x, x[:, :3])
