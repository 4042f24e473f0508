"""The claims of `intrinsic_dimension_controls`, from the stored arrays alone."""

import numpy as np

from experiments import Claim
from experiments._subspace_training import crossing
from experiments.intrinsic_dimension_controls import DENSE, FRACTION


def ratio(arrays, above, below, at_least=False):
    """Return the quotient of two intrinsic dimensions (own baselines) and its error over seeds.

    With ``at_least`` a first one beyond its grid is taken to be at the grid's end.
    """
    first = arrays[f"{above}: dint"][0, 0]
    if at_least and np.isnan(first):
        return arrays[f"{above}: ds"][-1] / arrays[f"{below}: dint"][0, 0], None
    value = first / arrays[f"{below}: dint"][0, 0]
    single = [crossings(arrays, key) for key in (above, below)]
    with np.errstate(invalid="ignore"):
        quotients = np.divide(*single)
    error = quotients.std(ddof=1) / len(quotients) ** 0.5 if len(quotients) > 1 else np.nan
    return value, error if np.isfinite(error) else None


def crossings(arrays, key):
    """Return where the curve of each seed crosses 0.9 of the mean baseline, (seeds,)."""
    threshold = FRACTION * arrays[f"{key}: direct"].mean()
    return np.asarray(
        [crossing(arrays[f"{key}: ds"], curve, threshold) for curve in arrays[f"{key}: curves"]]
    )


def claims(arrays):
    """Return what pixels and labels change, the value on digits, and the identity."""
    long, stated = ("quick", "paper"), "stated requirement"
    up, down = 1.25, 1 / 1.25
    counts, found = arrays["counts"], []
    pairs = [
        (f"{DENSE}: d with shuffled over ordered pixels", f"{DENSE}, shuffled", f"{DENSE}, ordered",
         down, up, "exact symmetry in distribution; 25 % as for the widths", "1 (750, 750)"),
        (f"{counts[-1]} images: d with random over true labels", f"random labels, {counts[-1]}",
         f"true labels, {counts[-1]}", 1.0, np.inf, "the paper's direction", "250 (all of MNIST)"),
        (f"random labels: d of {counts[-1]} over {counts[0]} images",
         f"random labels, {counts[-1]}", f"random labels, {counts[0]}", 1.0, np.inf,
         "the paper's direction", "2.1 for 10 times as many"),
    ]  # fmt: skip
    if arrays["lenet"]:
        pairs.append(
            ("LeNet: d with shuffled over ordered pixels", "LeNet, shuffled", "LeNet, ordered", up,
             np.inf, "the paper's direction, by more than counts as unchanged", "4.8 (absolute)")
        )  # fmt: skip
    for words, above, below, low, high, source, paper in pairs:
        value, error = ratio(arrays, above, below, at_least="LeNet" in above)
        found.append(Claim(words, value, error, low, high, source, long, paper))
    value, error = ratio(arrays, "sgd", "adam")
    found += [
        *(
            Claim(f"random labels, {count} images: d per image",
                  arrays[f"random labels, {count}: dint"][0, 0] / count, None, 0.0, np.inf,
                  "shown only", (), "18 to 3.8 (5,000 to 50,000)")
            for count in counts
        ),
        Claim("digits, SGD over Adam: d", value, error, 0.0, np.inf, "shown only", ()),
        Claim("digits, Adam with the rate 0.05: d", arrays["stated rate: dint"][0, 0], None, 130,
              260, stated, long),
        Claim("logits with pixels and kernel permuted alike: largest relative change",
              arrays["apart"], None, 0.0, 1e-4, "exact, to rounding: derived in the docstring, 1",
              ("smoke", "quick", "paper"), "0"),
    ]  # fmt: skip
    return found
