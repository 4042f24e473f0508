r"""Posterior of a network whose last layer has a random variance, by importance sampling.

Differs from the paper / reference:
  1. Only the variance s is sampled. Given s everything is Gaussian and scales with s, so the mean
     does not depend on the samples at all, the covariance only through the posterior mean of s, and
     one Cholesky factor serves all samples.
  2. Several outputs share s, as in ``_student_t``.
  3. ENOUGH = 100 effective samples: a weighted average then has a standard error of at most a tenth
     of the posterior spread of what is averaged. Where there are fewer, the status says so.
  4. What is done about kernels that are not positive, and about derivatives, is said in
     ``_cholesky``.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from theorylab._numerics import safe_sqrt
from theorylab.predict._arguments import cast, count
from theorylab.predict._cholesky import log_determinant, uncertain_density
from theorylab.predict._posterior import Problem, condition, problem
from theorylab.predict._results import Status, code, finite, first_trouble

ENOUGH = 100


class ScaleMixture(NamedTuple):
    """Mixture of Gaussian distributions of the predicted outputs at m points.

    Given a scale s the outputs are Gaussian with the mean ``mean`` and the covariance
    ``s / sum(weights * scales) * cov``.

    Attributes
    ----------
    mean
        (m, ...), with the trailing shape of ``y``: the same for every scale.
    cov
        (m, m), the covariance of the mixture, the same for each output; None where it was not asked
        for.
    scales
        (n_samples,), samples of the prior of s.
    weights
        (n_samples,), their posterior probabilities; they sum to 1.
    effective_sample_size
        Scalar, ``1 / sum(weights**2)``, between 1 and n_samples.
    log_marginal
        Scalar, in nats: the estimated logarithm of the density of all targets together, with a
        standard error of about ``sqrt(1 / effective_sample_size - 1 / n_samples)``.
    status
        int32 scalar, a :class:`Status`.
    jitter
        Scalar, in the units of the kernel: what was added to its diagonal to factor it.

    Examples
    --------
    >>> from theorylab.predict import ScaleMixture
    >>> ScaleMixture._fields[2:5]
    ('scales', 'weights', 'effective_sample_size')
    """

    mean: jax.Array
    cov: jax.Array | None
    scales: jax.Array
    weights: jax.Array
    effective_sample_size: jax.Array
    log_marginal: jax.Array
    status: jax.Array
    jitter: jax.Array


def scale_mixture_posterior(
    k_train: Any,
    k_test_train: Any,
    k_test_test: Any,
    y: ArrayLike,
    *,
    prior: Callable[[jax.Array, int], ArrayLike],
    key: jax.Array,
    n_samples: int = 10_000,
    noise: Any = 0.0,
) -> ScaleMixture:
    r"""Posterior of a scale mixture of Gaussian processes under any prior that can be sampled.

    .. math::

        s \sim p, \qquad f \mid s \sim GP(0, s K), \qquad y \mid f, s \sim N(f, s \sigma^2 I),

    that is, an infinitely wide Bayesian network whose last layer has the random variance s, noise
    in units of it. With :math:`A = K + \sigma^2 I`, c outputs, which share s, and
    :math:`Q = \sum_j y_j^\top A^{-1} y_j`, samples :math:`s_i` of the prior have the weights

    .. math::

        w_i \propto N(y;\, 0,\, s_i A) \propto s_i^{-n c / 2}\, e^{-Q / (2 s_i)},

    and

    .. math::

        m_* = K_* A^{-1} y, \qquad
        C_* = \Bigl(\sum_i w_i s_i\Bigr) \left[K_{**} - K_* A^{-1} K_*^\top\right].

    Under an inverse-gamma prior :func:`student_t_posterior` has the same without sampling.

    Parameters
    ----------
    k_train
        (n, n) kernel of the training points at s = 1: an array, or a pair with the fields ``nngp``
        and ``ntk``, of which ``nngp`` is used.
    k_test_train
        (m, n), likewise.
    k_test_test
        (m, m), likewise; None for everything but the covariance.
    y
        Targets, (n,) or (n, ...).
    prior
        ``prior(key, n_samples)`` returns (n_samples,) independent samples of s > 0.
    key
        Typed JAX key, passed on to ``prior``.
    n_samples
        Number of samples: of numbers, not of functions, so many are cheap.
    noise
        :math:`\sigma^2 \ge 0`: the variance of the noise is ``s * noise``.

    Returns
    -------
    ScaleMixture
        ``mean`` (m, ...), ``cov`` (m, m) of the noise-free function (or None), ``scales``,
        ``weights``, ``effective_sample_size``, ``log_marginal``, ``status`` and ``jitter``.

    Raises
    ------
    TypeError
        If an array is of integers or complex numbers, ``key`` is no typed key, ``n_samples`` no
        plain number, or ``prior`` no function or one that returns no floating-point numbers.
    ValueError
        If shapes do not fit, a batch is empty, the NNGP of a pair is None, ``n_samples`` is no
        positive whole number, ``prior`` returns another number of samples, or ``noise`` is
        negative.

    Notes
    -----
    Limits: ``Status.NOT_FACTORED`` (and NaN), ``Status.ASYMMETRIC``, ``Status.INDEFINITE`` and
    ``Status.ILL_CONDITIONED`` as for :func:`student_t_posterior`; ``Status.FEW_SAMPLES`` where the
    effective sample size is below 100: the posterior of s lies where the prior has hardly been
    sampled. It cannot tell of regions where there is no sample at all. The posterior of s narrows
    as ``sqrt(2 / (n c))``, so more targets need more samples. A scale of 0 or infinity counts as
    one of weight 0 (samplers in float32 return them), and so does one so small that the square of y
    over it leaves the range of the dtype; a negative one or NaN gives ``Status.NONFINITE``, and so
    does NaN elsewhere. The samples are cast to the dtype of the arrays: float32 in, float32 out;
    float16 and bfloat16 are computed in float32. All derivatives exist, also through samples that
    ``prior`` makes differentiably; the jitter is a constant to them.

    References
    ----------
    Lee, Yun, Yang & Lee (2021), "Scale mixtures of neural network Gaussian processes"; the formulas
    are derived from the model above.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from theorylab import predict
    >>> def inverse_gamma(key, n):
    ...     return 2 / jax.random.gamma(key, 2.0, (n,))
    >>> k, y = jnp.array([[1.0]]), jnp.array([4.0])
    >>> p = predict.scale_mixture_posterior(
    ...     k, k, k, y, prior=inverse_gamma, key=jax.random.key(0), noise=3.0
    ... )
    >>> p.mean.tolist(), p.weights.shape, int(p.status)
    ([1.0], (10000,), 0)
    >>> t = predict.student_t_posterior(k, k, k, y, a=2, b=2, noise=3.0)
    >>> bool(abs(p.cov[0, 0] - t.scale[0, 0] * t.df / (t.df - 2)) < 0.1)
    True
    """
    given = problem(k_train, k_test_train, k_test_test, y, noise)
    scales = cast(_draw(prior, key, n_samples), given.y.dtype)
    return _mixture(given, scales)


def _draw(prior: Any, key: Any, n_samples: Any) -> jax.Array:
    if not callable(prior):
        raise TypeError(f"prior must be a function (key, n_samples), got {prior!r}")
    if not isinstance(key, jax.Array) or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        got = f"an array of {key.dtype}" if hasattr(key, "dtype") else repr(key)
        raise TypeError(f"key must be a typed JAX key, jax.random.key(seed), got {got}")
    if key.shape != ():
        raise ValueError(f"key must be a single key, got an array of keys of shape {key.shape}")
    n_samples = count("n_samples", n_samples, "of samples of the scale")
    scales = prior(key, n_samples)
    dtype = getattr(scales, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"prior must return an array of floating-point numbers, got {scales!r}")
    if scales.shape != (n_samples,):
        raise ValueError(
            f"prior must return samples of shape {(n_samples,)}, got shape {tuple(scales.shape)}"
        )
    return scales


@jax.jit
def _mixture(given: Problem, scales: jax.Array) -> ScaleMixture:
    factored, alpha, mean, cov, status = condition(given)
    flat = given.y.reshape(alpha.shape)
    quadratic = jnp.sum(flat * alpha)
    # Below the floor the derivative of the weight overflows, and the weight itself is 0.
    limits = jnp.finfo(scales.dtype)
    floor = jnp.maximum(limits.tiny, 10 * safe_sqrt(jnp.abs(quadratic)) / math.sqrt(limits.max))
    possible = (scales > jax.lax.stop_gradient(floor)) & jnp.isfinite(scales)
    s = jnp.where(possible, scales, 1)
    # The logarithm of N(y; 0, s A), but for what all samples share.
    log_weights = -(flat.size * jnp.log(s) + quadratic / s) / 2
    log_weights = jnp.where(possible, log_weights, -jnp.inf)
    total = jax.nn.logsumexp(log_weights)
    weights = jnp.exp(log_weights - total)
    effective = 1 / jnp.sum(jnp.square(weights))
    shared = flat.size * math.log(2 * math.pi) + flat.shape[1] * log_determinant(factored)
    log_marginal = total - math.log(len(scales)) - shared / 2
    cov = None if cov is None else jnp.sum(weights * s) * cov
    status = first_trouble(
        status,
        code(jnp.any((scales < 0) | jnp.isnan(scales)), Status.NONFINITE),
        finite(cov, log_marginal, effective),
        uncertain_density(factored, alpha, quadratic),
        code(effective < ENOUGH, Status.FEW_SAMPLES),
    )
    return ScaleMixture(
        mean, cov, scales, weights, effective, log_marginal, status, factored.jitter
    )
