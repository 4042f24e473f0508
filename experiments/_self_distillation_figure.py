"""The figure of `self_distillation`, its caption and its words, from the stored arrays alone."""

from itertools import cycle

import numpy as np

from experiments import _self_distillation_toy as toy
from experiments import _style

DASHED = (0, (3, 1.5))
COLOURS = (_style.BLUE, _style.ORANGE, _style.GREEN, _style.GREY)


def figure(arrays):
    """Draw the eleven points, their losses, and errors and weights on digits."""
    fig, whole = _style.subplots(width="wide", aspect=0.72)
    whole.remove()
    upper, lower = fig.subfigures(2, 1)
    at = upper.subplot_mosaic("ABC") | lower.subplot_mosaic("DEFG")
    for letter, row in (("A", 0), ("B", 1)):
        _curves(at[letter], arrays["toy_curves"][row])
        title = f"({letter.lower()}) eleven points, $\\alpha$ = {toy.ALPHAS[row]:g}"
        at[letter].set_title(title)
    at["A"].legend(loc="lower left", ncols=2, columnspacing=0.8, handletextpad=0.4)
    _losses(at["C"], arrays)
    share = round(100 * float(arrays["noise"]))
    _training(at["D"], arrays, share)
    for letter, level, title in (
        ("E", "clean", "(e) true labels"),
        ("F", "noisy", f"(f) {share} % random labels"),
    ):
        _validation(at[letter], arrays, level)
        at[letter].set_title(title)
    at["E"].legend(loc="upper left", handletextpad=0.4, labelspacing=0.25)
    _weights(at["G"], arrays, share)
    return fig


def _curves(axes, curves):
    """Draw the generations on the line, from dark to light, with points and truth."""
    import matplotlib

    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.85, len(curves) - 1))
    axes.plot(toy.GRID, toy.truth(), color=_style.GREY, linestyle=":", label="truth")
    for t, (curve, colour) in enumerate(zip(curves[:-1], colours, strict=True), start=1):
        shown = t in (1, len(curves) - 1)
        label = f"$f_{{{t}}}$" if shown else None
        axes.plot(toy.GRID, curve, color=colour, linewidth=1.1, label=label)
    axes.plot(toy.GRID, curves[-1], color=_style.ORANGE, linestyle=DASHED, label=r"$f_\infty$")
    axes.plot(toy.X, toy.Y, "x", color=_style.BLACK, markeredgewidth=0.9, markersize=4)
    axes.set_xlabel("x")
    axes.set_ylabel("prediction")
    axes.set_ylim(-1.75, 1.45)


def _losses(axes, arrays):
    """Draw our losses over the published ones."""
    ours, published = arrays["toy_losses"], arrays["toy_published"]
    steps = np.arange(1, ours.shape[1])
    for row, (alpha, colour) in enumerate(
        zip(toy.ALPHAS, (_style.BLUE, _style.ORANGE), strict=True)
    ):
        axes.plot(steps, ours[row, :-1], color=colour, label=f"$\\alpha$ = {alpha:g}")
        axes.plot(
            steps, published[row, :-1], "o", color="none", markeredgecolor=colour,
            markeredgewidth=1.0, markersize=5,
        )  # fmt: skip
        top = 0.1875
        if ours[row, -1] < top:
            axes.axhline(ours[row, -1], color=colour, linestyle=DASHED, linewidth=0.9)
    axes.plot(
        [], [], "o", color="none", markeredgecolor=_style.BLACK, markeredgewidth=1.0,
        markersize=5, label="published",
    )  # fmt: skip
    axes.plot(
        [], [], color=_style.BLACK, linestyle=DASHED, linewidth=0.9,
        label=r"limit, $\alpha$ = 0.35",
    )  # fmt: skip
    axes.set_title("(c) loss against the truth")
    axes.set_xlabel("generation $t$")
    axes.set_ylabel("mean squared error")
    axes.set_xticks(steps)
    axes.set_ylim(0.1475, 0.1875)
    axes.legend(loc="upper left", handletextpad=0.5)


def _training(axes, arrays, share):
    """Draw training errors over generations, at both levels."""
    for level, line in (("noisy", "-"), ("clean", DASHED)):
        train = arrays[f"{level}_train"].mean(axis=0)[:, :-1]
        steps = np.arange(1, train.shape[1] + 1)
        for values, (_, colour, _) in zip(train, _rows(arrays)[:-1], strict=False):
            axes.semilogy(steps, values, color=colour, linestyle=line, linewidth=1.1)
    for words, line in ((f"{share} % random", "-"), ("true labels", DASHED)):
        axes.plot([], [], color=_style.BLACK, linestyle=line, linewidth=1.1, label=words)
    axes.set_title("(d) digits: training")
    axes.set_xlabel("generation $t$")
    axes.set_ylabel("mean squared error", labelpad=0)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * 5)  # room for the legend
    axes.legend(loc="upper left", handletextpad=0.4, labelspacing=0.25)
    _whole(axes, steps)


