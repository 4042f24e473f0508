"""The figure of `compression_bound`, its caption and its words, from the stored arrays alone."""

import numpy as np

from experiments import _style
from experiments import compression_bound as module

TICKS = (16, 64, 256, 1024)


def _axis(axes, ds):
    """Give the axes of d the powers of four, in plain numbers."""
    axes.set_xscale("log", base=2)
    shown = [d for d in TICKS if ds[0] <= d <= ds[-1]]
    axes.set_xticks(shown, [str(d) for d in shown])
    axes.minorticks_off()
    axes.set_xlabel("dimension d of the subspace")


def _curve(axes, ds, values, colour, label, marker="o"):
    """Draw the mean over keys, with the range of keys behind it."""
    axes.fill_between(ds, values.min(0), values.max(0), color=colour, alpha=0.18, linewidth=0)
    axes.plot(ds, values.mean(0), marker=marker, color=colour, label=label)


def _bounds(axes, arrays, labels):
    ds = arrays["ds"]
    curve = module.best(arrays, labels)[0]
    axes.plot(ds, arrays["bound_32"][labels].mean(0), linestyle=(0, (4, 2)), color=_style.GREY,
              label="bound, 32 bits a coordinate")  # fmt: skip
    _curve(axes, ds, curve, _style.BLUE, "bound")
    _curve(axes, ds, module.at_best(arrays, "test", labels), _style.ORANGE, "test error", "s")
    _curve(axes, ds, module.at_best(arrays, "train", labels), _style.GREEN, "training error", "^")
    axes.axhline(module.CHANCE, color=_style.BLACK, linewidth=0.8, linestyle=(0, (1, 1.5)),
                 label="guessing")  # fmt: skip
    axes.set_ylim(0, 1.03)
    _axis(axes, ds)
    return curve


def figure(arrays):
    """Draw three panels."""
    fig, (left, middle, right) = _style.subplots(1, 3, width="wide", aspect=0.42)
    curve = _bounds(left, arrays, 0).mean(0)
    place = int(curve.argmin())
    left.plot(arrays["ds"][place], curve[place], "o", color="none", markeredgecolor=_style.BLACK,
              markeredgewidth=0.9, markersize=8)  # fmt: skip
    left.set_ylabel("error of the quantised network")
    left.set_title("(a) true labels")
    _bounds(middle, arrays, 1)
    least = min(module.at_best(arrays, name, 1).min() for name in ("train", "test"))
    middle.set_ylim(np.floor(20 * (least - 0.02)) / 20, 1.005)
    middle.set_title("(b) random labels")
    handles, labels = left.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=len(labels))

    ds = arrays["ds"]
    right.plot(ds, 32.0 * ds, linestyle=(0, (4, 2)), color=_style.GREY)
    right.text(ds[-1] / 2, 32.0 * ds[-1], "32 bits each", ha="right", va="center", color="#666666")
    import matplotlib

    counts = arrays["levels"]
    colours = matplotlib.colormaps["viridis"](np.linspace(0.1, 0.85, len(counts)))
    for k, (count, colour) in enumerate(zip(counts, colours, strict=True)):
        right.plot(ds, arrays["bits"][0, :, :, k].mean(0), "-", color=colour, label=str(count))
    right.set_yscale("log")
    right.set_ylabel("bits, codebook included")
    right.set_title("(c) length of the code")
    _axis(right, ds)
    right.legend(title="levels", title_fontsize=7.5, loc="upper left", ncols=2,
                 columnspacing=0.9)  # fmt: skip
    return fig


def _numbers(arrays):
    curve = module.best(arrays)[0]
    seed, place = np.unravel_index(curve.argmin(), curve.shape)
    return {
        "bound": curve[seed, place],
        "d": int(arrays["ds"][place]),
        "bits": int(module.at_best(arrays, "bits")[seed, place]),
        "levels": int(arrays["levels"][module.best(arrays)[1][seed, place]]),
        "test": module.at_best(arrays, "test")[seed, place],
        "train": module.at_best(arrays, "train")[seed, place],
        "random": module.best(arrays, 1)[0].min(),
        "fitted": module.at_best(arrays, "train", 1)[:, -1].mean(),
    }


def caption(arrays):
    """Return what is drawn, with numbers."""
    at = _numbers(arrays)
    return (
        f"Networks trained on {int(arrays['n']):,} images in random subspaces, quantised and "
        "arithmetic-coded. (a) Bound on the true error, valid for all runs at once with "
        f"probability {1 - float(arrays['delta']):.2f}, error on test and on training images, each "
        "at the number of levels whose bound is smallest; mean and range of "
        f"{arrays['bound'].shape[1]} keys. The smallest bound is {at['bound']:.3f}, at d = "
        f"{at['d']} with {at['levels']} levels: {at['bits']} bits, training error "
        f"{at['train']:.3f}, test error {at['test']:.3f}. Circle: smallest mean. Dashed: the bound "
        "that 32 bits a coordinate would give. (b) The same with random labels, on a scale of its "
        f"own: never below the true error, 0.9, the smallest being {at['random']:.3f}. (c) Bits "
        "against d by number of levels."
    )


def alt(arrays):
    """Return the figure in words."""
    at = _numbers(arrays)
    return (
        "Three panels against the dimension d. Left: the bound falls from near guessing to "
        f"{at['bound']:.2f} about d = {at['d']} and rises again, while test and training errors "
        "fall and stay below it. Middle: with random labels the bound stays at or above 0.9 though "
        f"the training error falls to {at['fitted']:.2f}. Right: straight lines of bits in d, with "
        f"slope {module.slope(arrays).mean():.2f} once the codebook is taken off, far below 32 "
        "bits a coordinate."
    )
