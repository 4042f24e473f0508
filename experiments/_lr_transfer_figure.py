"""The figure of `lr_transfer`, its caption and its words, from the stored arrays alone."""

import numpy as np

from experiments import _style
from experiments import lr_transfer as module

TITLES = {
    ("adam", "sp"): "(a) Adam, standard",
    ("adam", "mup"): "(b) Adam, muP",
    ("sgd", "sp"): "(c) SGD, standard",
    ("sgd", "mup"): "(d) SGD, muP",
}


def figure(arrays):
    """Draw four panels."""
    import matplotlib

    fig, panels = _style.subplots(1, 4, width="wide", aspect=0.36)
    widths = arrays["widths"]
    colours = matplotlib.colormaps["viridis"](np.linspace(0.05, 0.85, len(widths)))
    for axes, (setting, scheme) in zip(panels, TITLES, strict=True):
        rates = arrays[f"{setting}_rates"]
        losses = arrays[f"{setting}_{scheme}_loss"].mean(2)
        bad = arrays[f"{setting}_{scheme}_diverged"].any(2)
        best = arrays[f"{setting}_{scheme}_rate"]
        for width, row, gone, rate, colour in zip(widths, losses, bad, best, colours, strict=True):
            shown = np.where(gone, np.nan, row)
            axes.plot(rates, shown, "o-", color=colour, markersize=2.5, label=str(width))
            axes.axvline(rate, color=colour, linewidth=0.8, linestyle=(0, (2, 1.5)))
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_title(TITLES[setting, scheme])
        axes.set_xlabel("learning rate")
    for pair in (panels[:2], panels[2:]):
        low = min(axes.get_ylim()[0] for axes in pair)
        high = max(axes.get_ylim()[1] for axes in pair)
        for axes in pair:
            axes.set_ylim(low, high)
    panels[0].set_ylabel("training loss")
    handles, labels = panels[0].get_legend_handles_labels()
    labels = [f"width {label}" for label in labels]
    fig.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return fig


def caption(arrays):
    """Return what is drawn, with numbers."""
    moved = {key: module.octaves(arrays, *key) for key in TITLES}
    seeds = arrays["adam_sp_loss"].shape[2]
    return (
        "Training loss of networks with two hidden layers on digits against the learning rate, for "
        f"several widths; means over {seeds} seeds, dashed lines at the best rates; what diverged "
        "is left out. Adam under cross-entropy, SGD under the squared loss. From width "
        f"{arrays['widths'][0]} to {arrays['widths'][-1]} the best rate moves by "
        f"{moved['adam', 'sp']:.1f} (Adam) and {moved['sgd', 'sp']:.1f} octaves (SGD) in the "
        f"standard parametrization, and by {moved['adam', 'mup']:.1f} and "
        f"{moved['sgd', 'mup']:.1f} in muP."
    )


def alt(arrays):
    """Return the figure in words."""
    return (
        "Four panels of training loss against learning rate. In the standard parametrization the "
        "curves of wide networks lie to the left of those of narrow ones, for Adam by "
        f"{module.octaves(arrays, 'adam', 'sp'):.1f} octaves; in muP they lie above one another, "
        "wider ones lower."
    )
