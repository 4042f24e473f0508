"""Structured derivatives: the same kernel for every kind of network, and what is recognised."""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.empirical import zoo
from theorylab import empirical
from theorylab.empirical import _forms
from theorylab.empirical._contract import multiply, plan


@pytest.fixture
def operands_always_kept(monkeypatch):
    """Contract the operands of every recognised leaf, whatever the prediction."""

    def forms(self, kept):
        return [leaf.formed if leaf.kept is None else leaf.kept for leaf in self.leaves]

    monkeypatch.setattr(_forms.Read, "forms", forms)


@pytest.mark.parametrize("name", zoo.CASES)
def test_kernel_of_a_network_is_that_of_its_jacobians(x64, operands_always_kept, name):
    case = zoo.CASES[name]()
    x1, x2 = case.x[: zoo.N1], case.x[zoo.N1 :]
    ours, reference = (
        empirical.ntk(case.f, case.params, x1, x2, method=method, trace_axes=())
        for method in ("structured", "jacobian")
    )
    assert ours.dtype == reference.dtype == np.float64
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-12 * np.abs(reference).max())


FILTERS = [name for name in zoo.CASES if "convolution" in name]


@pytest.mark.parametrize("name", FILTERS)
def test_filters_multiplied_out_of_their_operands_give_the_same_kernel(x64, monkeypatch, name):
    monkeypatch.setattr(_forms.Read, "forms", lambda self, _: [a.formed for a in self.leaves])
    case = zoo.CASES[name]()
    x1, x2 = case.x[: zoo.N1], case.x[zoo.N1 :]
    ours, reference = (
        empirical.ntk(case.f, case.params, x1, x2, method=method, trace_axes=())
        for method in ("structured", "jacobian")
    )
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-12 * np.abs(reference).max())


@pytest.mark.parametrize("name", zoo.CASES)
def test_every_product_is_recognised_and_fallbacks_are_visible(x64, name):
    case = zoo.CASES[name]()
    info = empirical.explain(case.f, case.params, case.x, method="structured", trace_axes=())
    assert len(info.leaves) == len(jax.tree.leaves(case.params))
    for leaf, method in info.leaves.items():
        expected = "jacobian" if any(part in leaf for part in case.falls_back) else "structured"
        assert method == expected, f"{leaf}: {info.reasons[leaf]}"


@pytest.mark.parametrize("name", ["dense", "convolution_strided", "embedding_tied", "recurrent"])
@pytest.mark.parametrize(
    ("trace", "diagonal"), [((-1,), ()), ((), (-1,)), ((), ())], ids=["trace", "diagonal", "full"]
)
def test_axes_tiles_and_symmetry_agree_with_jacobians(
    x64, operands_always_kept, name, trace, diagonal
):
    case = zoo.CASES[name]()
    axes = {"trace_axes": trace, "diagonal_axes": diagonal}
    reference = empirical.ntk(case.f, case.params, case.x, method="jacobian", **axes)
    for batch_size in (None, 3):
        ours = empirical.ntk(
            case.f, case.params, case.x, method="structured", batch_size=batch_size, **axes
        )
        np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-12 * np.abs(reference).max())


def batch_norm(params, x):
    z = x @ params["w"] + params["b"]
    z = (z - z.mean(0)) / jnp.sqrt(z.var(0) + 1e-3)
    return jnp.tanh(z) @ params["out"]


@pytest.mark.parametrize("method", ["structured", "jacobian", "vector_product"])
def test_functions_that_mix_examples_are_differentiated_as_a_whole(
    x64, operands_always_kept, method
):
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(4, 6)), "b": rng.normal(size=6), "out": rng.normal(size=(6, 2))}
    x1, x2 = rng.normal(size=(5, 4)), rng.normal(size=(3, 4))
    first, second = (jax.tree.leaves(jax.jacfwd(batch_norm)(params, x)) for x in (x1, x2))
    full = sum(
        np.tensordot(a.reshape(5, 2, -1), b.reshape(3, 2, -1), (-1, -1))
        for a, b in zip(first, second, strict=True)
    )
    options = {"method": method, "batch_axis": None}
    ours = empirical.ntk(batch_norm, params, x1, x2, trace_axes=(), **options)
    np.testing.assert_allclose(ours, full.swapaxes(1, 2), rtol=1e-11)
    traced = empirical.ntk(batch_norm, params, x1, x2, **options)
    np.testing.assert_allclose(
        traced, np.einsum("iajb->ij", full * np.eye(2)[:, None]) / 2, rtol=1e-11
    )
    apart = empirical.ntk(batch_norm, params, x1, x2, method=method)
    assert np.abs(apart - traced).max() > 1e-3 * np.abs(traced).max()


