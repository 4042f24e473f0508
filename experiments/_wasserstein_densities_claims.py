"""The claims of `wasserstein_densities`, from the stored arrays alone; derivations stand there."""

import math
from functools import partial

import numpy as np

from experiments import Claim
from experiments import _wasserstein_densities_between as between
from experiments import _wasserstein_densities_cases as cases
from experiments import _wasserstein_densities_exact as exact

SMOOTH = 8


def claims(arrays):
    """Return the bounds for each pair, the closed forms of Gaussians, and those of barycenters."""
    found = [claim for name in cases.NAMES for claim in _bounds(arrays, name)]
    return [*found, *_line_gaussians(arrays), *_plane_gaussians(arrays), *_barycenters(arrays)]


def _bounds(arrays, name):
    """Return the claims that hold for every pair."""
    binds = ("smoke", "quick", "paper") if name in ("line_w2", "plane_w1") else ("quick", "paper")
    numbers = dict.fromkeys(("error", "below", "value", "rounded", "debiased"), math.nan)
    if f"{name}_epsilon" in arrays:
        get = partial(_field, arrays, name)
        epsilon, cost, entropies = get("epsilon"), get("exact"), get("entropies")
        chain = get("sharp") - cost, get("value") - get("sharp"), get("rounded") - cost
        size = get("a").size * get("b").size
        numbers = {
            "error": get("error").max(),
            "below": np.min(chain) / get("largest"),
            "value": np.max((get("value") - cost) / (epsilon * entropies.min())),
            "rounded": np.max((get("rounded") - cost) / (epsilon * math.log(size))),
            "debiased": np.max(np.abs(get("debiased") - cost) / (epsilon * entropies.mean())),
        }
    rows = (
        ("error", "largest marginal error", 0.0, 1e-9, "requirement"),
        (
            "below", "least of sharp - exact, value - sharp, rounded - exact, over the largest "
            "cost", -1e-9, math.inf, "derived in the docstring: 0, and 1e-9 of slack",
        ),
        (
            "value", "largest (value - exact) / (epsilon min(H(a), H(b)))", 0.0, 1.0,
            "derived in the docstring",
        ),
        (
            "rounded", "largest (rounded - exact) / (epsilon log nm)", 0.0, 1.0,
            "requirement; derived in the docstring",
        ),
        (
            "debiased", "largest |debiased - exact| / (epsilon (H(a) + H(b)) / 2)", 0.0, 1.0,
            "derived in the docstring",
        ),
    )  # fmt: skip
    return [
        Claim(f"{cases.NAMES[name]}: {words}", numbers[key], None, low, high, source, binds)
        for key, words, low, high, source in rows
    ]


def _field(arrays, name, field):
    return np.asarray(arrays[f"{name}_{field}"])


def smooth(arrays, name, axis):
    """Return which epsilons make plans that are smooth on the scale of a pixel."""
    return arrays[f"{name}_epsilon"] >= SMOOTH * arrays[f"{axis}_spacing"] ** 2


def _largest(values, theory):
    """Return the largest difference; NaN, which no claim accepts, where nothing was compared."""
    return np.abs(values - theory).max() if len(values) else math.nan


def line_theory(epsilon):
    """Return the entropic value of the Gaussians on the line, without a grid."""
    A, B = np.square(cases.DEVIATIONS)
    return exact.gaussians(np.diff(cases.MEANS), A, B, epsilon)


def _line_gaussians(arrays):
    """Return the claims that need a closed form on the line."""
    if "line_w2_epsilon" not in arrays:
        return []
    always = ("smoke", "quick", "paper")
    fine = smooth(arrays, "line_w2", "line")
    epsilon = arrays["line_w2_epsilon"][fine]
    apart = _largest(arrays["line_w2_value"][fine], [line_theory(e) for e in epsilon])
    # Beyond the smaller variance the bounds of the remainder say little.
    some = epsilon <= min(cases.DEVIATIONS) ** 2
    error = (arrays["line_w2_debiased"][fine] - line_theory(0.0))[some]
    slope, low, high = math.nan, 2.0, 2.0
    if some.sum() > 1:
        ends = epsilon[some][[0, -1]]
        slope = np.log(error[-1] / error[0]) / np.log(ends[1] / ends[0])
        low, high = exact.slope_interval(*cases.DEVIATIONS, *ends)
    return [
        Claim(
            "Gaussians on the line: value = closed form, largest difference",
            apart, None, 0.0, 1e-8, "exact; 1e-8 derived in the docstring", always,
        ),
        Claim(
            "Gaussians on the line: slope of the debiased error in epsilon",
            slope, None, low, high, "derived in _wasserstein_densities_exact", always, "2",
        ),
    ]  # fmt: skip


def _plane_gaussians(arrays):
    """Return the claims on correlated Gaussians."""
    apart = left = math.nan
    A, B = cases.COVARIANCES
    k, low, high = exact.debiased_curvature(A, B)
    if "gaussians_epsilon" in arrays:
        fine = smooth(arrays, "gaussians", "plane")
        epsilon = arrays["gaussians_epsilon"][fine]
        theory = partial(exact.gaussians, np.diff(cases.PLANE_MEANS, axis=0), A, B)
        apart = _largest(arrays["gaussians_value"][fine], [theory(e) for e in epsilon])
        if fine.any():
            left = (arrays["gaussians_debiased"][fine][0] - theory(0.0)) / epsilon[0] ** 2
    binds = ("quick", "paper")
    return [
        Claim(
            "Gaussians in the plane: value = closed form, largest difference",
            apart, None, 0.0, 1e-8, "exact; 1e-8 derived in the docstring", binds,
        ),
        Claim(
            "Gaussians in the plane: (debiased - Bures) / epsilon^2",
            left, None, low, high, "derived in _wasserstein_densities_exact", binds,
            f"{k:.4f} as epsilon goes to 0",
        ),
    ]  # fmt: skip


def _barycenters(arrays):
    """Return the claims on barycenters."""
    always = ("smoke", "quick", "paper")
    images = {kind: arrays[f"{kind}_images"] for kind in between.KINDS}
    sums = np.concatenate([each.sum(axis=(1, 2)) for each in images.values()])
    exactly = "exact; 1e-6 derived in _wasserstein_densities_between"
    ends = arrays["digits"]
    found = [
        Claim(
            "barycenters of digits: largest |mass - 1|",
            np.abs(sums - 1).max(), None, 0.0, 1e-12, "exact; 1e-12 allows rounding", always,
        ),
        Claim(
            "Gaussians, blurred barycenter: variance / (s^2 + epsilon / 2) - 1",
            arrays["barycenter_blurred"], None, -1e-6, 1e-6, exactly, always,
        ),
        Claim(
            "Gaussians, debiased barycenter: variance / s^2 - 1",
            arrays["barycenter_debiased"], None, -1e-6, 1e-6, exactly, always,
        ),
        Claim(
            "a Gaussian alone, debiased: L1 distance of the barycenter to it",
            arrays["barycenter_itself"], None, 0.0, 1e-3, "0; 1e-3 is the default tolerance",
            always,
        ),
    ]  # fmt: skip
    for kind in between.KINDS:
        away = np.abs(images[kind][[0, -1]] - ends).sum(axis=(1, 2)).max()
        words = f"a digit alone, {kind}: L1 distance of the barycenter to it"
        found.append(Claim(words, away, None, -math.inf, math.inf, "shown only", ()))
    return found
