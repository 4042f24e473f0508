"""Limits, simulated networks and dense ones of `nonlinear_limit`, along training.

All losses are half the mean square error over the points, all training is full-batch gradient
descent in muP, at one rate for all layers in the gauge of `finite_width_like`.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from theorylab import limits

CUBE = 3  # dimension of the inputs of deep networks


def circle(points):
    """Return x (P, 2) at equal distances on the circle, and sin(t) / 2, (P, 1)."""
    t = 2 * np.pi * np.arange(points) / points + 0.3
    return np.stack([np.cos(t), np.sin(t)], axis=1), 0.5 * np.sin(t)[:, None]


def cloud(points):
    """Return normal inputs (P, 3) and targets (P, 1), always the same."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(points, CUBE)), rng.normal(size=(points, 1))


def keys(seed, *labels, count):
    """Return independent keys for a stage."""
    key = jax.random.key(seed)
    for label in labels:
        key = jax.random.fold_in(key, label)
    return jax.random.split(key, count)


def steps_of(limit, state, x, y, steps):
    """Return the state after some steps, and what each told."""
    return jax.lax.scan(lambda s, _: limit.step(s, x, y), state, None, length=steps)


@partial(jax.jit, static_argnums=(0, 3, 4))
def path(limit, x, y, records, every, key=None):
    """Return outputs (records + 1, P) of a limit: at first, and every so many steps."""

    def segment(state, _):
        state, _ = steps_of(limit, state, x, y, every)
        return state, limit.predict(state, x)

    start = limit.init(key)
    _, after = jax.lax.scan(segment, start, None, length=records)
    return jnp.concatenate([limit.predict(start, x)[None], after])


def dense_steps(limit, params, apply, x, y, steps):
    """Return params of a dense network after some steps, and the loss before each of them."""
    transform = limits.optimizer_like(limit)

    def loss(params):
        return 0.5 * jnp.mean(jnp.sum((apply(params, x) - y) ** 2, axis=1))

    def one(carry, _):
        params, state = carry
        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = transform.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), value

    (params, _), values = jax.lax.scan(one, (params, transform.init(params)), None, length=steps)
    return params, values


@partial(jax.jit, static_argnums=(0, 1, 4, 5))
def dense_paths(limit, width, x, y, records, every, keys):
    """Return outputs (networks, records + 1, P) of dense networks, as of :func:`path`."""

    def one(key):
        params, apply = limits.finite_width_like(limit, width, key)

        def segment(params, _):
            params, _ = dense_steps(limit, params, apply, x, y, every)
            return params, apply(params, x)[:, 0]

        _, after = jax.lax.scan(segment, params, None, length=records)
        return jnp.concatenate([apply(params, x)[None, :, 0], after])

    return jax.lax.map(one, keys)


@partial(jax.jit, static_argnums=(0, 3))
def simulated(limit, x, y, steps, keys):
    """Return outputs (networks, P) after some steps and the states' statuses (networks,)."""

    def one(key):
        state, _ = steps_of(limit, limit.init(key), x, y, steps)
        return limit.predict(state, x)[:, 0], state.status

    return jax.lax.map(one, keys)


def linear_gap(x, y, steps):
    """Return how far nodes with a linear activation are from the exact linear limit."""
    nodes = limits.mean_field(2, 1, lambda h: 1.0 * h, learning_rate=0.3, order=6)
    exact = limits.linear_mup(2, 1, learning_rate=0.3)
    ours, theirs = (path(limit, x, y, 1, steps) for limit in (nodes, exact))
    return float(np.abs(ours - theirs).max())


def image_gap(limit, x, y, steps, key, seed):
    """Return the largest difference of losses to a dense network with the images that were drawn.

    Anything will do where the hidden matrix was never applied; here a Gaussian matrix.
    """
    start = limit.init(key)
    state, info = jax.jit(lambda start: steps_of(limit, start, x, y, steps))(start)
    one, image, back, transposed = (np.asarray(of[0]) for of in state.known[:4])
    n = one.shape[1]
    off, off_back = np.eye(n) - one.T @ one, np.eye(n) - back.T @ back
    free = np.random.default_rng(seed).normal(size=(n, n)) / n**0.5
    w = image.T @ one + back.T @ transposed @ off + off_back @ free @ off
    params, apply = limits.finite_width_like(limit, n, key)
    params = {**params, **{k: start.params[k] for k in "uv"}, "w": jnp.asarray(w[None])}
    loss = jax.jit(lambda params: dense_steps(limit, params, apply, x, y, steps)[1])(params)
    return float(np.abs(info.loss - loss).max())
