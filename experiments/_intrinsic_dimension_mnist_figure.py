"""The figure of `intrinsic_dimension_mnist`, its caption and its words, from stored arrays."""

import numpy as np

from experiments import _style
from experiments import intrinsic_dimension_mnist as module
from experiments._intrinsic_dimension_mnist_claims import spread

ABSOLUTE = 0.9
FILLS = ("full", "none")  # common threshold, own threshold


def figure(arrays):
    """Draw widths, then depths and LeNet, and intrinsic dimensions against D."""
    fig, axes = _style.subplots(1, 3, width="wide", aspect=0.43)
    names = [str(name) for name in arrays["names"]]
    widths = [str(name) for name in arrays["widths"]]
    middle = sorted({*widths, *(n for n in names if n.startswith("FC 2 "))}, key=units)
    rest = [name for name in names if name not in middle]
    looks = {
        name: (_style.CYCLE[k % 6], _style.MARKERS[k % 6]) for k, name in enumerate(middle + rest)
    }
    top = max(arrays[f"{name}: direct test"].mean() for name in names)
    low = min(arrays[f"{name}: test"].mean(0)[0] for name in names)
    if "reference" in arrays:
        low = min(low, arrays["reference"].mean(0)[0])
    if "reference" in arrays:
        words = f"{module.MIDDLE}, rate {module.REFERENCE_RATE}"
        ds, runs = list(module.REFERENCE), arrays["reference"]
        axes[0].fill_between(
            ds, runs.min(0), runs.max(0), color=_style.GREY, alpha=0.15, linewidth=0
        )
        axes[0].plot(ds, runs.mean(0), "D-", color=_style.GREY, linewidth=0.9, label=words)
    for panel, shown in zip(axes, (middle, rest), strict=False):
        panel.axhline(arrays["common"], color=_style.BLACK, linewidth=0.8, linestyle="--")
        panel.axhline(ABSOLUTE, color=_style.GREY, linewidth=0.8, linestyle=":")
        for name in shown:
            _curve(panel, arrays, name, looks[name])
        panel.set(xscale="log", xlabel="dimension d of the subspace", ylim=(low - 0.02, top + 0.03))
        ticks = [t for t in (20, 50, 100, 200, 500, 1000) if _range(arrays)[0] <= t]
        panel.set_xticks(ticks, [str(tick) for tick in ticks])
        panel.minorticks_off()
        if shown:
            panel.legend(loc="lower right", fontsize=6.5)
    axes[0].set(title="(a) two layers, by width", ylabel="accuracy on test images")
    for height, words in ((arrays["common"], "common threshold"), (ABSOLUTE, "0.90")):
        # Clipped: where no accuracy comes near, it must not widen what the layout makes room for.
        axes[0].text(
            _range(arrays)[0], height, f" {words}", va="bottom", fontsize=6.5, clip_on=True
        )
    axes[1].set_title("(b) depths, and LeNet")
    axes[1].tick_params(labelleft=False)
    _dimensions(axes[2], arrays, names, looks)
    return fig


def units(name):
    """Return the width in a name."""
    return int(name.split(" x ")[1])


def _range(arrays):
    ds = np.concatenate([arrays[f"{name}: ds"] for name in arrays["names"]])
    return ds.min(), ds.max()


def _curve(panel, arrays, name, look):
    """Draw the mean of one network, the range of its seeds, and its baseline at the right."""
    colour, marker = look
    ds, runs = arrays[f"{name}: ds"], arrays[f"{name}: test"]
    panel.fill_between(ds, runs.min(0), runs.max(0), color=colour, alpha=0.15, linewidth=0)
    panel.plot(ds, runs.mean(0), color=colour, marker=marker, label=name)
    baseline = arrays[f"{name}: direct test"].mean()
    panel.plot(_range(arrays)[1] * 1.25, baseline, color=colour, marker=marker, clip_on=False)


