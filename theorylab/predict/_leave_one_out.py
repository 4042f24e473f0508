r"""What is predicted at each training point from all the others, without refitting.

Differs from the paper / reference:
  1. Outputs share the kernel: one inverse serves all of them.
  2. Rounding is estimated entry by entry. Independent relative errors e in the entries of A, taken
     as large as :math:`\sqrt{A_{jj} A_{kk}}`, change :math:`\alpha_i` by about
     :math:`e\, u_i \lVert \sqrt{A_{jj}}\, \alpha_j \rVert` and :math:`[A^{-1}]_{ii}` by
     :math:`e\, u_i^2`, where :math:`u_i^2 = \sum_j [A^{-1}]_{ij}^2 A_{jj}`; e is that of
     ``_cholesky``. Measured, this is above the true error, by a factor of 1 to 30.
  3. What is done about kernels that are not positive, and about derivatives, is said in
     ``_cholesky``.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from theorylab.predict._arguments import (
    cast,
    common_dtype,
    is_kernel,
    ntk_of,
    scalar,
    shaped,
    targets,
)
from theorylab.predict._cholesky import Factored, entry_error, factorise, inverse
from theorylab.predict._posterior import training
from theorylab.predict._results import ACCURACY, Status, code, finite, first_trouble
from theorylab.predict._spectral import dot


class LeaveOneOut(NamedTuple):
    """Predictions at n training points, each from the n - 1 others.

    Attributes
    ----------
    mean
        (n, ...), with the trailing shape of ``y``.
    variance
        (n,), of the noisy target left out, the same for each output.
    log_density
        (n, ...), in nats: the logarithm of the normal density of each target left out. Their sum is
        the pseudo-likelihood of cross-validation.
    status
        int32 scalar, a :class:`Status`.
    jitter
        Scalar, in the units of the kernel: what was added to its diagonal to factor it.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.predict import LeaveOneOut
    >>> p = LeaveOneOut(jnp.zeros(3), jnp.ones(3), jnp.zeros(3), jnp.int32(0), jnp.zeros(()))
    >>> p.mean.shape
    (3,)
    """

    mean: jax.Array
    variance: jax.Array
    log_density: jax.Array
    status: jax.Array
    jitter: jax.Array


def leave_one_out(k_train: Any, y: ArrayLike, *, ridge: Any) -> jax.Array:
    r"""Residuals of kernel ridge regression at each training point, left out of the fit.

    .. math::

        r_i = y_i - f_{\setminus i}(x_i) = \frac{[A^{-1} y]_i}{[A^{-1}]_{ii}}, \qquad
        A = K + \lambda I,

    where :math:`f_{\setminus i}` is fitted to the n - 1 other points with the same ridge
    :math:`\lambda`. One inverse gives all of them.

    Parameters
    ----------
    k_train
        (n, n) kernel of the training points: an array, or a pair with the fields ``nngp`` and
        ``ntk``, of which ``ntk`` is used, as wherever a ridge is asked for: the residuals are those
        of networks trained to the end, :func:`gradient_flow` at infinity from the mean start 0.
        :func:`leave_one_out_posterior` is the Bayesian counterpart.
    y
        Targets, (n,) or (n, ...). Outputs share the kernel.
    ridge
        :math:`\lambda \ge 0`, in the units of the kernel (not relative to n or its trace).

    Returns
    -------
    jax.Array
        (n, ...), the shape of y: target minus prediction. For want of a status, an entry is NaN
        where rounding leaves less than a third of its digits (5e-3 of the largest target in
        float32, 6e-6 in float64), and all are NaN where ``k_train`` is not symmetric, where with
        the ridge it is not positive semi-definite, both beyond rounding, where there is no Cholesky
        factor, and where an input is not finite or (under ``jit``) the ridge negative.

    Raises
    ------
    TypeError
        If an array is of integers or complex numbers.
    ValueError
        If shapes do not fit, a batch is empty, the NTK of a pair is None, or ``ridge`` is negative.

    Notes
    -----
    Limits: a singular kernel with ridge 0 is factored with a jitter within rounding, which acts as
    a ridge. Where the other points determine the prediction (a point given twice) the residuals
    come out right; where they do not, most digits are lost, and with them the entries: give a ridge
    well above ``eps`` times the largest eigenvalue. A point that is its own only neighbour has its
    target for a residual. float32 in, float32 out; float16 and bfloat16 are computed in float32.
    All derivatives exist; the jitter is a constant to them.

    References
    ----------
    Rasmussen & Williams (2006), "Gaussian processes for machine learning", equation 5.12; Craven &
    Wahba (1978), "Smoothing noisy data with spline functions".

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import predict
    >>> twice = jnp.ones((2, 2))  # one point, two targets: each is predicted from the other
    >>> r = predict.leave_one_out(twice, jnp.array([0.0, 4.0]), ridge=1.0)
    >>> [round(float(v), 4) for v in r]  # 0 - 4 / 2 and 4 - 0
    [-2.0, 4.0]
    """
    train = ntk_of("k_train", k_train)
    n = train.shape[0]
    name = "k_train.ntk" if is_kernel(k_train) else "k_train"
    shaped(name, train, (n, n), "square, one row for each training point")
    y = targets(y, n)
    ridge = scalar("ridge", ridge, positive=False)
    dtype = common_dtype(train, y)
    return _residuals(*(cast(x, dtype) for x in (train, y, ridge)))


def leave_one_out_posterior(k_train: Any, y: ArrayLike, *, noise: Any) -> LeaveOneOut:
    r"""Posterior of a Gaussian process at each training point, given the others, with a report.

    .. math::

        \mu_i = y_i - \frac{[A^{-1} y]_i}{[A^{-1}]_{ii}}, \qquad
        \sigma_i^2 = \frac{1}{[A^{-1}]_{ii}}, \qquad A = K + \sigma^2 I.

    Parameters
    ----------
    k_train
        (n, n) kernel of the training points: an array, or a pair with the fields ``nngp`` and
        ``ntk``, of which ``nngp`` is used, as by :func:`posterior`.
    y
        Targets, (n,) or (n, ...); outputs are independent and share the kernel.
    noise
        Variance :math:`\sigma^2 \ge 0` of the noise, in the units of the kernel.

    Returns
    -------
    LeaveOneOut
        ``mean`` (n, ...), ``variance`` (n,) of the noisy target, ``log_density`` (n, ...),
        ``status`` and ``jitter``: the variance added to the diagonal because the matrix could not
        be factored without it, 0 where it could.

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
    rounding leaves less than a third of the digits of a mean (beside the largest target) or of a
    variance. NaN in, or a negative noise that only shows under ``jit``, gives NaN out and
    ``Status.NONFINITE``. float32 in, float32 out; float16 and bfloat16 are computed in float32. All
    derivatives exist; the jitter is a constant to them.

    References
    ----------
    Rasmussen & Williams (2006), "Gaussian processes for machine learning", equations 5.10 to 5.12.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import predict
    >>> twice = jnp.ones((2, 2))
    >>> p = predict.leave_one_out_posterior(twice, jnp.array([0.0, 4.0]), noise=1.0)
    >>> [round(float(v), 4) for v in (p.mean[0], p.variance[0])]  # 4 / 2, and 2 - 1 / 2
    [2.0, 1.5]
    """
    train, checked = training(k_train, y)
    noise = scalar("noise", noise, positive=False)
    dtype = common_dtype(train, checked)
    return _leave_one_out(*(cast(x, dtype) for x in (train, checked, noise)))


class _Left(NamedTuple):
    residuals: jax.Array  # (n, c)
    variance: jax.Array  # (n, 1)
    lost: jax.Array  # (n, c): whether the residual has lost its digits
    vague: jax.Array  # (n, 1): whether the variance has


def _left(factored: Factored, flat: jax.Array) -> _Left:
    precision = inverse(factored)
    alpha = dot(precision, flat)
    variance = 1 / jnp.diagonal(precision)[:, None]
    residuals = alpha * variance
    precision, alpha, diagonal = jax.lax.stop_gradient(
        (precision, alpha, jnp.diagonal(factored.matrix))
    )
    size = jnp.sqrt(diagonal)[:, None]
    reach = jnp.linalg.norm(precision * size.T, axis=1, keepdims=True)  # u of the docstring
    fitted = jnp.linalg.norm(size * alpha, axis=0, keepdims=True)
    error, bound = entry_error(factored), float(jnp.finfo(flat.dtype).eps) ** ACCURACY
    off = error * reach * variance * (fitted + jnp.abs(residuals) * reach)
    vague = error * jnp.square(reach) * variance > bound
    return _Left(residuals, variance, off > bound * jnp.max(jnp.abs(flat)), vague)


@jax.jit
def _residuals(train: jax.Array, y: jax.Array, ridge: jax.Array) -> jax.Array:
    factored = factorise(train, ridge)
    left = _left(factored, y.reshape(len(y), -1))
    valid = (factored.status == Status.SUCCESS) & jnp.all(jnp.isfinite(left.residuals))
    trusted = jnp.where(valid & ~left.lost, 1, jnp.nan).astype(y.dtype)
    return (trusted * left.residuals).reshape(y.shape)  # the derivatives are NaN too


@jax.jit
def _leave_one_out(train: jax.Array, y: jax.Array, noise: jax.Array) -> LeaveOneOut:
    factored = factorise(train, noise)
    flat = y.reshape(len(y), -1)
    left = _left(factored, flat)
    mean = flat - left.residuals
    log_density = -jnp.log(2 * math.pi * left.variance) / 2
    log_density = log_density - jnp.square(left.residuals) / (2 * left.variance)
    spoiled = (factored.jitter > 0) | jnp.any(left.lost) | jnp.any(left.vague)
    status = first_trouble(
        factored.status, finite(mean, log_density), code(spoiled, Status.ILL_CONDITIONED)
    )
    return LeaveOneOut(
        mean.reshape(y.shape),
        left.variance[:, 0],
        log_density.reshape(y.shape),
        status,
        factored.jitter,
    )
