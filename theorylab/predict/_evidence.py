r"""How probable the targets are under a kernel: the quantity to tune its hyperparameters by.

Differs from the paper / reference:
  1. Rasmussen & Williams (2006, algorithm 2.1) assume a factorisation that succeeds. Here a status
     says where rounding, or a jitter, decides the value: a singular kernel has no density, and with
     a jitter epsilon every null direction adds ``-log(epsilon) / 2``, which is no property of the
     model.
  2. What is done about kernels that are not positive, and about derivatives, is said in
     ``_cholesky``.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from theorylab.predict._arguments import cast, common_dtype, scalar
from theorylab.predict._cholesky import factorise, log_determinant, solve, uncertain_density
from theorylab.predict._posterior import training
from theorylab.predict._results import Status, finite, first_trouble


class Evidence(NamedTuple):
    """Logarithm of the density of the targets, with a report.

    Attributes
    ----------
    log_marginal
        Scalar, in nats, summed over outputs.
    status
        int32 scalar, a :class:`Status`.
    jitter
        Scalar, in the units of the kernel: what was added to its diagonal to factor it.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.predict import Evidence
    >>> Evidence(jnp.zeros(()), jnp.int32(0), jnp.zeros(())).log_marginal.shape
    ()
    """

    log_marginal: jax.Array
    status: jax.Array
    jitter: jax.Array


def log_marginal_likelihood(k_train: Any, y: ArrayLike, *, noise: Any) -> jax.Array:
    r"""Logarithm of the density of noisy targets under a Gaussian process.

    .. math::

        \log p(y) = -\tfrac12\, y^\top A^{-1} y - \tfrac12 \log\det A - \tfrac n2 \log 2\pi,
        \qquad A = K + \sigma^2 I,

    summed over the outputs, which are independent and share the kernel. :func:`evidence` returns it
    with a status: prefer that where nobody looks at the number.

    Parameters
    ----------
    k_train
        (n, n) kernel of the training points: an array, or a pair with the fields ``nngp`` and
        ``ntk``, of which ``nngp`` is used.
    y
        Targets, (n,) or (n, ...).
    noise
        Variance :math:`\sigma^2 \ge 0` of the noise, in the units of the kernel.

    Returns
    -------
    jax.Array
        Scalar, in nats. NaN, for want of a status, where ``k_train`` is not symmetric, where with
        the noise it is not positive semi-definite, both beyond rounding, where there is no Cholesky
        factor, even with a jitter, and where an input is NaN or (under ``jit``) the noise is
        negative. With a jitter within rounding it is the density with that jitter.

    Raises
    ------
    TypeError
        If an array is of integers or complex numbers.
    ValueError
        If shapes do not fit, a batch is empty, the NNGP of a pair is None, or ``noise`` is
        negative.

    Notes
    -----
    Limits: a singular kernel without noise has no density; the value with a jitter depends on it,
    which :func:`evidence` reports. All derivatives exist, of every order, in the kernel (hence in
    its hyperparameters), the targets and the noise; the jitter is a constant to them. A first
    derivative in the kernel costs one inverse. float32 in, float32 out; float16 and bfloat16 are
    computed in float32. Without a status nothing says how many digits rounding has left.

    References
    ----------
    Rasmussen & Williams (2006), "Gaussian processes for machine learning", equations 2.30 (value)
    and 5.9 (derivative).

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from theorylab import predict
    >>> k, y = jnp.array([[1.0]]), jnp.array([2.0])
    >>> value = predict.log_marginal_likelihood(k, y, noise=3.0)  # N(2; 0, 4)
    >>> round(float(value), 4)
    -2.1121
    >>> slope = jax.grad(lambda noise: predict.log_marginal_likelihood(k, y, noise=noise))
    >>> round(float(slope(3.0)), 4)  # y^2 equals its variance: the best noise
    0.0
    """
    value, status, _ = evidence(k_train, y, noise=noise)
    valid = (status == Status.SUCCESS) | (status == Status.ILL_CONDITIONED)
    return value * jnp.where(valid, 1, jnp.nan).astype(value.dtype)  # its derivatives are NaN too


def evidence(k_train: Any, y: ArrayLike, *, noise: Any) -> Evidence:
    r"""Logarithm of the density of noisy targets under a Gaussian process, with a report.

    The formula is that of :func:`log_marginal_likelihood`.

    Parameters
    ----------
    k_train
        (n, n) kernel of the training points, or a pair, whose ``nngp`` is used.
    y
        Targets, (n,) or (n, ...).
    noise
        Variance of the noise, in the units of the kernel; 0 or positive.

    Returns
    -------
    Evidence
        ``log_marginal``, ``status`` and ``jitter``: the variance added to the diagonal because the
        matrix could not be factored without it, 0 where it could.

    Raises
    ------
    TypeError
        If an array is of integers or complex numbers.
    ValueError
        If shapes do not fit, a batch is empty, the NNGP of a pair is None, or ``noise`` is
        negative.

    Notes
    -----
    Limits: ``Status.NOT_FACTORED`` (and NaN), ``Status.ASYMMETRIC`` and ``Status.INDEFINITE`` as
    for :func:`posterior`; ``Status.ILL_CONDITIONED`` wherever a jitter was needed, or where
    rounding leaves less than a third of the digits of the quadratic form or of a pivot of A (5e-3
    in float32, 6e-6 in float64). NaN in, or a negative noise that only shows under ``jit``, gives
    NaN out and ``Status.NONFINITE``. float32 in, float32 out; float16 and bfloat16 are computed in
    float32. All derivatives exist; the jitter is a constant to them.

    References
    ----------
    Rasmussen & Williams (2006), "Gaussian processes for machine learning", equation 2.30.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import predict
    >>> twice = jnp.ones((2, 2))  # the same point twice, with different targets
    >>> predict.Status(int(predict.evidence(twice, jnp.array([0.0, 1.0]), noise=0.0).status)).name
    'ILL_CONDITIONED'
    """
    train, checked = training(k_train, y)
    noise = scalar("noise", noise, positive=False)
    dtype = common_dtype(train, checked)
    return _evidence(*(cast(x, dtype) for x in (train, checked, noise)))


@jax.jit
def _evidence(train: jax.Array, y: jax.Array, noise: jax.Array) -> Evidence:
    factored = factorise(train, noise)
    flat = y.reshape(len(y), -1)
    alpha = solve(factored, flat)
    quadratic = jnp.sum(flat * alpha)
    value = -(quadratic + flat.shape[1] * log_determinant(factored)) / 2
    value -= y.size / 2 * math.log(2 * math.pi)
    trouble = uncertain_density(factored, alpha, quadratic)
    status = first_trouble(factored.status, finite(value), trouble)
    return Evidence(value, status, factored.jitter)
