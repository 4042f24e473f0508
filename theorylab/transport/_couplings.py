r"""Couplings of two clouds of points, to train flow matching with.

Flow matching regresses a velocity on pairs (x, y). Pairs drawn independently give crossing paths;
pairs drawn from an entropic transport plan give shorter ones (``"newton"``). It is cheaper to draw
pairs independently and to weight their losses (``"gibbs"``). What the weights stand for is the plan

.. math::

    P_{ij} = \frac{a_i b_j}{Z}\, e^{-c(x_i, y_j) / \varepsilon}, \qquad
    Z = \sum_{ij} a_i b_j\, e^{-c(x_i, y_j) / \varepsilon},

in which nothing makes the sums over rows and columns a and b: a flow that is trained so starts and
ends elsewhere. The entropic plan is the same with :math:`c - f - g` for c, potentials that do.

Differs from the paper / reference:
  1. Tong et al. (2023), "Improving and generalizing flow-based generative models with minibatch
     optimal transport", draw pairs of a minibatch from its plan without entropy, as a rule; here
     from the entropic one.
  2. Calvo-Ordoñez et al. (2025), "Weighted conditional flow matching", weight by
     :math:`e^{-c/\varepsilon}`; here divided by Z, so that the mean weight is 1 and the learning
     rate keeps its meaning.
  3. They give conditions under which marginals are nearly kept; here the error is measured, and
     decides ``converged``.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from theorylab._numerics import known
from theorylab.transport._arguments import (
    checked_masses,
    checked_points,
    positive,
    whole,
)
from theorylab.transport._costs import CostFunction
from theorylab.transport._draws import pairs
from theorylab.transport._gibbs import gibbs
from theorylab.transport._results import Status
from theorylab.transport._solve import TOLERANCE, solve

KINDS = ("newton", "gibbs")


class Coupling(NamedTuple):
    r"""A coupling of x and y, and how far its marginals are from what was asked for.

    Attributes
    ----------
    plan
        (n, m), of the mass of a; behind the leading axis of a batch, as everything here.
    marginal_error
        L1 errors of the sums of ``plan`` over rows and over columns, added; relative to the mass,
        as ``tol`` is.
    status, converged
        A :class:`Status` (int32), and whether it is ``SUCCESS``, which is: both marginals of
        ``plan`` are met within ``tol``.
    a, b
        (n,), (m,): the masses asked for, b brought to the sum of a.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import transport
    >>> x, y = jnp.array([[0.0], [1.0]]), jnp.array([[0.1], [1.2]])
    >>> c = transport.coupling(x, y, epsilon=0.01)
    >>> i, j = c.sample(jax.random.key(0), 100)
    >>> bool((i == j).all()), bool(((i == 0).sum() > 30) & ((i == 1).sum() > 30))
    (True, True)
    """

    plan: jax.Array
    marginal_error: jax.Array
    status: jax.Array
    converged: jax.Array
    a: jax.Array
    b: jax.Array

    def weights(self) -> jax.Array:
        r"""Loss weights (n, m) of pairs drawn independently: ``plan`` over that of a and b.

        For ``"gibbs"`` :math:`e^{-c(x_i, y_j)/\varepsilon} / Z`. Their mean over independent pairs
        is 1; 0 where there is no mass. Pairs (x_i, y_i) of a minibatch take the diagonal.
        """
        return _density(self.plan, self.a, self.b)

    def sample(self, key: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
        """Draw pairs from the plan, independently and with replacement.

        Parameters
        ----------
        key
            ``jax.random.key(seed)``, a single one.
        count
            How many pairs, for each problem of a batch.

        Returns
        -------
        (i, j)
            (count,) int32 each, behind the axis of a batch: pairs ``x[i], y[j]``. A pair of which
            the plan has nothing is never drawn.

        Raises
        ------
        TypeError
            If the key is not a typed one.
        ValueError
            If count is not a positive whole number, or the plan is NaN. Where that is not known
            (under ``jit``) pairs of a plan that is NaN are (0, 0).

        Notes
        -----
        Rows are drawn first, then columns within the row, in count x m memory. Probabilities are
        rounded to the spacing of the dtype near 1: in float32 rows and entries of a row below 6e-8
        of their sum may be missed.
        """
        if not isinstance(key, jax.Array) or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
            got = f"an array of {key.dtype}" if hasattr(key, "dtype") else repr(key)
            raise TypeError(f"key must be a typed JAX key, jax.random.key(seed), got {got}")
        if key.shape != ():
            raise ValueError(f"key must be a single key, got an array of keys of shape {key.shape}")
        values = known(self.plan)
        if values is not None and np.isnan(values).any():
            raise ValueError("plan must not be NaN to be drawn from; status says why it is")
        return pairs(key, self.plan, count=whole("count", count))


def coupling(
    x: ArrayLike,
    y: ArrayLike,
    *,
    kind: str = "newton",
    epsilon: Any,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    cost: str | CostFunction = "sqeuclidean",
    tol: Any = None,
) -> Coupling:
    r"""Couple two clouds of points, for training flow matching.

    .. math::

        P_{ij} = a_i b_j\, e^{(f_i + g_j - c(x_i, y_j)) / \varepsilon} \quad (\text{newton}), \qquad
        P_{ij} = \frac{a_i b_j}{Z}\, e^{-c(x_i, y_j) / \varepsilon} \quad (\text{gibbs})

    Parameters
    ----------
    x, y
        (n, d) and (m, d), or batches (B, n, d) and (B, m, d).
    kind
        ``"newton"``: the entropic transport plan, by :func:`theorylab.transport.solve`.
        ``"gibbs"``: what weights :math:`e^{-c/\varepsilon}` on independent pairs stand for, in one
        pass. Its marginals are **not** a and b, in general; see Notes.
    epsilon
        :math:`\varepsilon > 0` in the units of the cost, an absolute number. In a batch also (B,).
    a, b
        (n,), (m,) masses with equal sums; zeros are allowed. None: uniform, summing to 1. A batch
        may share them.
    cost
        ``"sqeuclidean"``, ``"euclidean"``, or a function of two points, as of :class:`PointCloud`.
    tol
        Largest L1 error of both marginals, summed, relative to the mass. None: 1e-9, and 2e-5 in
        float32.

    Returns
    -------
    Coupling
        plan (n, m), marginal_error, status, converged, a, b; ``.sample(key, count)``,
        ``.weights()``. A Gibbs plan whose marginals are off by more than ``tol`` is as it was
        asked for, but not ``converged``: its status is ``BIASED``. One of ``"newton"`` has the
        status of the solution.

    Raises
    ------
    TypeError
        If an array is of integers or complex numbers.
    ValueError
        If shapes do not fit or are empty, points are not finite, the kind is unknown, epsilon or
        tol is not positive, masses are negative or their sums differ. Where values are not known
        (under ``jit``) the result is NaN with ``Status.INVALID`` instead.

    Notes
    -----
    Limits of ``"gibbs"``. Marginals hold where the mean of :math:`e^{-c/\varepsilon}` over the
    other cloud is the same for every point. Two Gaussians :math:`N(0, s^2)` and :math:`N(m, s^2)`
    with squared costs keep neither mean: a flow trained on their coupling moves the first by
    :math:`m \varepsilon / (\varepsilon + 4 s^2)` in place of m, and not at all as epsilon goes to 0
    (``experiments/weighted_flow_matching.py`` has the derivation).

    Of a minibatch ``"newton"`` is the plan of that minibatch, which depends on its size and, over
    many minibatches, is not the plan of the distributions.

    Weights are formed from differences of logarithms, the largest being 0, so that none is 0 / 0
    however small epsilon is. float32 in, float32 out; half precision is computed in float32. A
    Gibbs weight that is smaller than the largest by a factor :math:`e^{-z}` has a relative error of
    about 1e-7 z in float32. Plans have derivatives in points, masses and epsilon; those of
    ``"newton"`` cost one solution with its Hessian. Compiled here, once for each shape.

    References
    ----------
    Tong et al. (2023), "Improving and generalizing flow-based generative models with minibatch
    optimal transport"; Calvo-Ordoñez et al. (2025), "Weighted conditional flow matching",
    arXiv:2507.22270.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import transport
    >>> x, y = jnp.array([[0.0], [1.0]]), jnp.array([[1.0], [3.0]])
    >>> c = transport.coupling(x, y, kind="gibbs", epsilon=2.0)
    >>> transport.Status(int(c.status)).name, bool(c.converged)
    ('BIASED', False)
    >>> [round(float(p), 2) for p in c.plan.sum(1)]  # not 0.5: x[1] is nearer to both
    [0.35, 0.65]
    >>> [round(float(p), 2) for p in transport.coupling(x, y, epsilon=2.0).plan.sum(1)]
    [0.5, 0.5]
    """
    cloud, shape = checked_points(x, y, cost)
    given = [jnp.asarray(mass) for mass in (a, b) if mass is not None]
    dtype = jnp.result_type(*(leaf.dtype for leaf in (cloud.x, cloud.y, *given)))
    dtype = np.dtype(np.float32) if dtype.itemsize < 4 else np.dtype(dtype)
    a, b = checked_masses(a, b, shape, dtype)
    batch = shape[0] if len(shape) == 3 else None
    epsilon = positive("epsilon", epsilon, batch, dtype)
    tol = positive("tol", TOLERANCE[dtype.itemsize] if tol is None else tol, batch)
    if kind not in KINDS:
        raise ValueError(f"kind must be 'newton' or 'gibbs', got {kind!r}")
    tol = jnp.asarray(tol, dtype)
    if kind == "gibbs":
        arrays = (jnp.asarray(leaf, dtype) for leaf in (a, b, epsilon))
        cloud = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), cloud)
        plan, a, b, status = gibbs(cloud, *arrays)
        return _assessed(plan, a, b, tol, status, int(Status.BIASED))
    found = solve(cloud, a, b, epsilon=epsilon, tol=tol)
    return _assessed(found.plan(), found.a, found.b, tol, found.status, int(Status.STALLED))


@partial(jax.jit, static_argnames="otherwise")
def _assessed(
    plan: jax.Array, a: jax.Array, b: jax.Array, tol: jax.Array, status: jax.Array, otherwise: int
) -> Coupling:
    """The coupling whose success is what its own marginals say."""
    plan = jnp.where((status == int(Status.INVALID))[..., None, None], jnp.nan, plan)
    rows, columns = jnp.abs(jnp.sum(plan, -1) - a), jnp.abs(jnp.sum(plan, -2) - b)
    error = (jnp.sum(rows, -1) + jnp.sum(columns, -1)) / jnp.sum(a, -1)
    off = (status == int(Status.SUCCESS)) & ~(error <= tol)
    status = jnp.where(off, otherwise, status).astype(jnp.int32)
    return Coupling(plan, error, status, status == int(Status.SUCCESS), a, b)


@jax.jit
def _density(plan: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    live = (a[..., :, None] > 0) & (b[..., None, :] > 0)
    mass = jnp.sum(a, -1)[..., None, None]
    over_a = plan / jnp.where(live, a[..., :, None], 1)
    return jnp.where(live, over_a * (mass / jnp.where(live, b[..., None, :], 1)), 0)
