r"""The architecture of `nngp_ntk_nn`: kernels of the infinitely wide one, training of a finite one.

Two hidden ReLU layers with biases. Networks are in the standard parameterization, in which usual
learning rates are meant. Images have norm :math:`\sqrt{784}` (``_networks``).
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import optax

import theorylab.kernels as tk
from experiments._networks import CLASSES, keys, one_hot, squared_loss

W_STD, B_STD = 2**0.5, 0.1
HELD_OUT = 5  # with several rates, every fifth training image chooses among them
SPLITS, NETWORKS = 0, 1  # random streams


def network(width, outputs, parameterization="ntk"):
    """Return the network; its kernels do not depend on the width.

    Examples
    --------
    >>> network(400, 10).output_shape((5, 784))
    (5, 10)
    """
    options = {"b_std": B_STD, "parameterization": parameterization}
    hidden = [tk.Dense(width, W_std=W_STD, **options), tk.Relu()] * 2
    return tk.serial(*hidden, tk.Dense(outputs, **options))


def limit(x, x_test):
    """Return {nngp, ntk}, among training images, and {.._test}, test by training images."""
    n = len(x)
    kernel = network(1, 1).kernel(np.concatenate([x, x_test]))
    return {
        f"{name}{end}": np.asarray(gram)[rows, :n]
        for name, gram in zip(("nngp", "ntk"), kernel, strict=True)
        for end, rows in (("", slice(n)), ("_test", slice(n, None)))
    }


def order(count, seed, config):
    """Return a random order of the training images; its first n are the n that are trained on."""
    key = keys(config.seed, SPLITS, 0, seed, seed + 1)[0]
    return np.asarray(jax.random.permutation(key, count))


def trained(digits, n, seed, config):
    """Return what a network trained on n images makes of the test images, and its rate."""
    train = order(len(digits.x_train), seed, config)[:n]
    x, labels = jnp.asarray(digits.x_train[train]), digits.y_train[train]
    y, x_test = one_hot(labels), jnp.asarray(digits.x_test)
    key = keys(config.seed, NETWORKS, n, seed, seed + 1)[0]
    rate = config.rates[0]
    if len(config.rates) > 1:
        held = np.arange(n) % HELD_OUT == 0
        learn = _learner(config.width, config.steps, min(config.batch, int((~held).sum())))
        errors = [
            np.square(np.asarray(learn(key, rate, x[~held], y[~held], x[held])) - y[held]).mean()
            for rate in config.rates
        ]
        rate = config.rates[int(np.nanargmin(errors))]
    learn = _learner(config.width, config.steps, min(config.batch, n))
    told = np.asarray(learn(key, rate, x, y, jnp.concatenate([x_test, x])))
    told, on_train = np.split(told, [len(x_test)])
    return {
        "accuracy": np.mean(told.argmax(axis=1) == digits.y_test),
        "error": np.square(told - one_hot(digits.y_test)).mean(),
        "train_accuracy": np.mean(on_train.argmax(axis=1) == labels),
        "rate": np.asarray(rate),
    }


@lru_cache
def _learner(width, steps, batch):
    """Return (key, rate, x, y, seen) -> outputs at `seen` after training on x, y.

    Networks are centred: the function that they begin with is subtracted. Steps are those of
    ``optax.adam`` on the mean over the batch of half the squared error, summed over outputs.
    """
    net = network(width, CLASSES, "standard")

    def learn(key, rate, x, y, seen):
        adam = optax.adam(rate)
        start = net.init(jax.random.fold_in(key, 0), x.shape)

        def f(params, x):
            return net.apply(params, x) - net.apply(start, x)

        def step(state, i):
            params, moments = state
            drawn = jax.random.fold_in(jax.random.fold_in(key, 1), i)
            rows = jax.random.permutation(drawn, len(x))[:batch]
            gradient = jax.grad(squared_loss(lambda p: f(p, x[rows]), y[rows]))(params)
            change, moments = adam.update(gradient, moments, params)
            return (optax.apply_updates(params, change), moments), None

        (params, _), _ = jax.lax.scan(step, (start, adam.init(start)), jnp.arange(steps))
        return f(params, seen)

    return jax.jit(learn)
