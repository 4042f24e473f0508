r"""Gaussian and Student-t processes on real data, each tuned by its own marginal likelihood.

Both have the kernel :math:`c K_\beta` of an infinitely wide network with two hidden ReLU layers,
biases of variance :math:`\beta` and a readout without; and noise of variance :math:`c \sigma^2`. In
the Student-t process everything is multiplied by :math:`s \sim IG(a, a)`, whose harmonic mean is 1.
Tuned are :math:`c, \beta, \sigma^2` by climbing the logarithm of the density of the training
targets, with derivatives through kernel and density.

What to expect. With :math:`A = K_\beta + \sigma^2 I`, n targets and :math:`Q = y^\top A^{-1} y`,

.. math::

    \log p_G &= -\tfrac n2 \log c - \tfrac{Q}{2 c} - \tfrac12 \log\det A + \dots, \\
    \log p_T &= -\tfrac n2 \log c - (a + \tfrac n2) \log\Big(1 + \frac{Q}{2 a c}\Big)
        - \tfrac12 \log\det A + \dots,

whose derivatives in c both vanish at :math:`c = Q / n` alone. There both are
:math:`-\tfrac n2 \log Q - \tfrac12 \log\det A` plus something that depends on n and a only: the two
choose the same hyperparameters. The predictive scale of the Student-t process is then the Gaussian
variance times :math:`(2a + Q/c) / (2a + n) = 1`: *tuned, the two differ in nothing but the tails*,
normal against Student-t with 2a + n degrees of freedom, and in evidence by

.. math::

    \log p_T - \log p_G = \log\frac{\Gamma(a + n/2)}{\Gamma(a)} - \tfrac n2 \log a
        - (a + \tfrac n2) \log\Big(1 + \frac{n}{2a}\Big) + \tfrac n2 < 0 .

It grows to 0 with a: the data of one draw of s cannot tell that s was drawn, so tuning a as well
ends at the Gaussian process. What a random scale buys is protection where the prior's scale is not
tuned: then Q corrects it by the factor above.

Differs from the paper:
  1. Each process is tuned by its own marginal likelihood, with a kept at 2; the paper's tables are
     of other sets, and with classification.
  2. LIMITS: noise and biases between 1e-3 and 1e2 of the network's other variances; beyond that
     they make no difference to speak of, or leave nothing else. Starts: two, of which the better
     end is kept, since the density can have several peaks.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import optimize, special, stats

import theorylab.kernels as tk
from theorylab import predict

W_STD = 2**0.5
GAUSSIAN, STUDENT = 0, 1
LIMITS = (np.log(1e-3), np.log(1e2))
# log c, log beta, log sigma^2
STARTS = ((0.0, np.log(0.1), np.log(0.1)), (0.0, np.log(1.0), np.log(1.0)))


@jax.jit
def covariance(theta: Any, x: Any) -> Any:
    """Return the covariance of noisy targets at inputs (n, d), for theta = logs of (c, beta, s^2).

    Noise is on the diagonal already: a Student-t process multiplies it by s like all else.
    """
    scale, bias, noise = jnp.exp(theta)
    hidden = [tk.Dense(512, W_std=W_STD, b_std=jnp.sqrt(bias)), tk.Relu()] * 2
    k = tk.serial(*hidden, tk.Dense(1)).kernel(x, ntk=False).nngp
    return scale * (k + noise * jnp.eye(len(k)))


def log_densities(theta: Any, x: Any, y: Any, a: Any) -> Any:
    """Return both logarithms of the density of targets (n,) at inputs (n, d), (2,)."""
    k = covariance(theta, x)
    gaussian = predict.log_marginal_likelihood(k, y, noise=0.0)
    student = predict.student_t_posterior(k, k[:1], None, y, a=a, b=a).log_marginal
    return jnp.stack([gaussian, student])


@jax.jit
def _downhill(theta: Any, x: Any, y: Any, a: Any, process: Any) -> Any:
    """Return minus a log density for each target, with both, and its derivative in theta."""

    def value(theta):
        both = log_densities(theta, x, y, a)
        return -both[process] / len(y), both

    return jax.value_and_grad(value, has_aux=True)(theta)


def tuned(
    x: np.ndarray, y: np.ndarray, a: float, process: int
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return the theta that makes the targets (n,) most probable, and both log densities there.

    Parameters
    ----------
    x, y
        Inputs (n, d) and targets (n,).
    a
        Shape of the inverse gamma prior.
    process
        GAUSSIAN or STUDENT: whose density is climbed.

    Returns
    -------
    theta, log_densities
        (3,) and (2,).

    Raises
    ------
    ArithmeticError
        The density is not a number somewhere on the way.
    """

    def value(theta: np.ndarray) -> tuple[float, np.ndarray]:
        (found, _), slope = _downhill(theta, x, y, a, process)
        if not np.isfinite(found):
            raise ArithmeticError(f"no density at hyperparameters {np.exp(theta)}")
        return float(found), np.asarray(slope)

    ends = [
        optimize.minimize(
            value,
            np.asarray(start),
            jac=True,
            method="L-BFGS-B",
            bounds=[(None, None), LIMITS, LIMITS],
            options={"ftol": 1e-15, "gtol": 1e-8, "maxiter": 300},
        )
        for start in STARTS
    ]
    best = min(ends, key=lambda end: end.fun).x
    return best, np.asarray(_downhill(best, x, y, a, process)[0][1])


