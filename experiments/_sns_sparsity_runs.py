"""Sweeps with the entries that each plan needs, and sparse Newton steps from far and from near."""

import math
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from experiments import _sns_runs as runs
from experiments._sns_problems import Problem, problem
from experiments._sns_sparsity_theory import largest, needed
from theorylab import transport

CHUNK = 5  # sweeps of one solve, which the next one goes on from
LAST, LEAST = 10, 20  # steps that a rate is measured over, of so many at least
WITHIN = 1e-6  # of the mass, in the limit of epsilon to 0


def path(drawn: Problem, epsilon: float, marks: list[int]) -> dict[int, tuple[Any, np.ndarray]]:
    """Return {sweeps: (potentials, plan)} of Sinkhorn's method; ``marks``, multiples of CHUNK."""
    at: Any = tuple(np.zeros(len(mass)) for mass in (drawn.a, drawn.b))
    found = {}
    for count in range(CHUNK, max(marks) + 1, CHUNK):
        solution = transport.solve(
            *drawn, epsilon=epsilon, method="sinkhorn", domain="log", tol=1e-12, init=at,
            max_steps=CHUNK + 1,
        )  # fmt: skip
        at = solution.f, solution.g
        if count in marks:
            found[count] = at, np.asarray(solution.plan())
    return found


def entries(plan: np.ndarray, short: float) -> np.ndarray:
    """Return the least, the median and the largest number that rows need of their entries."""
    each = [needed(row, short) for row in plan]
    return np.asarray([min(each), np.median(each), max(each)])


def sparse_steps(
    drawn: Problem, epsilon: float, kept: int, start: Any, *, sweeps: int, passes: int, tol: float
) -> dict[str, float]:
    """Return how sparse Newton steps end that start from potentials.

    Returns
    -------
    dict
        ``status``; ``error`` at the end and ``first``, that before the first Newton step; ``rate``,
        the factor of the error in each of the last steps, NaN where fewer than LEAST were taken or
        one of the last was shortened; ``miscounted``, by how many entries the sparsified Hessian
        was ever off.
    """
    n, m = drawn.cost.shape
    density = min(1.0, kept / min(n, m))
    found = transport.solve(
        *drawn, epsilon=epsilon, method="sns", density=density, sweeps=sweeps, init=start,
        max_steps=passes, tol=tol,
    )  # fmt: skip
    x, y = runs.curve(found, runs.Run("sns", kept, sweeps))
    newton = y[x >= sweeps]
    nnz = np.asarray(found.history.nnz)
    step = np.asarray(found.history.step)[np.asarray(found.history.accepted) == 1]
    full = bool((step[-LAST:] == 1).all())
    long_enough = len(newton) > LEAST and full
    rate = (newton[-1] / newton[-1 - LAST]) ** (1 / LAST) if long_enough else math.nan
    counts = nnz[np.isfinite(nnz)]
    off = np.abs(counts - math.ceil(density * n * m)).max() if counts.size else 0.0
    return {
        "status": float(found.status),
        "error": float(found.marginal_error),
        "first": float(newton[0]) if newton.size else math.nan,
        "rate": float(rate),
        "miscounted": float(off),
    }


def vertex(points: int, seed: int, short: float) -> dict[str, float]:
    r"""Return how far from its vertex the plan of an assignment is, where epsilon is small.

    With the gap :math:`\Delta` between the best assignment and the next, of mass 1, the distance in
    L1 is at most :math:`6 n^2 e^{-\Delta / \epsilon}`. Epsilon is taken such that this is WITHIN,
    and its square root.

    Returns
    -------
    dict
        ``excess``, the larger ratio of distance to bound; at the smaller epsilon ``surplus``,
        entries needed beyond n, and ``misplaced``, how many of the n largest are not in the
        assignment.
    """
    drawn = problem("assignment", points, seed)
    rows, columns = linear_sum_assignment(drawn.cost)
    best = drawn.cost[rows, columns].sum()
    others = []
    for row, column in zip(rows, columns, strict=True):
        without = drawn.cost.copy()
        without[row, column] = points  # worth more than all that a change can save
        others.append(without[linear_sum_assignment(without)].sum())
    gap = (min(others) - best) / points
    exact = np.zeros_like(drawn.cost)
    exact[rows, columns] = 1 / points
    excess = []
    for bound in (math.sqrt(WITHIN), WITHIN):
        epsilon = gap / math.log(6 * points**2 / bound)
        assert gap / epsilon > 1 + 2 * math.log(points)  # where the bound holds
        found = transport.solve(*drawn, epsilon=epsilon)
        plan = np.asarray(found.plan())
        plan = plan if bool(found.converged) else np.full_like(plan, np.nan)
        excess.append(np.abs(plan - exact).sum() / (bound + 1e-9))
    ours = largest(plan, points) > 0
    return {
        "excess": float(np.max(excess)),
        "surplus": float(needed(plan, short) - points),
        "misplaced": float((ours & (exact == 0)).sum()),
        "gap": float(gap),
    }
