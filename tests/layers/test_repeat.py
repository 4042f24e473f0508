"""``repeat`` is a chain of copies, traced once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import theorylab.layers as tl

KEY = jax.random.key(5)
DENSE = tl.serial(tl.Dense(6, 1.4, 0.3), tl.Relu())
CONV = tl.serial(tl.Conv(4, (3, 3), None, "SAME", 1.4, 0.3), tl.LayerNorm(), tl.Erf())
RESIDUAL = tl.serial(
    tl.FanOut(2),
    tl.parallel(tl.Identity(), tl.serial(tl.Relu(), tl.Dense(6, 0.3))),
    tl.FanInSum(),
)


def equations(function, *arguments):
    """Number of equations in the traced program, those of loops included."""

    def count(jaxpr):
        inner = (p.jaxpr for e in jaxpr.eqns for p in e.params.values() if hasattr(p, "jaxpr"))
        return len(jaxpr.eqns) + sum(map(count, inner))

    return count(jax.make_jaxpr(function)(*arguments).jaxpr)


def parameters(layer, shape):
    """Random numbers in the place of parameters; drawing them would have to be compiled."""
    drawn = jax.eval_shape(lambda: layer.init(KEY, shape))
    draw = np.random.default_rng(0).normal
    return jax.tree.map(lambda a: jnp.asarray(draw(size=a.shape), np.float32), drawn)


def copies_of(params):
    """Parameters of a loop, as those of a chain."""
    first, others = params
    leaves = jax.tree.leaves(others)
    times = 1 + (leaves[0].shape[0] if leaves else 0)
    return (first, *(jax.tree.map(lambda a, i=i: a[i], others) for i in range(times - 1)))


@pytest.mark.parametrize(
    ("layer", "shape", "times"),
    [
        (DENSE, (3, 9), 1),
        (DENSE, (3, 9), 2),
        (CONV, (2, 5, 5, 3), 3),
        (RESIDUAL, (3, 6), 4),
    ],
)
def test_it_is_the_chain_of_its_copies(layer, shape, times):
    loop, chain = tl.repeat(layer, times), tl.serial(*[layer] * times)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    params = parameters(loop, shape)
    assert (params[1] == ()) == (times == 1)
    y = loop.apply(params, x)
    assert y.shape == loop.output_shape(shape) == chain.output_shape(shape)
    assert np.allclose(y, chain.apply(copies_of(params), x), rtol=1e-5, atol=1e-6)


def test_copies_are_drawn_independently_and_as_those_of_a_chain():
    layer = tl.Dense(6, b_std=1.0)
    params = tl.repeat(layer, 3).init(KEY, (3, 6))
    copies = copies_of(params)
    chain = tl.serial(layer, layer, layer).init(KEY, (3, 6))
    assert jax.tree.all(jax.tree.map(np.array_equal, copies, chain))
    assert not np.any(copies[1]["W"] == copies[2]["W"])
    assert not np.any(copies[0]["W"] == copies[1]["W"])


def test_it_is_traced_once_whatever_the_number_of_copies():
    x = jnp.ones((3, 6))
    counts = []
    for times in (3, 50):
        net = tl.repeat(DENSE, times)
        params = parameters(net, x.shape)
        drawn = equations(lambda key, net=net: net.init(key, (3, 6)), KEY)
        counts.append((equations(net.apply, params, x), drawn))
    assert counts[0] == counts[1]


def test_gradients_of_the_loop_are_those_of_the_chain():
    x = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    loop, chain = tl.repeat(DENSE, 3), tl.serial(DENSE, DENSE, DENSE)

    params = parameters(loop, x.shape)

    @jax.jit
    def slope(net, params):
        return jax.grad(lambda net: jnp.sum(net.apply(params, x) ** 2))(net)

    total = sum(copy.layers[0].W_std for copy in slope(chain, copies_of(params)).layers)
    assert np.allclose(slope(loop, params).layer.layers[0].W_std, total, rtol=1e-4)


def test_layers_without_parameters_and_nested_loops_repeat_too():
    x = np.ones((3, 6), np.float32)
    assert np.array_equal(tl.repeat(tl.Relu(), 3).apply(((), ()), x), x)
    nested, flat = tl.repeat(tl.repeat(DENSE, 2), 3), tl.serial(*[DENSE] * 6)
    params = parameters(nested, x.shape)
    copies = sum((copies_of(pair) for pair in copies_of(params)), ())
    y, z = jax.jit(lambda: (nested.apply(params, x), flat.apply(copies, x)))()
    assert np.allclose(y, z, rtol=1e-5, atol=1e-6)


def test_branches_may_be_carried():
    x = (np.ones((3, 6), np.float32), np.ones((3, 6), np.float32))
    net = tl.repeat(tl.parallel(tl.Dense(6), tl.Identity()), 3)
    params = parameters(net, ((3, 6), (3, 6)))
    y = net.apply(params, x)
    assert np.array_equal(y[1], x[1]) and net.output_shape(((3, 6), (3, 6))) == ((3, 6), (3, 6))


def test_wrong_copies_are_named():
    with pytest.raises(ValueError, match="repeat: times must be at least 1, got 0"):
        tl.repeat(DENSE, 0)
    with pytest.raises(TypeError, match="repeat: times must be an integer, got 2.0"):
        tl.repeat(DENSE, 2.0)
    with pytest.raises(TypeError, match=r"repeat: argument 0 is no layer .*forget to call it"):
        tl.repeat(tl.Relu, 2)
    shrinking = tl.repeat(tl.Conv(4, (3, 3)), 2)
    message = (
        r"repeat: every copy of the layer but the first must keep the shape of its input, "
        r"got \(1, 7, 7, 4\) before and \(1, 5, 5, 4\) behind the second"
    )
    for call in (
        lambda: shrinking.output_shape((1, 9, 9, 4)),
        lambda: shrinking.init(KEY, (1, 9, 9, 4)),
        lambda: shrinking.apply(
            (parameters(shrinking.layer, (1, 9, 9, 4)), {}), jnp.ones((1, 9, 9, 4))
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    net = tl.repeat(DENSE, 4)
    params = parameters(net, (3, 6))
    with pytest.raises(ValueError, match="repeat: params must be a pair"):
        net.apply([params[0]], jnp.ones((3, 6)))
    with pytest.raises(ValueError, match="parameters of the other 2 copies must be stacked"):
        tl.repeat(DENSE, 3).apply(params, jnp.ones((3, 6)))
