r"""Networks on images, trained in all of their parameters or in a random subspace of them.

The fully connected networks have `depth` hidden ReLU layers of one width; LeNet has two
convolutions with 5 x 5 filters (6 and 16 of them, without padding, each followed by ReLU and the
largest of 2 x 2) and two dense layers of 120 and 84 units. Kernels are Glorot uniform, biases begin
at zero, as in Li et al. (2018). The loss is the mean cross-entropy.

All runs of one network share one compiled program, of (weights, minibatches, key, mask, rate):
where the mask (d,) is zero :math:`\theta_d` stays zero, and since the first columns of
``subspace.hadamard`` are those of a smaller d (up to 1024), a mask of d' ones is a run with d'. The
subspaces of one seed are nested. Weights and the order of images are drawn by NumPy, and are the
same for all d, rates and optimizers of a seed.

Adam has the paper's b1 = 0.9, b2 = 0.99 and eps = 1e-8, SGD a momentum of 0.9. Rates are for each
coordinate of :math:`\theta_d`, whose columns have unit norm, and do not decay.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from theorylab import subspace

HIGHEST = jax.lax.Precision.HIGHEST
CLASSES = 10
LARGEST = 1000  # d of the projection; what is trained is masked
CHUNK = 1000  # images at a time when accuracies are counted
SIDE = 28
TOGETHER = 2  # runs at a time: a run alone does not fill two cores


class Net(NamedTuple):
    """``init(rng)`` gives parameters, ``apply(params, x)`` logits (n, 10) of images (n, pixels)."""

    init: Any
    apply: Any


class Images(NamedTuple):
    """Images (n, pixels) in [0, 1] and labels: of training, and of what is measured at the end."""

    x: Any
    y: Any
    x_test: Any
    y_test: Any


def glorot(rng, shape, fan_in, fan_out):
    """Return a uniform kernel of variance 2 / (fan_in + fan_out)."""
    limit = (6.0 / (fan_in + fan_out)) ** 0.5
    return rng.uniform(-limit, limit, shape).astype(np.float32)


def dense(rng, inputs, outputs):
    """Return kernel and bias of a dense layer."""
    kernel = glorot(rng, (inputs, outputs), inputs, outputs)
    return {"kernel": kernel, "bias": np.zeros(outputs, np.float32)}


def times(layer, x):
    """Return the affine map of a dense layer."""
    return jnp.matmul(x, layer["kernel"], precision=HIGHEST) + layer["bias"]


@lru_cache
def fc(depth, width, inputs=SIDE**2):
    """Return a fully connected network with `depth` hidden layers."""
    sizes = (inputs, *(width,) * depth, CLASSES)

    def init(rng):
        return [dense(rng, n, m) for n, m in zip(sizes[:-1], sizes[1:], strict=True)]

    def apply(params, x):
        for layer in params[:-1]:
            x = jax.nn.relu(times(layer, x))
        return times(params[-1], x)

    return Net(init, apply)


def convolved(layer, x):
    """Return the 5 x 5 convolution of images (n, h, w, c), the largest of 2 x 2, and ReLU.

    Half a row of the output is a dense layer of the 5 x (w / 2 + 2) pixels beneath it, whose matrix
    is banded: on CPUs a product with a matrix this small is ten times faster than a convolution
    with few channels and its derivatives. Even columns come before odd ones, and even rows are made
    apart from odd ones, so that the largest of neighbours is that of two contiguous halves.
    """
    n, h, w, c = x.shape
    filters, outputs, half = layer["kernel"], layer["kernel"].shape[-1], (w - 4) // 2
    order = [*range(0, half, 2), *range(1, half, 2)]
    shifts = np.stack([np.eye(half + 4, half, -k, np.float32) for k in range(5)])[:, :, order]
    band = jnp.einsum("rkcf,kwo->rwcof", filters, shifts, precision=HIGHEST)
    band = band.reshape(5 * (half + 4) * c, half * outputs)

    def rows(parity):
        pieces = [
            x[:, r + parity : r + parity + h - 4 : 2, start : start + half + 4]
            for start in (0, half)
            for r in range(5)
        ]
        stacked = jnp.stack(pieces, axis=2)  # (n, rows / 2, 2 * 5, half + 4, c)
        return jnp.matmul(stacked.reshape(-1, len(band)), band, precision=HIGHEST)

    x = jnp.maximum(rows(0), rows(1)).reshape(n, h // 2 - 2, 2, 2, half // 2 * outputs)
    x = jnp.maximum(x[:, :, :, 0], x[:, :, :, 1]).reshape(n, h // 2 - 2, half, outputs)
    return jax.nn.relu(x + layer["bias"])


@lru_cache
def lenet(side=SIDE):
    """Return LeNet on images of side x side pixels: 44,426 parameters where the side is 28."""
    shapes = ((5, 5, 1, 6), (5, 5, 6, 16))
    sizes = (16 * (((side - 4) // 2 - 4) // 2) ** 2, 120, 84, CLASSES)

    def init(rng):
        filters = [
            {"kernel": glorot(rng, s, 25 * s[2], 25 * s[3]), "bias": np.zeros(s[3], np.float32)}
            for s in shapes
        ]
        return filters + [dense(rng, n, m) for n, m in zip(sizes[:-1], sizes[1:], strict=True)]

    def apply(params, x):
        x = x.reshape(-1, side, side, 1)
        for layer in params[:2]:
            x = convolved(layer, x)
        x = x.reshape(len(x), -1)
        for layer in params[2:-1]:
            x = jax.nn.relu(times(layer, x))
        return times(params[-1], x)

    return Net(init, apply)


def named(name):
    """Return the network of a name: "FC 2 x 200" (layers x units) or "LeNet"."""
    if name == "LeNet":
        return lenet()
    depth, width = name.removeprefix("FC ").split(" x ")
    return fc(int(depth), int(width))


def size(net):
    """Return D, the number of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(net.init(np.random.default_rng(0))))


