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
from theorylab.transport._outcome import (
    Outcome,
    Progress,
    Task,
    begun,
    first_epsilon,
    looked,
    recorded,
)
from theorylab.transport._results import RUNNING, Status
from theorylab.transport._sweeps import kernel_sweeps, log_ratio

INNER = 20
PATIENCE = 500


class _State(NamedTuple):
    f: jax.Array
    epsilon: jax.Array
    progress: Progress


def sinkhorn(task: Task, *, max_steps: int, momentum: float, domain: str, scaling: bool) -> Outcome:
    """Sweep; ``max_steps`` passes at most."""
    _, a, b, epsilon, tol, f, _ = task
    one = jnp.ones((), a.dtype)
    inner = INNER if domain == "auto" and momentum == 1 and task.costs.cheap else 0

    def turn(s: _State) -> _State:
        plan = task.costs.plan(s.f, a, b, s.epsilon)
        error = jnp.sum(jnp.abs(plan.rows - a)) / jnp.sum(a)
        final = s.epsilon <= epsilon
        progress = looked(s.progress, s.f, error, final, fall=0.9, waits=final)
        reached = error <= jnp.where(final, tol, MIDDLE)
        lost, over = progress.waited > PATIENCE, progress.passes >= max_steps
        status = jnp.select(
            [reached & final, lost, ~jnp.isfinite(error), over],
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
        steps = jnp.where(goes_on, jnp.maximum(made, 1), 0)
        note = error, s.epsilon, used, one, True, jnp.nan
        return _State(
            f=s.f + jnp.where(goes_on, s.epsilon * move, 0),
            epsilon=jnp.where(smaller < 1.5 * epsilon, epsilon, smaller),
            progress=recorded(progress, status, steps, used, *note),
        )

    start = _State(f, first_epsilon(task) if scaling else epsilon, begun(f, max_steps))
    last = jax.lax.while_loop(lambda s: s.progress.status == RUNNING, turn, start)
    return last.progress.outcome()
