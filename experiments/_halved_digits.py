r"""MNIST digits at half their size, ReLU networks, and Adam: what experiments in subspaces share.

Images are means of 2 x 2 pixels of the 5,000 bundled MNIST digits, times 2: 14 x 14 numbers from 0
to 2, by constants that know nothing of the data. They may be placed at random on an empty field.

Networks have hidden layers of one width, weights of variance 2 / fan-in (1 / fan-in in the
read-out), biases 0. Training is Adam on minibatches drawn with replacement, with a rate that falls
to 0 in a straight line. In a subspace of d dimensions of D the rate is multiplied by
:math:`\sqrt{D / d}`, so that one rate is comparable to the same rate in direct training: projected
steps then move each parameter by about the rate.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import optax

from theorylab import data

HIGHEST = jax.lax.Precision.HIGHEST
SIDE = 14


@lru_cache
def images():
    """Return (x, y) of the training set and of the test set: x (n, 14, 14), in a random order."""
    used = data.mnist(subset="5k")

    def halved(x, y, seed):
        order = np.random.default_rng(seed).permutation(len(y))
        blocks = x[order].reshape(-1, SIDE, 2, SIDE, 2)
        return (2 * blocks.mean((2, 4))).astype(np.float32), y[order]

    return halved(used.x_train, used.y_train, 0), halved(used.x_test, used.y_test, 1)


def fingerprint():
    """Return the name and fingerprint of the data."""
    used = data.mnist(subset="5k")
    return {used.name: used.fingerprint}


def placed(x, offset, seed):
    """Return images (n, 14, 14) at random places of a field ``2 offset`` larger, flat."""
    rng = np.random.default_rng(seed)
    side = SIDE + 2 * offset
    field = np.zeros((len(x), side, side), np.float32)
    for image, empty, (row, column) in zip(
        x, field, rng.integers(0, 2 * offset + 1, (len(x), 2)), strict=True
    ):
        empty[row : row + SIDE, column : column + SIDE] = image
    return field.reshape(len(x), -1)


def start(sizes):
    """Return ``init(key)`` of a network: ``sizes`` of the input, hidden layers and output."""

    def init(key):
        keys = jax.random.split(key, len(sizes) - 1)
        gains = [2.0] * (len(sizes) - 2) + [1.0]
        return [
            {
                "kernel": jax.random.normal(k, (rows, columns)) * (gain / rows) ** 0.5,
                "bias": jnp.zeros(columns),
            }
            for k, rows, columns, gain in zip(keys, sizes[:-1], sizes[1:], gains, strict=True)
        ]

    return init


def logits(params, x):
    """Return the outputs (n, classes) at inputs (n, pixels)."""
    for k, layer in enumerate(params):
        x = jnp.matmul(x, layer["kernel"], precision=HIGHEST) + layer["bias"]
        x = jax.nn.relu(x) if k < len(params) - 1 else x
    return x


def loss(params, x, y):
    """Return the mean cross-entropy."""
    return optax.softmax_cross_entropy_with_integer_labels(logits(params, x), y).mean()


def error(params, x, y):
    """Return the fraction of wrong labels."""
    return jnp.mean(jnp.argmax(logits(params, x), 1) != y)


def trained(objective, params, x, y, batches, rate):
    """Return ``params`` after Adam on ``objective(params, x, y)``.

    Parameters
    ----------
    objective
        A function of parameters and of a minibatch.
    params
        The start, any tree.
    x, y
        Images and labels.
    batches
        Indices (steps, batch) into them.
    rate
        At the first step; a number or a traced scalar.
    """
    steps = len(batches)
    chain = optax.chain(
        optax.scale_by_adam(), optax.scale_by_schedule(lambda k: -rate * (1 - k / steps))
    )

    def step(carry, rows):
        params, state = carry
        gradient = jax.grad(objective)(params, x[rows], y[rows])
        update, state = chain.update(gradient, state)
        return (optax.apply_updates(params, update), state), None

    (params, _), _ = jax.lax.scan(step, (params, chain.init(params)), batches)
    return params
