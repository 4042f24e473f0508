"""Checks of what a limit is made with, and of the data it is given."""

import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from theorylab._numerics import floating, known


def positive_integer(name: str, value: Any) -> int:
    """A dimension or a capacity."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return int(value)


def scalar(
    name: str, value: Any, *, least: float = 0.0, below: float = math.inf, positive: bool = False
) -> Any:
    """A number as a float, an array of no axes (traced, say) as it is; checked where it is known.

    The range is [least, below), without 0 if it is to be positive.
    """
    if not isinstance(value, bool) and isinstance(value, numbers.Real):
        value = float(value)
    elif not isinstance(value, Array | np.ndarray) or value.shape != ():
        shape = getattr(value, "shape", None)
        found = repr(value) if shape is None else f"an array of shape {shape}"
        raise ValueError(f"{name} must be a number or an array without axes, got {found}")
    number = known(value)
    if number is not None and not least <= float(number) < below:
        raise ValueError(f"{name} must lie in [{least:g}, {below:g}), got {float(number):g}")
    if number is not None and positive and float(number) == 0:
        raise ValueError(f"{name} must be positive, got 0")
    return value


def as_dtype(value: Any, dtype: Any) -> Any:
    """An option for arrays of one dtype: numbers stay weak."""
    return value if isinstance(value, float) else jnp.asarray(value, dtype)


def state_dtype(dtype: Any) -> Any:
    """The dtype of a state: float32 or float64, JAX's default float for None."""
    if dtype is None:
        return jnp.zeros(()).dtype
    found = jnp.dtype(dtype)
    if found not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {found}")
    return jax.dtypes.canonicalize_dtype(found)


def inputs(name: str, x: Any, d: int, dtype: Any) -> tuple[Array, Any]:
    """(n, d) data in the dtype of a state, and the dtype that results are to have."""
    x = floating(name, x)
    if x.ndim != 2 or x.shape[1] != d or x.shape[0] == 0:
        raise ValueError(f"{name} must have the shape (n, {d}) with n > 0, got {x.shape}")
    if x.dtype.itemsize > dtype.itemsize:
        raise TypeError(
            f"{name} is {x.dtype}, and the state {dtype}; make it with init(dtype='{x.dtype}')"
        )
    return jnp.asarray(x, dtype), x.dtype


def batch(x: Any, y: Any, d_in: int, d_out: int, dtype: Any) -> tuple[Array, Array, Any]:
    """A batch in the dtype of a state, and the dtype that results are to have."""
    x, out = inputs("x", x, d_in, dtype)
    y, _ = inputs("y", y, d_out, dtype)
    if len(x) != len(y):
        raise ValueError(f"x and y must have as many rows, got {x.shape} and {y.shape}")
    return x, y, out
