"""The figure of `coordinate_check`, its caption and its words, from the stored arrays alone."""

import numpy as np

from experiments import _mup_networks as networks
from experiments import _style
from experiments import coordinate_check as module

COLOURS = dict(zip(networks.LAYERS, (_style.BLUE, _style.GREEN, _style.ORANGE), strict=True))
TITLES = {"sp": "standard", "mup": "muP"}


def figure(arrays):
    """Draw two rows of panels."""
    names = [str(name) for name in arrays["optimizers"]]
    columns = len(names) + 1
    fig, rows = _style.subplots(2, columns, width="wide", aspect=0.5, sharex=True)
    for row, scheme in zip(rows, ("sp", "mup"), strict=True):
        for axes, name in zip(row[:-1], names, strict=True):
            _panel(axes, arrays, name, scheme, "change")
        _panel(row[-1], arrays, names[0], scheme, "mean_abs")
        row[0].set_ylabel(f"{TITLES[scheme]}\nchange")
        low = min(axes.get_ylim()[0] for axes in row[:-1])
        high = max(axes.get_ylim()[1] for axes in row[:-1])
        for axes in row[:-1]:
            axes.set_ylim(low, high)
        for axes in row[1:-1]:
            axes.tick_params(labelleft=False)
    for axes, name in zip(rows[0], (*names, rf"{names[0]}, $\ell_1$ size"), strict=True):
        axes.set_title(name)
    rows[1][columns // 2 - 1].set_xlabel("width")
    handles, labels = rows[0][0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return fig


def _panel(axes, arrays, name, scheme, what):
    """Draw the three lines of one optimizer after the last step, with their slopes."""
    widths = arrays["widths"]
    runs = arrays[f"{name}_{scheme}_{what}"][:, :, -1]
    slope = module.slopes(arrays, name, scheme, what)[0]
    for k, layer in enumerate(networks.LAYERS):
        axes.plot(widths, runs[:, :, k].mean(1), "o-", color=COLOURS[layer], markersize=2.5,
                  label=layer if layer == "output" else f"{layer} layer")  # fmt: skip
        axes.fill_between(widths, runs[:, :, k].min(1), runs[:, :, k].max(1),
                          color=COLOURS[layer], alpha=0.2, linewidth=0)  # fmt: skip
        words = f"{slope[k]:+.2f}".replace("0.", ".", 1).replace("-", "\N{MINUS SIGN}")
        axes.text(0.03 + 0.33 * k, 0.98, words, color=COLOURS[layer], fontsize=6.5,
                  transform=axes.transAxes, va="top")  # fmt: skip
    axes.set(xscale="log", yscale="log")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.12)
    ticks = [width for width in (64, 256, 1024, 4096) if width <= widths[-1]]
    axes.set_xticks(ticks, [str(width) for width in ticks])
    axes.minorticks_off()


def caption(arrays):
    """Return what is drawn, with sizes."""
    first = str(arrays["optimizers"][0])
    seeds, steps = arrays[f"{first}_mup_change"].shape[1:3]
    return (
        f"Root mean square change of preactivations and output after {steps - 1} steps on digits, "
        "by width, in the standard parametrization (above) and in muP (below), with the slopes of "
        f"the fits from the second width on; means and ranges over {seeds} seeds. At the right the "
        f"l1 size of the same activations with {first}: in the standard parametrization it is "
        "nearly flat in the hidden layers, where the change is not. Muon is Lion-K of the nuclear "
        "norm; SOAP rotates the shorter side of each matrix, and has the rates of Adam."
    )


def alt(arrays):
    """Return the figure in words."""
    adam = module.slopes(arrays, "Adam", "sp")[0]
    flat = max(np.nanmax(np.abs(module.slopes(arrays, n, "mup")[0])) for n in arrays["optimizers"])
    return (
        "Log-log panels of changes against width. In the upper row, the standard "
        f"parametrization, lines rise, for Adam with slopes up to {adam.max():.2f}; in the lower "
        f"row, muP, all are flat, with slopes of at most {flat:.2f} in size."
    )
