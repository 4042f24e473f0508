r"""Precision: the only place where care about rounding and singular derivatives lives.

Kernels of deep networks are functions of the *angle* between two inputs. The textbook recursion
takes that angle from ``arccos`` of a rounded cosine, and so loses half of the digits where two
inputs nearly coincide. Here everything is expressed through the gap :math:`c = 1 - \cos\theta`,
which has full relative accuracy near zero:

.. math::

    \theta(c) = \sqrt{2v}\, P(v), \qquad
    \int_0^c \theta = v \sqrt{2v}\, Q(v), \qquad v = c \le 1,

with the reflection :math:`\theta(2 - v) = \pi - \theta(v)`. The power series

.. math::

    P(v) = \sum_k a_k v^k, \quad Q(v) = \sum_k \frac{a_k}{k + 3/2} v^k, \quad
    a_k = \binom{2k}{k} \frac{1}{8^k (2k + 1)}

follow from :math:`d\theta/dc = 1/\sqrt{c(2-c)}`. They are interpolated on :math:`[0, 1]` at
Chebyshev nodes; the nearest singularity, :math:`v = 2`, bounds the error by about
:math:`(3 + \sqrt 8)^{-m}` at degree :math:`m`: 9 for float32 (1e-7), 22 for float64 (1e-16).
A polynomial costs a fortieth of the library's ``arccos`` or ``atan2`` on CPUs.

Differs from the textbook formulas:

1. The angle is a function of the gap, never of the cosine.
2. Derivatives at the cusp (parallel or antiparallel inputs) are set to zero, the mean of the two
   one-sided derivatives; the cusp is recognised by ``c <= 16 eps**2``, since the gap of two points
   that coincide up to rounding is of that size.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike, DTypeLike

HIGHEST = jax.lax.Precision.HIGHEST

_DEGREE = {4: 9, 8: 22}  # by itemsize; see the module docstring


def wide_dtype(dtype: DTypeLike) -> np.dtype:
    """The dtype of per-row quantities: float64 where the hardware has it, else ``dtype``.

    A row quantity (one number per input) costs nothing beside an ``n x n`` array, but its rounding
    enters every entry of a row alike. TPUs have no native float64.
    """
    return np.dtype(dtype if jax.default_backend() == "tpu" else np.float64)


@contextlib.contextmanager
def wide_scope() -> Iterator[None]:
    """Allow float64 inside, whatever the caller's ``jax_enable_x64`` is; restored on leaving."""
    with jax.enable_x64(True):
        yield


def floating(name: str, x: ArrayLike) -> Array | np.ndarray:
    """Check that ``x`` is a real floating array, and widen half precision to float32.

    NumPy's float64 becomes float32 where 64-bit types are disabled, as everywhere in JAX; so call
    this outside :func:`wide_scope`.

    Raises
    ------
    TypeError
        If ``x`` is no array of real floating-point numbers.
    """
    if not isinstance(x, Array | np.ndarray):
        x = np.asarray(x)
    dtype = x.dtype
    if jnp.issubdtype(dtype, jnp.floating):
        narrow = jax.dtypes.canonicalize_dtype(dtype)
        target = np.float32 if np.dtype(narrow).itemsize < 4 else narrow
        return x if dtype == target else x.astype(target)
    kind = "complex" if jnp.issubdtype(dtype, jnp.complexfloating) else "non-floating"
    raise TypeError(
        f"{name} must be a real floating-point array, got the {kind} dtype {dtype}; "
        f"convert it, e.g. {name}.astype('float32')"
    )


@jax.custom_jvp
def safe_sqrt(x: Array) -> Array:
    """Square root of ``max(x, 0)`` with derivatives 0 at 0; NaN stays NaN.

    Guarded inside as well as by its rule: JAX differentiates the inside where a second derivative
    passes through a loop. The guard is filled with a number next to it: where ``x`` is rounding
    noise, the compiler may form it twice, and differently for the two uses of ``live``.
    """
    live = jnp.logical_not(x <= 0)
    least = float(jnp.finfo(x.dtype).tiny)
    return jnp.where(live, jnp.sqrt(jnp.where(live, x, least)), 0)


@safe_sqrt.defjvp
def _safe_sqrt_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    y = safe_sqrt(x)
    positive = y > 0
    return y, jnp.where(positive, dx / (2 * jnp.where(positive, y, 1)), 0)


def known(x: Any) -> np.ndarray | None:
    """The values, unless they are being traced."""
    try:
        return np.asarray(x)
    except jax.errors.TracerArrayConversionError:
        return None


