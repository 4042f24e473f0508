"""What only looks like a product, what cannot be told apart, and functions of unusual kinds."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from theorylab import empirical
from theorylab.empirical import _ntk


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


W, OUT, SQUARE = normal(0, 5, 6), normal(1, 6, 3), normal(2, 5, 5)
MASK = normal(3, 5, 6) > 0
X1, X2 = normal(9, 4, 5), normal(10, 3, 5)


def with_gradient(backward):
    """The identity with another derivative."""

    @jax.custom_vjp
    def f(w):
        return w

    f.defvjp(lambda w: (w, None), lambda _, g: (backward(g),))
    return f


def quantised(g):
    return (g * 10).astype(jnp.int32).astype(g.dtype)


def whether_any(g):
    return (g > 0.1).astype(bool).astype(g.dtype)


def plus_its_sum(g):
    return lax.add(g, lax.reduce_sum(g * 2, (0, 1)))


def its_sum_everywhere(g):
    return lax.mul(lax.reduce_sum(g * 2, (0, 1)), lax.full((5, 6), 2.0, g.dtype))


def complex_product(p, x):
    w = (p["w"] * MASK).astype(complex)
    return (jnp.exp(1j * x) @ w).imag @ p["out"]


def root_of_a_choice(p, x):
    return jnp.tanh(x @ jnp.sqrt(jnp.where(MASK, jnp.abs(p["w"]), 0.0))) @ p["out"]


def through(backward):
    changed = with_gradient(backward)
    return lambda p, x: jnp.tanh(x @ changed(p["w"])) @ p["out"]


def scaled_by_a_column(p, x):
    return jnp.tanh(x @ lax.mul(p["w"], jnp.asarray(SQUARE[:, :1]))) @ p["out"]


def over_a_row(p, x):
    return jnp.tanh(x @ lax.div(p["w"], jnp.asarray(1.0 + W[:1] ** 2))) @ p["out"]


LOOKALIKES = {
    "complex": complex_product,
    "whole numbers": through(quantised),
    "truth": through(whether_any),
    "a choice under a root": root_of_a_choice,
    "a broadcast sum": through(plus_its_sum),
    "a broadcast factor": through(its_sum_everywhere),
    "a column": scaled_by_a_column,
    "a row": over_a_row,
}


@pytest.fixture
def operands_always_kept(monkeypatch):
    from theorylab.empirical import _forms

    def forms(self, kept):
        return [leaf.formed if leaf.kept is None else leaf.kept for leaf in self.leaves]

    monkeypatch.setattr(_forms.Read, "forms", forms)


@pytest.mark.parametrize("name", LOOKALIKES)
def test_lookalikes_have_the_kernel_of_their_jacobians(x64, operands_always_kept, name):
    params, f = {"w": W, "out": OUT}, LOOKALIKES[name]
    ours, reference = (
        empirical.ntk(f, params, X1, X2, method=method, trace_axes=())
        for method in ("structured", "jacobian")
    )
    assert np.isfinite(reference).all()
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-12 * np.abs(reference).max())


def test_a_reshape_in_another_order_falls_back(x64, operands_always_kept):
    @jax.custom_vjp
    def turned(w):
        return w.T

    turned.defvjp(lambda w: (w.T, None), lambda _, g: (lax.reshape(g, (5, 5), dimensions=(1, 0)),))
    params = {"w": SQUARE, "out": normal(4, 5, 2)}

    def f(p, x):
        return jnp.tanh(jnp.tanh(x @ turned(p["w"])) @ p["w"]) @ p["out"]

    ours, reference = (
        empirical.ntk(f, params, X1, X2, method=method, trace_axes=())
        for method in ("structured", "jacobian")
    )
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-12 * np.abs(reference).max())


def test_batches_read_apart_agree_on_the_axes_of_a_leaf(x64, operands_always_kept):
    def f(w, x):
        w = w.reshape(2, 8) if len(x) == 1 else w.T.reshape(2, 8)
        return jnp.tanh(x[:, :2] @ w)

    w = normal(5, 4, 4)
    ours, reference = (
        empirical.ntk(f, w, X1, X2[:1], method=method, trace_axes=(), batch_axis=None)
        for method in ("structured", "jacobian")
    )
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-12 * np.abs(reference).max())


def test_keyword_arguments_that_are_equal_but_not_the_same_are_told_apart():
    def f(w, x, s=0):
        sign = 1.0 if isinstance(s, bool) else 2.0
        return x @ w * sign * (3.0 if str(s) == "-0.0" else 1.0)

    w, x = np.float32(W), np.float32(X1)
    one = empirical.ntk(f, w, x, s=1)
    np.testing.assert_allclose(empirical.ntk(f, w, x, s=True), one / 4, rtol=1e-6)
    zero = empirical.ntk(f, w, x, s=0.0)
    np.testing.assert_allclose(empirical.ntk(f, w, x, s=-0.0), 9 * zero, rtol=1e-6)


def test_auto_leaves_out_vector_products_where_there_is_no_forward_mode():
    changed = with_gradient(lambda g: jnp.clip(g, -0.1, 0.1))

    def f(p, x):
        return jnp.tanh(x @ changed(p["w"])) @ jnp.sort(p["out"], 0)

    params = {"w": np.ones((60, 60), np.float32), "out": np.ones((60, 200), np.float32)}
    x = np.ones((2, 60), np.float32)
    assert empirical.explain(f, params, x, trace_axes=()).method != "vector_product"
    assert np.isfinite(empirical.ntk(f, params, x, trace_axes=())).all()
    with pytest.raises(TypeError, match="custom_vjp"):
        empirical.ntk(f, params, x, method="vector_product")


class Module(eqx.Module):
    """A function that cannot be hashed, as it holds an array."""

    factor: jax.Array

    def __call__(self, w, x):
        return jnp.tanh(x @ w) * self.factor

    def method(self, w, x):
        return self(w, x)


def test_a_function_that_cannot_be_hashed_is_compiled_once():
    module, w, x = Module(jnp.float32(2)), np.float32(W), np.float32(X1)
    for f in (lambda: module, lambda: module.method):
        first = empirical.ntk(f(), w, x)
        before = _ntk._ntk._cache_size()
        np.testing.assert_array_equal(empirical.ntk(f(), w, x), first)
        assert _ntk._ntk._cache_size() == before
    other = empirical.ntk(Module(jnp.float32(4)), w, x)
    np.testing.assert_allclose(other, 4 * first, rtol=1e-6)


def test_every_method_gives_the_same_dtype(x64):
    params = {"w": np.float32(W), "out": np.float32(OUT)}

    def f(p, x):
        return jnp.tanh(x @ p["w"]) @ p["out"]

    def narrow(p, x):
        return f(p, x).astype(np.float32)

    for function, given, expected in (
        (f, params, np.float32),
        (narrow, {"w": W, "out": OUT}, np.float64),
    ):
        for method in ("structured", "jacobian", "vector_product"):
            assert empirical.ntk(function, given, X1, method=method).dtype == expected


def test_outputs_that_differ_between_calls_are_named():
    params = {"w": np.float32(W), "out": np.float32(OUT)}

    def another_tree(p, x):
        return (x @ p["w"],) if len(x) == 1 else (x @ p["w"], x @ p["w"])

    def another_shape(p, x):
        return (x @ p["w"])[:, : len(x)]

    x1, x2 = np.float32(X1), np.float32(X2)
    with pytest.raises(ValueError, match="same tree for every batch: a batch of 1 gave"):
        empirical.ntk(another_tree, params, x1)
    with pytest.raises(ValueError, match=r"a batch of 4 gave \(4, 4\), a batch of 3 gave \(3, 3\)"):
        empirical.ntk(another_shape, params, x1, x2, batch_axis=None)
    with pytest.raises(ValueError, match="a batch of 4 gave"):
        empirical.ntk_vp(another_shape, params, x1, x2)
    with pytest.raises(ValueError, match="trace_axes: axis 5 does not exist"):
        empirical.ntk(lambda p, x: x @ p["w"], params, x1, trace_axes=(5,))


def test_expansions_leave_outputs_of_whole_numbers_as_they_are():
    params = {"w": np.float32(W)}
    moved = {"w": np.float32(W) + 1}

    def f(p, x):
        return x @ p["w"], (x @ p["w"]).argmax(1)

    x = np.float32(X1)
    for expansion in (empirical.linearize(f, params), empirical.taylor_expand(f, params, 2)):
        values, places = jax.jit(expansion)(moved, x)
        np.testing.assert_allclose(values, x @ moved["w"], rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(places, (x @ params["w"]).argmax(1))


def test_mixed_leaves_and_strict_promotion(x64, strict_promotion):
    params = {"w": np.float32(W), "out": OUT}

    def f(p, x):
        return jnp.matmul(jnp.tanh(jnp.matmul(x, p["w"].astype(x.dtype))), p["out"])

    ours, reference = (
        empirical.ntk(f, params, X1, X2, method=method, trace_axes=())
        for method in ("structured", "vector_product")
    )
    assert ours.dtype == reference.dtype == np.float64
    np.testing.assert_allclose(ours, reference, rtol=1e-6)
