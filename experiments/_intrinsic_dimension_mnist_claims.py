"""The claims of `intrinsic_dimension_mnist`, from the stored arrays alone."""

import numpy as np

from experiments import Claim
from experiments._subspace_training import crossing
from experiments.intrinsic_dimension_mnist import MIDDLE, REFERENCE, REFERENCE_RATE

PAPERS = {200: 0.758, 500: 0.865, 750: 0.894, 1000: 0.907}  # full MNIST, FC 2 x 200


def spread(arrays):
    """Return the largest over the smallest d of the widths, its error, and the same of D."""
    at = [list(arrays["names"]).index(name) for name in arrays["widths"]]
    found, sizes = arrays["dint"][at, 0], arrays["sizes"][at]
    ratio = found.max() / found.min()
    low, high = (arrays["names"][at[k]] for k in (np.argmin(found), np.argmax(found)))
    single = [
        [
            crossing(arrays[f"{name}: ds"], curve, arrays["common"])
            for curve in arrays[f"{name}: test"]
        ]
        for name in (low, high)
    ]
    ratios = np.divide(single[1], single[0])
    error = ratios.std(ddof=1) / len(ratios) ** 0.5 if len(ratios) > 1 else np.nan
    return ratio, error if np.isfinite(error) else None, sizes.max() / sizes.min()


def claims(arrays):
    """Return what widths change, curves beside their references, and the identity."""
    long, stated = ("quick", "paper"), "stated requirement"
    ratio, error, sizes = spread(arrays)
    full, names = bool(arrays["full"]), [str(name) for name in arrays["names"]]
    found = [
        Claim("widths: largest over smallest d at the common threshold", ratio, error, 1.0, 1.25,
              stated, long, "varies little"),
        Claim("widths: largest over smallest number of parameters", sizes, None, 10.0, np.inf,
              stated, long),
    ]  # fmt: skip
    for k, name in enumerate(names):
        shown = ("d at the common threshold", "d at 0.9 of its own baseline")
        found += [
            Claim(
                f"{name}: {words}", arrays["dint"][k, column], None, 0.0, np.inf, "shown only", ()
            )
            for column, words in enumerate(shown)
        ]
        paper = {MIDDLE: "750", "LeNet": "290"}.get(name, "")
        binds: tuple[str, ...] = ()
        low, high, source = 0.0, np.inf, "shown only"
        if full and name == MIDDLE:
            low, high, source, binds = 650, 950, stated, long
        elif full and name == "LeNet":
            low, high, source, binds = 207, 350, "derived in the docstring, 3", long
        elif paper:
            paper += " with the full MNIST"
        found.append(
            Claim(f"{name}: d at an accuracy of 0.90", arrays["dint"][k, 2], None, low, high,
                  source, binds, paper)
        )  # fmt: skip
    if full and MIDDLE in names:
        ds = arrays[f"{MIDDLE}: ds"].tolist()
        at = [ds.index(d) for d in PAPERS if d in ds]
        found += curve_claims(ds, arrays[f"{MIDDLE}: test"], at, PAPERS, 0.02, "")
    if "reference" in arrays:
        found += curve_claims(
            list(REFERENCE), arrays["reference"], range(len(REFERENCE)), REFERENCE, 0.03,
            f" with the rate {REFERENCE_RATE}"
        )  # fmt: skip
    found.append(
        Claim("largest difference of a projection's columns from those of a larger one",
              arrays["nested_apart"], None, 0.0, 1e-6, "exact, to rounding: derived in the "
              "docstring, 4", ("smoke", "quick", "paper"), "0")
    )  # fmt: skip
    return found


def curve_claims(ds, runs, at, wanted, within, words):
    """Return claims on the mean accuracies of FC 2 x 200 at some of its dimensions."""
    found = []
    for k in at:
        column = runs[:, k]
        error = column.std(ddof=1) / len(column) ** 0.5 if len(column) > 1 else None
        found.append(
            Claim(f"{MIDDLE}: accuracy at d = {ds[k]}{words}", column.mean(), error,
                  wanted[ds[k]] - within, wanted[ds[k]] + within, "stated requirement",
                  ("quick", "paper"), "" if words else f"{wanted[ds[k]]:g}")
        )  # fmt: skip
    return found
