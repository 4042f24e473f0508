"""The figure of `intrinsic_dimension_toy`, its caption and its words, from stored arrays alone."""

import numpy as np

from experiments import _style
from experiments import intrinsic_dimension_toy as module

SHOWN = 12  # the last d of the right panel
COLOURS = (*_style.CYCLE, _style.GREY, _style.BLACK)
MARKERS = (*_style.MARKERS, "X", "*")


def figure(arrays):
    """Draw performances, and the shares that remain beside their law."""
    fig, (left, right) = _style.subplots(1, 2, width="text", aspect=0.45)
    ds, kinds = arrays["ds"], arrays["kinds"]
    near = ds <= SHOWN
    line = np.append(np.linspace(0, module.SUMS, 61), SHOWN)
    middle, width = module.law(np.minimum(line, module.SUMS), arrays["loss"].shape[1])
    right.fill_between(line, middle - 2 * width, middle + 2 * width, color="#DDDDDD", linewidth=0)
    right.plot(line, middle, color=_style.BLACK, linewidth=0.8, label="1 \N{MINUS SIGN} d/10")
    for k, kind in enumerate(kinds):
        style = {"color": COLOURS[k % len(COLOURS)], "marker": MARKERS[k % len(MARKERS)],
                 "markersize": 3.2, "linewidth": 0.9, "label": kind.replace("_", " ")}  # fmt: skip
        left.plot(ds, np.exp(-arrays["loss"][k]).mean(0), **style)
        # Beside each other, so that none hides another.
        aside = 0.5 * (k - (len(kinds) - 1) / 2) / max(len(kinds), 4)
        right.plot(ds[near] + aside, arrays["share"][k].mean(0)[near],
                   **style | {"linestyle": "", "label": None})  # fmt: skip
    for axes in (left, right):
        axes.axvline(module.SUMS, color=_style.BLACK, linewidth=0.8, linestyle=":")
        axes.set_xlabel("dimension d of the subspace")
    left.set_xscale("log")
    left.set_xticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    left.minorticks_off()
    left.set(ylabel=r"performance $e^{-L}$", ylim=(-0.04, 1.06), title="(a) solved from ten on")
    right.set(ylabel=r"remaining share $L / |b|^2$", title="(b) what remains")
    right.set(xlim=(0, SHOWN + 0.4), ylim=(-0.04, 1.04), xticks=range(0, SHOWN + 1, 2))
    left.legend(loc="upper left", fontsize=6.5)
    right.legend(loc="lower left", fontsize=6.5)
    return fig


def ends(arrays):
    """Return the largest performance below ten, the least and the largest share from ten on."""
    performance, below = np.exp(-arrays["loss"]), arrays["ds"] < module.SUMS
    firm = ~np.isin(arrays["kinds"], module.LOOSE)
    return (
        performance[:, :, below].max(),
        performance[firm][:, :, ~below].min(),
        arrays["share"][firm][:, :, ~below].max(),
    )


def caption(arrays):
    """Return what is drawn, with numbers."""
    seeds, (below, above, share) = arrays["loss"].shape[1], ends(arrays)
    loose = [str(kind) for kind in arrays["kinds"] if kind in module.LOOSE]
    apart = f" ({' and '.join(loose)} apart)" if loose else ""
    return (
        f"Least-squares solutions in random subspaces, means over {seeds} keys. (a) Performance: "
        f"at most {below:.2g} for any key and d <= 9, at least {above:.6f} from d = 10 on{apart}. "
        "(b) The squared distance that remains, over that at the start, beside its mean 1 - d/10 "
        f"for a uniformly random subspace; shaded: two standard errors. From ten on at most "
        f"{share:.1g}."
    )


def alt(arrays):
    """Return the figure in words."""
    below, above, share = ends(arrays)
    return (
        "Two panels against d, with a dotted line at 10. Left: the performance of "
        f"{len(arrays['kinds'])} kinds of projection is at most {below:.2g} up to d = 9 and at "
        f"least {above:.4f} from d = 10 on. Right: the remaining share falls along the line 1 - "
        f"d/10 and is at most {share:.1g} from 10 on."
    )