def minibatches(rng, count, batch, n):
    """Return rows (count, batch) of minibatches: each epoch is a new order of all n."""
    each = n // batch
    orders = [rng.permutation(n)[: each * batch] for _ in range(-(-count // each))]
    return np.concatenate(orders).reshape(-1, batch)[:count].astype(np.int32)


def ones(d, largest=LARGEST):
    """Return d ones and zeros behind them."""
    return (np.arange(largest) < d).astype(np.float32)


@partial(jax.jit, static_argnames="net")
def accuracy(params, x, y, *, net):
    """Return the share of images (n, pixels) whose labels (n,) the network gives.

    A program of its own: inside that of training it made the steps three times slower.
    """
    chunk = int(np.gcd(len(x), CHUNK))
    x, y = x.reshape(-1, chunk, x.shape[1]), y.reshape(-1, chunk)
    right = jax.lax.map(
        lambda pair: jnp.mean(net.apply(params, pair[0]).argmax(1) == pair[1]), (x, y)
    )
    return right.mean()


@partial(jax.jit, static_argnames=("net", "optimizer"))
def _trained(params0, rows, key, mask, rate, images, *, net, optimizer):
    """Return parameters and the loss at the end; a mask of None trains all parameters."""
    if mask is None:
        start, place = params0, lambda trained: trained
    else:
        p = subspace.hadamard(len(mask), like=params0, key=key)
        start = subspace.init(p)
        place = lambda trained: subspace.project(p, params0, mask * trained)  # noqa: E731

    def loss(trained, at):
        logits = net.apply(place(trained), images.x[at])
        return optax.softmax_cross_entropy_with_integer_labels(logits, images.y[at]).mean()

    chain = {"adam": partial(optax.adam, b1=0.9, b2=0.99, eps=1e-8),
             "sgd": partial(optax.sgd, momentum=0.9)}[optimizer](rate)  # fmt: skip

    def step(carry, at):
        trained, state = carry
        value, gradient = jax.value_and_grad(loss)(trained, at)
        update, state = chain.update(gradient, state, trained)
        return (optax.apply_updates(trained, update), state), value

    (trained, _), losses = jax.lax.scan(step, (start, chain.init(start)), rows)
    return place(trained), losses[-max(1, len(losses) // 20) :].mean()


def train(net, images, seed, d, rate, *, steps, batch=128, first=None, optimizer="adam"):
    """Return accuracies on both sets and the loss of the last twentieth of the steps, as floats.

    Parameters
    ----------
    net, images
        The network and :class:`Images`.
    seed
        Of weights, order of the images, and projection.
    d
        Dimension of the subspace, at most 1000, or None: all parameters.
    rate
        Of each coordinate of what is trained.
    steps, batch
        Minibatches and their size.
    first
        Train on the first so many images; None: on all.
    optimizer
        "adam" or "sgd".
    """
    rng = np.random.default_rng(seed)
    params0 = net.init(rng)
    rows = minibatches(rng, steps, batch, len(images.x) if first is None else first)
    mask = None if d is None else ones(d)
    params, loss = _trained(
        params0, rows, jax.random.key(seed), mask, np.float32(rate), images, net=net,
        optimizer=optimizer,
    )  # fmt: skip
    return {
        "test": float(accuracy(params, images.x_test, images.y_test, net=net)),
        "train": float(accuracy(params, images.x, images.y, net=net)),
        "loss": float(loss),
    }


def many(runs):
    """Return what each of `runs` (functions of nothing) does, two at a time, as dict of arrays."""
    first = [runs[0]()]  # alone: it compiles
    with ThreadPoolExecutor(TOGETHER) as pool:
        found = first + list(pool.map(lambda run: run(), runs[1:]))
    return {name: np.asarray([row[name] for row in found]) for name in found[0]}


def crossing(ds, curve, threshold):
    """Return where one curve first crosses a threshold, nan where it does not."""
    above = np.flatnonzero(curve >= threshold)
    if not len(above):
        return np.nan
    k = above[0]
    if k == 0:
        return float(ds[0])
    share = (threshold - curve[k - 1]) / (curve[k] - curve[k - 1])
    return float(ds[k - 1] + share * (ds[k] - ds[k - 1]))
