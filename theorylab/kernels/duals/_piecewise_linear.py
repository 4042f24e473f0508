r"""Piecewise-linear activations: ``a min(x, 0) + b max(x, 0)`` and its special cases.

With :math:`\rho, \kappa` of :func:`theorylab._numerics.arccosine_pair` and the gap :math:`c`,

.. math::

    \frac{q'}{q} = \frac{a^2 + b^2}{2}, \qquad
    c' = \frac{(a - b)^2 \rho(c) + 2 a b\, c}{a^2 + b^2}, \qquad
    \dot K = \frac{(a - b)^2}{2} \kappa(c) + a b .

Every term of :math:`c'` vanishes with :math:`c`, so nothing cancels near parallel inputs (for
:math:`ab < 0` the two terms subtract, and lose at most one digit for ``Abs``, where
:math:`c' = 2 (2\rho - c)/2`). The NTK has a cusp at parallel and antiparallel inputs; its
derivative there is the mean of the one-sided ones.

Source: Cho and Saul, "Kernel methods for deep learning", 2009, eqs. 3-6 (:math:`a = 0`).

Differs from the reference:

1. Written in the gap, not the cosine.
2. ``a = b = 0`` gives zero kernels and the correlation of its input, not 0/0.
"""

import jax.numpy as jnp
from jax import Array

from theorylab._numerics import arccosine_pair
from theorylab.kernels.duals._base import Homogeneous, Scalar, dual
from theorylab.layers import ABRelu, Abs, LeakyRelu, Relu


def piecewise_linear(a: Scalar, b: Scalar) -> Homogeneous:
    """Dual of ``a min(x, 0) + b max(x, 0)``; see the module docstring."""
    squares = a * a + b * b

    def correlation(c: Array) -> tuple[Array, Array]:
        dtype = c.dtype
        rho, kappa = arccosine_pair(c)
        live = jnp.asarray(squares) > 0
        norm = jnp.where(live, squares, 1)
        kink = jnp.asarray((a - b) * (a - b) / norm, dtype)
        slope = jnp.asarray(2 * a * b / norm, dtype)
        k_dot = jnp.asarray((a - b) * (a - b) / 2, dtype) * kappa + jnp.asarray(a * b, dtype)
        return jnp.where(live, kink * rho + slope * c, c), k_dot

    return Homogeneous(gain=squares / 2, correlation=correlation)


@dual.register
def _(activation: Relu) -> Homogeneous:
    return Homogeneous(gain=0.5, correlation=_relu_correlation)


def _relu_correlation(c: Array) -> tuple[Array, Array]:
    rho, kappa = arccosine_pair(c)
    return rho, kappa / 2


@dual.register
def _(activation: Abs) -> Homogeneous:
    return piecewise_linear(-1.0, 1.0)


@dual.register
def _(activation: LeakyRelu) -> Homogeneous:
    return piecewise_linear(activation.alpha, 1.0)


@dual.register
def _(activation: ABRelu) -> Homogeneous:
    return piecewise_linear(activation.a, activation.b)
