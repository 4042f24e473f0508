r"""Entropic optimal transport, solved.

Differs from the paper / reference:
  1. The larger side is eliminated, whichever argument it came in.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.typing import ArrayLike

from theorylab._batches import one_by_one
from theorylab._numerics import known
from theorylab.transport._arguments import (
    checked_cost,
    checked_masses,
    checked_mesh,
    flat,
    positive,
    reachable,
    starting,
    whole,
)
from theorylab.transport._budget import budget
from theorylab.transport._core import solved
from theorylab.transport._grid import Grid
from theorylab.transport._newton import newton
from theorylab.transport._options import PASSES, chosen_options
from theorylab.transport._oriented import oriented
from theorylab.transport._outcome import Outcome, Task
from theorylab.transport._results import Solution, Status
from theorylab.transport._sharded import solved_on_mesh
from theorylab.transport._sinkhorn import sinkhorn
from theorylab.transport._sns import sns

TOLERANCE = {8: 1e-9, 4: 2e-5}


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
    mesh: Mesh | None = None,
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
        (n, m) costs, :class:`PointCloud`, :class:`Grid`, or a batch of problems with a leading
        axis. ``+inf`` forbids an arc.
    a, b
        (n,), (m,) masses with equal sums, of any size; zeros are allowed. None: uniform, summing to
        1. A batch may share them.
    epsilon
        :math:`\varepsilon > 0` in the units of the cost, an absolute number. In a batch also (B,).
    method
        ``"newton"``: the semi-dual by Newton's method, in some 20 to 120 passes over the costs.
        ``"sns"``: Sinkhorn-Newton-Sparse as published (Tang et al., 2024), which stalls where plans
        are not sparse, and then says so; with ``sparsify="budget"`` the safe and sparse Newton
        method (Tang & Qiu, 2024), which keeps as many entries as it needs. ``"sinkhorn"``:
        Sinkhorn's method, the baseline; passes grow like 1 / epsilon and worse.
    tol
        Largest L1 error of both marginals, summed, relative to the mass. None: 1e-9, and 2e-5 in
        float32.
    max_steps
        Largest number of passes over the costs. None: 2,000, and 20,000 for Sinkhorn's method.
    init
        A :class:`Solution` of a problem nearby, or potentials (f, g), to start from at once at
        ``epsilon``; without, epsilon comes down in stages (Newton). The potential of the smaller
        side is used.
    mesh
        Devices, with one axis, over which the points of the larger side are spread; for problems
        too large for one. Matrices and point clouds, no batches.
    **method_options
        ``"sinkhorn"``: ``momentum`` in (0, 2), 1.0; ``domain``, ``"auto"`` (sweeps by products with
        the plan at hand, where it is stable) or ``"log"``; ``scaling``, False, whether epsilon
        comes down in stages. ``"sns"``: ``sweeps``, 20, before the first Newton step; ``sparsify``,
        ``"count"`` or ``"budget"``, by what rule entries of the plan are kept; for ``"count"`` also
        ``density``, their share, 2 / min(n, m). ``"newton"`` has none.

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
        reached. Where values are not known (under ``jit``, and costs that a function of two points
        gives) the result is NaN with ``Status.INVALID`` instead.

    Notes
    -----
    Limits: a solution that is not ``converged`` says why in ``status``; nothing else is promised of
    it. The precision that can be met is about the rounding of ``f / epsilon``: with costs up to 1,
    1e-9 at epsilon = 1e-4 in float64; in float32 2e-5 at 1e-3, and 5e-5 at 5e-4. float32 in,
    float32 out; half precision is computed in float32.

    The value has the derivative that the envelope theorem gives; potentials, and all that is made
    from them, one solution with the Hessian, in forward and reverse mode and of higher order, with
    respect to costs, points, masses and epsilon. Derivatives in masses are defined up to a
    constant, since sums must stay equal. Compiled here, once for each shape.

    References
    ----------
    Cuturi (2013), "Sinkhorn distances"; Brauer, Clason, Lorenz & Wirth (2017), "A Sinkhorn-Newton
    method for entropic optimal transport"; Tang et al. (2024), "Accelerating Sinkhorn algorithm
    with sparse Newton iterations"; Tang & Qiu (2024), "Safe and sparse Newton method for
    entropic-regularized optimal transport"; for what is done differently see ``_newton``.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import transport
    >>> x, y = jnp.array([[0.0], [1.0]]), jnp.array([[0.1], [1.2]])
    >>> s = transport.solve(transport.PointCloud(x, y), epsilon=0.01)
    >>> bool(s.converged), round(float(s.sharp_cost()), 4)  # (0.01 + 0.04) / 2
    (True, 0.025)
    """
    if isinstance(cost, Grid):
        a, b = flat(cost, a), flat(cost, b)
    given, shape = checked_cost(cost, a, b)
    dtype = _dtype(given, a, b)
    a, b = checked_masses(a, b, shape, dtype)
    reachable(given, a, b)
    batch = shape[0] if len(shape) == 3 else None
    epsilon = positive("epsilon", epsilon, batch, dtype)
    tol = positive("tol", TOLERANCE[dtype.itemsize] if tol is None else tol, batch)
    if method not in PASSES:
        names = ", ".join(repr(name) for name in PASSES)
        raise ValueError(f"method must be one of {names}, got {method!r}")
    options = chosen_options(method, method_options, min(shape[-2:]))
    if method == "sns" and (isinstance(given, Grid) or getattr(given, "block", None)):
        kind = "Grid" if isinstance(given, Grid) else "PointCloud with block"
        raise ValueError(f"method 'sns' needs a matrix, got a {kind}: pass cost.matrix()")
    most = PASSES[method] if max_steps is None else whole("max_steps", max_steps)
    start = starting(init, shape)
    masses = known(a), known(b)
    extends = any(mass is None or bool((mass == 0).any()) for mass in masses)
    arrays = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (given, a, b, epsilon, tol, start))
    if mesh is not None:
        mesh = checked_mesh(mesh, given, method, shape)
    run = partial(
        _solve, method=method, max_steps=most, options=options, extends=extends, mesh=mesh
    )
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
    arrays = jax.tree.leaves(cost)
    arrays += [jnp.asarray(x) for x in (a, b) if x is not None]
    arrays = arrays or [jnp.zeros(())]
    found = np.dtype(jnp.result_type(*(leaf.dtype for leaf in arrays)))
    return np.dtype(np.float32) if found.itemsize < 4 else found


