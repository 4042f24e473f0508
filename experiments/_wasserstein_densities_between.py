r"""Between two digits, and between two Gaussians: barycenters, blurred and debiased.

Two Gaussians of variance :math:`s^2` in each coordinate, weights w. With a Gaussian of variance
:math:`t^2` and covariance c with it, the blurred objective is, for each coordinate and up to means,

.. math::

    \min_{c,\, t} \; s^2 + t^2 - 2 c - \tfrac{\varepsilon}{2} \log (s^2 t^2 - c^2),

since the entropy here is that of the plan alone. Its derivatives vanish where
:math:`c = s^2,\; t^2 = s^2 + \varepsilon / 2`. The debiased objective takes half of the cost of
the barycenter to itself away; at :math:`t = s` the derivatives of both parts agree by symmetry, so
:math:`t^2 = s^2`. Both have the mean of the means.

Sums over a lattice of spacing 1 stand for integrals up to the factor
:math:`1 + 2 e^{-2 \pi^2 v}`, v the smallest variance of a plan given one of its points. It is that
of the blurred plan given the barycenter, :math:`s^2 (1 - s^2 / t^2) = 0.95`: an error of 2e-8. What
lies beyond the border is below 1e-9 of the variance (6.9 deviations of the blurred barycenter).

Differs from the paper / reference:
  1. Janati, Cuturi & Gramfort (2020), "Debiased Sinkhorn barycenters", theorem 3: the same for
     Gaussians of different variances; the derivation here needs equal ones only.
  2. Images 3 and 8 of the training set, a three and an eight, for their shapes. The Gaussians:
     variance 2.56 and epsilon = 3 square pixels, so that both spread and fit on the image.
"""

import numpy as np

from experiments._wasserstein_densities_cases import normalised
from theorylab import data, transport

SIZE = 28
PAIR = (3, 8)
VARIANCE, EPSILON, CENTRE = 2.56, 3.0, (2.0, 1.0)
TOLERANCE = {"blurred": 1e-5, "debiased": 1e-3}  # of images
FINE = 1e-7, 1e-6  # of Gaussians: blurred, debiased
KINDS = ("blurred", "debiased")


def digits() -> np.ndarray:
    """Return the two images, (2, 28, 28), each with sum 1."""
    images = np.asarray(data.mnist().x_train[list(PAIR)], float)
    return np.stack([normalised(image) for image in images])


def between(masses: np.ndarray, share: float, epsilon: float, kind: str, tol: float) -> np.ndarray:
    """Return the barycenter with the weight `share` of the second image, (28, 28).

    Raises
    ------
    ArithmeticError
        It was not reached.
    """
    found = transport.barycenter(
        transport.Grid((SIZE, SIZE)),
        masses,
        np.array([1 - share, share]),
        epsilon=epsilon,
        debiased=kind == "debiased",
        tol=tol,
    )
    if not found.converged:
        raise ArithmeticError(f"barycenter reports {transport.Status(int(found.status)).name}")
    return np.asarray(found.mass)


def row(epsilon: float, columns: int, kind: str) -> dict[str, np.ndarray]:
    """Return images from one digit to the other, (columns, 28, 28)."""
    shares = np.linspace(0, 1, columns)
    masses = digits()
    images = [between(masses, share, epsilon, kind, TOLERANCE[kind]) for share in shares]
    return {"images": np.stack(images)}


def gaussians() -> dict[str, np.ndarray]:
    """Return how far Gaussians' barycenters are from what they must be.

    ``blurred``, ``debiased``: variance along the columns, relative error; ``itself``: L1 distance
    of the debiased barycenter with all weight on the first, to the first.
    """
    line = np.arange(SIZE) - (SIZE - 1) / 2
    down, right = np.meshgrid(line, line, indexing="ij")
    masses = np.stack(
        [
            normalised(
                np.exp(-((down - c * CENTRE[1]) ** 2 + (right - c * CENTRE[0]) ** 2) / 2 / VARIANCE)
            )
            for c in (-1, 1)
        ]
    )
    found = {}
    truths = VARIANCE + EPSILON / 2, VARIANCE
    for kind, truth, tol in zip(KINDS, truths, FINE, strict=True):
        mass = between(masses, 0.5, EPSILON, kind, tol)
        mean = np.sum(mass * right)
        found[kind] = np.asarray(np.sum(mass * (right - mean) ** 2) / truth - 1)
    alone = between(masses, 0.0, EPSILON, "debiased", FINE[1])
    return found | {"itself": np.abs(alone - masses[0]).sum()}
