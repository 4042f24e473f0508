r"""Newton steps in both potentials at once, with a Hessian of which only a part is kept.

.. math::

    D(f, g) = a \cdot f + b \cdot g - \varepsilon \sum_{ij} P_{ij}, \qquad
    P_{ij} = a_i b_j e^{(f_i + g_j - C_{ij}) / \varepsilon},

.. math::

    \begin{pmatrix} \operatorname{diag}(P 1) + \lambda & \tilde P \\
    \tilde P^\top & \operatorname{diag}(P^\top 1) + \lambda \end{pmatrix}
    \begin{pmatrix} \Delta f \\ \Delta g \end{pmatrix} = \varepsilon
    \begin{pmatrix} a - P 1 \\ b - P^\top 1 \end{pmatrix},

where :math:`\tilde P` is what is kept of P. The diagonal holds the sums of the whole plan, so that
the matrix is positive semi-definite whatever is dropped. ``_sns`` and ``_budget`` say what is kept,
what :math:`\lambda` is, and how long a step may be.

Differs from the paper / reference:
  1. Both algorithms are published with other names of the potentials: those absorb
     :math:`\varepsilon \log a`, which changes no iterate.
  2. The system is solved for f alone (Schur complement), by conjugate gradients with MOST = 1000
     steps at most. The constant that may be moved from f to g needs no care: the right side has no
     part along it.
  3. The first sweeps are those of ``_sinkhorn``, one pass each, in the log domain.
  4. Differences of D below ROUNDING = 8 eps of its terms are rounding.
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from theorylab.transport._conjugate import conjugate_gradients, inverse
from theorylab.transport._outcome import Progress, Task, begun, looked, recorded
from theorylab.transport._results import RUNNING, Status
from theorylab.transport._sweeps import log_ratio

MOST = 1000
ROUNDING = 8


class Kept(Protocol):
    """What is kept of a plan (n, m)."""

    def forward(self, v: jax.Array, m: int) -> jax.Array:
        """``P.T @ v`` (m,)."""
        ...

    def backward(self, y: jax.Array, n: int) -> jax.Array:
        """``P @ y`` (n,)."""
        ...

    def squares(self, y: jax.Array, n: int) -> jax.Array:
        """``P**2 @ y`` (n,)."""
        ...


class View(NamedTuple):
    """What one pass shows: the plan (n, m) of two potentials and what is missing from its sums.

    ``error`` is relative to the mass; ``dual`` is D, ``rounding`` the size of its last digits.
    """

    plan: jax.Array
    rows: jax.Array
    columns: jax.Array
    error: jax.Array
    dual: jax.Array
    rounding: jax.Array

    def slope(self, task: Task, df: jax.Array, dg: jax.Array) -> jax.Array:
        """The derivative of D along a direction."""
        return jnp.sum((task.a - self.rows) * df) + jnp.sum((task.b - self.columns) * dg)


class Start(NamedTuple):
    """Potentials after the first sweeps."""

    f: jax.Array
    g: jax.Array
    progress: Progress


def view(task: Task, f: jax.Array, g: jax.Array) -> View:
    """One pass over the costs."""
    _, a, b, epsilon, _, _, _ = task
    plan = task.costs.both(f, g, a, b, epsilon)
    rows, columns = (jnp.sum(plan, axis=k) for k in (1, 0))
    error = (jnp.sum(jnp.abs(rows - a)) + jnp.sum(jnp.abs(columns - b))) / jnp.sum(a)
    first, second, third = a * f, jnp.where(b > 0, b * g, 0), -epsilon * columns
    dual = jnp.sum(first) + jnp.sum(second) + jnp.sum(third)
    size = jnp.sum(jnp.abs(first)) + jnp.sum(jnp.abs(second)) + jnp.sum(jnp.abs(third))
    return View(plan, rows, columns, error, dual, ROUNDING * jnp.finfo(a.dtype).eps * size)


def direction(
    seen: View, kept: Kept, shift: jax.Array, task: Task, wanted: jax.Array, relative: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The Newton step for f and g, and how many products it took; none unless ``wanted``."""
    a, b, epsilon = task.a, task.b, task.epsilon
    n, m = seen.plan.shape
    rows, weight = seen.rows + shift, inverse(seen.columns + shift)
    right = jnp.where(wanted, epsilon * (a - seen.rows), 0)
    beside = jnp.where(wanted, epsilon * (b - seen.columns), 0)
    diagonal = jnp.maximum(rows - kept.squares(weight, n), jnp.finfo(a.dtype).eps * rows)
    df, solved = conjugate_gradients(
        lambda v: rows * v - kept.backward(weight * kept.forward(v, m), n),
        right - kept.backward(weight * beside, n),
        diagonal,
        relative=relative,
        most=MOST,
    )
    return df, weight * (beside - kept.forward(df, m)), solved


def swept(task: Task, sweeps: int, max_steps: int) -> Start:
    """The first sweeps, each one pass; the first of them only looks."""
    costs, a, b, epsilon, tol, f, _ = task

    def sweep(state: tuple[Start, jax.Array]) -> tuple[Start, jax.Array]:
        s, rows = state
        f = s.f + epsilon * log_ratio(a, rows)
        plan = costs.plan(f, a, b, epsilon)
        error = jnp.sum(jnp.abs(plan.rows - a)) / jnp.sum(a)
        progress = looked(s.progress, f, error, True, fall=1.0)
        status = jnp.select(
            [error <= tol, progress.passes >= max_steps],
            [int(Status.SUCCESS), int(Status.MAX_STEPS)],
            RUNNING,
        )
        note = error, epsilon, 0, 1, True, jnp.nan
        progress = recorded(progress, status, jnp.int32(1), jnp.int32(0), *note)
        return Start(f, plan.g, progress), plan.rows

    first = Start(f, jnp.zeros_like(b), begun(f, max_steps))
    swept_, _ = jax.lax.while_loop(
        lambda s: (s[0].progress.passes < sweeps) & (s[0].progress.status == RUNNING),
        sweep,
        (first, a),
    )
    progress = swept_.progress._replace(mark=jnp.full((), jnp.inf, a.dtype), waited=jnp.int32(0))
    return swept_._replace(progress=progress)
