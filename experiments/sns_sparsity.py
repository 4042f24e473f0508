r"""How sparse the Hessian of entropic transport is, and where a fixed number of entries will do.

Sinkhorn-Newton-Sparse (SNS; Tang et al. 2024) keeps a fixed number k of entries per row of the
plan P, which is the off-diagonal block of the Hessian. Four families (``_sns_problems``) at four
epsilons:

*Along the way.* The entries, per row of P, that hold all but 1e-5 of the mass, after sweeps of
Sinkhorn's method and at the solution. The paper bounds them: in the limit P is a vertex of the
polytope, for an assignment a permutation with n entries, and what is outside has a mass of at most
:math:`6 n^2 e^{-\Delta / \epsilon}` with the gap :math:`\Delta` to the next vertex.

*Where it converges.* SNS at each k, from its published start (20 sweeps; 700 for L1) and from near
the solution (a marginal error of 1e-2). Near the solution a step multiplies the error by a factor
:math:`\rho` that is an eigenvalue of the plan (``_sns_sparsity_theory``), bounded by
:math:`d / (\lambda + d)` with the share d of mass that is dropped and the smallest eigenvalue
:math:`\lambda` of the Hessian. So a step converges fast where what is dropped is small against
:math:`\lambda`, and stalls where it is not. Where it fails from its own start alone, it is the
start that was too far.

Accepted intervals.

1. Where epsilon is such that the bound above is 1e-6 the plan of an assignment needs exactly n
   entries, those of the best assignment: n - 1 hold 1 - 1/n, less than 1 - 1e-5. The distance to
   the vertex is at most its bound, there and where that is 1e-3.
2. ``history.nnz`` is ceil(k / n * n * m) at every Newton step: a stated requirement.
3. :math:`\theta \le d / (\lambda + d)`, derived in ``_sns_sparsity_theory``; 1e-9 allows rounding.
4. The rate over the last 10 steps of runs from near the solution, where there are 20: digits a
   step, measured over predicted, the median within 10 %. A mean over 10 steps is not yet a limit:
   faster modes are still dying out, and slow ones may never have been excited. None may be slower
   than predicted by more than 10 %, since in the norm of M no step is, and over ten of them it
   matters little that the marginal error is another norm.
5. Outcomes from near the solution: at the rate :math:`\rho` the error falls below the tolerance
   within the passes allowed, or does not. 9 in 10 must be as predicted: the same 10 %.

Limits. One draw of each family; images are cut to their middle, 20 x 20, in the preset ``quick``.
Rates are those at the solution: far from it steps are shortened and the plan is another.

Differs from the paper:
  1. The paper shows that the Hessian becomes sparse on its own examples; mixtures, a background in
     images, and the rate are ours.
  2. Entries are counted per row of the plan.
"""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from experiments import Claim
from experiments import _sns_sparsity_runs as runs
from experiments import _sns_sparsity_theory as theory
from experiments._sns_problems import fingerprints, problem, source
from theorylab import transport

TITLE = "How sparse the Hessian of entropic transport is, and when a fixed sparsity stalls"
PAPER = "Tang et al. (2024), Accelerating Sinkhorn algorithm with sparse Newton iterations"
BUDGET = 180
X64 = True

FAMILIES = ("assignment", "mixtures", "squares", "distances")
STATED = (
    "side", "epsilons", "kept", "sweeps", "distance_sweeps", "passes", "tol", "short", "background",
    "vertex_points",
)  # fmt: skip
NEAR = 1e-2  # marginal error at which runs from near the solution start


@dataclass(frozen=True)
class Config:
    """Sizes, regularisations and densities.

    ``side``: images are ``side`` x ``side``, other families have as many points. ``kept``: entries
    per row. ``sweeps``, ``distance_sweeps``: before the first Newton step, the latter for L1.
    ``passes``: the most of one SNS run. ``short``: the share of mass that may be missing.
    ``vertices``, ``vertex_points``: assignments in the limit of small epsilon, and their n.
    """

    side: int = 20
    epsilons: tuple[float, ...] = (1e-2, 1e-3, 5e-4, 1e-4)
    kept: tuple[int, ...] = (2, 4, 8, 15, 30)
    seed: int = 0
    sweeps: int = 20
    distance_sweeps: int = 700
    passes: int = 200
    tol: float = 1e-9
    short: float = 1e-5
    background: float = 0.01
    vertices: int = 5
    vertex_points: int = 20


