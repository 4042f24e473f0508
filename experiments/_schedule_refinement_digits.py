r"""Logistic regression of the small digits, and the bound that refined schedules come from.

The loss is the mean cross entropy of ten classes on the 1,437 training images (pixels less their
mean, scaled to a mean square norm of 1, and a constant 1 for the offsets), plus
:math:`\tfrac{\mu}{2} |W|^2`, which makes it strongly convex. SGD starts at 0 and draws its images
with replacement. The *excess* of a run is its last iterate's loss over the least.

The bound. For convex f, steps :math:`x_{t+1} = x_t - \eta_t g_t` along subgradients, and rates

.. math::

    \eta_t = w_t \sum_{p > t} w_p \Big/ \sum_p w_p, \qquad t = 1 \dots T,

with any positive weights w, the last iterate has (Defazio et al. 2023, their bound of the last
iterate with the regret of gradient descent)

.. math::

    f(x_T) - f(u) \le \frac{|x_1 - u|^2 + \sum_t w_t^2 |g_t|^2}{2 \sum_t w_t}

for every u. It holds for each run with whole-batch gradients, not only on average.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize

from theorylab import data
from theorylab.optim import schedules

CLASSES = 10


def images() -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (n, 65), float64, of mean square norm 1 without the constant, and labels."""
    used = data.digits()
    x = used.x_train.reshape(len(used.x_train), -1).astype(np.float64)
    x = x - x.mean(axis=0)
    x /= np.sqrt((x**2).sum(axis=1).mean())
    return np.concatenate([x, np.ones((len(x), 1))], axis=1), used.y_train


def loss_and_gradient(
    w: np.ndarray, x: np.ndarray, y: np.ndarray, ridge: float
) -> tuple[float, np.ndarray]:
    """Return the loss of weights (65, 10) on images, and its gradient; NumPy, float64."""
    logits = x @ w
    logits -= logits.max(axis=1, keepdims=True)
    chosen, powers = logits[np.arange(len(y)), y], np.exp(logits)
    sums = powers.sum(axis=1)
    value = np.mean(np.log(sums) - chosen) + ridge / 2 * np.sum(w**2)
    off = powers / sums[:, None] - np.eye(CLASSES)[y]
    return float(value), x.T @ off / len(y) + ridge * w


def least(ridge: float) -> dict[str, np.ndarray]:
    """Return the minimizer, (65, 10), and the least loss."""
    x, y = images()

    def flat(w: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = loss_and_gradient(w.reshape(-1, CLASSES), x, y, ridge)
        return value, slope.ravel()

    found = optimize.minimize(
        flat, np.zeros(x.shape[1] * CLASSES), jac=True, method="L-BFGS-B",
        options={"maxiter": 5000, "maxfun": 10000, "ftol": 1e-15, "gtol": 1e-8},
    )  # fmt: skip
    return {"minimizer": found.x.reshape(-1, CLASSES), "least": found.fun}


def bounds(optimum: np.ndarray, least_loss: float, config: Any) -> dict[str, np.ndarray]:
    """Return excess and bound of whole-batch descent, with linear decay and refined, (2,) each.

    The first run has equal weights, whose largest rate is ``bound_peak``; the second those that its
    norms give, :math:`w_t = s / |g_t|^2` with s the best for the bound if norms stayed as they are.
    """
    x, y = images()
    steps = config.bound_steps
    # Linear decay: rates w (T - t) / T, of which the first is the peak.
    weights = np.full(steps, config.bound_peak * steps / (steps - 1))
    excess, bound, norms = [], [], np.ones(steps)
    for again in range(2):
        if again:
            scale = np.linalg.norm(optimum) / np.sqrt(np.sum(norms**-2))
            weights = scale * norms**-2
        behind = np.concatenate([np.cumsum(weights[:0:-1])[::-1], [0.0]])
        rates = weights * behind / weights.sum()
        with jax.enable_x64(True):
            public = schedules.refined(norms, smoothing=0, peak_value=rates.max()).values
        w, norms = np.zeros_like(optimum), np.empty(steps)
        for t, rate in enumerate(np.asarray(public)):
            _, slope = loss_and_gradient(w, x, y, config.ridge)
            norms[t] = np.linalg.norm(slope)
            w = w - rate * slope
        excess.append(loss_and_gradient(w, x, y, config.ridge)[0] - least_loss)
        top = np.sum(optimum**2) + np.sum(weights**2 * norms**2)
        bound.append(top / (2 * weights.sum()))
    return {"bound_excess": np.array(excess), "bound": np.array(bound)}


def sgd(config: Any) -> Any:
    """Return a compiled (rates, keys) -> (losses at the end, gradient norms).

    ``rates`` (peaks, seeds, steps), ``keys`` (seeds,): one run for each peak and seed, runs of a
    seed with the same images in the same order. Losses (peaks, seeds) are those of all images;
    norms (peaks, seeds, steps) those of the gradients that were stepped along.
    """
    inputs, labels = images()
    x, y = jnp.asarray(inputs, jnp.float32), jnp.asarray(labels)

    def loss(w: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        logits = jnp.dot(x, w, precision=jax.lax.Precision.HIGHEST)
        chosen = jnp.take_along_axis(logits, y[:, None], 1)[:, 0]
        penalty = config.ridge / 2 * jnp.sum(w * w)
        return jnp.mean(jax.nn.logsumexp(logits, 1) - chosen) + penalty

    def one(rates: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        def step(w: jax.Array, now: Any) -> tuple[jax.Array, jax.Array]:
            count, rate = now
            rows = jax.random.randint(jax.random.fold_in(key, count), (config.batch,), 0, len(y))
            slope = jax.grad(loss)(w, x[rows], y[rows])
            return w - rate * slope, jnp.sqrt(jnp.sum(slope**2))

        start = jnp.zeros((x.shape[1], CLASSES))
        w, norms = jax.lax.scan(step, start, (jnp.arange(len(rates)), rates))
        return loss(w, x, y), norms

    return jax.jit(jax.vmap(jax.vmap(one), in_axes=(0, None)))
