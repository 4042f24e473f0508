r"""Wasserstein distances between densities on grids as epsilon falls, and digits in between.

Four pairs of densities, on a line and in the plane, with squared and with Manhattan distance, whose
cost W without entropy is known exactly (``_wasserstein_densities_cases``). `transport.solve` gives
the entropic value V, the cost of its plan without entropy ("sharp"), and the cost of that plan
rounded to the exact masses; and V debiased, V(a, b) - V(a, a) / 2 - V(b, b) / 2. Then two digits,
and their barycenters with weights from 0 to 1, with and without the blur that entropy brings.

*Bounds.* Let P be the plan found. As KL is not negative, W <= <P, C> <= V. The best plan Q without
entropy is allowed too: V <= W + epsilon KL(Q | a b^T), and KL(Q | a b^T) = H(a) - H(a | b) is at
most H(a), and H(b) likewise. So

.. math::

    0 \le \langle P, C \rangle - W \le V - W \le \varepsilon \min(H(a), H(b)).

H(a) <= log n: the rounded cost, which is not below W either as its masses are exact, is within
epsilon log(nm), what Altschuler, Weed & Rigollet (2017) allow, even at half of it for n = m. All
three problems of the debiased value lie in such intervals, so it misses W by at most
:math:`\varepsilon (H(a) + H(b)) / 2`.

*Slack.* Marginals are met up to 1e-9 (L1). Potentials vary by no more than the largest cost, hence
1e-9 of it for each bound from below, which is the tolerance of the claims "never below". Rounding
moves 2e-9 of the mass, far below epsilon log(nm).

*Discretisation.* W is exact for masses on the grid. Where densities are Gaussians, the closed form
of V for the continuous ones must come out too (``_wasserstein_densities_exact``), once the plan is
smooth on the scale of a pixel h. Sums over the lattice of a Gaussian of variance v are integrals up
to a relative error of :math:`2 e^{-2 \pi^2 v / h^2}` (Poisson), for the masses and for the plan
given a point. With epsilon >= SMOOTH h^2 and the variances chosen, the smallest v of any plan is
above 1.06 h^2, an error of 2e-9 epsilon, and 2 is the epsilon where it is met; what lies beyond the
ends of the lattice, below 1e-11 of the mass at 7 deviations, costs below 1e-9. The interval allows
1e-8: this, and what marginal errors of 1e-9 make of the value.

*Rate.* For these Gaussians the debiased error is
:math:`-\tfrac{1}{32} (1 / s - 1 / s')^2 \varepsilon^2 + O(\varepsilon^4)`, with bounds of the
remainder that give the interval of the slope. It is the error against the continuous Gaussians; the
cost of the discretised ones is about h^2 / 8 away (measured). Elsewhere (Laplace densities, humps,
digits) nothing is claimed of the rate.

Limits. Sizes and epsilons at which float64 meets 1e-9: with 512 points on the line and epsilon
2^-10, 4e-6 of the largest cost, a Gaussian with itself stalls at 3e-8 (and says so). The debiased
value is no bound of the cost, and with epsilon below a pixel it can be worse than the value itself:
then V(a, a) is nearly epsilon H(a), more than the bias of V(a, b) where many plans are about as
good (W1, here).

Differs from the paper:
  1. The paper's densities, grids and epsilons are not known to us: no number is compared.
  2. The default solver, semi-dual Newton, on grids whose cost matrices are never formed (but for
     rounding, which forms the plan).
  3. Debiased values and barycenters are not in it (Feydy et al., 2019; Janati et al., 2020).
  4. SMOOTH = 8 (``_wasserstein_densities_claims``): the first power of two that makes lattice sums
     exact to 1e-8 here.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from experiments import _wasserstein_densities_between as between
from experiments import _wasserstein_densities_cases as cases
from theorylab import data

TITLE = "Wasserstein distances of densities, and digits in between"
PAPER = "Tang et al. (2024), densities on grids; Janati, Cuturi and Gramfort (2020)"
BUDGET = 60
X64 = True


@dataclass(frozen=True)
class Config:
    """Sizes, and epsilons as powers of two.

    ``line``, ``plane``: points along an axis of 16 units. ``line_exponents``, ...: of the epsilons.
    ``gaussian_exponents``: those of the correlated Gaussians in the plane; empty: none.
    ``pairs``: which of the four. ``columns``: images from digit to digit, at ``epsilon``, in square
    pixels.
    """

    pairs: tuple[str, ...] = ("line_w2", "line_w1", "plane_w2", "plane_w1")
    line: int = 256
    plane: int = 32
    line_exponents: tuple[int, ...] = (-9, -8, -7, -6, -5, -4, -3, -2, -1, 0, 1)
    plane_exponents: tuple[int, ...] = (-4, -3, -2, -1, 0, 1, 2, 3)
    gaussian_exponents: tuple[int, ...] = (1, 2, 3)
    columns: int = 9
    epsilon: float = 1.5


PRESETS = {
    "smoke": Config(
        pairs=("line_w2", "plane_w1"),
        line=128,
        line_exponents=(-5, -3, -2),
        plane_exponents=(0, 2),
        gaussian_exponents=(),
        columns=3,
    ),  # seconds on 2 cores, most of them to compile
    "quick": Config(),  # a minute on 2 cores, half of it to compile
    "paper": Config(
        line=512,
        plane=48,
        line_exponents=tuple(range(-9, 2)),
        plane_exponents=tuple(range(-5, 4)),
        gaussian_exponents=(0, 1, 2, 3),
        columns=11,
    ),  # some minutes on 2 cores
}


def datasets(config):
    """Return the fingerprint of the digits."""
    used = data.mnist()
    return {used.name: used.fingerprint}


def run(config, progress):
    """Return costs by epsilon for each pair, what Gaussians miss, and the images in between."""
    costs = {"line_w2": 6.0, "line_w1": 6.0, "plane_w2": 9.0, "plane_w1": 8.0}
    progress.plan(
        {cases.NAMES[name]: costs[name] for name in config.pairs}
        | ({"correlated Gaussians": 2.0} if config.gaussian_exponents else {})
        | {"Gaussian barycenters": 6.0}
        | {f"{kind} digits": 0.4 * config.columns for kind in between.KINDS}
    )
    result: dict[str, Any] = {}
    for name in config.pairs:
        pair, exponents = _pair(config, name)
        found = progress.stage(cases.NAMES[name], partial(cases.measured, pair, exponents))
        result |= {f"{name}_{field}": value for field, value in found.items()}
    if config.gaussian_exponents:
        pair = cases.plane_gaussians(config.plane)
        solve = partial(cases.values, pair, config.gaussian_exponents)
        found = progress.stage("correlated Gaussians", solve)
        result |= {f"gaussians_{field}": value for field, value in found.items()}
    found = progress.stage("Gaussian barycenters", between.gaussians)
    result |= {f"barycenter_{field}": value for field, value in found.items()}
    for kind in between.KINDS:
        draw = partial(between.row, config.epsilon, config.columns, kind)
        result[f"{kind}_images"] = progress.stage(f"{kind} digits", draw)["images"]
    return result | {
        "digits": between.digits(),
        "epsilon": np.asarray(config.epsilon),
        "line_spacing": np.asarray(cases.EXTENT / config.line),
        "plane_spacing": np.asarray(cases.EXTENT / config.plane),
    }


def _pair(config, name):
    """Return a pair and the exponents of its epsilons."""
    if name == "plane_w1":
        return cases.plane_w1(), config.plane_exponents
    if name == "plane_w2":
        return cases.plane_w2(config.plane), config.plane_exponents
    return getattr(cases, name)(config.line), config.line_exponents


def claims(arrays):
    """Return the bounds for each pair, the closed forms of Gaussians, and those of barycenters."""
    from experiments import _wasserstein_densities_claims

    return _wasserstein_densities_claims.claims(arrays)


def figure(arrays):
    """Draw the densities, the errors of their distances, and the digits in between."""
    from experiments import _wasserstein_densities_figure

    return _wasserstein_densities_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with sizes."""
    from experiments import _wasserstein_densities_figure

    return _wasserstein_densities_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _wasserstein_densities_figure

    return _wasserstein_densities_figure.alt(arrays)
