"""A ReLU network on digits, in the standard parametrization and in muP, for any optimizer.

Images are the 8 x 8 digits that come with scikit-learn, less the mean of their training set, each
scaled to norm 8. Two hidden layers, weights with the variance 1 / fan-in, biases that begin at 0.
The base of muP has width 64: there both parametrizations are one.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import optax

from theorylab import data, optim
from theorylab import parametrization as mup

HIGHEST = jax.lax.Precision.HIGHEST
BASE = 64
INPUTS, OUTPUTS = 64, 10
LAYERS = ("first", "second", "output")


@lru_cache
def images():
    """Return x (n, 64) and the labels (n,) of the training set, in an order of their own."""
    used = data.digits()
    x = used.x_train.reshape(len(used.x_train), -1)
    x = x - x.mean(0, dtype=np.float64)
    x = x * np.sqrt(x.shape[1]) / np.linalg.norm(x, axis=1, keepdims=True)
    order = np.random.default_rng(0).permutation(len(x))
    return x[order].astype(np.float32), used.y_train[order]


def fingerprint():
    """Return the digits' name and fingerprint."""
    used = data.digits()
    return {used.name: used.fingerprint}


def start(width):
    """Return the initializer of a width, as anyone would write it."""
    shapes = {"first": (INPUTS, width), "second": (width, width), "output": (width, OUTPUTS)}

    def init(key):
        keys = jax.random.split(key, len(shapes))
        return {
            name: {
                "kernel": jax.random.normal(k, shape) / shape[0] ** 0.5,
                "bias": jnp.zeros(shape[1]),
            }
            for k, (name, shape) in zip(keys, shapes.items(), strict=True)
        }

    return init


def apply(weights, x):
    """Return the preactivations of both hidden layers, and the output, by name."""
    found = {}
    for name in LAYERS:
        kernel, bias = weights[name]["kernel"], weights[name]["bias"]
        found[name] = jnp.matmul(x, kernel, precision=HIGHEST) + bias
        x = jax.nn.relu(found[name])
    return found


def scales(width, scheme, optimizer, form="table8"):
    """Return the tree of scales; ``optimizer`` may be one for matrices and one for vectors."""
    shapes = [jax.eval_shape(start(n), jax.random.key(0)) for n in (BASE, 2 * BASE, width)]
    if isinstance(optimizer, tuple):
        matrices, vectors = optimizer
        optimizer = {name: {"kernel": matrices, "bias": vectors} for name in LAYERS}
    return mup.leaf_scales(mup.infer_specs(*shapes), scheme=scheme, optimizer=optimizer, form=form)


def model(scheme, optimizer, zero_readout=False):
    """Return ``make(width) -> (init, apply)`` for the checks of `parametrization`."""

    def make(width):
        own = scales(width, scheme, optimizer)

        def init(key):
            return mup.rescale_init(start(width)(key), own, zero_readout=zero_readout)

        return init, lambda weights, x: apply(mup.apply_multipliers(weights, own), x)

    return make


def muon(rate):
    """Return Lion-K of the nuclear norm on matrices, Adam on vectors."""

    def label(weights):
        return jax.tree.map(lambda w: "matrix" if w.ndim == 2 else "vector", weights)

    nuclear = optim.lion_k(rate, optim.kappas.nuclear(), b1=0.95, b2=0.95, weight_decay=0.0)
    return optax.multi_transform({"matrix": nuclear, "vector": optax.adam(rate)}, label)


def chained(chain, width, scheme, optimizer):
    """Return an optimizer followed by muP's rates."""
    return optax.chain(chain, mup.scale_by_parametrization(scales(width, scheme, optimizer)))
