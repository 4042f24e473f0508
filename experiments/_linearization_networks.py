r"""A network beside its linearization in training, on images of two digits.

Both take the same steps of gradient descent from the same parameters, each on its own squared loss.

What must hold exactly, measured in float64:

1. the outputs of the linearization follow the closed form of gradient descent with the network's
   own kernel (``predict.gradient_steps``), from the network's own start;
2. a network that is linear in its parameters is its own linearization, at distance zero.
"""

import jax
import jax.numpy as jnp
import numpy as np

import theorylab.kernels as tk
from experiments._networks import descend, images, keys, mlp, squared_loss
from theorylab import empirical, predict

# In the order of their random streams: a family's networks do not depend on which others are run.
ACTIVATIONS = {"erf": tk.Erf(), "relu": tk.Relu()}
STARTS = {"drawn": 0.0, "centred": 1.0}  # how much of the initial function is subtracted
IDENTITIES = len(ACTIVATIONS)  # the stream behind theirs


def classes(config):
    """Return x (n_train, d), y (n_train, 1) of -1 and 1, x_test, and the digits of x_test.

    Raises
    ------
    ValueError
        The digits are not two different ones, there are not enough images of them, or the records
        do not divide the steps.
    """
    one, other = config.digits
    if one == other or not {one, other} <= set(range(10)):
        raise ValueError(f"digits must be two different ones of 0 to 9, got {config.digits}")
    if config.steps % config.records:
        raise ValueError(f"records must divide the {config.steps} steps, got {config.records}")
    # Among the first 10 k images there are k of each class.
    every = images(5 * config.n_train + 5, 5 * config.n_test + 5)
    keep, keep_test = (np.isin(y, config.digits) for y in (every.y_train, every.y_test))
    labels = every.y_train[keep][: config.n_train]
    y = np.where(labels == one, 1.0, -1.0).astype(np.float32)[:, None]
    chosen = slice(config.n_test)
    x_test, labels_test = every.x_test[keep_test][chosen], every.y_test[keep_test][chosen]
    return every.x_train[keep][: config.n_train], y, x_test, labels_test


def pair(net, x, y, x_test, config):
    """Return (params, keep) -> dict of what a network and its linearization do at test points.

    ``keep`` is how much of the initial function is subtracted: 0 for networks as drawn, 1 for
    centred ones. There are ``f`` and ``linear``, (records + 1, n_test), ``distance``, (records +
    1,), and ``flipped``, the share of gates of the first hidden layer that have another sign at the
    end than at the beginning.
    """

    def measure(params, keep):
        begin, begin_test = keep * net.apply(params, x), keep * net.apply(params, x_test)

        def train(f):
            end, seen = descend(
                squared_loss(lambda p: f(p, x) - begin, y),
                params,
                learning_rate=config.flow_time / config.steps,
                records=config.records,
                every=config.steps // config.records,
                observe=lambda p: f(p, x_test) - begin_test,
            )
            return end, seen[..., 0]

        end, f = train(net.apply)
        _, linear = train(empirical.linearize(net.apply, params))
        before, after = (net.layers[0].apply(p[0], x_test) > 0 for p in (params, end))
        distance = jnp.sqrt(((f - linear) ** 2).mean(axis=1))
        return {"f": f, "linear": linear, "distance": distance, "flipped": (before != after).mean()}

    return jax.jit(measure)


def identities(x, y, x_test, config):
    """Return {name: relative difference}: closed form against stepping, and a linear network."""
    with jax.enable_x64(True):
        x, y, x_test = (jnp.asarray(part, jnp.float64) for part in (x, y, x_test))
        every, m = jnp.concatenate([x, x_test]), len(x)
        key = keys(config.seed, IDENTITIES, 0, 0, 1)[0]
        times = np.arange(0, config.steps + 1, config.steps // config.records)
        rate = config.flow_time / config.steps
        flat = tk.serial(tk.Dense(1))
        found = dict.fromkeys(
            (*(f"identity_{name}" for name in ACTIVATIONS), "identity_linear"), 0.0
        )
        whole = pair(flat, x, y, x_test, config)
        for name, activation in ACTIVATIONS.items():
            net = mlp(config.identity_width, config.depth, activation, 1)
            params = net.init(key, x.shape)
            kernel, f0 = empirical.ntk(net.apply, params, every), net.apply(params, every)
            closed = predict.gradient_steps(kernel[:m, :m], y, learning_rate=rate)
            walk = pair(net, x, y, x_test, config)
            for keep in STARTS.values():
                start = (1 - keep) * f0
                told = closed(times, kernel[m:, :m], f0_train=start[:m], f0_test=start[m:]).mean
                gap = np.abs(told[..., 0] - walk(params, keep)["linear"]).max()
                gap = gap / np.abs(told).max()
                found[f"identity_{name}"] = max(found[f"identity_{name}"], float(gap))
        for keep in STARTS.values():
            still = whole(flat.init(key, x.shape), keep)
            gap = still["distance"].max() / np.abs(still["f"]).max()
            found["identity_linear"] = max(found["identity_linear"], float(gap))
        return found
