"""Checks of what gradient descent under a general loss is given, made before anything is traced.

Differs from the paper / reference:
  1. No paper. Integer targets are labels: they are handed to the loss as they are, and the shape of
     the outputs comes from the start.
"""

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from theorylab._numerics import floating
from theorylab.predict._arguments import (
    cast,
    common_dtype,
    ntk_of,
    shaped,
    targets,
    times,
)
from theorylab.predict._integrate import DescentState, Problem


def fitted(k_train: Any, y: Any) -> tuple[jax.Array, jax.Array]:
    """Kernel and targets, of one dtype unless the targets are labels."""
    kernel = ntk_of("k_train", k_train)
    n = kernel.shape[0]
    shaped("k_train", kernel, (n, n), "square, one row for each training point")
    given = y if hasattr(y, "dtype") else np.asarray(y)
    if not jnp.issubdtype(given.dtype, jnp.integer):
        given = targets(given, n)
        dtype = common_dtype(kernel, given)
        return jnp.asarray(kernel, dtype), jnp.asarray(given, dtype)
    if given.ndim == 0 or given.shape[0] != n or 0 in given.shape:
        raise ValueError(
            f"y must have one row for each of the {n} training points of k_train, "
            f"got shape {tuple(given.shape)}"
        )
    return jnp.asarray(kernel), jnp.asarray(given)


def as_pytree(loss: Any) -> Any:
    """The loss as a ``Partial``: arrays that it holds are leaves, its code is static."""
    if not callable(loss):
        raise TypeError(f"loss must be a function of (f, y), got {loss!r}")
    if isinstance(loss, jax.tree_util.Partial):
        return loss
    if jax.tree_util.all_leaves([loss]):
        return jax.tree_util.Partial(loss)
    return jax.tree_util.Partial(operator.call, loss)


def finite_times(t: Any) -> jax.Array:
    """Times that are not negative and, where they are known, finite."""
    checked = times("t", t, whole=False)
    if isinstance(checked, np.ndarray | np.generic) and not np.all(np.isfinite(checked)):
        raise ValueError(
            f"t must be finite, got {t!r}: a general loss may have no limit; choose a large time, "
            "or for the squared loss gradient_flow, which takes infinity"
        )
    return jnp.asarray(checked)


def begin(
    problem: Problem, f0_train: Any, f0_test: ArrayLike | None, k_test_train: Any
) -> tuple[Problem, DescentState]:
    """Check the arguments of a prediction: the problem with its test points, and the start."""
    n, y = len(problem.kernel), problem.y
    cross = None
    if k_test_train is not None:
        cross = ntk_of("k_test_train", k_test_train)
        shaped("k_test_train", cross, (cross.shape[0], n), f"test by the {n} training points")
    elif f0_test is not None:
        raise ValueError(
            "f0_test is given without k_test_train: without it the prediction is at the training "
            "points"
        )
    inertia = problem.momentum is not None
    if isinstance(f0_train, DescentState):
        if f0_test is not None:
            raise ValueError("f0_test is given beside a state, which holds the test points")
        start = _continued(f0_train, cross, inertia)
    else:
        start = _fresh(f0_train, f0_test, y, cross, inertia)
    floats = jnp.issubdtype(y.dtype, jnp.floating)
    trailing = y.shape[1:] if floats else start.f_train.shape[1:]
    why = "the shape of y" if floats else "one row for each training point"
    shaped("f0_train", start.f_train, (n, *trailing), why)
    if cross is not None and start.f_test is not None:
        rows = (cross.shape[0], *trailing)
        shaped("f0_test", start.f_test, rows, "test points, then the trailing shape of f0_train")
    for v, f, where in (
        (start.velocity_train, start.f_train, "train"),
        (start.velocity_test, start.f_test, "test"),
    ):
        if v is not None and f is not None:
            shaped(f"velocity_{where}", v, tuple(f.shape), f"the shape of f_{where}")
    dtype = common_dtype(problem.kernel, cross, start.f_train, start.f_test)
    start = jax.tree.map(lambda x: cast(x, dtype), start)
    scalar_loss(problem.loss, start.f_train, y)
    widened = Problem(
        problem.loss,
        problem.kernel.astype(dtype),
        cast(cross, dtype),
        y.astype(dtype) if floats else y,
        problem.rate.astype(dtype),
        cast(problem.momentum, dtype),
        problem.tol.astype(dtype),
    )
    return widened, start


def _fresh(f0_train: Any, f0_test: Any, y: jax.Array, cross: Any, inertia: bool) -> DescentState:
    if f0_train is None:
        if f0_test is not None:
            raise ValueError("f0_test is given without f0_train: a start needs both")
        if not jnp.issubdtype(y.dtype, jnp.floating):
            raise ValueError("f0_train is needed where y holds labels: it gives the outputs' shape")
        f_train: Any = jnp.zeros_like(y)
        f_test: Any = None if cross is None else jnp.zeros((cross.shape[0], *y.shape[1:]), y.dtype)
    else:
        if cross is not None and f0_test is None:
            raise ValueError("f0_train is given without f0_test: a start needs both")
        f_train = floating("f0_train", f0_train)
        f_test = None if f0_test is None else floating("f0_test", f0_test)
        if f_train.ndim == 0 or 0 in f_train.shape:
            raise ValueError(f"f0_train must have rows, got shape {tuple(f_train.shape)}")
    v_train = jnp.zeros_like(f_train) if inertia else None
    v_test = jnp.zeros_like(f_test) if inertia and f_test is not None else None
    return DescentState(f_train, f_test, v_train, v_test, jnp.zeros((), f_train.dtype))


def _continued(state: DescentState, cross: Any, inertia: bool) -> DescentState:
    if inertia and state.velocity_train is None:
        raise ValueError("f0_train is a state without velocities, and there is momentum")
    if not inertia and state.velocity_train is not None:
        raise ValueError("f0_train is a state with velocities, and there is no momentum")
    if cross is not None and state.f_test is None:
        raise ValueError("f0_train is a state without test points, and k_test_train is given")
    if cross is None and state.f_test is not None:
        raise ValueError("f0_train is a state with test points: k_test_train is needed to go on")
    if inertia and (state.f_test is None) != (state.velocity_test is None):
        raise ValueError("f0_train is a state with only one of f_test and velocity_test")
    for name, value in zip(state._fields, state, strict=True):
        if value is not None:
            floating(f"f0_train.{name}", value)
    if jnp.shape(state.t) != ():
        raise ValueError(f"f0_train.t must be a scalar, got shape {jnp.shape(state.t)}")
    return jax.tree.map(jnp.asarray, state)


def scalar_loss(loss: Any, f: jax.Array, y: jax.Array) -> None:
    """Require that the loss is one real number."""
    value = jax.eval_shape(loss, f, y)
    leaf = jax.tree.leaves(value)
    if len(leaf) != 1 or leaf[0] is not value or value.shape != ():
        shape = getattr(value, "shape", value)
        raise ValueError(f"loss must return a scalar, the mean included, got shape {shape}")
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise ValueError(f"loss must return a real floating-point scalar, got {value.dtype}")