PRESETS = {
    "smoke": Config(
        side=8, epsilons=(1e-2, 1e-3), kept=(2, 8), distance_sweeps=40, passes=80, vertices=2
    ),  # seconds on 2 cores
    "quick": Config(),  # two minutes on 2 cores
    "paper": Config(
        side=28, kept=(2, 4, 8, 15, 30, 60), passes=600, vertices=20, vertex_points=40
    ),  # half an hour on 2 cores
}


def datasets(config):
    """Return the fingerprint of the images."""
    return fingerprints()


def run(config, progress):
    """Return entries needed along the way, rates and outcomes of sparse steps, and vertices."""
    # Threads bring little to eigenvectors of this size, and on cores that are busy otherwise they
    # wait for each other.
    with threadpool_limits(limits=1):
        return _run(config, progress)


def _run(config, progress):
    labels = {
        (family, epsilon): f"{family}, epsilon {epsilon:g}"
        for family in FAMILIES
        for epsilon in config.epsilons
    }
    progress.plan(dict.fromkeys(labels.values(), 1.0) | {"vertices": 0.2})
    found = {key: progress.stage(label, partial(_case, *key, config))
             for key, label in labels.items()}  # fmt: skip
    shape = len(FAMILIES), len(config.epsilons)
    result = {
        name: np.stack([case[name] for case in found.values()]).reshape(*shape, *value.shape)
        for name, value in next(iter(found.values())).items()
    }
    vertices = progress.stage("vertices", partial(_vertices, config))
    result |= {f"vertex_{name}": value for name, value in vertices.items()}
    result |= {"marks": np.asarray(_marks(config)), "data": np.asarray(source())}
    return result | {name: np.asarray(getattr(config, name)) for name in STATED}


def _marks(config):
    """Return the sweeps after which entries are counted: 5, 10, 20, ..., and the last."""
    doubled = [runs.CHUNK * 2**k for k in range(20) if runs.CHUNK * 2**k < config.distance_sweeps]
    return [*doubled, config.distance_sweeps]


def _case(family, epsilon, config):
    """Return everything about one family at one epsilon."""
    size = config.side if family in ("squares", "distances") else config.side**2
    drawn = problem(family, size, config.seed, config.background)
    solution = transport.solve(*drawn, epsilon=epsilon, tol=config.tol)
    close = transport.solve(*drawn, epsilon=epsilon, tol=NEAR)
    sweeps = config.distance_sweeps if family == "distances" else config.sweeps
    marks, before = _marks(config), sweeps - config.sweeps
    path = runs.path(drawn, epsilon, sorted({*marks, before} - {0}))
    zeros = tuple(np.zeros(len(mass)) for mass in (drawn.a, drawn.b))
    start = path[before][0] if before else zeros
    plan = np.asarray(solution.plan())
    known = bool(solution.converged)
    result = {
        "solved": np.asarray(known),
        "path": np.asarray([theory.needed(path[mark][1], config.short) for mark in marks]),
        "entries": np.asarray(theory.needed(plan, config.short)),
        "entries_by_row": runs.entries(plan, config.short),
    }
    result = {k: v / len(plan) if k in ("path", "entries") else v for k, v in result.items()}
    rows = []
    for kept in config.kept:
        rates = theory.rates(plan, kept * len(plan), config.tol)
        row = {name: value if known else math.nan for name, value in rates._asdict().items()}
        for place, potentials in (("start", start), ("near", (close.f, close.g))):
            ended = runs.sparse_steps(
                drawn, epsilon, kept, potentials, sweeps=config.sweeps, passes=config.passes,
                tol=config.tol,
            )  # fmt: skip
            row |= {f"{place}_{name}": value for name, value in ended.items()}
        rows.append(row)
    return result | {name: np.asarray([row[name] for row in rows]) for name in rows[0]}


