r"""The Gaussian error linear unit, ``x Phi(x)``.

With :math:`P = 1 + q_1`, :math:`R = 1 + q_2`, :math:`m = (q_1+q_2)/2`, :math:`M = 1 + m`,
:math:`V = q_1 q_2 - k^2`, :math:`\det = 1 + 2m + V`, :math:`A = \arcsin(k/\sqrt{PR})` and
:math:`D = 1/(2\pi\sqrt{\det})`,

.. math::

    k' &= k \Big(\frac14 + \frac{A}{2\pi}\Big) + D \Big[V + k^2\Big(\frac1P + \frac1R\Big)\Big], \\
    \dot K &= \frac14 + \frac{A}{2\pi} + k D \Big(\frac1P + \frac1R + \frac1{\det}\Big), \\
    q' &= \frac q4 + \frac{q\,\alpha}{2\pi} + \frac{q^2}{\pi (1+q)\sqrt{1+2q}}, \qquad
    \alpha = \arcsin\frac{q}{1+q} .

The gap is, with :math:`G_A = (\alpha_1+\alpha_2)/2 - A` from
:func:`theorylab.kernels.duals._error_function.arcsine_gap` at half the variances,
:math:`\tau = (\alpha_1 - \alpha_2)/2` and :math:`\delta = q_1 - q_2`,

.. math:: g' = \frac g4 + \frac{1}{2\pi}\Big[\frac{\delta\tau}{2} + m G_A + g A + S\Big],

where :math:`S`, the second difference of :math:`e(q) = 2q^2/((1+q)\sqrt{1+2q})` and the
determinant's share, is proportional to :math:`V` and to the square of
:math:`o = w_1 - w_2`, :math:`w_i = \sqrt{1 + 2 q_i}`: with :math:`w = \sqrt{1+2m}`,
:math:`w' = \sqrt{\det}`, :math:`s = (w_1+w_2)/2`, :math:`\eta = o^2/(4(s + w))`,

.. math::

    S = -\eta + \frac{\eta (3w - 2\eta)}{w_1 w_2 w} + \frac{2 \eta M + s\, o^2/2}{P R}
        - \frac{V}{w'} \Big[\frac{q_1 q_2 - 1}{P R} - \frac{2 q_1 q_2 M}{P R\, w (w + w')}\Big] .

Pairs are formed in the wide dtype: in float32 the terms of the gap cancel at points that are
parallel and of different lengths, and the error grew to 4e-6 of the diagonal in ten layers.

Source: Tsuchida, Pearce, van der Heide, Roosta and Gallagher, "Avoiding kernel fixed points", 2021,
for :math:`k'`; the gap is derived here.

Differs from the reference:

1. The gap has a formula of its own; :math:`V` comes from the correlation gap.
2. ``Gelu(approximate=True)`` changes the finite network only.
"""

import jax.numpy as jnp
from jax import Array

from theorylab._numerics import outer_difference
from theorylab.kernels._units import Pair
from theorylab.kernels.duals._base import Smooth, SmoothPair, dual
from theorylab.kernels.duals._error_function import arcsine_gap, arcsine_row
from theorylab.layers import Gelu


def _variance(q: Array) -> Array:
    root = jnp.sqrt(1 + 2 * q)
    return q / 4 + q * arcsine_row(q / 2) / (2 * jnp.pi) + q * (q / (1 + q)) / (jnp.pi * root)


def _slope(q: Array) -> Array:
    root = jnp.sqrt(1 + 2 * q)
    tails = 2 / (1 + q) + 1 / (1 + 2 * q)
    return 0.25 + arcsine_row(q / 2) / (2 * jnp.pi) + q * tails / (2 * jnp.pi * root)


def _pairwise(p: Pair) -> SmoothPair:
    dtype = p.gap.dtype
    half = Pair(p.q1 / 2, p.q2 / 2, p.gap / 2, p.cov / 2, p.correlation_gap)
    arcs = arcsine_gap(half)
    k, g = p.cov, p.gap
    q1, q2 = p.q1.astype(dtype), p.q2.astype(dtype)
    inv_p, inv_r = (1 / (1 + p.q1)).astype(dtype), (1 / (1 + p.q2)).astype(dtype)
    m = (p.q1 / 2).astype(dtype) + (p.q2 / 2).astype(dtype)
    delta = outer_difference(p.q1, p.q2, dtype)
    v = 4 * arcs.determinant
    w = jnp.sqrt(1 + 2 * m)
    det = 1 + 2 * m + v
    w_det = jnp.sqrt(det)
    density = 1 / (2 * jnp.pi * w_det)
    level = 0.25 + arcs.arcsine / (2 * jnp.pi)

    w1, w2 = jnp.sqrt(1 + 2 * p.q1), jnp.sqrt(1 + 2 * p.q2)
    o = outer_difference(w1, w2, dtype)
    w1, w2 = w1.astype(dtype), w2.astype(dtype)
    s = (w1 + w2) / 2
    eta = o**2 / (4 * (s + w))
    big_m = 1 + m
    inv_pr = inv_p * inv_r
    rows = -eta + eta * (3 * w - 2 * eta) / (w1 * w2 * w)
    rows = rows + (2 * eta * big_m + s * o**2 / 2) * inv_pr
    products = (q1 * inv_p) * (q2 * inv_r)
    bracket = products - inv_pr - 2 * products * big_m / (w * (w + w_det))
    second = rows - v / w_det * bracket
    gap = g / 4 + (delta * arcs.spread / 2 + m * arcs.gap + g * arcs.arcsine + second) / (
        2 * jnp.pi
    )
    cov = k * level + density * (v + k * (k * (inv_p + inv_r)))
    k_dot = level + k * density * (inv_p + inv_r + 1 / det)
    return SmoothPair(gap, cov, k_dot)


GELU = Smooth(_variance, _slope, _pairwise, degree=1, vanishes=True, wide=True)
"""Dual of ``x Phi(x)``; see the module docstring."""


@dual.register
def _(activation: Gelu) -> Smooth:
    return GELU
