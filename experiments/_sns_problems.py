r"""The transport problems of the Sinkhorn-Newton-Sparse figures, costs scaled to a maximum of 1.

* *assignment*: n x n costs from U[0, 1], uniform masses 1/n. Where epsilon is small its plan is a
  permutation.
* *mixtures*: squared distances between two clouds of n points in the plane, each from a mixture of
  three Gaussians; uniform masses.
* *squares* and *distances*: two MNIST training images, drawn at random, as masses of their pixels,
  with :math:`|x - y|_2^2` or :math:`|x - y|_1` between pixels for a cost. A *background* is added
  to every pixel before an image is scaled to mass 1, so that every pixel has mass; with a
  background of 0 most have none. Both costs see the same images in a draw.
"""

from typing import NamedTuple

import numpy as np

from theorylab import data

WHOLE = 28  # pixels along the side of an image
SPREAD, WIDTH = 2.0, 0.5  # standard deviations of the centres of a mixture, and around each
POWERS = {"squares": 2, "distances": 1}


class Problem(NamedTuple):
    """Costs (n, n), at most 1, and masses (n,), (n,) that sum to 1; float64."""

    cost: np.ndarray
    a: np.ndarray
    b: np.ndarray


def problem(family: str, size: int, seed: int, background: float = 0.0) -> Problem:
    """Return a draw of a family.

    Parameters
    ----------
    family
        "assignment", "mixtures", "squares" or "distances".
    size
        Points on each side; for images the pixels along the side of the square that is cut out of
        their middle, 28 for all of it.
    seed
        Of the draw.
    background
        Added to every pixel, whose values go from 0 to 1. Images alone.

    Raises
    ------
    ValueError
        An unknown family, or an image larger than there is.

    Examples
    --------
    >>> drawn = problem("squares", 28, 0, background=0.01)
    >>> drawn.cost.shape, float(drawn.cost.max()), round(float(drawn.a.sum()), 12)
    ((784, 784), 1.0, 1.0)
    """
    generator = np.random.default_rng(seed)
    if family == "assignment":
        return _uniform(generator.uniform(size=(size, size)))
    if family == "mixtures":
        x, y = _cloud(generator, size), _cloud(generator, size)
        return _uniform(((x[:, None] - y[None]) ** 2).sum(axis=-1))
    if family not in POWERS:
        names = ", ".join(repr(name) for name in ("assignment", "mixtures", *POWERS))
        raise ValueError(f"family must be one of {names}, got {family!r}")
    if not 1 <= size <= WHOLE:
        raise ValueError(f"size must be between 1 and {WHOLE} for images, got {size}")
    images = data.mnist(subset="5k").x_train
    pair = images[generator.choice(len(images), 2, replace=False)]
    first = (WHOLE - size) // 2
    cut = slice(first, first + size)
    masses = pair[:, cut, cut].reshape(2, -1).astype(np.float64) + background
    a, b = masses / masses.sum(axis=1, keepdims=True)
    pixels = np.stack(np.meshgrid(np.arange(size), np.arange(size)), axis=-1).reshape(-1, 2)
    apart = np.abs(pixels[:, None] - pixels[None]).astype(np.float64)
    cost = (apart ** POWERS[family]).sum(axis=-1)
    return Problem(cost / cost.max(), a, b)


def fingerprints() -> dict[str, str]:
    """Return {name: fingerprint} of the images that `problem` reads."""
    used = data.mnist(subset="5k")
    return {used.name: used.fingerprint}


def source() -> str:
    """Return the name of the images with the first digits of their fingerprint, for captions."""
    return "; ".join(f"{name}, SHA-256 {sha[:12]}" for name, sha in fingerprints().items())


def _uniform(cost: np.ndarray) -> Problem:
    mass = np.full(len(cost), 1 / len(cost))
    return Problem(cost / cost.max(), mass, mass)


def _cloud(generator: np.random.Generator, size: int) -> np.ndarray:
    centres = SPREAD * generator.normal(size=(3, 2))
    return centres[generator.integers(0, 3, size)] + WIDTH * generator.normal(size=(size, 2))
