"""What predictions return, and how trouble is reported without raising on values.

Differs from the paper / reference:
  1. No paper: papers assume exact arithmetic. Here a kernel may come out of float32 with small
     negative eigenvalues, and every result says whether that mattered.
  2. VARIANCE_SLACK = 1/2: a variance is a difference of two numbers of the prior's size, so a
     negative one below ``eps ** VARIANCE_SLACK`` of the prior is taken for rounding; a larger one
     is not.
  3. ACCURACY = 1/3: a mean whose terms cancel to less than a third of the digits is reported
     (contradictory targets at duplicated points do that).
  4. SYMMETRY = 1/2: a kernel is taken for symmetric while K and its transpose share half of the
     digits of the largest entry. Rounding stays far below: a float32 product of n x p features has
     entries off by about eps sqrt(p) of the largest, which is 6e-5 at p = 200,000 parameters,
     against a bound of 3.5e-4. Swapped arguments, a forgotten transpose or another network's
     kernel are of order one.
"""

import enum
from typing import NamedTuple

import jax
import jax.numpy as jnp

VARIANCE_SLACK = 0.5
ACCURACY = 1 / 3
SYMMETRY = 1 / 2


class Status(enum.IntEnum):
    """Outcome of a prediction; 0 is success.

    Attributes
    ----------
    SUCCESS
        Trust the result, up to ``jitter``.
    NONFINITE
        An input was NaN or infinite, or the result overflowed: the result holds NaN or infinities.
    INDEFINITE
        A kernel is not positive semi-definite beyond rounding; the negative part was cut off, or
        lifted by ``jitter`` (Cholesky).
    NOT_FACTORED
        No Cholesky factor even with the largest jitter: the result is NaN.
    ILL_CONDITIONED
        The result is a difference of numbers so large, or moved so far by rounding in the kernel,
        that it keeps less than a third of the digits.
    DIVERGES
        Infinitely many steps were asked for at a learning rate at which descent diverges: NaN.
    ASYMMETRIC
        A kernel of points with themselves is not symmetric beyond rounding; the result is that of
        its symmetric part.
    NOT_INTEGRATED
        The differential equation could not be followed to a time asked for (too many steps, a time
        that is infinite or before the start, a loss whose gradient is not finite): NaN there.
    FEW_SAMPLES
        An average over samples rests on fewer than 100 of them in effect.

    Examples
    --------
    >>> from theorylab.predict import Status
    >>> Status(0).name
    'SUCCESS'
    """

    SUCCESS = 0
    NONFINITE = 1
    INDEFINITE = 2
    NOT_FACTORED = 3
    ILL_CONDITIONED = 4
    DIVERGES = 5
    ASYMMETRIC = 6
    NOT_INTEGRATED = 7
    FEW_SAMPLES = 8


class Prediction(NamedTuple):
    """Mean and covariance of the predicted outputs at m points.

    Attributes
    ----------
    mean
        (m, ...), with the trailing shape of ``y``; a leading axis for an array of times.
    cov
        (m, m), the same for each output, outputs being independent; a leading axis for an array of
        times; None where no covariance was asked for or none is determined.
    status
        int32 scalar, a :class:`Status`; for an array of times, that of the first time in trouble.
    jitter
        Scalar, in the units of the kernel: what was added to its diagonal to factor it
        (posteriors), or the size of the most negative eigenvalue that was set to zero (gradient
        flow, steps).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.predict import Prediction
    >>> p = Prediction(mean=jnp.zeros((2, 1)), cov=None, status=jnp.int32(0), jitter=jnp.zeros(()))
    >>> p.mean.shape
    (2, 1)
    """

    mean: jax.Array
    cov: jax.Array | None
    status: jax.Array
    jitter: jax.Array


def first_trouble(*codes: jax.Array) -> jax.Array:
    """Return the first of several scalar codes that is not 0."""
    result = jnp.int32(Status.SUCCESS)
    for code in reversed(codes):
        result = jnp.where(code == Status.SUCCESS, result, code)
    return result


def code(trouble: jax.Array, status: Status) -> jax.Array:
    """``status`` where ``trouble`` holds, else success."""
    return jnp.where(trouble, jnp.int32(status), jnp.int32(Status.SUCCESS))


def finite(*results: jax.Array | None) -> jax.Array:
    """Code for results that hold NaN or infinities."""
    good = [jnp.all(jnp.isfinite(x)) for x in results if x is not None]
    return code(~jnp.all(jnp.stack(good)), Status.NONFINITE)


def not_negative(x: jax.Array) -> jax.Array:
    """NaN for negative values, which only show where nothing can be raised."""
    return jnp.where(x < 0, jnp.nan, x)


def asymmetry(kernel: jax.Array) -> jax.Array:
    """Code for a square kernel that differs from its transpose by more than rounding.

    The caller goes on with the symmetric part. NaN passes: that is another status.
    """
    kernel = jax.lax.stop_gradient(kernel)
    slack = jnp.finfo(kernel.dtype).eps ** SYMMETRY * jnp.max(jnp.abs(kernel))
    return code(jnp.max(jnp.abs(kernel - kernel.T)) > slack, Status.ASYMMETRIC)


def cancellation(cross: jax.Array, alpha: jax.Array, scale: jax.Array) -> jax.Array:
    """Code for ``cross @ alpha`` (m, n) @ (n, c) whose terms cancel too far, beside ``scale``."""
    eps = jnp.finfo(alpha.dtype).eps
    terms = jnp.matmul(jnp.abs(cross), jnp.abs(alpha), precision=jax.lax.Precision.HIGHEST)
    rounding = eps * jnp.max(terms, initial=0)
    lost = jnp.isfinite(rounding) & (rounding > eps**ACCURACY * scale)
    return code(lost, Status.ILL_CONDITIONED)


def tidy_covariance(cov: jax.Array, prior: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Symmetrise, lift variances that rounding made negative to 0, and report larger ones.

    ``prior`` (m, m) is the covariance before conditioning, whose size measures the rounding.
    """
    cov = (cov + cov.T) / 2
    variances = jnp.diagonal(cov)
    slack = jnp.finfo(cov.dtype).eps ** VARIANCE_SLACK * jnp.max(jnp.abs(jnp.diagonal(prior)))
    indefinite = jnp.any(variances < -slack)
    return cov + jnp.diag(jnp.maximum(-variances, 0)), code(indefinite, Status.INDEFINITE)
