"""What a transport problem returns, and how trouble is reported without raising on values.

Differs from the paper / reference:
  1. No paper. Peers report one marginal's error or none; here both are summed, and a solution that
     did not get there says why.
"""

import enum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from theorylab._numerics import HIGHEST


class Status(enum.IntEnum):
    """Outcome of :func:`theorylab.transport.solve`; 0 is success.

    Attributes
    ----------
    SUCCESS
        Both marginals are met within ``tol``.
    MAX_STEPS
        Stopped after ``max_steps``; the best potentials so far are returned.
    STALLED
        No progress any more, at the precision of the dtype or of the method; the best potentials so
        far are returned, and ``marginal_error`` is theirs.
    INVALID
        No problem of transport: NaN or -inf costs, negative or unequal masses, an ``epsilon`` that
        is not positive, a point with mass that nothing can reach. Everything is NaN.
    NONFINITE
        Potentials left the range of the dtype.

    Examples
    --------
    >>> from theorylab.transport import Status
    >>> Status(2).name
    'STALLED'
    """

    SUCCESS = 0
    MAX_STEPS = 1
    STALLED = 2
    INVALID = 3
    NONFINITE = 4


RUNNING = -1


class History(NamedTuple):
    """What happened, pass by pass; (max_steps,) each, NaN behind the last one.

    Attributes
    ----------
    marginal_error
        L1 error of the marginal that is not met by construction, after each pass.
    epsilon
        The regularisation that the pass was made with.
    products
        Matrix-vector passes between this pass and the next.
    step
        Length of the step that led here, 1 for a full Newton step or a sweep.
    accepted
        1 where the step was accepted, else 0.
    nnz
        Entries of the sparsified Hessian that the next step is taken with (``"sns"`` alone).

    Examples
    --------
    >>> from theorylab.transport import History
    >>> History._fields
    ('marginal_error', 'epsilon', 'products', 'step', 'accepted', 'nnz')
    """

    marginal_error: jax.Array
    epsilon: jax.Array
    products: jax.Array
    step: jax.Array
    accepted: jax.Array
    nnz: jax.Array


class Solution(NamedTuple):
    r"""Potentials of an entropic transport problem, and what they are worth.

    Attributes
    ----------
    f, g
        (n,), (m,): the plan is :math:`P_{ij} = a_i b_j e^{(f_i + g_j - C_{ij}) / \varepsilon}`. Up
        to a constant, which is moved so that :math:`a \cdot f = b \cdot g`.
    value
        :math:`\langle P, C \rangle + \varepsilon \sum P \log (P / a b^\top)`, from the dual.
    marginal_error
        L1 errors of both marginals of the plan, summed.
    status, converged
        A :class:`Status` (int32), and whether it is ``SUCCESS``.
    num_steps
        Newton steps, or sweeps of Sinkhorn's method, or (``"sns"``) both.
    num_lse_passes
        Passes over the n x m costs that evaluate an exponential.
    num_matvec_passes
        Pairs of products with a plan and its transpose: one for each step of conjugate gradients
        and each sweep in the kernel domain.
    history
        :class:`History`.
    cost, a, b, epsilon
        The problem.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import transport
    >>> s = transport.solve(jnp.array([[0.0, 1.0], [1.0, 0.0]]), epsilon=0.1)
    >>> bool(s.converged), round(float(s.plan()[0, 0]), 4)
    (True, 0.5)
    """

    f: jax.Array
    g: jax.Array
    value: jax.Array
    marginal_error: jax.Array
    status: jax.Array
    converged: jax.Array
    num_steps: jax.Array
    num_lse_passes: jax.Array
    num_matvec_passes: jax.Array
    history: History
    cost: Any
    a: jax.Array
    b: jax.Array
    epsilon: jax.Array

    def plan(self) -> jax.Array:
        """The plan (n, m), formed."""
        epsilon, cost = jnp.asarray(self.epsilon)[..., None, None], self._costs()
        open_ = jnp.isfinite(cost)
        exponent = self.f[..., :, None] + self.g[..., None, :] - jnp.where(open_, cost, 0)
        kernel = jnp.where(open_, jnp.exp(jnp.where(open_, exponent / epsilon, 0)), 0)
        return self.a[..., :, None] * self.b[..., None, :] * kernel

    def apply(self, v: jax.Array, *, transpose: bool = False) -> jax.Array:
        """``P @ v``, for v (m,) or (m, k), or ``P.T @ v`` for v (n,) or (n, k)."""
        plan = self.plan()
        plan = plan.swapaxes(-1, -2) if transpose else plan
        vector = jnp.ndim(v) == self.f.ndim
        v = jnp.asarray(v, plan.dtype)
        result = jnp.matmul(plan, v[..., None] if vector else v, precision=HIGHEST)
        return result[..., 0] if vector else result

    def sharp_cost(self) -> jax.Array:
        """Cost of the plan itself, <P, C>, without the entropy."""
        return _spent(self.plan(), self._costs())

    def round(self) -> tuple[jax.Array, jax.Array]:
        """A plan whose marginals are met, and its cost, an upper bound of unregularised transport.

        Altschuler, Weed & Rigollet (2017), algorithm 2: rows, then columns are scaled down where
        they have too much, and what is missing is filled in by a rank-one plan.
        """
        plan = self.plan()
        rows = plan.sum(-1)
        plan = plan * jnp.minimum(1, self.a / jnp.where(rows > 0, rows, 1))[..., None]
        columns = plan.sum(-2)
        plan = plan * jnp.minimum(1, self.b / jnp.where(columns > 0, columns, 1))[..., None, :]
        # Nothing is missing where rounding made a sum a little too large.
        rows = jnp.maximum(self.a - plan.sum(-1), 0)
        columns = jnp.maximum(self.b - plan.sum(-2), 0)
        missing = rows.sum(-1)[..., None, None]
        filled = rows[..., :, None] * columns[..., None, :]
        plan = plan + filled / jnp.where(missing > 0, missing, 1)
        return plan, _spent(plan, self._costs())

    def _costs(self) -> jax.Array:
        return self.cost.matrix() if hasattr(self.cost, "matrix") else self.cost


def _spent(plan: jax.Array, cost: jax.Array) -> jax.Array:
    return jnp.sum(jnp.where(plan > 0, plan * cost, 0), (-1, -2))
