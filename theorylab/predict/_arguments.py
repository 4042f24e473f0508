"""Checks of the arguments that all predictions share, made before anything is traced.

Differs from the paper / reference:
  1. No paper. Only shapes, dtypes and plain Python or NumPy numbers are looked at; the values of
     arrays are never the reason for an error, since they are unknown under ``jit``.
"""

import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from theorylab._numerics import floating


def is_kernel(k: Any) -> bool:
    """Whether ``k`` is a pair of kernels rather than one array."""
    return hasattr(k, "nngp") and hasattr(k, "ntk")


def ntk_of(name: str, k: Any) -> jax.Array | np.ndarray:
    """Take the NTK of a kernel pair, or the array itself; (rows, columns), not empty."""
    if is_kernel(k):
        if k.ntk is None:
            raise ValueError(
                f"{name}.ntk is None: gradient descent needs the NTK. Compute it with ntk=True; "
                "if only the last layer is trained, its NTK is the NNGP: pass that array"
            )
        return _natural(matrix(f"{name}.ntk", k.ntk), k, "ntk")
    return matrix(name, k)


def nngp_of(name: str, k: Any) -> jax.Array | np.ndarray | None:
    """Take the NNGP of a kernel pair; None for an array."""
    if not is_kernel(k) or k.nngp is None:
        return None
    return _natural(matrix(f"{name}.nngp", k.nngp), k, "nngp")


def _natural(values: jax.Array | np.ndarray, k: Any, which: str) -> jax.Array | np.ndarray:
    """A kernel in natural units, where it may not fit: the status of a prediction says so then.

    Kernels that would leave the range of their dtype come with the logarithm of their unit, each
    with its own. One that sinks below the range, where only zeros and a few digits are left, is
    NaN: as a kernel of zeros it would pass for one under which nothing is learned.
    """
    if not hasattr(k, "log_scale"):
        return values
    unit = jnp.exp(jnp.asarray(getattr(k.log_scale, which), values.dtype))
    peak = jnp.max(jnp.abs(values))
    least = jnp.finfo(values.dtype).tiny / jnp.finfo(values.dtype).eps
    sunk = (peak > 0) & (peak * unit < least)
    return jnp.where(sunk, jnp.nan, values * unit)


def matrix(name: str, k: ArrayLike) -> jax.Array | np.ndarray:
    """Check a real floating matrix with at least one row and column."""
    checked = floating(name, k)
    if checked.ndim != 2 or 0 in checked.shape:
        raise ValueError(f"{name} must be a non-empty matrix, got shape {checked.shape}")
    return checked


def shaped(name: str, x: jax.Array | np.ndarray, shape: tuple[int, ...], why: str) -> None:
    """Require exactly this shape."""
    if tuple(x.shape) != shape:
        raise ValueError(f"{name} must have shape {shape} ({why}), got {tuple(x.shape)}")


def targets(y: ArrayLike, n: int) -> jax.Array | np.ndarray:
    """Targets with n rows, one for each training point."""
    checked = floating("y", y)
    if checked.ndim == 0 or checked.shape[0] != n:
        raise ValueError(
            f"y must have one row for each of the {n} training points of k_train, "
            f"got shape {tuple(checked.shape)}"
        )
    if 0 in checked.shape:
        raise ValueError(f"y must not be empty, got shape {tuple(checked.shape)}")
    return checked


def scalar(name: str, value: Any, *, positive: bool) -> ArrayLike:
    """Check a real scalar; plain numbers must be finite and positive (or at least 0)."""
    if isinstance(value, numbers.Real | np.bool_):
        number = float(value)
        if not math.isfinite(number) or number < 0 or (positive and number == 0):
            rule = "positive" if positive else "0 or positive"
            raise ValueError(f"{name} must be finite and {rule}, got {value!r}")
        return number
    if not hasattr(value, "dtype"):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    if jnp.issubdtype(value.dtype, jnp.complexfloating):
        raise TypeError(f"{name} must be a real number, got the complex dtype {value.dtype}")
    if value.shape != ():
        raise ValueError(f"{name} must be a scalar, got shape {value.shape}")
    return value


def fraction(name: str, value: Any) -> ArrayLike:
    """Check a real scalar; plain numbers must lie in [0, 1)."""
    if isinstance(value, numbers.Real | np.bool_) and not 0 <= float(value) < 1:
        raise ValueError(f"{name} must lie in [0, 1), got {value!r}")
    return scalar(name, value, positive=False)


def count(name: str, value: Any, remedy: str) -> int:
    """Check a positive whole number that is known before tracing."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a plain positive whole number, got {value!r}")
    number = float(value)
    if not math.isfinite(number) or number < 1 or number != math.floor(number):
        raise ValueError(f"{name} must be a positive whole number ({remedy}), got {value!r}")
    return int(number)


def times(name: str, t: Any, *, whole: bool) -> jax.Array | np.ndarray:
    """Check a scalar or vector of times (real) or of step counts (whole or infinite)."""
    checked: Any = t if hasattr(t, "dtype") else np.asarray(t)
    if checked.dtype == object or not (
        jnp.issubdtype(checked.dtype, jnp.floating) or jnp.issubdtype(checked.dtype, jnp.integer)
    ):
        raise TypeError(f"{name} must be a real number or a vector of them, got {t!r}")
    if checked.ndim > 1 or checked.size == 0:
        raise ValueError(f"{name} must be a scalar or a vector, got shape {tuple(checked.shape)}")
    if isinstance(checked, np.ndarray | np.generic):
        if np.any(np.asarray(checked) < 0):
            raise ValueError(f"{name} must not be negative, got {t!r}")
        if whole and np.any(np.isfinite(checked) & (checked != np.floor(checked))):
            raise ValueError(f"{name} must be whole numbers or infinity, got {t!r}")
    elif whole and jnp.issubdtype(checked.dtype, jnp.integer):
        checked = checked.astype(jnp.result_type(float))
    return checked


def common_dtype(*arrays: jax.Array | np.ndarray | None) -> jnp.dtype:
    """Find the dtype that all given arrays promote to, as JAX holds it now."""
    return jnp.result_type(*[x.dtype for x in arrays if x is not None])


def cast(x: ArrayLike | None, dtype: jnp.dtype) -> jax.Array | None:
    """``x`` as a JAX array of this dtype; None stays None."""
    return None if x is None else jnp.asarray(x, dtype=dtype)
