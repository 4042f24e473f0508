r"""The debiased Sinkhorn divergence between two clouds of points.

Differs from the paper / reference:
  1. Feydy et al. (2019), "Interpolating between optimal transport and MMD using Sinkhorn
     divergences", whose cost is often :math:`\|x - y\|^p / p`; here it is not divided by p.
  2. The two problems of a cloud with itself are solved by Newton's method like the other one, not
     by the averaged symmetric sweep.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from theorylab.transport._arguments import checked_points
from theorylab.transport._costs import PointCloud
from theorylab.transport._results import Solution, Status
from theorylab.transport._solve import solve

COSTS = {1: "euclidean", 2: "sqeuclidean"}


class Divergence(NamedTuple):
    r"""A Sinkhorn divergence and the three problems that it is made of.

    Attributes
    ----------
    value
        :math:`S_\varepsilon`, in the units of the cost; ``float()`` of the record is this number.
    status, converged
        The first :class:`Status` of the three that is not ``SUCCESS``, and whether there is none.
    between, first, second
        :class:`Solution` of x with y, of x with itself, and of y with itself.

    Examples
    --------
    >>> from theorylab.transport import Divergence
    >>> Divergence._fields
    ('value', 'status', 'converged', 'between', 'first', 'second')
    """

    value: jax.Array
    status: jax.Array
    converged: jax.Array
    between: Solution
    first: Solution
    second: Solution

    def __float__(self) -> float:
        return float(self.value)


def divergence(
    x: ArrayLike,
    y: ArrayLike,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    epsilon: Any,
    p: int = 2,
    block: int | None = None,
    **options: Any,
) -> Divergence:
    r"""Sinkhorn divergence: entropic transport, less what a cloud costs to itself.

    .. math::

        S_\varepsilon = \mathrm{OT}_\varepsilon(x, y) - \tfrac12 \mathrm{OT}_\varepsilon(x, x)
            - \tfrac12 \mathrm{OT}_\varepsilon(y, y), \qquad C_{ij} = \|x_i - y_j\|^p

    with :math:`\mathrm{OT}_\varepsilon` the value of :func:`solve`. It is not negative, 0 where the
    clouds are the same, and goes to the unregularised cost as epsilon goes to 0.

    Parameters
    ----------
    x, y
        (n, d), (m, d) points, or batches of them.
    a, b
        (n,), (m,) masses with equal sums; None: uniform, summing to 1.
    epsilon
        Positive, in the units of the cost, length^p.
    p
        2: squared Euclidean distance; 1: Euclidean distance.
    block
        As of :class:`PointCloud`.
    **options
        Of :func:`solve`: ``method``, ``tol``, ``max_steps`` and the method's own.

    Returns
    -------
    Divergence
        value, status, converged, and the three solutions.

    Raises
    ------
    TypeError, ValueError
        As :func:`solve` does; also if p is neither 1 nor 2.

    Notes
    -----
    Derivatives in points, masses and epsilon follow from the envelope theorem. In float32 the
    difference of three values loses digits where clouds nearly agree: its error is about 1e-7 of
    the values themselves.

    References
    ----------
    Feydy et al. (2019), equation 3.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import transport
    >>> x = jnp.array([[0.0], [1.0], [2.0]])
    >>> round(float(transport.divergence(x, x + 3, epsilon=0.5)), 4)  # a shift costs its square
    9.0
    """
    if p not in COSTS:
        raise ValueError(f"p must be 1 or 2, got {p!r}")

    checked_points(x, y, COSTS[p], block)

    def between(x: Any, y: Any, a: Any, b: Any) -> Solution:
        return solve(PointCloud(x, y, COSTS[p], block), a, b, epsilon=epsilon, **options)

    both, first, second = between(x, y, a, b), between(x, x, a, a), between(y, y, b, b)
    status = both.status
    for other in (first, second):
        status = jnp.where(status == int(Status.SUCCESS), other.status, status)
    value = both.value - (first.value + second.value) / 2
    return Divergence(value, status, status == int(Status.SUCCESS), both, first, second)
