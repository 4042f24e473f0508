r"""The analytic conditions of mean field theory by quadrature, in NumPy, without the library.

For an activation :math:`\phi`, weights of variance :math:`\sigma_w^2` and biases of variance
:math:`\sigma_b^2`, with z, z' independent standard normal,

.. math::

    q^* &= \sigma_w^2\, E\, \phi(\sqrt{q^*} z)^2 + \sigma_b^2, \qquad
    \chi = \sigma_w^2\, E\, \phi'(\sqrt{q^*} z)^2, \\
    c^* q^* &= \sigma_w^2\, E\, \phi(u_1) \phi(u_2) + \sigma_b^2, \qquad
    \chi(c^*) = \sigma_w^2\, E\, \phi'(u_1) \phi'(u_2), \\
    u_1 &= \sqrt{q^*} z, \qquad u_2 = \sqrt{q^*} (c^* z + \sqrt{1 - c^{*2}} z') .

Source: Poole, Lahiri, Raghu, Sohl-Dickstein and Ganguli (2016), "Exponential expressivity in deep
neural networks through transient chaos"; Schoenholz, Gilmer, Ganguli and Sohl-Dickstein (2017),
"Deep information propagation".

Differs from the papers:

1. Gauss-Legendre on both sides of 0, where ReLU has its kink: every integrand is smooth on either.
2. :math:`q^*` by Newton's method, with :math:`\partial_q E \phi(\sqrt q z)^2 = E \phi(\sqrt q z)
   \phi'(\sqrt q z) z / \sqrt q`, in place of iteration.

Origin of the constants: beyond ``REACH`` = 9 standard deviations lies a mass of 2e-19; with
``NODES`` = 64 a side the nodes are at most 0.22 apart, which resolves the narrowest integrand here
(a Gaussian of standard deviation 0.2, for erf and a variance of 6) to better than 1e-8, and twice
that number changes no result by more than 1e-9 (tested).
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import erf

REACH = 9.0
NODES = 64
NEWTON_STEPS = 60
HALVINGS = 60


class Function(NamedTuple):
    """An activation and its derivative."""

    value: Any
    slope: Any


FUNCTIONS = {
    "erf": Function(erf, lambda u: 2 / np.sqrt(np.pi) * np.exp(-(u**2))),
    "relu": Function(lambda u: np.maximum(u, 0.0), lambda u: (u > 0).astype(float)),
}


def nodes(per_side: int = NODES) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes z and weights w with ``E f(z) = sum(w f(z))`` for a standard normal z.

    Examples
    --------
    >>> z, w = nodes()
    >>> float(abs(w @ z**2 - 1)) < 1e-13
    True
    """
    x, w = np.polynomial.legendre.leggauss(per_side)
    right, half = REACH * (x + 1) / 2, w * REACH / 2
    z = np.concatenate([-right[::-1], right])
    return z, np.concatenate([half[::-1], half]) * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


def fixed_variance(name: str, W_std: Any, b_std: Any, per_side: int = NODES) -> np.ndarray:
    """Return q* for arrays of hyperparameters; NaN where there is none."""
    phi = FUNCTIONS[name]
    w2, b2 = np.asarray(W_std, float) ** 2, np.asarray(b_std, float) ** 2
    z, weights = nodes(per_side)
    q = w2 + b2
    for _ in range(NEWTON_STEPS):
        u = np.sqrt(q)[..., None] * z
        value = w2 * (phi.value(u) ** 2 @ weights) + b2
        slope = w2 * ((phi.value(u) * phi.slope(u) * z) @ weights) / np.sqrt(q)
        with np.errstate(divide="ignore", invalid="ignore"):
            q = (value - slope * q) / (1 - slope)
        q = np.where((q > 0) & np.isfinite(q), q, np.nan)
    return q


def slope_at_one(name: str, W_std: Any, q: Any, per_side: int = NODES) -> np.ndarray:
    """Return chi = W_std^2 E phi'(sqrt(q) z)^2 for arrays; NaN where q is."""
    z, weights = nodes(per_side)
    u = np.sqrt(np.asarray(q, float))[..., None] * z
    chi = np.asarray(W_std, float) ** 2 * (FUNCTIONS[name].slope(u) ** 2 @ weights)
    return np.where(np.isnan(q), np.nan, chi)


def critical_weight(name: str, b_std: Any) -> np.ndarray:
    """Return the W_std up to which there is order, for an array of b_std, by halving [1/4, 4].

    Order is a fixed variance at which chi < 1: it ends where chi passes 1, or, for ReLU, where at
    the same time the fixed point is lost.
    """
    b_std = np.asarray(b_std, float)
    low, high = np.full_like(b_std, 0.25), np.full_like(b_std, 4.0)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        ordered = slope_at_one(name, middle, fixed_variance(name, middle, b_std)) < 1
        low, high = np.where(ordered, middle, low), np.where(ordered, high, middle)
    return (low + high) / 2


def chaotic_fixed_point(name: str, W_std: float, b_std: float, q: float) -> tuple[float, float]:
    """Return (c*, chi(c*)) where c = 1 repels, for one set of hyperparameters."""
    phi = FUNCTIONS[name]
    z, weights = nodes()
    u1 = np.sqrt(q) * z[:, None]

    def expectation(function: Any, correlation: float) -> float:
        u2 = np.sqrt(q) * (correlation * z[:, None] + np.sqrt(1 - correlation**2) * z[None, :])
        return float(weights @ (function(u1) * function(u2)) @ weights)

    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        below = W_std**2 * expectation(phi.value, middle) + b_std**2 < middle * q
        low, high = (low, middle) if below else (middle, high)
    correlation = (low + high) / 2
    return correlation, W_std**2 * expectation(phi.slope, correlation)
