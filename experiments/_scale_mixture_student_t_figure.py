"""The figure of `scale_mixture_student_t`, its caption and its words, from stored arrays alone."""

import numpy as np
from scipy import stats

from experiments import _style
from experiments._scale_mixture_student_t_data import NAMES

DASHED = (0, (3, 1.5))
GAUSSIAN, STUDENT = 0, 1
COLOURS = (_style.ORANGE, _style.BLUE)
SMALLEST = 1e-20  # p-values below are drawn there


def figure(arrays):
    """Draw tails, p-values over widths, and test errors of both processes."""
    fig, ((tails, values), (off, tuned)) = _style.subplots(2, 2, width="wide", aspect=0.74)
    _tails(tails, arrays)
    _p_values(values, arrays)
    _off(off, arrays)
    _tuned(tuned, arrays)
    return fig


def _tails(axes, arrays):
    """Draw how often outputs exceed a bound, beside both laws."""
    a, b = arrays["prior"]
    outputs = np.sort(np.abs(arrays["outputs"].astype(float)))
    above = (len(outputs) - np.arange(len(outputs))) / len(outputs)
    student = stats.t(2 * a, scale=np.sqrt(b / a))
    u = np.geomspace(0.3, 100, 300)
    axes.loglog(u, 2 * student.sf(u), color=COLOURS[STUDENT], label=f"Student-t, {2 * a:g} dof")
    axes.loglog(
        u, 2 * stats.norm(scale=student.std()).sf(u), color=COLOURS[GAUSSIAN],
        label="Gaussian, same variance",
    )  # fmt: skip
    # As many points as can be told apart: one for each step in log probability.
    shown = np.unique(
        np.searchsorted(-above, -np.geomspace(0.8, 1 / len(outputs), 40)).clip(0, len(above) - 1)
    )
    axes.loglog(
        outputs[shown], above[shown], "o", color=_style.BLACK, markersize=3,
        label=f"networks, width {arrays['widths'][-1]}",
    )  # fmt: skip
    axes.set_xlim(0.3, 100)
    axes.set_ylim(0.4 / len(outputs), 1.5)
    axes.set_title("(a) tail of the outputs")
    axes.set_xlabel(r"bound $u$")
    axes.set_ylabel(r"share with $|f| > u \sqrt{K}$")
    axes.legend(loc="upper right")


def _p_values(axes, arrays):
    """Draw p-values of all seeds against both laws, with their medians against t."""
    widths, depths = arrays["widths"].astype(float), arrays["depths"]
    for row, depth in enumerate(depths):
        shift = 1.14 ** (2 * row - len(depths) + 1)
        marker = "os"[row % 2]
        places = np.repeat(widths * shift, arrays["student"].shape[2])
        for field, process in (("student", STUDENT), ("gaussian", GAUSSIAN)):
            p = np.maximum(arrays[field][row].ravel(), SMALLEST)
            axes.loglog(places, p, marker, color=COLOURS[process], alpha=0.55, markersize=3)
        medians = np.median(arrays["student"][row], axis=1)
        axes.loglog(
            widths * shift, medians, "_", color=_style.BLACK, markersize=8, markeredgewidth=1.2
        )
        words = f"{depth} hidden layer{'s' if depth > 1 else ''}"
        axes.plot([], [], marker, color=_style.BLACK, markersize=3, label=words)
    axes.plot([], [], "_", color=_style.BLACK, markersize=8, markeredgewidth=1.2, label="median")
    left, right = widths[0] / 1.7, widths[-1] * 3
    for level, words in ((0.05, "0.05"), (1e-3, "0.001"), (1e-6, r"$10^{-6}$")):
        axes.axhline(level, color=_style.GREY, linestyle=DASHED, linewidth=0.8, zorder=1)
        axes.text(right, level, words, fontsize=6.5, color="#555555", ha="right", va="bottom")
    for level, process, words in (
        (2e-5, STUDENT, "against Student-t"), (2e-8, GAUSSIAN, "against the Gaussian"),
    ):  # fmt: skip
        axes.text(np.sqrt(left * right), level, words, color=COLOURS[process], ha="center")
    axes.set_title("(b) Kolmogorov-Smirnov test")
    axes.set_xlabel("width (hidden units)")
    axes.set_ylabel(f"p-value of {int(arrays['draws'])} outputs")
    axes.set_xlim(left, right)
    axes.set_ylim(SMALLEST / 1e4, 5)
    _plain(axes, arrays["widths"])
    axes.legend(loc="lower center", ncols=3, handletextpad=0.1, columnspacing=1.0)


def _off(axes, arrays):
    """Draw test errors where the prior's scale is off by a factor, at a middle training size."""
    factors, row = arrays["factors"], len(arrays["sizes"]) // 2
    for name, line in zip(NAMES, ("-", DASHED), strict=True):
        errors = arrays[f"{name}_errors"][row]
        for process, words in ((GAUSSIAN, "Gaussian"), (STUDENT, "Student-t")):
            axes.semilogx(
                factors, errors[:, process].mean(axis=0), color=COLOURS[process], linestyle=line,
                label=f"{words}, {name}",
            )  # fmt: skip
    axes.axvline(1, color=_style.GREY, linestyle=":", linewidth=0.9)
    axes.annotate(
        "tuned", (1, 0.02), xycoords=("data", "axes fraction"), xytext=(2, 0), fontsize=7,
        textcoords="offset points", color="#555555", va="bottom",
    )  # fmt: skip
    axes.set_title(f"(c) not tuned: prior's scale off, {arrays['sizes'][row]} rows")
    axes.set_xlabel("scale of the prior over the tuned one")
    axes.set_ylabel("test NLL per row (nats)")
    low = min(arrays[f"{name}_errors"][row].mean(axis=0).min() for name in NAMES)
    axes.set_ylim(low - 0.7, low + 4.7)
    axes.legend(loc="upper right")


