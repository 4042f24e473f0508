"""Checks of what :func:`theorylab.transport.barycenter` is given, made before anything is traced.

Differs from the paper / reference:
  1. No paper. The same rules end in ``Status.INVALID`` and NaN where values are not known.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from theorylab._numerics import floating, known
from theorylab.transport._arguments import BALANCE, checked_cost, flat
from theorylab.transport._costs import PointCloud
from theorylab.transport._grid import Grid


def checked_densities(cost: Any, masses: Any, weights: Any) -> tuple[Any, Any, Any, np.dtype]:
    """Cost, masses (k, n), weights (k,) and their dtype."""
    given, shape = checked_cost(cost)
    if isinstance(given, PointCloud) or len(shape) != 2 or shape[0] != shape[1]:
        raise (TypeError if isinstance(given, PointCloud) else ValueError)(
            "cost must be a Grid or a symmetric matrix (n, n), "
            f"got {'a PointCloud' if isinstance(given, PointCloud) else f'shape {shape}'}"
        )
    if not isinstance(given, Grid):
        values = known(given)
        if values is not None and not np.array_equal(values, values.T):
            raise ValueError("cost must be symmetric, got a matrix that is not")
        if values is not None and not np.isfinite(values).all():
            raise ValueError("cost must be finite for a barycenter, got one that is not")
    masses = flat(given, masses) if isinstance(given, Grid) else floating("masses", masses)
    if masses.ndim != 2 or masses.shape[1] != shape[0] or masses.shape[0] == 0:
        raise ValueError(
            f"masses must have shape (k, {shape[0]}) for a cost of shape {shape}, "
            f"got {tuple(masses.shape)}"
        )
    count = masses.shape[0]
    dtype = np.dtype(jnp.result_type(masses.dtype, *(x.dtype for x in jax.tree.leaves(given))))
    weights = np.full(count, 1 / count, dtype) if weights is None else floating("weights", weights)
    _check_values(masses, weights, count, dtype)
    return given, masses, weights, dtype


def _check_values(masses: Any, weights: Any, count: int, dtype: np.dtype) -> None:
    if tuple(weights.shape) != (count,):
        raise ValueError(f"weights must have shape ({count},), got {tuple(weights.shape)}")
    slack = BALANCE[dtype.itemsize]
    for name, values in (("masses", known(masses)), ("weights", known(weights))):
        if values is not None and not (np.isfinite(values).all() and (values >= 0).all()):
            raise ValueError(f"{name} must be finite and not negative")
    values = known(masses)
    if values is not None:
        sums = values.sum(1)
        if sums.min() <= 0 or sums.max() - sums.min() > slack * sums.max():
            raise ValueError(f"masses must have equal, positive sums, got {sums}")
    values = known(weights)
    if values is not None and abs(float(values.sum()) - 1) > slack:
        raise ValueError(f"weights must sum to 1, got {float(values.sum())}")
