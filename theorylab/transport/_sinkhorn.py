r"""Sinkhorn's method: the baseline.

A sweep in the log domain makes one pass over the costs: with the other potential eliminated,

.. math::

    f \leftarrow f + \omega\, \varepsilon \log (a / P 1).

Differs from the paper / reference:
  1. Cuturi (2013), "Sinkhorn distances", alternates two scalings with a fixed kernel; written as
     above one pass does for both. Where the plan at hand is a stable kernel, INNER = 20 sweeps are
     made with it, two products each, before the next pass (``_sweeps``).
  2. Momentum is over-relaxation by a constant :math:`\omega` in (0, 2), of one side only, and log
     domain alone; 1 is Sinkhorn's method.
  3. With ``scaling``, epsilon comes down by FACTOR = 4 from half of the largest cost, each stage
     ending at an error of MIDDLE = 1e-2.
  4. PATIENCE = 500 passes in which the error does not fall by a tenth mean that there is no more
     to come; ``mark`` is the error when it last had.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from theorylab.transport._newton import FACTOR, MIDDLE
from theorylab.transport._outcome import Outcome, Task, empty_history, first_epsilon, noted
from theorylab.transport._results import RUNNING, History, Status
from theorylab.transport._sweeps import kernel_sweeps, log_ratio

INNER = 20
PATIENCE = 500


class _State(NamedTuple):
    f: jax.Array
    epsilon: jax.Array
    best: jax.Array
    best_error: jax.Array
    mark: jax.Array
    waited: jax.Array
    status: jax.Array
    steps: jax.Array
    passes: jax.Array
    products: jax.Array
    history: History


def sinkhorn(task: Task, *, max_steps: int, momentum: float, domain: str, scaling: bool) -> Outcome:
    """Sweep; ``max_steps`` passes at most."""
    _, a, b, epsilon, tol, f, _ = task
    zero, none = jnp.zeros((), a.dtype), jnp.int32(0)
    inner = INNER if domain == "auto" and momentum == 1 and task.costs.cheap else 0

    def turn(s: _State) -> _State:
        plan = task.costs.plan(s.f, a, b, s.epsilon)
        error = jnp.sum(jnp.abs(plan.rows - a)) / jnp.sum(a)
        final = s.epsilon <= epsilon
        better = final & (error < s.best_error)
        fallen = final & (error < 0.9 * s.mark)
        waited = jnp.where(~final | fallen, 0, s.waited + 1)
        reached = error <= jnp.where(final, tol, MIDDLE)
        status = jnp.select(
            [reached & final, waited > PATIENCE, ~jnp.isfinite(error), s.passes + 1 >= max_steps],
            [
                int(Status.SUCCESS),
                int(Status.STALLED),
                int(Status.NONFINITE),
                int(Status.MAX_STEPS),
            ],
            RUNNING,
        )
        goes_on = (status == RUNNING) & ~(reached & ~final)
        log_u, made, used = kernel_sweeps(plan, a, b, jnp.where(goes_on, inner, 0))
        move = jnp.where(made > 0, log_u, momentum * log_ratio(a, plan.rows))
        smaller = jnp.where(reached & ~final, s.epsilon / FACTOR, s.epsilon)
        return _State(
            f=s.f + jnp.where(goes_on, s.epsilon * move, 0),
            epsilon=jnp.where(smaller < 1.5 * epsilon, epsilon, smaller),
            best=jnp.where(better, s.f, s.best),
            best_error=jnp.where(better, error, s.best_error),
            mark=jnp.where(fallen, error, s.mark),
            waited=waited.astype(jnp.int32),
            status=status.astype(jnp.int32),
            steps=s.steps + jnp.where(goes_on, jnp.maximum(made, 1), 0),
            passes=s.passes + 1,
            products=s.products + used,
            history=noted(s.history, s.passes, error, s.epsilon, used, zero + 1, True, jnp.nan),
        )

    start = _State(
        f=f,
        epsilon=first_epsilon(task) if scaling else epsilon,
        best=f,
        best_error=jnp.asarray(jnp.inf, a.dtype),
        mark=jnp.asarray(jnp.inf, a.dtype),
        waited=none,
        status=none + RUNNING,
        steps=none,
        passes=none,
        products=none,
        history=empty_history(max_steps, a.dtype),
    )
    last = jax.lax.while_loop(lambda s: s.status == RUNNING, turn, start)
    return Outcome(last.best, last.status, last.steps, last.passes, last.products, last.history)
