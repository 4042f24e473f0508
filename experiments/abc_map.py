r"""The map of abc-parametrizations: unstable, trivial, a kernel, or learning features.

`parametrization.classify` decides at every point of two planes, for two hidden layers and SGD.

*(a) Read-out multiplier and rate.* Hidden weights are those of the standard parametrization,
:math:`a = 0, b = 1/2`, :math:`b_{L+1} = 1/2`, and all layers have one rate :math:`n^{-c}`. With
:math:`s = a_{L+1} + c`, r is :math:`\min(s - 1/2, 2s - 1)`, and the conditions of stability become

.. math:: a_{L+1} \ge 0, \qquad a_{L+1} + c \ge 1/2, \qquad 2 a_{L+1} + c \ge 1 .

They bound a polygon with two vertices. The output moves on the last edge alone, where
:math:`r = 1/2 - a_{L+1}`: kernels, from the vertex (0, 1) on, and features at its other end
(1/2, 0). Input weights matter for none of this, since r is that of the hidden layer: the vertex
(0, 1) is the neural tangent parametrization, shifted along its gauge, and the standard one with
c = 1; (1/2, 0) is muP.

*(b) Initial read-out and hidden rate*, with the largest stable rate of the read-out: multipliers
are 1, the read-out begins at :math:`n^{-\beta}`, input, hidden and output rates are
:math:`n^{1-\gamma}, n^{-\gamma}, n^{-1}`. Then :math:`r = \min(\beta, 1) + \gamma - 1`, and the
output moves everywhere. Stable is :math:`\beta \ge 1/2` with :math:`\gamma \ge 2 - 2 \beta` below
:math:`\beta = 1` and :math:`\gamma \ge 0` above. Features are learned on the edge
:math:`\gamma = 0`, :math:`\beta \ge 1`, at whose corner muP lies.

Claimed: the named parametrizations have the regimes and the exponents of the paper's theory; the
vertices, found by bisection with the classifier alone, are those derived; regimes are the same
after random shifts of the gauge, layer by layer; of random parametrizations none is stable and
nontrivial but neither rich nor a kernel, or both. Exponents are dyadic, so all of this is exact.

Limits. Exponents are about the limit of infinite width at a fixed number of steps; they say nothing
about finite widths or how good features are.

Differs from the paper:
  1. Two planes through the set, where the paper draws its sketch in three dimensions.
  2. Rates may differ between layers, so all gauges of one parametrization are one point.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from experiments import Claim
from theorylab.parametrization import ABC, MFP, MUP, NTP, SP, classify, r_exponent, regauge

TITLE = "Which parametrizations learn features"
PAPER = "Yang and Hu (2021), Tensor Programs IV: feature learning in infinite-width neural networks"
BUDGET = 30
X64 = True

DEPTH = 2
CLASSES = ("unstable", "trivial", "kernel", "features")
# name, parametrization, number of hidden layers, r, class
NAMED = (
    ("SP, c = 0", SP, 2, -1.0, "unstable"),
    ("SP, c = 1", dataclasses.replace(SP, c=1.0), 2, 0.5, "kernel"),
    ("NTP", NTP, 2, 0.5, "kernel"),
    ("MFP", MFP, 1, 0.0, "features"),
    ("muP, 1 hidden layer", MUP, 1, 0.0, "features"),
    ("muP", MUP, 2, 0.0, "features"),
    ("muP, 5 hidden layers", MUP, 5, 0.0, "features"),
)


@dataclass(frozen=True)
class Config:
    """``points`` of a side of each plane, ``draws`` of random parametrizations, and the seed."""

    points: int = 121
    draws: int = 2000
    seed: int = 0


PRESETS = {
    "smoke": Config(points=21, draws=200),
    "quick": Config(),  # a few seconds
    "paper": Config(points=481, draws=20000),
}


def datasets(config):
    """Return that no data are used."""
    return {}


def in_plane_a(a, c):
    """Return the parametrization of a point of (a)."""
    return ABC((0, 0, float(a)), (0, 0.5, 0.5), float(c))


def in_plane_b(beta, gamma):
    """Return the parametrization of a point of (b)."""
    return ABC((0, 0, 0), (0, 0.5, float(beta)), (float(gamma) - 1, float(gamma), 1))


def kind(abc, depth=DEPTH):
    """Return the index in CLASSES."""
    found = classify(abc, depth)
    if found.feature_learning:
        return 3
    return int(found.stable) + int(found.kernel)


def least(holds, low, high):
    """Return the smallest number at which something monotone holds, by bisection."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def corners():
    """Return the vertices of (a) and the corner of (b), from the classifier alone."""

    def edge(a):
        return least(lambda c: classify(in_plane_a(a, c), DEPTH).stable, -8.0, 8.0)

    left = least(lambda a: classify(in_plane_a(a, 8.0), DEPTH).stable, -4.0, 4.0)
    (a0, a1), (a2, a3) = (0.125, 0.25), (0.75, 1.0)
    steep = (edge(a1) - edge(a0)) / (a1 - a0)
    flat = (edge(a3) - edge(a2)) / (a3 - a2)
    meet = (edge(a2) - edge(a0) + steep * a0 - flat * a2) / (steep - flat)
    start = least(lambda b: kind(in_plane_b(b, 0.0)) == 3, 0.5, 4.0)
    return np.array([[left, edge(max(left, 0.0))], [meet, edge(a0) + steep * (meet - a0)]]), start


