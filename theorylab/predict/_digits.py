r"""How far rounding in the training kernel moves what was learned from it, to first order.

A perturbation :math:`d\Theta` moves functions of the kernel by divided differences (Daleckii &
Krein 1965), and those of the gain :math:`\varphi` and of the residual left,
:math:`\ell = 1 - d \varphi` at the eigenvalues d, are bounded by products:

.. math::

    |\Delta\varphi_{ij}| \le \psi_i \psi_j, \qquad
    |\Delta\ell_{ij}| \lesssim \psi_i \ell_j + \ell_i \psi_j.

For the flow :math:`\psi = \varphi`: the inverse gain :math:`w / (1 - e^{-cwt})` has a slope between
1/2 and 1. So no matrix of differences is needed. With independent errors of size :math:`\tau` in
the entries of :math:`\Theta`, the prediction :math:`\Theta_* \alpha` at a test point errs by about

.. math::

    \tau\, \|\psi(\Theta)\, \theta_*\| \, \|\psi(\Theta) R\|,

and likewise the fit at the training points, with one factor :math:`\ell` in place of
:math:`\psi`, and the covariance, with the residual covariances in place of R.

Differs from the paper / reference:
  1. No paper: the bounds are derived here, for the flow from the slope above, for steps with
     :math:`\psi = \max(|\varphi|, |\varphi'|^{1/2})`, which holds on the diagonal. Eigenvalues
     are taken as low as rounding allows, half a floor (``_spectral``) below what was found.
  2. The size of the errors is that of eps in the entries, or of an eigendecomposition that errs by
     ``GROWTH sqrt(n) eps`` in the entries of a kernel whose largest eigenvalue is n times its
     entries, as in ``_cholesky``; the larger of the two. To this come the rounding of the rows of
     the cross kernel and of the products with the targets.
  3. Directions that are held are beyond first order: their eigenvalues are known to lie between 0
     and the floor, and the targets' part in them is in doubt as far as an eigenvalue at the floor
     would have moved it. It is not where the kernel has plainly a low rank: not more than half of
     the directions are kept, the held eigenvalues are within ``NULL eps`` of the largest, and the
     next one of a spectrum that went on as it was would have stood out (the smallest kept
     eigenvalue times the smallest ratio of neighbours is above ``GAP eps`` of the largest). Rank
     one shows no ratio. So contradicting targets at a few duplicated points are reported, since
     they look like points that nearly coincide, where the limit is another.
  4. MARGIN = 8: over 13,000 predictions in float32 (radial kernels, ReLU NTK, linear, polynomial;
     4 to 150 points; times 1 to infinity; ridges 0 to 1e-3 of the diagonal) against float64, the
     error was at the median half of the first-order estimate. With a margin of 4, six predictions
     wrong by over 1e-2 of the targets (or of the prior variance) passed; with 6 or 8, none. On
     11,000 others, with 8, none passed, and 1.4 % of those right to 1e-4 were reported. The
     eigendecomposition itself errs by 2 to 11 eps of the largest eigenvalue in norm (n = 4 to 500).
  5. NULL = 2: see NOISE in ``_spectral``. GAP = 32 keeps well above it; the two were not varied,
     only checked in the same study.
  6. PROBES random signs, always the same, give the norms of rows to a third (``_cholesky``).
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from theorylab.predict._cholesky import GROWTH, PROBES
from theorylab.predict._filters import gain
from theorylab.predict._results import ACCURACY, Status, code
from theorylab.predict._spectral import Spectrum, at_rest, dot, kept_gains

NULL = 2
GAP = 32
MARGIN = 8


class Doubt(NamedTuple):
    """What the digits of a prediction hang on, in the eigenbasis: constants.

    ``entry`` is the size of errors in the entries of the kernel; ``psi``, ``left`` and ``open``,
    (n,), bound the differences of the gain, are the share of the residual left, and the share that
    held directions may have moved.
    """

    vectors: jax.Array
    entry: jax.Array
    psi: jax.Array
    left: jax.Array
    open: jax.Array


class Reach(NamedTuple):
    """Of the rows of a cross kernel, the largest norms: behind psi, and as they are."""

    solved: jax.Array
    rows: jax.Array


def signs(sight: Doubt) -> jax.Array:
    """Random signs (n, PROBES) in the eigenbasis, always the same."""
    n, dtype = len(sight.psi), sight.psi.dtype
    return jnp.asarray(np.random.default_rng(0).choice([-1.0, 1.0], size=(n, PROBES)), dtype)


def doubt(
    spectrum: Spectrum, *, ridge: jax.Array, rate: jax.Array, time: jax.Array, discrete: bool
) -> Doubt:
    """Look at the spectrum at one time."""
    spectrum, ridge, rate, time = jax.lax.stop_gradient((spectrum, ridge, rate, time))
    values, floor = spectrum.values, spectrum.floor
    n, eps = len(values), float(jnp.finfo(values.dtype).eps)
    largest = jnp.max(jnp.abs(jnp.diagonal(spectrum.kernel)))
    entry = eps * jnp.maximum(largest, GROWTH / math.sqrt(n) * values[-1])

    w = values + ridge
    still = at_rest(w, floor, rate, time)
    phi = kept_gains(discrete, values, floor, ridge, rate, time)
    safe = jnp.where(still, 1, jnp.maximum(w - floor / 2, w / 2))
    psi = jnp.where(still, 0, jnp.abs(gain(safe, rate, time, discrete=discrete)))
    if discrete:
        slope = jax.jvp(lambda x: gain(x, rate, time, discrete=True), (safe,), (jnp.ones_like(w),))[
            1
        ]
        psi = jnp.maximum(psi, jnp.where(still, 0, jnp.sqrt(jnp.abs(slope))))
    edge = floor + ridge
    moved = floor * gain(jnp.where(edge > 0, edge, 1), rate, time, discrete=discrete)
    unclear = still & ~_plain_rank(values, floor, eps)
    return Doubt(
        spectrum.vectors, entry, psi, jnp.abs(1 - values * phi), jnp.where(unclear, moved, 0)
    )


def _plain_rank(values: jax.Array, floor: jax.Array, eps: float) -> jax.Array:
    kept, noise = values > floor, eps * values[-1]
    null = jnp.max(jnp.where(kept, 0, values)) <= NULL * noise
    steps = jnp.where(kept[:-1], values[:-1] / jnp.where(kept[1:], values[1:], 1), 1)
    ratio = jnp.min(steps, initial=1)
    rank = jnp.sum(kept)
    low = (rank > 1) & (2 * rank <= len(values))
    least = jnp.min(jnp.where(kept, values, values[-1]))
    return null & low & (least * ratio >= GAP * noise)


def reach_of(sight: Doubt, cross: jax.Array) -> Reach:
    """Look at the rows of ``cross`` (m, n)."""
    cross = jax.lax.stop_gradient(cross)
    probed = dot(cross, dot(sight.vectors, sight.psi[:, None] * signs(sight)))
    return Reach(jnp.max(_rows(probed)), jnp.max(jnp.linalg.norm(cross, axis=1)))


def prediction_error(sight: Doubt, reach: Reach, residuals: jax.Array) -> jax.Array:
    """Error of predictions at test points, for residuals (n, c); the largest."""
    rotated = dot(sight.vectors.T, jax.lax.stop_gradient(residuals))
    first = sight.entry * _norm(sight.psi, rotated) + _norm(sight.open, rotated)
    return MARGIN * reach.solved * first + product_error(sight, reach, residuals)


def product_error(sight: Doubt, reach: Reach, residuals: jax.Array) -> jax.Array:
    """The part of it that comes from the rows of the cross kernel and from products."""
    rotated = dot(sight.vectors.T, jax.lax.stop_gradient(residuals))
    lost = reach.rows * _norm(sight.psi, rotated)
    lost += reach.solved * _norm(jnp.ones_like(sight.psi), rotated)
    return MARGIN * float(jnp.finfo(rotated.dtype).eps) * lost


def fit_error(sight: Doubt, residuals: jax.Array) -> jax.Array:
    """Error of predictions at the training points, for residuals (n, c); the largest."""
    rotated = dot(sight.vectors.T, jax.lax.stop_gradient(residuals))
    solved, left = _largest_rows(sight)
    first = solved * _norm(sight.left, rotated) + left * _norm(sight.psi, rotated)
    return MARGIN * (sight.entry * first + _norm(sight.open, rotated))


def covariance_error(
    sight: Doubt, weights: jax.Array, residual: jax.Array, random: jax.Array
) -> jax.Array:
    """Error of covariances at test points, given A_t and K_* - A_t K, (m, n); the largest.

    ``random`` (n, n) is the covariance of the start at the training points.
    """
    weights, residual, random = jax.lax.stop_gradient((weights, residual, random))
    own = float(jnp.finfo(random.dtype).eps) * jnp.max(jnp.abs(random))
    reach = jnp.max(jnp.linalg.norm(weights, axis=1))
    probes = signs(sight)
    both = jnp.concatenate([sight.psi[:, None] * probes, sight.open[:, None] * probes], axis=1)
    probed = dot(residual, dot(sight.vectors, both))
    solved, open_ = _rows(probed[:, :PROBES]), _rows(probed[:, PROBES:])
    lost = sight.entry * jnp.max(solved) + jnp.max(open_) + own
    return MARGIN * (2 * reach * lost + own * reach**2)


def start_error(sight: Doubt, random: jax.Array, left: jax.Array) -> jax.Array:
    """Error of covariances at the training points, given the start's and I - A_t, (n, n) both."""
    random, left = jax.lax.stop_gradient((random, left))
    probes = signs(sight)
    factors = jnp.stack([sight.psi, sight.left, sight.open], axis=1)
    columns = (factors[:, :, None] * probes[:, None, :]).reshape(len(probes), -1)
    probed = dot(left, dot(random, dot(sight.vectors, columns))).reshape(len(probes), 3, -1)
    solved, remaining, open_ = (jnp.max(_rows(probed[:, i])) for i in range(3))
    reach, kept = _largest_rows(sight)
    return MARGIN * 2 * (sight.entry * (reach * remaining + kept * solved) + open_)


def spoiled(error: jax.Array, scale: jax.Array) -> jax.Array:
    """Code for errors that leave less than a third of the digits beside ``scale``."""
    bound = float(jnp.finfo(error.dtype).eps) ** ACCURACY
    return code(error > bound * jax.lax.stop_gradient(scale), Status.ILL_CONDITIONED)


def _norm(factors: jax.Array, rotated: jax.Array) -> jax.Array:
    return jnp.max(jnp.linalg.norm(factors[:, None] * rotated, axis=0))


def _rows(probed: jax.Array) -> jax.Array:
    return jnp.linalg.norm(probed, axis=1) / math.sqrt(probed.shape[1])


def _largest_rows(sight: Doubt) -> tuple[jax.Array, jax.Array]:
    """The largest rows of psi and of the residual left, as functions of the kernel."""
    squares = jnp.square(jnp.stack([sight.psi, sight.left], axis=1))
    solved, left = jnp.sqrt(jnp.max(dot(jnp.square(sight.vectors), squares), axis=0))
    return solved, left
