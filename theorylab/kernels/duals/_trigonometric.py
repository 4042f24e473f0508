r"""Sine, cosine and random Fourier features: ``a sin(b x + c)``.

With :math:`E = e^{-b^2 g}`, :math:`H = e^{-b^2 (m + k)}`, :math:`m = (q_1 + q_2)/2`, the gap
:math:`g = m - k` and :math:`z = \cos 2c`,

.. math::

    k' = \tfrac{a^2}{2} (E - z H), \qquad \dot K = \tfrac{a^2 b^2}{2} (E + z H), \qquad
    q' = \tfrac{a^2}{2} (1 - z e^{-2 b^2 q}),

    g' = \tfrac{a^2}{2} \big[ (1 - E)(1 + z H) - \tfrac z2 (e^{-b^2 q_1} - e^{-b^2 q_2})^2 \big],

from :math:`E \sin(\cdot)\sin(\cdot) = \frac12 E[\cos(\text{difference}) - \cos(\text{sum})]`.
:math:`1 - E` is formed without cancellation.

Source: Rahimi and Recht, "Random features for large-scale kernel machines", 2007 (``Rbf``);
Louart, Liao and Couillet, "A random matrix approach to neural networks", 2018, table 1.

Differs from the reference:

1. The gap has a formula of its own.
"""

import math

import jax.numpy as jnp
from jax import Array

from theorylab._numerics import outer_difference
from theorylab.kernels._units import Pair
from theorylab.kernels.duals._base import Scalar, Smooth, SmoothPair, dual
from theorylab.layers import Cos, Rbf, Sin


def sinusoid(a: Scalar, b: Scalar, z: Scalar) -> Smooth:
    """Dual of ``a sin(b x + c)`` with ``z = cos(2 c)``; see the module docstring."""
    power, rate = a * a / 2, b * b

    def variance(q: Array) -> Array:
        # 1 - z e = (1 - z) + z (1 - e): exact where z = 1 and q is small.
        return power * ((1 - z) - z * jnp.expm1(-2 * rate * q))

    def slope(q: Array) -> Array:
        return power * rate * (1 + z * jnp.exp(-2 * rate * q))

    def pairwise(p: Pair) -> SmoothPair:
        dtype = p.gap.dtype
        amplitude, b2, phase = (jnp.asarray(v, dtype) for v in (power, rate, z))
        m = (p.q1 / 2).astype(dtype) + (p.q2 / 2).astype(dtype)
        e = jnp.exp(-b2 * p.gap)
        h = jnp.exp(-b2 * (m + p.cov))
        rows = outer_difference(jnp.expm1(-rate * p.q1), jnp.expm1(-rate * p.q2), dtype)
        gap = amplitude * (-jnp.expm1(-b2 * p.gap) * (1 + phase * h) - phase * rows**2 / 2)
        # E - z H = (1 - z) E + z (E - H), and E - H = -E expm1(-2 b^2 k) = H expm1(2 b^2 k).
        positive = p.cov >= 0
        above, below = jnp.where(positive, p.cov, 0), jnp.where(positive, 0, p.cov)
        contrast = h * jnp.expm1(2 * b2 * below) - e * jnp.expm1(-2 * b2 * above)
        cov = amplitude * ((1 - phase) * e + phase * contrast)
        return SmoothPair(gap, cov, amplitude * b2 * (e + phase * h))

    return Smooth(variance, slope, pairwise, vanishes=jnp.asarray(z) == 1)


@dual.register
def _(activation: Sin) -> Smooth:
    return sinusoid(activation.a, activation.b, jnp.cos(2 * jnp.asarray(activation.c)))


@dual.register
def _(activation: Cos) -> Smooth:
    return sinusoid(activation.a, activation.b, -jnp.cos(2 * jnp.asarray(activation.c)))


@dual.register
def _(activation: Rbf) -> Smooth:
    rate = jnp.sqrt(2 * jnp.asarray(activation.gamma))
    return sinusoid(math.sqrt(2), rate, jnp.zeros_like(rate))
