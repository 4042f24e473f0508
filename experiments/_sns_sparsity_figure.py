"""The figure of `sns_sparsity`, its caption and its words, from the stored arrays alone."""

import numpy as np

from experiments import _style

WORDS = {
    "assignment": "random assignment",
    "mixtures": "Gaussian mixtures",
    "squares": "MNIST, squared L2",
    "distances": "MNIST, L1",
}
SHADES = ("#74B9E4", "#2E8FCC", "#005F96", "#00263D")  # epsilon from large to small
FASTEST, SLOWEST = 0.1, 1000.0  # steps a digit: ends of the colours


def figure(arrays):
    """Draw entries along the way above, and rates and outcomes by epsilon and density below."""
    fig, rows = _style.subplots(2, 4, width="wide", aspect=0.66, sharey="row")
    for column, (family, words) in enumerate(WORDS.items()):
        _entries(rows[0][column], arrays, column, family)
        rows[0][column].set_title(f"({'abcd'[column]}) {words}", fontsize=8)
        mesh = _map(rows[1][column], arrays, column)
    rows[0][0].set_ylabel("entries a row for\n1 \N{MINUS SIGN} $10^{-5}$ of the mass")
    rows[1][0].set_ylabel("entries a row\nthat SNS keeps")
    bar = fig.colorbar(mesh, ax=list(rows[1]), pad=0.01, aspect=14, extend="both")
    bar.set_label("predicted steps a digit")
    bar.outline.set_linewidth(0.5)
    _legend(fig)
    return fig


