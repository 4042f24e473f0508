r"""Convolutional and fully connected kernels on the same digits, with and without pooling.

Three infinitely wide networks with three hidden ReLU layers see the same 8 x 8 images: fully
connected on all pixels (FC), 3 x 3 convolutions read out pixel by pixel (CNN + Flatten), and the
same convolutions behind global average pooling (CNN + GAP). Without pooling only covariances of
equal pixels matter, so that the weights might as well not be shared; with pooling those of all
pairs of pixels do, 64 times as many (Novak et al. 2019; Arora et al. 2019). For each network one
symmetric Gram matrix of all images is computed, NNGP and NTK. Training and test sets are random
splits of it: from 50 images on, the last 500 of a permutation being tested. Targets are centred
one-hot labels; the prediction is the mean of the Gaussian process with that kernel and a noise of
1e-3 of its mean diagonal, not tuned; the largest output wins.

No order between the three is claimed. Shown are means over splits with their standard deviations,
and differences to FC on the same splits. Splits share images, so a standard deviation over splits
is the scatter of one split, not the error of the mean.

The claims are exact identities in float64 (``_cnn_kernels_networks``): 1 x 1 filters with Flatten
or GAP against the fully connected kernel of single pixels, and cyclic shifts under circular
padding. Stated requirements on each Gram matrix as well: float32 within 1e-6 of float64 in units of
the diagonal, on some images, and a smallest eigenvalue of at least -1e-6 of the largest.

Limits. Averaging to 8 x 8 loses detail that convolutions could use; 28 x 28 with pooling would
take 150 times as long. One width of the hyperparameters, W_std^2 = 2 and b_std = 0.1.

Differs from the papers:
  1. MNIST averaged to 8 x 8, at most 500 training images; the papers use CIFAR-10.
  2. A fixed noise; the papers tune it or have none.
"""

import math
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np

from experiments import Claim
from experiments import _cnn_kernels_networks as networks
from experiments._networks import fingerprints, one_hot, source
from theorylab import predict

TITLE = "Convolutional kernels with and without pooling, on small digits"
PAPER = "Novak et al. (2019); Arora, Du, Hu, Li, Salakhutdinov and Wang (2019)"
BUDGET = 150
X64 = False


@dataclass(frozen=True)
class Config:
    """Sizes and seed.

    ``images``: of the Gram matrices. ``sizes``: of the training sets. ``tested``: images left for
    testing in each of ``splits`` random splits. ``layers``: hidden layers. ``noise``: over the mean
    diagonal. ``checked``: images on which float32 is compared with float64.
    """

    images: int = 1000
    sizes: tuple[int, ...] = (50, 100, 200, 500)
    tested: int = 500
    splits: int = 20
    layers: int = 3
    noise: float = 1e-3
    checked: int = 16
    seed: int = 0


PRESETS = {
    "smoke": Config(images=24, sizes=(6, 12), tested=12, splits=3, layers=2, checked=8),
    "quick": Config(),
    "paper": Config(images=2000, tested=1500, checked=32),
}


def datasets(config):
    """Return the fingerprint of the digits."""
    return fingerprints()


def run(config, progress):
    """Return accuracies over training sizes and splits, and what the claims need."""
    if max(config.sizes) + config.tested > config.images:
        raise ValueError(
            f"sizes and tested must fit into {config.images} images, got {max(config.sizes)} and "
            f"{config.tested}"
        )
    x, labels = networks.images(config.images)
    pairs = config.images**2 / 2
    seconds = {"fc": 2.0 + 3e-7 * pairs, "flatten": 3.0 + 1e-5 * pairs, "gap": 8.0 + 1e-4 * pairs}
    costs = {"identities": 12.0}
    for name in networks.NAMES:
        costs |= {f"{name}: kernel": seconds[name], f"{name}: precision": 5.0}
        costs[f"{name}: splits"] = 2.0 + 0.01 * config.splits * len(config.sizes)
    progress.plan(costs)
    exact = progress.stage("identities", partial(networks.identities, x))
    result = {f"identity_{name}": value for name, value in exact.items()} | {
        "sizes": np.asarray(config.sizes),
        "images": np.asarray(config.images),
        "tested": np.asarray(config.tested),
        "splits": np.asarray(config.splits),
        "layers": np.asarray(config.layers),
        "sample": x[:4, ..., 0],
        "data": np.asarray(source()),
    }
    for name in networks.NAMES:
        net = networks.network(name, config.layers)
        gram = progress.stage(
            f"{name}: kernel",
            lambda net=net: dict(zip(("nngp", "ntk"), net.kernel(x), strict=False)),
        )
        found = progress.stage(
            f"{name}: precision", partial(precision, net, x[: config.checked], gram)
        ) | progress.stage(f"{name}: splits", partial(accuracies, gram, labels, config))
        result |= {f"{name}_{field}": value for field, value in found.items()}
    return result


