r"""Sinkhorn-Newton-Sparse: the published algorithm, with its failures.

A fixed number of sweeps is followed by Newton steps for both potentials (``_both``, unshifted),

.. math::

    \begin{pmatrix} \operatorname{diag}(P 1) & \tilde P \\
    \tilde P^\top & \operatorname{diag}(P^\top 1) \end{pmatrix}
    \begin{pmatrix} \Delta f \\ \Delta g \end{pmatrix} = \varepsilon
    \begin{pmatrix} a - P 1 \\ b - P^\top 1 \end{pmatrix},

where :math:`\tilde P` keeps the ``ceil(density n m)`` largest entries of P, and by backtracking.

It stalls where plans are not sparse: the diagonal holds the sums of the full plan, so that what is
dropped makes the curvature too large, and steps too short. That is the algorithm's; it comes back
as ``Status.STALLED``. ``_budget`` keeps as many entries as a bound on the error asks for.

Differs from the paper / reference:
  1. Tang et al. (2024), "Accelerating Sinkhorn algorithm with sparse Newton iterations", solve the
     system for both potentials. Here it is solved for f alone, to EXACT = 1e-10 (1e-5 in float32);
     see ``_both``.
  2. Backtracking halves the step until D has risen by ASCENT = 1e-4 of the slope, HALVINGS = 30
     times at most; the paper names no constants.
  3. PATIENCE = 30 Newton steps in which the error does not fall by half mean a stall.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from theorylab.transport._both import direction, swept, view
from theorylab.transport._outcome import Outcome, Progress, Task, looked, recorded
from theorylab.transport._results import RUNNING, Status
from theorylab.transport._select import largest

EXACT = {8: 1e-10, 4: 1e-5}
ASCENT, HALVINGS = 1e-4, 30
PATIENCE = 30


class _State(NamedTuple):
    """Potentials ``f``, ``g``; ``f + step * df``, ``g + step * dg`` are looked at next."""

    f: jax.Array
    g: jax.Array
    df: jax.Array
    dg: jax.Array
    step: jax.Array
    dual: jax.Array
    slope: jax.Array
    halvings: jax.Array
    progress: Progress


def sns(task: Task, *, max_steps: int, sweeps: int, density: float) -> Outcome:
    """Sweep, then take sparse Newton steps; ``max_steps`` passes at most."""
    f, g, progress = swept(task, sweeps, max_steps)
    share = density * task.a.size * task.b.size
    count = math.ceil(share - 1e-9 * share)  # 15 / n of n^2 is 15 n, whatever the product rounds to
    zero = jnp.zeros((), task.a.dtype)
    start = _State(
        f=f,
        g=g,
        df=jnp.zeros_like(f),
        dg=jnp.zeros_like(g),
        step=zero + 1,
        dual=zero - jnp.inf,
        slope=zero,
        halvings=jnp.int32(0),
        progress=progress,
    )
    last = jax.lax.while_loop(
        lambda s: s.progress.status == RUNNING, lambda s: _turn(task, s, max_steps, count), start
    )
    return last.progress.outcome()


def _turn(task: Task, s: _State, max_steps: int, count: int) -> _State:
    dtype = task.a.dtype
    f, g = s.f + s.step * s.df, s.g + s.step * s.dg
    seen = view(task, f, g)
    risen = seen.dual - s.dual >= ASCENT * s.step * s.slope - seen.rounding
    accepted = jnp.isfinite(seen.dual) & risen
    f, g = jnp.where(accepted, f, s.f), jnp.where(accepted, g, s.g)

    progress = looked(s.progress, f, seen.error, accepted, fall=0.5, waits=accepted)
    status = jnp.select(
        [
            accepted & (seen.error <= task.tol),
            (progress.waited > PATIENCE) | (~accepted & (s.halvings >= HALVINGS)),
            progress.passes >= max_steps,
        ],
        [int(Status.SUCCESS), int(Status.STALLED), int(Status.MAX_STEPS)],
        RUNNING,
    )
    newton = accepted & (status == RUNNING)
    kept = largest(jnp.where(jnp.isfinite(seen.plan), seen.plan, 0), count, newton)
    unshifted = jnp.zeros((), dtype)
    df, dg, solved = direction(seen, kept, unshifted, task, newton, EXACT[dtype.itemsize])
    nnz = jnp.where(newton, count, jnp.nan)
    note = seen.error, task.epsilon, solved, s.step, accepted, nnz
    return _State(
        f=f,
        g=g,
        df=jnp.where(newton, df, s.df),
        dg=jnp.where(newton, dg, s.dg),
        step=jnp.where(newton, 1, s.step / 2).astype(dtype),
        dual=jnp.where(accepted, seen.dual, s.dual),
        slope=jnp.where(newton, seen.slope(task, df, dg), s.slope),
        halvings=jnp.where(newton, 0, s.halvings + 1).astype(jnp.int32),
        progress=recorded(progress, status, newton, solved, *note),
    )
