r"""What weighting costs: Gibbs weights in place of a transport plan, and the flows that follow.

Flow matching with pairs from an entropic transport plan needs the plan. Independent pairs with
weights :math:`e^{-c(x, y)/\varepsilon}` do not (Calvo-Ordoñez et al., 2025): they make the same
coupling, up to a bias in the marginals. Here is the bias, by epsilon, for two targets of the source
N(0, I) in the plane, squared costs:

*Shifted Gaussian*, N((2, 0), I). Everything is a closed form (``_weighted_flow_matching_theory``).
At every epsilon the weighted coupling is farther from the entropic plan, in total variation, than
independent pairs are: both marginals move towards the middle. The flow, which starts from the
source all the same, shifts it by :math:`\varepsilon / (\varepsilon + 4)` of the way.

*Eight Gaussians* on a circle of radius R = 3, standard deviation 0.2. By symmetry the source is
tilted nearly in its radius alone, in first order not at all at
:math:`\varepsilon = R^2 - 2 q = 8.92` (q is the variance): that weighting works at epsilon = 8 is
due to this radius. For smaller ones the flow ends inside the circle.

Population values are compared with couplings of n points drawn, and with flows along pairs drawn
from them (``_weighted_flow_matching_samples``). Means over draws have, up to a bias of order 1 / n,
Student's t distribution around the population's: of k such numbers none may be farther off than the
quantile at 0.001 / (2 k), in standard errors. That is claimed for the shifted Gaussian. For the
ring total variations are shown only: where a marginal is hardly tilted, its distance is that of
sampling. Flows along pairs of the entropic plan shift the mean by 2 without a bias, for the law of
the sample is symmetric in its middle. Weighted pairs break that symmetry, and few of them start
where the source's far side is, so their flows are biased in small samples, by more than sampling
errors; that they stop short of those along the plan's pairs of the same draw, by more than the same
quantile, is claimed of them.

Intervals otherwise: exact identities (``_weighted_flow_matching_identities``), the sign of what the
population says, and two comparisons that were measured here before, with n = 300 and one draw.

Limits. The plane, unit source, squared costs. Flows are exact minimisers of the loss, no network:
what a network adds or hides is not seen. Weights are normalised over all pairs of a draw; weighting
each minibatch by itself adds a bias of its own.

Differs from the paper:
  1. No figure of it is reproduced.
  2. Velocities in closed form, or of drawn pairs; nothing is trained.
"""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import stats

from experiments import Claim
from experiments import _weighted_flow_matching_identities as identities
from experiments import _weighted_flow_matching_samples as samples
from experiments import _weighted_flow_matching_theory as theory

TITLE = "Gibbs-weighted flow matching: a plan whose marginals are others"
PAPER = "Calvo-Ordoñez et al. (2025); Tong et al. (2023)"
BUDGET = 60
X64 = True

SHIFT, RADIUS, SPREAD = 2.0, 3.0, 0.2
TARGETS = {"shifted": theory.shifted(SHIFT), "ring": theory.ring(RADIUS, SPREAD)}
WORDS = {"shifted": "shifted Gaussian", "ring": "eight Gaussians"}
RANGE = (0.25, 128)  # of epsilon, where the population is looked at
STEPS = 100  # of closed-form flows; errors of 1e-7
PICTURES = {"shifted": 2.0, "ring": 1.0}  # epsilon of flows shown point by point
SHOWN = 400  # points in them
CURVES = ("gibbs", "independent", "source", "target")


@dataclass(frozen=True)
class Config:
    """Sizes of the samples.

    ``epsilons``: regularisations, 8 among them. ``points``: in each cloud, and on the grid of the
    identities. ``seeds``: draws of clouds. ``flows``: of these, how many are followed by flows, for
    one in ``every`` epsilons, with ``pairs`` drawn from each plan, ``particles``, bridges of width
    ``sigma`` and ``steps`` of the Runge-Kutta method. ``fine``: epsilons at which the population is
    looked at.
    """

    epsilons: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
    points: int = 300
    seeds: int = 20
    flows: int = 10
    every: int = 2
    pairs: int = 1000
    particles: int = 100
    sigma: float = 0.1
    steps: int = 20
    fine: int = 37


PRESETS = {
    # some twenty seconds on 2 cores, most of it compiling
    "smoke": Config((2.0, 8.0, 32.0), 121, 2, 1, every=1, pairs=200, particles=50, fine=10),
    "quick": Config(),  # a minute on 2 cores
    "paper": Config(points=1000, seeds=40, flows=40, every=1, pairs=4000),  # half an hour
}


def datasets(config):
    """Return nothing: points are drawn here."""
    return {}


