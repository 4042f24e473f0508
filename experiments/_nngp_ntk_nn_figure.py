"""The figure of `nngp_ntk_nn`, its caption and its words, from the stored arrays alone."""

from experiments import _style

# Colour, marker, word, and shift to the side, so that symbols of one size stand apart.
STYLES = {
    "nngp": (_style.BLUE, "o", "NNGP", -1),
    "ntk": (_style.ORANGE, "^", "NTK", 0),
    "nn": (_style.GREEN, "s", "NN", 1),
}
KNOWN = {"nngp": 0.9279, "nn": 0.9252}  # Lee et al. (2018), table 1, MNIST:1k, ReLU
KNOWN_SIZE = 1000
MINUS = "\N{MINUS SIGN}"


def figure(arrays):
    """Draw accuracies, differences on the same images, and squared errors."""
    fig, (accuracy, apart, error) = _style.subplots(1, 3, width="wide", aspect=0.42)
    sizes = arrays["sizes"].astype(float)
    for name in STYLES:
        _points(accuracy, sizes, arrays[f"{name}_accuracy"], name)
        _points(error, sizes, arrays[f"{name}_error"], name, "_")  # in the legend of (a)
        if name != "nngp":
            gap = arrays[f"{name}_accuracy"] - arrays["nngp_accuracy"]
            _points(apart, sizes, gap, name, f"{STYLES[name][2]} {MINUS} NNGP")
    if sizes[0] <= KNOWN_SIZE <= sizes[-1]:
        for name, value in KNOWN.items():
            place = KNOWN_SIZE * 1.035 ** STYLES[name][3]
            accuracy.plot(
                [place], [value], "x", color=_style.BLACK, markersize=4.5, markeredgewidth=1.0,
                zorder=4, label="Lee et al. (2018)" if name == "nngp" else None,
            )  # fmt: skip
    for name in ("nngp", "ntk"):
        left_out = arrays[f"{name}_left_out"].mean(axis=1)
        error.plot(
            sizes, left_out, color=_style.BLACK, linewidth=0.9, zorder=1,
            linestyle=(0, (3, 1.5)) if name == "nngp" else (0, (1, 1)),
            label=f"{STYLES[name][2]}, left out",
        )  # fmt: skip
    apart.axhline(0, color=_style.BLACK, linewidth=0.8)
    accuracy.set_title("(a) accuracy")
    accuracy.set_ylabel("test accuracy")
    apart.set_title("(b) same training images")
    apart.set_ylabel("difference in accuracy")
    error.set_title("(c) squared error")
    error.set_ylabel("mean squared error")
    error.set_yscale("log")
    _plain(error.yaxis)
    for axes in (accuracy, apart, error):
        _over_sizes(axes, sizes)
    accuracy.legend(loc="lower right", handletextpad=0.3)
    apart.legend(loc="best", handletextpad=0.3)
    error.legend(loc="lower left", handletextpad=0.3)
    return fig


def _points(axes, sizes, values, name, label=None):
    """Draw means over seeds with their standard deviations."""
    colour, marker, word, shift = STYLES[name]
    spread = values.std(axis=1, ddof=1) if values.shape[1] > 1 else None
    axes.errorbar(
        sizes * 1.035**shift, values.mean(axis=1), spread, color=colour, marker=marker,
        linewidth=1.0, elinewidth=0.8, label=label or word,
    )  # fmt: skip


def _over_sizes(axes, sizes):
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    axes.set_xscale("log")
    axes.set_xlabel("training images")
    shown = sizes if len(sizes) < 5 else sizes[::2]
    axes.xaxis.set_major_locator(FixedLocator(list(shown)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))


def _plain(axis):
    """Plain numbers on a logarithmic axis."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def caption(arrays):
    """Return what is drawn, with data and sizes."""
    width = int(arrays["width"])
    return (
        f"Networks 784-{width}-{width}-10 with ReLU on digits ({arrays['data']}): infinitely wide "
        "and Bayesian (NNGP), infinitely wide and trained (NTK), and of that width (NN, "
        f"{int(arrays['steps'])} steps of Adam, initial function subtracted). (a) Accuracy on "
        f"{int(arrays['n_test'])} test images; crosses are the numbers of Lee et al. (2018) for "
        f"{KNOWN_SIZE} images, GP on the left, NN on the right. (b) Differences on the same "
        "training images. (c) Mean squared error over test images and outputs, and what leaving "
        "out each training image in turn predicts of it (dashed). Symbols, set side by side, are "
        f"means and standard deviations over {int(arrays['seeds'])} random choices of training "
        "images and networks; with all images kernels have one. No order is claimed."
    )


def alt(arrays):
    """Return the figure in words."""
    sizes, parts, gaps = arrays["sizes"], [], []
    for name, (_, _, word, _) in STYLES.items():
        first, last = (arrays[f"{name}_accuracy"][row].mean() for row in (0, -1))
        parts.append(f"{word} from {first:.3f} to {last:.3f}")
        gap = (arrays[f"{name}_accuracy"] - arrays["nngp_accuracy"])[-1].mean()
        gaps.append(f"{gap:+.3f} for {word}".replace("-", MINUS))
    left_out, error = (arrays[f"nngp_{field}"][-1].mean() for field in ("left_out", "error"))
    return (
        "Three panels over the number of training images, logarithmic. Left: test accuracies rise "
        f"from {sizes[0]} to {sizes[-1]} images, {', '.join(parts)}. Middle: differences to the "
        f"NNGP on the same images, around a line at 0; with {sizes[-1]} images "
        f"{' and '.join(gaps[1:])}. Right, logarithmic: mean squared errors fall, and dashed "
        "curves of residuals left out run along those of the kernels; with "
        f"{sizes[-1]} images {left_out:.3g} beside {error:.3g} for the NNGP."
    )
