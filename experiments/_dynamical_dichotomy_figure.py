"""The figure of `dynamical_dichotomy`, its caption and its words, from the stored arrays alone."""

import numpy as np

from experiments import _style, dynamical_dichotomy
from experiments._rates import line

NAMES = tuple(dynamical_dichotomy.PARAMETRIZATIONS)
LOOKS = {
    "SP, c = 1": (_style.BLACK, "s"),
    "NTP": (_style.BLUE, "o"),
    "line, t = 1/4": (_style.SKY, "v"),
    "line, t = 1/2": (_style.GREEN, "^"),
    "line, t = 3/4": (_style.AMBER, "D"),
    "muP": (_style.ORANGE, "o"),
    "small read-out, r = 1/4": (_style.PINK, "P"),
    "small read-out, r = 1/8": (_style.GREY, "X"),
}


def _errors(widths, samples):
    """Return the bootstrap standard error of each slope."""
    rng, rounds = np.random.default_rng(0), 200
    count = samples.shape[1]
    drawn = [
        dynamical_dichotomy.slopes(widths, [one[rng.integers(0, count, count)] for one in samples])
        for _ in range(rounds)
    ]
    return np.std(drawn, axis=0)


def figure(arrays):
    """Draw changes against the width, and measured against predicted exponents."""
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    fig, (change, features, kernel) = _style.subplots(1, 3, width="wide", aspect=0.47)
    widths = arrays["widths"].astype(float)
    means = np.exp(np.log(arrays["features"]).mean(1))[..., -1]
    for k, name in enumerate(NAMES):
        colour, marker = LOOKS[name]
        rate, constant = line(widths, means[:, k])
        change.loglog(widths, means[:, k], marker, color=colour, label=name)
        change.loglog(widths, constant * widths**rate, color=colour, linewidth=0.9)
    change.xaxis.set_major_locator(FixedLocator(list(widths)))
    change.xaxis.set_minor_locator(NullLocator())
    change.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    change.set_title("(a) change of the last features")
    change.set(xlabel="width $n$", ylabel="root mean square")

    r, first, kappa = dynamical_dichotomy.predicted()
    last_layer, first_layer = arrays["features"][..., -1], arrays["features"][..., 0]
    _agreement(features, r, widths, last_layer, 0.1)
    _agreement(features, first, widths, first_layer, None, most=1.0)
    features.set_title("(b) features")
    features.set(xlabel="predicted exponent", ylabel="measured: minus the slope")
    steep = -dynamical_dichotomy.slopes(widths, list(first_layer))[0]
    features.text(
        0.97, 0.05, f"hollow: first layer\n(SP: 1.5, measured {steep:.2f})", fontsize=7,
        transform=features.transAxes, ha="right", va="bottom",
    )  # fmt: skip
    _agreement(kernel, kappa, widths, arrays["kernel"], 0.2)
    kernel.set_title("(c) tangent kernel")
    kernel.set(xlabel=r"predicted exponent $\kappa$")
    kernel.text(
        0.97, 0.05, r"$\kappa = 2r$;" + "\nsmall read-out: $r$", fontsize=7,
        transform=kernel.transAxes, ha="right", va="bottom",
    )  # fmt: skip
    fig.legend(*change.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return fig


def _agreement(axes, expected, widths, samples, band, most=np.inf):
    """Draw minus the slopes against what is expected, with the band that is accepted."""
    found = -dynamical_dichotomy.slopes(widths, list(samples))
    errors = _errors(widths, samples)
    for k, name in enumerate(NAMES):
        if expected[k] > most:
            continue
        colour, marker = LOOKS[name]
        axes.errorbar(
            expected[k], found[k], errors[k], fmt=marker, color=colour, elinewidth=0.8,
            zorder=4 if band else 3, markersize=3.6 if band else 5.5,
            markerfacecolor=colour if band else "none", markeredgewidth=0.0 if band else 0.8,
        )  # fmt: skip
    if band:
        ends = np.array([-0.06, 1.2 * expected.max()])
        axes.plot(ends, ends, color=_style.BLACK, linewidth=0.7, zorder=2)
        axes.fill_between(
            ends, ends - band, ends + band, color=_style.SKY, alpha=0.18, linewidth=0, zorder=1
        )
        axes.set_xlim(ends)


def caption(arrays):
    """Return what is drawn, with sizes."""
    widths, count = arrays["widths"], arrays["features"].shape[1]
    return (
        f"Networks with two hidden tanh layers after {int(arrays['steps'])} full-batch steps on "
        f"{int(arrays['points'])} random points, {count} networks at each width, geometric means. "
        "(a) Change of the preactivations of the last hidden layer, with fitted lines. (b) Minus "
        "their slopes, against the exponent r of the theory; hollow, the first layer against its "
        "own exponent. The band is what is accepted, 0.1. (c) The same for the relative change of "
        "the tangent kernel, accepted within 0.2: its exponent is 2r, but r where the read-out "
        "begins as small as in muP. Bars: one standard error over networks. Widths "
        f"{widths[0]} to {widths[-1]}; line: between NTP (t = 0) and muP (t = 1)."
    )


def alt(arrays):
    """Return the figure in words."""
    widths = arrays["widths"]
    r, _, kappa = dynamical_dichotomy.predicted()
    last = dynamical_dichotomy.slopes(widths, list(arrays["features"][..., -1]))
    moved = dynamical_dichotomy.slopes(widths, list(arrays["kernel"]))
    rows = "; ".join(
        f"{name}: features {-one:.2f} for {p:.3g}, kernel {-two:.2f} for {q:.3g}"
        for name, one, p, two, q in zip(NAMES, last, r, moved, kappa, strict=True)
    ).replace("-", chr(8722))
    return (
        "Three panels. Left: change of features against the width, eight straight lines from flat "
        "(muP) to falling as one over the root of the width (NTP, SP). Middle and right: measured "
        f"against predicted exponents, near the diagonal. Measured for predicted: {rows}."
    ).replace("read" + chr(8722) + "out", "read-out")
