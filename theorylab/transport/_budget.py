r"""Safe and sparse Newton: what is dropped from the Hessian keeps within an error budget.

Newton steps for both potentials (``_both``), where of a plan P with sums that miss the masses by

.. math::

    \|r\| = \big( \|a - P 1\|_2^2 + \|b - P^\top 1\|_2^2 \big)^{1/2}

entries are dropped, smallest first, as long as they sum to at most :math:`\delta = 0.01 \|r\|` in
every column and every row. So the Hessian is wrong by :math:`\delta / \varepsilon` at most in the
spectral norm, and by nothing in the end: the rate is quadratic. With the sums of the whole plan on
its diagonal, and shifted by :math:`\lambda \propto \mu \|r\|`, it is positive definite, so that
every step ascends if it is short enough. :math:`\mu` is adapted by the ratio of what D gained to
what the quadratic model had promised,

.. math::

    t\, s - \tfrac{t^2}{2} \Delta^\top \tilde H \Delta, \qquad
    \Delta^\top \tilde H \Delta = s - \tfrac{\lambda}{\varepsilon} \|\Delta\|_2^2,

where t is the length of the step, s the slope of D along :math:`\Delta = (\Delta f, \Delta g)`.

The sparsity is counted (``history.nnz``), not exploited: how many entries are kept changes from
step to step, and compiled arrays have one size. Products are those of a dense matrix with zeros in
it, and a step costs what one of Newton's method costs.

Differs from the paper / reference:
  1. Tang & Qiu (2024), "Safe and sparse Newton method for entropic-regularized optimal transport",
     fix the last potential at 0 and factorise, or use conjugate gradients. Here no potential is
     fixed, and conjugate gradients solve for f alone: from the same start that took as many steps
     or fewer on assignment, mixtures and MNIST squared distances, and a tenth more on MNIST
     ``|x - y|`` at epsilon = 1e-3 and 5e-4.
  2. Theirs are SHARE = 0.01 of the budget, LENGTHS 1, 0.5, 0.25, 0.1 of which the first that raises
     D is taken, MORE = 4 times mu below POOR = 0.25 and when no length is good, LESS = 0.5 times
     above GOOD = 0.75, LEAST_SHIFT = 0.001, and EXACT = 1e-8 (1e-5 in float32) for conjugate
     gradients; from their program regot the start SHIFT = 1 and the order, columns, then rows. It
     allows twice the budget in rows.
  3. Their shift assumes costs up to 1. Here it is relative to the largest cost, so that nothing
     depends on units: ``lambda = mu |r| epsilon / max C`` beside sums of P.
  4. ``sweeps=1`` is their start (f = 0, and the g that it makes); 20 as in ``_sns`` save a
     tenth to a half of the Newton steps.
  5. Where the gain in D is rounding, the mean of the slopes at both ends stands for it. PATIENCE =
     10 such passes in which the error does not fall by half mean a stall.
  6. The plan of the last iterate is not held. When no length is good, a pass at length 0 makes it
     again for the next step.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from theorylab.transport._both import direction, swept, view
from theorylab.transport._outcome import Outcome, Progress, Task, looked, recorded
from theorylab.transport._results import RUNNING, Status
from theorylab.transport._select import heaviest

SHARE = 0.01
EXACT = {8: 1e-8, 4: 1e-5}
LENGTHS = (1.0, 0.5, 0.25, 0.1, 0.0)
LAST, AGAIN = 3, 4  # places in LENGTHS: the shortest step, and none
POOR, MORE, GOOD, LESS = 0.25, 4.0, 0.75, 0.5
SHIFT, LEAST_SHIFT = 1.0, 1e-3
PATIENCE = 10


class _State(NamedTuple):
    """Potentials ``f``, ``g``; what is at ``LENGTHS[place]`` along ``df``, ``dg`` comes next.

    ``slope`` and ``bend``: first and (negative) second derivative of the model along them.
    """

    f: jax.Array
    g: jax.Array
    df: jax.Array
    dg: jax.Array
    place: jax.Array
    dual: jax.Array
    slope: jax.Array
    bend: jax.Array
    mu: jax.Array
    progress: Progress


def budget(task: Task, *, max_steps: int, sweeps: int) -> Outcome:
    """Sweep, then take safe and sparse Newton steps; ``max_steps`` passes at most."""
    f, g, progress = swept(task, sweeps, max_steps)
    zero = jnp.zeros((), task.a.dtype)
    start = _State(
        f=f,
        g=g,
        df=jnp.zeros_like(f),
        dg=jnp.zeros_like(g),
        place=jnp.int32(AGAIN),
        dual=zero,
        slope=zero,
        bend=zero,
        mu=zero + SHIFT,
        progress=progress,
    )
    unit = task.epsilon / jnp.maximum(task.costs.largest(), task.epsilon)
    last = jax.lax.while_loop(
        lambda s: s.progress.status == RUNNING, lambda s: _turn(task, s, max_steps, unit), start
    )
    return last.progress.outcome()


def _turn(task: Task, s: _State, max_steps: int, unit: jax.Array) -> _State:
    _, a, b, epsilon, tol, _, _ = task
    dtype = a.dtype
    step = jnp.asarray(LENGTHS, dtype)[s.place]
    f, g = s.f + step * s.df, s.g + step * s.dg
    seen = view(task, f, g)

    # What is the step worth? At length 0 there is nothing to judge.
    judged = s.place != AGAIN
    gain = seen.dual - s.dual
    finite = jnp.isfinite(seen.dual)
    unclear = finite & (jnp.abs(gain) <= seen.rounding)
    slopes = s.slope + seen.slope(task, s.df, s.dg)
    gain = jnp.where(unclear, step * slopes / 2, gain)
    risen = finite & (gain > 0)
    promised = step * s.slope - step**2 / 2 * s.bend
    poor = jnp.where(risen, gain < POOR * promised, s.place == LAST)
    good = risen & (gain > GOOD * promised)
    factor = jnp.select([judged & poor, judged & good], [MORE, LESS], 1.0).astype(dtype)
    mu = jnp.maximum(factor * s.mu, LEAST_SHIFT)
    accepted = risen | ~judged
    f, g = jnp.where(accepted, f, s.f), jnp.where(accepted, g, s.g)

    progress = looked(s.progress, f, seen.error, accepted, fall=0.5, waits=judged & unclear)
    status = jnp.select(
        [
            accepted & (seen.error <= tol),
            progress.waited > PATIENCE,
            ~judged & ~finite,
            progress.passes >= max_steps,
        ],
        [int(Status.SUCCESS), int(Status.STALLED), int(Status.NONFINITE), int(Status.MAX_STEPS)],
        RUNNING,
    )

    # The next step, or a shorter one.
    newton = accepted & (status == RUNNING)
    missing = jnp.sqrt(jnp.sum((a - seen.rows) ** 2) + jnp.sum((b - seen.columns) ** 2))
    kept = heaviest(jnp.where(newton, seen.plan, 0), SHARE * missing, newton)
    shift = mu * missing * unit
    df, dg, solved = direction(seen, kept, shift, task, newton, EXACT[dtype.itemsize])
    slope = seen.slope(task, df, dg)
    bend = slope - shift / epsilon * (jnp.sum(df**2) + jnp.sum(dg**2))
    nnz = jnp.where(newton, kept.nnz().astype(dtype), jnp.nan)
    note = seen.error, epsilon, solved, step, accepted, nnz
    return _State(
        f=f,
        g=g,
        df=jnp.where(newton, df, s.df),
        dg=jnp.where(newton, dg, s.dg),
        place=jnp.where(newton, 0, s.place + 1).astype(jnp.int32),
        dual=jnp.where(accepted, seen.dual, s.dual),
        slope=jnp.where(newton, slope, s.slope),
        bend=jnp.where(newton, bend, s.bend),
        mu=mu,
        progress=recorded(progress, status, newton, solved, *note),
    )
