"""Where a curve first reaches a level.

A value that is below the level by less than TIE of it counts as reaching it: 0.9 has no exact
float, and 450 of 500 right is 0.9. TIE is four roundings of float32 whatever the dtype, since
numbers in float64 often were float32 before, and a rounding of bfloat16 is 0.8 % of the number. (In
bfloat16 the number next to 0.9 is 0.8984, which does not reach 0.9.)
"""

from typing import Any

import numpy as np

TIE = 4 * float(np.finfo(np.float32).eps)


def crossings(grid: np.ndarray, curves: np.ndarray, level: Any, rule: str) -> np.ndarray:
    """d_int of each curve, (m, n_ds) at levels () or (m,); inf where the level is not reached."""
    level = np.broadcast_to(level, len(curves))
    reached = curves >= (level - TIE * np.abs(level))[:, None]
    first = reached.argmax(1)
    found = grid[first].astype(np.float64)
    if rule == "interp":
        row, before = np.arange(len(curves)), np.maximum(first - 1, 0)
        here, there = curves[row, first], curves[row, before]
        # There is no line from the first point, nor from the -inf of a run that failed.
        line = (first > 0) & np.isfinite(there)
        here, there = np.where(line, here, 1.0), np.where(line, there, 0.0)
        back = np.where(line, np.clip((here - level) / (here - there), 0, 1), 0)
        found = found - back * (grid[first] - grid[before])
    return np.where(reached.any(1), found, np.inf)
