"""Whole solves, their errors by iteration, and the processor time that they take.

*Iterations.* Of Sinkhorn's method and of Sinkhorn-Newton-Sparse (SNS) a sweep or a Newton step, as
the paper counts. Of Newton's method a pass over the costs: a step that was tried, or the sweeps of
one pass. Its passes at larger epsilon count, but their errors belong to other problems and are left
out, as are those of steps that were not taken.

*Seconds.* Processor time of all threads, which a busy machine changes less than it changes the
clock. Nothing can be timed inside a compiled loop, so whole solves are timed that end at larger
and larger accuracies; the tolerance is no constant of the program, which is compiled before. Passes
of Sinkhorn's method are all alike, so its seconds are those of one solve, spread over them evenly.
"""

import time
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments._sns_problems import Problem
from theorylab import transport

REPEATS, ENOUGH = 5, 0.5  # a solve is timed again, up to so often, until so many seconds are spent


class Run(NamedTuple):
    """A method of ``transport.solve``; ``kept``, the entries a row of the plan, and ``sweeps``.

    Both are for "sns" alone.
    """

    method: str
    kept: int = 0
    sweeps: int = 0

    @property
    def name(self) -> str:
        """As "newton", "sinkhorn" or "sns2"."""
        return f"sns{self.kept}" if self.method == "sns" else self.method


def solve(drawn: Problem, run: Run, epsilon: float, tol: float) -> transport.Solution:
    """Return the solution, computed."""
    options: dict[str, Any] = {}
    if run.method == "sns":
        options = {"density": min(1.0, run.kept / len(drawn.cost)), "sweeps": run.sweeps}
    found = transport.solve(*drawn, epsilon=epsilon, method=run.method, tol=tol, **options)
    return jax.block_until_ready(found)


def measured(drawn: Problem, run: Run, epsilon: float, tol: float) -> dict[str, np.ndarray]:
    """Return numbers and curves of a solve.

    Returns
    -------
    dict
        ``status``, ``steps``, ``passes``, ``products`` as the solution says them; ``error``, its
        marginal error; ``value``, from the dual; of the plan formed anew ``primal``, the same from
        the plan, and ``formed``, its marginal error; ``largest``, of the potentials in size;
        ``seconds``; ``curve_x`` and ``curve_y``, iterations and the error after each.
    """
    solve(drawn, run, epsilon, 1.0)  # compiles
    begun = time.process_time()
    found = solve(drawn, run, epsilon, tol)
    seconds = time.process_time() - begun
    plan = np.asarray(found.plan())
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = plan * np.log(plan / np.outer(drawn.a, drawn.b))
    primal = (plan * drawn.cost).sum() + epsilon * np.where(plan > 0, entropy, 0).sum()
    formed = np.abs(plan.sum(1) - drawn.a).sum() + np.abs(plan.sum(0) - drawn.b).sum()
    x, y = curve(found, run)
    numbers = {
        "status": found.status,
        "steps": found.num_steps,
        "passes": found.num_lse_passes,
        "products": found.num_matvec_passes,
        "error": found.marginal_error,
        "value": found.value,
        "primal": primal,
        "formed": formed,
        "largest": max(np.abs(found.f).max(), np.abs(found.g).max()),
        "seconds": seconds,
    }
    return {name: np.asarray(value) for name, value in numbers.items()} | {
        "curve_x": x,
        "curve_y": y,
    }


def curve(found: transport.Solution, run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Return iterations, from 1, and the marginal error after each."""
    history = {name: np.asarray(v) for name, v in found.history._asdict().items()}
    made = int(np.isfinite(history["epsilon"]).sum())
    history = {name: v[:made] for name, v in history.items()}
    passes = np.arange(1, made + 1)
    if run.method == "newton":
        shown = history["epsilon"] == history["epsilon"][-1]
        count = passes
    elif run.method == "sns":
        stepped = np.isfinite(history["nnz"])  # a Newton step comes next
        count = np.minimum(passes, run.sweeps) + np.cumsum(stepped) - stepped
        shown = passes > 0
    else:
        swept = np.maximum(history["products"], 1)
        count = 1 + np.cumsum(swept) - swept
        shown = passes > 0
    shown = shown & (history["accepted"] == 1)
    return count[shown].astype(np.int64), history["marginal_error"][shown]


def clocked(
    drawn: Problem, run: Run, epsilon: float, levels: np.ndarray, before: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return ``clock_x``, seconds, and ``clock_y``, errors, on the way to the end of a solve.

    ``before`` is what `measured` found: levels that it did not reach are left out, and its own end
    is the last point.
    """
    end = float(before["error"])
    if run.method == "sinkhorn":
        x, y = before["curve_x"], before["curve_y"]
        return {"clock_x": x / x[-1] * before["seconds"], "clock_y": y}
    # Where it ended well the last level is its tolerance.
    points = [_timed(drawn, run, epsilon, float(level)) for level in levels if level >= end]
    if int(before["status"]) != transport.Status.SUCCESS:
        points.append((float(before["seconds"]), end))
    seconds, errors = zip(*points, strict=True)
    return {"clock_x": np.asarray(seconds), "clock_y": np.asarray(errors)}


def _timed(drawn: Problem, run: Run, epsilon: float, level: float) -> tuple[float, float]:
    """Return the fewest seconds of a few solves, and the error at the end."""
    taken: list[float] = []
    while len(taken) < REPEATS and sum(taken) < ENOUGH:
        begun = time.process_time()
        error = solve(drawn, run, epsilon, level).marginal_error
        taken.append(time.process_time() - begun)
    return min(taken), float(error)
