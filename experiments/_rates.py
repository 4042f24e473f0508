"""Powers of the width: fitted slopes, and their error by resampling networks.

A rate is the slope of a least-squares line through log(statistic) against log(width). Networks are
drawn anew at each width, so the bootstrap resamples them at each width independently.
"""

from collections.abc import Callable, Sequence

import numpy as np

ROUNDS = 500  # the error of a standard error over 500 rounds is 3 %


def slope(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> float:
    """Return the slope of log y against log x; NaN for fewer than two points.

    Examples
    --------
    >>> round(slope([1, 2, 4], [8, 4, 2]), 12)
    -1.0
    """
    return line(x, y)[0]


def line(x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return (slope, constant) with y = constant * x**slope in the mean of the logarithms."""
    log_x, log_y = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    centred = log_x - log_x.mean()
    if len(log_x) < 2 or not centred.any():
        return float("nan"), float("nan")
    rate = float(centred @ log_y / (centred @ centred))
    return rate, float(np.exp(log_y.mean() - rate * log_x.mean()))


def standard_error(
    statistic: Callable[[list[np.ndarray]], float],
    samples: Sequence[np.ndarray],
    *,
    rounds: int = ROUNDS,
) -> float:
    """Return the bootstrap standard error of a statistic of networks at several widths.

    Parameters
    ----------
    statistic
        Takes a list like `samples`.
    samples
        One array per width; axis 0 runs over independent networks and is resampled.
    rounds
        Number of resamplings; their generator is seeded, so the error is the same each time.

    Examples
    --------
    >>> error = standard_error(lambda s: s[0].mean(), [np.array([0.0, 1.0] * 50)])
    >>> round(error, 2)  # sqrt(1/4 / 100)
    0.05
    """
    generator = np.random.default_rng(0)
    values = []
    for _ in range(rounds):
        drawn = [sample[generator.integers(0, len(sample), len(sample))] for sample in samples]
        values.append(statistic(drawn))
    return float(np.std(values))
