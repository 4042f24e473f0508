r"""Newton's method on the semi-dual, safeguarded, with epsilon brought down in stages.

The semi-dual is concave in one potential,

.. math::

    F(f) = a \cdot f + \sum_j b_j g_j(f), \qquad \nabla F = a - P 1, \qquad
    \nabla^2 F = -S / \varepsilon .

Every turn of one loop makes one pass over the costs, at a trial potential, and then decides what
the pass meant: a step to be judged, or a sweep. So a batch of problems in different phases makes
the same passes that each would make alone.

Differs from the paper / reference:
  1. Brauer, Clason, Lorenz & Wirth (2017), "A Sinkhorn-Newton method for entropic optimal
     transport", take full steps in both potentials from the start. Here one potential is
     eliminated, steps are shortened, and a rejected one is followed by sweeps, which always ascend.
  2. Stages: epsilon is FACTOR = 4 times smaller in each, from half of the largest cost; each but
     the last ends at a marginal error of MIDDLE = 1e-2. FIRST_SWEEPS = 10 in the first stage and
     SWEEPS = 2 in the others come before the first Newton step, in the kernel domain.
  3. Where epsilon is LARGE = 1/200 of the largest cost or more, and a plan is at hand, DIRECT = 20
     sweeps are made with it first, at the epsilon asked for. If their error is at most MIDDLE then,
     no stages are needed.
  4. A step is judged by F, and where differences of F are rounding (ROUNDING = 8 eps of its terms)
     by the error, which must fall. TRIES = 4 lengths, each SHORTER = 0.3 of the one before, then
     FALLBACK = 3 sweeps.
  5. S is shifted by a multiple of diag(P 1): from 1e-2, times 0.1 after a full step, 10 after a
     shortened one, 30 after a rejection, inside [1e-8, 1] ([1e-5, 1] in float32). Conjugate
     gradients end at min(0.1, sqrt(error)) or after MOST = 200 steps.
  6. One more step is taken when the tolerance is met: its error is about the square of the one
     before, so that solutions are alike to rounding however they were computed, and derivatives,
     which suppose an error of 0, are right.
  7. PATIENCE = 80 passes in which the error does not fall by a tenth end a stage.
  The constants are those that served random assignments, Gaussian mixtures and pairs of MNIST
  digits alike, at epsilon from 1e-2 to 1e-4 of the largest cost; measured here.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from theorylab.transport._conjugate import conjugate_gradients, diagonal, hessian
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

FACTOR = 4.0
MIDDLE = 1e-2
LARGE = 1 / 200
DIRECT, FIRST_SWEEPS, SWEEPS, FALLBACK = 20, 10, 2, 3
TRIES, SHORTER, ASCENT, ROUNDING = 4, 0.3, 1e-4, 8
SHIFT, LEAST_SHIFT = 1e-2, {8: 1e-8, 4: 1e-5}
MOST = 200
PATIENCE = 80


class _State(NamedTuple):
    """``f`` is where we are, with its ``rows``, ``dual``, ``error``; ``trial`` comes next.

    ``judged``: the trial is a Newton step, ``f + step * direction``, that may be rejected.
    ``sweeps``: so many are to come before the next Newton step. ``found``: the tolerance is met,
    and the trial is the last one. ``progress`` is that of the stage.
    """

    f: jax.Array
    rows: jax.Array
    dual: jax.Array
    error: jax.Array
    direction: jax.Array
    step: jax.Array
    slope: jax.Array
    trial: jax.Array
    judged: jax.Array
    tries: jax.Array
    sweeps: jax.Array
    epsilon: jax.Array
    shift: jax.Array
    found: jax.Array
    progress: Progress


def newton(task: Task, *, max_steps: int) -> Outcome:
    """Maximise the semi-dual; ``max_steps`` passes at most."""
    # The largest cost is looked for once, not in every turn.
    direct, highest = _direct(task), first_epsilon(task)
    last = jax.lax.while_loop(
        lambda s: s.progress.status == RUNNING,
        lambda s: _turn(task, s, max_steps, direct, highest),
        _first(task, max_steps, direct, highest),
    )
    best = jnp.where(jnp.isfinite(last.progress.best_error), last.progress.best, last.f)
    return last.progress._replace(best=best).outcome()


def _direct(task: Task) -> jax.Array:
    """Whether to try without stages first."""
    if task.warm or not task.costs.cheap:
        return jnp.bool_(False)
    return task.epsilon >= LARGE * task.costs.largest()


def _first(task: Task, max_steps: int, direct: jax.Array, highest: jax.Array) -> _State:
    f = task.start
    zero, none = jnp.zeros((), f.dtype), jnp.int32(0)
    return _State(
        f=f,
        rows=task.a,
        dual=zero - jnp.inf,
        error=zero + jnp.inf,
        direction=jnp.zeros_like(f),
        step=zero + 1,
        slope=zero,
        trial=f,
        judged=jnp.bool_(False),
        tries=none,
        sweeps=jnp.where(direct, DIRECT, FIRST_SWEEPS).astype(jnp.int32),
        epsilon=jnp.where(direct, task.epsilon, highest),
        shift=zero + SHIFT,
        found=jnp.bool_(False),
        progress=begun(f, max_steps),
    )


def _turn(task: Task, s: _State, max_steps: int, direct: jax.Array, highest: jax.Array) -> _State:
    _, a, b, epsilon, tol, _, _ = task
    dtype = a.dtype
    plan = task.costs.plan(s.trial, a, b, s.epsilon)
    mass = jnp.sum(a)
    error = jnp.sum(jnp.abs(plan.rows - a)) / mass
    terms = a * s.trial, jnp.where(b > 0, b * plan.g, 0)
    dual = jnp.sum(terms[0]) + task.costs.total(terms[1])
    size = jnp.sum(jnp.abs(terms[0])) + task.costs.total(jnp.abs(terms[1]))

    # What is the trial worth?
    gain = dual - s.dual
    unclear = jnp.abs(gain) <= ROUNDING * jnp.finfo(dtype).eps * size
    fell = error <= (1 - 0.1 * s.step) * s.error
    ascended = jnp.where(unclear, fell, gain >= ASCENT * s.step * s.slope)
    finite = jnp.isfinite(dual) & jnp.isfinite(error)
    accepted = finite & (~s.judged | ascended)
    rejected = ~accepted & (s.tries + 1 >= TRIES)

    f = jnp.where(accepted, s.trial, s.f)
    rows = jnp.where(accepted, plan.rows, s.rows)

    # Is the stage over, or all?
    final = s.epsilon <= epsilon
    reached = accepted & (error <= jnp.where(final, tol, MIDDLE))
    progress = looked(s.progress, f, error, accepted, fall=0.9)
    lost = progress.waited > PATIENCE
    over = progress.passes >= max_steps
    found = reached & final
    status = jnp.select(
        [s.found | (found & over), lost & final, ~finite & ~s.judged, over],
        [int(Status.SUCCESS), int(Status.STALLED), int(Status.NONFINITE), int(Status.MAX_STEPS)],
        RUNNING,
    )
    running = status == RUNNING
    ended = (reached | lost) & ~final
    # After the first sweeps: are stages needed, or can Newton's method start here?
    second = (progress.passes == 2) & direct
    staged = second & ~(error <= MIDDLE) & (s.epsilon < highest)
    good = second & ~staged
    ended = ended | staged
    swept = accepted & ~ended & ~found & ~good & (s.sweeps > 0)
    newton = accepted & ~ended & (found | good | (s.sweeps == 0))
    shortened = ~accepted & ~rejected & ~ended

    # The next trial. Loops with nothing to do make no turn.
    count = jnp.where(swept & running & task.costs.cheap, s.sweeps, 0)
    log_u, made, used = kernel_sweeps(plan, a, b, count)
    move = s.epsilon * jnp.where(made > 0, log_u, log_ratio(a, rows))
    full = accepted & s.judged & (s.step == 1)
    change = jnp.select([full, accepted & s.judged, rejected], [0.1, 10.0, 30.0], 1.0)
    shift = jnp.clip(s.shift * change.astype(dtype), LEAST_SHIFT[dtype.itemsize], 1)
    right = jnp.where(newton & running, a - rows, 0)
    shifted = diagonal(plan, b) + shift * plan.rows
    direction, solved = conjugate_gradients(
        lambda v: hessian(plan, v, b) + shift * plan.rows * v,
        right,
        jnp.where(a > 0, shifted, 0),
        relative=jnp.minimum(0.1, jnp.sqrt(error)),
        most=MOST,
    )
    direction = jnp.where(newton, s.epsilon * direction, s.direction)
    step = jnp.select([newton, shortened], [1.0, SHORTER * s.step], 1.0).astype(dtype)
    judged = newton | shortened
    moved = swept | (rejected & ~ended)
    trial = f + jnp.where(judged, step * direction, jnp.where(moved, move, 0))
    smaller = s.epsilon / FACTOR
    smaller = jnp.where(smaller < 1.5 * epsilon, epsilon, smaller)  # no stage for its own sake
    smaller = jnp.where(staged, highest, smaller)
    f, trial = (jnp.where(staged, task.start, x) for x in (f, trial))
    left = jnp.maximum(s.sweeps - jnp.maximum(made, 1), 0)
    sweeps = jnp.select(
        [staged, good, swept, ended, rejected],
        [FIRST_SWEEPS, 0, left, SWEEPS, FALLBACK - 1],
        s.sweeps,
    )
    infinite = jnp.asarray(jnp.inf, dtype)
    progress = progress._replace(
        best_error=jnp.where(ended, infinite, progress.best_error),
        mark=jnp.where(ended, infinite, progress.mark),
        waited=jnp.where(ended, 0, progress.waited).astype(jnp.int32),
    )
    note = error, s.epsilon, used + solved, s.step, accepted, jnp.nan
    return _State(
        f=f,
        rows=rows,
        dual=jnp.where(accepted, dual, s.dual),
        error=jnp.where(accepted, error, s.error),
        direction=direction,
        step=step,
        slope=jnp.where(newton, jnp.sum(right * direction), s.slope),
        trial=trial,
        judged=judged,
        tries=jnp.where(shortened, s.tries + 1, 0),
        sweeps=sweeps.astype(jnp.int32),
        epsilon=jnp.where(ended, smaller, s.epsilon),
        shift=shift,
        found=found,
        progress=recorded(progress, status, newton, used + solved, *note),
    )