def _validation(axes, arrays, level):
    """Draw validation errors over generations, relative to those of the first."""
    val = arrays[f"{level}_val"][:, :, :-1]
    val = val / val[:, :, :1]
    steps = np.arange(1, val.shape[2] + 1)
    for row, (label, colour, style) in enumerate(_rows(arrays)):
        mean = val[:, row].mean(axis=0)
        axes.plot(steps, mean, color=colour, label=label, zorder=3, **style)
        if len(val) > 1:
            spread = val[:, row].std(axis=0, ddof=1)
            axes.fill_between(
                steps, mean - spread, mean + spread, color=colour, alpha=0.12, linewidth=0
            )
    axes.set_xlabel("generation $t$")
    axes.set_ylabel("validation error, $t$ = 1 is 1", labelpad=1)
    _whole(axes, steps)


def _rows(arrays):
    """Return (label, colour, style) of the rows of the curves."""
    fixed = [
        (f"$\\alpha$ = {alpha:g}", colour, {"linewidth": 1.3})
        for alpha, colour in zip(arrays["alphas"], cycle(COLOURS), strict=False)
    ]
    return [*fixed, ("chosen", _style.BLACK, {"linewidth": 0, "marker": "o", "markersize": 3})]


def _weights(axes, arrays, share):
    """Draw the weights that are best on validation images."""
    for level, words, colour, marker in (
        ("clean", "true labels", _style.GREEN, "s"),
        ("noisy", f"{share} % random", _style.PINK, "o"),
    ):
        weights = arrays[f"{level}_weights"]
        steps = np.arange(1, weights.shape[1] + 1)
        axes.plot(steps, weights.T, color=colour, linewidth=0.6, alpha=0.5)
        axes.plot(steps, weights.mean(axis=0), marker, color=colour, label=words)
    axes.set_title("(g) weights chosen")
    axes.set_xlabel("generation $t$")
    axes.set_ylabel(r"weight $\alpha_t$ of true targets", labelpad=1)
    axes.set_ylim(-0.05, 1.1)
    axes.legend(loc="center right", handletextpad=0.2)
    _whole(axes, steps)


def _whole(axes, steps):
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlim(0.6, steps[-1] + 0.4)


def caption(arrays):
    """Return what is drawn, with data and sizes."""
    train, val, _ = (int(count) for count in arrays["images"])
    seeds, share = len(arrays["noisy_val"]), round(100 * float(arrays["noise"]))
    return (
        "Self-distillation of ridge regression: each generation is fitted to the true targets, "
        "weight alpha, blended with the predictions of the one before. (a), (b) Eleven noisy "
        "points on a sinusoid (crosses), generations 1 to 6 from dark to light, and the limit. (c) "
        "Their mean squared distance to the sinusoid (lines), and the values that the authors "
        "published (circles); the limit for alpha = 0 is zero, with the loss "
        f"{arrays['toy_losses'][0, -1]:.5f}, beyond the frame. (d) to (g) The NTK of two hidden "
        f"ReLU layers on {train} digits of 8 x 8 pixels, with true labels and with {share} % of "
        "the training labels replaced by random ones (means over "
        f"{seeds} draws; bands are standard deviations). Ridge "
        f"{float(arrays['ridge']):g} of the mean diagonal. (d) Training errors, colours as in (e). "
        f"(e), (f) Errors on {val} validation images with true labels, relative to the first "
        "generation; dots: weights that are best on these images, generation by generation, in "
        "[0, 1]. (g) Those weights; faint lines are single draws."
    )


def alt(arrays):
    """Return the figure in words."""
    losses = arrays["toy_losses"]
    low = 1 + int(losses[0, :-1].argmin())
    none, chosen = (arrays["noisy_val"][:, row, :-1] for row in (0, -1))
    none, chosen = ((v / v[:, :1]).mean(axis=0) for v in (none, chosen))
    clean = arrays["clean_val"][0, 0, :-1]
    weights = arrays["noisy_weights"].mean(axis=0)
    accuracy = arrays["noisy_accuracy"].mean(axis=0)[-1]
    steps = len(weights)
    return (
        "Seven panels. Top left and middle: predictions on a line shrink from generation to "
        "generation, towards zero for alpha = 0 and towards a curve close by for alpha = 0.35. Top "
        f"right: the loss for alpha = 0 falls from {losses[0, 0]:.4f} to {losses[0, low - 1]:.4f} "
        f"at generation {low} and rises to {losses[0, -2]:.4f} at generation {losses.shape[1] - 1};"
        f" for alpha = 0.35 it falls to {losses[1, -2]:.4f}. Published values lie on the lines. "
        "Bottom, digits: training errors rise with the generation, less so for larger alpha. With "
        "true labels validation errors rise too, by a factor of "
        f"{clean[-1] / clean[0]:.2f} for alpha = 0 by generation {steps}, and weights of 1 are "
        f"best. With random labels they fall to {none.min():.3f} of the first generation's and "
        f"come back to {none[-1]:.3f} for alpha = 0; with chosen weights they end at "
        f"{chosen[-1]:.3f}. These weights go from 1 to {weights[1]:.2f} and end at "
        f"{weights[-1]:.2f}; test accuracy goes from {accuracy[0]:.3f} to {accuracy[-2]:.3f}."
    )
