"""The record tree: what a layer is as an object, and the finite network it stands for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import theorylab.layers as tl

NET = tl.serial(tl.Dense(32, 1.4, 0.1), tl.Relu(), tl.Dense(2))


def test_a_network_is_a_value_and_a_pytree():
    same = tl.serial(tl.Dense(32, 1.4, 0.1), tl.Relu(), tl.Dense(2))
    assert same == NET and hash(same) == hash(NET)
    assert tl.serial(tl.Dense(32, 1.5, 0.1), tl.Relu(), tl.Dense(2)) != NET
    assert jax.tree.leaves(NET) == [1.4, 0.1, 1.0]
    doubled = jax.tree.map(lambda leaf: 2 * leaf, NET)
    assert doubled.layers[0] == tl.Dense(32, 2.8, 0.2)
    assert "Dense(out_dim=32, W_std=1.4, b_std=0.1" in repr(NET)


def test_structures_tell_layers_of_one_shape_apart():
    """Else ``jit`` could take the program of one network for another's."""
    layers = [tl.Relu(), tl.Abs(), tl.Identity(), tl.FanInSum()]
    constants = [tl.Erf(), tl.Sin(), tl.Cos()]
    single = [tl.LeakyRelu(1.0), tl.Rbf(1.0)]
    structures = [jax.tree.structure(layer) for layer in layers + constants + single]
    for i, one in enumerate(structures):
        assert [j for j, other in enumerate(structures) if one == other] == [i]
    assert jax.tree.structure(tl.serial(tl.Relu())) != jax.tree.structure(tl.parallel(tl.Relu()))


def test_the_finite_network_is_what_the_equations_say():
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    params = NET.init(jax.random.key(0), x.shape)
    hidden = 1.4 / 2 * x @ params[0]["W"] + 0.1 * params[0]["b"]
    by_hand = np.maximum(hidden, 0) @ params[2]["W"] / np.sqrt(32)
    assert params[1] == () and "b" not in params[2]
    assert np.allclose(NET.apply(params, x), by_hand, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("s", [(1, 1), (4, 4)])
def test_both_parameterizations_draw_the_same_distribution(s):
    x = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
    for parameterization in ("ntk", "standard"):
        layer = tl.Dense(10_000, 1.5, 0.3, parameterization, s)
        y = np.asarray(layer.apply(layer.init(jax.random.key(0), x.shape), x))
        theory = 1.5**2 * x @ x.T / 16 + 0.3**2
        assert np.allclose(y @ y.T / y.shape[1], theory, atol=0.12)


def test_one_key_gives_one_network_and_layers_are_independent():
    shape = (3, 32)
    net = tl.serial(tl.Dense(32), tl.Dense(32))
    a, b = (net.init(jax.random.key(7), shape) for _ in range(2))
    assert jax.tree.all(jax.tree.map(np.array_equal, a, b))
    assert not np.array_equal(a[0]["W"], a[1]["W"])


def test_finite_networks_branch_and_join():
    x = jnp.ones((3, 4))
    block = tl.serial(tl.FanOut(2), tl.parallel(tl.Identity(), tl.Dense(4)), tl.FanInSum())
    params = block.init(jax.random.key(0), x.shape)
    dense = tl.Dense(4).apply(params[1][1], x)
    assert np.allclose(block.apply(params, x), x + dense)


@pytest.mark.parametrize(
    ("activation", "function"),
    [
        (tl.LeakyRelu(0.2), lambda x: np.where(x < 0, 0.2 * x, x)),
        (tl.ABRelu(-1.0, 2.0), lambda x: np.where(x < 0, -x, 2 * x)),
        (tl.Sin(2.0, 3.0, 0.5), lambda x: 2 * np.sin(3 * x + 0.5)),
        (tl.Cos(2.0, 3.0, 0.5), lambda x: 2 * np.cos(3 * x + 0.5)),
        (tl.Rbf(0.5), lambda x: np.sqrt(2) * np.sin(x + np.pi / 4)),
        (tl.Abs(), np.abs),
    ],
)
def test_activations_are_their_functions(activation, function):
    x = np.linspace(-2, 2, 41).astype(np.float32)
    assert np.allclose(activation.apply((), x), function(x), atol=2e-6)


def test_wrong_shapes_and_parameters_are_named():
    with pytest.raises(ValueError, match=r"Dense: .* a batch axis and a channel axis, got \(3,\)"):
        NET.init(jax.random.key(0), (3,))
    with pytest.raises(ValueError, match="params has 1 entries for 3 layers"):
        NET.apply((0,), jnp.ones((3, 4)))
    params = NET.init(jax.random.key(0), (3, 4))
    with pytest.raises(ValueError, match=r"weights must have shape \(5, 32\).*got \(4, 32\)"):
        NET.apply(params, jnp.ones((3, 5)))
    with pytest.raises(ValueError, match="parallel: needs a tuple of 2 inputs, got 3 of them"):
        tl.parallel(tl.Identity(), tl.Identity()).output_shape(((1, 2),) * 3)
    with pytest.raises(ValueError, match="FanInSum: branches must have equal shapes"):
        tl.FanInSum().output_shape(((3, 2), (3, 1)))
