"""The cases of `sns_convergence`, the runs of each, and what one draw gives.

A case is a family of ``_sns_problems``; with "_bare" behind its name, images without a background.
"""

from typing import Any

import numpy as np

from experiments import _sns_runs as runs
from experiments._sns_problems import Problem, problem

BARE = "_bare"


def cases(config: Any) -> dict[str, list[runs.Run]]:
    """Return {case: its runs}; Newton's method in all, as what values are compared with."""
    newton, sinkhorn = runs.Run("newton"), runs.Run("sinkhorn")
    two, four, fifteen = (runs.Run("sns", kept, config.sweeps) for kept in (2, 4, 15))
    late = runs.Run("sns", 15, config.distance_sweeps)
    found = {
        "assignment": [newton, sinkhorn, two],
        "squares": [newton, sinkhorn, two, fifteen],
        "distances": [newton, sinkhorn, late],
    }
    if config.bare:
        found["assignment"].append(four)
        found |= {"squares_bare": [newton, two], "distances_bare": [newton, late]}
    return found


def measured(case: str, seed: int, config: Any) -> dict[str, np.ndarray]:
    """Return {run_field: array} of all runs on one draw; fields as in ``_sns_runs``."""
    drawn = _drawn(case, seed, config)
    found: dict[str, np.ndarray] = {}
    for one in cases(config)[case]:
        seen = runs.measured(drawn, one, 1 / config.eta, config.tol)
        found |= {f"{one.name}_{name}": value for name, value in seen.items()}
    return found


def clocked(
    case: str, seed: int, config: Any, before: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return {run_field: array} of the seconds of all runs on one draw, `measured` before."""
    drawn = _drawn(case, seed, config)
    found: dict[str, np.ndarray] = {}
    levels = np.asarray([*config.levels, config.tol])
    for one in cases(config)[case]:
        start = f"{one.name}_"
        mine = {k.removeprefix(start): v for k, v in before.items() if k.startswith(start)}
        seen = runs.clocked(drawn, one, 1 / config.eta, levels, mine)
        found |= {f"{start}{name}": value for name, value in seen.items()}
    return found


def stacked(rows: list[np.ndarray]) -> np.ndarray:
    """Return rows of unequal length as one array, filled up with NaN, or 0 in whole numbers.

    Examples
    --------
    >>> stacked([np.array([1.0]), np.array([2.0, 3.0])]).tolist()
    [[1.0, nan], [2.0, 3.0]]
    """
    if rows[0].ndim == 0:
        return np.stack(rows)
    filler = np.nan if rows[0].dtype.kind == "f" else 0
    whole = np.full((len(rows), max(map(len, rows))), filler, rows[0].dtype)
    for row, values in zip(whole, rows, strict=True):
        row[: len(values)] = values
    return whole


def _drawn(case: str, seed: int, config: Any) -> Problem:
    family = case.removesuffix(BARE)
    size = config.points if family == "assignment" else config.side
    return problem(family, size, seed, 0.0 if case != family else config.background)
