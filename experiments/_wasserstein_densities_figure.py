"""The figure of `wasserstein_densities`, its caption and its words, from the arrays alone."""

import numpy as np

from experiments import _style
from experiments import _wasserstein_densities_cases as cases
from experiments import _wasserstein_densities_exact as exact

DASHED, DOTTED = (0, (3, 1.5)), (0, (1, 1.2))
TITLES = {
    "line_w2": "$W_2^2$ on a line",
    "line_w1": "$W_1$ on a line",
    "plane_w2": "$W_2^2$ in the plane",
    "plane_w1": "$W_1$ in the plane",
}
CURVES = (
    ("value", "value", _style.BLUE, "o"),
    ("rounded", "plan, rounded", _style.GREEN, "s"),
    ("sharp", "plan", _style.AMBER, None),
    ("debiased", "debiased", _style.PINK, "D"),
)
ROWS = (
    ("mixed", "mean of\npixels"),
    ("blurred", "entropic\nbarycenter"),
    ("debiased", "debiased\nbarycenter"),
)


def figure(arrays):
    """Draw the densities, the errors of their distances, and the digits in between."""
    names = [name for name in TITLES if f"{name}_epsilon" in arrays]
    columns = arrays["blurred_images"].shape[0]
    height = 3.0 + min(3.2, 0.5 + 21.0 / columns)
    fig, whole = _style.subplots(width="wide", aspect=height / _style.WIDTHS["wide"])
    whole.remove()
    upper, lower = fig.subfigures(2, 1, height_ratios=[3.0, height - 3.0])
    at = upper.subplots(
        2, len(names), squeeze=False, gridspec_kw={"height_ratios": [0.32, 1], "hspace": 0.03}
    )
    for column, name in enumerate(names):
        _densities(at[0, column], arrays, name)
        at[0, column].set_title(f"({'abcd'[column]}) {TITLES[name]}")
        _errors(at[1, column], arrays, name)
    at[1, 0].set_ylabel("distance to the exact cost")
    handles, labels = at[1, 0].get_legend_handles_labels()
    upper.legend(handles, labels, loc="outside lower center", ncols=len(labels), columnspacing=1.3)
    _digits(lower, arrays, columns, "abcde"[len(names)])
    return fig


def _densities(axes, arrays, name):
    """Draw both densities of a pair, blue and orange."""
    a, b = arrays[f"{name}_a"], arrays[f"{name}_b"]
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
    if a.ndim == 1:
        x, _ = cases.lattice(len(a))
        for mass, colour in ((a, _style.BLUE), (b, _style.ORANGE)):
            axes.fill_between(x, mass, color=colour, alpha=0.35, linewidth=0)
            axes.plot(x, mass, color=colour, linewidth=1.0)
        axes.axhline(0, color="#555555", linewidth=0.6)
        axes.set_xlim(-5.5, 5.5)
        axes.set_ylim(0, 1.08 * max(a.max(), b.max()))
        return
    from matplotlib.colors import to_rgb

    paper = np.ones((*a.shape, 3))
    for mass, colour in ((a, _style.BLUE), (b, _style.ORANGE)):
        paper *= 1 - (mass / mass.max())[..., None] * (1 - np.array(to_rgb(colour)))
    # Inside, so that the title stays over the panel while the picture keeps its shape.
    inside = axes.inset_axes([0, 0, 1, 1])
    inside.imshow(paper, interpolation="bilinear" if name == "plane_w2" else "nearest")
    inside.set_axis_off()
    edge = 0.2 * len(a) if name == "plane_w2" else 0.0
    inside.set_xlim(edge - 0.5, len(a) - 0.5 - edge)
    inside.set_ylim(len(a) - 0.5 - edge, edge - 0.5)


def _errors(axes, arrays, name):
    """Draw what costs are off by, over epsilon."""
    epsilon, cost = arrays[f"{name}_epsilon"], float(arrays[f"{name}_exact"])
    limit = epsilon * arrays[f"{name}_entropies"].min()
    axes.loglog(
        epsilon, limit, color=_style.GREY, linestyle=DASHED, linewidth=1.0,
        label=r"$\varepsilon\,\min(H(a), H(b))$",
    )  # fmt: skip
    lowest = np.inf
    for field, word, colour, marker in CURVES:
        away = np.abs(arrays[f"{name}_{field}"] - cost)
        axes.loglog(
            epsilon, away, color=colour, marker=marker, label=word, linewidth=1.1,
            linestyle="-" if marker else DOTTED, zorder=3 if marker else 4,
        )  # fmt: skip
        lowest = min(lowest, away[away > 0].min(initial=np.inf))
    if name == "line_w2":
        lowest = _continuous(axes, arrays, epsilon)
    axes.set_xlabel(r"$\varepsilon$")
    axes.set_ylim(max(lowest / 3, 1e-7 * cost), 3 * limit.max())
    _plain(axes)


def _continuous(axes, arrays, epsilon):
    """Draw the debiased value against the continuous Gaussians; return the least of it."""
    A, B = np.square(cases.DEVIATIONS)
    k, *_ = exact.debiased_curvature(A, B)
    truth = exact.gaussians(np.diff(cases.MEANS), A, B, 0.0)
    away = np.abs(arrays["line_w2_debiased"] - truth)
    axes.loglog(epsilon, abs(k) * epsilon**2, color=_style.BLACK, linestyle=DASHED, linewidth=0.8)
    axes.loglog(
        epsilon, away, "D", color="none", markeredgecolor=_style.PINK, markeredgewidth=0.9,
        markersize=3.4, zorder=4,
    )  # fmt: skip
    at = len(epsilon) // 2
    axes.annotate(
        r"$\varepsilon^2 / 32$", (epsilon[at], abs(k) * epsilon[at] ** 2), xytext=(5, -9),
        textcoords="offset points", fontsize=7.5,
    )  # fmt: skip
    return abs(k) * epsilon[0] ** 2


