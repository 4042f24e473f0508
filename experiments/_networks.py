r"""Finite networks on real digits: the images as they are fed in, the networks, their training.

Images are the first rows of the bundled MNIST set, where classes alternate. The mean of its 4,000
training images is removed, and each image is scaled to norm :math:`\sqrt d`, d = 784, so that the
first layer's preactivations have the same variance on all.

The first layer sees them as coordinates in an orthonormal basis of their span (`coordinates`).
Gaussian weights have the same law in every basis, and neither outputs nor gradients depend on what
they do to directions orthogonal to all images, so the networks and their training have exactly the
law that they have on pixels, for a fraction of the cost (``_identities``, 3).

Networks are fully connected without biases, in the NTK parameterization, with :math:`W_{std}^2 = 2`
in hidden layers and 1 in the readout. For ReLU this keeps the second moment from layer to layer
(He et al. 2015); for erf the same constant is used.

Training is full-batch gradient descent on :math:`\tfrac{1}{2m} \sum_i |f(x_i) - y_i|^2`, the mean
over the m images and the sum over outputs, as in ``theorylab.predict``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

import theorylab.kernels as tk
from theorylab import data

W_STD = 2**0.5
CLASSES = 10


class Images(NamedTuple):
    """Flattened images of norm sqrt(d), float32 (n, d), and their labels, int32 (n,)."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def fingerprints() -> dict[str, str]:
    """Return {name: fingerprint} of the data that `images` reads."""
    used = data.mnist(subset="5k")
    return {used.name: used.fingerprint}


def source() -> str:
    """Return the name of the data with the first digits of their fingerprint, for captions."""
    return "; ".join(f"{name}, SHA-256 {sha[:12]}" for name, sha in fingerprints().items())


def images(n_train: int, n_test: int = 1) -> Images:
    """Return the first training and test images, centred and scaled.

    Raises
    ------
    ValueError
        More images are asked for than there are, or none.

    Examples
    --------
    >>> x = images(4).x_train
    >>> x.shape, [round(float(v)) for v in (x**2).sum(1)]
    ((4, 784), [784, 784, 784, 784])
    """
    used = data.mnist(subset="5k")
    for name, asked, there in (
        ("n_train", n_train, len(used.x_train)),
        ("n_test", n_test, len(used.x_test)),
    ):
        if not 1 <= asked <= there:
            raise ValueError(f"{name} must be between 1 and {there}, got {asked}")
    mean = used.x_train.mean(axis=0, dtype=np.float64).ravel()

    def prepared(x: np.ndarray) -> np.ndarray:
        x = x.reshape(len(x), -1) - mean
        x *= np.sqrt(x.shape[1]) / np.linalg.norm(x, axis=1, keepdims=True)
        return x.astype(np.float32)

    return Images(
        prepared(used.x_train[:n_train]),
        used.y_train[:n_train],
        prepared(used.x_test[:n_test]),
        used.y_test[:n_test],
    )


def coordinates(*batches: np.ndarray) -> tuple[np.ndarray, ...]:
    r"""Return batches (n_i, d) as coordinates (n_i, r) in a basis of their joint span.

    They are scaled by :math:`\sqrt{r/d}`, so that :math:`x \cdot x' / d`, which is all that a first
    layer without bias passes on, stays as it is.

    Examples
    --------
    >>> a, b = coordinates(np.ones((1, 8)), np.arange(8.0)[None])
    >>> a.shape, round(float(a[0] @ b[0]) / 2, 6)  # the mean of 0 .. 7
    ((1, 2), 3.5)
    """
    whole = np.concatenate(batches).astype(np.float64)
    basis = np.linalg.qr(whole.T)[0]
    dtype = np.result_type(*batches)
    scaled = whole @ basis * np.sqrt(basis.shape[1] / basis.shape[0])
    return tuple(np.split(scaled.astype(dtype), np.cumsum([len(x) for x in batches[:-1]])))


def one_hot(labels: np.ndarray) -> np.ndarray:
    """Return centred one-hot targets, (n, 10): 9/10 at the label, -1/10 elsewhere."""
    return (np.eye(CLASSES)[labels] - 1 / CLASSES).astype(np.float32)


def mlp(width: int, depth: int, activation: Any, outputs: int) -> Any:
    """Return a network with `depth` hidden layers of `width` units.

    Examples
    --------
    >>> mlp(64, 2, tk.Relu(), 10).output_shape((5, 784))
    (5, 10)
    """
    hidden = [tk.Dense(width, W_std=W_STD), activation] * depth
    return tk.serial(*hidden, tk.Dense(outputs))


def keys(seed: int, family: int, width: int, first: int, last: int) -> Array:
    """Return the keys of the networks number `first` .. `last` - 1 of a family and a width.

    A network's key depends on nothing else, so adding widths, networks or stages changes none.
    """
    base = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), family), width)
    return jax.vmap(lambda i: jax.random.fold_in(base, i))(np.arange(first, last))


def squared_loss(f: Callable[[Any], Array], y: Array) -> Callable[[Any], Array]:
    """Return params -> 1/(2m) sum |f(params) - y|^2, the mean over the m rows of y."""
    return lambda params: 0.5 * ((f(params) - y) ** 2).sum() / y.shape[0]


def descend(
    loss: Callable[[Any], Array],
    params: Any,
    *,
    learning_rate: Any,
    records: int,
    every: int,
    observe: Callable[[Any], Any],
) -> tuple[Any, Any]:
    """Take ``records * every`` steps of gradient descent, looking on.

    Parameters
    ----------
    loss
        params -> scalar.
    params
        Where to start.
    learning_rate
        Step length.
    records, every
        `observe` is called at the start and after each `every` steps.
    observe
        params -> pytree of arrays.

    Returns
    -------
    params, seen
        The last parameters, and the observations with a leading axis of ``records + 1``.
    """
    gradient = jax.grad(loss)

    def step(here: Any, _: None) -> tuple[Any, None]:
        return jax.tree.map(lambda p, g: p - learning_rate * g, here, gradient(here)), None

    def record(here: Any, _: None) -> tuple[Any, Any]:
        here, _ = jax.lax.scan(step, here, None, length=every)
        return here, observe(here)

    start = observe(params)
    params, seen = jax.lax.scan(record, params, None, length=records)
    return params, jax.tree.map(lambda a, b: jax.numpy.concatenate([a[None], b]), start, seen)
