"""One call of each solver of entropic transport, all in one process, float64.

A solver is given a problem, its own stopping threshold and its own largest number of iterations;
it returns when it is done, with its iterations and a function that makes its plan in NumPy, so that
errors are measured there and no flag is trusted.

What the thresholds mean: OTT stops on the L1 error of one marginal, looked at every 10 iterations
(its default); POT on an L2 error of one marginal, likewise every 10; regot on an L2 norm. They
start where the L1 error of both marginals is about the target or below.
"""

import importlib.util
import warnings
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import numpy as np

from theorylab import transport

TARGET = 1e-9  # L1 error of both marginals, summed
MODULES = {"ott": "ott-jax", "ot": "POT", "regot": "regot"}
HOW = "the extra `interop` has them: pip install -e '.[interop]'"


class Problem(NamedTuple):
    """Arrays of NumPy, the same ones on JAX's device, and the cost in Fortran's order."""

    cost: np.ndarray
    a: np.ndarray
    b: np.ndarray
    epsilon: float
    device: tuple[jax.Array, jax.Array, jax.Array]
    fortran: np.ndarray


class Answer(NamedTuple):
    """What came of one call; ``counts`` are a solver's own."""

    plan: Callable[[], np.ndarray]
    iterations: int
    counts: Mapping[str, int]


class Solver(NamedTuple):
    """``call(problem, threshold, most)`` with ``most`` iterations at most.

    ``start`` makes the first threshold from n + m; None where there is none to find. ``probe``: so
    many iterations tell what one costs, by which ``most`` is chosen; ``compiled``: once for each
    shape, because it is compiled in.
    """

    call: Callable[[Problem, float, int], Answer]
    start: Callable[[int], float] | None = None
    probe: int = 0
    compiled: bool = False
    most: int = 10_000_000


def problem(arrays: tuple[np.ndarray, np.ndarray, np.ndarray], epsilon: float) -> Problem:
    """Put cost and masses where each solver wants them."""
    cost, a, b = arrays
    device = jax.block_until_ready((jax.device_put(cost), jax.device_put(a), jax.device_put(b)))
    return Problem(cost, a, b, epsilon, device, np.asfortranarray(cost))


def error_of(plan: np.ndarray, p: Problem) -> float:
    """L1 error of both marginals, summed."""
    return float(np.abs(plan.sum(1) - p.a).sum() + np.abs(plan.sum(0) - p.b).sum())


def missing() -> list[str]:
    """The peers that are not installed, by the names of their distributions."""
    return [name for module, name in MODULES.items() if importlib.util.find_spec(module) is None]


def ours(p: Problem, threshold: float, most: int) -> Answer:
    """The call that a person makes: checks of values at the door included."""
    cost, a, b = p.device
    s = jax.block_until_ready(transport.solve(cost, a, b, epsilon=p.epsilon, tol=threshold))
    counts = {"lse": int(s.num_lse_passes), "products": int(s.num_matvec_passes)}

    def plan() -> np.ndarray:
        f, g = np.asarray(s.f), np.asarray(s.g)
        return p.a[:, None] * p.b * np.exp((f[:, None] + g - p.cost) / p.epsilon)

    return Answer(plan, int(s.num_steps), counts)


@cache
def _compiled_ott(momentum: float, most: int) -> Callable[..., Any]:
    from ott.geometry.geometry import Geometry
    from ott.problems.linear.linear_problem import LinearProblem
    from ott.solvers.linear.acceleration import Momentum
    from ott.solvers.linear.sinkhorn import Sinkhorn

    def run(cost: Any, a: Any, b: Any, epsilon: Any, threshold: Any) -> Any:
        moves = Momentum(value=momentum) if momentum != 1 else None
        solver = Sinkhorn(threshold=threshold, max_iterations=most, momentum=moves)
        out = solver(LinearProblem(Geometry(cost_matrix=cost, epsilon=epsilon), a, b))
        return out.f, out.g, out.reg_ot_cost, out.n_iters

    return jax.jit(run)


def ott(p: Problem, threshold: float, most: int, *, momentum: float) -> Answer:
    """OTT-JAX in the log domain, compiled with its largest number of iterations."""
    run = _compiled_ott(momentum, most)
    f, g, _, iterations = jax.block_until_ready(run(*p.device, p.epsilon, threshold))

    def plan() -> np.ndarray:
        return np.exp((np.asarray(f)[:, None] + np.asarray(g) - p.cost) / p.epsilon)

    return Answer(plan, int(iterations), {})


def pot(p: Problem, threshold: float, most: int, *, method: str) -> Answer:
    """POT on NumPy."""
    import ot

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # underflow and caps show in the plan
        options = {"numItermax": most, "stopThr": threshold, "log": True, "warn": False}
        plan, log = ot.sinkhorn(p.a, p.b, p.cost, p.epsilon, method=method, **options)
    return Answer(lambda: plan, int(log["niter"]) + 1, {})


def regot(p: Problem, threshold: float, most: int) -> Answer:
    """Sparse Newton in C++."""
    from regot import sinkhorn_ssns

    found = sinkhorn_ssns(p.fortran, p.a, p.b, p.epsilon, tol=threshold, max_iter=most)
    return Answer(lambda: found.plan, int(found.niter), {})


def exact(p: Problem, threshold: float, most: int) -> Answer:
    """POT's network simplex: no regularisation, another problem."""
    import ot

    plan = ot.emd(p.a, p.b, p.cost, numItermax=most)
    return Answer(lambda: plan, 0, {})


@jax.jit
def _log_sum_exp(cost: jax.Array, epsilon: jax.Array) -> jax.Array:
    return jax.nn.logsumexp(-cost / epsilon, axis=1)


def one_pass(p: Problem, threshold: float, most: int) -> Answer:
    """One log-sum-exp over the cost matrix."""
    jax.block_until_ready(_log_sum_exp(p.device[0], p.epsilon))
    return Answer(lambda: np.zeros_like(p.cost), 1, {})


def solvers() -> dict[str, Solver]:
    """Ours, and the peers that are installed."""
    away = missing()
    found = {"ours": Solver(ours), "one pass": Solver(one_pass)}

    def two_norm(points: int) -> float:
        return TARGET / points**0.5

    def nearly(_: int) -> float:
        return 0.999 * TARGET

    if "ott-jax" not in away:
        found["OTT"] = Solver(partial(ott, momentum=1.0), nearly, 50, True)
        found["OTT momentum 1.5"] = Solver(partial(ott, momentum=1.5), nearly, 50, True)
    if "POT" not in away:
        found["POT kernel"] = Solver(partial(pot, method="sinkhorn"), two_norm, 50)
        found["POT log"] = Solver(partial(pot, method="sinkhorn_log"), two_norm, 50)
    if "regot" not in away:
        # Its first iterations tell nothing of the others: what they cost is what its Hessian holds.
        found["regot SSNS"] = Solver(regot, two_norm, most=500)
    if "POT" not in away:
        found["exact (POT emd)"] = Solver(exact)
    return found
