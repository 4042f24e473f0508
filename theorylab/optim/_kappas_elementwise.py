r"""Kappas that are sums over entries, :math:`K(m) = \sum_i k(m_i)`: one weight at a time.

Most have the slope of :math:`|m|` far out, so that the domain of :math:`K^*` is the box
:math:`|y_i| \le 1`; what k does near 0 decides what is minimised inside the box. Only ``power`` has
no domain.

Differs from the paper / reference:
  1. Conjugates are worked out here; values and conjugates are written so that nothing cancels near
     0 and nothing overflows far out.
  2. ``huber(1)`` and ``logcosh(b)`` are the modes "refined" and "smooth" of optax's
     ``scale_by_lion``, with the same operations in the same dtype, half precision included.
"""

import math

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import xlogy

from theorylab.optim._kappa import Kappa, inside, largest, record
from theorylab.optim._kappa_arguments import positive, real


def l1() -> Kappa:
    r"""The sum of absolute values: Lion.

    .. math::

        K(m) = \|m\|_1, \quad \nabla K = \operatorname{sign}(m), \quad
        K^*(y) = 0 \text{ where } \max_i |y_i| \le 1 .

    ``lion_k`` with it is ``optax.lion`` to the bit, and minimises f in the box
    :math:`|x_i| \le 1/\lambda` (Chen, Liu, Liang and Liu 2024, "Lion secretly solves constrained
    optimization: as Lyapunov predicts"). Gauge: the largest absolute value.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.optim import kappas
    >>> kappas.l1().grad(jnp.array([3.0, 0.0, -0.1])).tolist()
    [1.0, 0.0, -1.0]
    """
    return record(
        "l1",
        value=lambda m: jnp.sum(jnp.abs(m)),
        grad=jnp.sign,
        conjugate=lambda y, slack: inside(largest(y), slack),
        gauge=largest,
        as_it_comes=True,
    )


def power(p: float) -> Kappa:
    r"""The p-th power of the lp norm, over p: no constraint, a penalty.

    .. math::

        K(m) = \tfrac1p \|m\|_p^p, \quad \nabla K = \operatorname{sign}(m) |m|^{p-1}, \quad
        K^*(y) = \tfrac1q \|y\|_q^q, \quad \tfrac1p + \tfrac1q = 1 .

    ``power(2)`` is gradient descent with momentum and weight decay. There is no gauge: the domain
    of :math:`K^*` is everything. Powers that pass the largest number of the dtype are inf.

    Parameters
    ----------
    p
        A number above 1.

    Raises
    ------
    TypeError, ValueError
        If p is not a number above 1.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.optim import kappas
    >>> kappas.power(3).grad(jnp.array([2.0, -3.0])).tolist()
    [4.0, -9.0]
    """
    number = real("p", p)
    if number <= 1:
        raise ValueError(f"p must be above 1, got {p!r}; kappas.l1() is the limit p = 1")
    conjugate = number / (number - 1)
    return record(
        f"power({p:g})",
        value=lambda m: jnp.sum(_magnitude(m, number)) / number,
        grad=lambda m: jnp.sign(m) * _magnitude(m, number - 1),
        conjugate=lambda y, slack: jnp.sum(_magnitude(y, conjugate)) / conjugate,
        gauge=None,
        conjugate_grad=lambda y: jnp.sign(y) * _magnitude(y, conjugate - 1),
    )


def _magnitude(x: Array, exponent: float) -> Array:
    """``|x| ** exponent``, exact for an exponent of 1 and for small whole numbers."""
    size = jnp.abs(x)
    if exponent == 1:
        return size
    return size ** (int(exponent) if exponent in (2, 3, 4) else exponent)


def soft(e: float) -> Kappa:
    r"""What absolute values exceed e by: entries with little momentum do not move but decay.

    .. math::

        K(m) = \sum_i \max(|m_i| - e, 0), \quad
        \nabla K = \operatorname{sign}(m)\, 1_{|m| > e}, \quad
        K^*(y) = e \|y\|_1 \text{ where } \max_i |y_i| \le 1 .

    Minimises f with an l1 penalty e in the box: sparse weights.

    Parameters
    ----------
    e
        A positive number, in units of the gradient.

    Raises
    ------
    TypeError, ValueError
        If e is not a positive number.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.optim import kappas
    >>> kappas.soft(0.5).grad(jnp.array([0.6, -0.4, -2.0])).tolist()
    [1.0, 0.0, -1.0]
    """
    width = positive("e", e)
    return record(
        f"soft({e:g})",
        value=lambda m: jnp.sum(jnp.maximum(jnp.abs(m) - width, 0)),
        grad=lambda m: jnp.where(jnp.abs(m) > width, jnp.sign(m), 0),
        conjugate=lambda y, slack: inside(largest(y), slack, width * jnp.sum(jnp.abs(y))),
        gauge=largest,
        conjugate_grad=lambda y: width * jnp.sign(y),
    )


