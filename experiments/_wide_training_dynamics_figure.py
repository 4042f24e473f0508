"""The figure of `wide_training_dynamics`, its caption and its words, from stored arrays alone."""

import numpy as np

from experiments import _deviations, _rates, _style

SHOWN = (0, 6, 9)  # test images whose curves end apart
FAINT = 16  # single networks drawn in panel (b)
DASHED = (0, (3, 1.5))


def figure(arrays):
    """Draw outputs over steps, centred and as drawn, and the deviations over width and number."""
    fig, ((centred, drawn), (width, number)) = _style.subplots(2, 2, width="wide", aspect=0.74)
    _centred(centred, arrays)
    _drawn(drawn, arrays)
    _over_width(width, arrays)
    _over_number(number, arrays)
    return fig


def _centred(axes, arrays):
    """Draw the widest centred networks on three test images: the output for the image's class."""
    steps, mean, widest = arrays["steps"], arrays["mean"], arrays["widths"][-1]
    f = arrays[f"centred_{widest}"]
    points = [point for point in SHOWN if point < len(arrays["labels"])]
    for point, colour in zip(points, (_style.BLUE, _style.ORANGE, _style.GREEN), strict=False):
        label = int(arrays["labels"][point])
        axes.plot(steps, f[:, :, point, label].T, color=colour, alpha=0.35, linewidth=0.4)
        axes.plot(steps, f.mean(0)[:, point, label], color=colour, label=f"digit {label}")
        axes.plot(steps, mean[:, point, label], color=_style.BLACK, linestyle=DASHED, linewidth=1.0)
    axes.plot([], [], color=_style.BLACK, linestyle=DASHED, linewidth=1.0, label="theory")
    axes.set_title(f"(a) centred, $n$ = {widest}, mean of {len(f)}")
    _over_steps(axes)


def _drawn(axes, arrays):
    """Draw networks as drawn on one test image, with the ensemble's band."""
    steps, width = arrays["steps"], arrays["ensemble_widths"].max()
    f, point = arrays[f"drawn_{width}"], SHOWN[0]
    label = int(arrays["labels"][point])
    theory = arrays["mean"][:, point, label]
    spread = np.sqrt(arrays["cov"][:, point, point])
    axes.fill_between(
        steps, theory - spread, theory + spread,
        color=_style.GREY, alpha=0.3, linewidth=0, label="theory \N{PLUS-MINUS SIGN} 1 sd",
    )  # fmt: skip
    axes.plot(steps, f[:FAINT, :, point, label].T, color=_style.SKY, linewidth=0.4)
    axes.plot([], [], color=_style.SKY, linewidth=0.8, label="networks")
    axes.plot(steps, f.mean(0)[:, point, label], color=_style.BLUE, label=f"mean of {len(f)}")
    axes.plot(steps, theory, color=_style.BLACK, linestyle=DASHED, linewidth=1.0, label="theory")
    axes.set_title(f"(b) as drawn, $n$ = {width}, digit {label}")
    _over_steps(axes)


def _over_steps(axes):
    axes.set_xlabel("gradient descent steps")
    axes.set_ylabel("output for the image's class")
    axes.margins(x=0.02)
    axes.legend(ncols=2, columnspacing=1.0)


def _over_width(axes, arrays):
    """Draw the deviation of the mean of a few networks: it falls only where they are centred."""
    mean, scale = arrays["mean"], float(arrays["targets_rms"])
    widths, few = arrays["widths"].astype(float), len(arrays[f"centred_{arrays['widths'][0]}"])
    values = [_deviations.worst(arrays[f"centred_{w}"], mean, scale) for w in arrays["widths"]]
    slope, constant = _rates.line(widths, values)
    drawn = [
        _deviations.at_the_end(arrays[f"drawn_{w}"], mean, scale, few)
        for w in arrays["drawn_widths"]
    ]
    level = _deviations.band(arrays["cov"], scale) / np.sqrt(few)
    axes.loglog(
        widths[[0, -1]], [level, level], color=_style.BLACK, linestyle=DASHED, linewidth=1.0,
        label="band of theory / \N{SQUARE ROOT}" + str(few),
    )  # fmt: skip
    axes.loglog(
        arrays["drawn_widths"], drawn, "s", color=_style.ORANGE, label=f"as drawn, mean of {few}"
    )
    axes.loglog(widths, constant * widths**slope, color=_style.BLUE, linewidth=1.0)
    words = f"centred, mean of {few}: slope {slope:.2f}".replace("-", "\N{MINUS SIGN}")
    axes.loglog(widths, values, "o", color=_style.BLUE, label=words)
    axes.set_title("(c) deviation over width")
    axes.set_xlabel("width $n$ (hidden units)")
    _logarithmic(axes, arrays["widths"])
    axes.legend(loc="center right", bbox_to_anchor=(1.0, 0.68))


