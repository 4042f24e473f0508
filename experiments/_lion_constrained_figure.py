"""The figure of `lion_constrained`, its caption and its words, from the stored arrays alone."""

import numpy as np

from experiments import _lion_constrained_plane as plane
from experiments import _style

MINUS = "\N{MINUS SIGN}"
COLOURS = dict(zip(plane.IN_THE_PLANE, _style.CYCLE, strict=True))
WORDS = {
    "l1": "l1 (Lion)",
    "l2": "l2",
    "linf": r"l$\infty$",
    "soft": "soft l1",
    "relativistic": "relativistic",
    "power": "power 2",
}


def figure(arrays):
    """Draw paths, H and F, phase I, and the weights for three decays."""
    fig, ((paths, falling, inwards), weights) = _style.subplots(2, 3, width="wide", aspect=0.66)
    _paths(paths, arrays)
    _falling(falling, arrays)
    _inwards(inwards, arrays)
    for k, (axes, letter) in enumerate(zip(weights, "def", strict=True)):
        _weights(axes, arrays, k, letter)
    weights[0].set_ylabel("share of the weights")
    top = max(axes.get_ylim()[1] for axes in weights)
    for axes in weights:
        axes.set_ylim(top=8 * top)
    return fig


def _paths(axes, arrays):
    """Draw the six paths over the level lines of f, and the box, the disc and the diamond."""
    radius = 1 / float(arrays["decay"])
    grid = np.linspace(-1.25, 1.25, 121) * radius
    x, y = np.meshgrid(grid, grid)
    waves = plane.HEIGHT * np.cos(plane.WAVES * x) * np.cos(plane.WAVES * y)
    f = ((x - plane.TARGET[0]) ** 2 + (y - plane.TARGET[1]) ** 2) / 2 + waves
    axes.contour(x, y, f, levels=22, colors="#D9D9D9", linewidths=0.6, zorder=0)
    angle = np.linspace(0, 2 * np.pi, 200)
    corners = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1], [1, 1]]) * radius
    tips = np.array([[1, 0], [0, 1], [-1, 0], [0, -1], [1, 0]]) * radius
    round_ = radius * np.stack([np.cos(angle), np.sin(angle)], 1)
    for line, name in ((corners, "l1"), (round_, "l2"), (tips, "linf")):
        axes.plot(*line.T, color=COLOURS[name], linewidth=0.7, linestyle=(0, (3, 2)))
    for (name, colour), path in zip(COLOURS.items(), arrays["plane_x"], strict=True):
        axes.plot(*path.T, color=colour, linewidth=1.2, label=WORDS[name])
        axes.plot(*path[-1], "o", color=colour, markersize=3.8, zorder=4)
    axes.plot(*plane.START, "o", color=_style.BLACK, markersize=3.2, zorder=5)
    axes.set(xlim=grid[[0, -1]], ylim=grid[[0, -1]], xlabel="$x_1$", ylabel="$x_2$")
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.set_title("(a) paths in the plane")


def _falling(axes, arrays):
    """Draw H and F of the six paths over the steps."""
    h, f = arrays["plane_H"], arrays["plane_F"]
    steps = np.arange(1, h.shape[1] + 1)
    for (name, colour), high, low in zip(COLOURS.items(), h, f, strict=True):
        axes.plot(steps, high, color=colour, label=WORDS[name])
        axes.plot(steps, low, color=colour, linewidth=0.8, linestyle=(0, (2, 1.2)))
    axes.set_title("(b) $H$ (solid) and $F$ (dashed)")
    axes.set_xscale("log")
    axes.set_xlabel("step")
    axes.legend(loc="lower left")
    axes.margins(x=0.02)


def _inwards(axes, arrays):
    """Draw the distances of phase I, and the slope that they cannot exceed."""
    rate, decay = arrays["phase"]
    names = list(plane.CONSTRAINED)
    steps = np.arange(arrays["phase_random"].shape[1])
    for k, name in enumerate(names):
        first = arrays["phase_random"][k, 0]
        for kind, colour, width in (("random", _style.SKY, 0.7), ("outward", _style.ORANGE, 1.0)):
            inside = arrays[f"phase_{kind}"][k] / first
            inside = np.where(inside > 1e-9, inside, np.nan)
            if kind == "random" or name in plane.NORMS:
                axes.semilogy(steps, inside, color=colour, linewidth=width, alpha=0.8)
    for label, colour in (("outward gradients", _style.ORANGE), ("random", _style.SKY)):
        axes.plot([], [], color=colour, label=label)
    style = {"color": _style.BLACK, "linestyle": (0, (4, 2)), "linewidth": 0.9, "zorder": 5}
    axes.plot(steps, (1 - rate * decay) ** steps, label=r"$(1-\eta\lambda)^t$", **style)
    axes.set_title(f"(c) phase I, {len(names)} kappas")
    axes.set(xlabel="step $t$", ylabel="distance over that of the start")
    axes.set_ylim(bottom=float((1 - rate * decay) ** steps[-1]) / 30)
    axes.legend(loc="lower left")
    axes.margins(x=0.02)


