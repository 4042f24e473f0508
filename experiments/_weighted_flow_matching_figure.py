"""The figure of `weighted_flow_matching`, its caption and its words, from stored arrays alone."""

import numpy as np

from experiments import _style

DASHED, DOTTED = (0, (3, 1.5)), (0, (1, 1.5))
GIBBS, NEWTON, NONE = _style.ORANGE, _style.BLUE, _style.GREY
SHIFT, RADIUS, SPREAD = 2.0, 3.0, 0.2
PICTURES = {"shifted": 2, "ring": 1}


def figure(arrays):
    """Draw distances, what flows reach, and flows point by point, for both targets."""
    fig, axes = _style.subplots(2, 3, width="wide", aspect=0.68)
    _distances(axes[0, 0], arrays, "shifted")
    _shift(axes[0, 1], arrays)
    _picture(axes[0, 2], arrays, "shifted")
    _distances(axes[1, 0], arrays, "ring")
    _radius(axes[1, 1], arrays)
    _picture(axes[1, 2], arrays, "ring")
    titles = (
        ("(a) shifted Gaussian: weights harm", "(b) its flow stops short",
         f"(c) its flow, $\\varepsilon$ = {PICTURES['shifted']}"),
        ("(d) eight Gaussians: weights help", "(e) its flow ends inside",
         f"(f) its flow, $\\varepsilon$ = {PICTURES['ring']}"),
    )  # fmt: skip
    for row, names in zip(axes, titles, strict=True):
        for panel, name in zip(row, names, strict=True):
            panel.set_title(name)
    return fig


def _distances(axes, arrays, name):
    """Draw total variations over epsilon: lines for the population, points for samples."""
    rows = [
        ("gibbs", "weighted pairs to plan", GIBBS, "o"),
        ("independent", "independent pairs to plan", NONE, "s"),
        ("source", "weighted pairs to source", _style.SKY, "^"),
        ("target", "weighted pairs to target", _style.GREEN, "v"),
    ]
    for field, words, colour, marker in rows:
        drawn = arrays[f"{name}_{field}"].mean(0)
        if f"fine_{name}_{field}" in arrays:
            axes.plot(arrays["fine"], arrays[f"fine_{name}_{field}"], color=colour)
        else:
            axes.plot(arrays["epsilons"], drawn, color=colour, linewidth=0.7)
        axes.plot(arrays["epsilons"], drawn, marker, color=colour, label=words)
    axes.set_yscale("log")
    axes.set_ylim(0.002, 1.4)
    axes.set_ylabel("total variation")
    _over_epsilon(axes, arrays)
    if name == "shifted":
        axes.legend(loc="lower left", handletextpad=0.2, labelspacing=0.3)
        return
    first = RADIUS**2 - 2 * SPREAD**2
    axes.axvline(first, color=_style.BLACK, linestyle=DOTTED, linewidth=0.9)
    axes.text(1.15 * first, 0.8, "$R^2 - 2q$", fontsize=7.5)


def _shift(axes, arrays):
    """Draw how far the flows shift the source."""
    axes.plot(arrays["fine"], SHIFT / (1 + 4 / arrays["fine"]), color=GIBBS)
    axes.axhline(SHIFT, color=_style.BLACK, linestyle=DASHED, linewidth=0.9, label="target")
    _flows(axes, arrays, "shifted")
    axes.set_ylim(0, 2.3)
    axes.set_ylabel("shift of the mean")
    axes.legend(loc="lower right", handletextpad=0.4)


def _radius(axes, arrays):
    """Draw the mean radius at which the ring's flows end."""
    target = float(arrays["none_ring_radius"][0])
    axes.plot(arrays["fine"], arrays["fine_ring_radius"], color=GIBBS)
    axes.axhline(target, color=_style.BLACK, linestyle=DASHED, linewidth=0.9, label="target")
    _flows(axes, arrays, "ring")
    axes.set_ylim(2.0, 3.15)
    axes.set_ylabel("mean radius at the end")
    axes.legend(loc="lower right", handletextpad=0.4)


def _flows(axes, arrays, name):
    """Draw what flows of drawn pairs reach, with standard errors."""
    for kind, words, colour, marker in (
        ("newton", "pairs of the plan", NEWTON, "D"),
        ("gibbs", "weighted pairs", GIBBS, "o"),
    ):
        drawn = arrays[f"{name}_moved_{kind}"]
        error = drawn.std(0, ddof=1) / np.sqrt(len(drawn)) if len(drawn) > 1 else None
        axes.errorbar(
            arrays["flow_epsilons"], drawn.mean(0), error, fmt=marker, color=colour, label=words,
            elinewidth=0.8, zorder=3,
        )  # fmt: skip
    _over_epsilon(axes, arrays)


