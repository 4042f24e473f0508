"""The figure of `linearization`, its caption and its words, from the stored arrays alone."""

import numpy as np

from experiments import _rates, _style

MINUS = "\N{MINUS SIGN}"
DASHED = (0, (3, 1.5))
# Colour, marker, words, expected slope, and where its dashed line lies beside the fitted one.
SERIES = {
    "relu": (_style.ORANGE, "^", "ReLU", (f"{MINUS}3/4", -0.75), 2.2),
    "erf": (_style.GREEN, "s", "erf", (f"{MINUS}1", -1.0), 0.4),
}


def figure(arrays):
    """Draw a network beside its linearization, and distances over the width for both starts."""
    fig, (example, drawn, centred) = _style.subplots(1, 3, width="wide", aspect=0.40)
    _example(example, arrays)
    for axes, start, title in (
        (drawn, "drawn", "(b) as drawn"),
        (centred, "centred", "(c) centred"),
    ):
        for name in SERIES:
            _over_width(axes, arrays, name, start)
        axes.set_title(title)
        axes.set_ylabel(r"distance: rms of $f - f_{\mathrm{lin}}$")
        _logarithmic(axes, arrays["widths"])
    low = min(drawn.get_ylim()[0], centred.get_ylim()[0])
    high = 4 * max(drawn.get_ylim()[1], centred.get_ylim()[1])
    for axes in (drawn, centred):
        axes.set_ylim(low, high)
        axes.legend(loc="upper right", title="fitted slope", alignment="right", handletextpad=0.2)
    return fig


def example_point(arrays):
    """Return the test image on which the narrow ReLU network ends farthest from its linear twin."""
    return int(np.abs(arrays["relu_drawn_f"] - arrays["relu_drawn_linear"])[0, -1].argmax())


def _example(axes, arrays):
    """Draw the outputs of the narrowest and the widest ReLU network on one image, over time."""
    point, times = example_point(arrays), arrays["times"]
    for row, colour in ((0, _style.BLUE), (-1, _style.PINK)):
        f, linear = (arrays[f"relu_drawn_{part}"][row, :, point] for part in ("f", "linear"))
        axes.plot(times, f, color=colour, label=f"$n$ = {arrays['widths'][row]}")
        axes.plot(times, linear, color=_style.BLACK, linestyle=DASHED, linewidth=1.0)
    axes.plot([], [], color=_style.BLACK, linestyle=DASHED, linewidth=1.0, label="linearization")
    axes.set_title(f"(a) ReLU, one image of a {int(arrays['labels'][point])}")
    axes.set_xlabel("flow time")
    axes.set_ylabel("output")
    axes.margins(x=0.02)
    axes.legend(loc="best")


def _over_width(axes, arrays, name, start):
    """Draw networks as dots, their means, the fitted line, and one of the expected slope."""
    colour, marker, words, (word, power), offset = SERIES[name]
    widths, values = arrays["widths"].astype(float), arrays[f"{name}_{start}_distance"][:, :, -1]
    means = values.mean(axis=1)
    slope, constant = _rates.line(widths, means)
    # Dots of one width stand side by side, for who wants to count them.
    apart = 1.18 ** np.linspace(-1, 1, values.shape[1])
    axes.loglog(
        np.outer(widths, apart).ravel(), values.ravel(), ".",
        color=colour, alpha=0.35, markersize=2.6, markeredgewidth=0,
    )  # fmt: skip
    axes.loglog(widths, constant * widths**slope, color=colour, linewidth=1.0)
    label = f"{words}: {slope:.2f}".replace("-", MINUS)
    axes.loglog(widths, means, marker, color=colour, label=label, markersize=4)
    middle, ends = np.exp(np.log(widths).mean()), widths[[0, -1]]
    beside = offset * constant * middle**slope * (ends / middle) ** power
    axes.loglog(ends, beside, color=_style.GREY, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
    axes.annotate(
        word, (ends[1], beside[1]), xytext=(2, 0), textcoords="offset points",
        color=_style.GREY, va="center", fontsize=7.5,
    )  # fmt: skip


def _logarithmic(axes, widths):
    """Plain numbers on the axis of widths, with room on the right for the words at the lines."""
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    axes.set_xlabel("width $n$ (hidden units)")
    axes.set_xlim(widths.min() / 1.5, widths.max() * 3.2)
    powers = [2.0**k for k in range(1, 20) if widths.min() <= 2**k <= widths.max()]
    axes.xaxis.set_major_locator(FixedLocator(powers[:: 2 if len(powers) > 3 else 1]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))


def _slope(arrays, name, start):
    distance = arrays[f"{name}_{start}_distance"][:, :, -1].mean(axis=1)
    return _rates.slope(arrays["widths"], distance)


def caption(arrays):
    """Return what is drawn, with data, sizes and numbers of networks."""
    widths, (one, other), depth = arrays["widths"], arrays["digits"], int(arrays["depth"])
    drawn, centred = (arrays[f"relu_{start}_distance"].shape[1] for start in ("drawn", "centred"))
    return (
        f"Networks with {depth} hidden layer{'s' if depth > 1 else ''} and their own "
        f"linearizations, trained in the same steps to tell {int(arrays['n_train'])} digits "
        f"{one} (target +1) and {other} ({MINUS}1) apart ({arrays['data']}). (a) Output of the "
        f"first ReLU network of width {widths[0]} and of width {widths[-1]} on the test image on "
        "which the narrow one ends farthest from its linearization. (b), (c) Distance at time "
        f"{float(arrays['times'][-1]):g}: root mean square of their difference over "
        f"{len(arrays['labels'])} test images, for networks as drawn ({drawn} of each width) and "
        f"with their initial function subtracted ({centred}). Dots are single networks, set side "
        "by side; symbols their means; dashed lines have the stated slopes."
    )


def alt(arrays):
    """Return the figure in words."""
    widths, point = arrays["widths"], example_point(arrays)
    gaps = np.abs(arrays["relu_drawn_f"] - arrays["relu_drawn_linear"])[:, -1, point]
    slopes = {key: f"{_slope(arrays, *key):.2f}".replace("-", MINUS) for key in (
        ("erf", "drawn"), ("relu", "drawn"), ("erf", "centred"), ("relu", "centred"))}  # fmt: skip
    return (
        "Three panels. Left: outputs of two ReLU networks on one image over time, and dashed those "
        f"of their linearizations; at the end they are {gaps[0]:.2g} apart at width {widths[0]} "
        f"and {gaps[1]:.2g} at width {widths[-1]}. Middle and right, logarithmic axes: the "
        "distance between trained networks and their linearizations falls with the width along "
        f"lines, for networks as drawn with slope {slopes['erf', 'drawn']} for erf and "
        f"{slopes['relu', 'drawn']} for ReLU, for centred networks with {slopes['erf', 'centred']} "
        f"and {slopes['relu', 'centred']}, beside dashed lines of slopes {MINUS}1 and {MINUS}3/4."
    )