def _weights(axes, arrays, k, letter):
    """Draw the weights before and after, the box, and the share outside of it."""
    decay = float(arrays["weight_decays"][k])
    before, after = arrays["digits_before"][k], arrays["digits_after"][k]
    reach = max(1 / decay, np.abs(before).max(), np.abs(after).max())
    # The box ends where a bin does, which holds what is rounded beyond.
    width = 1 / decay / max(1, round(30 / decay / reach))
    count = int(np.ceil(reach / width))
    bins = (1 + 1e-7) * width * np.arange(-count, count + 1)
    for values, colour, label in ((before, _style.GREY, "start"), (after, _style.BLUE, "end")):
        share = np.histogram(values, bins)[0] / len(values)
        style = {"color": colour, "linewidth": 1.1, "label": label}
        axes.stairs(np.where(share > 0, share, np.nan), bins, **style)
    for side in (-1, 1):
        axes.axvline(side / decay, color=_style.ORANGE, linewidth=0.9, linestyle=(0, (3, 2)))
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5 / len(before))
    first, last = (100 * arrays["digits_outside"][k, place] for place in (0, -1))
    right = 100 * float(arrays["digits_accuracy"][k])
    axes.set_title(rf"({letter}) digits, $\lambda$ = {decay:g}")
    axes.set_xlabel("weight")
    axes.text(
        0.5, 0.97, f"outside: {first:.1f} % {chr(8594)} {last:.1f} %\ntest accuracy {right:.1f} %",
        transform=axes.transAxes, ha="center", va="top", fontsize=7,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip
    if letter == "d":
        axes.legend(loc="lower center")


def caption(arrays):
    """Return what is drawn, with rates and sizes."""
    rate, decay = arrays["phase"]
    return (
        f"Lion-K. (a) Six kappas on a bowl with waves in the plane, from the black dot, "
        f"{arrays['plane_H'].shape[1] - 1} steps of {float(arrays['rate']):g}, decay "
        f"{float(arrays['decay']):g}; dashed, the box of l1, the disc of l2 and the diamond of "
        "linf. Minimum of the bowl outside, upper right. (b) Lyapunov function H and objective F "
        "along the paths. (c) Distance to the constraint from a start far outside, for kappas "
        f"that constrain, rate {rate:g}, decay {decay:g}: gradients that are random in size and "
        f"direction ({len(plane.CONSTRAINED)} kappas), and that push outwards "
        f"({len(plane.NORMS)} of them, which lie on each other). (d) to (f) All weights of a "
        f"network with {int(arrays['width'])} hidden units before and after "
        f"{arrays['digits_largest'].shape[1] - 1} steps of Lion at rate "
        f"{float(arrays['weight_rate']):g}; dashed, the box; the share of weights outside of it "
        "before and after. The peak at 0 is of pixels that are blank in all training images."
    )


def alt(arrays):
    """Return the figure in words."""
    ends = "; ".join(
        f"{WORDS[name]} at ({x:.2f}, {y:.2f})".replace("-", MINUS).replace(r"$\infty$", "inf")
        for name, (x, y) in zip(COLOURS, arrays["plane_x"][:, -1], strict=True)
    )
    outside = "; ".join(
        f"decay {decay:g}: {100 * row[0]:.1f} % at the start, {100 * row[-1]:.1f} % at the end"
        for decay, row in zip(arrays["weight_decays"], arrays["digits_outside"], strict=True)
    )
    return (
        "Six panels. Top left: six paths in the plane from one start inside a box, a disc and a "
        f"diamond; they end: {ends}. Top middle: along each path H falls without ever rising, and "
        "F below it joins it at the end. Top right, logarithmic: distances to the constraint fall "
        "along or below one straight line. Bottom: histograms of the weights of a network on "
        f"digits for three decays; share outside the box: {outside}."
    )
