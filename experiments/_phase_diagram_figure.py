"""The figure of `phase_diagram`, its caption and its words, from the stored arrays alone."""

import numpy as np

from experiments import _style

DEEPEST = 200.0  # depth scales beyond it share one colour
DASHED = (0, (3, 1.5))
# Cuts are drawn at these shares of the critical W_std^2, the nearest that was run.
SHOWN = (0.85, 1.35)


def figure(arrays):
    """Draw both planes, the depth scales along cuts, and deviations in depth."""
    fig, ((left, right), (scales, decays)) = _style.subplots(2, 2, width="wide", aspect=0.78)
    image = _plane(left, arrays, "erf")
    _plane(right, arrays, "relu")
    bar = fig.colorbar(image, ax=[left, right], aspect=16, pad=0.02, extend="max")
    bar.set_label(r"depth scale $\xi$ (layers)")
    bar.set_ticks(
        [1, 2, 5, 10, 20, 50, 100, 200], labels=["1", "2", "5", "10", "20", "50", "100", "200"]
    )
    bar.minorticks_off()
    bar.outline.set_linewidth(0.6)
    _scales(scales, arrays)
    _decays(decays, arrays)
    return fig


def _plane(axes, arrays, name):
    """Draw the depth scale over the plane with the critical line, and mask what has none."""
    from matplotlib.colors import LogNorm
    from matplotlib.patches import Rectangle

    W_std, b_std = arrays["W_std"], arrays["b_std"]
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = -1 / np.log(arrays[f"{name}_rate"])
    # Where a rate is 1 to rounding, the depth scale is beyond every colour.
    scale = np.where((scale < 0) | np.isinf(scale), 10 * DEEPEST, scale)
    image = axes.pcolormesh(
        W_std, b_std, np.ma.masked_invalid(scale), norm=LogNorm(1, DEEPEST), cmap="cividis",
        shading="nearest", rasterized=True,
    )  # fmt: skip
    axes.grid(visible=False)
    axes.set_xlim(W_std[0], W_std[-1])
    axes.set_ylim(0, b_std[-1])
    axes.set_xlabel(r"$W_\mathrm{std}$")
    axes.set_ylabel(r"$b_\mathrm{std}$")
    box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": "none", "alpha": 0.88}
    if name == "erf":
        axes.plot(arrays["erf_critical"], b_std, color="white", linewidth=3.0)
        axes.plot(arrays["erf_critical"], b_std, color=_style.ORANGE, linewidth=1.6)
        axes.plot(
            arrays["erf_quadrature_critical"], b_std, color=_style.BLACK, linestyle=DASHED,
            linewidth=0.9,
        )  # fmt: skip
        axes.set_title("(a) erf")
        for x, y, text in ((0.82, 0.80, "order\n$c^* = 1$"), (2.35, 0.32, "chaos\n$c^* < 1$")):
            axes.text(x, y, text, ha="center", va="center", bbox=box)
        middle = len(b_std) // 2
        axes.annotate(
            r"$\chi = 1$", (arrays["erf_critical"][middle], b_std[middle]), xytext=(9, -3),
            textcoords="offset points", bbox=box,
        )  # fmt: skip
        return image
    edge = float(np.mean(arrays["relu_critical"]))
    axes.add_patch(
        Rectangle(
            (edge, 0), W_std[-1] - edge, b_std[-1], facecolor="#F1F1F1", edgecolor="#B9B9B9",
            hatch="////", linewidth=0,
        )
    )  # fmt: skip
    axes.axvline(edge, color="white", linewidth=3.0)
    axes.axvline(edge, color=_style.ORANGE, linewidth=1.6)
    axes.axvline(
        np.mean(arrays["relu_quadrature_critical"]), color=_style.BLACK, linestyle=DASHED,
        linewidth=0.9,
    )  # fmt: skip
    # The strip from b_std = 0 to the first row of the grid holds the line without a rate.
    axes.plot(
        [W_std[0], W_std[-1]], [0, 0], color=_style.PINK, linewidth=4.0, clip_on=False, zorder=5,
        solid_capstyle="butt",
    )  # fmt: skip
    axes.set_title("(b) ReLU")
    axes.text(0.95, 0.80, "order\n$c^* = 1$", ha="center", va="center", bbox=box)
    axes.text(
        (edge + W_std[-1]) / 2, 0.62, "no fixed point:\nthe variance\ngrows for ever",
        ha="center", va="center", bbox=box,
    )  # fmt: skip
    axes.annotate(
        "$b_\\mathrm{std} = 0$: no rate,\n$1 - c \\sim l^{\\,-2}$",
        (2.35, 0.01), xytext=(2.21, 0.22),
        ha="center", va="center", bbox=box, arrowprops={"arrowstyle": "-", "linewidth": 0.6},
    )  # fmt: skip
    return image


def _scales(axes, arrays):
    """Draw fitted depth scales as symbols on theory's curves, along the cuts."""
    styles = ((_style.BLUE, "o"), (_style.GREEN, "^"), (_style.SKY, "v"), (_style.AMBER, "P"))
    cuts = [
        ("erf", row, style)
        for row, style in zip(range(len(arrays["erf_cut_bias"])), styles, strict=False)
    ]
    for name, row, (colour, marker) in [*cuts, ("relu", 0, (_style.ORANGE, "s"))]:
        W_std, theory = arrays[f"{name}_cut_weight"][row], arrays[f"{name}_quadrature_scale"][row]
        with np.errstate(divide="ignore"):
            whole = -1 / np.log(arrays[f"{name}_quadrature_cut_rate"][row])
        ratio = arrays[f"{name}_cut_ratio"]
        for side in (ratio < 1, ratio > 1):
            axes.plot(W_std[side], whole[side], color=colour, linewidth=0.9)
        word = (
            f"erf, $b_\\mathrm{{std}}$ = {arrays['erf_cut_bias'][row]:g}"
            if name == "erf"
            else "ReLU"
        )
        fitted = np.where(np.isnan(theory), np.nan, arrays[f"{name}_scale"][row])
        shown = np.isfinite(fitted)
        axes.plot(W_std[shown], fitted[shown], marker, color=colour, label=word)
    axes.set_yscale("log")
    _plain(axes.yaxis)
    axes.set_title(r"(c) fitted (symbols) and theory (lines)")
    axes.set_xlabel(r"$W_\mathrm{std}$")
    axes.set_ylabel(r"depth scale $\xi$ (layers)")
    axes.legend(loc="upper right", handletextpad=0.2)