def _over_epsilon(axes, arrays):
    axes.set_xscale("log", base=2)
    ticks = [0.5, 2, 8, 32, 128]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(arrays["fine"][0], arrays["fine"][-1])
    axes.set_xlabel(r"$\varepsilon$")


def _picture(axes, arrays, name):
    """Draw target and ends of the population's weighted flow, and some of its paths' chords."""
    source, target, end = (arrays[f"{name}_shown_{what}"] for what in ("source", "target", "end"))
    for a, b in zip(source[:60], end[:60], strict=True):
        axes.plot([a[0], b[0]], [a[1], b[1]], color=GIBBS, linewidth=0.4, alpha=0.35, zorder=1)
    for points, colour, words, order in (
        (target, NEWTON, "target", 2),
        (end, GIBBS, "weighted flow", 3),
    ):
        axes.plot(
            *points.T, ".", color=colour, markersize=2.2, alpha=0.7, label=words, zorder=order
        )
    axes.set_aspect("equal", adjustable="datalim")
    axes.grid(False)
    low, high = (-3.3, 4.7) if name == "shifted" else (-3.9, 4.8)
    axes.set_ylim(low, high)
    axes.set_xlim((-2.5, 4.5) if name == "shifted" else (-3.9, 3.9))
    axes.set_xlabel("$x_1$")
    axes.set_ylabel("$x_2$", labelpad=0)
    axes.legend(loc="upper center", ncols=2, markerscale=2.5, handletextpad=0, columnspacing=0.8)


def caption(arrays):
    """Return what is drawn, with sizes."""
    pairs, particles = (int(size) for size in arrays["flow_sizes"])
    return (
        "Gibbs weights exp(-c / epsilon) on independent pairs, squared cost, in place of an "
        "entropic transport plan. Source: a standard normal in the plane. Target: the same shifted "
        "by 2 (top); eight Gaussians of standard deviation 0.2 on a circle of radius 3 (bottom). "
        "(a), (d) Total variation of the weighted coupling to the entropic plan, beside that of "
        "independent pairs, and of the weighted marginals to source and target, which coincide in "
        "(a). Points: means over "
        f"{len(arrays['shifted_gibbs'])} draws of {int(arrays['points'])} points in each cloud. "
        "Lines: the population, in closed form or by quadrature; in (d) the upper two only join "
        "the points, which show the error of the sample where marginals are hardly tilted. Dotted: "
        "where the tilt of the source vanishes in first order, epsilon = "
        "R^2 - 2 q. (b), (e) What the flow reaches that starts from the source: lines, exact "
        f"velocity of the population; points, {pairs} pairs drawn from each plan, with bridges of "
        f"width {float(arrays['sigma']):g}, and {particles} points that follow, over "
        f"{len(arrays['shifted_moved_gibbs'])} draws with standard errors. (c), (f) Ends of the "
        "population's weighted flow, with chords from start to end, beside samples of the target."
    )


def alt(arrays):
    """Return the figure in words."""
    at = int(np.argmin(np.abs(arrays["epsilons"] - 8)))
    mean = {
        (name, field): arrays[f"{name}_{field}"].mean(0)[at]
        for name in ("shifted", "ring")
        for field in ("gibbs", "independent", "source")
    }
    flows = arrays["flow_epsilons"]
    shift, radius = (arrays[f"{name}_moved_gibbs"].mean(0) for name in ("shifted", "ring"))
    target = float(arrays["none_ring_radius"][0])
    return (
        "Six panels, the shifted Gaussian on top, eight Gaussians below. Left: total variations "
        "fall with epsilon. For the shifted Gaussian that of the weighted coupling to the entropic "
        "plan lies above that of independent pairs everywhere; at epsilon = 8 they are "
        f"{mean['shifted', 'gibbs']:.3f} and {mean['shifted', 'independent']:.3f}. For eight "
        f"Gaussians it is {mean['ring', 'gibbs']:.3f} against {mean['ring', 'independent']:.3f} at "
        f"epsilon = 8, the tilt of the source {mean['ring', 'source']:.3f}. Middle: flows of "
        f"weighted pairs shift the mean by {shift[0]:.2f} at epsilon = {flows[0]:g} and by "
        f"{shift[-1]:.2f} at {flows[-1]:g}, in place of 2, and end at a mean radius of "
        f"{radius[0]:.2f} in place of {target:.2f} at epsilon = {flows[0]:g}; flows of pairs from "
        "the plan are at the target throughout. Right: the ends of the weighted flow lie left of "
        "the shifted target, and inside the eight Gaussians."
    )