def test_float32_keeps_its_dtype_and_its_digits():
    case = zoo.CASES["layer_tree_convolutions"]()
    narrow = jax.tree.map(lambda a: np.asarray(a, np.float32), case.params)
    with jax.enable_x64(True):
        reference = empirical.ntk(case.f, case.params, case.x, trace_axes=())
    ours = empirical.ntk(case.f, narrow, np.float32(case.x), method="structured", trace_axes=())
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, reference, rtol=0, atol=3e-6 * np.abs(reference).max())


def test_half_precision_inside_is_multiplied_in_float32():
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(5, 6)), "out": rng.normal(size=(6, 2))}
    params = jax.tree.map(np.float32, params)
    x = rng.normal(size=(4, 5)).astype(np.float32)

    def f(p, x):
        half = jax.tree.map(lambda a: a.astype(jnp.bfloat16), p)
        return jnp.tanh(x.astype(jnp.bfloat16) @ half["w"]) @ half["out"]

    def exact(p, x):
        return jnp.tanh(x @ p["w"]) @ p["out"]

    reference = empirical.ntk(exact, params, x, trace_axes=())
    ours = empirical.ntk(f, params, x, method="structured", trace_axes=())
    assert ours.dtype == np.float32
    assert np.abs(ours - reference).max() < 0.03 * np.abs(reference).max()


def test_derivatives_of_the_kernel_are_those_of_the_jacobians_method(x64, operands_always_kept):
    case = zoo.CASES["linen_scan"]()

    def total(params, x, method):
        kernel = empirical.ntk(case.f, params, x, method=method, trace_axes=())
        return (kernel**2).sum()

    ours, reference = (
        jax.grad(total, (0, 1))(case.params, case.x, method)
        for method in ("structured", "jacobian")
    )
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(reference), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10 * np.abs(b).max())


def test_custom_derivative_rules_survive_into_derivatives_of_the_kernel(x64):
    @jax.custom_jvp
    def root(z):
        return jnp.sqrt(z)

    @root.defjvp
    def _(primals, tangents):
        (z,), (dz,) = primals, tangents
        live = z > 0
        return root(z), jnp.where(live, dz / (2 * jnp.sqrt(jnp.where(live, z, 1.0))), 0.0)

    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(3, 4)), "out": rng.normal(size=(4, 2))}
    x = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])  # the root is taken at 0

    def f(p, x):
        return root(jnp.abs(x @ p["w"])) @ p["out"]

    def total(params, method):
        return empirical.ntk(f, params, x, method=method).sum()

    ours, reference = (jax.grad(total)(params, method) for method in ("structured", "jacobian"))
    for key in params:
        assert np.isfinite(ours[key]).all()
        np.testing.assert_allclose(ours[key], reference[key], rtol=1e-10, atol=1e-10)


def test_kernels_of_many_parameters_at_once_by_vmap(x64):
    case = zoo.CASES["linen_scan"]()
    many = jax.tree.map(lambda a: np.stack([a, 2 * a, -a]), case.params)
    kernel = lambda p: empirical.ntk(case.f, p, case.x, method="structured")  # noqa: E731
    together = jax.vmap(kernel)(many)
    for k in range(3):
        alone = kernel(jax.tree.map(lambda a, k=k: a[k], many))
        np.testing.assert_allclose(together[k], alone, rtol=1e-12)


def test_several_outputs_and_several_inputs_are_pytrees(x64):
    rng = np.random.default_rng(0)
    params = {
        "w": rng.normal(size=(4, 6)),
        "a": rng.normal(size=(6, 2)),
        "b": rng.normal(size=(6, 3)),
    }
    x = {"left": rng.normal(size=(5, 4)), "scale": rng.normal(size=(5,))}

    def f(p, x):
        h = jnp.tanh(x["left"] @ p["w"]) * x["scale"][:, None]
        return {"a": h @ p["a"], "b": (h @ p["b"]).reshape(-1, 3, 1)}

    ours = empirical.ntk(f, params, x, method="structured", trace_axes=())
    reference = empirical.ntk(f, params, x, method="jacobian", trace_axes=())
    assert ours["b"].shape == (5, 5, 3, 3, 1, 1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), ours, reference)


