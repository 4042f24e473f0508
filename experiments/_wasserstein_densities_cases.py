r"""Pairs of densities on grids whose transport cost is known exactly, and what `solve` makes of it.

Masses are values of smooth functions on a lattice over [-8, 8], or pixels, divided by their sum;
"exact" is the cost between these masses, not between functions that they came from.

- ``line_w2``: Gaussians on a line. Quantiles.
- ``line_w1``: a sum of two Gaussians, and a Laplace density. Quantiles.
- ``plane_w2``: products of densities on lines, squared distance. Sums of squared distances of
  products are sums of those of the factors: the product of optimal plans is a plan, and every
  plan's projections are plans of the factors.
- ``plane_w1``: a digit, and the same digit s pixels further down and t to the right; Manhattan
  distance. The shift itself costs s + t, and no plan can cost less: the function i + j changes by
  no more than the distance, and its mean grows by s + t.

Differs from the paper / reference:
  1. The paper's densities are not known to us; these were chosen to have exact values.
  2. Sizes and places were chosen so that where a closed form is compared (``line_w2``,
     ``plane_gaussians``) Gaussians are below 1e-11 of their peaks at the ends of the lattice, and
     so that a digit fits on the canvas twice.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from experiments import _wasserstein_densities_exact as exact
from theorylab import data, transport

NAMES = {
    "line_w2": "line, squared",
    "line_w1": "line, absolute",
    "plane_w2": "plane, squared",
    "plane_w1": "plane, Manhattan",
}
EXTENT = 16.0
MEANS, DEVIATIONS = (-0.75, 0.75), (0.5, 1.0)
CANVAS, CORNER, SHIFT = 32, (2, 3), (8, 11)
SHIFTED = 3  # the training image that is shifted, a three
PLANE_MEANS = np.array([[-0.5, 0.25], [0.25, -0.5]])
COVARIANCES = np.array([[[0.9, 0.5], [0.5, 0.8]], [[0.7, -0.3], [-0.3, 1.0]]])


class Pair(NamedTuple):
    """Two masses on a grid, and the unregularised cost between them."""

    grid: transport.Grid
    a: np.ndarray
    b: np.ndarray
    exact: float


def lattice(points: int) -> tuple[np.ndarray, float]:
    """Return points (n,) over the extent, about 0, and their spacing."""
    spacing = EXTENT / points
    return (np.arange(points) - (points - 1) / 2) * spacing, spacing


def gaussian(x: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    """Return masses at points, with sum 1."""
    return normalised(np.exp(-(((x - mean) / deviation) ** 2) / 2))


def normalised(mass: np.ndarray) -> np.ndarray:
    """Return masses divided by their sum."""
    return mass / mass.sum()


def line_w2(points: int) -> Pair:
    """Return the Gaussians on a line."""
    x, spacing = lattice(points)
    a, b = (gaussian(x, m, s) for m, s in zip(MEANS, DEVIATIONS, strict=True))
    grid = transport.Grid((points,), 2, spacing)
    return Pair(grid, a, b, exact.on_line(a, b, spacing, 2))


def line_w1(points: int) -> Pair:
    """Return two humps and a peak on a line."""
    x, spacing = lattice(points)
    a = 0.6 * gaussian(x, -3.0, 0.6) + 0.4 * gaussian(x, 2.5, 0.9)
    b = normalised(np.exp(-np.abs(x - 0.5)))
    return Pair(transport.Grid((points,), 1, spacing), a, b, exact.on_line(a, b, spacing, 1))


def plane_w2(points: int) -> Pair:
    """Return two humps side by side, and two on top of each other."""
    x, spacing = lattice(points)
    apart = (gaussian(x, -2.5, 0.9) + gaussian(x, 2.5, 0.9)) / 2
    one = gaussian(x, 0.0, 1.0)
    cost = exact.on_line(one, apart, spacing, 2) + exact.on_line(apart, one, spacing, 2)
    grid = transport.Grid((points, points), 2, spacing)
    return Pair(grid, np.outer(one, apart), np.outer(apart, one), cost)


def plane_w1() -> Pair:
    """Return a digit at two places."""
    image = np.asarray(data.mnist().x_train[SHIFTED], float)
    rows, columns = np.flatnonzero(image.any(1)), np.flatnonzero(image.any(0))
    digit = normalised(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    masses = []
    for down, right in (CORNER, np.add(CORNER, SHIFT)):
        canvas = np.zeros((CANVAS, CANVAS))
        canvas[down : down + digit.shape[0], right : right + digit.shape[1]] = digit
        masses.append(canvas)
    return Pair(transport.Grid((CANVAS, CANVAS), 1), masses[0], masses[1], float(sum(SHIFT)))


def plane_gaussians(points: int) -> Pair:
    """Return correlated Gaussians; what is exact of them is in `exact.gaussians`."""
    x, spacing = lattice(points)
    where = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1)
    masses = []
    for mean, covariance in zip(PLANE_MEANS, COVARIANCES, strict=True):
        apart = where - mean
        inverse = np.linalg.inv(covariance)
        masses.append(normalised(np.exp(-np.einsum("...i,ij,...j", apart, inverse, apart) / 2)))
    grid = transport.Grid((points, points), 2, spacing)
    return Pair(grid, masses[0], masses[1], float("nan"))


def measured(pair: Pair, exponents: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return costs by epsilon = 2^exponent, (n,) each, with the exact one and what bounds them.

    ``value``, ``sharp``, ``rounded``, ``debiased``; ``error``: the largest marginal error of the
    three problems; ``exact``; ``entropies`` (2,), of both masses; ``largest``, the largest cost.
    """
    found = values(pair, exponents, also=_costs)
    reach = (np.subtract(pair.grid.shape, 1) * np.asarray(pair.grid.spacing)) ** pair.grid.p
    return found | {
        "exact": np.asarray(pair.exact),
        "entropies": np.asarray([exact.entropy(pair.a), exact.entropy(pair.b)]),
        "largest": np.asarray(reach.sum()),
        "a": pair.a,
        "b": pair.b,
    }


def _costs(solution: transport.Solution) -> dict[str, jax.Array]:
    return {"sharp": solution.sharp_cost(), "rounded": solution.round()[1]}


def values(
    pair: Pair,
    exponents: tuple[int, ...],
    also: Callable[[transport.Solution], dict[str, jax.Array]] = lambda _: {},
) -> dict[str, np.ndarray]:
    """Return ``epsilon``, ``value``, ``debiased``, ``error``, (n,) each, and those of `also`."""
    rows = []
    for exponent in sorted(exponents):
        epsilon = 2.0**exponent
        between, *own = (
            transport.solve(pair.grid, a, b, epsilon=epsilon)
            for a, b in ((pair.a, pair.b), (pair.a, pair.a), (pair.b, pair.b))
        )
        bias = sum(float(other.value) for other in own) / 2
        errors = [float(each.marginal_error) for each in (between, *own)]
        rows.append(
            {"epsilon": epsilon, "value": float(between.value), "error": np.max(errors)}
            | {"debiased": float(between.value) - bias}
            | {name: float(cost) for name, cost in also(between).items()}
        )
    return {name: np.asarray([row[name] for row in rows]) for name in rows[0]}