def gauges(draws, seed):
    """Return the largest change of r under shifts, and how often the regime changed."""
    rng = np.random.default_rng(seed)
    worst, changed = 0.0, 0
    for _ in range(draws):
        depth = int(rng.integers(1, 5))
        a, theta = rng.integers(-32, 33, (2, depth + 1)) / 16
        sums = np.array([0, *[0.5] * (depth - 1), rng.choice([0.5, 0.75, 1.0])])
        abc = ABC(tuple(a), tuple(sums - a), float(rng.integers(-16, 17) / 16))
        moved = regauge(abc, theta)
        worst = max(worst, abs(r_exponent(moved, depth) - r_exponent(abc, depth)))
        changed += kind(moved, depth) != kind(abc, depth)
    return worst, changed


def dichotomy(draws, seed):
    """Return counts by class of random parametrizations, and how many break the dichotomy."""
    rng = np.random.default_rng(seed + 1)
    counts, broken = np.zeros(4, int), 0
    for _ in range(draws):
        a = rng.integers(-4, 5, 3) / 4
        sums = rng.choice([0.5, 0.75, 1.0])
        abc = ABC(tuple(a), (-a[0], 0.5 - a[1], sums - a[2]), tuple(rng.integers(-4, 9, 3) / 4))
        found = classify(abc, DEPTH)
        counts[kind(abc)] += 1
        broken += found.nontrivial != (found.feature_learning != found.kernel)
    return counts, broken


def run(config, progress):
    """Return classes and exponents on both planes, and what the claims need."""
    progress.plan({"planes": 2e-4 * config.points**2, "gauges": 2e-4 * config.draws})

    def planes():
        a, c = np.linspace(-0.5, 1.5, config.points), np.linspace(-1, 2, config.points)
        beta, gamma = np.linspace(0.25, 1.75, config.points), np.linspace(-0.5, 1.5, config.points)
        found = {"a": a, "c": c, "beta": beta, "gamma": gamma}
        for name, make, x, y in (("a", in_plane_a, a, c), ("b", in_plane_b, beta, gamma)):
            found[f"class_{name}"] = np.array([[kind(make(u, v)) for u in x] for v in y])
            found[f"r_{name}"] = np.array([[r_exponent(make(u, v), DEPTH) for u in x] for v in y])
        return found

    return progress.stage("planes", planes) | progress.stage("gauges", lambda: checks(config))


