"""Checks of what optimizers are given, made before anything is traced.

Numbers are looked at, in arrays too, but for those that are traced (under ``jit``, in
``optax.inject_hyperparams``): their values are not known. Options that kappas are made of:
``_kappa_arguments``.
"""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from theorylab._numerics import known
from theorylab._tree import leaves_with_names

MU_DTYPES = ("bfloat16", "float16", "float32", "float64")


def number(name: str, value: Any) -> float | None:
    """Return the value of a number, or of an array that holds one; None while it is traced."""
    if isinstance(value, jax.Array | np.ndarray):
        real = jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer)
        if value.shape != () or not real:
            raise TypeError(
                f"{name} must be a number, got an array of {value.dtype}, shape {value.shape}"
            )
        held = known(value)
        return None if held is None else float(held)
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r} ({type(value).__name__})")
    return float(value)


def decay_rate(name: str, value: Any) -> Any:
    """Return the rate of a moving average, in [0, 1)."""
    known = number(name, value)
    if known is not None and not 0 <= known < 1:
        raise ValueError(f"{name} must lie in [0, 1), got {value!r}")
    return value


def positive(name: str, value: Any) -> Any:
    """Return a finite number above zero."""
    known = number(name, value)
    if known is not None and not 0 < known < np.inf:
        raise ValueError(f"{name} must be finite and positive, got {value!r}")
    return value


def not_negative(name: str, value: Any, *, schedule: bool = False) -> Any:
    """Return a finite number of at least zero; with ``schedule`` also a function of the count."""
    if schedule and callable(value):
        return value
    known = number(name, value)
    if known is not None and not 0 <= known < np.inf:
        raise ValueError(f"{name} must be finite and not negative, got {value!r}")
    return value


def frequency(name: str, value: Any) -> Any:
    """Return a whole number of at least 1; arrays may hold one, and may be traced."""
    if isinstance(value, bool) or not (
        isinstance(value, int | np.integer)
        or (hasattr(value, "dtype") and jnp.issubdtype(value.dtype, jnp.integer))
    ):
        hint = "; cast a schedule's value with .astype(int)" if hasattr(value, "dtype") else ""
        raise TypeError(f"{name} must be a whole number, got {value!r}{hint}")
    held = known(value)
    if held is not None and (held.ndim != 0 or held < 1):
        raise ValueError(f"{name} must be at least 1, got {value}")
    return value


def static_size(name: str, value: Any) -> int:
    """Return a whole number of at least 1 that shapes depend on, so that it cannot be an array."""
    if isinstance(value, jax.Array):
        raise TypeError(
            f"{name} decides shapes and must be a Python int, got an array; "
            f'with optax.inject_hyperparams pass static_args="{name}"'
        )
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be a whole number, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
    return int(value)


def flag(name: str, value: Any) -> bool:
    """Return True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def one_of(name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    """Return a value that is among the choices."""
    if not any(
        value is choice or (isinstance(value, str) and value == choice) for choice in choices
    ):
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {listed}, got {value!r}")
    return value


def floating_dtype(name: str, value: Any, allowed: tuple[str, ...]) -> np.dtype | None:
    """Return a dtype among those allowed, or None."""
    if value is None:
        return None
    try:
        dtype = jnp.dtype(value)
    except TypeError as error:
        raise TypeError(f"{name} must be a dtype or None, got {value!r}") from error
    if dtype.name not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {dtype.name}")
    if dtype == np.float64 and jax.dtypes.canonicalize_dtype(dtype) != dtype:
        raise ValueError(f"{name}=float64 needs jax.config.update('jax_enable_x64', True)")
    return dtype


def weights_mask(name: str, value: Any) -> Any:
    """Return None, a function of the parameters, or a tree of booleans."""
    if value is None or callable(value):
        return value
    for leaf_name, leaf in leaves_with_names(name, value):
        if not isinstance(leaf, bool | np.bool_):
            raise TypeError(f"{leaf_name} must be True or False, got {leaf!r}")
    return value


def floating_leaves(name: str, tree: Any) -> None:
    """Require real floating numbers in every leaf."""
    for path, leaf in leaves_with_names(name, tree):
        dtype = leaf.dtype if hasattr(leaf, "dtype") else jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"{path} must be a real floating-point array, got {dtype}; optax.masked and "
                "optax.multi_transform leave parameters out"
            )


def same_tree(name: str, tree: Any, other_name: str, other: Any) -> None:
    """Require the same structure, and leaves of the same shapes."""
    given: Any = jax.tree.structure(tree)
    wanted: Any = jax.tree.structure(other)
    if given != wanted:
        here, there = (dict(leaves_with_names(name, one)) for one in (tree, other))
        missing = ", ".join(path for path in there if path not in here)
        more = ", ".join(path for path in here if path not in there)
        raise ValueError(
            f"{name} must have the structure of {other_name}; missing: {missing or 'nothing'}; "
            f"not known: {more or 'nothing'}"
            + ("" if missing or more else f"; got {given}, wanted {wanted}")
        )
    pairs = zip(leaves_with_names(name, tree), jax.tree.leaves(other), strict=True)
    for (path, leaf), twin in pairs:
        if np.shape(leaf) != np.shape(twin):
            raise ValueError(
                f"{path} must have the shape of its twin in {other_name}, "
                f"{np.shape(twin)}, got {np.shape(leaf)}"
            )
