"""d90 and the claims of `finetuning_dimension`, from the stored arrays alone."""

import warnings

import numpy as np

from experiments import Claim
from theorylab import subspace

DRAWS = 200


def chosen(arrays, cell, what=""):
    """Return test accuracies at the rates that do best in validation, mean over seeds.

    Parameters
    ----------
    cell
        (field, kind, place of the width, place of the length).
    what
        "" for subspaces, (S, n_ds); ``"full_"`` for all parameters, (S,).
    """
    field, kind, width, length = cell
    at = {
        name: arrays[f"{field}_{kind}_{what}{name}"][width, length]
        for name in ("validation", "test")
    }
    place = at["validation"].mean(0).argmax(-1)
    return np.take_along_axis(at["test"], place[None, ..., None], -1)[..., 0]


def ran(arrays, cell):
    """Return whether a cell was run."""
    return bool(np.all(np.isfinite(chosen(arrays, cell, "full_"))))


def d90(arrays, cell, seeds=None, common=None):
    """Return d90 of a cell, NaN where the grid ends before.

    Parameters
    ----------
    cell
        As for :func:`chosen`.
    seeds
        A draw of seeds; None is all of them, once.
    common
        A cell whose full fine-tuning is the baseline, in place of the cell's own.
    """
    curves, baseline = chosen(arrays, cell), chosen(arrays, common or cell, "full_")
    if seeds is not None:
        curves, baseline = curves[seeds], baseline[seeds]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the grid ends", UserWarning)
        return subspace.dint(arrays["ds"], curves, baseline, rule="interp", bootstrap=0).value


def draws(arrays):
    """Return which seeds each bootstrap draw takes, (DRAWS, S)."""
    count = arrays["placed_DID_test"].shape[2]
    return np.random.default_rng(0).integers(count, size=(DRAWS, count))


def ratio(arrays, above, below, common=None):
    """Return d90 of one cell over that of another, and its standard deviation over draws."""
    last = arrays["ds"][-1]

    def found(seeds):
        lower = d90(arrays, below, seeds, common)
        return d90(arrays, above, seeds, common) / (last if np.isnan(lower) else lower)

    every = np.array([found(seeds) for seeds in draws(arrays)])
    every = every[np.isfinite(every)]
    return found(None), every.std() if len(every) > 1 else None


def claims(arrays):
    """Return ratios of d90, and the identities."""
    long, always = ("quick", "paper"), ("smoke", "quick", "paper")
    source = "Aghajanyan et al., the abstract's statement"
    widths, lengths = len(arrays["widths"]), len(arrays["lengths"])
    middle = widths // 2
    made = []

    def add(name, above, below, paper, common=None):
        measured, deviation = ratio(arrays, above, below, common)
        made.append(Claim(name, measured, deviation, 0.0, 1.0, source, long, paper))

    def at(width, length, field="placed", kind="DID"):
        return field, kind, width, length

    half = lengths // 2
    falls = "falls with pretraining"
    add("d90, long pretraining over none", at(middle, -1), at(middle, 0), falls)
    add("d90, short pretraining over none", at(middle, half), at(middle, 0), falls)
    add("d90, long pretraining over short", at(middle, -1), at(middle, half), falls)
    add("d90 of SAID, long pretraining over none", at(0, -1, kind="SAID"), at(0, 0, kind="SAID"),
        falls)  # fmt: skip
    add("centred digits: d90, long pretraining over none", at(0, -1, "centred"),
        at(0, 0, "centred"), falls)  # fmt: skip
    larger = "larger models lower"
    add("d90 of the widest network over the narrowest, long pretraining", at(-1, -1), at(0, -1),
        larger)  # fmt: skip
    add("the same at 0.9 times the narrowest network's accuracy", at(-1, -1), at(0, -1), larger,
        common=at(0, -1))  # fmt: skip
    return [
        *made,
        Claim("largest difference of SAID at scales of 1 from DID", arrays["said_apart"], None,
              0.0, 1e-6, "exact: the definition", always),
        Claim("largest difference of a masked tail from a smaller d", arrays["masked_apart"], None,
              0.0, 1e-6, "exact: nested columns", always),
    ]  # fmt: skip
