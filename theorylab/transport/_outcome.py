"""What every algorithm is given and gives back, whichever side it eliminates.

Differs from the paper / reference:
  1. No paper.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from theorylab.transport._results import RUNNING, History


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


class Progress(NamedTuple):
    """What algorithms keep beside what their next step needs.

    ``best`` (n,) is the best potential seen, with ``best_error``. ``mark`` is the error when it had
    last fallen by a certain share, ``waited`` looks ago.
    """

    best: jax.Array
    best_error: jax.Array
    mark: jax.Array
    waited: jax.Array
    status: jax.Array
    steps: jax.Array
    passes: jax.Array
    products: jax.Array
    history: History

    def outcome(self) -> Outcome:
        """What is given back."""
        return Outcome(self.best, self.status, self.steps, self.passes, self.products, self.history)


def begun(f: jax.Array, max_steps: int) -> Progress:
    """Nothing seen yet; f is better than nothing."""
    none, infinite = jnp.int32(0), jnp.asarray(jnp.inf, f.dtype)
    running = jnp.int32(RUNNING)
    history = empty_history(max_steps, f.dtype)
    return Progress(f, infinite, infinite, none, running, none, none, none, history)


def looked(
    p: Progress,
    f: jax.Array,
    error: jax.Array,
    accepted: jax.Array | bool,
    *,
    fall: float,
    waits: jax.Array | bool = True,
) -> Progress:
    """After one more pass, at f, which counts if ``accepted``.

    The mark moves when the error has fallen to ``fall`` of it; until then looks are counted, or
    those that ``waits`` says.
    """
    better = accepted & (error < p.best_error)
    fallen = accepted & (error < fall * p.mark)
    waited = jnp.where(fallen, 0, p.waited + jnp.where(waits, 1, 0))
    return p._replace(
        best=jnp.where(better, f, p.best),
        best_error=jnp.where(better, error, p.best_error),
        mark=jnp.where(fallen, error, p.mark),
        waited=waited.astype(jnp.int32),
        passes=p.passes + 1,
    )


def recorded(
    p: Progress, status: jax.Array, steps: jax.Array, products: jax.Array, *note: Any
) -> Progress:
    """With what the last look led to; ``note`` is for the history, of that look."""
    return p._replace(
        status=status.astype(jnp.int32),
        steps=p.steps + steps.astype(jnp.int32),
        products=p.products + products,
        history=noted(p.history, p.passes - 1, *note),
    )


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