def _over_number(axes, arrays):
    """Draw the deviation of the mean of N networks as drawn: it falls with N alone."""
    mean, scale = arrays["mean"], float(arrays["targets_rms"])
    styles = ((_style.GREEN, "^"), (_style.ORANGE, "s"), (_style.PINK, "D"))
    level, most = _deviations.band(arrays["cov"], scale), 1
    widths = sorted({*arrays["ensemble_widths"], arrays["drawn_widths"][-1]})
    for width, (colour, marker) in zip(widths, styles, strict=False):
        f = arrays[f"drawn_{width}"]
        counts = _deviations.counts(len(f))
        values = [_deviations.at_the_end(f, mean, scale, count) for count in counts]
        words = f"$n$ = {width}: slope {_rates.slope(counts, values):.2f}"
        axes.loglog(
            counts, values, marker, color=colour, label=words.replace("-", "\N{MINUS SIGN}")
        )
        most = max(most, counts[-1])
    ends = np.array([1.0, most])
    axes.loglog(
        ends, level / np.sqrt(ends), color=_style.BLACK, linestyle=DASHED, linewidth=1.0,
        label="band of theory / \N{SQUARE ROOT}N", zorder=1,
    )  # fmt: skip
    axes.set_title("(d) as drawn, over number")
    axes.set_xlabel("number $N$ of networks averaged")
    _logarithmic(axes, _deviations.counts(most))
    axes.legend(loc="lower left")


def _logarithmic(axes, places):
    """Plain numbers on logarithmic axes."""
    from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, StrMethodFormatter

    axes.xaxis.set_major_locator(FixedLocator(list(places)))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    for axis, form in ((axes.xaxis, "{x:.0f}"), (axes.yaxis, "{x:g}")):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(StrMethodFormatter(form))
    axes.set_ylabel("deviation / rms of targets")


def caption(arrays):
    """Return what is drawn, with data, sizes and numbers of networks."""
    widths, labels = arrays["widths"], arrays["labels"]
    few, many = len(arrays[f"centred_{widths[0]}"]), arrays["ensemble_widths"].max()
    digits = ", ".join(str(labels[point]) for point in SHOWN if point < len(labels))
    return (
        f"Gradient descent on {int(arrays['n_train'])} images ({arrays['data']}), tested on "
        f"{len(labels)}: networks with two hidden ReLU layers and ten outputs against the closed "
        f"form in the same steps. (a) {few} centred networks of width {widths[-1]} (faint), their "
        f"mean and theory (dashed), on test images of the digits {digits}: output for the image's "
        f"class. (b) Networks as drawn, width {many}: single ones, the mean of "
        f"{len(arrays[f'drawn_{many}'])}, and the ensemble's mean and standard deviation. "
        f"(c) Deviation of the mean of {few} networks from theory's mean, root mean square over "
        "test points and outputs, relative to the targets': centred (worst step), widths "
        f"{widths[0]} to {widths[-1]}, and as drawn (last step). (d) The same for means of N "
        "networks as drawn. Narrow networks scatter less than the band, a correction that "
        "vanishes with the width."
    )


def alt(arrays):
    """Return the figure in words."""
    mean, scale = arrays["mean"], float(arrays["targets_rms"])
    widths, many = arrays["widths"], arrays["ensemble_widths"].max()
    values = [_deviations.worst(arrays[f"centred_{w}"], mean, scale) for w in widths]
    f = arrays[f"drawn_{many}"]
    counts = _deviations.counts(len(f))
    averaged = [_deviations.at_the_end(f, mean, scale, count) for count in counts]
    return (
        "Four panels. Top left: outputs of centred networks over the steps of gradient descent, "
        f"along theory's dashed curves; at width {widths[-1]} mean and theory can hardly be told "
        "apart. Top right: single networks as drawn wander in a wide band around theory, and the "
        f"mean of {len(f)} follows its centre. Bottom left, logarithmic axes: the deviation of the "
        f"mean of centred networks falls from {values[0]:.2g} at width {widths[0]} to "
        f"{values[-1]:.2g} at width {widths[-1]}, slope {_rates.slope(widths, values):.2f}; "
        "that of "
        "networks as drawn does not fall. Bottom right, logarithmic axes: the deviation of the "
        f"mean of networks as drawn falls with their number, from {averaged[0]:.2g} for one to "
        f"{averaged[-1]:.2g} for {counts[-1]}, and is nearly the same at all widths."
    )
