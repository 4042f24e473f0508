"""The linearised network and the function-space kernel; networks of flax and of this library."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import empirical
from theorylab import kernels as tk


def network(params, x):
    return {"out": jnp.tanh(x @ params["w"]) @ params["v"], "norm": jnp.sum(params["v"] ** 2) * x}


def problem():
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(3, 5)), "v": rng.normal(size=(5, 2))}
    step = jax.tree.map(lambda a: rng.normal(size=a.shape), params)
    return params, step, rng.normal(size=(4, 3))


def test_linearization_is_exact_for_a_function_that_is_linear_in_its_parameters(x64):
    params, step, x = problem()

    def linear(params, x):
        return jnp.sin(x) @ params["w"] @ jnp.ones((5, 2)) + 3 * jnp.sum(params["v"])

    f_lin = empirical.linearize(linear, params)
    far = jax.tree.map(lambda p, s: p + 10 * s, params, step)
    np.testing.assert_allclose(f_lin(far, x), linear(far, x), rtol=1e-12)


def test_the_error_of_the_linearization_is_of_second_order(x64):
    params, step, x = problem()
    f_lin = empirical.linearize(network, params)

    def error(h):
        moved = jax.tree.map(lambda p, s: p + h * s, params, step)
        pairs = zip(
            jax.tree.leaves(f_lin(moved, x)), jax.tree.leaves(network(moved, x)), strict=True
        )
        return max(float(jnp.abs(a - b).max()) for a, b in pairs)

    assert error(0.0) == 0
    assert error(1e-3) > 0
    assert 3.9 < error(2e-3) / error(1e-3) < 4.1


def test_the_parameter_gradient_of_the_linearization_is_that_of_the_network_at_its_origin(x64):
    params, step, x = problem()
    f_lin = empirical.linearize(network, params)
    away = jax.tree.map(jnp.add, params, step)
    own = jax.jit(jax.jacrev(lambda p: f_lin(p, x)["out"]))(away)
    expected = jax.jacrev(lambda p: network(p, x)["out"])(params)
    for a, b in zip(jax.tree.leaves(own), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_linearize_passes_further_arguments_on_and_keeps_float32():
    f_lin = empirical.linearize(lambda p, x, power, *, shift: (p * x) ** power + shift, jnp.ones(1))
    out = f_lin(jnp.full(1, 1.5), jnp.ones((2, 1)), 2, shift=10.0)
    np.testing.assert_allclose(out, 12 * np.ones((2, 1)))
    assert out.dtype == jnp.float32


def test_linearize_names_the_difference_between_the_trees():
    f_lin = empirical.linearize(network, problem()[0])
    with pytest.raises(ValueError, match="tree structure of the expansion point"):
        f_lin({"w": jnp.ones((3, 5))}, jnp.ones((1, 3)))
    with pytest.raises(
        ValueError, match=r"floating leaf 0 must have the shape .*\(5, 2\), got \(5,"
    ):
        f_lin({"w": jnp.ones((3, 5)), "v": jnp.ones((5, 3))}, jnp.ones((1, 3)))
    with pytest.raises(ValueError, match="at least one floating-point array"):
        empirical.linearize(network, {"n": 3})


def test_training_the_linearized_network_by_descent_is_the_closed_form_of_gradient_steps(x64):
    # The two routes share nothing but the network: parameters are stepped here, kernels there.
    from theorylab import predict

    params, _, x = problem()
    targets, x_test, rate = np.ones((4, 2)), x[:3] + 0.1, 0.3

    def f(params, x):
        return network(params, x)["out"]

    f_lin = empirical.linearize(f, params)
    loss = jax.jit(jax.grad(lambda p: jnp.sum((f_lin(p, x) - targets) ** 2) / (2 * len(x))))
    moved = params
    for _ in range(20):
        moved = jax.tree.map(lambda p, g: p - rate * g, moved, loss(moved))
    # Outputs share no kernel at finite width: all pairs of outputs make one training set.

    def all_pairs(a, b):
        k = empirical.ntk(f, params, a, b, trace_axes=())
        return k.transpose(0, 2, 1, 3).reshape(len(a) * 2, len(b) * 2)

    k, cross = all_pairs(x, x), all_pairs(x_test, x)
    steps = predict.gradient_steps(k, targets.ravel(), learning_rate=2 * rate)  # n is doubled
    start, start_test = f(params, x).ravel(), f(params, x_test).ravel()
    closed = steps(20, cross, None, start, start_test).mean
    np.testing.assert_allclose(f_lin(moved, x_test).ravel(), closed, rtol=1e-11)


def test_nngp_is_the_average_of_products_of_outputs(x64):
    params, _, x = problem()

    def f(params, x):
        return network(params, x)["out"]

    out, other = np.asarray(f(params, x)), np.asarray(f(params, x[:2] + 1))
    np.testing.assert_allclose(empirical.nngp(f, params, x), out @ out.T / 2, rtol=1e-13)
    np.testing.assert_allclose(
        empirical.nngp(f, params, x, x[:2] + 1, trace_axes=()),
        np.einsum("ia,jb->ijab", out, other),
        rtol=1e-13,
    )
    np.testing.assert_allclose(
        empirical.nngp(f, params, x, trace_axes=(), diagonal_axes=1),
        np.einsum("ia,ja->ija", out, out),
        rtol=1e-13,
    )
    assert set(empirical.nngp(network, params, x)) == {"out", "norm"}


def test_wide_networks_of_this_library_approach_their_kernel():
    width, x = 4096, np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    net = tk.serial(tk.Dense(width, W_std=1.4, b_std=0.3), tk.Erf(), tk.Dense(64, W_std=1.2))
    params = net.init(jax.random.key(1), x.shape)
    exact = net.kernel(x)
    ntk = empirical.ntk(net.apply, params, x)
    nngp = empirical.nngp(net.apply, params, x)
    # Sampling errors: 1/sqrt(width) for the NTK, 1/sqrt(outputs) for the NNGP.
    assert np.linalg.norm(ntk - exact.ntk) < 4 / np.sqrt(width) * np.linalg.norm(exact.ntk)
    assert np.linalg.norm(nngp - exact.nngp) < 4 / np.sqrt(64) * np.linalg.norm(exact.nngp)


def test_flax_linen_and_nnx_modules_work_as_they_are():
    import flax.linen as nn
    from flax import nnx

    class Linen(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2, name="last")(nn.relu(nn.Dense(6, name="first")(x)))

    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    linen = Linen()
    variables = linen.init(jax.random.key(0), x)
    own = empirical.ntk(linen.apply, variables, x)
    jacobian = jax.tree.leaves(jax.jacrev(linen.apply)(variables, x))
    expected = sum(
        np.einsum("iop,jop->ij", j.reshape(4, 2, -1), j.reshape(4, 2, -1)) for j in jacobian
    )
    np.testing.assert_allclose(own, expected / 2, rtol=2e-5, atol=1e-6)
    f_lin = empirical.linearize(linen.apply, variables)
    np.testing.assert_allclose(f_lin(variables, x), linen.apply(variables, x), rtol=1e-6)

    class Nnx(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(3, 6, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)
            self.last = nnx.Linear(6, 2, rngs=rngs)

        def __call__(self, x):
            return self.last(nnx.relu(self.drop(self.first(x))))

    model = Nnx(nnx.Rngs(0))
    model.eval()
    graph, state = nnx.split(model)
    own = empirical.ntk(lambda s, x: nnx.merge(graph, s)(x), state, x)
    params = {
        name: jax.tree.map(jnp.asarray, {"kernel": layer.kernel[...], "bias": layer.bias[...]})
        for name, layer in (("first", model.first), ("last", model.last))
    }
    same = empirical.ntk(linen.apply, {"params": params}, x)
    np.testing.assert_allclose(own, same, rtol=1e-5, atol=1e-6)
