r"""Functions of the training kernel applied to vectors, with derivatives that survive degeneracy.

The kernel is decomposed once, :math:`\Theta = U \Lambda U^\top`; every time then costs two
products. Outside, one pair of results is needed for residuals :math:`R`:

.. math::

    \alpha = U \varphi(\Lambda + \lambda) U^\top R, \qquad \text{fit} = \Theta \alpha,

with the gain :math:`\varphi` of ``_filters``.

Differs from the paper / reference:
  1. Eigenvalues below ``NOISE * eps`` of the largest cannot be told from 0. Their directions follow
     the formula while they cannot have moved by more than sqrt(eps), and are held still from then
     on; in exact arithmetic a null direction never moves. So t = infinity gives the pseudo-inverse.
  2. The derivative with respect to the kernel is the Daleckii-Krein formula, not the derivative of
     the eigenvectors, which does not exist at repeated eigenvalues. A second derivative with
     respect to the kernel is refused rather than wrong.
  3. NOISE = 8: of rank-deficient float32 Gram matrices (n = 50 to 600) the null eigenvalues came
     out within 1.2 eps of the largest; measured here.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from theorylab._numerics import HIGHEST
from theorylab.predict._filters import divided_differences, gain
from theorylab.predict._results import Status, asymmetry, code, first_trouble

NOISE = 8


class Spectrum(NamedTuple):
    """A training kernel and its decomposition.

    ``kernel`` (n, n) is what derivatives refer to; ``values`` (n,) ascending and not negative,
    ``vectors`` (n, n) in columns, ``floor`` the largest eigenvalue that may be rounding alone:
    constants.
    """

    kernel: jax.Array
    values: jax.Array
    vectors: jax.Array
    floor: jax.Array
    status: jax.Array
    jitter: jax.Array


def dot(a: jax.Array, b: jax.Array) -> jax.Array:
    """Matrix product in full precision."""
    return jnp.matmul(a, b, precision=HIGHEST)


def decompose(kernel: jax.Array) -> Spectrum:
    """Symmetrise and decompose; NaN gives NaN values, and the factorisation never sees it."""
    crooked = asymmetry(kernel)
    kernel = (kernel + kernel.T) / 2
    constant = jax.lax.stop_gradient(kernel)
    good = jnp.all(jnp.isfinite(constant))
    values, vectors = jnp.linalg.eigh(
        jnp.where(good, constant, jnp.eye(len(constant), dtype=constant.dtype))
    )
    floor = NOISE * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values))
    status = first_trouble(
        code(~good, Status.NONFINITE), crooked, code(values[0] < -floor, Status.INDEFINITE)
    )
    jitter = jnp.where(good, jnp.maximum(-values[0], 0), jnp.nan)
    values = jnp.where(good, jnp.maximum(values, 0), jnp.nan)
    return Spectrum(kernel, values, vectors, floor, status, jitter)


def learn(
    spectrum: Spectrum,
    residuals: jax.Array,
    *,
    ridge: jax.Array,
    rate: jax.Array,
    time: jax.Array,
    discrete: bool,
) -> tuple[jax.Array, jax.Array]:
    """Coefficients alpha and fit = kernel @ alpha, both (n, c), for residuals (n, c)."""
    kernel, values, vectors, floor = spectrum[:4]
    return _learn(discrete, kernel, values, vectors, floor, ridge, rate, time, residuals)


def at_rest(w: jax.Array, floor: jax.Array, rate: jax.Array, time: jax.Array) -> jax.Array:
    """Which directions are held: those of noise, once they could have moved."""
    moved = jnp.sqrt(jnp.finfo(w.dtype).eps)
    return (w <= floor) & (jnp.isinf(time) | (rate * time * floor > moved))


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _learn(
    discrete: bool,
    kernel: jax.Array,
    values: jax.Array,
    vectors: jax.Array,
    floor: jax.Array,
    ridge: jax.Array,
    rate: jax.Array,
    time: jax.Array,
    residuals: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    gains = kept_gains(discrete, values, floor, ridge, rate, time)
    rotated = dot(vectors.T, residuals)
    alpha = dot(vectors, gains[:, None] * rotated)
    return alpha, dot(vectors, (values * gains)[:, None] * rotated)


def kept_gains(
    discrete: bool,
    values: jax.Array,
    floor: jax.Array,
    ridge: jax.Array,
    rate: jax.Array,
    time: jax.Array,
) -> jax.Array:
    """The gain at every eigenvalue, 0 where it is held."""
    w = values + ridge
    held = at_rest(w, floor, rate, time)
    return jnp.where(held, 0, gain(jnp.where(held, 1, w), rate, time, discrete=discrete))


@_learn.defjvp
def _learn_jvp(
    discrete: bool, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    kernel, values, vectors, floor, ridge, rate, time, residuals = primals
    dkernel, _, _, _, dridge, drate, dtime, dresiduals = tangents
    alpha, fit = _learn(discrete, *primals)
    values, vectors = _once(kernel, values, vectors)

    w = values + ridge
    held = at_rest(w, floor, rate, time)
    gains, dgains = jax.jvp(
        lambda r, c, t: kept_gains(discrete, values, floor, r, c, t),
        (ridge, rate, time),
        (dridge, drate, dtime),
    )
    rotated = dot(vectors.T, residuals)
    mixing = divided_differences(w, held, rate, time, discrete=discrete) * dot(
        vectors.T, dot(dkernel, vectors)
    )
    dalpha = (
        dot(mixing, rotated)
        + dgains[:, None] * rotated
        + gains[:, None] * dot(vectors.T, dresiduals)
    )
    dfit = dot(dkernel, alpha) + dot(vectors, values[:, None] * dalpha)
    return (alpha, fit), (dot(vectors, dalpha), dfit)


def largest_eigenvalue(spectrum: Spectrum) -> jax.Array:
    """The largest eigenvalue (0 if all are negative), with its first derivative."""
    return _largest(spectrum.kernel, spectrum.values, spectrum.vectors)


@jax.custom_jvp
def _largest(kernel: jax.Array, values: jax.Array, vectors: jax.Array) -> jax.Array:
    return values[-1]


@_largest.defjvp
def _largest_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    values, vectors = _once(*primals)
    top = vectors[:, -1:]
    return values[-1], dot(top.T, dot(tangents[0], top))[0, 0]


@jax.custom_jvp
def _once(kernel: jax.Array, values: jax.Array, vectors: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mark the decomposition: differentiating it again in the kernel is an error."""
    return values, vectors


@_once.defjvp
def _once_jvp(primals: Any, tangents: Any) -> Any:
    raise NotImplementedError(
        "second derivatives of these predictions with respect to the training kernel are not "
        "implemented; solve with theorylab.predict.posterior, which has them, or take finite "
        "differences of the first derivative"
    )
