r"""Gibbs-weighted and entropic couplings of Gaussians, in closed form, and the flows they make.

The source is N(0, I) in d dimensions, the target a mixture of Gaussians N(c_k, q I) with equal
weights, the cost :math:`\|x - y\|^2`. One component c_k = m with q = 1 is the shifted Gaussian.

*Gibbs weights.* The density :math:`\mu(x)\, \nu(y)\, e^{-\|x - y\|^2 / \varepsilon}` of a pair is
that of a Gaussian for each component, with :math:`\tau = 2 / \varepsilon` and, in each coordinate,

.. math::

    \text{precision} \begin{pmatrix} 1 + \tau & -\tau \\ -\tau & 1/q + \tau \end{pmatrix}, \quad
    \text{mean} = \text{precision}^{-1} \begin{pmatrix} 0 \\ c_k / q \end{pmatrix}, \quad
    Z_k \propto e^{-\|c_k\|^2 / (\varepsilon + 2 + 2 q)},

the last because :math:`x - y \sim N(-c_k, (1 + q) I)`. For q = 1 and one component m the sum
:math:`u = (x + y) / \sqrt 2` keeps its law, N(m / sqrt 2, 1), since weights are functions of
:math:`v = (x - y) / \sqrt 2` alone, whose mean and variance are divided by 1 + 2 tau. So

.. math::

    E x = \frac{\tau}{1 + 2\tau} m, \quad E y = \frac{1 + \tau}{1 + 2\tau} m, \quad
    \mathrm{Var}\, x = \mathrm{Var}\, y = \frac{1 + \tau}{1 + 2\tau}, \quad
    \mathrm{Corr}(x, y) = \frac{\tau}{1 + \tau} .

As epsilon falls both sides shrink onto the middle, m / 2, where the densities overlap.

*The entropic plan* of N(0, 1) and N(m, 1) has a density
:math:`e^{f(x) + g(y) - (x - y)^2 / \varepsilon}`. A Gaussian with these marginals and correlation
:math:`\rho` has the precision :math:`-\rho / (1 - \rho^2)` between x and y, which is
:math:`-\tau` for :math:`\rho = 2\tau / (1 + \sqrt{1 + 4 \tau^2})`; such a plan is unique. u and v
have variances :math:`1 \pm \rho`.

*Total variation.* In u and v all three couplings (independent ones have rho = 0) are products, and
their log density ratio is a function of v plus a multiple of :math:`\|u - m/\sqrt2\|^2`, so u is
integrated out by the distribution function of chi-squared; v is left to quadrature.

*The flow.* Pairs of component k at time t, :math:`x_t = (1 - t) x + t y = w \cdot (x, y)`, are
Gaussian, and given :math:`x_t` the velocity y - x has a mean that is linear in it: the velocity of
the flow is the mean of these over the components, weighted by their densities at x_t. For one
component with q = 1 it takes :math:`z` to :math:`E x_t + (s_t / s_0)(z - E x)` where
:math:`s_t^2 = \mathrm{Var}\, x_t`, so N(0, I) ends in N(E y - E x, I), shifted by

.. math::

    \frac{m}{1 + 2\tau} = \frac{\varepsilon}{\varepsilon + 4}\, m .

*The ring.* Eight components at radius R are for small r a circle, and the source is tilted by
:math:`e^{-r^2 / E} I_0(2 R r / E)`, :math:`E = \varepsilon + 2 q`, whose logarithm is
:math:`r^2 (R^2 / E^2 - 1 / E) + O(r^4)`: inwards for large epsilon, outwards for small ones, and
hardly at all at :math:`\varepsilon = R^2 - 2 q`.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import special, stats

REACH = 8.0  # standard deviations that quadrature goes out to; 1e-15 of the mass lies beyond
NODES, FINE = 401, 501  # of quadrature, on each axis; where there are kinks
MODES = 8


class Target(NamedTuple):
    """Centres (K, d) of the components, and their variance."""

    centres: np.ndarray
    variance: float


def ring(radius: float, spread: float) -> Target:
    """Return the eight Gaussians.

    Examples
    --------
    >>> ring(3.0, 0.2).centres.round(1)[:2].tolist()
    [[3.0, 0.0], [2.1, 2.1]]
    """
    angles = 2 * np.pi * np.arange(MODES) / MODES
    return Target(radius * np.stack([np.cos(angles), np.sin(angles)], 1), spread**2)


def shifted(shift: float, dimension: int = 2) -> Target:
    """Return the Gaussian of variance 1 whose first mean is `shift`."""
    return Target(shift * np.eye(1, dimension), 1.0)


class Moments(NamedTuple):
    """Of a pair in the direction of the shift: means, variance of both, correlation."""

    x: float
    y: float
    variance: float
    correlation: float


def gibbs(epsilon: float, shift: float) -> Moments:
    """Return the Gibbs coupling of N(0, 1) and N(shift, 1).

    Examples
    --------
    >>> gibbs(2.0, 3.0)  # tau = 1
    Moments(x=1.0, y=2.0, variance=0.6666666666666666, correlation=0.5)
    """
    tau = 2 / epsilon
    whole = 1 + 2 * tau
    return Moments(
        tau / whole * shift, (1 + tau) / whole * shift, (1 + tau) / whole, tau / (1 + tau)
    )


def entropic(epsilon: float, shift: float) -> Moments:
    """Return the entropic plan of N(0, 1) and N(shift, 1)."""
    tau = 2 / epsilon
    return Moments(0.0, shift, 1.0, 2 * tau / (1 + np.sqrt(1 + 4 * tau**2)))


def distance(epsilon: float, shift: float, kind: str, dimension: int = 2) -> float:
    """Return the total variation between a coupling and the entropic plan, in 1 or 2 dimensions.

    `kind` is "gibbs" or "independent".

    Examples
    --------
    >>> round(distance(1e9, 2.0, "independent"), 6)
    0.0
    """
    rho = entropic(epsilon, shift).correlation
    whole = 1 + 4 / epsilon if kind == "gibbs" else 1.0
    mean_p, var_p = -shift / np.sqrt(2) / whole, 1 / whole
    mean_q, var_q, var_u = -shift / np.sqrt(2), 1 - rho, 1 + rho
    low = min(mean_p - REACH * np.sqrt(var_p), mean_q - REACH * np.sqrt(var_q))
    high = max(mean_p + REACH * np.sqrt(var_p), mean_q + REACH * np.sqrt(var_q))
    first, step = np.linspace(low, high, NODES, retstep=True)
    p = stats.norm.logpdf(first, mean_p, np.sqrt(var_p))
    q = stats.norm.logpdf(first, mean_q, np.sqrt(var_q))
    volume = step
    if dimension == 2:
        end = REACH * np.sqrt(max(var_p, var_q))
        second, step = np.linspace(-end, end, NODES, retstep=True)
        p = p[:, None] + stats.norm.logpdf(second, 0, np.sqrt(var_p))
        q = q[:, None] + stats.norm.logpdf(second, 0, np.sqrt(var_q))
        volume *= step
    # The log ratio is p - q + log(var_u) dimension / 2 - slope |u - m / sqrt 2|^2: above 0 where
    # that square, chi-squared of variance 1 in one coupling and var_u in the other, is below most.
    slope = (1 - 1 / var_u) / 2
    most = np.maximum((p - q + dimension / 2 * np.log(var_u)) / slope, 0)
    above_p = np.exp(p) * special.gammainc(dimension / 2, most / 2)
    above_q = np.exp(q) * special.gammainc(dimension / 2, most / (2 * var_u))
    return float(np.sum(above_p - above_q) * volume)


def marginal_distances(epsilon: float, target: Target) -> tuple[float, float]:
    """Return the total variations of both Gibbs marginals to source and target, in the plane."""
    q, centres = target.variance, target.centres
    end = np.abs(centres).max() + REACH
    axis = np.linspace(-end, end, FINE)

    def mixture(centres: np.ndarray, twice: float) -> np.ndarray:
        first, second = (np.exp(-((axis[:, None] - c) ** 2) / twice) for c in centres.T)
        return first @ second.T

    middle = np.zeros((1, 2))
    found = []
    for density, tilt in (
        (mixture(middle, 2), mixture(centres, epsilon + 2 * q)),
        (mixture(centres, 2 * q), mixture(middle, epsilon + 2)),
    ):
        before, after = density / density.sum(), density * tilt
        found.append(0.5 * np.abs(after / after.sum() - before).sum())
    return float(found[0]), float(found[1])


class Components(NamedTuple):
    """Pairs of each component: weights (K,), means of x and y (2, K, d), covariance (2, 2)."""

    weights: jax.Array
    means: jax.Array
    covariance: jax.Array


def components(tau: jax.Array, target: Target) -> Components:
    """Return the Gibbs coupling at 2 / epsilon = `tau`; 0 is the independent one."""
    q = target.variance
    precision = jnp.array([[1.0, 0.0], [0.0, 1 / q]]) + tau * jnp.array([[1.0, -1.0], [-1.0, 1.0]])
    covariance = jnp.linalg.inv(precision)
    centres = jnp.asarray(target.centres)
    means = covariance[:, 1, None, None] * centres / q
    # 1 / (epsilon + 2 + 2 q)
    squares = jnp.sum(centres**2, 1) * tau / (2 + 2 * tau * (1 + q))
    return Components(jax.nn.softmax(-squares), means, covariance)


def velocity(pairs: Components, x: jax.Array, t: jax.Array) -> jax.Array:
    """Return the mean of y - x over pairs that pass through x (n, d) at time t."""
    (xx, xy), (_, yy) = pairs.covariance
    variance = (1 - t) ** 2 * xx + 2 * t * (1 - t) * xy + t**2 * yy
    slope = ((1 - t) * (xy - xx) + t * (yy - xy)) / variance
    away = x[:, None] - ((1 - t) * pairs.means[0] + t * pairs.means[1])
    logits = jnp.log(pairs.weights) - jnp.sum(away**2, 2) / (2 * variance)
    each = pairs.means[1] - pairs.means[0] + slope * away
    return jnp.sum(jax.nn.softmax(logits, axis=1)[..., None] * each, 1)


@partial(jax.jit, static_argnames=("field", "steps"))
def flow(field, parameters, x, steps):
    """Return the end at time 1 of points x (n, d), by `steps` of the Runge-Kutta method (order 4).

    `field(parameters, x, t)` is the velocity.
    """
    h = 1 / steps

    def step(x, k):
        t = k * h
        k1 = field(parameters, x, t)
        k2 = field(parameters, x + h / 2 * k1, t + h / 2)
        k3 = field(parameters, x + h / 2 * k2, t + h / 2)
        k4 = field(parameters, x + h * k3, t + h)
        return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

    return jax.lax.scan(step, x, jnp.arange(steps))[0]