@partial(jax.jit, static_argnames=("method", "max_steps", "options", "extends", "mesh"))
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
    mesh: Mesh | None,
) -> Solution:
    swapped = a.size > b.size
    costs = oriented(cost, a.dtype, eliminate="rows" if swapped else "columns")
    rows, columns = (b, a) if swapped else (a, b)
    begin = None if start is None else start[int(swapped)]
    over = solved if mesh is None else partial(solved_on_mesh, mesh)
    found, outcome = over(
        *(costs, rows, columns, epsilon, tol, begin),
        algorithm=partial(_run, method=method, max_steps=max_steps, options=options, mesh=mesh),
        first_is_right=not swapped,
        extends=extends,
    )
    f, g = (found.g, found.f) if swapped else (found.f, found.g)
    a, b = (found.columns, found.rows) if swapped else (found.rows, found.columns)
    passes = outcome.passes + 2 + int(extends)
    return Solution(
        f=f,
        g=g,
        value=found.value,
        marginal_error=found.error,
        status=found.status,
        converged=found.status == int(Status.SUCCESS),
        num_steps=outcome.steps,
        num_lse_passes=passes if costs.cheap else passes + outcome.products,
        num_matvec_passes=outcome.products,
        history=outcome.history,
        cost=None,
        a=a,
        b=b,  # as it was brought to the sum of a, which the plan needs
        epsilon=found.epsilon,
    )


def _run(
    task: Task, method: str, max_steps: int, options: tuple[tuple[str, Any], ...], mesh: Mesh | None
) -> Outcome:
    algorithms: dict[str, Any] = {"newton": newton, "sns": sns, "sinkhorn": sinkhorn}
    chosen = dict(options)
    if chosen.pop("sparsify", "count") == "budget":
        algorithms["sns"] = budget
    algorithm = partial(algorithms[method], max_steps=max_steps, **chosen)
    if mesh is not None:
        return algorithm(task)
    *arrays, warm = task
    return one_by_one(lambda *given: algorithm(Task._make((*given, warm))))(*arrays)
