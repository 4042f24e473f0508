"""The figure of `ntk_convergence`, its caption and its words, from the stored arrays alone."""

import numpy as np

from experiments import _rates, _style


def figure(arrays):
    """Draw the deviation at the start, the change over training, and the kernel along a circle."""
    from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, StrMethodFormatter

    fig, (start, training, circle) = _style.subplots(1, 3, width="wide", aspect=0.40)

    def rate(axes, name, field, style, words, expected, offset):
        """Draw networks as dots, their means, the fitted line, and one of the expected slope."""
        colour, marker = style
        widths, values = arrays[f"{name}_widths"].astype(float), arrays[f"{name}_{field}"]
        means = values.mean(axis=1)
        slope, constant = _rates.line(widths, means)
        # Dots of one width stand side by side, for who wants to count them.
        apart = 1.18 ** np.linspace(-1, 1, values.shape[1])
        axes.loglog(
            np.outer(widths, apart).ravel(), values.ravel(), ".",
            color=colour, alpha=0.35, markersize=2.6, markeredgewidth=0,
        )  # fmt: skip
        axes.loglog(widths, constant * widths**slope, color=colour, linewidth=1.0)
        label = f"{words}: {slope:.2f}".replace("-", "\N{MINUS SIGN}")
        axes.loglog(widths, means, marker, color=colour, label=label, markersize=4)
        word, power = expected
        middle, ends = np.exp(np.log(widths).mean()), widths[[0, -1]]
        beside = offset * constant * middle**slope * (ends / middle) ** power
        axes.loglog(ends, beside, color=_style.GREY, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
        axes.annotate(
            word, (ends[1], beside[1]), xytext=(2, 0), textcoords="offset points",
            color=_style.GREY, va="center", fontsize=7.5,
        )  # fmt: skip

    half, one = ("\N{MINUS SIGN}1/2", -0.5), ("\N{MINUS SIGN}1", -1.0)
    quarters = ("\N{MINUS SIGN}3/4", -0.75)
    rate(start, "start", "deviation", (_style.BLUE, "o"), "ReLU, 2 layers", half, 1.7)
    rate(training, "relu", "change", (_style.ORANGE, "^"), "ReLU, 1 layer", quarters, 2.4)
    rate(training, "erf", "change", (_style.GREEN, "s"), "erf, 2 layers", one, 0.5)
    start.set_title("(a) initialization")
    start.set_ylabel(r"deviation $\|\Theta_n - \Theta\| \,/\, \|\Theta\|$")
    time = float(arrays["flow_time"])
    training.set_title(f"(b) training to time {time:g}")
    training.set_ylabel(r"change $\|\Theta_n(t) - \Theta_n(0)\| \,/\, \|\Theta_n(0)\|$")
    for axes, names in ((start, ("start",)), (training, ("erf", "relu"))):
        every = np.concatenate([arrays[f"{name}_widths"] for name in names])
        axes.set_xlabel("width $n$ (hidden units)")
        # Room on the right for the words at the dashed lines.
        axes.set_xlim(every.min() / 1.5, every.max() * 3.2)
        powers = 2.0 ** np.arange(5, 20, 2 if len(set(every)) > 3 else 1)
        axes.xaxis.set_major_locator(
            FixedLocator([p for p in powers if every.min() <= p <= every.max()])
        )
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
        axes.set_ylim(top=axes.get_ylim()[1] * (1.25 if axes is start else 2.0))
        axes.legend(loc="upper right", title="fitted slope", alignment="right", handletextpad=0.2)
    start.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    start.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    start.yaxis.set_minor_locator(NullLocator())

    angles = arrays["angles"]
    for row, colour in ((0, _style.SKY), (-1, _style.ORANGE)):
        circle.plot(angles, arrays["path_kernel"][row].T, color=colour, linewidth=0.5)
        circle.plot([], [], color=colour, label=f"$n$ = {arrays['path_widths'][row]}")
    circle.plot(
        angles, arrays["path_limit"], color=_style.BLACK, linestyle=(0, (3, 1.5)),
        linewidth=1.0, label="limit",
    )  # fmt: skip
    circle.set_title("(c) along a circle of images")
    circle.set_xlabel(r"angle $\gamma$ (radians)")
    circle.set_ylabel(r"kernel $\Theta_n(x(0),\, x(\gamma))$")
    circle.set_xticks(
        np.pi * np.array([-1, -0.5, 0, 0.5, 1]), [r"$-\pi$", r"$-\pi/2$", "0", r"$\pi/2$", r"$\pi$"]
    )
    circle.set_ylim(bottom=0)
    circle.legend(loc="upper left", borderaxespad=0.1)
    return fig


def caption(arrays):
    """Return what is drawn, with sizes and seeds."""
    counts = {name: arrays[f"{name}_{field}"].shape for name, field in (
        ("start", "deviation"), ("erf", "change"), ("relu", "change"))}  # fmt: skip
    spans = {
        name: f"widths {arrays[f'{name}_widths'].min()} to {arrays[f'{name}_widths'].max()}, "
        f"{shape[1]} networks each"
        for name, shape in counts.items()
    }
    return (
        f"NTK of networks without biases on {int(arrays['images'])} images ({arrays['data']}), "
        "mean removed, each scaled to norm sqrt(784). "
        "(a) Relative Frobenius distance from the analytic kernel: two hidden ReLU layers, ten "
        f"outputs, {spans['start']}. (b) Relative change over gradient flow to time "
        f"{float(arrays['flow_time']):g}: erf, two hidden layers, ten outputs, {spans['erf']}; "
        f"ReLU, one hidden layer, one output (even against odd digits), {spans['relu']}. Dots are "
        "single networks, set side by side; symbols their means; dashed lines have the stated "
        "slopes. (c) The kernel between an image and the points of a great circle through it and a "
        "second image, for single networks as in (a), and its limit."
    )


def alt(arrays):
    """Return the figure in words."""

    def slope(name, field):
        return _rates.slope(arrays[f"{name}_widths"], arrays[f"{name}_{field}"].mean(axis=1))

    widths, start = arrays["start_widths"], arrays["start_deviation"].mean(axis=1)
    narrow, wide = arrays["path_widths"][0], arrays["path_widths"][-1]
    return (
        "Three panels. Left, logarithmic axes: the relative deviation of the NTK from its limit "
        f"falls from {start[0]:.2g} at width {widths[0]} to {start[-1]:.2g} at width {widths[-1]}, "
        f"along a line of slope {slope('start', 'deviation'):.2f}, beside a dashed line of slope "
        "-1/2. Middle, logarithmic axes: the relative change of the NTK over training falls with "
        f"slope {slope('erf', 'change'):.2f} for erf and {slope('relu', 'change'):.2f} for ReLU, "
        "beside dashed lines of slopes -1 and -3/4. Right: the kernel along a circle of images, a "
        f"bump around angle 0; the curves of networks of width {narrow} scatter widely around the "
        f"limit, those of width {wide} lie close to it."
    )