def _vertices(config):
    found = [
        runs.vertex(config.vertex_points, seed, config.short) for seed in range(config.vertices)
    ]
    return {name: np.asarray([one[name] for one in found]) for name in found[0]}


def claims(arrays):
    """Return what must hold exactly, the predicted rates, and counts that are shown only."""
    always, large = ("smoke", "quick", "paper"), ("quick", "paper")
    derived = "derived in the docstring"
    off = max(np.nanmax(arrays[f"{place}_miscounted"]) for place in ("start", "near"))
    bound = np.where(arrays["bound"] > 1e-6, arrays["bound"], np.nan)  # below, all is rounding
    ratio = np.nanmax(arrays["slow"] / bound)
    digits = _digits(arrays)
    met = digits[np.isfinite(digits)]
    good = int(transport.Status.SUCCESS)
    start, near = (arrays[f"{place}_status"] == good for place in ("start", "near"))
    found = [
        Claim("assignments as epsilon -> 0: entries needed beyond n, at most",
              np.abs(arrays["vertex_surplus"]).max(), None, 0.0, 0.0, derived, always, "n entries"),
        Claim("assignments as epsilon -> 0: entries outside the best assignment",
              arrays["vertex_misplaced"].sum(), None, 0.0, 0.0, derived, always, "none"),
        Claim("assignments as epsilon -> 0: distance to the vertex over its bound, at most",
              arrays["vertex_excess"].max(), None, 0.0, 1.0, "the paper's theorem", always, "1"),
        Claim("entries of the sparsified Hessian that are not ceil(k m), at most", off, None, 0.0,
              0.0, "stated requirement", always, "none"),
        Claim("factor of the slowest mode over d / (lambda + d), at most", ratio, None, 0.0,
              1 + 1e-9, derived, always),
        Claim("digits a step near the solution, measured over predicted, median",
              np.median(met) if met.size else math.nan, None, 0.9, 1.1, derived, always),
        Claim("digits a step near the solution, measured over predicted, least",
              met.min() if met.size else math.nan, None, 0.9, math.inf, derived, always),
        Claim("share of runs from near the solution that end as predicted",
              (_predicted(arrays) == near).mean(), None, 0.9, 1.0, derived, large),
    ]  # fmt: skip
    sweep = 2 * np.log1p(-np.minimum(arrays["gap"], 1 - 1e-15))
    slower = np.log(np.maximum(arrays["rate"], 1e-300)) > sweep
    for words, value in (
        ("runs whose rate is measured", met.size),
        ("family, epsilon, k: all", start.size),
        ("of them converge from the published start", start.sum()),
        ("of them converge from near the solution alone", (near & ~start).sum()),
        ("of them converge from neither", (~near & ~start).sum()),
        ("of them gain less in a step than Sinkhorn's method in a sweep", slower.sum()),
    ):
        found.append(_shown(words, value))
    for family, entries in zip(FAMILIES, arrays["entries"], strict=True):
        for epsilon, value in zip(arrays["epsilons"], entries, strict=True):
            words = f"{family}, epsilon {epsilon:g}: entries a row that are needed"
            found.append(_shown(words, value))
    return found


def _digits(arrays):
    """Return digits a step, measured over predicted, of the runs from near the solution."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(arrays["near_rate"]) / np.log(arrays["rate"])


def _predicted(arrays):
    """Return whether runs from near the solution converge, by their predicted rate.

    A sweep is a pass, and so is a step; two more make the result. The sweeps may be enough.
    """
    allowed = int(arrays["passes"]) - int(arrays["sweeps"]) - 2
    with np.errstate(divide="ignore"):
        steps = np.log(arrays["tol"] / arrays["near_first"]) / np.log(arrays["rate"])
    return ~(steps > allowed)


def _shown(words, value):
    return Claim(words, value, None, -math.inf, math.inf, "shown only", ())


def figure(arrays):
    """Draw entries along the way above, and rates and outcomes by epsilon and density below."""
    from experiments import _sns_sparsity_figure

    return _sns_sparsity_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with data and sizes."""
    from experiments import _sns_sparsity_figure

    return _sns_sparsity_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _sns_sparsity_figure

    return _sns_sparsity_figure.alt(arrays)
