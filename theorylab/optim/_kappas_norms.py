r"""Kappas that are norms with powers of entries, of a whole array or of groups of its entries.

Of a norm K, :math:`K^*` is 0 on the unit ball of the dual norm and infinite outside, so that
Lion-K minimises f under :math:`\|x\|_{dual} \le 1/\lambda`; the gauge is the dual norm.

Differs from the paper / reference:
  1. Entries are divided by the largest one before they are raised to a power, so that no scale of
     the input over- or underflows.
  2. At 0, where every point of the dual ball is a subgradient, 0 is taken.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from theorylab._numerics import safe_sqrt
from theorylab.optim._kappa import Kappa, inside, largest, record, scaled
from theorylab.optim._kappa_arguments import axes, axes_of, real


def l2() -> Kappa:
    r"""The Euclidean norm of the whole array: normalised momentum.

    .. math::

        K(m) = \|m\|_2, \quad \nabla K = m / \|m\|_2, \quad
        K^*(y) = 0 \text{ where } \|y\|_2 \le 1 .

    Minimises f in the ball of radius :math:`1/\lambda`, one for each leaf.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.optim import kappas
    >>> [round(float(v), 3) for v in kappas.l2().grad(jnp.array([3.0, 4.0]))]
    [0.6, 0.8]
    """
    return _euclidean("l2", lambda shape: tuple(range(len(shape))))


def group(axis: int | tuple[int, ...]) -> Kappa:
    r"""The sum of the Euclidean norms of groups of entries.

    .. math::

        K(m) = \sum_g \|m_g\|_2, \quad (\nabla K)_g = m_g / \|m_g\|_2, \quad
        K^*(y) = 0 \text{ where } \max_g \|y_g\|_2 \le 1 .

    Parameters
    ----------
    axis
        The axes that lie within a group, the others count groups: with ``group(0)`` every column
        of a matrix is one.

    Raises
    ------
    TypeError, ValueError
        If axis is not a whole number or a tuple of different ones; when a leaf does not have it.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.optim import kappas
    >>> kappas.group(0).grad(jnp.array([[3.0, 0.0], [0.0, -5.0]])).tolist()
    [[1.0, 0.0], [0.0, -1.0]]
    """
    given = axes("axis", axis)
    shown = given[0] if len(given) == 1 else given
    return _euclidean(f"group({shown})", lambda shape: axes_of("axis", given, shape))


def rows() -> Kappa:
    r"""The sum of the Euclidean norms of rows, the vectors along the last axis.

    .. math::

        K(m) = \sum_i \|m_{i\cdot}\|_2, \quad (\nabla K)_{i\cdot} = m_{i\cdot} / \|m_{i\cdot}\|_2 ,
        \quad K^*(y) = 0 \text{ where } \max_i \|y_{i\cdot}\|_2 \le 1 .

    ``group(-1)``, but a scalar is one row of one entry. With flax's kernels (inputs, outputs) a row
    is what leaves one input.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.optim import kappas
    >>> kappas.rows().grad(jnp.array([[0.0, 2.0], [0.0, 0.0]])).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    return _euclidean("rows", lambda shape: (len(shape) - 1,) if shape else ())


def _euclidean(name: str, within: Callable[[tuple[int, ...]], tuple[int, ...]]) -> Kappa:
    """The sum of the norms over the axes that ``within`` names for a shape."""

    def parts(x: Array) -> tuple[Array, Array, Array]:
        axis = within(x.shape)
        scale, unit = scaled(x, axis)
        # At least 1 but where all is 0.
        return scale, unit, safe_sqrt(jnp.sum(unit * unit, axis=axis, keepdims=True))

    def norms(x: Array) -> Array:
        scale, _, length = parts(x)
        return scale * length

    def grad(m: Array) -> Array:
        _, unit, length = parts(m)
        return unit / jnp.maximum(length, 1)

    def gauge(y: Array) -> Array:
        return largest(norms(y))

    return record(
        name,
        value=lambda m: jnp.sum(norms(m)),
        grad=grad,
        conjugate=lambda y, slack: inside(gauge(y), slack),
        gauge=gauge,
    )


def lp(p: float) -> Kappa:
    r"""The lp norm of the whole array.

    .. math::

        K(m) = \|m\|_p, \quad
        \nabla K = \operatorname{sign}(m) \frac{|m|^{p-1}}{\|m\|_p^{p-1}}, \quad
        K^*(y) = 0 \text{ where } \|y\|_q \le 1, \quad \tfrac1p + \tfrac1q = 1 .

    Between Lion (p = 1) and normalised momentum (p = 2). Minimises f in the lq ball of radius
    :math:`1/\lambda`.

    Parameters
    ----------
    p
        A finite number of at least 1; for p = inf take :func:`linf`.

    Raises
    ------
    TypeError, ValueError
        If p is not a finite number of at least 1.

    Notes
    -----
    Entries that are smaller than the largest by more than the range of the dtype (1e-38 in float32)
    count as that small: for p near 1 their subgradient is not 0.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.optim import kappas
    >>> [round(float(v), 2) for v in kappas.lp(3).grad(jnp.array([1.0, -1.0]))]
    [0.63, -0.63]
    """
    if isinstance(p, float) and p == float("inf"):
        raise ValueError("p must be finite, got inf; kappas.linf() is the limit")
    number = real("p", p)
    if number < 1:
        raise ValueError(f"p must be at least 1 for a norm, got {p!r}")

    def power_sum(x: Array, exponent: float) -> tuple[Array, Array, Array]:
        scale, unit = scaled(x)
        # At least 1 but where all is 0.
        return scale, unit, jnp.sum(jnp.abs(unit) ** exponent, keepdims=True)

    def norm(x: Array, exponent: float) -> Array:
        scale, _, total = power_sum(x, exponent)
        return jnp.sum(scale * total ** (1 / exponent))

    def grad(m: Array) -> Array:
        _, unit, total = power_sum(m, number)
        size = jnp.maximum(jnp.abs(unit), float(jnp.finfo(m.dtype).tiny))
        length = jnp.maximum(total, 1) ** (1 / number)
        return jnp.sign(m) * (size / length) ** (number - 1)

    def gauge(y: Array) -> Array:
        return largest(y) if number == 1 else norm(y, number / (number - 1))

    return record(
        f"lp({p:g})",
        value=lambda m: norm(m, number),
        grad=grad,
        conjugate=lambda y, slack: inside(gauge(y), slack),
        gauge=gauge,
    )