def huber(e: float) -> Kappa:
    r"""Huber's function: the momentum itself where it is small, its sign where it is large.

    .. math::

        k(m) = \begin{cases} m^2 / 2e & |m| \le e \\ |m| - e/2 & |m| > e \end{cases}, \quad
        \nabla K = \operatorname{clip}(m/e, -1, 1), \quad
        K^*(y) = \tfrac e2 \|y\|_2^2 \text{ where } \max_i |y_i| \le 1 .

    Minimises f with an L2 penalty in the box. ``huber(1)`` is optax's mode "refined" of Lion.

    Parameters
    ----------
    e
        A positive number, in units of the gradient.

    Raises
    ------
    TypeError, ValueError
        If e is not a positive number.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.optim import kappas
    >>> kappas.huber(2.0).grad(jnp.array([1.0, -6.0])).tolist()
    [0.5, -1.0]
    """
    width = positive("e", e)

    def value(m: Array) -> Array:
        near = jnp.minimum(jnp.abs(m), width)
        return jnp.sum(near * (near / (2 * width)) + (jnp.abs(m) - near))

    return record(
        f"huber({e:g})",
        value=value,
        grad=lambda m: jnp.where(jnp.abs(m) < width, m / width, jnp.sign(m)),
        conjugate=lambda y, slack: inside(largest(y), slack, width / 2 * jnp.sum(y * y)),
        gauge=largest,
        conjugate_grad=lambda y: width * y,
        as_it_comes=True,
    )


def relativistic(e: float) -> Kappa:
    r"""The kinetic energy of special relativity: a smooth sign, and a barrier at the box.

    .. math::

        K(m) = \sum_i \sqrt{m_i^2 + e^2} - e, \quad
        \nabla K = \frac{m}{\sqrt{m^2 + e^2}}, \quad
        K^*(y) = e \sum_i \bigl(1 - \sqrt{1 - y_i^2}\bigr) .

    Parameters
    ----------
    e
        A positive number, in units of the gradient.

    Raises
    ------
    TypeError, ValueError
        If e is not a positive number.

    Notes
    -----
    The slope of :math:`K^*` grows without bound towards the box. ``conjugate_grad`` stops where
    :math:`1 - y^2` is the rounding unit: at y = 1 there is none.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.optim import kappas
    >>> round(float(kappas.relativistic(4.0).grad(jnp.array(3.0))), 4)
    0.6
    """
    width = positive("e", e)

    def length(m: Array) -> Array:
        longer, shorter = jnp.maximum(jnp.abs(m), width), jnp.minimum(jnp.abs(m), width)
        return longer * jnp.sqrt(1 + (shorter / longer) ** 2)

    def conjugate(y: Array, slack: float) -> Array:
        square = jnp.minimum(y * y, 1)
        return inside(largest(y), slack, width * jnp.sum(square / (1 + jnp.sqrt(1 - square))))

    def conjugate_grad(y: Array) -> Array:
        left = (1 - jnp.abs(y)) * (1 + jnp.abs(y))
        return width * y / jnp.sqrt(jnp.maximum(left, float(jnp.finfo(y.dtype).eps)))

    return record(
        f"relativistic({e:g})",
        value=lambda m: jnp.sum(jnp.abs(m) * (jnp.abs(m) / (length(m) + width))),
        grad=lambda m: m / length(m),
        conjugate=conjugate,
        gauge=largest,
        conjugate_grad=conjugate_grad,
    )


def logcosh(b: float) -> Kappa:
    r"""The logarithm of the hyperbolic cosine: tanh in place of the sign.

    .. math::

        K(m) = \tfrac1b \sum_i \log \cosh(b m_i), \quad \nabla K = \tanh(b m), \quad
        K^*(y) = \tfrac1b \sum_i \tfrac{1 + y_i}{2} \log(1 + y_i)
                 + \tfrac{1 - y_i}{2} \log(1 - y_i) .

    An entropy as a barrier at the box. ``logcosh(b)`` is optax's mode "smooth" of Lion.

    Parameters
    ----------
    b
        A positive number, in units of one over the gradient.

    Raises
    ------
    TypeError, ValueError
        If b is not a positive number.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.optim import kappas
    >>> round(float(kappas.logcosh(2.0).value(jnp.array([100.0]))), 4)  # 100 - log(2) / 2
    99.6534
    """
    steepness = positive("b", b)

    def value(m: Array) -> Array:
        z = steepness * jnp.abs(m)
        near = jnp.log1p(2 * jnp.sinh(jnp.minimum(z, 1) / 2) ** 2) / steepness
        far = jnp.abs(m) + (jnp.log1p(jnp.exp(-2 * z)) - math.log(2)) / steepness
        return jnp.sum(jnp.where(z < 1, near, far))

    def conjugate(y: Array, slack: float) -> Array:
        size = jnp.minimum(jnp.abs(y), 1)
        small = jnp.minimum(size, 0.5)
        near = small * jnp.arctanh(small) + jnp.log1p(-small * small) / 2
        far = (xlogy(1 + size, 1 + size) + xlogy(1 - size, 1 - size)) / 2
        entropy = jnp.sum(jnp.where(size < 0.5, near, far)) / steepness
        return inside(largest(y), slack, entropy)

    def conjugate_grad(y: Array) -> Array:
        edge = 1 - float(jnp.finfo(y.dtype).eps)
        return jnp.arctanh(jnp.clip(y, -edge, edge)) / steepness

    return record(
        f"logcosh({b:g})",
        value=value,
        grad=lambda m: jnp.tanh(steepness * m),
        conjugate=conjugate,
        gauge=largest,
        conjugate_grad=conjugate_grad,
        as_it_comes=True,
    )