def run(config, progress):
    """Return the bias of both targets by epsilon, population and samples, and the flows."""
    each = 2e-8 * config.points**2 * len(config.epsilons)
    followed = 4e-8 * config.pairs * config.particles * config.steps * len(config.epsilons)
    progress.plan(
        {"identities": 12.0, "population": 12.0}
        | {
            f"{WORDS[name]}, draw {seed + 1}": each
            + (followed / config.every if seed < config.flows else 0)
            for name in TARGETS
            for seed in range(config.seeds)
        }
    )
    result = {
        "epsilons": np.asarray(config.epsilons),
        "flow_epsilons": np.asarray(config.epsilons[:: config.every]),
        "points": np.asarray(config.points),
        "flow_sizes": np.asarray([config.pairs, config.particles]),
        "sigma": np.asarray(config.sigma),
        "fine": _fine(config),
    }
    exact = progress.stage("identities", partial(_identities, config))
    result |= {f"identity_{name}": value for name, value in exact.items()}
    result |= progress.stage("population", partial(_population, config))
    for name, target in TARGETS.items():
        draws = [
            progress.stage(
                f"{WORDS[name]}, draw {seed + 1}",
                partial(samples.draw, target, config, seed, seed < config.flows),
            )
            for seed in range(config.seeds)
        ]
        for field in (*CURVES, "x", "y", "converged"):
            result[f"{name}_{field}"] = np.stack([draw[field] for draw in draws])
        followed = draws[: config.flows]
        for kind in ("gibbs", "newton"):
            result[f"{name}_moved_{kind}"] = np.stack([_moved(d, kind, name) for d in followed])
    return result


def _fine(config):
    return np.geomspace(*RANGE, config.fine)


def _identities(config):
    epsilons = np.asarray(config.epsilons)
    points = np.asarray(samples.clouds(TARGETS["shifted"], SHOWN, config.seeds)[0])
    return identities.on_a_grid(epsilons, SHIFT, config.points) | identities.of_flows(
        epsilons, SHIFT, TARGETS["ring"], points, STEPS
    )


def _population(config):
    """Return closed forms on the fine scale and at the epsilons of the samples, and pictures."""
    found, fine = {}, _fine(config)
    for scale, epsilons in (("fine", fine), ("exact", config.epsilons)):
        for kind in ("gibbs", "independent"):
            values = [theory.distance(epsilon, SHIFT, kind) for epsilon in epsilons]
            found[f"{scale}_shifted_{kind}"] = np.asarray(values)
        for name, target in TARGETS.items():
            both = np.asarray([theory.marginal_distances(e, target) for e in epsilons]).T
            found[f"{scale}_{name}_source"], found[f"{scale}_{name}_target"] = both
    for name, target in TARGETS.items():
        x, y = (np.asarray(points) for points in samples.clouds(target, SHOWN, config.seeds))
        found |= {f"{name}_shown_source": x, f"{name}_shown_target": y}
    x = found["shifted_shown_source"]
    found["shifted_shown_end"] = identities.ends(PICTURES["shifted"], TARGETS["shifted"], x, STEPS)
    # Nodes of quadrature and points to be shown, together: one program for all of the ring.
    nodes, weights = identities.source_nodes()
    points = np.concatenate([nodes, found["ring_shown_source"]])
    ends = [
        identities.ends(e, TARGETS["ring"], points, STEPS)
        for e in (*fine, np.inf, PICTURES["ring"])
    ]
    radii = np.linalg.norm(np.stack(ends)[:-1, : len(nodes)], axis=2) @ weights
    found |= {"fine_ring_radius": radii[:-1], "none_ring_radius": radii[-1:]}
    return found | {"ring_shown_end": ends[-1][len(nodes) :]}


def _moved(draw, kind, name):
    """Return how far the mean is shifted, or the mean radius at the end, (F,)."""
    ends = draw[f"ends_{kind}"]
    if name == "ring":
        return np.linalg.norm(ends, axis=2).mean(1)
    return (ends - draw["start"])[..., 0].mean(1)


