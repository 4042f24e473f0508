r"""Transport costs that are known: on a line, between Gaussians, and what entropy adds at most.

*On a line* the optimal plan moves the quantile t of one density to the quantile t of the other, for
every convex cost. Both quantile functions are steps, so the integral over t is a finite sum.

*Between Gaussians* N(m, A), N(m', B) with squared distances, at epsilon. Let
:math:`\lambda_k` be the singular values of :math:`A^{1/2} B^{1/2}`. Whitened, and turned by the
singular vectors, both are standard normal, KL(P | a b^T) is what it was, and
:math:`2 \langle x, y \rangle` has become :math:`\sum_k 2 \lambda_k x_k y_k`: one problem for each
pair of coordinates. In one of them a Gaussian coupling of correlation r costs

.. math::

    -2 \lambda r - \tfrac{\varepsilon}{2} \log(1 - r^2), \qquad
    \text{least where } \lambda (1 - r^2) = \tfrac{\varepsilon}{2} r,

and that one is optimal among all couplings, for its density over a b^T has the exponent
:math:`x y\, r / (1 - r^2) = 2 \lambda x y / \varepsilon` plus functions of x and of y alone. With
:math:`e = \varepsilon / 4 \lambda`, :math:`r = \sqrt{1 + e^2} - e`, and the least cost is
:math:`-2 \lambda + 2 \lambda (e - e \log 2 e + h(e))`,

.. math::

    h(e) = 1 - \sqrt{1 + e^2} + e \operatorname{arsinh} e
         = \tfrac{e^2}{2} - \tfrac{e^4}{24} + \dots, \qquad 0 \le h(e) \le \tfrac{e^2}{2}.

(h'' = 1 / sqrt(1 + e^2), which lies between :math:`1 - e^2 / 2` and 1.) In the debiased divergence
the terms :math:`e - e \log 2 e` cancel, as :math:`\prod \lambda_k^2 = \det A \det B`, and what is
left over :math:`W_2^2` is

.. math::

    \sum_k 2 \lambda_k h(\varepsilon / 4 \lambda_k) - \alpha_k h(\varepsilon / 4 \alpha_k)
        - \beta_k h(\varepsilon / 4 \beta_k)
    = \frac{\varepsilon^2}{32} \sum_k \Bigl( \frac{2}{\lambda_k} - \frac{1}{\alpha_k}
        - \frac{1}{\beta_k} \Bigr) + O(\varepsilon^4),

:math:`\alpha_k, \beta_k` the eigenvalues of A, B. On a line the sum is
:math:`-(1 / s - 1 / s')^2` with the standard deviations s, s'.

Differs from the paper / reference:
  1. Janati, Muzellec, Peyre & Cuturi (2020), "Entropic optimal transport between unbalanced
     Gaussian measures has a closed form", reach the same value from Sinkhorn's iterations.
"""

import numpy as np


def on_line(a: np.ndarray, b: np.ndarray, spacing: float, p: float) -> float:
    """Return the unregularised cost of :math:`|x - y|^p` between masses (n,) on one lattice.

    Examples
    --------
    >>> on_line(np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.5, 0.5]), 2.0, 2)
    4.0
    """
    first, second = (np.cumsum(mass) / np.sum(mass) for mass in (a, b))
    levels = np.concatenate([[0.0], np.sort(np.concatenate([first, second]))])
    middle = (levels[1:] + levels[:-1]) / 2
    at = [np.minimum(np.searchsorted(f, middle), len(f) - 1) for f in (first, second)]
    return float(np.sum(np.diff(levels) * (np.abs(at[0] - at[1]) * spacing) ** p))


def singular_values(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Return those of the product of the roots of two covariances, ascending."""
    values, vectors = np.linalg.eigh(np.atleast_2d(A))
    root = (vectors * np.sqrt(values)) @ vectors.T
    return np.sqrt(np.linalg.eigvalsh(root @ np.atleast_2d(B) @ root))


def gaussians(apart: np.ndarray, A: np.ndarray, B: np.ndarray, epsilon: float) -> float:
    """Return the entropic value; at epsilon = 0 the squared distance of Bures and Wasserstein.

    ``apart``: difference of the means (d,); A, B: covariances (d, d), or numbers where d = 1.

    Examples
    --------
    >>> gaussians(np.array([3.0]), np.array(1.0), np.array(4.0), 0.0)
    10.0
    """
    lam = singular_values(A, B)
    value = np.sum(np.square(apart)) + np.trace(np.atleast_2d(A) + np.atleast_2d(B))
    if epsilon == 0:
        return float(value - 2 * lam.sum())
    e = epsilon / (4 * lam)
    r = np.sqrt(1 + e**2) - e
    return float(value - np.sum(2 * lam * r + epsilon / 2 * np.log(2 * e * r)))


def debiased_curvature(A: np.ndarray, B: np.ndarray) -> tuple[float, float, float]:
    """Return (k, low, high): the debiased error is k epsilon^2 at first, and within the others.

    ``low`` and ``high``, times epsilon^2, hold at every epsilon, from 0 <= h(e) <= e^2 / 2.

    Examples
    --------
    >>> debiased_curvature(np.array(0.25), np.array(1.0))  # -(1 / 0.5 - 1)^2 / 32
    (-0.03125, -0.15625, 0.125)
    """
    plus = float(np.sum(1 / singular_values(A, B))) / 16
    both = (np.linalg.eigvalsh(np.atleast_2d(S)) for S in (A, B))
    minus = sum(float(np.sum(1 / values)) for values in both) / 32
    return plus - minus, -minus, plus


def slope_interval(s: float, t: float, small: float, large: float) -> tuple[float, float]:
    r"""Return bounds of the slope of log |debiased error| in log epsilon between two epsilons.

    Standard deviations s, t on a line. The error is :math:`k \varepsilon^2 (1 - \rho)` with
    :math:`|\rho| \le R \varepsilon^2`, as h differs from e^2 / 2 by e^4 / 24 at most; the slope is
    :math:`2 + \log \frac{1 - \rho'}{1 - \rho} / \log \frac{\varepsilon'}{\varepsilon}`.

    Examples
    --------
    >>> low, high = slope_interval(0.5, 1.0, 0.01, 0.02)
    >>> low < 2 < high, high - low < 1e-3
    (True, True)
    """
    k = (1 / s - 1 / t) ** 2 / 32
    # 2 x h(epsilon / 4 x) and its like differ from theirs by epsilon^4 / (24 * 256 x^3) each, once.
    own = s**-6.0 + t**-6.0
    R = max(2 / (s * t) ** 3, own) / (24 * 256 * k)
    if R * large**2 >= 1:
        raise ValueError(f"the series says nothing at epsilon = {large!r}")
    away = [np.log1p(sign * R * e**2) for sign in (-1, 1) for e in (small, large)]
    width = np.log(large / small)
    return float(2 + (away[1] - away[2]) / width), float(2 + (away[3] - away[0]) / width)


def entropy(a: np.ndarray) -> float:
    r"""Return :math:`-\sum a \log a` of masses that sum to 1.

    Examples
    --------
    >>> bool(abs(entropy(np.full(4, 0.25)) - 2 * np.log(2)) < 1e-15)
    True
    """
    some = a[a > 0]
    return float(-np.sum(some * np.log(some)))
