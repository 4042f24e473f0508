"""The empirical NTK: two algorithms, tiles and axes against the textbook definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import empirical

METHODS = ("jacobian", "vector_product", "structured")
N1, N2, D = 5, 3, 4


def mlp(params, x):
    """Outputs (n, 2, 3) of a network with one weight used twice."""
    hidden = jnp.tanh(x @ params["first"]["w"] + params["first"]["b"])
    hidden = jnp.tanh(hidden @ params["tied"]) @ params["tied"].T
    return (params["scale"] * (hidden @ params["last"])).reshape(-1, 2, 3)


def problem(dtype=np.float64):
    rng = np.random.default_rng(0)
    params = {
        "first": {"w": rng.normal(size=(D, 6)), "b": rng.normal(size=6)},
        "tied": rng.normal(size=(6, 6)) / 3,
        "last": rng.normal(size=(6, 6)),
        "scale": np.array(0.7),
    }
    params = jax.tree.map(lambda a: a.astype(dtype), params)
    return params, rng.normal(size=(N1, D)).astype(dtype), rng.normal(size=(N2, D)).astype(dtype)


def definition(f, params, x1, x2):
    """All pairs of outputs, (n1, n2, *o, *o'), by whole-batch Jacobians."""
    total = 0.0
    jacobians = [jax.tree.leaves(jax.jacfwd(f)(params, x)) for x in (x1, x2)]
    shape = f(params, x1).shape
    for a, b in zip(*jacobians, strict=True):
        a = a.reshape(*a.shape[: len(shape)], -1)
        b = b.reshape(*b.shape[: len(shape)], -1)
        total = total + np.tensordot(a, b, axes=(-1, -1))
    return np.moveaxis(total, len(shape), 1)


AXES = {
    ((-1,), ()): "ijakbk->ijab",
    ((1,), ()): "ijkakb->ijab",
    ((), ()): "ijacbd->ijabcd",
    ((1, 2), ()): "ijakak->ij",
    ((), (1,)): "ijacad->ijacd",
    ((), (-1, 1)): "ijacac->ijac",
    ((2,), (1,)): "ijakak->ija",
}


@pytest.mark.parametrize("axes", AXES, ids=str)
def test_traced_axes_are_averaged_and_diagonal_axes_kept_once(x64, axes):
    params, x1, x2 = problem()
    trace, diagonal = axes
    full = definition(mlp, params, x1, x2)  # i j a c b d with (a, c), (b, d) = output, output'
    expected = np.einsum(AXES[axes], full) / np.prod([(2, 3)[a % 3 - 1] for a in trace], initial=1)
    for method in METHODS:
        k = empirical.ntk(
            mlp, params, x1, x2, method=method, trace_axes=trace, diagonal_axes=diagonal
        )
        np.testing.assert_allclose(k, expected, rtol=1e-12, atol=1e-12, err_msg=method)


@pytest.mark.parametrize("method", METHODS)
def test_tiles_of_any_size_give_the_same_kernel_symmetric_to_the_bit(x64, method):
    params, x1, x2 = problem()
    options = {"method": method, "trace_axes": (), "diagonal_axes": (1,)}
    whole = empirical.ntk(mlp, params, x1, x2, **options)
    for size in (2, 4):  # 3 by 2 tiles, 2 by 1; neither divides
        tiled = empirical.ntk(mlp, params, x1, x2, batch_size=size, **options)
        np.testing.assert_allclose(tiled, whole, rtol=1e-12, atol=1e-13)
    whole = empirical.ntk(mlp, params, x1, x1, **options)
    for n, size in ((5, None), (5, 3), (5, 2), (4, 1)):  # 1, 2, 3 and 4 tiles
        own = empirical.ntk(mlp, params, x1[:n], batch_size=size, **options)
        np.testing.assert_allclose(own, whole[:n, :n], rtol=1e-12, atol=1e-13)
        np.testing.assert_array_equal(own, own.transpose(1, 0, 2, 4, 3))


def test_the_ntk_of_a_linear_model_is_the_gram_matrix_of_its_inputs(x64):
    x = np.random.default_rng(1).normal(size=(4, 3))
    linear = lambda w, x: x @ w  # noqa: E731
    for method in METHODS:
        k = empirical.ntk(linear, np.zeros((3, 5)), x, method=method)
        np.testing.assert_allclose(k, x @ x.T, rtol=1e-13)
        full = empirical.ntk(linear, np.zeros((3, 2)), x, method=method, trace_axes=())
        np.testing.assert_allclose(full, (x @ x.T)[..., None, None] * np.eye(2), atol=1e-13)


def test_one_number_per_example_needs_no_trace(x64):
    x = np.random.default_rng(1).normal(size=(4, 3))
    for method in METHODS:
        k = empirical.ntk(lambda w, x: x @ w, np.ones(3), x, method=method)
        np.testing.assert_allclose(k, x @ x.T, rtol=1e-13)


def test_pytrees_of_inputs_and_outputs_and_leaves_that_are_not_trained(x64):
    rng = np.random.default_rng(2)
    params = [{"w": rng.normal(size=(3, 2))}, 1.5, jnp.arange(2), jax.random.key(0), None]
    x = {"a": rng.normal(size=(4, 3)), "token": np.array([0, 1, 1, 0])}

    def f(params, x):
        z = x["a"] @ params[0]["w"] * params[1]
        return {"plain": z, "chosen": z[jnp.arange(len(z)), params[2][x["token"]]]}

    for method in METHODS:
        k = empirical.ntk(f, params, x, method=method)
        w = params[0]["w"]
        z = x["a"] @ w
        expected = 2.25 * x["a"] @ x["a"].T + z @ z.T / 2  # of w, and of the factor 1.5
        np.testing.assert_allclose(k["plain"], expected, rtol=1e-12)
        same = x["token"][:, None] == x["token"]
        own = z[np.arange(4), x["token"]]
        expected = 2.25 * same * (x["a"] @ x["a"].T) + np.outer(own, own)
        np.testing.assert_allclose(k["chosen"], expected, rtol=1e-12)


def test_float32_agrees_with_float64_and_half_precision_is_widened():
    params, x1, x2 = problem(np.float32)
    k = empirical.ntk(mlp, params, x1, x2)
    assert k.dtype == jnp.float32
    half = jax.tree.map(lambda a: jnp.asarray(a, jnp.bfloat16), params)
    assert empirical.ntk(mlp, half, x1, x2).dtype == jnp.float32
    with jax.enable_x64(True):
        params, x1, x2 = problem()
        exact = empirical.ntk(mlp, params, x1, x2)
        assert exact.dtype == jnp.float64
        np.testing.assert_allclose(k, exact, atol=1e-5 * np.abs(exact).max())


@pytest.mark.parametrize("method", METHODS)
def test_it_composes_with_jit_vmap_and_grad(x64, method):
    params, x1, x2 = problem()

    def scaled(s):
        return empirical.ntk(mlp, {**params, "scale": s}, x1, x2, method=method, batch_size=2)

    whole = scaled(0.7)
    np.testing.assert_allclose(
        jax.jit(jax.vmap(scaled))(np.array([0.1, 0.7]))[1], whole, rtol=1e-12
    )
    slope = jax.jit(jax.grad(lambda s: scaled(s).sum()))(0.7)
    difference = (scaled(0.7 + 1e-5).sum() - scaled(0.7 - 1e-5).sum()) / 2e-5
    np.testing.assert_allclose(slope, difference, rtol=1e-7)


def test_the_second_call_compiles_nothing_and_an_unhashable_function_works():
    from theorylab.empirical import _ntk

    params, x1, _ = problem(np.float32)
    first = empirical.ntk(mlp, params, x1)
    before = _ntk._ntk._cache_size()
    empirical.ntk(mlp, params, x1 + 1)
    assert _ntk._ntk._cache_size() == before

    class Unhashable:
        __hash__ = None

        def __call__(self, params, x):
            return mlp(params, x)

    np.testing.assert_array_equal(empirical.ntk(Unhashable(), params, x1), first)


def test_auto_chooses_by_predicted_cost_and_every_choice_is_one_of_the_three():
    def wide(params, x):
        return jnp.tanh(x @ params[0]) @ params[1]

    def unrecognised(params, x):
        w = jnp.sort(params[0], axis=0)  # its gradient is a gather, which is not walked through
        return jnp.tanh(x @ w) @ jnp.sort(params[1], axis=0)

    shapes = ((30, 50), (50, 10))
    weights = [np.ones(shape, np.float32) for shape in shapes]
    x = np.ones((16, 30), np.float32)
    assert empirical.explain(wide, weights, x, trace_axes=()).method == "structured"
    costs = {}
    for method in METHODS:
        info = empirical.explain(unrecognised, weights, x, trace_axes=(), method=method)
        assert info.method == method
        costs[method] = info.flops
    chosen = empirical.explain(unrecognised, weights, x, trace_axes=())
    assert chosen.method == min(costs, key=costs.get)
    assert chosen.flops == min(costs.values())


def test_nan_parameters_give_nan():
    params, x1, _ = problem(np.float32)
    params["tied"][0, 0] = np.nan
    for method in METHODS:
        assert np.isnan(empirical.ntk(mlp, params, x1, method=method)).any()


PARAMS, X1, X2 = problem(np.float32)
MISTAKES = [
    (
        {"method": "forward"},
        ValueError,
        "one of 'auto', 'structured', 'jacobian', 'vector_product', got 'forward'",
    ),
    ({"batch_size": 0}, ValueError, "batch_size must be a positive whole number or None, got 0"),
    ({"batch_size": 1.5}, ValueError, "batch_size must be .* got 1.5"),
    (
        {"batch_axis": 1},
        ValueError,
        "batch_axis must be 0, or None where examples .* got 1",
    ),
    ({"batch_axis": False}, ValueError, "batch_axis must be 0, or None"),
    (
        {"batch_axis": None, "batch_size": 2},
        ValueError,
        "batch_size must be None where batch_axis is",
    ),
    ({"f": lambda p, x: mlp(p, x)[:, : len(x)]}, ValueError, "the same shape for every example"),
    ({"params": {"w": np.arange(4)}}, ValueError, "params must hold at least one floating-point"),
    ({"unhashable": {1, 2}}, TypeError, r"kwargs\['unhashable'\] must be an array or hashable"),
    ({"trace_axes": (0,)}, ValueError, "trace_axes: axis 0 is the batch axis"),
    ({"trace_axes": (-3,)}, ValueError, "trace_axes: axis -3 is the batch axis"),
    ({"diagonal_axes": (3,)}, ValueError, "diagonal_axes: axis 3 does not exist"),
    ({"diagonal_axes": (2,)}, ValueError, "axis 2 of .* already given in trace_axes"),
    ({"trace_axes": "c"}, TypeError, "trace_axes must be a tuple of whole numbers, got 'c'"),
    ({"f": 3}, TypeError, r"f must be a function f\(params, x\), got int"),
    ({"f": lambda p, x: mlp(p, x).sum()}, ValueError, "must keep the batch axis"),
    ({"f": lambda p, x: mlp(p, x).argmax(-1)}, TypeError, "must be a real floating-point array"),
    ({"f": lambda p, x: ()}, ValueError, "must return at least one array"),
    ({"params": {}}, ValueError, "params must hold at least one floating-point array"),
    (
        {"params": {**PARAMS, "tied": 1j * PARAMS["tied"]}},
        TypeError,
        r"params\['tied'\] must be real",
    ),
    ({"params": {**PARAMS, "tied": "w"}}, TypeError, r"params\['tied'\] must be an array, got str"),
    ({"x1": X1[:0]}, ValueError, r"x1 must have a leading batch axis that is not empty.*\(0, 4\)"),
    ({"x1": np.float32(1)}, ValueError, "x1 must have a leading batch axis"),
    ({"x1": X1.astype(complex)}, TypeError, "x1 must be real, got the complex dtype"),
    (
        {"x2": X2[:, :3]},
        ValueError,
        r"x2 must hold examples of the shape in x1, \(4,\), got \(3,\)",
    ),
    ({"x2": [X2]}, ValueError, "x2 must have the tree structure of x1"),
    ({"x1": [X1, X2]}, ValueError, r"x1\[1\] must have the batch length 5 of x1\[0\]"),
]


@pytest.mark.parametrize(
    ("change", "error", "message"), MISTAKES, ids=[m[2][:40] for m in MISTAKES]
)
def test_mistakes_are_named(change, error, message):
    arguments = {"f": mlp, "params": PARAMS, "x1": X1, "x2": X2, **change}
    with pytest.raises(error, match=message):
        empirical.ntk(**arguments)
    with pytest.raises(error, match=message):
        empirical.explain(**arguments)
    if not {"method", "batch_size", "batch_axis"} & set(change):
        with pytest.raises(error, match=message):
            empirical.nngp(**arguments)
