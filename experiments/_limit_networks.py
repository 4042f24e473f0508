"""Linear networks and their limits on the same digits: what both are at every step.

Digits are projected on their first principal components, less the mean of the training set, and
scaled so that the squared norm of an image is 1 in the mean. Targets are 1 for the class, 0 for the
others, less 1/10 each: no network here has a bias. A linear network is a matrix, which is recorded
at the start and after each step; outputs on any images follow from it.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments._rates import slope, standard_error
from theorylab import data, limits

CLASSES = 10


@lru_cache
def digits(components):
    """Return (x, y, x_test, y_test): images (n, components) and targets (n, 10)."""
    used = data.digits()
    x, x_test = (a.reshape(len(a), -1).astype(float) for a in (used.x_train, used.x_test))
    centre = x.mean(0)
    directions = np.linalg.svd(x - centre, full_matrices=False)[2][:components]
    x, x_test = ((a - centre) @ directions.T for a in (x, x_test))
    size = np.sqrt((x**2).sum(1).mean())
    y, y_test = (np.eye(CLASSES)[a] - 1 / CLASSES for a in (used.y_train, used.y_test))
    return x / size, y, x_test / size, y_test


def compressed(x, y):
    r"""Return as many points as x has columns, with the gradients of the whole set.

    With :math:`x = Q R`, the mean over P points of the squared loss of any matrix is that on R and
    :math:`Q^\top y`, but for a constant.

    Examples
    --------
    >>> x, y = np.array([[1.0], [2.0], [2.0]]), np.ones((3, 1))
    >>> small, targets = compressed(x, y)
    >>> np.allclose(small.T @ targets, x.T @ y / 3), np.allclose(small.T @ small, x.T @ x / 3)
    (True, True)
    """
    q, r = np.linalg.qr(x)
    scale = np.sqrt(x.shape[1] / len(x))
    return scale * r, scale * (q.T @ y)


def fingerprint():
    """Return the digits' name and fingerprint."""
    used = data.digits()
    return {used.name: used.fingerprint}


def keys(seed, label, count):
    """Return keys of ``count`` networks, other ones for each label."""
    base = jax.random.fold_in(jax.random.key(seed), label)
    return jax.vmap(lambda number: jax.random.fold_in(base, number))(jnp.arange(count))


def limit_path(limit, x, y):
    """Return ``run(key=None)`` -> (matrices (T + 1, inputs, outputs), the largest status).

    x (T, P, inputs) and y (T, P, outputs) are the batches of T steps.
    """
    init, step, predict = limit
    basis = jnp.eye(x.shape[-1])

    def one(state, batch):
        state, info = step(state, *batch)
        return state, (predict(state, basis), info.status)

    def run(key=None):
        start = init(key)
        _, (path, status) = jax.lax.scan(one, start, (jnp.asarray(x), jnp.asarray(y)))
        return jnp.concatenate([predict(start, basis)[None], path]), status.max()

    return run


def network_path(limit, width, x, y, **options):
    """Return ``run(key)`` -> matrices (T + 1, inputs, outputs) of a finite network of the limit."""
    chain = limits.optimizer_like(limit)
    basis = jnp.eye(x.shape[-1])

    def run(key):
        start, apply = limits.finite_width_like(limit, width, key, **options)

        def loss(params, x, y):
            return ((apply(params, x) - y) ** 2).sum() / (2 * len(x))

        def one(carry, batch):
            params, state = carry
            updates, state = chain.update(jax.grad(loss)(params, *batch), state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), apply(params, basis)

        batches = jnp.asarray(x), jnp.asarray(y)
        path = jax.lax.scan(one, (start, chain.init(start)), batches)[1]
        return jnp.concatenate([apply(start, basis)[None], path])

    return run


def deviation(matrices, limit, x):
    """Return the root mean square over images and outputs of what separates the outputs.

    ``matrices`` (..., inputs, outputs), against those of the limit, in units of the root mean
    square of the limit's outputs.

    Examples
    --------
    >>> one = np.eye(2)
    >>> float(deviation(1.5 * one, one, np.ones((3, 2))))
    0.5
    """
    apart = np.sqrt(((x @ (matrices - limit)) ** 2).mean((-2, -1)))
    return apart / np.sqrt(((x @ limit) ** 2).mean((-2, -1)))


def root_mean_square(values, axis=0):
    """Return the root of the mean of squares.

    Examples
    --------
    >>> float(root_mean_square(np.array([1.0, 7.0])))
    5.0
    """
    return np.sqrt((np.asarray(values) ** 2).mean(axis))


def fitted(widths, samples):
    """Return the slope of root mean squares over networks, and its standard error.

    Examples
    --------
    >>> [round(value, 6) for value in fitted([4, 16], [np.full(3, 0.5), np.full(3, 0.25)])]
    [-0.5, 0.0]
    """

    def one(samples):
        return slope(widths, [root_mean_square(sample) for sample in samples])

    return one(samples), standard_error(one, samples)
