"""The figure of `deep_linear_limit`, its caption and its words, from the stored arrays alone."""

import numpy as np

from experiments import _limit_networks as networks
from experiments import _style
from experiments import deep_linear_limit as module

LOOKS = ((_style.BLUE, "o"), (_style.ORANGE, "s"))


def figure(arrays):
    """Draw one output along training, deviations against the width, and slopes by step."""
    from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, StrMethodFormatter

    fig, (path, rate, late) = _style.subplots(1, 3, width="wide", aspect=0.42)
    widths, early = arrays["widths"].astype(float), int(arrays["early"])
    steps = np.arange(arrays["limit_output"].shape[1])
    for colour, which in ((_style.SKY, 0), (_style.GREEN, -1)):
        path.plot(steps, arrays["output"][-1, which][:6].T, color=colour, linewidth=0.8)
        path.plot([], [], color=colour, label=f"width {arrays['widths'][which]}")
    path.plot(steps, arrays["limit_output"][-1], color=_style.BLACK, linewidth=1.8,
              label="the limit")  # fmt: skip
    for place, (depth, (colour, marker)) in enumerate(zip(arrays["depths"], LOOKS, strict=False)):
        single = arrays["single"][place, :, :, early - 1]
        apart = 1.12 ** np.linspace(-1, 1, single.shape[1])
        rate.loglog(np.outer(widths, apart).ravel(), single.ravel(), ".", color=colour, alpha=0.3,
                    markersize=2.4)  # fmt: skip
        rate.loglog(widths, networks.root_mean_square(single, 1), marker + "-", color=colour)
        rate.loglog(widths, arrays["mean"][place, :, early - 1], marker + ":", color=colour,
                    markerfacecolor="white", markeredgewidth=0.9, markeredgecolor=colour,
                    linewidth=1.0)  # fmt: skip
        found = np.array([module.slopes(arrays, place, step) for step in steps[1:]])
        late.errorbar(steps[1:] + 0.12 * (2 * place - 1), found[:, 0], found[:, 1], fmt=marker,
                      color=colour, elinewidth=0.8, label=f"{depth} hidden layers")  # fmt: skip
    path.set_title(f"(a) {arrays['depths'][-1]} hidden layers, one output")
    path.set(xlabel="step", ylabel=f"output for its class, {int(arrays['class'])}")
    path.legend(loc="lower right")

    single = networks.root_mean_square(arrays["single"][0, 0, :, early - 1])
    rate.loglog(widths[[0, -1]], 1.7 * single * (widths[[0, -1]] / widths[0]) ** -0.5,
                color=_style.GREY, linewidth=0.9, label="slope \N{MINUS SIGN}1/2")  # fmt: skip
    rate.plot([], [], "o-", color=_style.BLACK, label="single networks")
    rate.plot([], [], "o:", color=_style.BLACK, markerfacecolor="white", markeredgewidth=0.9,
              linewidth=1.0, label=f"mean of {arrays['single'].shape[2]}")  # fmt: skip
    low, high = rate.get_ylim()
    rate.set_ylim(low / 4, high)
    rate.xaxis.set_major_locator(FixedLocator(list(widths)))
    rate.xaxis.set_minor_locator(NullLocator())
    rate.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    rate.set_title(f"(b) deviation after {early} steps")
    rate.set(xlabel="width", ylabel="root mean square, relative")
    rate.legend(loc="lower left")

    late.axhspan(-0.65, -0.40, color=_style.SKY, alpha=0.15, linewidth=0)
    late.axhline(-0.5, color=_style.GREY, linewidth=0.8)
    late.axvline(early, 0.2, color=_style.GREY, linewidth=0.8, linestyle=(0, (3, 2)))
    late.xaxis.set_major_locator(MaxNLocator(integer=True))
    late.legend(loc="lower left")
    late.set_title("(c) slope by step")
    late.set(xlabel="step", ylabel="slope, single networks", ylim=(-0.7, -0.35))
    late.text(early + 0.2, -0.36, "claimed here", fontsize=7, color=_style.GREY, va="top")
    return fig


def caption(arrays):
    """Return what is drawn, with sizes."""
    early, count = int(arrays["early"]), arrays["single"].shape[2]
    widths = arrays["widths"]
    return (
        "Deep linear networks in muP on digits, full-batch steps. (a) The output for the class of "
        f"one test image along training, {arrays['depths'][-1]} hidden layers: the limit, and at "
        f"most six networks of the widths {widths[0]} and {widths[-1]}. (b) Deviation of outputs "
        f"on test images from the limit after {early} steps, in units of the limit's outputs, "
        f"{count} networks at each width: dots, single ones; filled, their root mean square; "
        "hollow, the networks' outputs averaged first. (c) Slopes of the filled markers after "
        "every step, with one standard error; the band is what is accepted at the step of (b)."
    )


def alt(arrays):
    """Return the figure in words."""
    early = int(arrays["early"])
    found = [module.slopes(arrays, place, early)[0] for place in range(len(arrays["depths"]))]
    words = ", ".join(f"{s:.2f} with {d}" for s, d in zip(found, arrays["depths"], strict=True))
    return (
        f"Left: curves of one output by step, of width {arrays['widths'][0]} spread around the "
        f"limit, of width {arrays['widths'][-1]} close to it. Middle, both axes logarithmic: "
        f"deviations fall with slopes of {words} hidden layers; those of averaged outputs lie "
        "lower by a factor of "
        f"{1 / module.ratios(arrays).max():.1f} or more. Right: slopes by step, in the band from "
        "-0.65 to -0.40."
    )
