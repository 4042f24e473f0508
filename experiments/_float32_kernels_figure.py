"""The figure of `float32_kernels`, its caption and its words, from the stored arrays alone."""

import numpy as np

from experiments import _style

WORDS = {"relu": "ReLU", "erf": "erf", "gelu": "gelu"}
ROUTES = (
    ("textbook", "textbook", _style.ORANGE, "s"),
    ("peer", "neural-tangents 0.6.5", _style.GREEN, "^"),
    ("ours", "TheoryLab", _style.BLUE, "o"),
)
DASHED = (0, (3, 1.5))
MARKED = 5  # every how many depths a symbol is drawn


def figure(arrays):
    """Draw errors and smallest eigenvalues over depth, one column per activation."""
    fig, rows = _style.subplots(2, 3, width="wide", aspect=0.66, sharex=True, sharey="row")
    depth = arrays["depth"]
    for column, (name, word) in enumerate(WORDS.items()):
        above, below = rows[0][column], rows[1][column]
        for route, label, colour, marker in ROUTES:
            for axes, quantity in ((above, "error"), (below, "smallest")):
                axes.plot(
                    depth, arrays[f"{name}_{route}_{quantity}_ntk"], color=colour, marker=marker,
                    markevery=MARKED, label=label,
                )  # fmt: skip
        _allowed(above, below, depth[-1])
        above.set_title(f"({'abc'[column]}) {word}")
        below.set_xlabel("hidden layers")
    rows[0][0].set_yscale("log")
    rows[0][0].set_ylabel(r"largest $|\Delta K_{ij}| \,/\, \sqrt{K_{ii} K_{jj}}$")
    _eigenvalues(rows[1][0])
    handles, labels = rows[0][0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=4, columnspacing=1.6)
    return fig


def _allowed(above, below, deepest):
    """Draw what our kernels may reach."""
    above.plot(
        [1, 10, 10, max(deepest, 10)], [1e-6, 1e-6, 2e-6, 2e-6], color=_style.BLACK,
        linestyle=DASHED, linewidth=0.9, label="required of TheoryLab",
    )  # fmt: skip
    below.axhline(-1e-6, color=_style.BLACK, linestyle=DASHED, linewidth=0.9)


def _eigenvalues(axes):
    """An axis for values below zero over many powers of ten, with zero at the top."""
    from matplotlib.ticker import FixedLocator, NullLocator

    axes.set_yscale("symlog", linthresh=1e-8)
    axes.set_ylim(-1e-2, 3e-9)
    axes.yaxis.set_major_locator(FixedLocator([-(10.0**k) for k in range(-8, -1)] + [0]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("smallest eigenvalue / largest")


def _worst(arrays, route, quantity, best):
    """Return the words "3e-03 (ReLU), ..." of a route."""
    parts = []
    for name, word in WORDS.items():
        values = arrays[f"{name}_{route}_{quantity}_ntk"]
        known = values[np.isfinite(values)]
        parts.append(f"{best(known):.0e} ({word})" if known.size else f"unknown ({word})")
    return ", ".join(parts)


def caption(arrays):
    """Return what is drawn, with data and sizes."""
    images, copies = int(arrays["images"]), int(arrays["copies"])
    return (
        f"NTK in float32 of fully connected networks on {images} images ({arrays['data']}), mean "
        f"removed and scaled to norm sqrt(784), with copies of {copies} of them at relative "
        "distances 1e-3 and 1e-5, exact copies and copies times 2.5. Top: largest error of an "
        "entry, against our kernel in float64 of the same inputs. Bottom: smallest eigenvalue over "
        "the largest; the true one is 0. W_std and b_std are sqrt(2) and none for ReLU, 1.5 and "
        "0.2 for erf, 1.5 and 0.1 for gelu. Textbook: the printed recursion in float32. The "
        f"predecessor ran apart ({arrays['peer_versions']}). Dashed: what is required of ours."
    )


def alt(arrays):
    """Return the figure in words."""
    return (
        "Six panels, one column each for ReLU, erf and gelu; depth from 1 to "
        f"{arrays['depth'][-1]} hidden layers. Top, logarithmic: the largest NTK error. The "
        f"textbook recursion reaches {_worst(arrays, 'textbook', 'error', np.max)}; "
        f"neural-tangents {_worst(arrays, 'peer', 'error', np.max)}; TheoryLab "
        f"{_worst(arrays, 'ours', 'error', np.max)}. A dashed line marks 1e-6 to depth 10 and 2e-6 "
        "beyond. Bottom: the smallest eigenvalue over the largest. It falls to "
        f"{_worst(arrays, 'textbook', 'smallest', np.min)} for the textbook, to "
        f"{_worst(arrays, 'peer', 'smallest', np.min)} for neural-tangents and to "
        f"{_worst(arrays, 'ours', 'smallest', np.min)} for TheoryLab; a dashed line marks -1e-6."
    )
