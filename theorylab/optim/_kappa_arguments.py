"""Checks of what is given to the functions of :mod:`theorylab.optim.kappas`, when they build.

Differs from the paper / reference:
  1. No paper. Options are numbers of Python or NumPy, not arrays: which formula is taken, and how
     many entries, depends on them.
"""

import math
import numbers
from typing import Any

import numpy as np


def real(name: str, value: Any) -> float:
    """A finite real number that is not an array."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r} ({type(value).__name__})")
    if not math.isfinite(float(value)):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return float(value)


def positive(name: str, value: Any) -> float:
    """A finite number above 0."""
    number = real(name, value)
    if number <= 0:
        raise ValueError(f"{name} must be positive, got {value!r}")
    return number


def whole(name: str, value: Any) -> int:
    """A whole number of at least 1."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be a whole number, got {value!r} ({type(value).__name__})")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value!r}")
    return int(value)


def axes(name: str, value: Any) -> tuple[int, ...]:
    """One axis, or a tuple of different ones."""
    given = value if isinstance(value, tuple) else (value,)
    for axis in given:
        if isinstance(axis, bool | np.bool_) or not isinstance(axis, int | np.integer):
            raise TypeError(f"{name} must be a whole number or a tuple of them, got {value!r}")
    if not given or len(set(given)) < len(given):
        raise ValueError(f"{name} must name at least one axis and none twice, got {value!r}")
    return tuple(int(axis) for axis in given)


def axes_of(name: str, given: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The same counted from the front, for an array that must have them."""
    rank = len(shape)
    if any(not -rank <= axis < rank for axis in given):
        raise ValueError(
            f"{name} must name axes of every array, got {name}={_shown(given)} for the shape "
            f"{shape}; optax.multi_transform gives such leaves another optimizer"
        )
    counted = tuple(axis % rank for axis in given)
    if len(set(counted)) < len(counted):
        raise ValueError(
            f"{name} must name no axis twice, got {name}={_shown(given)} for the shape {shape}"
        )
    return counted


def _shown(given: tuple[int, ...]) -> str:
    return str(given[0] if len(given) == 1 else given)
