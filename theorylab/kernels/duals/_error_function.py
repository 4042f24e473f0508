r"""The error function, ``a erf(b x) + c``, and the arcsine rows that ``gelu`` shares.

For ``erf`` itself, with :math:`Q_i = 1 + 2 q_i`, :math:`\alpha_i = \arcsin(2 q_i/Q_i)` and
:math:`Y = 2k/\sqrt{Q_1 Q_2}`,

.. math::

    q' = \tfrac2\pi \alpha, \qquad k' = \tfrac2\pi \arcsin Y, \qquad
    \dot K = \frac4\pi \big(Q_1 Q_2 - 4 k^2\big)^{-1/2} .

The gap :math:`g' = \frac2\pi\big(\frac{\alpha_1 + \alpha_2}{2} - \arcsin Y\big)` is a difference of
two arcsines. With :math:`\sigma, \tau` half the sum and half the difference of the
:math:`\alpha_i`, :math:`X = \sin\sigma`, :math:`C = \cos\sigma`, :math:`V = q_1 q_2 - k^2` and

.. math::

    N = X^2 - Y^2 = \sin^2\tau + \frac{4V}{Q_1 Q_2}, \qquad C_2 = \sqrt{1 - Y^2} = \sqrt{C^2 + N},

it is :math:`g' = \frac2\pi \operatorname{atan2}(X C_2 - Y C,\; X Y + C C_2)`, whose first argument
is :math:`N/(X C_2 + Y C)` for :math:`k > 0`: nothing cancels. :math:`V = q_1 q_2\, c (2 - c)` with
the correlation gap :math:`c`. (The first identity is
:math:`\sin\alpha_1 \sin\alpha_2 = \sin^2\sigma - \sin^2\tau`.) A factor ``b`` enters as
:math:`q \to b^2 q`, ``a`` as :math:`a^2`, ``c`` adds :math:`c^2` to :math:`q'` and :math:`k'`.

Source: Williams, "Computing with infinite networks", 1997, eq. 11; the gap is derived here.

Differs from the reference:

1. The gap has a formula of its own, free of cancellation.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from theorylab._numerics import outer_difference
from theorylab.kernels._units import Pair
from theorylab.kernels.duals._base import Scalar, Smooth, SmoothPair, dual
from theorylab.layers import Erf


class ArcsineGap(NamedTuple):
    """What ``erf`` and ``gelu`` need of a pair; see the module docstring.

    Attributes
    ----------
    gap
        ``(alpha1 + alpha2)/2 - arcsin Y``, (n1, n2).
    arcsine
        ``arcsin Y``.
    y
        ``Y``.
    c2
        ``sqrt(1 - Y^2)``.
    spread
        ``tau``, half the difference of the alphas.
    determinant
        ``V = q1 q2 - k^2``.
    """

    gap: Array
    arcsine: Array
    y: Array
    c2: Array
    spread: Array
    determinant: Array


def arcsine_row(q: Array) -> Array:
    """``arcsin(2 q / (1 + 2 q))`` for rows: ``atan2`` keeps its accuracy at large ``q``."""
    return jnp.atan2(2 * q, jnp.sqrt(1 + 4 * q))


def arcsine_gap(p: Pair) -> ArcsineGap:
    """The arcsine quantities for ``Q = 1 + 2 q``, (n1, n2), in the dtype of the gap."""
    dtype = p.gap.dtype
    alpha1, alpha2 = arcsine_row(p.q1), arcsine_row(p.q2)
    sin1, cos1, sin2, cos2 = (
        f(alpha / 2).astype(dtype) for alpha in (alpha1, alpha2) for f in (jnp.sin, jnp.cos)
    )
    # cos(alpha/2 + alpha'/2) as the sine of half the sum of the complements: positive terms.
    beta1, beta2 = (jnp.atan2(jnp.sqrt(1 + 4 * q), 2 * q) for q in (p.q1, p.q2))
    sinb1, cosb1, sinb2, cosb2 = (
        f(beta / 2).astype(dtype) for beta in (beta1, beta2) for f in (jnp.sin, jnp.cos)
    )
    x = sin1 * cos2 + cos1 * sin2
    c = sinb1 * cosb2 + cosb1 * sinb2
    inverse1, inverse2 = ((1 / (1 + 2 * q)).astype(dtype) for q in (p.q1, p.q2))
    root1, root2 = (jnp.sqrt(1 / (1 + 2 * q)).astype(dtype) for q in (p.q1, p.q2))
    tau = outer_difference(alpha1, alpha2, dtype) / 2
    v1, v2 = (p.q1 * 2 / (1 + 2 * p.q1)).astype(dtype), (p.q2 * 2 / (1 + 2 * p.q2)).astype(dtype)
    # 4 V / (Q1 Q2), from factors that stay in [0, 1] however large the variances are.
    reduced = v1 * v2 * p.correlation_gap * (2 - p.correlation_gap)
    y = 2 * (p.cov * root1) * root2
    n = jnp.sin(tau) ** 2 + reduced
    c2 = jnp.sqrt(c**2 + n)
    same_side = y > 0
    total = jnp.where(same_side, x * c2 + y * c, 1)
    numerator = jnp.where(same_side, n / total, x * c2 - y * c)
    gap = jnp.atan2(numerator, x * y + c * c2)
    determinant = reduced / (4 * inverse1 * inverse2)
    return ArcsineGap(gap, jnp.atan2(y, c2), y, c2, tau, determinant)


def error_function(a: Scalar, b: Scalar, c: Scalar) -> Smooth:
    """Dual of ``a erf(b x) + c``; see the module docstring."""
    power, rate, offset = a * a, b * b, c * c

    def variance(q: Array) -> Array:
        return power * 2 / jnp.pi * arcsine_row(rate * q) + offset

    def slope(q: Array) -> Array:
        return power * rate * (4 / jnp.pi) / jnp.sqrt(1 + 4 * rate * q)

    def pairwise(p: Pair) -> SmoothPair:
        dtype = p.gap.dtype
        amplitude, b2, shift = (jnp.asarray(v, dtype) for v in (power, rate, offset))
        q1, q2 = rate * p.q1, rate * p.q2
        arcs = arcsine_gap(Pair(q1, q2, b2 * p.gap, b2 * p.cov, p.correlation_gap))
        root1, root2 = (jnp.sqrt(1 / (1 + 2 * q)).astype(dtype) for q in (q1, q2))
        return SmoothPair(
            gap=amplitude * (2 / jnp.pi) * arcs.gap,
            cov=amplitude * (2 / jnp.pi) * arcs.arcsine + shift,
            k_dot=amplitude * b2 * (4 / jnp.pi) * root1 * root2 / arcs.c2,
        )

    return Smooth(variance, slope, pairwise, vanishes=jnp.asarray(c) == 0)


@dual.register
def _(activation: Erf) -> Smooth:
    return error_function(activation.a, activation.b, activation.c)
