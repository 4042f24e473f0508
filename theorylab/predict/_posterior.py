r"""Gaussian-process posterior by Cholesky, with a reported jitter and an honest status.

Differs from the paper / reference:
  1. Rasmussen & Williams (2006, algorithm 2.1) assume that the factorisation succeeds. Here a pivot
     below ``PIVOT * eps`` of the mean diagonal counts as failure, since it is rounding; then a
     jitter of ``eps`` times the mean diagonal is tried, ten times more each time, up to ``LARGEST``
     of it.
  2. Solutions go through ``jax.lax.custom_linear_solve``, so the loop and the factor need no
     derivative and derivatives of every order exist.
  3. PIVOT = 8, as NOISE in ``_spectral``. LARGEST = 1e-2: a kernel that needs more is not one up to
     rounding in any dtype.
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
    matrix,
    nngp_of,
    scalar,
    shaped,
    targets,
)
from theorylab.predict._results import (
    Prediction,
    Status,
    cancellation,
    code,
    finite,
    first_trouble,
    tidy_covariance,
)
from theorylab.predict._spectral import dot

PIVOT = 8
LARGEST = 1e-2


class _Attempt(NamedTuple):
    number: jax.Array
    jitter: jax.Array
    factor: jax.Array
    success: jax.Array


def posterior(
    k_train: Any, k_test_train: Any, k_test_test: Any, y: ArrayLike, *, noise: Any = 0.0
) -> Prediction:
    r"""Posterior of a Gaussian process given noisy targets.

    .. math::

        m_* = K_* (K + \sigma^2 I)^{-1} y, \qquad
        C_* = K_{**} - K_* (K + \sigma^2 I)^{-1} K_*^\top

    Parameters
    ----------
    k_train
        (n, n) kernel of the training points: an array, or a pair with the fields ``nngp`` and
        ``ntk``, of which ``nngp`` is used (the posterior of the infinitely wide Bayesian network).
    k_test_train
        (m, n), likewise.
    k_test_test
        (m, m), likewise; None for the mean alone.
    y
        Targets, (n,) or (n, ...); outputs are independent and share the kernel.
    noise
        Variance :math:`\sigma^2 \ge 0` of the noise, in the units of the kernel.

    Returns
    -------
    Prediction
        ``mean`` (m, ...), ``cov`` (m, m) of the noise-free function (or None), ``status`` and
        ``jitter``: the variance added to the diagonal because the matrix could not be factored
        without it, 0 where it could. The result is that of the kernel with the jitter.

    Raises
    ------
    TypeError
        If an array is of integers or complex numbers.
    ValueError
        If shapes do not fit, a batch is empty, the NNGP of a pair is None, or ``noise`` is
        negative.

    Notes
    -----
    Limits: ``Status.NOT_FACTORED`` (and NaN) when even a jitter of 1e-2 of the mean diagonal does
    not help; ``Status.ILL_CONDITIONED`` when the terms of the mean cancel so far that less than a
    third of the digits are left (6e-6 of the targets in float64, 5e-3 in float32);
    ``Status.INDEFINITE`` when a variance comes out negative beyond rounding; NaN in gives NaN out
    and ``Status.NONFINITE``. float32 in, float32 out; float16 and bfloat16 are computed in float32.
    All derivatives exist; the jitter is a constant to them.

    References
    ----------
    Rasmussen & Williams (2006), "Gaussian processes for machine learning", equations 2.25 and 2.26;
    Lee et al. (2018), "Deep neural networks as Gaussian processes", equations 8 and 9.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import predict
    >>> k = jnp.array([[1.0]])
    >>> p = predict.posterior(k, k, k, jnp.array([2.0]), noise=3.0)
    >>> p.mean.tolist(), p.cov.tolist(), int(p.status)
    ([0.5], [[0.75]], 0)
    """
    train, cross = _nngp("k_train", k_train), _nngp("k_test_train", k_test_train)
    test = None if k_test_test is None else _nngp("k_test_test", k_test_test)
    n, m = train.shape[0], cross.shape[0]
    shaped("k_train", train, (n, n), "square, one row for each training point")
    shaped("k_test_train", cross, (m, n), f"test points by the {n} training points")
    if test is not None:
        shaped("k_test_test", test, (m, m), f"the {m} test points of k_test_train")
    y = targets(y, n)
    noise = scalar("noise", noise, positive=False)
    dtype = common_dtype(train, cross, test, y)
    return _posterior(*(cast(x, dtype) for x in (train, cross, test, y, noise)))


def _nngp(name: str, k: Any) -> Any:
    if is_kernel(k):
        if k.nngp is None:
            raise ValueError(f"{name}.nngp is None: a posterior needs the NNGP, or pass an array")
        return nngp_of(name, k)
    return matrix(name, k)


@jax.jit
def _posterior(
    train: jax.Array, cross: jax.Array, test: jax.Array | None, y: jax.Array, noise: jax.Array
) -> Prediction:
    n = len(train)
    noisy = (train + train.T) / 2 + noise * jnp.eye(n, dtype=train.dtype)
    attempt, good = _factor(jax.lax.stop_gradient(noisy))

    def solve(right: jax.Array) -> jax.Array:
        # The factor serves the system with the jitter; both are constants to derivatives.
        return jax.lax.custom_linear_solve(
            lambda v: dot(noisy, v) + attempt.jitter * v,
            right,
            lambda _, v: jax.scipy.linalg.cho_solve((attempt.factor, True), v),
            symmetric=True,
        )

    flat = y.reshape(n, -1)
    alpha = solve(flat)
    mean = dot(cross, alpha)
    codes = [
        code(~good, Status.NONFINITE),
        code(~attempt.success, Status.NOT_FACTORED),
        cancellation(cross, alpha, jnp.max(jnp.abs(flat))),
    ]
    cov = None
    if test is not None:
        cov, negative = tidy_covariance(test - dot(cross, solve(cross.T)), test)
        codes.append(negative)
    mean = mean.reshape(len(mean), *y.shape[1:])
    jitter = jnp.where(good, attempt.jitter, jnp.nan)
    return Prediction(mean, cov, first_trouble(*codes, finite(mean, cov)), jitter)


def _factor(k: jax.Array) -> tuple[_Attempt, jax.Array]:
    """Factor ``k`` plus the smallest jitter tried that works; also whether k is finite."""
    n, eps = len(k), float(jnp.finfo(k.dtype).eps)
    good = jnp.all(jnp.isfinite(k))
    k = jnp.where(good, k, jnp.eye(n, dtype=k.dtype))
    scale = jnp.mean(jnp.abs(jnp.diagonal(k)))
    attempts = 1 + math.ceil(math.log10(LARGEST / eps))

    def attempt(number: jax.Array) -> _Attempt:
        growth = jnp.power(jnp.asarray(10, k.dtype), (number - 1).astype(k.dtype))
        jitter = jnp.where(number == 0, 0, eps * scale * growth)
        factor = jnp.linalg.cholesky(k + jitter * jnp.eye(n, dtype=k.dtype))
        pivots = jnp.square(jnp.diagonal(factor))
        return _Attempt(number + 1, jitter, factor, jnp.min(pivots) > PIVOT * eps * scale)

    first = attempt(jnp.int32(0))
    last = jax.lax.while_loop(
        lambda a: ~a.success & (a.number < attempts), lambda a: attempt(a.number), first
    )
    poisoned = jnp.where(good & last.success, last.factor, jnp.nan)
    return last._replace(factor=poisoned), good