def _tuned(axes, arrays):
    """Draw the difference in test error of the tuned processes over the training size."""
    sizes, middle = arrays["sizes"].astype(float), len(arrays["factors"]) // 2
    for name, colour, marker, shift in zip(
        NAMES, (_style.GREEN, _style.PINK), "os", (0.97, 1.03), strict=True
    ):
        errors = arrays[f"{name}_errors"][..., middle]
        gain = errors[:, :, GAUSSIAN] - errors[:, :, STUDENT]
        axes.errorbar(
            sizes * shift, gain.mean(axis=1), gain.std(axis=1) / np.sqrt(max(gain.shape[1] - 1, 1)),
            color=colour, marker=marker, linewidth=1.0, label=name,
        )  # fmt: skip
    axes.axhline(0, color=_style.BLACK, linewidth=0.8)
    axes.annotate(
        "above 0: Student-t predicts better", (0.98, 0.72), xycoords="axes fraction", fontsize=7,
        color="#555555", ha="right",
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_title("(d) both tuned by marginal likelihood")
    axes.set_xlabel("training rows")
    axes.set_ylabel("NLL, Gaussian \N{MINUS SIGN} Student-t (nats)")
    _plain(axes, arrays["sizes"])
    axes.legend(loc="upper right")


def _plain(axes, places):
    """Plain numbers on a logarithmic axis."""
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    axes.xaxis.set_major_locator(FixedLocator(list(places)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))


def caption(arrays):
    """Return what is drawn, with data and sizes."""
    widths, seeds = arrays["widths"], arrays["student"].shape[2]
    a, b = arrays["prior"]
    splits, row = arrays[f"{NAMES[0]}_errors"].shape[1], len(arrays["sizes"]) // 2
    count = len(arrays["outputs"])
    return (
        "ReLU networks whose last layer has a random variance, inverse gamma with shape "
        f"{a:g} and scale {b:g}. (a) How often the output at one image exceeds a bound, in units "
        f"of the square root of the kernel: {count:,} networks with {int(arrays['depths'][-1])} "
        f"hidden layers of {widths[-1]} units, and both laws. (b) p-values of {seeds} seeds, "
        f"{int(arrays['draws'])} networks each, against Student-t and against the Gaussian of the "
        f"same variance (those below {SMALLEST:g} are drawn there). Dashed: 0.05 for medians and "
        "0.001 for single seeds, and 1e-6 for the Gaussian, all asked of widths from 256. (c), (d) "
        "Negative log likelihood (NLL) of single test rows under Gaussian and Student-t processes "
        f"with the kernel of two hidden ReLU layers: means over {splits} splits. (c) "
        f"{arrays['sizes'][row]} training rows; all variances of the prior are off by a factor: "
        "the case that favours the Student-t process. (d) Both tuned by their own marginal "
        "likelihood: they differ in their tails alone. Bars are standard errors over splits, which "
        "share rows."
    )


def alt(arrays):
    """Return the figure in words."""
    student, gaussian = arrays["student"], arrays["gaussian"]
    medians = np.median(student, axis=2)
    row, middle = len(arrays["sizes"]) // 2, len(arrays["factors"]) // 2
    errors = arrays[f"{NAMES[0]}_errors"][row].mean(axis=0)
    gains = []
    for name in NAMES:
        found = arrays[f"{name}_errors"][..., middle]
        gain = (found[:, :, GAUSSIAN] - found[:, :, STUDENT]).mean(axis=1)
        gains.append(f"{gain[0]:.3f} to {gain[-1]:.4f} for {name}")
    factors, sizes = arrays["factors"], arrays["sizes"]
    return (
        "Four panels. Top left, logarithmic axes: the outputs' tail follows the straight line of "
        "Student-t and lies far above the Gaussian's, which drops. Top right: p-values against "
        f"Student-t have medians from {medians.min():.2f} to {medians.max():.2f} at all widths, "
        f"the smallest single one being {student.min():.2g}; against the Gaussian the largest is "
        f"{gaussian.max():.1g}. Bottom left: with the prior's scale off by factors from "
        f"{factors[0]:g} to {factors[-1]:g} the Gaussian process's test error on {NAMES[0]} goes "
        f"from {errors[GAUSSIAN, 0]:.3g} nats down to {errors[GAUSSIAN].min():.3g} and up to "
        f"{errors[GAUSSIAN, -1]:.3g}, the Student-t one's stays between "
        f"{errors[STUDENT].min():.3g} and {errors[STUDENT].max():.3g}. Bottom right: tuned, the "
        f"Gaussian process's error less the Student-t one's falls with {sizes[0]} to {sizes[-1]} "
        f"training rows from {gains[0]}, and from {gains[1]}."
    )
