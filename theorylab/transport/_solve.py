r"""Entropic optimal transport, solved.

Differs from the paper / reference:
  1. The larger side is eliminated, whichever argument it came in, and the least cost of each of its
     points is subtracted first.
  2. Points without mass get the potential that the other side makes of them.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from theorylab._numerics import HIGHEST
from theorylab.transport._arguments import (
    BALANCE,
    checked_cost,
    checked_masses,
    known,
    positive,
    reachable,
    starting,
    whole,
)
from theorylab.transport._dense import Dense
from theorylab.transport._implicit import potential, value
from theorylab.transport._newton import newton
from theorylab.transport._outcome import Outcome, Task
from theorylab.transport._results import Solution, Status
from theorylab.transport._sinkhorn import sinkhorn
from theorylab.transport._sns import sns

TOLERANCE = {8: 1e-9, 4: 2e-5}
SPARE = {8: 0.9, 4: 0.5}  # of tol: the potentials themselves are rounded, and moved by a constant
PASSES = {"newton": 2000, "sns": 2000, "sinkhorn": 20_000}


def solve(
    cost: Any,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    epsilon: Any,
    method: str = "newton",
    tol: Any = None,
    max_steps: int | None = None,
    init: Any = None,
    **method_options: Any,
) -> Solution:
    r"""Solve an entropic optimal transport problem.

    .. math::

        \min_{P 1 = a,\; P^\top 1 = b} \langle P, C \rangle
            + \varepsilon \sum_{ij} P_{ij} \log \frac{P_{ij}}{a_i b_j}, \qquad
        P_{ij} = a_i b_j\, e^{(f_i + g_j - C_{ij}) / \varepsilon}

    Parameters
    ----------
    cost
        (n, m) costs, :class:`PointCloud`, or a batch of problems with a leading axis. ``+inf``
        forbids an arc.
    a, b
        (n,), (m,) masses with equal sums, of any size; zeros are allowed. None: uniform, summing to
        1. A batch may share them.
    epsilon
        :math:`\varepsilon > 0` in the units of the cost, an absolute number. In a batch also (B,).
    method
        ``"newton"``: the semi-dual by Newton's method, in some 20 to 120 passes over the costs.
        ``"sns"``: Sinkhorn-Newton-Sparse as published (Tang et al., 2024), which stalls where plans
        are not sparse, and then says so. ``"sinkhorn"``: Sinkhorn's method, the baseline; passes
        grow like 1 / epsilon and worse.
    tol
        Largest L1 error of both marginals, summed, relative to the mass. None: 1e-9, and 2e-5 in
        float32.
    max_steps
        Largest number of passes over the costs. None: 2,000, and 20,000 for Sinkhorn's method.
    init
        A :class:`Solution` of a problem nearby, or potentials (f, g), to start from at once at
        ``epsilon``; without, epsilon comes down in stages (Newton).
    **method_options
        ``"sinkhorn"``: ``momentum`` in (0, 2), 1.0; ``domain``, ``"auto"`` (sweeps by products with
        the plan at hand, where it is stable) or ``"log"``; ``scaling``, False, whether epsilon
        comes down in stages. ``"sns"``: ``sweeps``, 20, before the first Newton step; ``density``,
        the share of the plan's entries that are kept, 2 / min(n, m). ``"newton"`` has none.

    Returns
    -------
    Solution
        f (n,), g (m,), value, marginal_error, status, converged, num_steps, num_lse_passes,
        num_matvec_passes, history; ``.plan()``, ``.apply(v)``, ``.sharp_cost()``, ``.round()``.

    Raises
    ------
    TypeError
        If an array is of integers or complex numbers, or an option is unknown.
    ValueError
        If shapes do not fit or are empty, epsilon or tol is not positive, masses are negative or
        their sums differ, a cost is NaN or -inf (its index is said), or a point with mass cannot be
        reached. Where values are not known (under ``jit``) the result is NaN with
        ``Status.INVALID`` instead.

    Notes
    -----
    Limits: a solution that is not ``converged`` says why in ``status``; nothing else is promised of
    it. The precision that can be met is about the rounding of ``f / epsilon``: with costs up to 1,
    1e-9 at epsilon = 1e-4 in float64, 2e-5 at 5e-4 in float32. float32 in, float32 out; half
    precision is computed in float32. The value has the derivative that the envelope theorem gives;
    potentials, and all that is made from them, one solution with the Hessian, in forward and
    reverse mode and of higher order, with respect to costs, points, masses and epsilon.
    Derivatives in masses are defined up to a constant, since sums must stay equal. Compiled here,
    once for each shape.

    References
    ----------
    Cuturi (2013), "Sinkhorn distances"; Brauer, Clason, Lorenz & Wirth (2017), "A Sinkhorn-Newton
    method for entropic optimal transport"; Tang et al. (2024), "Accelerating Sinkhorn algorithm
    with sparse Newton iterations"; for what is done differently see ``_newton``.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import transport
    >>> x, y = jnp.array([[0.0], [1.0]]), jnp.array([[0.1], [1.2]])
    >>> s = transport.solve(transport.PointCloud(x, y), epsilon=0.01)
    >>> bool(s.converged), round(float(s.sharp_cost()), 4)  # (0.01 + 0.04) / 2
    (True, 0.025)
    """
    given, shape = checked_cost(cost)
    dtype = _dtype(given, a, b)
    a, b = checked_masses(a, b, shape, dtype)
    reachable(given, a, b)
    epsilon = positive("epsilon", epsilon)
    tol = positive("tol", TOLERANCE[dtype.itemsize] if tol is None else tol)
    if method not in PASSES:
        names = ", ".join(repr(name) for name in PASSES)
        raise ValueError(f"method must be one of {names}, got {method!r}")
    options = _options(method, method_options, min(shape[-2:]))
    most = PASSES[method] if max_steps is None else whole("max_steps", max_steps)
    start = starting(init, shape)
    masses = known(a), known(b)
    extends = any(mass is None or bool((mass == 0).any()) for mass in masses)
    arrays = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (given, a, b, epsilon, tol, start))
    run = partial(_solve, method=method, max_steps=most, options=options, extends=extends)
    if len(shape) == 3:
        axes = [jax.tree.map(lambda _: 0, arrays[0])]
        axes += [0 if jnp.ndim(leaf) == 2 else None for leaf in arrays[1:3]]
        axes += [0 if jnp.ndim(leaf) == 1 else None for leaf in arrays[3:5]]
        axes += [jax.tree.map(lambda leaf: 0 if jnp.ndim(leaf) == 2 else None, arrays[5])]
        found = jax.vmap(run, axes)(*arrays)
    else:
        found = run(*arrays)
    return found._replace(cost=arrays[0], epsilon=arrays[3])


def _dtype(cost: Any, a: Any, b: Any) -> np.dtype:
    arrays = [*jax.tree.leaves(cost), *(jnp.asarray(x) for x in (a, b) if x is not None)]
    found = np.dtype(jnp.result_type(*(leaf.dtype for leaf in arrays)))
    return np.dtype(np.float32) if found.itemsize < 4 else found


def _options(method: str, given: dict[str, Any], smaller: int) -> tuple[tuple[str, Any], ...]:
    """Options of a method, with their defaults; hashable."""
    defaults: dict[str, Any] = {}
    if method == "sinkhorn":
        defaults = {"momentum": 1.0, "domain": "auto", "scaling": False}
    if method == "sns":
        defaults = {"sweeps": 20, "density": min(1.0, 2 / smaller)}
    unknown = [name for name in given if name not in defaults]
    if unknown:
        known_ones = ", ".join(defaults) or "none"
        raise TypeError(
            f"{unknown[0]} is no option of method {method!r}; its options: {known_ones}"
        )
    options = defaults | given
    if method == "sinkhorn":
        if not 0 < float(options["momentum"]) < 2:
            raise ValueError(f"momentum must lie in (0, 2), got {options['momentum']!r}")
        if options["domain"] not in ("auto", "log"):
            raise ValueError(f"domain must be 'auto' or 'log', got {options['domain']!r}")
        options |= {"momentum": float(options["momentum"]), "scaling": bool(options["scaling"])}
    if method == "sns":
        density = float(options["density"])
        if not 0 < density <= 1:
            raise ValueError(f"density must lie in (0, 1], got {options['density']!r}")
        options = {"sweeps": whole("sweeps", options["sweeps"]), "density": density}
    return tuple(options.items())


@partial(jax.jit, static_argnames=("method", "max_steps", "options", "extends"))
def _solve(
    cost: Any,
    a: jax.Array,
    b: jax.Array,
    epsilon: jax.Array,
    tol: jax.Array,
    start: tuple[jax.Array, jax.Array] | None,
    *,
    method: str,
    max_steps: int,
    options: tuple[tuple[str, Any], ...],
    extends: bool,
) -> Solution:
    matrix = cost.matrix() if hasattr(cost, "matrix") else cost
    valid = _valid(matrix, a, b, epsilon)
    # What is no problem of transport becomes one that is solved at once; its result is NaN.
    matrix = jnp.where(valid, matrix, 0)
    a, b = (jnp.where(valid, mass, 1 / mass.size) for mass in (a, b))
    epsilon = jnp.where(valid, epsilon, 1)
    b = b * (jnp.sum(a) / jnp.sum(b))

    swapped = matrix.shape[0] > matrix.shape[1]
    rows, columns = (b, a) if swapped else (a, b)
    eliminated_first = matrix if swapped else matrix.T
    finite = jnp.where(jnp.isfinite(eliminated_first), eliminated_first, jnp.inf)
    least = jax.lax.stop_gradient(jnp.min(finite, axis=1))
    least = jnp.where(jnp.isfinite(least), least, 0)
    costs = Dense(eliminated_first - least[:, None])

    constant = jax.lax.stop_gradient((costs, rows, columns, epsilon))
    begin = jnp.zeros_like(rows) if start is None else start[int(swapped)]
    warm = start is not None
    goal = jax.lax.stop_gradient(SPARE[rows.dtype.itemsize] * tol)
    task = Task(*constant, goal, jax.lax.stop_gradient(begin), warm)
    found = _run(method, task, max_steps, dict(options))

    problem = (costs, rows, columns, epsilon)
    f = potential(jax.lax.stop_gradient(found.f), problem)
    plan = costs.plan(f, rows, columns, epsilon)
    if extends:
        f = jnp.where(rows > 0, f, costs.extend(plan.g, columns, epsilon))
    worth = value(f, problem) + jnp.sum(columns * least)
    g = plan.g + least
    shift = (jnp.sum(columns * g) - jnp.sum(rows * f)) / (2 * jnp.sum(rows))
    f, g = f + shift, g - shift
    error = _marginal_error(jax.lax.stop_gradient((eliminated_first, f, g, rows, columns, epsilon)))

    status = jnp.where(valid, found.status, int(Status.INVALID))
    # The bound is met by the plan of the very potentials that are returned, or is not.
    late = (status == 0) & ~(error <= (tol * jnp.sum(rows)))
    status = jnp.where(late, int(Status.STALLED), status).astype(jnp.int32)
    nan = jnp.where(valid, 0, jnp.nan).astype(f.dtype)
    f, g = (g, f) if swapped else (f, g)
    return Solution(
        f=f + nan,
        g=g + nan,
        value=worth + nan,
        marginal_error=error + nan,
        status=status,
        converged=status == int(Status.SUCCESS),
        num_steps=found.steps,
        num_lse_passes=found.passes + 2 + int(extends),
        num_matvec_passes=found.products,
        history=found.history,
        cost=None,
        a=a,
        b=b,  # as it was brought to the sum of a, which the plan needs
        epsilon=epsilon,
    )


def _run(method: str, task: Task, max_steps: int, options: dict[str, Any]) -> Outcome:
    if method == "sinkhorn":
        return sinkhorn(task, max_steps=max_steps, **options)
    if method == "sns":
        return sns(task, max_steps=max_steps, **options)
    return newton(task, max_steps=max_steps)


def _marginal_error(problem: tuple[jax.Array, ...]) -> jax.Array:
    """L1 errors of both marginals of the plan that potentials make, summed."""
    cost, f, g, rows, columns, epsilon = problem
    plan = columns[:, None] * jnp.exp((f[None] + g[:, None] - cost) / epsilon) * rows[None]
    one_side = jnp.sum(jnp.abs(jnp.matmul(jnp.ones_like(g), plan, precision=HIGHEST) - rows))
    other = jnp.sum(jnp.abs(jnp.matmul(plan, jnp.ones_like(f), precision=HIGHEST) - columns))
    return one_side + other


def _valid(matrix: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array) -> jax.Array:
    """Whether this is a problem of transport."""
    slack = BALANCE[a.dtype.itemsize]
    sums = jnp.sum(a), jnp.sum(b)
    open_ = jnp.isfinite(matrix)
    live_rows, live_columns = a > 0, b > 0
    return (
        ~jnp.any(jnp.isnan(matrix) | jnp.isneginf(matrix))
        & jnp.all((a >= 0) & jnp.isfinite(a))
        & jnp.all((b >= 0) & jnp.isfinite(b))
        & (sums[0] > 0)
        & (jnp.abs(sums[0] - sums[1]) <= slack * jnp.maximum(*sums))
        & (epsilon > 0)
        & jnp.isfinite(epsilon)
        & jnp.all(~live_rows | jnp.any(open_ & live_columns[None], axis=1))
        & jnp.all(~live_columns | jnp.any(open_ & live_rows[:, None], axis=0))
    )
