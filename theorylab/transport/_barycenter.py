r"""Barycenters of densities on one support.

With a kernel :math:`K = e^{-C / \varepsilon}` and the masses :math:`\alpha_k`, scalings are changed
in turn until all plans share one marginal :math:`\alpha`,

.. math::

    u_k = \alpha_k / K v_k, \quad
    \alpha = d \prod_k (K u_k)^{w_k}, \quad
    v_k = \alpha / K u_k, \quad
    d \leftarrow \sqrt{d\, \alpha / K d},

with :math:`d = 1` throughout where the barycenter is not debiased. All of it is done on logarithms.

At a fixed point d K d = alpha, the scaling of alpha with itself, and
:math:`\prod v_k^{w_k} = d`: the derivative of the objective vanishes.

Differs from the paper / reference:
  1. Benamou, Carlier, Cuturi, Nenna & Peyre (2015), "Iterative Bregman projections for regularized
     transportation problems", and Janati, Cuturi & Gramfort (2020), "Debiased Sinkhorn
     barycenters": theirs are products with a kernel that underflows at small epsilon.
  2. The blur is taken out by deconvolution, whose finest details, on which the objective hardly
     depends, come last and slowly; hence DEBIASED = 1e-3, the tolerance used by default.
  3. epsilon comes down by FACTOR = 4 from half of the largest cost, each stage but the last ending
     at an error of MIDDLE = 1e-2.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from theorylab._numerics import HIGHEST
from theorylab.transport._arguments import BALANCE, positive, whole
from theorylab.transport._barycenter_arguments import checked_densities
from theorylab.transport._grid import Grid
from theorylab.transport._newton import FACTOR, MIDDLE
from theorylab.transport._oriented import oriented
from theorylab.transport._results import RUNNING, Status

TOLERANCE = {8: 1e-7, 4: 1e-4}
DEBIASED = 1e-3


class Barycenter(NamedTuple):
    """A barycenter of densities.

    Attributes
    ----------
    mass
        (n,) or the shape of the grid; its sum is that of the masses given, 1 for densities.
    marginal_error
        L1 distance between the barycenter and the marginals of the plans that lead there, averaged
        with the weights; relative to the mass.
    status, converged
        A :class:`Status` (int32), and whether it is ``SUCCESS``.
    num_steps
        Iterations, each 2 k passes over the costs (2 k + 1 debiased) for k densities.

    Examples
    --------
    >>> from theorylab.transport import Barycenter
    >>> Barycenter._fields
    ('mass', 'marginal_error', 'status', 'converged', 'num_steps')
    """

    mass: jax.Array
    marginal_error: jax.Array
    status: jax.Array
    converged: jax.Array
    num_steps: jax.Array


def barycenter(
    cost: Any,
    masses: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    epsilon: Any,
    debiased: bool = True,
    tol: Any = None,
    max_steps: int = 5000,
) -> Barycenter:
    r"""Entropic barycenter of densities on one support.

    .. math::

        \min_\alpha \sum_k w_k S_\varepsilon(\alpha_k, \alpha)

    with the Sinkhorn divergence :math:`S_\varepsilon` (see :func:`divergence`), or, not debiased,
    with :math:`\min_P \langle P, C \rangle + \varepsilon \sum P (\log P - 1)` in its place, whose
    barycenter is blurred by about :math:`\sqrt{\varepsilon}`.

    Parameters
    ----------
    cost
        :class:`Grid`, or a symmetric matrix (n, n).
    masses
        (k, n), or (k, ``*grid.shape``): densities with equal sums; zeros are allowed.
    weights
        (k,) non-negative, with sum 1. None: 1 / k each.
    epsilon
        Positive, in the units of the cost.
    debiased
        Whether the blur of entropy is taken out.
    tol
        Largest ``marginal_error``. None: 1e-3 debiased, else 1e-7, and 1e-4 in float32.
    max_steps
        Largest number of iterations.

    Returns
    -------
    Barycenter
        mass, marginal_error, status, converged, num_steps.

    Raises
    ------
    TypeError
        If an array is of integers, or the cost is a :class:`PointCloud`.
    ValueError
        If shapes do not fit, the matrix is not symmetric and finite, masses or weights are
        negative, sums of masses differ, weights do not sum to 1, or epsilon, tol or max_steps is
        not positive. Where values are not known (under ``jit``), the result is NaN with
        ``Status.INVALID``.

    Notes
    -----
    Convergence is linear, in some 10 to 1,000 iterations, and slower at small epsilon; debiased it
    slows down below an error of about 1e-3, since the finest details of a barycenter hardly change
    the objective. Derivatives exist in forward mode, through all iterations; in reverse mode JAX
    raises (the loop has no fixed length).
    float32 in, float32 out. Compiled here, once for each shape.

    References
    ----------
    Benamou et al. (2015), section 3.2; Janati, Cuturi & Gramfort (2020), algorithm 1.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import transport
    >>> ends = jnp.eye(9)[jnp.array([0, 8])]
    >>> middle = transport.barycenter(transport.Grid((9,)), ends, epsilon=0.5)
    >>> int(middle.mass.argmax())
    4
    """
    given, masses, weights, dtype = checked_densities(cost, masses, weights)
    epsilon = positive("epsilon", epsilon, dtype=dtype)
    if tol is None:
        tol = DEBIASED if debiased else TOLERANCE[dtype.itemsize]
    tol = positive("tol", tol)
    arrays = (given, masses, weights, epsilon, tol)
    arrays = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), arrays)
    found = _solve(*arrays, debiased=bool(debiased), max_steps=whole("max_steps", max_steps))
    if isinstance(given, Grid):
        return found._replace(mass=found.mass.reshape(given.shape))
    return found


class _State(NamedTuple):
    """epsilon log v (k, n), epsilon log d (n,), and log alpha (n,)."""

    second: jax.Array
    debias: jax.Array
    middle: jax.Array
    epsilon: jax.Array
    error: jax.Array
    status: jax.Array
    steps: jax.Array


@partial(jax.jit, static_argnames=("debiased", "max_steps"))
def _solve(
    cost: Any,
    masses: jax.Array,
    weights: jax.Array,
    epsilon: jax.Array,
    tol: jax.Array,
    *,
    debiased: bool,
    max_steps: int,
) -> Barycenter:
    costs = oriented(cost, masses.dtype, eliminate="columns")
    total = jnp.sum(masses[0])
    sums = jnp.sum(masses, 1)
    slack = BALANCE[masses.dtype.itemsize]
    valid = (
        jnp.all((masses >= 0) & jnp.isfinite(masses))
        & jnp.all((weights >= 0) & jnp.isfinite(weights))
        & (jnp.abs(jnp.sum(weights) - 1) <= slack)
        & (jnp.max(sums) - jnp.min(sums) <= slack * jnp.max(sums))
        & (jnp.min(sums) > 0)
        & (epsilon > 0)
    )
    shares = jnp.where(valid, masses / sums[:, None], 1 / masses.shape[1])
    epsilon = jnp.where(valid, epsilon, 1)
    if hasattr(cost, "ndim"):
        valid = valid & jnp.all(jnp.isfinite(cost)) & jnp.all(cost == cost.T)
    costs = costs.where(valid)
    ones = jnp.ones_like(masses[0])

    def turn(s: _State) -> _State:
        # extend(g, b) is -epsilon log(K (b exp(g / epsilon))).
        first = jax.vmap(lambda g: costs.extend(g, ones, s.epsilon))(s.second)
        back = jax.vmap(lambda f, share: costs.extend(f, share, s.epsilon))(first, shares)
        middle = s.debias - jnp.matmul(weights, back, precision=HIGHEST)
        mass = jnp.exp(middle / s.epsilon)
        own = jnp.exp((s.second - back) / s.epsilon)
        apart = jnp.sum(jnp.abs(own - mass[None]), axis=1)
        error = jnp.sum(weights * apart)
        debias = s.debias
        if debiased:
            seen = costs.extend(s.debias, ones, s.epsilon)
            error = error + jnp.sum(jnp.abs(jnp.exp((s.debias - seen) / s.epsilon) - mass))
            debias = (s.debias + middle + seen) / 2
        final = s.epsilon <= epsilon
        # Nothing has been carried back before the second turn.
        reached = (error <= jnp.where(final, tol, MIDDLE)) & (s.steps > 0)
        status = jnp.select(
            [reached & final, ~jnp.isfinite(error), s.steps + 1 >= max_steps],
            [int(Status.SUCCESS), int(Status.NONFINITE), int(Status.MAX_STEPS)],
            RUNNING,
        )
        smaller = jnp.where(reached & ~final, s.epsilon / FACTOR, s.epsilon)
        smaller = jnp.where(smaller < 1.5 * epsilon, epsilon, smaller)
        return _State(
            second=middle[None] + back,
            debias=debias,
            middle=middle / s.epsilon,
            epsilon=smaller,
            error=error,
            status=status.astype(jnp.int32),
            steps=s.steps + 1,
        )

    zero = jnp.zeros_like(masses[0])
    start = _State(
        second=jnp.zeros_like(masses),
        debias=zero,
        middle=zero,
        epsilon=jnp.maximum(epsilon, costs.largest() / 2),
        error=jnp.asarray(jnp.inf, masses.dtype),
        status=jnp.int32(RUNNING),
        steps=jnp.int32(0),
    )
    last = jax.lax.while_loop(lambda s: s.status == RUNNING, turn, start)
    mass = jax.nn.softmax(last.middle)
    nan = jnp.where(valid, 0, jnp.nan).astype(masses.dtype)
    status = jnp.where(valid, last.status, int(Status.INVALID)).astype(jnp.int32)
    return Barycenter(
        mass=total * mass + nan,
        marginal_error=last.error + nan,
        status=status,
        converged=status == int(Status.SUCCESS),
        num_steps=last.steps,
    )
