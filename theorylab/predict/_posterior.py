r"""Gaussian-process posterior by one Cholesky factor, and what other posteriors share with it.

Differs from the paper / reference:
  1. What is done about kernels that are not positive, and about derivatives, is said in
     ``_cholesky``.
  2. Mean and covariance come out of the explicit solutions, not out of the factor (Rasmussen &
     Williams 2006, algorithm 2.1), since solutions have derivatives of every order.
"""

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
from theorylab.predict._cholesky import Factored, factorise, solve, uncertain_mean
from theorylab.predict._results import (
    Prediction,
    asymmetry,
    cancellation,
    finite,
    first_trouble,
    tidy_covariance,
)
from theorylab.predict._spectral import dot


class Problem(NamedTuple):
    """Everything that a posterior is given, checked and of one dtype."""

    train: jax.Array  # (n, n)
    cross: jax.Array  # (m, n)
    test: jax.Array | None  # (m, m)
    y: jax.Array  # (n, ...)
    noise: jax.Array


class Conditioned(NamedTuple):
    """A Gaussian process given the targets; ``alpha`` (n, c) solves for the flattened targets."""

    factored: Factored
    alpha: jax.Array
    mean: jax.Array
    cov: jax.Array | None
    status: jax.Array


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
    Limits: ``Status.NOT_FACTORED`` (and NaN) when even a jitter of 1e-3 of the mean diagonal does
    not help; ``Status.ASYMMETRIC`` when a kernel of points with themselves is not symmetric (its
    symmetric part is used); ``Status.INDEFINITE`` when ``k_train`` needs a jitter beyond rounding
    (100 n eps of its mean diagonal), or when a variance comes out negative beyond rounding;
    ``Status.ILL_CONDITIONED`` where rounding leaves less than a third of the digits of the mean
    (6e-6 of the largest target in float64, 5e-3 in float32). NaN in, or a negative noise that only
    shows under ``jit``, gives NaN out and ``Status.NONFINITE``. float32 in, float32 out; float16
    and bfloat16 are computed in float32. All derivatives exist; the jitter is a constant to them.
    A kernel with negative eigenvalues that the noise outweighs is not recognised: only an
    eigendecomposition would see them (:func:`gradient_flow` does one, and reports them).

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
    return _posterior(problem(k_train, k_test_train, k_test_test, y, noise))


def problem(k_train: Any, k_test_train: Any, k_test_test: Any, y: ArrayLike, noise: Any) -> Problem:
    """Check the arguments of a posterior."""
    train, checked = training(k_train, y)
    cross = nngp("k_test_train", k_test_train)
    test = None if k_test_test is None else nngp("k_test_test", k_test_test)
    n, m = train.shape[0], cross.shape[0]
    shaped("k_test_train", cross, (m, n), f"test points by the {n} training points")
    if test is not None:
        shaped("k_test_test", test, (m, m), f"the {m} test points of k_test_train")
    noise = scalar("noise", noise, positive=False)
    dtype = common_dtype(train, cross, test, checked)
    arrays: list[Any] = [cast(x, dtype) for x in (train, cross, test, checked, noise)]
    return Problem(*arrays)


def training(k_train: Any, y: ArrayLike) -> tuple[Any, Any]:
    """Check a training kernel, of whose pair the NNGP is taken, and its targets."""
    train = nngp("k_train", k_train)
    n = train.shape[0]
    shaped("k_train", train, (n, n), "square, one row for each training point")
    return train, targets(y, n)


def nngp(name: str, k: Any) -> Any:
    """Take the NNGP of a kernel pair, or the array itself."""
    if is_kernel(k):
        if k.nngp is None:
            raise ValueError(f"{name}.nngp is None: a posterior needs the NNGP, or pass an array")
        return nngp_of(name, k)
    return matrix(name, k)


def condition(given: Problem) -> Conditioned:
    """Mean and covariance at the test points, given the targets."""
    train, cross, test, y, noise = given
    factored = factorise(train, noise)
    flat = y.reshape(len(y), -1)
    outputs = flat.shape[1]
    right = flat if test is None else jnp.concatenate([flat, cross.T], axis=1)
    solved = solve(factored, right)
    alpha = solved[:, :outputs]
    mean = dot(cross, alpha)
    size = jnp.max(jnp.abs(flat))
    cov, codes = None, []
    if test is not None:
        cov, negative = tidy_covariance(test - dot(cross, solved[:, outputs:]), test)
        codes = [asymmetry(test), negative]
    status = first_trouble(
        factored.status,
        finite(mean, cov),
        cancellation(cross, alpha, size),
        uncertain_mean(factored, cross, alpha, size),
        *codes,
    )
    mean = mean.reshape(len(mean), *y.shape[1:])
    return Conditioned(factored, alpha, mean, cov, status)


@jax.jit
def _posterior(given: Problem) -> Prediction:
    factored, _, mean, cov, status = condition(given)
    return Prediction(mean, cov, status, factored.jitter)
