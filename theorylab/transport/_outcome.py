"""What every algorithm is given and gives back, whichever side it eliminates.

Differs from the paper / reference:
  1. No paper.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from theorylab.transport._results import History


class Task(NamedTuple):
    """A problem, oriented: ``costs`` makes plans, a (n,) goes with f, b (m,) is eliminated.

    ``tol`` is relative to the mass; ``start`` (n,) is where f starts, ``warm`` where that is near
    the solution.
    """

    costs: Any
    a: jax.Array
    b: jax.Array
    epsilon: jax.Array
    tol: jax.Array
    start: jax.Array
    warm: bool


class Outcome(NamedTuple):
    """The best potential f (n,) found, and how."""

    f: jax.Array
    status: jax.Array
    steps: jax.Array
    passes: jax.Array
    products: jax.Array
    history: History


def empty_history(length: int, dtype: Any) -> History:
    """Nothing yet."""
    return History(*(jnp.full(length, jnp.nan, dtype) for _ in History._fields))


def noted(history: History, place: jax.Array, *values: Any) -> History:
    """Add the values of one pass."""
    return History(
        *(h.at[place].set(jnp.asarray(v, h.dtype)) for h, v in zip(history, values, strict=True))
    )


def first_epsilon(task: Task) -> jax.Array:
    """Where a schedule starts: half of the largest cost, at which every plan is nearly uniform."""
    if task.warm:
        return task.epsilon
    return jnp.maximum(task.epsilon, task.costs.largest() / 2)