def _plain(axes):
    from matplotlib.ticker import LogLocator, NullFormatter

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(10, numticks=6))
        axis.set_minor_formatter(NullFormatter())


def _digits(figure, arrays, columns, letter):
    """Draw the images from one digit to the other, in three rows."""
    shares = np.linspace(0, 1, columns)
    first, last = arrays["digits"]
    images = {
        "mixed": first + shares[:, None, None] * (last - first),
        "blurred": arrays["blurred_images"],
        "debiased": arrays["debiased_images"],
    }
    axes = figure.subplots(3, columns, gridspec_kw={"wspace": 0.0, "hspace": 0.0})
    for row, (kind, words) in enumerate(ROWS):
        for column, image in enumerate(images[kind]):
            at = axes[row, column]
            at.imshow(
                image[3:-3, 5:-5], cmap="Greys", vmin=0, vmax=np.quantile(image, 0.995),
                interpolation="nearest",
            )  # fmt: skip
            at.set_xticks([])
            at.set_yticks([])
            at.grid(visible=False)
            for side in at.spines.values():
                side.set_visible(False)
            if row == 2:
                at.set_xlabel(f"{shares[column]:.3g}", fontsize=7.5)
        axes[row, 0].set_ylabel(words, rotation=0, ha="right", va="center", labelpad=4)
    epsilon = float(arrays["epsilon"])
    figure.suptitle(
        f"({letter}) from digit to digit, $\\varepsilon$ = {epsilon:g} pixels$^2$; below: weight "
        "of the second",
        x=0.01, ha="left", fontsize=8.5,
    )  # fmt: skip


def caption(arrays):
    """Return what is drawn, with sizes."""
    names = [name for name in TITLES if f"{name}_epsilon" in arrays]
    words = {
        "line_w2": "two Gaussians on {} points",
        "line_w1": "two humps and a Laplace density on {} points",
        "plane_w2": "products of densities on {} points",
        "plane_w1": "a digit moved by {} pixels down and {} to the right on {} pixels, with "
        "Manhattan distance",
    }
    parts = []
    for letter, name in zip("abcd", names, strict=False):
        size = " x ".join(str(s) for s in arrays[f"{name}_a"].shape)
        given = (*cases.SHIFT, size) if name == "plane_w1" else (size,)
        parts.append(f"({letter}) {words[name].format(*given)}")
    return (
        "Transport costs between densities whose exact cost is known, by epsilon: "
        + "; ".join(parts)
        + ". Above, the densities. Below, distances to the exact cost of the entropic value, of "
        "its plan without entropy, of that plan rounded to exact masses, and of the debiased "
        "value; dashed, the bound that the value must keep to. In (a) the debiased value is shown "
        "once more, hollow, against the exact cost of the continuous Gaussians, with the error "
        "that their closed form predicts (black): as long as the plan is wider than a pixel it "
        "does not see the lattice. In (b) and (d) debiasing takes too much away: with epsilon "
        "below a pixel, a density is carried to itself by nearly the diagonal plan, whose value is "
        "epsilon times its entropy, and plans between different densities cost less than that. "
        f"({'abcde'[len(names)]}) Between a three and an eight of MNIST, each with total mass 1: "
        "pixels averaged, the entropic barycenter, and the debiased one, which starts and ends at "
        "the digits. Each image is scaled to its own darkest pixels."
    )


def alt(arrays):
    """Return the figure in words."""
    parts = []
    for name in TITLES:
        if f"{name}_epsilon" not in arrays:
            continue
        epsilon, cost = arrays[f"{name}_epsilon"], float(arrays[f"{name}_exact"])
        value, debiased = (
            np.abs(arrays[f"{name}_{field}"] - cost) for field in ("value", "debiased")
        )
        title = TITLES[name].replace("$", "").replace("_", "").replace("^2", " squared")
        parts.append(
            f"{title}, exact {cost:.4g}: from epsilon {epsilon[-1]:.3g} to {epsilon[0]:.3g} the "
            f"error of the value falls from {value[-1]:.2g} to {value[0]:.2g}, that of the "
            f"debiased value from {debiased[-1]:.2g} to {debiased[0]:.2g}."
        )
    away = [
        float(np.abs(arrays[f"{kind}_images"][[0, -1]] - arrays["digits"]).sum((1, 2)).max())
        for kind in ("blurred", "debiased")
    ]
    return (
        f"{len(parts)} pairs of panels, densities above and errors of transport costs over epsilon "
        "below, both logarithmic; values and plans stay below the dashed bound. "
        + " ".join(parts)
        + " Below, three rows of images that turn a three into an eight: averaged pixels show both "
        "digits at once; barycenters move the strokes, blurred in the entropic row, crisp in the "
        "debiased one. With all weight on one digit, the entropic barycenter is "
        f"{away[0]:.2f} away from it, the debiased one {away[1]:.3f} (L1; at most 2)."
    )
