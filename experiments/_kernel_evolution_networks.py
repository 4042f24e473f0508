"""Images, limits and networks of `kernel_evolution`, with kernels along training."""

import jax
import jax.numpy as jnp
import numpy as np

import theorylab.kernels as tk
from theorylab import data, empirical, limits
from theorylab.parametrization import NTP, abc_mlp


def images(classes, per_class, axes):
    """Return the first images of two classes on principal axes, (P, axes), and targets (P,).

    Axes are those of all training images of both classes, less their mean; rows have norm 1.
    """
    used = data.digits()
    chosen = np.isin(used.y_train, classes)
    x, labels = used.x_train[chosen].reshape(-1, 64).astype(float), used.y_train[chosen]
    x = x - x.mean(0)
    x = x @ np.linalg.svd(x, full_matrices=False)[2][:axes].T
    rows = np.concatenate([np.flatnonzero(labels == c)[:per_class] for c in classes])
    x = x[rows] / np.linalg.norm(x[rows], axis=1, keepdims=True)
    return x, np.where(labels[rows] == classes[0], 1.0, -1.0)


def fingerprint():
    """Return the name and fingerprint of the data."""
    used = data.digits()
    return {used.name: used.fingerprint}


def activation(h):
    """Return erf, of which the NTK limit has a closed form."""
    return jax.scipy.special.erf(h)


def keys(seed, width, count):
    """Return independent keys."""
    return jax.random.split(jax.random.fold_in(jax.random.key(seed), width), count)


def rich(width, x, y, rate, steps, seeds, seed):
    """Return kernels and outputs of simulated muP networks before every step and at the end.

    ``feature`` (seeds, steps + 1, 2, P, P), ``ntk`` (seeds, steps + 1, P, P), ``loss`` (seeds,
    steps + 1), ``status``. A step finds its points' images among those that `features` remembered,
    as the gradient with one output is in their span: a basis takes P slots each time.
    """
    limit = limits.conditioned_mlp(
        width, x.shape[1], 1, 2, activation, learning_rate=rate, capacity=len(x) * (steps + 1)
    )

    def look(state):
        state, seen = limits.features(limit, state, x)
        found = limits.kernels(seen, seen)
        f = limit.predict(state, x)[:, 0]
        status = jnp.maximum(seen.status, state.status)
        loss = 0.5 * jnp.mean((f - y) ** 2)
        return state, (found.feature, found.ntk[..., 0, 0], loss, status)

    def one(state, _):
        state, seen = look(state)
        return limit.step(state, x, y[:, None])[0], seen

    @jax.jit
    def trained(keys):
        def network(key):
            state, seen = jax.lax.scan(one, limit.init(key), None, length=steps)
            last = look(state)[1]
            return jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), seen, last)

        return jax.lax.map(network, keys)

    found = trained(keys(seed, width, seeds))
    return dict(zip(("feature", "ntk", "loss", "status"), found, strict=True))


def tangent(width, x, y, rate, records, every, seeds, seed):
    """Return ``ntk`` (seeds, records + 1, P, P) of dense networks in NTP along training."""
    net = abc_mlp((x.shape[1], width, width, 1), NTP, activation)

    def f(params, x):
        return net.apply(params, x)[:, 0]

    def step(params, _):
        gradient = jax.grad(lambda p: ((f(p, x) - y) ** 2).mean() / 2)(params)
        return jax.tree.map(lambda p, g: p - rate * g, params, gradient), None

    def segment(params, _):
        params = jax.lax.scan(step, params, None, length=every)[0]
        return params, empirical.ntk(f, params, x)

    @jax.jit
    def trained(keys):
        def network(key):
            params = net.init(key)
            after = jax.lax.scan(segment, params, None, length=records)[1]
            return jnp.concatenate([empirical.ntk(f, params, x)[None], after])

        return jax.lax.map(network, keys)

    return {"ntk": trained(keys(seed + 1, width, seeds))}


def exact(x, seed):
    """Return the NTK limit, and the gap of two ways to the NTK of one hidden layer."""
    net = tk.serial(tk.Dense(8), tk.Erf(), tk.Dense(8), tk.Erf(), tk.Dense(1))
    # Layers divide by the root of the inputs' dimension, which the first layer of muP does not.
    found = net.kernel(jnp.asarray(x) * x.shape[1] ** 0.5)
    limit = limits.conditioned_mlp(16, x.shape[1], 1, 1, activation, learning_rate=1.0, capacity=1)
    state = limit.init(jax.random.key(seed))
    _, seen = limits.features(limit, state, x)
    ours = limits.kernels(seen, seen).ntk[..., 0, 0]
    _, apply = limits.finite_width_like(limit, 16, jax.random.key(seed))
    params = {name: state.params[name] for name in "uv"}
    theirs = empirical.ntk(lambda p, x: apply(p, x)[:, 0], params, jnp.asarray(x))
    gap = jnp.abs(ours - theirs).max() / jnp.abs(theirs).max()
    return {"limit": found.ntk, "jacobian_gap": gap}


def frozen(kernel, y, rate, steps):
    """Return losses (steps + 1,) of outputs that begin at 0 and move under a fixed kernel."""
    f, losses = np.zeros_like(y), []
    for _ in range(steps + 1):
        losses.append(0.5 * np.mean((f - y) ** 2))
        f = f - rate / len(y) * kernel @ (f - y)
    return np.asarray(losses)
