r"""Sinkhorn-Newton-Sparse: the published algorithm, with its failures.

On the dual of both potentials,

.. math::

    D(f, g) = a \cdot f + b \cdot g - \varepsilon \sum_{ij} P_{ij}, \qquad
    P_{ij} = a_i b_j e^{(f_i + g_j - C_{ij}) / \varepsilon},

a fixed number of sweeps is followed by Newton steps with a sparsified Hessian,

.. math::

    \begin{pmatrix} \operatorname{diag}(P 1) & \tilde P \\
    \tilde P^\top & \operatorname{diag}(P^\top 1) \end{pmatrix}
    \begin{pmatrix} \Delta f \\ \Delta g \end{pmatrix} = \varepsilon
    \begin{pmatrix} a - P 1 \\ b - P^\top 1 \end{pmatrix},

where :math:`\tilde P` keeps the ``ceil(density n m)`` largest entries of P, and backtracking.

It stalls where plans are not sparse: the diagonal holds the sums of the full plan, so that what is
dropped makes the curvature too large, and steps too short. That is the algorithm's; it comes back
as ``Status.STALLED``.

Differs from the paper / reference:
  1. Tang et al. (2024), "Accelerating Sinkhorn algorithm with sparse Newton iterations": potentials
     there absorb :math:`\varepsilon \log a`, which changes no iterate. Their linear system is
     solved for f alone (Schur complement), by conjugate gradients to EXACT = 1e-10 (1e-5 in
     float32) and MOST = 1000 steps.
  2. The sweeps are those of ``_sinkhorn``, one pass each, in the log domain.
  3. Backtracking halves the step until D has risen by ASCENT = 1e-4 of the slope, HALVINGS = 30
     times at most; the paper names no constants.
  4. PATIENCE = 30 Newton steps in which the error does not fall by half mean a stall.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from theorylab.transport._conjugate import conjugate_gradients, inverse
from theorylab.transport._outcome import Outcome, Task, empty_history, noted
from theorylab.transport._results import RUNNING, History, Status
from theorylab.transport._select import largest
from theorylab.transport._sweeps import log_ratio

EXACT = {8: 1e-10, 4: 1e-5}
MOST = 1000
ASCENT, HALVINGS, ROUNDING = 1e-4, 30, 8
PATIENCE = 30


class _Swept(NamedTuple):
    f: jax.Array
    rows: jax.Array
    g: jax.Array
    error: jax.Array
    passes: jax.Array
    history: History


class _State(NamedTuple):
    """Potentials ``f``, ``g``; ``f + step * df``, ``g + step * dg`` are looked at next.

    ``mark``: the error when it had last fallen by half, ``waited`` steps ago.
    """

    f: jax.Array
    g: jax.Array
    df: jax.Array
    dg: jax.Array
    step: jax.Array
    dual: jax.Array
    slope: jax.Array
    halvings: jax.Array
    best: jax.Array
    best_error: jax.Array
    mark: jax.Array
    waited: jax.Array
    status: jax.Array
    steps: jax.Array
    passes: jax.Array
    products: jax.Array
    history: History


def sns(task: Task, *, max_steps: int, sweeps: int, density: float) -> Outcome:
    """Sweep, then take sparse Newton steps; ``max_steps`` passes at most."""
    swept = _sweep(task, min(sweeps, max_steps), max_steps)
    count = math.ceil(density * task.a.size * task.b.size)
    zero, none = jnp.zeros((), task.a.dtype), jnp.int32(0)
    done = jnp.where(swept.error <= task.tol, int(Status.SUCCESS), RUNNING)
    start = _State(
        f=swept.f,
        g=swept.g,
        df=jnp.zeros_like(swept.f),
        dg=jnp.zeros_like(swept.g),
        step=zero + 1,
        dual=jnp.asarray(-jnp.inf, task.a.dtype),
        slope=zero,
        halvings=none,
        best=swept.f,
        best_error=swept.error,
        mark=jnp.asarray(jnp.inf, task.a.dtype),
        waited=none,
        status=jnp.where(swept.passes < max_steps, done, int(Status.MAX_STEPS)).astype(jnp.int32),
        steps=none,
        passes=swept.passes,
        products=none,
        history=swept.history,
    )
    last = jax.lax.while_loop(
        lambda s: s.status == RUNNING, lambda s: _turn(task, s, max_steps, count), start
    )
    steps = last.steps + swept.passes
    return Outcome(last.best, last.status, steps, last.passes, last.products, last.history)


def _sweep(task: Task, sweeps: int, max_steps: int) -> _Swept:
    """The sweeps, each one pass; the first pass only looks."""
    costs, a, b, epsilon, tol, f, _ = task

    def sweep(s: _Swept) -> _Swept:
        f = s.f + epsilon * log_ratio(a, s.rows)
        plan = costs.plan(f, a, b, epsilon)
        error = jnp.sum(jnp.abs(plan.rows - a)) / jnp.sum(a)
        history = noted(s.history, s.passes, error, epsilon, 0, 1, True, jnp.nan)
        return _Swept(f, plan.rows, plan.g, error, s.passes + 1, history)

    first = _Swept(
        f,
        a,
        jnp.zeros_like(b),
        jnp.asarray(jnp.inf, a.dtype),
        jnp.int32(0),
        empty_history(max_steps, a.dtype),
    )
    return jax.lax.while_loop(lambda s: (s.passes < sweeps) & (s.error > tol), sweep, first)


def _turn(task: Task, s: _State, max_steps: int, count: int) -> _State:
    _, a, b, epsilon, tol, _, _ = task
    dtype, mass = a.dtype, jnp.sum(a)
    f, g = s.f + s.step * s.df, s.g + s.step * s.dg
    plan = task.costs.both(f, g, a, b, epsilon)
    rows, columns = (jnp.sum(plan, axis=k) for k in (1, 0))
    error = (jnp.sum(jnp.abs(rows - a)) + jnp.sum(jnp.abs(columns - b))) / mass
    terms = a * f, jnp.where(b > 0, b * g, 0), -epsilon * columns
    dual = sum(jnp.sum(term) for term in terms)
    size = sum(jnp.sum(jnp.abs(term)) for term in terms)
    rounding = ROUNDING * jnp.finfo(dtype).eps * size
    risen = dual - s.dual >= ASCENT * s.step * s.slope - rounding
    accepted = jnp.isfinite(dual) & risen
    f, g = jnp.where(accepted, f, s.f), jnp.where(accepted, g, s.g)

    better = accepted & (error < s.best_error)
    waited = s.waited + jnp.where(accepted, 1, 0)
    halved = accepted & (error < s.mark / 2)
    waited = jnp.where(halved, 0, waited)
    status = jnp.select(
        [
            accepted & (error <= tol),
            (waited > PATIENCE) | (~accepted & (s.halvings >= HALVINGS)),
            s.passes + 1 >= max_steps,
        ],
        [int(Status.SUCCESS), int(Status.STALLED), int(Status.MAX_STEPS)],
        RUNNING,
    )
    newton = accepted & (status == RUNNING)
    df, dg, solved = _direction(plan, rows, columns, task, count, newton)
    slope = jnp.sum((a - rows) * df) + jnp.sum((b - columns) * dg)
    nnz = jnp.where(newton, count, jnp.nan)
    return _State(
        f=f,
        g=g,
        df=jnp.where(newton, df, s.df),
        dg=jnp.where(newton, dg, s.dg),
        step=jnp.where(newton, 1, s.step / 2).astype(dtype),
        dual=jnp.where(accepted, dual, s.dual),
        slope=jnp.where(newton, slope, s.slope),
        halvings=jnp.where(newton, 0, s.halvings + 1).astype(jnp.int32),
        best=jnp.where(better, f, s.best),
        best_error=jnp.where(better, error, s.best_error),
        mark=jnp.where(halved, error, s.mark),
        waited=waited.astype(jnp.int32),
        status=status.astype(jnp.int32),
        steps=s.steps + newton.astype(jnp.int32),
        passes=s.passes + 1,
        products=s.products + solved,
        history=noted(s.history, s.passes, error, epsilon, solved, s.step, accepted, nnz),
    )


def _direction(
    plan: jax.Array,
    rows: jax.Array,
    columns: jax.Array,
    task: Task,
    count: int,
    wanted: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The sparse Newton step, by the Schur complement for f; and how many products it took."""
    a, b, epsilon = task.a, task.b, task.epsilon
    n, m = plan.shape
    kept = largest(jnp.where(jnp.isfinite(plan), plan, 0), count, wanted)
    weight = inverse(columns)
    right = jnp.where(wanted, epsilon * (a - rows), 0)
    beside = jnp.where(wanted, epsilon * (b - columns), 0)

    def multiply(v: jax.Array) -> jax.Array:
        return rows * v - kept.backward(weight * kept.forward(v, m), n)

    squares = jnp.zeros(n, plan.dtype).at[kept.rows].add(kept.values**2 * weight[kept.columns])
    diagonal = jnp.maximum(rows - squares, jnp.finfo(plan.dtype).eps * rows)
    df, solved = conjugate_gradients(
        multiply,
        right - kept.backward(weight * beside, n),
        diagonal,
        relative=EXACT[plan.dtype.itemsize],
        most=MOST,
    )
    return df, weight * (beside - kept.forward(df, m)), solved
