"""Pictures of the checks as matplotlib figures (the extra ``experiments``)."""

from typing import Any, Literal

import numpy as np

from theorylab.parametrization import _coord_check, _lr_sweep, _slopes


def _figure(columns: int) -> tuple[Any, Any]:
    """A figure that no global state knows, with its axes."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need matplotlib: pip install 'theorylab[experiments]'") from error
    figure = Figure(figsize=(3.4 * columns, 3.0), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _shown(values: np.ndarray) -> np.ndarray:
    """What an axis of logarithms can show; NaN elsewhere."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _logarithmic(axes: Any, abscissae: np.ndarray, values: Any) -> None:
    """Logarithmic axes. Without any value matplotlib could not draw the second."""
    axes.set(xscale="log", xlim=(abscissae[0] / 1.2, abscissae[-1] * 1.2))
    if np.isfinite(_shown(np.asarray(values))).any():
        axes.set_yscale("log")


def coord_check(
    table: _coord_check.Table, *, what: Literal["change", "update", "size", "mean_abs"] = "change"
) -> Any:
    """Activations against the width, one panel for each step and one line for each activation.

    Parameters
    ----------
    table
        Of :func:`~theorylab.parametrization.coord_check`.
    what
        ``"change"``, ``"update"``, ``"size"`` or ``"mean_abs"``.

    Returns
    -------
    matplotlib.figure.Figure
        Means over seeds with their range; slopes from the second width on are in the legend, of
        two widths from the first. What is not positive and finite is left out.

    Raises
    ------
    ImportError
        Without matplotlib.
    ValueError
        For an unknown ``what``.
    """
    steps = sorted({1, table.size.shape[2] - 1})
    if what not in _slopes.WHAT:
        raise ValueError(f"what must be one of {_slopes.WHAT}, got {what!r}")
    first = 1 if len(table.widths) > 2 else 0
    slopes = [np.full(len(table.names), np.nan) for _ in steps]
    if len(table.widths) > 1:
        slopes = [_slopes.slopes(table, what=what, step=step, first=first).slope for step in steps]
    values = np.asarray(getattr(table, what))
    figure, panels = _figure(len(steps))
    for axes, step, slope in zip(panels, steps, slopes, strict=True):
        for k, name in enumerate(table.names):
            runs = values[:, :, step, k]
            (line,) = axes.plot(
                table.widths, _shown(runs.mean(1)), "o-", markersize=3,
                label=f"{name}: {slope[k]:+.2f}" if np.isfinite(slope[k]) else f"{name}: none",
            )  # fmt: skip
            low, high = _shown(runs.min(1)), _shown(runs.max(1))
            axes.fill_between(table.widths, low, high, color=line.get_color(), alpha=0.2, lw=0)
        _logarithmic(axes, table.widths, values[:, :, step].mean(1))
        axes.set_xticks(table.widths, [str(width) for width in table.widths])
        axes.set_xticks([], minor=True)
        axes.set(xlabel="width", title=f"step {step}")
        axes.legend(title="slope", fontsize="small")
    panels[0].set_ylabel(what.replace("_", " "))
    return figure


def lr_sweep(sweep: _lr_sweep.Sweep) -> Any:
    """Losses against the learning rate, one line for each width; what diverged is left out.

    Parameters
    ----------
    sweep
        Of :func:`~theorylab.parametrization.lr_sweep`.

    Returns
    -------
    matplotlib.figure.Figure
        Means over seeds; the best rates as vertical lines, the trivial loss as a horizontal one.

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    figure, (axes,) = _figure(1)
    means = np.where(sweep.diverged.any(2), np.nan, sweep.loss.mean(2))
    for width, row, best in zip(sweep.widths, means, sweep.best_rate, strict=True):
        (line,) = axes.plot(sweep.rates, _shown(row), "o-", markersize=3, label=f"{width}")
        if np.isfinite(best):
            axes.axvline(best, color=line.get_color(), lw=0.8, ls=":")
    if np.isfinite(sweep.trivial):
        axes.axhline(sweep.trivial, color="0.5", lw=0.8)
    _logarithmic(axes, sweep.rates, [*means.ravel(), sweep.trivial])
    axes.set(xlabel="learning rate", ylabel="training loss")
    axes.legend(title="width", fontsize="small")
    return figure
