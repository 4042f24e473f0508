r"""How many entries a plan needs, and what a Newton step with fewer is worth.

*The rate of a sparse Newton step.* Near the solution z of the dual of both potentials a full step
with the matrix M in place of the Hessian H multiplies the error by :math:`1 - M^{-1} H`. In
coordinates in which the masses are the identity, for a plan P with masses r and c,

.. math::

    H = I + \begin{pmatrix} 0 & K \\ K^\top & 0 \end{pmatrix}, \quad
    M = H - E, \quad E = \begin{pmatrix} 0 & R \\ R^\top & 0 \end{pmatrix}, \qquad
    K = D_r^{-1/2} P D_c^{-1/2},

where R is the part of K that is dropped: the diagonal of M holds the sums of the whole plan. Hence
the error falls by the factor

.. math:: \rho = \max |\theta|, \qquad -E v = \theta M v,

over modes v but the one that moves a constant between the potentials and changes nothing. Since
:math:`v^\top H v = 1 - \theta` where :math:`v^\top M v = 1`, a mode moves the mass
:math:`(1 - \theta) / |v|^2`; modes that move less than the tolerance are not seen in the marginal
error and are left out, the constant among them.

*Dropped mass over smallest eigenvalue.* Let :math:`\lambda = 1 - \sigma_2(K)` be the smallest
eigenvalue of H but 0, and d the norm of E, which is that of R: at most the largest share of its
mass that a point loses. For v orthogonal to the null vector of H, of norm 1 and with
:math:`h = v^\top H v \ge \lambda`,

.. math::

    \frac{v^\top H v}{v^\top M v} = \frac{h}{h - v^\top E v} \ge \frac{h}{h + d}
        \ge \frac{\lambda}{\lambda + d},

so that by Courant and Fischer, with this subspace of codimension 1, all :math:`\theta` but the one
of the constant are at most :math:`d / (\lambda + d)`: small where d is small against
:math:`\lambda`, and near 1, a stall, where it is not. On the other side :math:`\theta \ge -1`,
since :math:`M \pm E` have no negative eigenvalue.

A sweep of Sinkhorn's method multiplies the error by :math:`\sigma_2(K)^2`, near the solution.
"""

from typing import NamedTuple

import numpy as np
from scipy import linalg

RIDGE = 1e-13  # added to M: rounding of sums of its rows, which are 2


class Rates(NamedTuple):
    r"""Of a plan and a number of entries kept.

    ``rate``: :math:`\rho`. ``slow``: the largest :math:`\theta`, and ``bound`` what it cannot
    exceed. ``gap``: :math:`\lambda`; ``dropped``: d; ``mass``: the mass that is dropped, of all.
    """

    rate: float
    slow: float
    bound: float
    gap: float
    dropped: float
    mass: float


def needed(plan: np.ndarray, short: float) -> int:
    """Return the least number of entries that hold all but a share ``short`` of the mass.

    Examples
    --------
    >>> needed(np.array([[0.5, 0.3], [0.15, 0.05]]), 0.1)
    3
    """
    held = np.cumsum(np.sort(plan, axis=None)[::-1])
    return int(np.searchsorted(held, (1 - short) * held[-1])) + 1


def largest(plan: np.ndarray, count: int) -> np.ndarray:
    """Return the plan with all but its ``count`` largest entries set to 0.

    Examples
    --------
    >>> largest(np.array([[0.5, 0.3], [0.15, 0.05]]), 2).tolist()
    [[0.5, 0.3], [0.0, 0.0]]
    """
    kept = np.zeros(plan.size)
    places = np.argsort(-plan, axis=None, kind="stable")[:count]
    kept[places] = plan.ravel()[places]
    return kept.reshape(plan.shape)


def rates(plan: np.ndarray, count: int, tol: float) -> Rates:
    """Return the rate of Newton steps with the ``count`` largest entries of a plan (n, m).

    ``tol`` is the mass that a mode must move to count.

    Examples
    --------
    >>> plan = np.array([[0.4, 0.1], [0.1, 0.4]])
    >>> found = rates(plan, 2, 1e-9)  # dropped: entries 0.1 of rows that sum to 0.5
    >>> round(found.gap, 6), round(found.dropped, 6), round(found.slow, 6), round(found.bound, 6)
    (0.4, 0.2, 0.111111, 0.333333)
    >>> round(found.rate, 6)  # a mode for which the step is twice too long
    1.0
    """
    roots = np.sqrt(plan.sum(axis=1)), np.sqrt(plan.sum(axis=0))
    outer = roots[0][:, None] * roots[1]
    kept = largest(plan, count)
    rest = (plan - kept) / outer
    m = np.eye(sum(plan.shape)) * (1 + RIDGE) + _symmetric(kept / outer)
    theta, modes = linalg.eigh(-_symmetric(rest), m)
    seen = theta[(1 - theta) / (modes**2).sum(axis=0) > tol]
    # Where there is one mode, or none is seen, nothing is left to converge.
    seen = seen if seen.size else np.zeros(1)
    gap = 1 - linalg.svdvals(plan / outer)[1] if min(plan.shape) > 1 else 1.0
    dropped = linalg.svdvals(rest)[0]
    gap = max(gap, np.finfo(float).eps)
    return Rates(
        rate=float(np.abs(seen).max()),
        slow=float(seen.max()),
        bound=float(dropped / (gap + dropped)),
        gap=float(gap),
        dropped=float(dropped),
        mass=float((plan - kept).sum() / plan.sum()),
    )


def _symmetric(block: np.ndarray) -> np.ndarray:
    n = len(block)
    whole = np.zeros((sum(block.shape),) * 2)
    whole[:n, n:], whole[n:, :n] = block, block.T
    return whole
