r"""Why a few random directions are enough: the escape threshold of a quadratic well.

The loss :math:`\tfrac12 \sum_i h_i \theta_i^2` is to be brought to :math:`\epsilon` from a start at
:math:`m` (coordinates along the eigenvectors of the Hessian). Where it is that low is an ellipsoid
with semi-axes :math:`r_i = \sqrt{2 \epsilon / h_i}`, and a random d-dimensional subspace through
the start meets it exactly if it meets the cone C that the ellipsoid spans at the start. By Gordon's
escape theorem the subspace misses C while :math:`d < D - w^2`, with w the Gaussian width of C on
the unit sphere (Larsen et al.). C being convex, the converse holds too: it hits once
:math:`d > D - w^2`, both up to a margin of order :math:`\sqrt D` (Amelunxen et al.).

Exact, for g standard normal and :math:`\Pi` the projection onto C: the statistical dimension
:math:`\delta = E |\Pi(g)|^2` is the squared mean of :math:`|\Pi(g)|` plus its variance, which is at
most 1 (the function has Lipschitz constant 1); so :math:`\delta` stands for :math:`w^2`. The polar
cone is :math:`\{ z : \sqrt{\sum_i r_i^2 z_i^2} \le \langle z, m \rangle \}` (the ellipsoid's
support function), and :math:`|\Pi(g)|` is g's distance from it. With a multiplier :math:`\lambda`
for the constraint, :math:`2 |v| = \min_\tau (|v|^2 / \tau + \tau)`,
:math:`\rho^2 = \tau / \lambda`, and z eliminated,

.. math::

    |\Pi(g)|^2 = \max_\lambda \min_\rho \; \lambda^2 \rho^2 + \sum_i \left( g_i^2 -
    \frac{\rho^2 (g_i + \lambda m_i)^2}{\rho^2 + r_i^2} \right) .

Estimated: the mean of this saddle is taken to be the saddle of the mean,

.. math::

    \sum_i s_i + \lambda^2 \rho^2 \Big( 1 - \sum_i \frac{m_i^2}{\rho^2 + r_i^2} \Big), \qquad
    s_i = \frac{r_i^2}{\rho^2 + r_i^2},

where stationarity in :math:`\lambda` makes the bracket vanish: :math:`\rho` is that of the confocal
ellipsoid, of semi-axes :math:`\sqrt{\rho^2 + r_i^2}`, through the start. Hence

.. math::

    \delta \approx \sum_i s_i, \qquad
    d^* = D - \delta \approx \sum_i \frac{h_i}{h_i + 2 \epsilon / \rho^2} ,

the effective number of parameters of ridge regression. To first order the variance of
:math:`|\Pi(g)|^2` is :math:`2 \sum s_i^2 + 4 \lambda^2 \sum m_i^2 \rho^4 / (\rho^2 + r_i^2)^2`, and
stationarity in :math:`\rho` turns its second term into :math:`4 \sum s_i (1 - s_i)`. Given the
dimension V of the face of C that is hit, :math:`|\Pi(g)|^2` is chi-squared with V degrees of
freedom, so that the variance of V is that of :math:`|\Pi(g)|^2` less :math:`2 \delta`:

.. math::

    \sigma^2 \approx 2 \sum_i s_i (1 - s_i), \qquad
    P(\text{success in } d) \approx \Phi\left( \frac{d - d^*}{\sigma} \right) .

The last step, a normal law for V, is good for large :math:`\sigma`. With equal :math:`h_i` the
cone is circular, and :math:`\delta = D \sin^2 \alpha`, right up to a constant (Amelunxen et al.).
At :math:`\epsilon = 0` it is exact: :math:`\sigma = 0`, and :math:`d^*` is the Hessian's rank.

Differs from the paper / reference:
  1. Larsen et al. know only the start's distance R, and their closed form has
     :math:`R^2` for :math:`\rho^2`: :func:`escape_threshold_at_distance`. It needs
     :math:`r_i \ll R` in the directions that matter; since :math:`\rho \le R`, its threshold is
     never below that of :func:`escape_threshold`, which knows the direction too.
  2. The width of the transition is not theirs.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from theorylab._numerics import floating, known
from theorylab.subspace._confocal import confocal, stiff_shares


class EscapeThreshold(NamedTuple):
    """Where training in random subspaces of a quadratic well begins to succeed.

    Attributes
    ----------
    dimension
        The threshold dimension d*: about half of the random subspaces of so many dimensions hold a
        point of the wanted loss. 0 if the start is one already.
    spread
        Standard deviation of the transition, in dimensions: at d* - 2 of them hardly a subspace
        succeeds, at d* + 2 of them nearly all do.
    angular_dimension
        D - d*: squared Gaussian width of the low-loss set as seen from the start.
    radius
        rho of the module's derivation, a length in the parameters' units, at most the distance from
        the start to the minimum.

    Examples
    --------
    >>> from theorylab import subspace
    >>> subspace.EscapeThreshold._fields
    ('dimension', 'spread', 'angular_dimension', 'radius')
    """

    dimension: Array
    spread: Array
    angular_dimension: Array
    radius: Array


def escape_threshold(
    eigenvalues: ArrayLike, displacement: ArrayLike, epsilon: ArrayLike
) -> EscapeThreshold:
    r"""Threshold dimension of a quadratic well, from the Hessian's spectrum and the start.

    .. math::

        d^* = \sum_i \frac{h_i}{h_i + 2 \epsilon / \rho^2}, \qquad
        \sigma^2 = 2 \sum_i s_i (1 - s_i), \quad s_i = \frac{2 \epsilon}{\rho^2 h_i + 2 \epsilon},
        \qquad \sum_i \frac{h_i m_i^2}{\rho^2 h_i + 2 \epsilon} = 1 .

    Parameters
    ----------
    eigenvalues
        (D,) eigenvalues :math:`h_i \ge 0` of the Hessian; zeros are directions without loss.
    displacement
        (D,) coordinates :math:`m_i` of the start, less the minimum, along the eigenvectors.
    epsilon
        Scalar :math:`\ge 0`: the wanted loss above that of the minimum.

    Returns
    -------
    EscapeThreshold
        Scalars ``dimension``, ``spread``, ``angular_dimension`` and ``radius``.

    Raises
    ------
    TypeError
        If an array is not of real floating-point numbers.
    ValueError
        For shapes that do not fit; for eigenvalues or an epsilon that are known to be negative.

    Notes
    -----
    Works under ``jit``, ``vmap`` and ``grad``; negative values give NaN there. Result in the dtype
    of the arrays; float32 keeps about five digits of d*. Limits: an estimate, see the module. The
    frequencies of success in 300 random subspaces of D = 100, for spectra that are flat, fall as
    1/i or 1/i^2 or have a bulk, were within 0.1 of the normal law for a ``spread`` above 3, and
    within 0.15 for one above 2 (the normal law is then too wide near d = D).

    References
    ----------
    Larsen, Fort, Becker & Ganguli (2022), "How many degrees of freedom do we need to train deep
    networks: a loss landscape perspective" (quadratic well). Amelunxen, Lotz, McCoy & Tropp (2014),
    "Living on the edge: phase transitions in convex programs with random data". McCoy & Tropp
    (2014), "From Steiner formulas for cones to concentration of intrinsic volumes" (the law of V).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import subspace
    >>> h, start = jnp.ones(100), jnp.ones(100) / 10  # a round well, from distance 1
    >>> found = subspace.escape_threshold(h, start, 0.15)  # 0.3 of the first loss
    >>> round(float(found.dimension), 3), round(float(found.spread), 3)
    (70.0, 6.481)
    """
    h, m = floating("eigenvalues", eigenvalues), floating("displacement", displacement)
    if h.ndim != 1 or not h.size or m.shape != h.shape:
        raise ValueError(
            "eigenvalues and displacement must be (D,) both, "
            f"got shapes {tuple(h.shape)} and {tuple(m.shape)}"
        )
    h, eps = _checked(h, epsilon)
    return _threshold(h, jnp.square(jnp.asarray(m)).astype(h.dtype), eps)


def escape_threshold_at_distance(
    eigenvalues: ArrayLike, distance: ArrayLike, epsilon: ArrayLike
) -> Array:
    r"""Threshold dimension of a quadratic well when only the distance to the minimum is known.

    .. math::

        d^* = D - \sum_i \frac{r_i^2}{R^2 + r_i^2} = \sum_i \frac{h_i}{h_i + 2 \epsilon / R^2},
        \qquad r_i^2 = \frac{2 \epsilon}{h_i}

    Parameters
    ----------
    eigenvalues
        (D,) eigenvalues :math:`h_i \ge 0` of the Hessian.
    distance
        Scalar R > 0, from the start to the minimum.
    epsilon
        Scalar :math:`\ge 0`: the wanted loss above that of the minimum.

    Returns
    -------
    Array
        Scalar, in the dtype of the eigenvalues.

    Raises
    ------
    TypeError, ValueError
        As :func:`escape_threshold`; and for a distance that is known not to be positive.

    Notes
    -----
    For semi-axes that are short beside R. For long ones it is too large: it is never below the
    threshold of :func:`escape_threshold` for any direction at that distance. All transformations.

    References
    ----------
    Larsen, Fort, Becker & Ganguli (2022), quadratic well.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import subspace
    >>> round(float(subspace.escape_threshold_at_distance(jnp.ones(100), 1.0, 0.15)), 3)
    76.923
    """
    h = floating("eigenvalues", eigenvalues)
    if h.ndim != 1 or not h.size:
        raise ValueError(f"eigenvalues must be (D,), got shape {tuple(h.shape)}")
    h, eps = _checked(h, epsilon)
    value = known(distance)
    if jnp.ndim(distance) != 0 or (value is not None and not value > 0):
        raise ValueError(f"distance must be a positive number, got {distance}")
    return jnp.sum(stiff_shares(h, eps, jnp.square(jnp.asarray(distance, h.dtype))))


def escape_probability(threshold: EscapeThreshold, d: ArrayLike) -> Array:
    r"""Probability that a random subspace of d dimensions reaches the wanted loss.

    .. math:: P(d) = \Phi\left( \frac{d - d^*}{\sigma} \right)

    Parameters
    ----------
    threshold
        Of :func:`escape_threshold`.
    d
        Dimensions, of any shape.

    Returns
    -------
    Array
        Of the shape of `d`; a step at d* where the spread is 0.

    Notes
    -----
    The normal law is an approximation for a spread of several dimensions. All transformations.

    References
    ----------
    The derivation is this module's; Amelunxen et al. (2014) prove that the transition is no wider
    than of order the square root of D.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import subspace
    >>> found = subspace.escape_threshold(jnp.ones(100), jnp.ones(100) / 10, 0.15)
    >>> [round(float(p), 2) for p in subspace.escape_probability(found, jnp.array([57, 70, 83]))]
    [0.02, 0.5, 0.98]
    """
    spread = jnp.asarray(threshold.spread)
    over = jnp.asarray(d).astype(spread.dtype) - threshold.dimension
    sharp = spread <= 0
    smooth = jax.scipy.stats.norm.cdf(over / jnp.where(sharp, 1, spread))
    return jnp.where(sharp, (over >= 0).astype(spread.dtype), smooth)


def _checked(h: Any, epsilon: ArrayLike) -> tuple[Array, Array]:
    """The spectrum and the wanted loss, in one dtype; NaN where they turn out to be negative."""
    if jnp.ndim(epsilon) != 0:
        raise ValueError(f"epsilon must be a scalar, got shape {jnp.shape(epsilon)}")
    for name, x in (("eigenvalues", known(h)), ("epsilon", known(epsilon))):
        if x is not None and not (x >= 0).all():
            raise ValueError(f"{name} must be >= 0, got {x.min()}")
    h, eps = jnp.asarray(h), jnp.asarray(epsilon).astype(h.dtype)
    return jnp.where(h >= 0, h, jnp.nan), jnp.where(eps >= 0, eps, jnp.nan)


@jax.jit
def _threshold(h: Array, m2: Array, eps: Array) -> EscapeThreshold:
    first = jnp.sum(h * m2) / 2
    inside = first <= eps
    # Where there is nothing to solve, a well in which all is known stands in.
    unit_h, unit_m2 = jnp.where(inside, 1, h), jnp.where(inside, 1, m2)
    rho2 = jnp.where(inside, 0, confocal(unit_h, unit_m2, jnp.where(inside, 0, eps)))
    stiff = jnp.where(inside, 0 * h, stiff_shares(h, eps, jnp.where(inside, 1, rho2)))
    variance = 2 * jnp.sum(stiff * (1 - stiff))
    spread = jnp.where(variance == 0, 0, jnp.sqrt(jnp.where(variance == 0, 1, variance)))
    dimension = jnp.sum(stiff)
    radius = jnp.where(inside, 0, jnp.sqrt(jnp.where(inside, 1, rho2)))
    return EscapeThreshold(dimension, spread, jnp.sum(1 - stiff), radius)