def claims(arrays):
    """Return identities, the bias of the population, and samples beside it."""
    always, sampled = ("smoke", "quick", "paper"), ("quick", "paper")
    found = [
        Claim(words, arrays[f"identity_{field}"], None, 0.0, high, source, always)
        for words, field, high, source in (
            ("grid: moments of the Gibbs coupling = closed form", "grid_gibbs", 1e-12,
             "exact; 1e-12 allows rounding"),
            ("grid: moments of the entropic plan = closed form", "grid_newton", 8e-8,
             "exact; the plan is met within 1e-9"),
            ("grid: total variation between them = closed form", "grid_distance",
             float(arrays["identity_grid_distance_allowed"]), "kinks, derived in the docstring"),
            ("flow of one component = affine map", "flow_affine", 1e-6, "exact; Runge-Kutta"),
            ("ring: log density along the flow = tilted target's", "flow_density", 1e-6,
             "exact; Runge-Kutta"),
        )
    ]  # fmt: skip
    ratio = arrays["fine_shifted_gibbs"] / arrays["fine_shifted_independent"]
    found += [
        Claim("shifted, population: smallest ratio of distances to the plan, Gibbs / independent",
              ratio.min(), None, 1.0, math.inf,
              "measured here before: farther at every epsilon tried", always),
        Claim("Gibbs couplings that call themselves converged",
              sum(arrays[f"{name}_converged"].sum() for name in TARGETS), None, 0.0, 0.0,
              "no marginal is met within 1e-9", always),
    ]  # fmt: skip
    exact = {"gibbs": arrays["exact_shifted_gibbs"]}
    exact |= {field: arrays[f"exact_shifted_{field}"] for field in CURVES[1:]}
    moments = [theory.gibbs(epsilon, SHIFT) for epsilon in arrays["epsilons"]]
    shift = np.full(arrays["flow_epsilons"].shape, SHIFT)
    for words, wanted in (
        ("means of x and y", {"x": [m.x for m in moments], "y": [m.y for m in moments]}),
        ("total variations", exact),
        ("shift by flows, entropic", {"moved_newton": shift}),
    ):
        off, most = _off([(arrays[f"shifted_{field}"], value) for field, value in wanted.items()])
        found.append(
            Claim(f"shifted, samples: {words}, largest deviation in standard errors",
                  np.abs(off).max(), None, 0.0, most, "closed form; Student's t, 1 in 1000",
                  sampled)
        )  # fmt: skip
    short, least = _off([(arrays["shifted_moved_newton"] - arrays["shifted_moved_gibbs"], 0.0)])
    gaps = arrays["shifted_gibbs"] - arrays["shifted_independent"]
    ring = arrays["ring_gibbs"] / arrays["ring_independent"]
    mean, error = _at_eight(ring, arrays["epsilons"])
    found += [
        Claim("shifted, samples: shift by flows, entropic less Gibbs, smallest in standard errors",
              short.min(), None, least, math.inf, "as in the population; Student's t, 1 in 1000",
              sampled),
        Claim("shifted, samples: smallest excess of the distance to the plan, Gibbs, independent",
              gaps.min(), None, 0.0, math.inf, "as in the population; every draw and epsilon",
              sampled),
        Claim("ring, epsilon = 8: distance to the plan, Gibbs / independent",
              mean, error, 0.0, 1.0, "measured here before: nearer", sampled,
              "0.050 / 0.258 here before"),
    ]  # fmt: skip
    return found + _shown(arrays)


def _off(pairs):
    """Return deviations of means over draws, in standard errors, and how large they may be."""
    parts, count = [], len(pairs[0][0])
    for drawn, wanted in pairs:
        error = drawn.std(0, ddof=1) / math.sqrt(count) if count > 1 else np.nan
        parts.append((drawn.mean(0) - wanted) / error)
    off = np.concatenate(parts)
    return off, stats.t.isf(0.001 / (2 * len(off)), max(count - 1, 1))


def _at_eight(drawn, epsilons):
    """Return the mean over draws (S, E) at epsilon = 8 and its standard error."""
    drawn = drawn[:, int(np.argmin(np.abs(epsilons - 8)))]
    return drawn.mean(), drawn.std(ddof=1) / math.sqrt(len(drawn)) if len(drawn) > 1 else None


def _shown(arrays):
    """Return numbers that are listed beside others, and not tested."""
    rows = [
        (f"{words} at epsilon = 8", *_at_eight(arrays[field], arrays[scale]), before)
        for words, field, scale, before in (
            ("shifted: distance to the plan, Gibbs,", "shifted_gibbs", "epsilons", "0.242 before"),
            ("shifted: the same, independent,", "shifted_independent", "epsilons", "0.124 before"),
            ("shifted: shift by flows, Gibbs,", "shifted_moved_gibbs", "flow_epsilons", "4/3"),
            ("ring: tilt of the source", "ring_source", "epsilons", "0.012 before"),
            ("ring: tilt of the target", "ring_target", "epsilons", "0.047 before"),
        )
    ]
    fine, first = arrays["fine"], RADIUS**2 - 2 * SPREAD**2
    near = fine < 2 * first  # beyond, all tilts vanish
    least = fine[near][arrays["fine_ring_source"][near].argmin()]
    inside = arrays["fine_ring_radius"][0] / float(arrays["none_ring_radius"][0])
    rows += [
        ("ring: epsilon of the least tilted source", least, None, f"{first:.2f} in first order"),
        (f"ring: radius at the end over the target's at epsilon = {fine[0]:g}", inside, None, ""),
    ]
    return [
        Claim(words, value, error, -math.inf, math.inf, "shown only", (), before)
        for words, value, error, before in rows
    ]


def figure(arrays):
    """Draw distances, what flows reach, and flows point by point, for both targets."""
    from experiments import _weighted_flow_matching_figure

    return _weighted_flow_matching_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with sizes."""
    from experiments import _weighted_flow_matching_figure

    return _weighted_flow_matching_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _weighted_flow_matching_figure

    return _weighted_flow_matching_figure.alt(arrays)