def test_keyword_arguments_reach_the_function_traced_or_not():
    rng = np.random.default_rng(0)
    w, x = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=(5, 4)).astype(np.float32)

    def f(w, x, *, train=True, scale=1.0, name=None):
        assert isinstance(train, bool)
        assert name in (None, "layer")
        return (x @ w) * (2.0 if train else 1.0) * scale

    plain = empirical.ntk(f, w, x, train=False)
    np.testing.assert_allclose(plain, x @ x.T, rtol=1e-5)
    scaled = empirical.ntk(f, w, x, train=True, scale=np.float32(3), name="layer")
    np.testing.assert_allclose(scaled, 36 * x @ x.T, rtol=1e-5)
    np.testing.assert_allclose(
        empirical.nngp(f, w, x, train=True), 4 * empirical.nngp(f, w, x, train=False), rtol=1e-6
    )


def test_closing_over_the_parameters_costs_no_more_than_passing_them():
    rng = np.random.default_rng(0)
    params = [rng.normal(size=s).astype(np.float32) for s in ((40, 64), (64, 64), (64, 10))]

    def f(p, x):
        return jnp.tanh(jnp.tanh(x @ p[0]) @ p[1]) @ p[2]

    x = rng.normal(size=(16, 40)).astype(np.float32)
    passed = jax.jit(lambda p, x: empirical.ntk(f, p, x, trace_axes=())).lower(params, x).compile()
    closed = jax.jit(lambda x: empirical.ntk(f, params, x, trace_axes=())).lower(x).compile()
    np.testing.assert_allclose(passed(params, x), closed(x), rtol=1e-5, atol=1e-5)
    first, second = (c.memory_analysis().temp_size_in_bytes for c in (passed, closed))
    assert second <= 1.2 * first
    first, second = (c.cost_analysis()["flops"] for c in (passed, closed))
    assert second <= 1.2 * first


def test_no_array_of_the_size_of_a_jacobian_is_formed_where_operands_are_kept():
    rng = np.random.default_rng(0)
    params = [rng.normal(size=s).astype(np.float32) for s in ((40, 64), (64, 64), (64, 10))]
    x = rng.normal(size=(8, 40)).astype(np.float32)

    def f(p, x):
        return jnp.tanh(jnp.tanh(x @ p[0]) @ p[1]) @ p[2]

    def largest(method):
        traced = jax.make_jaxpr(lambda p, x: empirical.ntk(f, p, x, method=method, trace_axes=()))(
            params, x
        )
        return max(_sizes(traced.jaxpr))

    assert largest("jacobian") >= 8 * 10 * 64 * 64
    assert largest("structured") <= 8 * 8 * 10 * 10


def _sizes(jaxpr):
    for equation in jaxpr.eqns:
        yield from (math.prod(v.aval.shape) for v in equation.outvars)
        for value in equation.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from _sizes(inner)


def test_the_cheapest_order_is_found_among_all():
    """Against the three orders of four arrays whose costs are written down by hand."""
    i, j, o, p, s, c, f = range(7)
    arrays = [(i, s, c), (j, s + 10, c), (i, o, s, f), (j, p, s + 10, f)]
    sizes = {i: 5, j: 4, o: 3, p: 2, s: 1, s + 10: 1, c: 300, f: 200}
    best = plan(arrays, (i, o, j, p), sizes)
    by_hand = 2 * (5 * 4 * 300 + 5 * 4 * 3 * 2 * 200 + 5 * 4 * 3 * 2)
    assert best.cost.flops == by_hand
    rng = np.random.default_rng(0)
    values = [rng.normal(size=[sizes[k] for k in labels]) for labels in arrays]
    got = multiply([jnp.asarray(v) for v in values], arrays, (i, o, j, p), best.order)
    np.testing.assert_allclose(
        got, np.einsum("isc,jtc,iosf,jptf->iojp", *values), rtol=2e-4, atol=1e-2
    )


def test_jaxprs_are_read_in_two_files_without_their_types():
    room, readers = Path(empirical.__file__).parent, ("_equation.py", "_jaxpr.py")
    for file in room.glob("*.py"):
        text = file.read_text()
        assert "jax.extend" not in text
        assert "isinstance(equation" not in text
        if file.name not in readers:
            assert ".eqns" not in text and ".primitive" not in text and "make_jaxpr" not in text
