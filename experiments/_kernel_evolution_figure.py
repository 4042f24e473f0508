"""The figure of `kernel_evolution`, its caption and its words, from the stored arrays alone."""

import numpy as np

from experiments import _style
from experiments import kernel_evolution as module

MINUS = "\N{MINUS SIGN}"
KERNELS = {
    r"$\Phi^1$": ("feature", 0, _style.SKY),
    r"$\Phi^2$": ("feature", 1, _style.GREEN),
    "NTK": ("ntk", None, _style.ORANGE),
}


def figure(arrays):
    """Draw three panels over steps, and four kernels below."""
    fig, only = _style.subplots(width="wide", aspect=0.62)
    only.remove()
    above, below = fig.subfigures(2, 1, height_ratios=(1.15, 1))
    upper, lower = above.subplots(1, 3), below.subplots(1, 4)
    _losses(upper[0], arrays)
    _alignments(upper[1], arrays)
    _changes(upper[2], arrays)
    last = arrays["feature"][-1].mean(0)[:, -1]
    ntk = arrays["ntk"][-1].mean(0)
    pairs = [(arrays["limit"], "(d) NTK limit, fixed"), (ntk[-1], "muP: NTK, end")]
    pairs += [(last[0], r"muP: $\Phi^2$, start"), (last[-1], r"muP: $\Phi^2$, end")]
    for axes, (kernel, title) in zip(lower, pairs, strict=True):
        reach = np.abs(kernel).max()
        axes.imshow(kernel, cmap="RdBu_r", vmin=-reach, vmax=reach)
        axes.set(xticks=[], yticks=[], title=title)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
    return fig


def _losses(axes, arrays):
    """Draw the loss of both limits."""
    loss, times = arrays["loss"][-1], arrays["times"]
    axes.semilogy(times, loss.mean(0), color=_style.ORANGE, label="muP limit")
    axes.fill_between(times, loss.min(0), loss.max(0), color=_style.ORANGE, alpha=0.25, linewidth=0)
    axes.semilogy(times, arrays["frozen"], "--", color=_style.BLUE, label="NTK limit")
    axes.set_title("(a) loss")
    axes.set(xlabel="step")
    axes.legend(loc="upper right")


def _alignments(axes, arrays):
    """Draw alignments of muP's kernels with their ranges, and that of the fixed NTK."""
    times, y = arrays["times"], arrays["target"]
    for label, (name, layer, colour) in KERNELS.items():
        kernel = arrays[name][-1]
        values = module.alignment(kernel if layer is None else kernel[:, :, layer], y)
        axes.plot(times, values.mean(0), color=colour, label=f"muP, {label}")
        axes.fill_between(times, values.min(0), values.max(0), color=colour, alpha=0.25,
                          linewidth=0)  # fmt: skip
    axes.axhline(module.alignment(arrays["limit"], y), color=_style.BLUE, linestyle="--",
                 label="NTK limit", linewidth=1.3)  # fmt: skip
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.62 * (high - low), high)
    axes.legend(loc="lower right", ncols=2, columnspacing=0.8)
    axes.set_title("(b) alignment with the targets")
    axes.set(xlabel="step")


def _changes(axes, arrays):
    """Draw the relative change of the NTK: muP at two widths, NTP at two."""
    for k, style in ((0, "-"), (-1, (0, (1, 1)))):
        for name, times, widths, colour, words in (
            ("ntk", "times", "widths", _style.ORANGE, "muP"),
            ("tangent", "tangent_times", "tangent_widths", _style.BLUE, "NTP"),
        ):
            values = module.change(arrays[name][k]).mean(0)
            label = f"{words}, {arrays[widths][k]}"
            axes.semilogy(arrays[times][1:], values[1:], color=colour, linestyle=style,
                          linewidth=1.3 - 0.9 * k, label=label)  # fmt: skip
    low, high = axes.get_ylim()
    axes.set_ylim(low / (high / low) ** 0.45, high)
    handles, labels = axes.get_legend_handles_labels()
    order = [0, 2, 1, 3]
    axes.legend([handles[i] for i in order], [labels[i] for i in order], loc="lower right",
                ncols=2, columnspacing=0.8, handlelength=1.9)  # fmt: skip
    axes.set_title("(c) change of the NTK, by width")
    axes.set(xlabel="step")


def caption(arrays):
    """Return what is drawn, with sizes."""
    count, widths = arrays["ntk"].shape[1], arrays["widths"]
    return (
        f"Two hidden erf layers on {len(arrays['target'])} digits, {int(arrays['classes'][0])} and "
        f"{int(arrays['classes'][1])}, on {int(arrays['axes'])} principal axes, full-batch "
        f"gradient descent at rate {float(arrays['rate']):g}. The muP limit is simulated at width "
        f"{widths[-1]}, {count} networks, means and ranges. (a) Loss, beside that under the fixed "
        "kernel of the NTK limit. (b) Alignment of feature kernels and of the NTK with the "
        "targets; dashed, the NTK limit. (c) Relative change of the NTK "
        "in Frobenius norm: in muP the same at both widths, in the neural tangent parametrization "
        f"smaller the wider the network. (d) Kernels between images, class by class, at the start "
        "and after the last step; colours (blue below 0, red above) reach to each kernel's own "
        "largest entry. At the start muP's NTK is the NTK limit."
    )


def alt(arrays):
    """Return the figure in words."""
    y = arrays["target"]
    rows = []
    for name, words in (("feature", "last feature kernel"), ("ntk", "NTK")):
        kernel = arrays[name][-1] if name == "ntk" else arrays[name][-1][:, :, -1]
        values = module.alignment(kernel, y).mean(0)
        rows.append(f"{words} from {values[0]:.2f} to {values[-1]:.2f}")
    rich = module.change(arrays["ntk"])[..., -1].mean(1)
    still = module.change(arrays["tangent"])[..., -1].mean(1)
    return (
        "Three panels over steps, four kernels below. Alignment with the targets grows in muP: "
        f"{', '.join(rows)}. The NTK changes by {rich[0]:.2g} at width {arrays['widths'][0]} and "
        f"{rich[-1]:.2g} at {arrays['widths'][-1]} in muP, by {still[0]:.2g} at "
        f"{arrays['tangent_widths'][0]} and {still[-1]:.2g} at {arrays['tangent_widths'][-1]} in "
        "the neural tangent parametrization. Images: at the end muP's kernels are two blocks, one "
        "for each class, with negative entries between them."
    )
