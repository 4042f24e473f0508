"""The figure of `sns_convergence`, its caption and its words, from the stored arrays alone."""

import numpy as np

from experiments import _style

TITLES = {
    "assignment": "(a) random assignment",
    "squares": "(b) MNIST, squared L2",
    "distances": "(c) MNIST, L1",
}
DASHED = (0, (3, 1.2))
ITERATIONS, SECONDS = (1, 2e5), (1e-3, 40)
BELOW = 0.02  # of the tolerance: where the axis ends
# Case, run, colour, line; words, where they stand in the panel (from 0 to 1), the error at which a
# line leads from them to the curve.
CURVES = (
    ("assignment", "sinkhorn", _style.ORANGE, "-", "Sinkhorn", (0.62, 0.56), None),
    ("assignment", "sns2", _style.GREEN, "-", "SNS, 2 a row", (0.345, 0.30), None),
    ("assignment", "sns4", _style.PINK, "-", "SNS, 4 a row", (0.27, 0.07), None),
    ("assignment", "newton", _style.BLUE, "-", "Newton", (0.02, 0.42), None),
    ("squares", "sinkhorn", _style.ORANGE, "-", "Sinkhorn", (0.61, 0.56), None),
    ("squares", "sns2", _style.GREEN, "-", "SNS, 2 a row: stalls", (0.36, 0.93), None),
    ("squares", "sns15", _style.PINK, "-", "SNS, 15 a row", (0.30, 0.07), None),
    (
        "squares_bare",
        "sns2",
        _style.GREEN,
        DASHED,
        "2 a row,\nwithout\nbackground",
        (0.66, 0.25),
        1e-6,
    ),
    ("squares", "newton", _style.BLUE, "-", "Newton", (0.02, 0.42), None),
    ("distances", "sinkhorn", _style.ORANGE, "-", "Sinkhorn", (0.75, 0.56), None),
    ("distances", "sns15", _style.PINK, "-", "SNS, 15 a row", (0.555, 0.07), None),
    ("distances_bare", "sns15", _style.PINK, DASHED, "", (0, 0), None),
    ("distances", "newton", _style.BLUE, "-", "Newton", (0.09, 0.42), None),
)


def figure(arrays):
    """Draw errors against iterations and against seconds, one column for each case."""
    fig, rows = _style.subplots(2, 3, width="wide", aspect=0.68, sharey=True, sharex="row")
    for column, (case, title) in enumerate(TITLES.items()):
        above, below = rows[0][column], rows[1][column]
        above.set_title(title)
        for axes, words, ends in (
            (above, "iterations", ITERATIONS),
            (below, "seconds of processor time", SECONDS),
        ):
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlim(ends)
            axes.set_ylim(BELOW * float(arrays["tol"]), 4)
            axes.set_xlabel(words)
            axes.axhline(float(arrays["tol"]), color=_style.BLACK, linewidth=0.8, linestyle=":")
        for curve in CURVES:
            if curve[0].removesuffix("_bare") == case and f"{curve[0]}_{curve[1]}_steps" in arrays:
                _draw(above, below, arrays, curve)
    for axes in rows[:, 0]:
        axes.set_ylabel("marginal error (L1)")
    return fig


def _draw(above, below, arrays, curve):
    """Draw all draws against iterations, faint, and the hardest one against both."""
    case, run, colour, line, words, at, level = curve
    hardest = int(arrays[f"{case.removesuffix('_bare')}_hardest"])
    x, y = arrays[f"{case}_{run}_curve_x"], arrays[f"{case}_{run}_curve_y"]
    failed = arrays[f"{case}_{run}_status"] != 0
    for draw in range(len(x)):
        bold = draw == hardest
        style = {"linewidth": 1.3, "zorder": 3} if bold else {"linewidth": 0.5, "alpha": 0.45}
        above.plot(x[draw], y[draw], color=colour, linestyle=line, **style)
        if failed[draw]:
            last = np.flatnonzero(np.isfinite(y[draw]))[-1]
            above.plot(
                x[draw][last], y[draw][last], "x", color=colour, markeredgewidth=1.2,
                markersize=5 if bold else 3.5,
            )  # fmt: skip
    if f"{case}_{run}_clock_x" in arrays:
        seconds, errors = arrays[f"{case}_{run}_clock_x"], arrays[f"{case}_{run}_clock_y"]
        marker = "o" if run != "sinkhorn" else None
        below.plot(seconds, errors, color=colour, linestyle=line, marker=marker, markersize=2.8)
        if failed[hardest]:
            below.plot(
                seconds[-1], errors[-1], "x", color=colour, markeredgewidth=1.2, markersize=6
            )
    _label(above, x[hardest], y[hardest], colour, words, at, level)


