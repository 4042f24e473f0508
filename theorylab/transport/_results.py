"""What a transport problem returns, and how trouble is reported without raising on values.

Differs from the paper / reference:
  1. No paper. Peers report one marginal's error or none; here both are summed, and a solution that
     did not get there says why.
"""

import enum
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from theorylab.transport._dense import joint
from theorylab.transport._oriented import matrix, oriented


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
    BIASED
        Of :func:`theorylab.transport.coupling` with Gibbs weights alone: the plan is the one asked
        for, but its marginals are off by more than ``tol``, which nothing in it would change.

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
    BIASED = 5


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
        L1 errors of both marginals of the plan, summed; relative to the mass, as ``tol`` is.
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
        return _each(_plan, self)

    def apply(self, v: jax.Array, *, transpose: bool = False) -> jax.Array:
        """``P @ v``, for v (m,) or (m, k), or ``P.T @ v`` for v (n,) or (n, k).

        The plan is not formed; some of its rows are, at a time. Raises ``ValueError`` where v does
        not fit; in a batch it has the leading axis too.
        """
        v = jnp.asarray(v)
        shape = (self.f if transpose else self.g).shape
        if v.shape[: len(shape)] != shape or v.ndim > len(shape) + 1:
            raise ValueError(f"v must have shape {shape} or {(*shape, 'k')}, got {v.shape}")
        vector = v.ndim == self.f.ndim
        result = _each(_times, self, v[..., None] if vector else v, transpose=transpose)
        return result[..., 0] if vector else result

    def sharp_cost(self) -> jax.Array:
        """Cost of the plan itself, <P, C>, without the entropy."""
        return _each(_spent, self)

    def round(self) -> tuple[jax.Array, jax.Array]:
        """A plan whose marginals are met, and its cost, an upper bound of unregularised transport.

        Altschuler, Weed & Rigollet (2017), algorithm 2: rows, then columns are scaled down where
        they have too much, and what is missing is filled in by a rank-one plan. Formed, (n, m).
        Forbidden arcs stay empty: where there are some, marginals are met up to what was missing
        there.
        """
        return _each(_rounded, self)


def _each(function: Any, solution: Solution, *arguments: jax.Array, **options: Any) -> Any:
    """Compiled, and for each problem of a batch."""
    run, nothing = partial(function, **options), cast(Any, None)
    for k in range(solution.f.ndim - 1, 0, -1):
        batched = jax.tree.map(lambda leaf, k=k: 0 if jnp.ndim(leaf) >= k else None, solution)
        run = jax.vmap(run, (batched._replace(history=nothing), *(0 for _ in arguments)))
    return run(solution._replace(history=nothing), *arguments)


@jax.jit
def _plan(s: Solution) -> jax.Array:
    return _unless_invalid(s, joint(matrix(s.cost, s.f.dtype).T, s.f, s.g, s.a, s.b, s.epsilon).T)


def _unless_invalid(s: Solution, x: jax.Array) -> jax.Array:
    """NaN where there was no problem; forbidden arcs alone would give 0."""
    return jnp.where(s.status == int(Status.INVALID), jnp.nan, x)


@partial(jax.jit, static_argnames="transpose")
def _times(s: Solution, v: jax.Array, *, transpose: bool) -> jax.Array:
    v = v.astype(s.f.dtype)
    costs = oriented(s.cost, s.f.dtype, eliminate="columns" if transpose else "rows")
    if transpose:
        return _unless_invalid(s, costs.apply(s.f, s.g, s.a, s.b, s.epsilon, v))
    return _unless_invalid(s, costs.apply(s.g, s.f, s.b, s.a, s.epsilon, v))


@jax.jit
def _spent(s: Solution) -> jax.Array:
    costs = oriented(s.cost, s.f.dtype, eliminate="columns")
    return _unless_invalid(s, costs.spent(s.f, s.g, s.a, s.b, s.epsilon))


@jax.jit
def _rounded(s: Solution) -> tuple[jax.Array, jax.Array]:
    plan = _plan(s)
    rows = plan.sum(1)
    plan = plan * jnp.minimum(1, s.a / jnp.where(rows > 0, rows, 1))[:, None]
    columns = plan.sum(0)
    plan = plan * jnp.minimum(1, s.b / jnp.where(columns > 0, columns, 1))[None]
    # Nothing is missing where rounding made a sum a little too large.
    rows, columns = jnp.maximum(s.a - plan.sum(1), 0), jnp.maximum(s.b - plan.sum(0), 0)
    missing = rows.sum()
    filled = rows[:, None] * columns[None] / jnp.where(missing > 0, missing, 1)
    costs = matrix(s.cost, s.f.dtype)
    open_ = jnp.isfinite(costs)
    plan = plan + jnp.where(open_, filled, 0)
    return plan, _unless_invalid(s, jnp.sum(plan * jnp.where(open_, costs, 0)))
