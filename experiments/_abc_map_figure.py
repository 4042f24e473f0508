"""The figure of `abc_map`, from the stored arrays alone."""

import numpy as np

from experiments import _style

GREY, PALE = "#D5D5D5", "#F4F1E6"


def figure(arrays):
    """Draw the two planes."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    fig, (left, right) = _style.subplots(1, 2, width="wide", aspect=0.46)
    colours = LinearSegmentedColormap.from_list("r", [_style.SKY, "#0A2F51"])
    norm = Normalize(0, 1.5)
    _plane_a(left, arrays, colours, norm)
    _plane_b(right, arrays, colours, norm)
    bar = fig.colorbar(ScalarMappable(norm, colours), ax=right, pad=0.02)
    bar.set_label("$r$ of kernels: features move by $n^{-r}$")
    bar.outline.set_visible(False)
    return fig


def _background(axes, x, y, classes):
    """Draw what is unstable in grey, and what is stable pale."""
    from matplotlib.colors import ListedColormap

    shown = np.where(classes == 0, 0, 1)
    axes.pcolormesh(x, y, shown, cmap=ListedColormap([GREY, PALE]), vmin=0, vmax=1, rasterized=True)
    axes.grid(visible=False)


def _point(axes, x, y, words, shift, colour=_style.BLACK):
    """Mark and name a parametrization."""
    axes.plot(x, y, "o", color=colour, markersize=5, markeredgecolor="white", zorder=5)
    side = "left" if shift[0] >= 0 else "center"
    axes.annotate(
        words, (x, y), shift, textcoords="offset points", fontsize=7.5, ha=side, va="center"
    )


def _plane_a(axes, arrays, colours, norm):
    """Draw the polygon with its edge of kernels."""
    _background(axes, arrays["a"], arrays["c"], arrays["class_a"])
    (x0, y0), (x1, y1) = arrays["vertices"]
    top, end = arrays["c"][-1], arrays["a"][-1]
    axes.plot([x0, x0], [y0, top], color=_style.GREY, linewidth=1.6)
    axes.plot([x1, end], [y1, 0.5 - end], color=_style.GREY, linewidth=1.6)
    axes.text(x0 - 0.04, 1.55, "output at start", rotation=90, fontsize=7, ha="right", va="center")
    axes.text(1.12, -0.73, "$r = 0$", fontsize=7.5, ha="right", va="top")
    ends = np.linspace(0, 1, 60)
    for s, t in zip(ends, ends[1:], strict=False):
        middle = x0 + (s + t) / 2 * (x1 - x0)
        axes.plot(
            [x0 + s * (x1 - x0), x0 + t * (x1 - x0)],
            [y0 + s * (y1 - y0), y0 + t * (y1 - y0)],
            color=colours(norm(0.5 - middle)), linewidth=4, solid_capstyle="butt", zorder=3,
        )  # fmt: skip
    _point(axes, x0, y0, "NTP, SP with $c$ = 1:  $r$ = 1/2", (8, 3))
    _point(axes, x1, y1, "muP\n$r$ = 0", (8, 9), _style.ORANGE)
    _point(axes, 0, 0, "SP with $c$ = 0:\n$r$ = $-$1", (-4, -15))
    axes.text(0.95, 1.5, "stable, trivial", fontsize=8, ha="center")
    axes.text(0.40, -0.75, "unstable", fontsize=8, ha="center")
    axes.annotate("kernels", (0.25, 0.5), (9, 6), textcoords="offset points", fontsize=8)
    axes.set(xlabel="multiplier of the read-out, $a_{L+1}$", ylabel="rate, $c$")
    axes.set_title("(a) output moves on one edge")


def _plane_b(axes, arrays, colours, norm):
    """Draw the region of kernels, coloured by r, and the edge of features."""
    beta, gamma = arrays["beta"], arrays["gamma"]
    _background(axes, beta, gamma, arrays["class_b"])
    shown = np.where(arrays["class_b"] == 2, arrays["r_b"], np.nan)
    axes.pcolormesh(beta, gamma, shown, cmap=colours, norm=norm, rasterized=True)
    corner = float(arrays["corner"])
    axes.plot([0.5, 0.5, corner], [gamma[-1], 1, 0], color=_style.GREY, linewidth=1.6)
    axes.plot([corner, beta[-1]], [0, 0], color=_style.ORANGE, linewidth=4, zorder=3)
    _point(axes, corner, 0, "muP", (-6, -10), _style.ORANGE)
    axes.plot(0.5, 1.0, "o", color=_style.BLACK, markersize=5, markeredgecolor="white", zorder=5)
    axes.annotate("NTP", (0.5, 1.0), (-7, 0), textcoords="offset points", fontsize=7.5, ha="right",
                  va="center")  # fmt: skip
    axes.text(1.1, 0.75, "kernels", color="white", fontsize=8, ha="center")
    axes.text(1.4, -0.14, "features", color=_style.ORANGE, fontsize=8, ha="center", va="top")
    axes.text(0.62, 0.1, "unstable", fontsize=8, ha="center")
    axes.set(xlabel=r"initial read-out, $\beta$", ylabel=r"hidden rate, $\gamma$")
    axes.set_title("(b) output moves everywhere")
