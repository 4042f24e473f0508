r"""One Cholesky factor of a noisy kernel, for everything that is solved with it.

The factor belongs to :math:`A = K + \sigma^2 I + \text{jitter}`. Solutions with :math:`A` and
:math:`\log\det A` have derivatives of every order,

.. math::

    d(A^{-1} v) = A^{-1} (dv - dA\, A^{-1} v), \qquad d \log\det A = \operatorname{tr} A^{-1} dA,

in which the factor and the jitter are constants: both belong to the same matrix :math:`A`.

Differs from the paper / reference:
  1. Rasmussen & Williams (2006, algorithm 2.1) assume that the factorisation succeeds. Here a pivot
     below ``PIVOT * eps`` of its diagonal entry counts as failure, since it is rounding; then a
     jitter of ``eps`` times the mean diagonal is tried, ten times more each time, while it stays
     below ``LARGEST`` of it.
  2. Solutions go through ``jax.lax.custom_linear_solve`` and the determinant through its own rule,
     so the loop and the factor need no derivative.
  3. PIVOT = 8, as NOISE in ``_spectral``. LARGEST = 1e-2: a kernel that needs more is not one up to
     rounding in any dtype.
  4. ROUNDING = 100: errors of ``eps`` in the entries of an n x n kernel move its eigenvalues by at
     most ``n eps`` of its largest entry, a few times that where the entries come out of a
     recursion, and the jitter is found to a factor of ten only. A kernel that needs more than
     ``ROUNDING n eps`` of its mean diagonal was not positive before rounding.
  5. GROWTH = 1/2: solving and inverting in float32 kernels of 10 to 1,000 points (radial, linear,
     ReLU NTK of digits) erred as independent relative errors of ``GROWTH sqrt(n) eps`` in the
     entries of A would, or less; measured here against float64.
  6. PROBES = 8 random signs, always the same, give the norm of a vector to a third.
  7. Noise that is negative where its value is not known before tracing counts as NaN.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from theorylab.predict._results import ACCURACY, Status, asymmetry, code, first_trouble
from theorylab.predict._spectral import dot

PIVOT = 8
LARGEST = 1e-2
ROUNDING = 100
GROWTH = 0.5
PROBES = 8


class Factored(NamedTuple):
    """A positive matrix and its factor.

    ``matrix`` (n, n) is kernel, noise and jitter together, what derivatives refer to; ``lower`` is
    its Cholesky factor, a constant, NaN where there is none; ``status`` tells of the kernel.
    """

    matrix: jax.Array
    lower: jax.Array
    jitter: jax.Array
    status: jax.Array


class _Attempt(NamedTuple):
    number: jax.Array
    jitter: jax.Array
    lower: jax.Array
    success: jax.Array


def factorise(kernel: jax.Array, noise: jax.Array) -> Factored:
    """Factor ``kernel`` (n, n) plus ``noise`` plus the smallest jitter tried that works."""
    unit = jnp.eye(len(kernel), dtype=kernel.dtype)
    noise = noise * jnp.where(noise >= 0, 1, jnp.nan).astype(noise.dtype)
    noisy = (kernel + kernel.T) / 2 + noise * unit
    constant = jax.lax.stop_gradient(noisy)
    good = jnp.all(jnp.isfinite(constant))
    constant = jnp.where(good, constant, unit)
    eps = float(jnp.finfo(kernel.dtype).eps)
    scale = jnp.mean(jnp.abs(jnp.diagonal(constant)))
    attempts = 1 + math.ceil(math.log10(LARGEST / eps))

    def attempt(number: jax.Array) -> _Attempt:
        growth = jnp.power(jnp.asarray(10, kernel.dtype), (number - 1).astype(kernel.dtype))
        jitter = jnp.where(number == 0, 0, eps * scale * growth)
        tried = constant + jitter * unit
        lower = jnp.linalg.cholesky(tried)
        pivots = jnp.square(jnp.diagonal(lower))
        success = jnp.all(pivots > PIVOT * eps * jnp.diagonal(tried))
        return _Attempt(number + 1, jitter, lower, success)

    nothing = _Attempt(jnp.int32(0), jnp.zeros_like(scale), constant, jnp.bool(False))
    last = jax.lax.while_loop(
        lambda a: ~a.success & (a.number < attempts), lambda a: attempt(a.number), nothing
    )
    status = first_trouble(
        code(~good, Status.NONFINITE),
        code(~last.success, Status.NOT_FACTORED),
        asymmetry(kernel),
        code(last.jitter > ROUNDING * len(kernel) * eps * scale, Status.INDEFINITE),
    )
    lower = jnp.where(good & last.success, last.lower, jnp.nan)
    jitter = jnp.where(good, last.jitter, jnp.nan)
    return Factored(noisy + jitter * unit, lower, jitter, status)


def solve(factored: Factored, right: jax.Array) -> jax.Array:
    """Solve with the matrix for the columns of ``right`` (n, c)."""
    return _solve(factored.matrix, factored.lower, right)


def inverse(factored: Factored) -> jax.Array:
    """Inverse of the matrix, (n, n)."""
    return _inverse(factored.matrix, factored.lower)


def _inverse(matrix: jax.Array, lower: jax.Array) -> jax.Array:
    return _solve(matrix, lower, jnp.eye(len(matrix), dtype=matrix.dtype))


def _solve(matrix: jax.Array, lower: jax.Array, right: jax.Array) -> jax.Array:
    lower = jax.lax.stop_gradient(lower)
    return jax.lax.custom_linear_solve(
        lambda v: dot(matrix, v),
        right,
        lambda _, v: jax.scipy.linalg.cho_solve((lower, True), v),
        symmetric=True,
    )


def log_determinant(factored: Factored) -> jax.Array:
    """Logarithm of the determinant of the matrix."""
    return _log_determinant(factored.matrix, factored.lower)


@jax.custom_jvp
def _log_determinant(matrix: jax.Array, lower: jax.Array) -> jax.Array:
    return 2 * jnp.sum(jnp.log(jnp.diagonal(lower)))


@_log_determinant.defjvp
def _log_determinant_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    matrix, lower = primals
    change = jnp.sum(_inverse(matrix, lower) * tangents[0])
    return _log_determinant(matrix, lower), change


def entry_error(factored: Factored) -> float:
    """Relative error in the entries of the matrix that explains the error of solutions."""
    eps = float(jnp.finfo(factored.matrix.dtype).eps)
    return eps * max(1.0, GROWTH * math.sqrt(len(factored.matrix)))


def uncertain_mean(
    factored: Factored, cross: jax.Array, alpha: jax.Array, scale: jax.Array
) -> jax.Array:
    """Code for ``cross @ alpha`` (m, n) @ (n, c) that the rounding of alpha has spoiled.

    Relative errors e in the entries of the matrix change it by about ``e |v| |alpha|``, where v are
    the solutions for the rows of ``cross`` and the norms are weighted by the diagonal of the
    matrix. That of v comes from a few random signs, without solving for all rows. It is reported
    where less than a third of the digits are left beside ``scale``.
    """
    factored, cross, alpha, scale = jax.lax.stop_gradient((factored, cross, alpha, scale))
    bound = float(jnp.finfo(alpha.dtype).eps) ** ACCURACY
    weight = jnp.sqrt(jnp.diagonal(factored.matrix))[:, None]
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(len(weight), PROBES))
    probes = weight * jnp.asarray(signs, alpha.dtype)
    probed = dot(cross, jax.scipy.linalg.cho_solve((factored.lower, True), probes))
    reach = jnp.max(jnp.linalg.norm(probed, axis=1)) / math.sqrt(PROBES)
    fitted = jnp.max(jnp.linalg.norm(weight * alpha, axis=0))
    return code(entry_error(factored) * reach * fitted > bound * scale, Status.ILL_CONDITIONED)


def uncertain_density(factored: Factored, alpha: jax.Array, quadratic: jax.Array) -> jax.Array:
    """Code for a log-density whose two data terms rounding, or the jitter, has spoiled.

    ``alpha`` (n, c) are the solutions for the targets and ``quadratic`` their product with them.
    Relative errors e in the entries of the matrix change the logarithm of the i-th pivot by
    ``e A_ii / pivot_i`` and the quadratic form by about ``e sum_i A_ii alpha_i^2``; either is
    reported where less than a third of the digits are left. The density of a singular kernel
    does not exist: with a jitter, it is the jitter's.
    """
    factored, alpha, quadratic = jax.lax.stop_gradient((factored, alpha, quadratic))
    error = entry_error(factored)
    bound = float(jnp.finfo(alpha.dtype).eps) ** ACCURACY
    diagonal = jnp.diagonal(factored.matrix)
    pivots = jnp.square(jnp.diagonal(factored.lower))
    lost = error * jnp.sum(jnp.square(jnp.sqrt(diagonal)[:, None] * alpha))
    spoiled = (
        (factored.jitter > 0)
        | jnp.any(error * diagonal > bound * pivots)
        | (lost > bound * (quadratic + alpha.size))
    )
    return code(spoiled, Status.ILL_CONDITIONED)
