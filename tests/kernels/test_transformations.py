"""Kernels under jit, vmap, grad; dtypes; precision of every product."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import theorylab.kernels as tk


def points(n=6, d=5, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(dtype)


def net_of(w=1.3, b=0.2, activation=None):
    activation = tk.Relu() if activation is None else activation
    return tk.serial(
        tk.Dense(8, w, b), activation, tk.Dense(8, w, b), activation, tk.Dense(1, w, b)
    )


def test_hyperparameters_do_not_recompile():
    from theorylab.kernels import _door

    x = points()
    net_of(1.3).kernel(x)
    before = _door._compiled._cache_size()
    net_of(1.7, 0.05).kernel(x)
    net_of(np.float32(0.4)).kernel(jnp.asarray(x))
    assert _door._compiled._cache_size() == before


def test_it_works_inside_jit_and_vmap_with_64_bit_types_off():
    x = points()
    net = net_of()
    assert np.allclose(jax.jit(lambda x: net.kernel(x).ntk)(x), net.kernel(x).ntk, rtol=1e-6)
    grid = jnp.array([0.5, 1.0, 2.0])
    mapped = jax.vmap(lambda w: net_of(w).kernel(x).ntk)(grid)
    single = jnp.stack([net_of(float(w)).kernel(x).ntk for w in grid])
    assert np.allclose(mapped, single, rtol=1e-6)
    stacked = jax.vmap(lambda x: net.kernel(x).nngp)(jnp.stack([x, 2 * x]))
    assert np.allclose(stacked[1], net.kernel(2 * x).nngp, rtol=1e-6)


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize(
    ("given", "returned"),
    [("float32", "float32"), ("bfloat16", "float32"), ("float16", "float32")],
)
def test_results_have_the_inputs_dtype(x64, given, returned):
    with jax.enable_x64(x64):
        kernel = net_of().kernel(jnp.asarray(points(), given))
    assert kernel.nngp.dtype == kernel.ntk.dtype == returned


def test_float64_needs_64_bit_types_as_everywhere_in_jax():
    x = points(dtype=np.float64)
    assert net_of().kernel(x).ntk.dtype == jnp.float32
    with jax.enable_x64(True):
        assert net_of().kernel(x).ntk.dtype == jnp.float64


SMOOTH = [tk.Erf(), tk.Gelu(), tk.Sin(1.0, 1.0, 0.3)]


@pytest.mark.parametrize(
    "activation", [tk.Relu(), tk.Abs(), *SMOOTH], ids=lambda a: type(a).__name__
)
@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev])
def test_derivatives_equal_finite_differences(activation, mode):
    x, y = points(4, dtype=np.float64), points(3, seed=1, dtype=np.float64)
    direction = points(4, seed=2, dtype=np.float64)
    with jax.enable_x64(True):

        def along(t):
            net = net_of(1.3 + 0.5 * t, 0.2 + 0.3 * t, activation)
            return jnp.stack(net.kernel(jnp.asarray(x) + t * direction, y))

        exact, step = mode(along)(0.0), 1e-5
        differences = (along(step) - along(-step)) / (2 * step)
    assert np.allclose(exact, differences, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("activation", [tk.Relu(), *SMOOTH], ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("bias", [0.2, None])
def test_derivatives_are_finite_at_singular_points(activation, bias):
    x = points(3)
    x = np.concatenate([x, x[:1], -x[1:2], 0 * x[:1], 2.5 * x[2:], x[:1] + 1e-5])

    def total(x, net):
        kernel = net.kernel(x)
        return jnp.sum(kernel.nngp * jnp.cos(jnp.arange(8.0))) + jnp.sum(jnp.sin(kernel.ntk))

    net = net_of(1.3, bias, activation)
    dx, dnet = jax.grad(total, argnums=(0, 1))(jnp.asarray(x), net)
    assert np.all(np.isfinite(dx))
    assert all(np.isfinite(leaf) for leaf in jax.tree.leaves(dnet))


def test_the_gradient_at_a_zero_input_with_bias_is_right():
    """The scales are constants for differentiation, so a zero row is no special place."""
    with jax.enable_x64(True):
        x, y = np.zeros((1, 5)), points(3, dtype=np.float64)
        direction = points(1, seed=4, dtype=np.float64)
        f = lambda t: net_of(1.3, 0.2).kernel(x + t * direction, y).ntk  # noqa: E731
        exact = jax.jvp(f, (0.0,), (1.0,))[1]
        differences = (f(1e-6) - f(-1e-6)) / 2e-6
    assert np.allclose(exact, differences, rtol=1e-6)


def test_at_the_cusp_the_derivative_is_the_mean_of_the_one_sided_ones():
    with jax.enable_x64(True):
        x, direction = points(1, dtype=np.float64), points(1, seed=1, dtype=np.float64)
        f = lambda t: net_of(1.3, None).kernel(x, x + t * direction).ntk[0, 0]  # noqa: E731
        step = 1e-6
        one_sided = [float(f(s * step) - f(0.0)) / (s * step) for s in (1, -1)]
        exact = float(jax.grad(f)(0.0))
    assert abs(one_sided[0] - one_sided[1]) > 0.05  # a cusp it is
    assert np.isclose(exact, np.mean(one_sided), atol=1e-4)


def test_second_derivatives_in_a_hyperparameter_equal_differences():
    """Through the loop over layers and at the coinciding points of a symmetric kernel."""
    x = points(3, dtype=np.float64)
    with jax.enable_x64(True):
        total = lambda w: net_of(w, 0.2).kernel(x).ntk.sum()  # noqa: E731
        exact, step = float(jax.hessian(total)(1.3)), 1e-4
        differences = float(total(1.3 + step) - 2 * total(1.3) + total(1.3 - step)) / step**2
    assert np.isclose(exact, differences, rtol=1e-5)


def products(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            yield equation
        for value in jax.tree.leaves(
            tuple(equation.params.values()),
            is_leaf=lambda v: hasattr(v, "eqns") or hasattr(v, "jaxpr"),
        ):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from products(inner)


@pytest.mark.parametrize("differentiated", [False, True])
def test_every_product_asks_for_the_highest_precision(differentiated):
    net, x = net_of(), points()
    f = lambda x: jnp.sum(net.kernel(x).ntk)  # noqa: E731
    jaxpr = jax.make_jaxpr(jax.grad(f) if differentiated else f)(x)
    found = list(products(jaxpr.jaxpr))
    assert found
    for equation in found:
        precision = equation.params["precision"]
        assert set(precision) == {jax.lax.Precision.HIGHEST}, equation


def test_a_finite_network_asks_for_the_highest_precision_too():
    net, x = net_of(), points()
    params = net.init(jax.random.key(0), x.shape)
    found = list(products(jax.make_jaxpr(net.apply)(params, x).jaxpr))
    assert len(found) == 3
    assert all(set(e.params["precision"]) == {jax.lax.Precision.HIGHEST} for e in found)
