"""Checks of recorded numbers, made before anything is computed.

Differs from the paper / reference:
  1. No paper. Values are looked at where they are known; under ``jit`` bad ones give NaN.
"""

import math
import numbers
from typing import Any

import numpy as np

from theorylab._numerics import floating, known


def recorded(name: str, x: Any, *, least: int, positive: bool, batch: bool = False) -> Any:
    """One number for each step, (steps,), or with leading axes: finite, and positive or not < 0."""
    array = floating(name, x)
    if (array.ndim < 1 if batch else array.ndim != 1) or array.shape[-1] < least:
        wanted = f"(..., steps) or ({least},)" if batch else "(steps,)"
        raise ValueError(
            f"{name} must have shape {wanted} with at least {least} steps, got {tuple(array.shape)}"
        )
    values = known(array)
    if values is not None:
        wrong = ~(np.isfinite(values) & ((values > 0) if positive else (values >= 0)))
        if wrong.any():
            place = tuple(int(k) for k in np.argwhere(wrong)[0])
            sign = "positive" if positive else "not negative"
            raise ValueError(
                f"{name} must be finite and {sign}, got {values[place]} at index {place}"
            )
    return array


def scalar(name: str, value: Any) -> Any:
    """The value of a number or of an array that holds one; None while it is traced."""
    values = known(value)
    if values is not None and values.ndim:
        raise ValueError(f"{name} must be a scalar, got shape {values.shape}")
    return None if values is None else values.item()


def number(name: str, value: Any, low: float, high: float = math.inf) -> float:
    """A real number, known beforehand, in [low, high] and finite."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    if not (math.isfinite(float(value)) and low <= float(value) <= high):
        rule = f"of at least {low:g}" if high == math.inf else f"in [{low:g}, {high:g}]"
        raise ValueError(f"{name} must be a finite number {rule}, got {value!r}")
    return float(value)


def whole(name: str, value: Any, below: int) -> int:
    """A whole number from 0 to ``below - 1``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if not 0 <= value < below:
        raise ValueError(f"{name} must be from 0 to {below - 1}, got {value!r}")
    return int(value)
