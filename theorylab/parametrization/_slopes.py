"""Slopes of a coordinate check: how activations and their changes grow with the width."""

from typing import Literal, NamedTuple

import numpy as np

from theorylab.parametrization._coord_check import Table

WHAT = ("change", "update", "size", "mean_abs")


class Slopes(NamedTuple):
    """Slopes of logarithms against the logarithm of the width.

    Parameters
    ----------
    names
        The K activations.
    slope, stderr
        (K,): least squares, and its standard error (NaN from two widths).
    """

    names: tuple[str, ...]
    slope: np.ndarray
    stderr: np.ndarray


def slopes(
    table: Table,
    *,
    what: Literal["change", "update", "size", "mean_abs"] = "change",
    step: int = -1,
    first: int = 1,
) -> Slopes:
    r"""Slopes of a coordinate check, :math:`d \log |\cdot| / d \log n`, for every activation.

    Parameters
    ----------
    table
        Of :func:`coord_check`.
    what
        Which of its arrays.
    step
        After how many steps; -1 for the last.
    first
        Index of the width from which to fit: the smallest widths are not asymptotic.

    Returns
    -------
    Slopes
        Of the mean over seeds. NaN where a mean is zero or not finite (the output of a read-out
        that begins at zero has no size at the start).

    Raises
    ------
    ValueError
        For an unknown ``what``, a step that was not recorded, fewer than two widths to fit.
    TypeError
        If ``step`` or ``first`` is no integer.

    Examples
    --------
    >>> ones = np.ones((3, 1, 2, 1))
    >>> grows = ones * np.array([1.0, 2.0, 4.0])[:, None, None, None]
    >>> table = Table(np.array([8, 16, 32]), ("h",), ones, ones, grows, ones, ones)
    >>> slopes(table).slope.round(6).tolist()
    [1.0]
    """
    if what not in WHAT:
        raise ValueError(f"what must be one of {WHAT}, got {what!r}")
    values = np.asarray(getattr(table, what), np.float64)
    last = values.shape[2] - 1
    for name, value in (("step", step), ("first", first)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise TypeError(f"{name} must be an integer, got {value!r}")
    if not -last - 1 <= step <= last:
        raise ValueError(f"step must be at most {last}, the number of steps, got {step}")
    widths = np.asarray(table.widths)[first:]
    if first < 0 or len(widths) < 2:
        raise ValueError(
            f"first must leave two widths or more to fit, got first={first} of "
            f"{len(table.widths)} widths"
        )
    means = values[first:, :, step].mean(1)
    fits = [_fit(np.log(widths), means[:, k]) for k in range(len(table.names))]
    return Slopes(table.names, np.array([f[0] for f in fits]), np.array([f[1] for f in fits]))


def _fit(x: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Slope and its standard error."""
    if not (np.isfinite(values).all() and (values > 0).all()):
        return np.nan, np.nan
    y = np.log(values)
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    if len(x) < 3:
        return slope, np.nan
    rest = y - y.mean() - slope * centred
    return slope, float(np.sqrt(rest @ rest / (len(x) - 2) / (centred @ centred)))
