"""The figure of `kernel_vs_rich`, its caption and its words, from the stored arrays alone."""

import numpy as np

from experiments import _style
from experiments._rates import line
from experiments.kernel_vs_rich import PARAMETRIZATIONS, geometric

COLOURS = {"NTP": _style.BLUE, "muP": _style.ORANGE}
MINUS = chr(8722)


def figure(arrays):
    """Draw the change over steps and by width, and a kernel before and after."""
    fig, axes = _style.subplots(2, 4, width="wide", aspect=0.44, width_ratios=(1.45, 1.55, 1, 1))
    grid = axes[0, 0].get_gridspec()
    for one in axes[:, :2].ravel():
        one.remove()
    _over_steps(fig.add_subplot(grid[:, 0]), arrays)
    _by_width(fig.add_subplot(grid[:, 1]), arrays)
    for row, name in enumerate(PARAMETRIZATIONS):
        for place, when in enumerate(("start", "end")):
            kernel = arrays["matrices"][row, place]
            image, reach = axes[row, 2 + place], np.abs(kernel).max()
            image.imshow(kernel, cmap="RdBu_r", vmin=-reach, vmax=reach)
            image.set(xticks=[], yticks=[])
            image.grid(visible=False)
            image.spines[:].set_visible(False)
            letter = "(c) " if row == place == 0 else ""
            image.set_title(f"{letter}{name}, {when}")
    return fig


def _over_steps(axes, arrays):
    """Draw the relative change of kernels over the steps, a line for each width."""
    means = geometric(arrays["kernel"][..., 1:])
    steps, widths = arrays["steps"][1:], arrays["widths"]
    for k, (name, colour) in enumerate(COLOURS.items()):
        for i in range(len(widths)):
            strength = 0.3 + 0.7 * (i + 1) / len(widths)
            axes.semilogy(steps, means[i, k], color=colour, alpha=strength, linewidth=0.7 + 0.3 * i)
        axes.text(
            steps[-1], means[:, k, -1].max() * 1.35, name, color=colour, ha="right", va="bottom"
        )
    axes.set_ylim(top=float(means.max()) * 3)
    axes.set_title("(a) kernel's change")
    axes.set(xlabel="step", ylabel="relative, Frobenius norm")
    axes.text(
        0.97, 0.03, f"thicker: wider, {widths[0]} to {widths[-1]}", fontsize=7,
        transform=axes.transAxes, ha="right", va="bottom",
    )  # fmt: skip


def _by_width(axes, arrays):
    """Draw changes of kernels and of features at the end, with their fitted slopes."""
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    widths = arrays["widths"].astype(float)
    for k, (name, colour) in enumerate(COLOURS.items()):
        for what, values, style, marker in (
            ("kernel", arrays["kernel"], "-", "o"),
            ("feature", arrays["features"], (0, (3, 1.5)), "s"),
        ):
            end = geometric(values[:, :, k, -1])
            rate, constant = line(widths, end)
            axes.loglog(widths, end, marker, color=colour)
            axes.loglog(
                widths, constant * widths**rate, color=colour, linestyle=style, linewidth=1.0,
                label=f"{name}, {what}: {rate:+.2f}".replace("-", MINUS),
            )  # fmt: skip
    axes.xaxis.set_major_locator(FixedLocator(list(widths)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
    axes.set_title("(b) by width, at the end; slopes")
    axes.set(xlabel="width $n$")
    low, high = axes.get_ylim()
    axes.set_ylim(low / 10, high)
    axes.legend(loc="lower left")


def caption(arrays):
    """Return what is drawn, with sizes."""
    widths, count = arrays["widths"], arrays["kernel"].shape[1]
    return (
        "Two hidden tanh layers trained by full-batch gradient descent at rate "
        f"{float(arrays['rate']):g} on {int(arrays['points'])} points of a circle, in the neural "
        f"tangent parametrization (NTP) and in muP; {count} networks at each width, geometric "
        "means. (a) Change of the tangent kernel relative to its start. (b) After "
        f"{int(arrays['steps'][-1])} steps against the width. In NTP the kernel's relative change "
        "over training is of order 1/n, though each feature, that is each preactivation of the "
        "last hidden layer, changes by order one over the root of n (dashed, root mean square): "
        "the kernel averages over features. In muP neither depends on the width. (c) Kernels of "
        f"one network of width {widths[-1]} on the points in their order on the circle; colours "
        "(blue below 0, red above) reach to each kernel's own largest entry."
    )


def alt(arrays):
    """Return the figure in words."""
    widths = arrays["widths"]
    rows = []
    for k, name in enumerate(PARAMETRIZATIONS):
        end = geometric(arrays["kernel"][:, :, k, -1])
        features = line(widths, geometric(arrays["features"][:, :, k, -1]))[0]
        loss = arrays["loss"][-1, :, k, [0, -1]].mean(1)
        rows.append(
            f"{name}: the kernel changes by {end[0]:.3g} at width {widths[0]} and {end[-1]:.3g} at "
            f"{widths[-1]}, slope {line(widths, end)[0]:.2f}; features, slope {features:.2f}; mean "
            f"loss of the widest {loss[0]:.2g} at the start, {loss[1]:.2g} at the end"
        )
    words = "; ".join(rows).replace("slope -", f"slope {MINUS}")
    return (
        "Three panels. Left, the kernel's change grows over steps: the lines of muP lie on each "
        "other, those of NTP lie lower the wider the network. Middle, logarithmic: changes at the "
        f"end against the width. {words}. Right: kernels as images, before and after training; "
        "those of NTP look alike, those of muP differ."
    )