def precision(net, x, gram):
    """Return the largest error of a float32 Gram matrix on its first images, and its eigenvalue."""
    with jax.enable_x64(True):
        exact = net.kernel(np.asarray(x, np.float64))
    errors, smallest = [], []
    for field in ("nngp", "ntk"):
        wanted = np.asarray(getattr(exact, field))
        root = np.sqrt(np.diag(wanted))
        gap = np.abs(gram[field][: len(x), : len(x)] - wanted) / np.outer(root, root)
        values = np.linalg.eigvalsh(gram[field].astype(np.float64))
        errors.append(gap.max())
        smallest.append(values[0] / values[-1])
    return {"error": np.max(errors), "smallest": np.min(smallest)}


def accuracies(gram, labels, config):
    """Return {nngp, ntk}: accuracy on the test images, (sizes, splits)."""
    generator = np.random.default_rng(config.seed)
    orders = [generator.permutation(config.images) for _ in range(config.splits)]
    targets = one_hot(labels)
    found = {}
    for field in ("nngp", "ntk"):
        kernel = np.asarray(gram[field])
        noise = config.noise * np.diag(kernel).mean()

        def right(order, size, kernel=kernel, noise=noise):
            train, test = order[:size], order[-config.tested :]
            told = predict.posterior(
                kernel[np.ix_(train, train)], kernel[np.ix_(test, train)], None, targets[train],
                noise=noise,
            )  # fmt: skip
            if told.status != predict.Status.SUCCESS:
                name = predict.Status(int(told.status)).name
                raise ArithmeticError(f"the posterior of {size} images reports {name}")
            return np.mean(np.asarray(told.mean).argmax(axis=1) == labels[test])

        found[field] = np.array([[right(order, size) for order in orders] for size in config.sizes])
    return found


def claims(arrays):
    """Return the identities, and the stated accuracy of each Gram matrix."""
    always = ("smoke", "quick", "paper")
    found = []
    for words, field in (
        ("1 x 1 filters, Flatten = mean of the pixels' FC kernel", "flatten"),
        ("1 x 1 filters, GAP = mean over pairs of pixels of the FC kernel", "gap"),
        ("circular 3 x 3 filters, GAP: kernel of shifted images is the same", "shift"),
    ):
        origin = "derived in the docstring; 1e-12 allows rounding"
        value = arrays[f"identity_{field}"]
        found.append(Claim(words, value, None, 0.0, 1e-12, origin, always, "equal"))
    for name, words in WORDS.items():
        for what, field, low, high in (
            ("error in float32", "error", 0.0, 1e-6),
            ("smallest eigenvalue over the largest", "smallest", -1e-6, math.inf),
        ):
            found.append(
                Claim(f"{words}: {what}", arrays[f"{name}_{field}"], None, low, high,
                      "stated requirement", always),
            )  # fmt: skip
    return found


WORDS = {"fc": "FC", "flatten": "CNN + Flatten", "gap": "CNN + GAP"}


def figure(arrays):
    """Draw accuracies over training sizes, and differences to the fully connected kernel."""
    from experiments import _cnn_kernels_figure

    return _cnn_kernels_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with data and sizes."""
    from experiments import _cnn_kernels_figure

    return _cnn_kernels_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _cnn_kernels_figure

    return _cnn_kernels_figure.alt(arrays)