def _label(axes, x, y, colour, words, at, level):
    """Write the words, with a line to where the curve first falls to a level, if one is given."""
    axes.text(*at, words, transform=axes.transAxes, color=colour, fontsize=7.5, linespacing=0.95)
    below = np.flatnonzero(np.isfinite(y) & (y <= (level or 0)))
    if below.size:
        axes.annotate(
            "", (x[below[0]], y[below[0]]), xytext=(at[0] - 0.01, at[1] + 0.14),
            textcoords=axes.transAxes, arrowprops={
                "arrowstyle": "-", "color": colour, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 1},
        )  # fmt: skip


def caption(arrays):
    """Return what is drawn, with data and sizes."""
    points, side = int(arrays["points"]), int(arrays["side"])
    return (
        "Marginal error (L1, both marginals) of Sinkhorn's method, Sinkhorn-Newton-Sparse (SNS) "
        "with 2, 4 or 15 entries kept per row of the plan, and our Newton's method, at epsilon = "
        f"1/{1 / float(arrays['epsilon']):.0f} of the largest cost, in float64. (a) Costs from "
        f"U[0, 1], n = {points}. (b), (c) Pairs of images ({arrays['data']}) of {side} x {side} "
        f"pixels with a background of {float(arrays['background']):g} added; dashed: without. "
        f"{int(arrays['seeds'])} draws each; bold: the one that takes Sinkhorn's method longest, "
        f"below it alone. SNS makes {int(arrays['sweeps'])} sweeps first, and "
        f"{int(arrays['distance_sweeps'])} in (c). Crosses: stalls. Dotted: the tolerance, "
        f"{float(arrays['tol']):g}. Iterations are sweeps and Newton steps; for Newton's method "
        "passes over the costs, those at larger epsilon among them, whose errors are not shown. "
        "Below: processor time of all threads; circles are whole solves to rising accuracy, each "
        "timed, and those of Sinkhorn's method are one solve's, spread over its sweeps, of which "
        "20 share one kernel."
    )


def alt(arrays):
    """Return the figure in words."""

    def many(name):
        """Return the range of iterations of the draws that converged."""
        good = arrays[f"{name}_status"] == 0
        steps = arrays[f"{name}_passes" if name.endswith("newton") else f"{name}_steps"][good]
        if not steps.size:
            return f"no end (0 of {good.size} draws converge)"
        words = f"{steps.min()} to {steps.max()}"
        return words if good.all() else f"{words} ({good.sum()} of {good.size} draws converge)"

    def taken(name):
        return f"{float(arrays[f'{name}_clock_x'][-1]):.2g} s"

    sparse = {"assignment": "sns2", "squares": "sns15", "distances": "sns15"}
    parts = [
        f"{TITLES[case][4:]}: Sinkhorn {many(f'{case}_sinkhorn')} iterations, SNS with "
        f"{run[3:]} entries a row {many(f'{case}_{run}')}, Newton {many(f'{case}_newton')} passes; "
        f"on the hardest draw {taken(f'{case}_sinkhorn')}, {taken(f'{case}_{run}')} and "
        f"{taken(f'{case}_newton')}"
        for case, run in sparse.items()
    ]
    return (
        "Six panels with logarithmic axes: marginal error against iterations above and seconds "
        "below, for three problems. " + ". ".join(parts) + ". With 2 entries a row SNS on squared "
        f"L2: {many('squares_sns2')}. Newton's curves fall almost straight down."
    )
