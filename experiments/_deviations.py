r"""How far means of networks are from theory: root mean squares over test points and outputs.

Outputs of networks have axes (networks, records, points, outputs), theory's mean the last three.
All deviations are relative to ``scale``, the root mean square of the targets.

For a Gaussian ensemble with covariance C among m points, the same in c independent outputs, the
mean of N networks deviates by :math:`\sqrt{\mathrm{tr}\, C / (N m)}` in root mean square. The
square has :math:`\nu = c\, (\mathrm{tr}\, C)^2 / \mathrm{tr}\, C^2` degrees of freedom, so that
the logarithm of the deviation of one such mean has standard deviation about
:math:`1/\sqrt{2\nu}`.
"""

import numpy as np


def worst(f: np.ndarray, mean: np.ndarray, scale: float) -> float:
    """Return the deviation of the mean over networks, the largest over records.

    Examples
    --------
    >>> f = np.array([[[[1.0]], [[0.0]]], [[[0.0]], [[0.0]]]])  # 2 networks, 2 records
    >>> float(worst(f, np.zeros((2, 1, 1)), 1.0))
    0.5
    """
    gap = f.mean(axis=0, dtype=np.float64) - mean
    return np.sqrt((gap**2).mean(axis=(-2, -1)).max()) / scale


def singles(f: np.ndarray, mean: np.ndarray, scale: float) -> float:
    """Return the root mean square deviation of single networks, the largest over records."""
    gaps = f.astype(np.float64) - mean
    return np.sqrt((gaps**2).mean(axis=(0, -2, -1)).max()) / scale


def at_the_end(f: np.ndarray, mean: np.ndarray, scale: float, count: int) -> float:
    """Return the deviation of the mean of `count` networks at the last record.

    It is the root mean square over all disjoint groups of `count` networks that there are.

    Raises
    ------
    ValueError
        There are fewer networks than `count`.

    Examples
    --------
    >>> f = np.array([1.0, -1.0, 1.0, 1.0]).reshape(4, 1, 1, 1)
    >>> float(at_the_end(f, np.zeros((1, 1, 1)), 1.0, 1))
    1.0
    """
    if not 1 <= count <= len(f):
        raise ValueError(f"count must be between 1 and {len(f)}, got {count}")
    last = f[: len(f) // count * count, -1].astype(np.float64)
    groups = last.reshape(-1, count, *last.shape[1:]).mean(axis=1)
    return np.sqrt(((groups - mean[-1]) ** 2).mean()) / scale


def counts(networks: int) -> list[int]:
    """Return 1, 2, 4, ... up to a number of networks."""
    return [2**k for k in range(networks.bit_length())]


def band(cov: np.ndarray, scale: float) -> float:
    """Return what theory says of a single network's deviation at the last record."""
    return np.sqrt(np.trace(cov[-1]) / len(cov[-1])) / scale


def degrees_of_freedom(cov: np.ndarray, outputs: int) -> float:
    """Return the degrees of freedom of the mean square at the last record."""
    last = np.asarray(cov[-1], np.float64)
    return outputs * np.trace(last) ** 2 / (last**2).sum()
