"""One import serves: every layer is reachable from ``theorylab.kernels``."""

import jax
import jax.numpy as jnp

import theorylab.kernels as tk
import theorylab.layers as tl

# Bases of several layers, and what a lower-case function makes.
NOT_TYPED = {"Activation", "GlobalPool", "Layer", "Parallel", "Pool", "Repeat", "Serial"}


def test_a_network_unpacks_into_a_triple():
    init, apply, kernel = tk.serial(tk.Dense(32, 1.4, 0.1), tk.Relu(), tk.Dense(2))
    x = jnp.ones((3, 4))
    assert apply(init(jax.random.key(0), x.shape), x).shape == (3, 2)
    assert kernel(x).ntk.shape == (3, 3)


def test_every_constructor_is_reachable_from_kernels():
    for name in dir(tl):
        thing = getattr(tl, name)
        if isinstance(thing, type) and issubclass(thing, tl.Layer) and name not in NOT_TYPED:
            assert getattr(tk, name, None) is thing, name
    functions = ["serial", "parallel", "repeat", "BatchNorm", "MaxPool", "GlobalMaxPool"]
    for name in [*functions, "Softmax", "LogSoftmax", "RNN", "GRU", "LSTM", "SharedWeights"]:
        assert getattr(tk, name, None) is getattr(tl, name), name