def _decays(axes, arrays):
    """Draw |c - c*| over depth: exponential where there is a rate, a power where there is none."""
    depth = arrays["depth"]
    row = -1
    lines = []
    for name, target, colour in (
        ("erf", SHOWN[0], _style.BLUE), ("erf", SHOWN[1], _style.GREEN),
        ("relu", SHOWN[0], _style.ORANGE),
    ):  # fmt: skip
        column = int(np.argmin(np.abs(arrays[f"{name}_cut_ratio"] - target)))
        scale = arrays[f"{name}_quadrature_scale"][row, column]
        word = {"erf": "erf", "relu": "ReLU"}[name]
        phase = "chaos" if target > 1 else "order"
        lines.append(
            (arrays[f"{name}_deviation"][row, column], colour, f"{word}, {phase}: {scale:.1f}")
        )
    for deviation, colour, words in lines:
        seen = deviation > 1e-12
        last = len(seen) if seen.all() else int(np.argmin(seen))
        axes.loglog(depth[:last], deviation[:last], color=colour, label=words)
    for values, colour, words, place, constant in (
        (arrays["algebraic"][0], _style.PINK, r"$b_\mathrm{std} = 0$", (0.90, 0.70), 4),
        (arrays["algebraic"][1], _style.BLACK, r"$b_\mathrm{std} = 1/2$", (0.70, 0.55), 1),
    ):  # fmt: skip
        axes.loglog(depth, values, color=colour)
        axes.text(*place, words, color=colour, transform=axes.transAxes, ha="center", va="center")
        late = depth >= 10
        law = constant * (3 * np.pi / (2 * np.sqrt(2)) / depth[late]) ** 2
        axes.loglog(depth[late], law, color=_style.GREY, linestyle=DASHED, linewidth=0.9, zorder=1)
    axes.text(
        0.99, 0.88, "no rate: ReLU, $W_\\mathrm{std}^2 = 2$\n(dashed: $l^{\\,-2}$ laws)",
        transform=axes.transAxes, ha="right", va="center",
    )  # fmt: skip
    axes.set_ylim(1e-12, 2)
    axes.set_title("(d) with and without a rate")
    axes.set_xlabel("depth $l$ (layers)")
    axes.set_ylabel(r"deviation $|c_l - c^*|$")
    axes.legend(loc="lower left", title=r"depth scale $\xi$", alignment="left")


def _plain(axis):
    """Plain numbers on a logarithmic axis."""
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def _range(arrays, field):
    values = arrays[field]
    return f"{values.min():g} to {values.max():g}"


def caption(arrays):
    """Return what is drawn."""
    rows, columns = len(arrays["b_std"]), len(arrays["W_std"])
    bias = arrays["erf_cut_bias"][-1]
    return (
        "Two inputs in an infinitely wide fully connected network, float64. (a), (b) Depth "
        f"scale of the correlation's approach to its fixed point c*, {columns} x {rows} networks "
        "with W_std "
        f"{_range(arrays, 'W_std')} and b_std {_range(arrays, 'b_std')}, in one call of the "
        "library's kernel. Orange: the critical line from the derivative of the correlation map by "
        "autodiff; dashed: from a quadrature of the analytic condition. Hatched: ReLU with "
        "W_std^2 >= 2, where the variance has no fixed point; without biases (lowest line) "
        "correlations approach 1 as a power of the depth. (c) Depth scales fitted to |c_l - c*| "
        "between 1e-11 and 1e-8, along lines of constant b_std, against -1/log chi(c*). (d) "
        f"Deviations in depth, with an exponential rate (erf at b_std {bias:g}) and without; "
        "dashed: the laws derived for ReLU at W_std^2 = 2, with k = 2 sqrt(2) / (3 pi)."
    )


def alt(arrays):
    """Return the figure in words."""
    critical, b_std = arrays["erf_critical"], arrays["b_std"]
    misses = [
        np.nanmax(np.abs(arrays[f"{name}_scale"] / arrays[f"{name}_quadrature_scale"] - 1))
        for name in ("erf", "relu")
    ]
    return (
        "Four panels. Top left: the plane of weight and bias deviations for erf, coloured by the "
        "depth scale, which diverges along a line that rises from W_std "
        f"{critical[0]:.2f} at b_std {b_std[0]:g} to {critical[-1]:.2f} at b_std {b_std[-1]:g}; "
        "order to its left, chaos to its right; the lines by autodiff and by quadrature coincide. "
        "Top right: the same for ReLU, with order left of W_std 1.41; to its right the plane is "
        "hatched, since the variance grows for ever; the lowest line, without biases, is marked as "
        "having no exponential rate. Bottom left: fitted depth scales lie on theory's curves, "
        f"within a relative {max(misses):.1g}, and rise steeply at the critical points. Bottom "
        "right, logarithmic axes: deviations in depth bend down exponentially where there is a "
        "rate; for ReLU at W_std squared 2 they follow straight lines of slope -2."
    )
