"""A network on the small digits, trained by Lion with different weight decays.

Images are the 8 x 8 digits that come with scikit-learn, less the mean of their training set, each
scaled to norm 8. The network has one hidden layer of tanh units and no biases, weights as LeCun
draws them, and the cross-entropy of ten classes, in minibatches. All weights are pooled.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from theorylab import data, optim
from theorylab.optim import kappas

HIGHEST = jax.lax.Precision.HIGHEST
B1, B2 = 0.9, 0.99


def images() -> dict[str, np.ndarray]:
    """Return x_train, y_train, x_test, y_test."""
    used = data.digits()
    mean = used.x_train.mean(axis=0, dtype=np.float64).ravel()

    def prepared(x: np.ndarray) -> np.ndarray:
        x = x.reshape(len(x), -1) - mean
        return x * np.sqrt(x.shape[1]) / np.linalg.norm(x, axis=1, keepdims=True)

    return {
        "x_train": prepared(used.x_train),
        "y_train": used.y_train,
        "x_test": prepared(used.x_test),
        "y_test": used.y_test,
    }


def start(width: int, seed: int) -> dict[str, Any]:
    """Return the weights at the start."""
    keys = jax.random.split(jax.random.key(seed))
    shapes = {"hidden": (64, width), "readout": (width, 10)}
    return {
        name: jax.random.normal(key, shape) / shape[0] ** 0.5
        for key, (name, shape) in zip(keys, shapes.items(), strict=True)
    }


def outputs(weights: dict[str, Any], x: Any) -> Any:
    """Return the logits (n, 10)."""
    hidden = jnp.tanh(jnp.matmul(x, weights["hidden"], precision=HIGHEST))
    return jnp.matmul(hidden, weights["readout"], precision=HIGHEST)


def flat(weights: dict[str, Any]) -> Any:
    """Return all weights in one vector."""
    return jnp.concatenate([leaf.ravel() for leaf in weights.values()])


def lion_k(rate: float, decay: Any) -> Any:
    """Return Lion as Lion-K of the l1 norm."""
    return optim.lion_k(rate, kappas.l1(), B1, B2, decay)


def lion(rate: float, decay: Any) -> Any:
    """Return the Lion of optax."""
    return optax.lion(rate, B1, B2, weight_decay=decay)


def trained(
    make: Callable[..., Any], decay: float, *, rate: float, steps: int, width: int, batch: int,
    seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Train, and return weights before and after, and what happened at every step.

    ``largest`` and ``outside``, (steps + 1,): the largest decay times |w|, and the share of weights
    for which that is above 1 by more than 1e-9. ``accuracy``: of the test images, at the end.
    """
    run = _compiled(make, rate, steps, batch, seed)
    found = run(start(width, seed), decay, images())
    return {name: np.asarray(value) for name, value in found.items()}


@lru_cache(maxsize=2)
def _compiled(make: Callable[..., Any], rate: float, steps: int, batch: int, seed: int) -> Any:
    """Return the training as one program for all decays."""
    key = jax.random.key(seed + 1)

    def loss(weights: Any, x: Any, labels: Any) -> Any:
        logits = outputs(weights, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    def seen(weights: Any, decay: Any) -> Any:
        size = decay * jnp.abs(flat(weights))
        return jnp.max(size), jnp.mean(size > 1 + 1e-9)

    @jax.jit
    def run(weights: Any, decay: Any, used: dict[str, Any]) -> Any:
        tx = make(rate, decay)

        def step(carry: Any, k: Any) -> Any:
            weights, state = carry
            rows = jax.random.randint(jax.random.fold_in(key, k), (batch,), 0, len(used["x_train"]))
            gradient = jax.grad(loss)(weights, used["x_train"][rows], used["y_train"][rows])
            updates, state = tx.update(gradient, state, weights)
            weights = optax.apply_updates(weights, updates)
            return (weights, state), seen(weights, decay)

        carry = (weights, tx.init(weights))
        (end, _), (largest, outside) = jax.lax.scan(step, carry, jnp.arange(steps))
        right = jnp.argmax(outputs(end, used["x_test"]), -1) == used["y_test"]
        first = seen(weights, decay)
        return {
            "before": flat(weights),
            "after": flat(end),
            "largest": jnp.append(first[0], largest),
            "outside": jnp.append(first[1], outside),
            "accuracy": jnp.mean(right),
        }

    return run
