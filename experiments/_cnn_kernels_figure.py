"""The figure of `cnn_kernels`, its caption and its words, from the stored arrays alone."""

from experiments import _style

STYLES = {
    "fc": ("FC", _style.BLUE, "o"),
    "flatten": ("CNN + Flatten", _style.ORANGE, "s"),
    "gap": ("CNN + GAP", _style.GREEN, "^"),
}
MINUS = "\N{MINUS SIGN}"


def figure(arrays):
    """Draw accuracies over training sizes, and differences to the fully connected kernel."""
    fig, (nngp, ntk, apart) = _style.subplots(1, 3, width="wide", aspect=0.42)
    sizes = arrays["sizes"].astype(float)
    for axes, field, title in ((nngp, "nngp", "(a) NNGP"), (ntk, "ntk", "(b) NTK")):
        for shift, (name, (word, colour, marker)) in zip((-1, 0, 1), STYLES.items(), strict=True):
            _points(axes, sizes * 1.035**shift, arrays[f"{name}_{field}"], colour, marker, word)
        axes.set_title(title)
        axes.set_ylabel("test accuracy")
        _over_sizes(axes, sizes)
    low = min(nngp.get_ylim()[0], ntk.get_ylim()[0])
    high = max(nngp.get_ylim()[1], ntk.get_ylim()[1])
    for axes in (nngp, ntk):
        axes.set_ylim(low, high)
    nngp.legend(loc="lower right", handletextpad=0.3)
    for shift, name in ((-1, "flatten"), (1, "gap")):
        word, colour, marker = STYLES[name]
        gap = arrays[f"{name}_ntk"] - arrays["fc_ntk"]
        _points(apart, sizes * 1.02**shift, gap, colour, marker, f"{word} {MINUS} FC")
    apart.axhline(0, color=_style.BLACK, linewidth=0.8)
    apart.set_title("(c) NTK, same splits")
    apart.set_ylabel("difference in accuracy")
    _over_sizes(apart, sizes)
    apart.legend(loc="best", handletextpad=0.3)
    return fig


def _points(axes, places, values, colour, marker, label):
    """Draw means over splits with their standard deviations."""
    axes.errorbar(
        places, values.mean(axis=1), values.std(axis=1, ddof=1), color=colour, marker=marker,
        linewidth=1.0, elinewidth=0.8, label=label,
    )  # fmt: skip


def _over_sizes(axes, sizes):
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    axes.set_xscale("log")
    axes.set_xlabel("training images")
    axes.xaxis.set_major_locator(FixedLocator(list(sizes)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))


def caption(arrays):
    """Return what is drawn, with data and sizes."""
    return (
        f"Kernel regression on {int(arrays['images'])} digits ({arrays['data']}), averaged to 8 x "
        "8: fully connected (FC), and 3 x 3 convolutions read out by pixel (Flatten) or behind "
        f"global average pooling (GAP), {int(arrays['layers'])} hidden ReLU layers each, "
        "W_std^2 = 2, b_std = 0.1, "
        "infinitely wide. (a), (b) Test accuracy with the NNGP and the NTK, (c) difference to FC "
        "on the same splits. Symbols, set side by side, are means and standard deviations over "
        f"{int(arrays['splits'])} random splits of one Gram matrix, {int(arrays['tested'])} images "
        "tested in each; splits share images. No order between the networks is claimed."
    )


def alt(arrays):
    """Return the figure in words."""
    sizes = arrays["sizes"]
    parts = []
    for name, (word, _, _) in STYLES.items():
        first, last = (arrays[f"{name}_ntk"][row].mean() for row in (0, -1))
        parts.append(f"{word} from {first:.3f} to {last:.3f}")
    apart = [
        f"{(arrays[f'{name}_ntk'] - arrays['fc_ntk'])[-1].mean():+.3f}".replace("-", MINUS)
        for name in ("flatten", "gap")
    ]
    return (
        "Three panels over the number of training images, logarithmic. Left and middle: test "
        f"accuracy with NNGP and NTK of three networks, with error bars; with {sizes[0]} to "
        f"{sizes[-1]} images the NTK's means rise: {', '.join(parts)}. Right: "
        "differences to the fully connected network on the same splits, around a line at 0; with "
        f"{sizes[-1]} images {apart[0]} for CNN + Flatten and {apart[1]} for CNN + GAP."
    )
