r"""Posterior of a network whose last layer has an inverse-gamma variance: a Student-t process.

Differs from the paper / reference:
  1. Several outputs are those of one network: they share the variance s of its last layer, so each
     tells about s, and they are uncorrelated but not independent. With n points and c outputs,
     n c numbers enter where the paper's formulas for one output have n.
  2. The density is written with a ratio of gamma functions and ``log1p``, so a = b = infinity, the
     Gaussian process, is approached without loss of digits.
  3. What is done about kernels that are not positive, and about derivatives, is said in
     ``_cholesky``.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from theorylab.predict._arguments import cast, scalar
from theorylab.predict._cholesky import log_determinant, uncertain_density
from theorylab.predict._gamma_ratio import log_gamma_ratio
from theorylab.predict._posterior import Problem, condition, problem
from theorylab.predict._results import finite, first_trouble


class StudentT(NamedTuple):
    """Multivariate Student-t distribution of the predicted outputs at m points.

    Attributes
    ----------
    mean
        (m, ...), with the trailing shape of ``y``: the location (the mean where ``df > 1``).
    scale
        (m, m), the scale matrix, the same for each output; the covariance is
        ``scale * df / (df - 2)`` where ``df > 2``. None where it was not asked for.
    df
        Scalar, degrees of freedom.
    log_marginal
        Scalar, in nats: the logarithm of the density of all targets together.
    status
        int32 scalar, a :class:`Status`.
    jitter
        Scalar, in the units of the kernel: what was added to its diagonal to factor it.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.predict import StudentT
    >>> t = StudentT(jnp.zeros(1), jnp.eye(1), jnp.array(4.0), *(jnp.zeros(()),) * 3)
    >>> (t.scale * t.df / (t.df - 2)).tolist()  # the covariance
    [[2.0]]
    """

    mean: jax.Array
    scale: jax.Array | None
    df: jax.Array
    log_marginal: jax.Array
    status: jax.Array
    jitter: jax.Array


def student_t_posterior(
    k_train: Any,
    k_test_train: Any,
    k_test_test: Any,
    y: ArrayLike,
    *,
    a: Any,
    b: Any,
    noise: Any = 0.0,
) -> StudentT:
    r"""Posterior of a scale mixture of Gaussian processes under an inverse-gamma prior.

    .. math::

        s \sim \mathrm{IG}(a, b), \qquad f \mid s \sim GP(0, s K), \qquad
        y \mid f, s \sim N(f, s \sigma^2 I),

    that is, an infinitely wide Bayesian network whose last layer has the random variance s, noise
    in units of it. With :math:`A = K + \sigma^2 I`, c outputs, which share s, and
    :math:`Q = \sum_j y_j^\top A^{-1} y_j`,

    .. math::

        f_* \mid y \sim t_\nu\!\left(K_* A^{-1} y, \
            \frac{2b + Q}{\nu} \left[K_{**} - K_* A^{-1} K_*^\top\right]\right),
        \qquad \nu = 2a + n c,

    .. math::

        \log p(y) = \log\frac{\Gamma(a + \frac{nc}{2})}{\Gamma(a)} - \frac{nc}{2} \log(2 \pi b)
            - \frac c2 \log\det A - \left(a + \frac{nc}{2}\right)
            \log\left(1 + \frac{Q}{2b}\right).

    The outputs at the test points together, (m, c), are Student-t with the scale matrix
    :math:`\text{scale} \otimes I_c`: uncorrelated, not independent. For outputs with a variance
    each, call once per output (``jax.vmap`` over the columns of y).

    Parameters
    ----------
    k_train
        (n, n) kernel of the training points at s = 1: an array, or a pair with the fields ``nngp``
        and ``ntk``, of which ``nngp`` is used.
    k_test_train
        (m, n), likewise.
    k_test_test
        (m, m), likewise; None for everything but the scale.
    y
        Targets, (n,) or (n, ...).
    a, b
        Shape and scale of the inverse-gamma prior, both positive, s having the density
        proportional to ``s**(-a - 1) exp(-b / s)``. Before any data f is Student-t with 2a degrees
        of freedom and the scale matrix ``(b / a) K``.
    noise
        :math:`\sigma^2 \ge 0`: the variance of the noise is ``s * noise``.

    Returns
    -------
    StudentT
        ``mean`` (m, ...), ``scale`` (m, m) of the noise-free function (or None), ``df``,
        ``log_marginal``, ``status`` and ``jitter``: the variance added to the diagonal because the
        matrix could not be factored without it, 0 where it could.

    Raises
    ------
    TypeError
        If an array is of integers or complex numbers.
    ValueError
        If shapes do not fit, a batch is empty, the NNGP of a pair is None, ``a`` or ``b`` is not
        positive, or ``noise`` is negative.

    Notes
    -----
    Limits: ``Status.NOT_FACTORED`` (and NaN), ``Status.ASYMMETRIC``, ``Status.INDEFINITE`` and
    ``Status.ILL_CONDITIONED`` as for :func:`posterior`, and the last also as for :func:`evidence`:
    wherever a jitter was needed, since then the jitter decides what the targets say about s. NaN
    in, or an ``a``, ``b`` or ``noise`` out of range that only shows under ``jit``, gives NaN out
    and ``Status.NONFINITE``. As a = b grows the result approaches that of :func:`posterior`, by
    terms of order 1 / a. float32 in, float32 out; float16 and bfloat16 are computed in float32. All
    derivatives exist; the jitter is a constant to them.

    References
    ----------
    Lee, Yun, Yang & Lee (2021), "Scale mixtures of neural network Gaussian processes"; the formulas
    are re-derived from the model above, and tested against conditioning a multivariate t. Shah,
    Wilson & Ghahramani (2014), "Student-t processes as alternatives to Gaussian processes".

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import predict
    >>> k = jnp.array([[1.0]])
    >>> t = predict.student_t_posterior(k, k, k, jnp.array([4.0]), a=2, b=2, noise=3.0)
    >>> t.mean.tolist(), float(t.df)
    ([1.0], 5.0)
    >>> round(float(t.scale[0, 0]), 6)  # (2 b + y^2 / 4) / 5 times the Gaussian variance 3/4
    1.2
    """
    given = problem(k_train, k_test_train, k_test_test, y, noise)
    dtype = given.y.dtype
    prior = [cast(scalar(name, x, positive=True), dtype) for name, x in (("a", a), ("b", b))]
    return _student_t(given, *prior)


@jax.jit
def _student_t(given: Problem, a: jax.Array, b: jax.Array) -> StudentT:
    a, b = (x * jnp.where(x > 0, 1, jnp.nan).astype(x.dtype) for x in (a, b))
    factored, alpha, mean, cov, status = condition(given)
    flat = given.y.reshape(alpha.shape)
    quadratic = jnp.sum(flat * alpha)
    half = flat.size / 2
    df = 2 * (a + half)
    scale = None if cov is None else (b + quadratic / 2) / (a + half) * cov
    log_marginal = (
        log_gamma_ratio(a, half)
        - half * jnp.log(2 * math.pi * b)
        - flat.shape[1] / 2 * log_determinant(factored)
        - (a + half) * jnp.log1p(quadratic / (2 * b))
    )
    trouble = uncertain_density(factored, alpha, quadratic)
    status = first_trouble(status, finite(scale, df, log_marginal), trouble)
    return StudentT(mean, scale, df, log_marginal, status, factored.jitter)