@jax.jit
def _predicted(train: Any, cross: Any, test: Any, y: Any, a: Any, factors: Any) -> Any:
    def one(factor):
        k = (factor * train, factor * cross, factor * test)
        gaussian = predict.posterior(*k, y)
        student = predict.student_t_posterior(*k, y, a=a, b=a)
        assert gaussian.cov is not None and student.scale is not None
        return (
            (gaussian.mean, jnp.diagonal(gaussian.cov), gaussian.status),
            (student.mean, jnp.diagonal(student.scale), student.df, student.status),
        )

    return jax.lax.map(one, factors)


def surprises(
    k: np.ndarray, y: np.ndarray, wanted: np.ndarray, a: float, factors: np.ndarray
) -> np.ndarray:
    """Return mean negative log densities of noisy test targets where c is off by some factors.

    Parameters
    ----------
    k
        (rows, rows), `covariance` of rows of which the first n are for training, the last m for
        testing.
    y, wanted
        Their targets, (n,) and (m,).
    a
        Shape of the inverse gamma prior.
    factors
        (t,), by which k is multiplied.

    Returns
    -------
    array
        (2, t), rows as GAUSSIAN, STUDENT; of each test target by itself, in nats.

    Raises
    ------
    ArithmeticError
        A posterior reports trouble.
    """
    train, test = slice(len(y)), slice(len(k) - len(wanted), None)
    blocks = (k[train, train], k[test, train], k[test, test])
    found = jax.tree.map(np.asarray, _predicted(*blocks, y, a, factors))
    (mean, variance, status), (location, scale, df, other) = found
    for code in (*status, *other):
        if code != predict.Status.SUCCESS:
            raise ArithmeticError(f"a posterior reports {predict.Status(int(code)).name}")
    gaussian = stats.norm.logpdf(wanted, mean, np.sqrt(variance))
    student = stats.t.logpdf(wanted, df[:, None], location, np.sqrt(scale))
    return -np.stack([gaussian, student]).mean(axis=2)


def evidence_gap(n: int, a: float) -> float:
    """Return log p_T - log p_G for n targets at the tuned scale, as in the docstring above.

    Examples
    --------
    >>> [round(float(evidence_gap(n, 2.0)), 3) for n in (8, 128)]
    [-0.577, -1.788]
    >>> bool(-1e-3 < evidence_gap(8, 1e5) < 0)
    True
    """
    half = n / 2
    return (
        special.gammaln(a + half) - special.gammaln(a) - half * np.log(a)
        - (a + half) * np.log1p(half / a) + half
    )  # fmt: skip


def identities(x: np.ndarray, y: np.ndarray, a: float) -> dict[str, float]:
    """Return differences, in nats, to SciPy's multivariate t, for inputs (n, d), targets (n,).

    ``density``: of the logarithm of the density of all targets but the last, for three inverse
    gamma priors. ``next``: of that of the last target given the others, to the ratio of two such
    densities. The largest of the three is returned, over the density's own size where that is
    larger than 1.
    """
    k = np.asarray(covariance(jnp.zeros(3), x))
    told, rest = slice(len(y) - 1), slice(len(y) - 1, None)
    worst = {"density": 0.0, "next": 0.0}
    for shape, scale in ((a, a), (0.7, 3.0), (30.0, 0.2)):
        found = predict.student_t_posterior(
            k[told, told], k[rest, told], k[rest, rest], y[told], a=shape, b=scale
        )
        both, before = (
            stats.multivariate_t.logpdf(y[:m], shape=scale / shape * k[:m, :m], df=2 * shape)
            for m in (len(y), len(y) - 1)
        )
        assert found.scale is not None
        here = stats.t.logpdf(y[-1], found.df, found.mean[0], np.sqrt(found.scale[0, 0]))
        for name, ours, theirs in (
            ("density", float(found.log_marginal), before),
            ("next", float(here), both - before),
        ):
            gap = abs(ours - theirs) / max(1.0, abs(before))
            worst[name] = max(worst[name], float(gap))
    return worst
