"""The figure of `nonlinear_limit`, its caption and its words, from the stored arrays alone."""

import numpy as np

from experiments import _style
from experiments import nonlinear_limit as module
from experiments._rates import line

MINUS = "\N{MINUS SIGN}"
COLOURS = {"one hidden layer": _style.BLUE, "two hidden layers": _style.ORANGE}


def figure(arrays):
    """Draw three panels."""
    fig, (left, middle, right) = _style.subplots(1, 3, width="wide", aspect=0.38)
    _outputs(left, arrays)
    _by_width(middle, arrays)
    _quantiles(right, arrays)
    return fig


def _outputs(axes, arrays):
    """Draw the limit's outputs and the spread of networks of two widths."""
    times, limit = arrays["times"], arrays["limit"]
    outputs, count = arrays["outputs"], len(arrays["widths"])
    for k in range(limit.shape[1]):
        for i, strength in ((0, 0.15), (min(2, count - 1), 0.35)):
            mean, spread = outputs[i, :, :, k].mean(0), outputs[i, :, :, k].std(0)
            axes.fill_between(times, mean - spread, mean + spread, color=_style.BLUE,
                              alpha=strength, linewidth=0)  # fmt: skip
        axes.plot(times, limit[:, k], color=_style.BLACK, linewidth=1.0)
        axes.plot(times[-1] * 1.03, arrays["target"][k], marker="<", color=_style.ORANGE)
    shown = [arrays["widths"][i] for i in (0, min(2, count - 1))]
    axes.text(0.97, 0.36, f"bands: $n$ = {shown[0]}, {shown[1]}", fontsize=7, ha="right",
              transform=axes.transAxes)  # fmt: skip
    axes.set_title("(a) one hidden layer")
    axes.set(xlabel="step", ylabel="output at a point")


def families(arrays):
    """Return {name: (widths, root mean square deviations, slope, constant)}."""
    found = {}
    for name, widths, values in (
        ("one hidden layer", arrays["widths"], module.squares(arrays, -1)),
        ("two hidden layers", arrays["deep_widths"], module.squares(arrays)),
    ):
        away = np.sqrt(values.mean(1))
        found[name] = (widths.astype(float), away, *line(widths, away))
    return found


def _by_width(axes, arrays):
    """Draw deviations against the width, with their lines."""
    from matplotlib.ticker import FixedLocator, NullLocator

    ticks = set()
    for (name, (widths, away, rate, constant)), marker in zip(
        families(arrays).items(), "os", strict=True
    ):
        words = f"{rate:.2f}".replace("-", MINUS)
        axes.loglog(widths, away, marker, color=COLOURS[name])
        axes.loglog(widths, constant * widths**rate, color=COLOURS[name], linewidth=1.0,
                    label=f"{name}: {words}")  # fmt: skip
        ticks |= set(widths)
    chosen = sorted(ticks)[:: max(1, len(ticks) // 3)]
    axes.xaxis.set_major_locator(FixedLocator(chosen))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"$2^{{{np.log2(tick):.0f}}}$" for tick in chosen])
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.42)
    axes.legend(loc="upper right", title="slope", title_fontsize=7.5)
    axes.set_title("(b) distance to the limit")
    axes.set(xlabel="width $n$", ylabel="root mean square")


def _quantiles(axes, arrays):
    """Draw sorted outputs of simulated networks against those of dense ones, point by point."""
    ours, dense = np.sort(arrays["law_ours"], 0), np.sort(arrays["law_dense"], 0)
    ends = [min(ours.min(), dense.min()), max(ours.max(), dense.max())]
    axes.plot(ends, ends, color=_style.GREY, linewidth=0.8)
    for k in range(ours.shape[1]):
        axes.plot(dense[:, k], ours[:, k], ".", markersize=3, color=_style.CYCLE[k],
                  label=f"$x_{k + 1}$")  # fmt: skip
    axes.legend(loc="lower right", handletextpad=0.1, markerscale=2)
    axes.set_title(f"(c) quantiles, $n$ = {int(arrays['law_width'])}")
    axes.set(xlabel="dense networks", ylabel="simulated networks")


def caption(arrays):
    """Return what is drawn, with sizes."""
    widths, count = arrays["widths"], arrays["outputs"].shape[1]
    return (
        f"muP networks of tanh units. (a) One hidden layer on {len(arrays['target'])} points of a "
        "circle: outputs of the limit (black), means and one standard deviation of "
        f"{count} networks of widths {widths[0]} (light) and {widths[min(2, len(widths) - 1)]} "
        f"(dark), targets (triangles). (b) Distance of outputs to the limit after "
        f"{int(arrays['times'][-1])} and {int(arrays['deep_steps'])} steps, root mean square over "
        "points and networks, with slopes; for two hidden layers the limit is the mean of "
        f"{len(arrays['reference'])} simulated networks of width "
        f"{int(arrays['reference_width'])}, and no n x n matrix is stored at any width. "
        f"(c) Sorted outputs of {len(arrays['law_ours'])} simulated networks of two hidden layers "
        "against those of as many dense ones, after training, at each point."
    )


def alt(arrays):
    """Return the figure in words."""
    rows = [
        f"{name}: {away[0]:.2g} at width {int(widths[0])}, {away[-1]:.2g} at {int(widths[-1])}, "
        f"slope {rate:.2f}".replace("slope -", f"slope {MINUS}")
        for name, (widths, away, rate, _) in families(arrays).items()
    ]
    means, spreads = module.law(arrays)
    return (
        "Three panels. Left: outputs go from 0 towards their targets; networks spread around the "
        f"limit, less at the larger width. Middle, logarithmic, distances: {'; '.join(rows)}. "
        "Right: quantiles of simulated and of dense networks lie on the diagonal; means differ by "
        f"at most {np.abs(means).max():.1f} standard errors, log spreads by at most "
        f"{np.abs(spreads).max():.1f}."
    )