def checks(config):
    """Return the vertices, what random parametrizations say, and the named ones."""
    vertices, corner = corners()
    worst, changed = gauges(config.draws, config.seed)
    counts, broken = dichotomy(config.draws, config.seed)
    edge = np.linspace(0, 0.5, 33)
    return {
        "vertices": vertices,
        "corner": np.asarray(corner),
        "gauge_r": np.asarray(worst),
        "gauge_changed": np.asarray(changed),
        "counts": counts,
        "broken": np.asarray(broken),
        "edge_r": np.array([r_exponent(in_plane_a(a, 1 - 2 * a), DEPTH) for a in edge]) + edge,
        "named_r": np.array([r_exponent(abc, depth) for _, abc, depth, _, _ in NAMED]),
        "named_class": np.array([kind(abc, depth) for _, abc, depth, _, _ in NAMED]),
    }


def claims(arrays):
    """Return the table, the vertices, the symmetry and the dichotomy."""
    always = ("smoke", "quick", "paper")
    derived = "derived in the docstring"
    rows = [CLASSES.index(row[4]) for row in NAMED]
    wrong = int((arrays["named_class"] != rows).sum())
    far = np.abs(arrays["named_r"] - [row[3] for row in NAMED]).max()
    vertices = np.abs(arrays["vertices"] - [[0, 1], [0.5, 0]]).max()
    return [
        Claim(f"named parametrizations of {len(NAMED)} with another regime", wrong, None, 0.0, 0.0,
              "theory of the paper", always, "0"),
        Claim("largest error of r for them", far, None, 0.0, 0.0, "theory of the paper", always),
        Claim("(a): distance of the vertices found to (0, 1) and (1/2, 0)", vertices, None, 0.0,
              1e-8, f"{derived}; the classifier's tolerance of 1e-9", always),
        Claim("(a): largest error of r = 1/2 - a on the edge", np.abs(arrays["edge_r"] - 0.5).max(),
              None, 0.0, 0.0, derived, always),
        Claim("(b): where features begin to be learned", float(arrays["corner"]), None, 1 - 1e-8,
              1 + 1e-8, f"{derived}; the classifier's tolerance of 1e-9", always),
        Claim("largest change of r by a shift of the gauge", float(arrays["gauge_r"]), None, 0.0,
              0.0, "exact symmetry", always, "0"),
        Claim("shifts that change the regime", float(arrays["gauge_changed"]), None, 0.0, 0.0,
              "exact symmetry", always, "0"),
        Claim("random parametrizations that break the dichotomy", float(arrays["broken"]), None,
              0.0, 0.0, "theorem of the paper", always, "0"),
    ]  # fmt: skip


def figure(arrays):
    """Draw the two planes."""
    from experiments import _abc_map_figure

    return _abc_map_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn."""
    counts = dict(zip(CLASSES, arrays["counts"].tolist(), strict=True))
    return (
        "Regimes of abc-parametrizations of networks with two hidden layers under SGD. (a) "
        "Read-out multiplier $n^{-a}$ against the rate $n^{-c}$ of all layers, hidden weights as "
        "in the standard parametrization. The output moves on the lower edge alone; the neural "
        "tangent parametrization (in this gauge) and the standard one with c = 1 are its upper "
        "end, muP is its lower one, the only point at which features are learned. (b) Initial "
        "read-out $n^{-beta}$ against the hidden rate $n^{-gamma}$, the read-out's own rate being "
        "the largest stable one. Colours inside: features move by $n^{-r}$. Of "
        f"{sum(counts.values())} random parametrizations {counts['unstable']} are unstable, "
        f"{counts['trivial']} trivial, {counts['kernel']} kernels, and {counts['features']} learn "
        "features; none is anything else."
    )


def alt(arrays):
    """Return the figure in words."""
    return (
        "Two maps. In the first a polygon of stable parametrizations with a coloured edge from the "
        "neural tangent vertex, r = 1/2, down to the muP vertex, r = 0. In the second a region of "
        "kernels whose exponent r falls to 0 at its lower edge, where features are learned, to the "
        "right of muP."
    )