def _entries(axes, arrays, row, family):
    """Draw the entries that hold the mass, after sweeps and at the solution."""
    marks = arrays["marks"]
    end = marks[-1] * 3  # where the solution stands
    lines = list(zip(arrays["epsilons"], SHADES, strict=False))
    for place, (_, colour) in enumerate(lines):
        path, last = arrays["path"][row, place], arrays["entries"][row, place]
        axes.loglog(marks, path, color=colour)
        axes.plot([marks[-1], end], [path[-1], last], color=colour, linestyle=":", linewidth=0.9)
        axes.plot(end, last, "o", color=colour, markersize=4)
    for level, words, place in _apart(arrays["epsilons"], arrays["entries"][row]):
        axes.annotate(
            words, (end, level), xytext=(4, 0), textcoords="offset points",
            color=lines[place][1], va="center", fontsize=6.5,
        )  # fmt: skip
    switch = float(arrays["distance_sweeps" if family == "distances" else "sweeps"])
    axes.axvline(switch, color=_style.GREY, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
    if row == 0:
        axes.text(
            switch * 1.15, 0.88, "first\nNewton step", transform=axes.get_xaxis_transform(),
            color=_style.GREY, fontsize=6.5, va="center", linespacing=0.95,
        )  # fmt: skip
    axes.set_ylim(0.9, int(arrays["side"]) ** 2)
    axes.set_xlim(marks[0], end * 6)
    axes.set_xticks([10, 100, end], ["10", "100", "solution"])
    axes.minorticks_off()
    axes.set_xlabel("Sinkhorn sweeps")


def _apart(epsilons, entries):
    """Return (height, words, place) of labels; epsilons that would lie on each other share one."""
    found: list[tuple[float, str, int]] = []
    for place, (epsilon, level) in enumerate(zip(epsilons, entries, strict=True)):
        if found and abs(np.log(level / found[-1][0])) < 0.2:
            first, words, least = found[-1]
            words = words if words.startswith("\N{LESS-THAN OR EQUAL TO}") else (
                f"\N{LESS-THAN OR EQUAL TO}\N{THIN SPACE}{words}"
            )  # fmt: skip
            found[-1] = first, words, least
        else:
            found.append((level, _power(epsilon), place))
    return found


def _map(axes, arrays, row):
    """Draw predicted steps a digit as colours, and how runs ended as symbols."""
    from matplotlib.colors import LogNorm

    rate = np.clip(arrays["rate"][row], 1e-300, 1 - 1e-12)  # (epsilons, kept)
    steps = -1 / np.log10(rate)
    columns, lines = np.arange(rate.shape[0] + 1) - 0.5, np.arange(rate.shape[1] + 1) - 0.5
    mesh = axes.pcolormesh(
        columns, lines, steps.T, cmap="cividis", norm=LogNorm(FASTEST, SLOWEST), linewidth=0.6,
        edgecolor="white",
    )  # fmt: skip
    start, near = (arrays[f"{place}_status"][row] == 0 for place in ("start", "near"))
    for epsilon, kept in np.ndindex(rate.shape):
        dark = steps[epsilon, kept] < np.sqrt(FASTEST * SLOWEST)
        style = {"color": "white" if dark else _style.BLACK, "markersize": 4.5}
        if start[epsilon, kept]:
            axes.plot(epsilon, kept, "o", **style)
        elif near[epsilon, kept]:
            style |= {"markerfacecolor": "none", "markeredgewidth": 0.9}
            axes.plot(epsilon, kept, "o", **style)
        else:
            axes.plot(epsilon, kept, "x", markeredgewidth=1.2, **style)
    axes.set_xticks(range(rate.shape[0]), [_power(e) for e in arrays["epsilons"]], fontsize=6.5)
    axes.set_yticks(range(rate.shape[1]), [str(k) for k in arrays["kept"]])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.set_xlabel(r"$\epsilon$ / largest cost")
    return mesh


def _legend(fig):
    from matplotlib.lines import Line2D

    handles = []
    for marker, face, words in (
        ("o", _style.BLACK, "converges"),
        ("o", "none", "converges only from near the solution"),
        ("x", _style.BLACK, "not even from there"),
    ):
        handles.append(
            Line2D([], [], color=_style.BLACK, linestyle="none", marker=marker, markersize=4.5,
                   markerfacecolor=face, markeredgewidth=1.0, label=words)
        )  # fmt: skip
    fig.legend(handles=handles, loc="outside upper center", ncols=3, handletextpad=0.3)


def _power(epsilon):
    """Return "10^-3" or "5 10^-4" for mathtext."""
    power = int(np.floor(np.log10(epsilon) + 1e-9))
    first = round(epsilon / 10.0**power)
    return ("" if first == 1 else f"{first}\N{MIDDLE DOT}") + f"$10^{{{power}}}$"


def caption(arrays):
    """Return what is drawn, with data and sizes."""
    side = int(arrays["side"])
    powers = ", ".join(f"{epsilon:g}" for epsilon in arrays["epsilons"])
    return (
        f"Four families with {side**2} points, one draw of each, at epsilon = {powers} of the "
        f"largest cost. (c), (d): two images ({arrays['data']}), their middle {side} x {side} "
        f"pixels, with a background of {float(arrays['background']):g}. Top: entries per row of "
        f"the plan that hold all but {float(arrays['short']):g} of its mass, after sweeps of "
        "Sinkhorn's method and at the solution; dashed: where the published algorithm takes its "
        "first Newton step. Bottom: sparse Newton steps (SNS) by epsilon and entries kept. "
        "Colour: steps for a digit of the marginal error that the spectrum at the solution "
        f"predicts. Symbols: what happens within {int(arrays['passes'])} passes to "
        f"{float(arrays['tol']):g}, from the published start and from a marginal error of 0.01."
    )


def alt(arrays):
    """Return the figure in words."""
    start, near = (arrays[f"{place}_status"] == 0 for place in ("start", "near"))
    parts = []
    for row, words in enumerate(WORDS.values()):
        entries = arrays["entries"][row]
        counts = [int(x.sum()) for x in (start[row], near[row] & ~start[row])]
        parts.append(
            f"{words}: {entries[0]:.3g} entries a row at epsilon {arrays['epsilons'][0]:g}, "
            f"{entries[-1]:.3g} at {arrays['epsilons'][-1]:g}; of {start[row].size} settings "
            f"{counts[0]} converge, {counts[1]} only from near the solution"
        )
    return (
        "Eight panels, a column for each of four families. Top, logarithmic axes: entries a row "
        "against sweeps, nearly constant but for mixtures and L1, where they grow. Bottom: grids "
        "of epsilon and entries kept, coloured by the predicted steps for a digit; crosses, where "
        "nothing converges, lie where these are many. " + ". ".join(parts) + "."
    )
