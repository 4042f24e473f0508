"""The grid of dimensions that sweeps run over and the intrinsic dimension is read off.

Differs from the paper / reference:
  1. The reference's grids hold 0 for direct training. Here they do not: direct training is no run
     in a subspace, and its result is the baseline.
"""

from typing import Any

import numpy as np


def dimensions(ds: Any) -> np.ndarray:
    """Check a grid of dimensions: whole numbers of at least 1, strictly increasing; int64 (n,)."""
    try:
        grid = np.asarray(ds)
    except Exception as error:
        raise ValueError(f"ds must be known numbers, got {ds!r}") from error
    if grid.ndim != 1 or not grid.size:
        raise ValueError(f"ds must be a non-empty list of dimensions, got shape {grid.shape}")
    if grid.dtype.kind not in "iuf" or not np.all(np.isfinite(grid)):
        raise ValueError(f"ds must be whole numbers, got {ds!r}")
    whole = grid.astype(np.int64)
    if np.any(whole != grid):
        raise ValueError(f"ds must be whole numbers, got {grid.tolist()}")
    if whole[0] < 1:
        raise ValueError(
            f"ds must be at least 1, got {whole[0]}; direct training (d = 0 in the papers' tables) "
            "is the baseline, not a run in a subspace"
        )
    if np.any(np.diff(whole) <= 0):
        raise ValueError(f"ds must be strictly increasing, got {whole.tolist()}")
    return whole