def outer_difference(a: Array, b: Array, dtype: DTypeLike) -> Array:
    """``a - b`` of broadcastable wide arrays, rounded once to ``dtype``.

    Splits each operand into a leading and a trailing part of the narrow type, so that no array of
    the size of the result is ever held in the wide one. Relative error about ``2 eps(dtype)``.
    """
    if a.dtype == np.dtype(dtype):
        return a - b
    a_head, b_head = a.astype(dtype), b.astype(dtype)
    a_tail = (a - a_head.astype(a.dtype)).astype(dtype)
    b_tail = (b - b_head.astype(b.dtype)).astype(dtype)
    return (a_head - b_head) + (a_tail - b_tail)


def _angle_coefficients(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Monomial coefficients, in ``2 v - 1``, of P and Q of the module docstring."""
    terms = 120  # of the power series at v = 1, where they fall as 2**-k
    ratio = [math.comb(2 * k, k) / 8.0**k / (2 * k + 1) for k in range(terms)]
    powers = np.arange(terms)

    nodes = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))

    def interpolate(series: np.ndarray) -> np.ndarray:
        values = np.sum(series * ((nodes[:, None] + 1) / 2) ** powers, axis=1)
        chebyshev = np.polynomial.chebyshev.chebfit(nodes, values, degree)
        return np.polynomial.chebyshev.cheb2poly(chebyshev)

    a = np.array(ratio)
    return interpolate(a), interpolate(a / (powers + 1.5))


_COEFFICIENTS = {size: _angle_coefficients(degree) for size, degree in _DEGREE.items()}


def _horner(coefficients: np.ndarray, x: Array) -> Array:
    value = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * x + jnp.asarray(coefficient, x.dtype)
    return value


@jax.custom_jvp
def arccosine_pair(c: Array) -> tuple[Array, Array]:
    r"""The two angular functions from which all piecewise-linear duals are made.

    .. math::

        \kappa(c) = 1 - \frac{\theta}{\pi}, \qquad
        \rho(c) = \int_0^c \kappa = c - \frac{\sin\theta - \theta\cos\theta}{\pi},
        \qquad c = 1 - \cos\theta .

    Parameters
    ----------
    c
        Gap in [0, 2]; values outside by rounding are clipped. NaN stays NaN.

    Returns
    -------
    (rho, kappa)
        ``rho`` with full relative accuracy, ``kappa`` with absolute accuracy about 2 eps.
        First derivatives are finite everywhere; the derivative of kappa is 0 at its cusps.

    References
    ----------
    Cho and Saul, "Kernel methods for deep learning", 2009, eq. 6 (J_0 and J_1).
    """
    dtype = c.dtype
    p, q = _COEFFICIENTS[dtype.itemsize]
    c = jnp.clip(c, 0, 2)
    near = c <= 1
    v = jnp.where(near, c, 2 - c)
    eps = float(jnp.finfo(dtype).eps)
    live = jnp.logical_not(v <= 16 * eps**2)  # the guard of the rule below; see safe_sqrt
    # Below the guard a chord of the root, off by at most 1.5 eps: a second root would be
    # one more pass over all pairs. Filled next to the guard, as in safe_sqrt.
    chord = jax.lax.stop_gradient(v * (2 / (math.sqrt(32) * eps)))
    root = jnp.where(live, jnp.sqrt(jnp.where(live, 2 * v, 32 * eps**2)), chord)
    x = 2 * v - 1
    folded = root * _horner(p, x) * jnp.asarray(1 / math.pi, dtype)
    integral = v * root * _horner(q, x) * jnp.asarray(1 / math.pi, dtype)
    rho = jnp.where(near, c, 1) - integral
    kappa = jnp.where(near, 1 - folded, folded)
    return rho, kappa


@arccosine_pair.defjvp
def _arccosine_pair_jvp(
    primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    (c,), (dc,) = primals, tangents
    rho, kappa = arccosine_pair(c)
    eps = float(jnp.finfo(c.dtype).eps)
    # 2 - c has an absolute error of eps, not a relative one: hence the wider guard there.
    smooth = (c > 16 * eps**2) & (2 - c > 8 * eps)
    sine = jnp.sqrt(jnp.where(smooth, c * (2 - c), 1))
    dkappa = jnp.where(smooth, -dc / (math.pi * sine), 0)
    return (rho, kappa), (kappa * dc, dkappa)
