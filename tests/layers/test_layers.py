"""The record tree: what a layer is as an object, and the finite network it stands for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import theorylab.kernels as tk

NET = tk.serial(tk.Dense(32, 1.4, 0.1), tk.Relu(), tk.Dense(2))


def test_a_network_is_a_value_and_a_pytree():
    same = tk.serial(tk.Dense(32, 1.4, 0.1), tk.Relu(), tk.Dense(2))
    assert same == NET and hash(same) == hash(NET)
    assert tk.serial(tk.Dense(32, 1.5, 0.1), tk.Relu(), tk.Dense(2)) != NET
    assert jax.tree.leaves(NET) == [1.4, 0.1, 1.0]
    doubled = jax.tree.map(lambda leaf: 2 * leaf, NET)
    assert doubled.layers[0] == tk.Dense(32, 2.8, 0.2)
    assert "Dense(out_dim=32, W_std=1.4, b_std=0.1" in repr(NET)


def test_structures_tell_layers_of_one_shape_apart():
    """Else ``jit`` could take the program of one network for another's."""
    layers = [tk.Relu(), tk.Abs(), tk.Identity(), tk.FanInSum()]
    constants = [tk.Erf(), tk.Sin(), tk.Cos()]
    single = [tk.LeakyRelu(1.0), tk.Rbf(1.0)]
    structures = [jax.tree.structure(layer) for layer in layers + constants + single]
    for i, one in enumerate(structures):
        assert [j for j, other in enumerate(structures) if one == other] == [i]
    assert jax.tree.structure(tk.serial(tk.Relu())) != jax.tree.structure(tk.parallel(tk.Relu()))


def test_it_unpacks_into_a_triple():
    init, apply, kernel = NET
    x = jnp.ones((3, 4))
    assert apply(init(jax.random.key(0), x.shape), x).shape == (3, 2)
    assert kernel(x).ntk.shape == (3, 3)


def test_the_finite_network_is_what_the_equations_say():
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    params = NET.init(jax.random.key(0), x.shape)
    hidden = 1.4 / 2 * x @ params[0]["W"] + 0.1 * params[0]["b"]
    by_hand = np.maximum(hidden, 0) @ params[2]["W"] / np.sqrt(32)
    assert params[1] == () and "b" not in params[2]
    assert np.allclose(NET.apply(params, x), by_hand, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("s", [(1, 1), (4, 4)])
def test_both_parameterizations_draw_the_same_distribution(s):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32))
    for parameterization in ("ntk", "standard"):
        layer = tk.Dense(10_000, 1.5, 0.3, parameterization, s)
        y = layer.apply(layer.init(jax.random.key(0), x.shape), x)
        assert np.allclose(
            jnp.matmul(y, y.T, precision="highest") / y.shape[1], layer.kernel(x).nngp, atol=0.12
        )


def test_one_key_gives_one_network_and_layers_are_independent():
    shape = (3, 32)
    net = tk.serial(tk.Dense(32), tk.Dense(32))
    a, b = (net.init(jax.random.key(7), shape) for _ in range(2))
    assert jax.tree.all(jax.tree.map(np.array_equal, a, b))
    assert not np.array_equal(a[0]["W"], a[1]["W"])


def test_finite_networks_branch_and_join():
    x = jnp.ones((3, 4))
    block = tk.serial(tk.FanOut(2), tk.parallel(tk.Identity(), tk.Dense(4)), tk.FanInSum())
    params = block.init(jax.random.key(0), x.shape)
    dense = tk.Dense(4).apply(params[1][1], x)
    assert np.allclose(block.apply(params, x), x + dense)


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        (tk.LeakyRelu(0.2), lambda x: np.where(x < 0, 0.2 * x, x)),
        (tk.ABRelu(-1.0, 2.0), lambda x: np.where(x < 0, -x, 2 * x)),
        (tk.Sin(2.0, 3.0, 0.5), lambda x: 2 * np.sin(3 * x + 0.5)),
        (tk.Cos(2.0, 3.0, 0.5), lambda x: 2 * np.cos(3 * x + 0.5)),
        (tk.Rbf(0.5), lambda x: np.sqrt(2) * np.sin(x + np.pi / 4)),
        (tk.Abs(), np.abs),
    ],
)
def test_activations_are_their_functions(activation, function):
    x = np.linspace(-2, 2, 41).astype(np.float32)
    assert np.allclose(activation.apply((), x), function(x), atol=2e-6)


def test_wrong_shapes_and_parameters_are_named():
    with pytest.raises(ValueError, match=r"Dense: the input shape must be \(n, d\), got \(3,\)"):
        NET.init(jax.random.key(0), (3,))
    with pytest.raises(ValueError, match="params has 1 entries for 3 layers"):
        NET.apply((0,), jnp.ones((3, 4)))
    params = NET.init(jax.random.key(0), (3, 4))
    with pytest.raises(ValueError, match=r"x must have shape \(n, 4\).*got \(3, 5\)"):
        NET.apply(params, jnp.ones((3, 5)))
    with pytest.raises(ValueError, match="parallel: needs a tuple of 2 inputs, got 3 of them"):
        tk.parallel(tk.Identity(), tk.Identity()).output_shape(((1, 2),) * 3)
    with pytest.raises(ValueError, match="FanInSum: branches must have equal shapes"):
        tk.FanInSum().output_shape(((3, 2), (3, 1)))
