"""The figure of `finetuning_dimension`, its caption and its words, from the stored arrays alone."""

import numpy as np

from experiments import _finetuning_dimension_claims as module
from experiments import _style


def _colours(count):
    import matplotlib

    return matplotlib.colormaps["viridis"](np.linspace(0.85, 0.1, count))


def _words(length):
    return "none" if length == 0 else f"{length:,} steps"


def _dimensions(axes, ds):
    axes.set_xscale("log", base=2)
    shown = [d for d in (32, 128, 512, 2048) if ds[0] <= d <= ds[-1]]
    axes.set_xticks(shown, [str(d) for d in shown])
    axes.minorticks_off()
    axes.set_xlabel("dimension d of the subspace")


def _accuracies(axes, arrays, field, width):
    """Draw one line for each length of pretraining; crosses at d90, arrows at full fine-tuning."""
    ds = arrays["ds"]
    for k, (length, colour) in enumerate(
        zip(arrays["lengths"], _colours(len(arrays["lengths"])), strict=True)
    ):
        cell = (field, "DID", width, k)
        curves = module.chosen(arrays, cell)
        full = module.chosen(arrays, cell, "full_").mean()
        spread = curves.std(0, ddof=1) / len(curves) ** 0.5
        axes.fill_between(ds, curves.mean(0) - spread, curves.mean(0) + spread, color=colour,
                          alpha=0.2, linewidth=0)  # fmt: skip
        axes.plot(ds, curves.mean(0), "o-", color=colour, markersize=2.5, label=_words(length))
        axes.axhline(0.9 * full, color=colour, linewidth=0.8, linestyle=(0, (3, 1.5)))
        found = module.d90(arrays, cell)
        if np.isfinite(found):
            axes.plot(found, 0.9 * full, "D", color=colour, markeredgecolor=_style.BLACK,
                      markeredgewidth=0.7, markersize=5, zorder=3)  # fmt: skip
    _dimensions(axes, ds)


def _interval(arrays, cell):
    """Return the 16 % and 84 % quantiles of d90 over draws of seeds; the grid's end for NaN."""
    found = np.array([module.d90(arrays, cell, seeds) for seeds in module.draws(arrays)])
    return np.quantile(np.where(np.isnan(found), arrays["ds"][-1], found), [0.16, 0.84])


def figure(arrays):
    """Draw three panels."""
    fig, (left, middle, right) = _style.subplots(1, 3, width="wide", aspect=0.42)
    widths, lengths = arrays["widths"], arrays["lengths"]
    _accuracies(left, arrays, "placed", len(widths) // 2)
    left.set_title(f"(a) random places, width {widths[len(widths) // 2]}")
    left.set_ylabel("accuracy on new digits")
    _accuracies(middle, arrays, "centred", 0)
    middle.set_title(f"(b) centred, width {widths[len(widths) // 2]}")
    shift = np.linspace(-0.06, 0.06, len(lengths) + 1)
    for k, colour in enumerate(_colours(len(lengths))):
        rows = [("DID", w, w, shift[k], "o", colour) for w in range(len(widths))]
        rows.append(("SAID", 0, len(widths) // 2, shift[-1], "s", colour))
        at = []
        for kind, place, width, move, marker, fill in rows:
            cell = ("placed", kind, place, k)
            if not module.ran(arrays, cell):
                continue
            value = module.d90(arrays, cell)
            beyond = np.isnan(value)
            value = arrays["ds"][-1] if beyond else value
            x = widths[width] * 2**move if kind == "DID" else widths[width] * 2**0.25
            low, high = _interval(arrays, cell)
            right.plot([x, x], [low, high], color=colour, linewidth=1.0)
            right.plot(x, value, "^" if beyond else marker, markersize=5 if beyond else 4,
                       color=fill if kind == "DID" else "white", markeredgecolor=colour,
                       markeredgewidth=0.9)  # fmt: skip
            at.append((x, value) if kind == "DID" else (np.nan, np.nan))
        right.plot(*np.array(at).T, color=colour, linewidth=1.0)
    right.set_xscale("log", base=2)
    right.set_yscale("log", base=2)
    right.set_xticks(widths, [str(w) for w in widths])
    low, high = right.get_ylim()
    shown = [d for d in 2 ** np.arange(3, 14) if low <= d <= high]
    right.set_yticks(shown, [str(d) for d in shown])
    right.minorticks_off()
    right.set_xlabel("width of the network")
    right.set_title("(c) d90, random places")
    right.plot([], [], "o", color=_style.GREY, label="DID")
    right.plot([], [], "s", color="white", markeredgecolor=_style.GREY, markeredgewidth=0.9,
               label="SAID")  # fmt: skip
    right.legend(loc="lower left")
    handles, labels = left.get_legend_handles_labels()
    fig.legend(handles, [f"pretraining: {label}" for label in labels],
               loc="outside upper center", ncols=len(labels))  # fmt: skip
    return fig


def _text(arrays, cell):
    if not module.ran(arrays, cell):
        return "not run"
    value = module.d90(arrays, cell)
    return f"above {arrays['ds'][-1]}" if np.isnan(value) else f"{value:.0f}"


def _row(arrays, field, kind, width):
    return ", ".join(_text(arrays, (field, kind, width, k)) for k in range(len(arrays["lengths"])))


def caption(arrays):
    """Return what is drawn, with numbers."""
    widths, lengths = arrays["widths"], arrays["lengths"]
    middle = len(widths) // 2
    ends = ("placed", "DID", -1, -1), ("placed", "DID", 0, -1)
    own, common = (
        "{:.2f} with a standard deviation of {:.2f}".format(
            *(np.nan if x is None else x for x in r)
        )
        for r in (module.ratio(arrays, *ends), module.ratio(arrays, *ends, common=ends[1]))
    )
    by_width = "; ".join(
        f"{_row(arrays, 'placed', 'DID', w)} (width {width})" for w, width in enumerate(widths)
    )
    return (
        "Networks pretrained on the digits 0 to 4 for "
        f"{', '.join(str(n) for n in lengths)} steps, then fine-tuned on a few images of 5 to 9 in "
        "random subspaces. (a), (b) Accuracy on test images against d, mean and standard error of "
        f"{arrays['placed_DID_test'].shape[2]} seeds; dashed: 0.9 of full fine-tuning; diamonds: "
        "d90. (c) d90 with the central 68 % of draws of seeds; triangles: not reached within the "
        f"grid. In the order of the lengths d90 is {by_width}; SAID "
        f"{_row(arrays, 'placed', 'SAID', 0)} (width {widths[middle]}); with centred digits "
        f"{_row(arrays, 'centred', 'DID', 0)}. After the longest pretraining the widest network's "
        f"over the narrowest's is {own}, and {common} if both are to reach 0.9 times the "
        "narrowest's accuracy."
    )


def alt(arrays):
    """Return the figure in words."""
    middle = len(arrays["widths"]) // 2
    return (
        "Three panels. Left: accuracy rises with d, and lies higher the longer the pretraining; "
        f"d90 by length is {_row(arrays, 'placed', 'DID', middle)}. Middle: with centred digits "
        f"the curves lie close together, d90 being {_row(arrays, 'centred', 'DID', 0)}. Right: d90 "
        "against the width, one line for each length; after the longest pretraining it is "
        f"{_text(arrays, ('placed', 'DID', 0, -1))} in the narrowest network and "
        f"{_text(arrays, ('placed', 'DID', -1, -1))} in the widest."
    )