def _dimensions(panel, arrays, names, looks):
    """Draw intrinsic dimensions at the common threshold and at each network's own."""
    top = _range(arrays)[1]
    for k, name in enumerate(names):
        colour, marker = looks[name]
        for column, fill in enumerate(FILLS):
            value, low, high = (arrays[key][k, column] for key in ("dint", "dint_low", "dint_high"))
            # Beside each other, where networks have nearly the same size.
            x = arrays["sizes"][k] * (1.0, 1.07)[column]
            if not np.isfinite(value):
                panel.plot(x, top, marker="$\\uparrow$", color=colour, markersize=6)
                continue
            reach = np.nan_to_num([low, high], nan=value, posinf=top)
            panel.plot([x, x], reach, color=colour, linewidth=0.8, alpha=0.7)
            panel.plot(x, value, marker, color=colour, fillstyle=fill, markeredgewidth=0.9)
    panel.set(xscale="log", xlabel="number of parameters D", ylabel="intrinsic dimension",
              title="(c) at two thresholds", ylim=(0, 1.08 * top))  # fmt: skip
    least, most = arrays["sizes"].min(), arrays["sizes"].max()
    panel.set_xlim(least / 1.25, most * 1.35)
    ticks = [
        t for t in (5_000, 10_000, 50_000, 100_000, 200_000, 500_000) if least < t < 1.3 * most
    ]
    panel.set_xticks(ticks, [f"{tick // 1000}k" for tick in ticks])
    panel.minorticks_off()
    for label, fill in (("0.9 of the common baseline", "full"), ("0.9 of its own", "none")):
        panel.plot(
            [], [], "o", color=_style.BLACK, fillstyle=fill, markeredgewidth=0.9, label=label
        )
    panel.legend(loc="lower right", fontsize=6.5)


def _words(value):
    return f"{value:.0f}" if np.isfinite(value) else "beyond the grid"


def caption(arrays):
    """Return what is drawn, with numbers."""
    names = [str(name) for name in arrays["names"]]
    ratio, _, sizes = spread(arrays)
    which = "the full MNIST" if arrays["full"] else "MNIST-5k (4,000 training images)"
    own = "; ".join(
        f"{name}: {_words(arrays['dint'][k, 0])} / {_words(arrays['dint'][k, 1])} / "
        f"{_words(arrays['dint'][k, 2])}"
        for k, name in enumerate(names)
    )
    rates = "; ".join(
        f"{name}: {float(arrays[f'{name}: direct rate']):g} and "
        f"{float(arrays[f'{name}: subspace rate']):g}"
        for name in names
    )
    seeds = len(arrays[f"{names[0]}: test"])
    return (
        f"Accuracy on {which} after {int(arrays['steps'])} steps of Adam in random subspaces, "
        f"means and ranges of {seeds} seeds; at the right edge baselines, which train all "
        f"parameters. Dashed: the common threshold, {float(arrays['common']):.3f}, 0.9 of the mean "
        "baseline over widths; dotted: 0.90. Among the widths d changes by a factor of "
        f"{ratio:.2f} while D changes by one of {sizes:.1f}. Bars in (c): 95 % of bootstrap draws "
        "of single runs; arrows: beyond the grid. Intrinsic dimensions (common / own / absolute "
        f"threshold): {own}. Rates (of baselines, chosen on held-out images, and in subspaces): "
        f"{rates}."
    )


def alt(arrays):
    """Return the figure in words."""
    ratio, _, sizes = spread(arrays)
    found = [f"{name} {_words(arrays['dint'][k, 0])}" for k, name in enumerate(arrays["names"])]
    return (
        "Three panels. Left and middle: accuracy rises with d, steeply up to about 200 and slowly "
        "beyond; curves of all widths lie on top of each other. Right: intrinsic dimension "
        f"against the number of parameters, nearly level over widths (factor {ratio:.2f} while D "
        f"changes by {sizes:.1f}). At the common threshold: {', '.join(found)}."
    )
