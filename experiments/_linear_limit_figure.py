"""The figure of `linear_limit`, its caption and its words, from the stored arrays alone."""

import numpy as np

from experiments import _limit_networks as networks
from experiments import _style

COLOURS = (_style.SKY, _style.GREEN, _style.BLUE)


def chosen(arrays):
    """Return places of at most three widths: the first, one in the middle, the last."""
    last = len(arrays["widths"]) - 1
    return sorted({0, last // 2, last})


def scaled(widths, samples):
    """Return root mean squares over networks times the root of the width, and standard errors."""
    squares = widths[:, None] * samples**2
    level = np.sqrt(squares.mean(1))
    return level, squares.std(1, ddof=1) / squares.shape[1] ** 0.5 / (2 * level)


def figure(arrays):
    """Draw one output along training, and deviations against the width."""
    fig, (path, rate, flat) = _style.subplots(1, 3, width="wide", aspect=0.4)
    steps = np.arange(len(arrays["limit_output"]))
    for colour, place in zip(COLOURS, chosen(arrays), strict=False):
        runs = arrays["output"][place][:4].T
        path.plot(steps, runs, color=colour, linewidth=0.8, alpha=0.85)
        path.plot([], [], color=colour, label=f"width {arrays['widths'][place]}")
    path.plot(steps, arrays["limit_output"], color=_style.BLACK, linewidth=1.8, label="the limit")
    path.set_title("(a) one output, by step")
    path.set(xlabel="step", ylabel=f"output for its class, {int(arrays['class'])}")
    path.legend(loc="lower right")

    drawn = 2.0 ** arrays["exponents"], arrays["gram_deviation"]
    direct = arrays["widths"].astype(float), arrays["deviation"]
    ends = np.array([min(drawn[0][0], direct[0][0]), drawn[0][-1]])
    middle = np.exp(np.log(scaled(*drawn)[0]).mean())
    rate.loglog(ends, middle * ends**-0.5, color=_style.GREY, linewidth=0.9, zorder=1,
                label="slope \N{MINUS SIGN}1/2")  # fmt: skip
    for (widths, values), colour, marker, words in (
        (drawn, _style.BLUE, "o", "Gram matrices"),
        (direct, _style.ORANGE, "D", "networks"),
    ):
        slope = f"{networks.fitted(widths, list(values))[0]:.3f}".replace("-", "\N{MINUS SIGN}")
        rate.loglog(widths, networks.root_mean_square(values, 1), marker, color=colour,
                    label=f"{words}: {slope}", zorder=3)  # fmt: skip
        level, error = scaled(widths, values)
        flat.errorbar(widths, level, error, fmt=marker, color=colour, elinewidth=0.8)
    for axes in (rate, flat):
        axes.set_xscale("log", base=2)
        axes.set_xticks(2.0 ** np.arange(8, 33, 8))
        axes.minorticks_off()
        axes.set_xlabel("width")
    flat.axhline(middle, color=_style.GREY, linewidth=0.9, zorder=1)
    rate.set_title("(b) deviation from the limit")
    rate.set_ylabel("root mean square, relative")
    rate.legend(loc="lower left", handletextpad=0.4)
    flat.set_title("(c) the same, times width$^{1/2}$")
    return fig


def caption(arrays):
    """Return what is drawn, with sizes."""
    steps = len(arrays["limit_output"]) - 1
    widths, exponents = arrays["widths"], arrays["exponents"]
    return (
        f"A linear network with one hidden layer in muP on digits, {steps} steps on minibatches "
        "shared by all. (a) The output for the class of one test image, at most four networks of "
        "a width. (b) Deviation of outputs on test images from the limit after the last step, in "
        "units of the limit's outputs: "
        f"{arrays['deviation'].shape[1]} networks at each width from {widths[0]} "
        f"to {widths[-1]}, and {arrays['gram_deviation'].shape[1]} draws of the Gram matrix of "
        f"initial weights at each from 2^{exponents[0]} to 2^{exponents[-1]}; root mean "
        "squares and their slopes. (c) The same times the root of the width, with one standard "
        "error. A network with orthonormal initial "
        f"weights is the limit: {float(arrays['apart']):.0e} at most."
    )


def alt(arrays):
    """Return the figure in words."""
    dense = networks.fitted(arrays["widths"], list(arrays["deviation"]))[0]
    drawn = networks.fitted(2.0 ** arrays["exponents"], list(arrays["gram_deviation"]))[0]
    return (
        "Left: curves of one output against the step close in on the black curve of the limit as "
        f"the width grows from {arrays['widths'][0]} to {arrays['widths'][-1]}. Middle, both axes "
        f"logarithmic: deviations fall along one straight line with slope {dense:.3f} for networks "
        f"and {drawn:.4f} for drawn Gram matrices, up to the width 2^{arrays['exponents'][-1]}. "
        "Right: times the root of the width they are level, a little higher at the narrowest."
    )
