r"""Bounds on the error of what was trained, from the length of its description.

*Occam.* A prefix-free code gives every hypothesis h a length of :math:`b_h` bits with
:math:`\sum_h 2^{-b_h} \le 1` (Kraft). For one h, Hoeffding's inequality says that its error on n
independent examples is below the true one by more than :math:`\tau` with probability at most
:math:`e^{-2 n \tau^2}`. Taking :math:`\tau_h` such that this is :math:`\delta 2^{-b_h}`, the sum
over all h is at most :math:`\delta`: the bound of :func:`occam_bound` holds for all h at once.

*PAC-Bayes.* For one h with 0-1 errors, k of n wrong and true error p, the likelihoods cancel in

.. math::

    E\, e^{n\, \mathrm{kl}(k/n \| p)} = \sum_{k=0}^n \binom{n}{k} \left( \frac kn \right)^k
    \left( 1 - \frac kn \right)^{n-k} =: \xi(n) \le 2 \sqrt n .

(The sum is Maurer's; computed for n up to 3000 it is between 1.2 and 2 times the root.)
Averaged over a prior that does not know the sample, Markov's inequality and the change of measure
(:math:`E_Q X \le \mathrm{KL}(Q \| P) + \ln E_P\, e^X`, kl being convex in both arguments) give
:math:`\mathrm{kl}(\hat e \| e) \le (\mathrm{KL} + \ln(2 \sqrt n / \delta)) / n`, for all posteriors
at once, with probability :math:`1 - \delta`. Maurer extends it to losses in [0, 1].

*Prior.* One hypothesis of b bits has :math:`\mathrm{KL} = -\ln P(h)`; the code is the prior.

Differs from the paper / reference:
  1. For codes that are not prefix-free, Lotfi et al.'s KL is :math:`b \ln 2 + 2 \ln b`. A prior
     that sums to 1 and holds for b = 0 too is :math:`P(h) = 2^{-b} / ((b+1)(b+2))`, since there are
     at most :math:`2^b` such h and :math:`\sum_b 1 / ((b+1)(b+2)) = 1`: about 3 / b more.
  2. Their experiments use a bound of Catoni's; here kl is inverted, with no free parameter.
  3. The inverse is found by bisection (EXTRA halvings beyond the digits of the dtype, since the gap
     may be far shorter than the first bracket). Its upper end is returned, up by SLACK roundings,
     so that the bound is not below the exact one by rounding.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from theorylab._numerics import known

EXTRA = 40
SLACK = 8  # machine epsilons, relative


def occam_bound(bits: ArrayLike, n: ArrayLike, error: ArrayLike, delta: ArrayLike) -> Array:
    r"""Occam's bound on the true error of a hypothesis that a prefix-free code describes.

    .. math:: e \le \hat e + \sqrt{\frac{b \ln 2 + \ln(1 / \delta)}{2 n}}

    Parameters
    ----------
    bits
        Length b >= 0 of the description, in bits: :func:`theorylab.subspace.compressed_bits`. What
        the receiver has to be told besides, such as which of S keys or kinds of projection was
        chosen on the data, costs log2 S more; chosen before the data was seen, nothing. d and the
        levels are in the code. How theta_d was found (learning rate, steps) is not to be told.
    n
        Number of independent training examples, >= 1; none of them used to choose the code.
    error
        Error of the described (quantised) hypothesis on them, in [0, 1].
    delta
        In (0, 1): the bound fails with at most this probability.

    Returns
    -------
    Array
        Of the arguments' common shape, in the dtype of the floating arrays among them (else JAX's
        default). Not clipped: above 1 it says nothing.

    Raises
    ------
    ValueError
        For values that are known to be out of range; traced ones are not looked at.

    Notes
    -----
    Holds for all hypotheses of the code at once, with probability 1 - delta over the sample. All
    transformations. In float32, relative accuracy 1e-6. A known `delta` may be below the least
    number of float32; a traced one of that size is taken for 0, and the bound is inf.

    References
    ----------
    Blumer, Ehrenfeucht, Haussler & Warmuth (1987), "Occam's razor", with Hoeffding's inequality and
    Kraft's; derived in the module.

    Examples
    --------
    >>> from theorylab import subspace
    >>> round(float(subspace.occam_bound(1000, 60_000, 0.05, 0.05)), 4)
    0.1262
    """
    b, m, e, small = _numbers(bits=bits, n=n, error=error, delta=delta)
    return e + jnp.sqrt((b * math.log(2) - _log(delta, small)) / (2 * m))


def pac_bayes_bound(kl: ArrayLike, n: ArrayLike, error: ArrayLike, delta: ArrayLike) -> Array:
    r"""Upper bound on the true error of a posterior, by inverting the binary KL divergence.

    .. math::

        e \le \max \Big\{ p : \mathrm{kl}(\hat e \| p) \le \tfrac1n
        \big( \mathrm{KL} + \ln \tfrac{2 \sqrt n}{\delta} \big) \Big\}

    Parameters
    ----------
    kl
        :math:`\mathrm{KL}(\text{posterior} \| \text{prior}) \ge 0` in nats: of one hypothesis, that
        of :func:`code_kl`.
    n
        Number of independent training examples, >= 1.
    error
        Training error of the posterior, in [0, 1].
    delta
        In (0, 1): the bound fails with at most this probability.

    Returns
    -------
    Array
        Of the arguments' common shape, in [error, 1]; dtype as :func:`occam_bound`.

    Raises
    ------
    ValueError
        For values that are known to be out of range; traced ones are not looked at.

    Notes
    -----
    Never above :func:`occam_bound` but for the term in sqrt n (Pinsker's inequality), and far below
    it for small errors. All transformations, second derivatives included; the derivative in an
    error of 0 is infinite, and comes out as a large number. Rounded up: in float32 never below the
    exact bound of the numbers given (those that float32 holds), and at most 2e-6 of it above.

    References
    ----------
    Maurer (2004), "A note on the PAC Bayesian theorem", theorem 5, for losses in [0, 1]; for 0-1
    losses derived in the module.

    Examples
    --------
    >>> from theorylab import subspace
    >>> kl = subspace.code_kl(1000)
    >>> round(float(subspace.pac_bayes_bound(kl, 60_000, 0.05, 0.05)), 4)
    0.0905
    """
    divergence, m, e, small = _numbers(kl=kl, n=n, error=error, delta=delta)
    budget = (divergence + jnp.log(2 * jnp.sqrt(m)) - _log(delta, small)) / m
    up = 1 + SLACK * float(jnp.finfo(budget.dtype).eps)
    return jnp.minimum(_inverse(*jnp.broadcast_arrays(e, budget)) * up, 1)


def code_kl(bits: ArrayLike, *, prefix_free: bool = True) -> Array:
    r"""KL divergence, in nats, of one hypothesis from the prior that its code is.

    .. math:: \mathrm{KL} = b \ln 2 \quad \text{(prefix-free)}, \qquad b \ln 2 + \ln((b + 1)(b + 2))

    Parameters
    ----------
    bits
        Length b >= 0 of the description, in bits.
    prefix_free
        Whether no codeword begins another, as those of :func:`theorylab.subspace.compressed_bits`.
        Else, as for the size of a file, the length has to be told too.

    Returns
    -------
    Array
        Of the shape of `bits`.

    Raises
    ------
    ValueError
        For a length that is known to be negative.

    Notes
    -----
    All transformations. For large b the second form is :math:`b \ln 2 + 2 \ln b`.

    References
    ----------
    Lotfi, Finzi, Kapoor, Potapczynski, Goldblum & Wilson (2022), "PAC-Bayes compression bounds so
    tight that they can explain generalization" (universal prior).

    Examples
    --------
    >>> from theorylab import subspace
    >>> [round(float(subspace.code_kl(1000, prefix_free=f)), 2) for f in (True, False)]
    [693.15, 706.97]
    """
    (b,) = _numbers(bits=bits)
    length = b * math.log(2)
    return length if prefix_free else length + jnp.log(b + 1) + jnp.log(b + 2)


def _numbers(**arguments: Any) -> list[Array]:
    """The arguments in one floating dtype, checked where they are known."""
    for name, x in arguments.items():
        value = known(x)
        if value is not None and value.dtype.kind not in "iuf" and value.dtype != jnp.bfloat16:
            raise ValueError(f"{name} must be real numbers, got {value.dtype}")
        low, high, rule = RANGES[name]
        if value is not None and not np.all((value >= low) & (value <= high)):
            raise ValueError(f"{name} must be {rule}, got {value}")
        if name == "delta" and value is not None and not np.all((value > 0) & (value < 1)):
            raise ValueError(f"delta must be in (0, 1), got {value}")
    floats = [
        jax.dtypes.canonicalize_dtype(x.dtype)
        for x in arguments.values()
        if isinstance(x, jax.Array | np.ndarray) and jnp.issubdtype(x.dtype, jnp.floating)
    ]
    widest = functools.reduce(jnp.promote_types, floats, np.dtype(np.float32))
    dtype = widest if floats else jnp.result_type(float)
    return [jnp.asarray(x).astype(dtype) for x in arguments.values()]


def _log(delta: ArrayLike, traced: Array) -> Array:
    """Ln delta: on the host where it is known, since it may be too small for the dtype."""
    value = known(delta)
    if value is None:
        return jnp.log(traced)
    return jnp.asarray(np.log(value.astype(np.float64)), traced.dtype)


RANGES = {
    "bits": (0, np.inf, ">= 0"),
    "kl": (0, np.inf, ">= 0"),
    "n": (1, np.inf, ">= 1"),
    "error": (0, 1, "in [0, 1]"),
    "delta": (0, 1, "in (0, 1)"),
}


def _divergence(q: Array, gap: Array) -> Array:
    """kl(q || q + gap) of two coins, with 0 ln 0 = 0; inf where q + gap is 1 and q is not.

    In terms of the gap, whose digits q + gap would lose where it is short.
    """
    least = float(jnp.finfo(q.dtype).tiny)
    wrong = jax.scipy.special.xlog1py(q, gap / jnp.maximum(q, least))
    right = jax.scipy.special.xlog1py(1 - q, -gap / jnp.maximum(1 - q, least))
    return -wrong - right


@jax.custom_jvp
def _inverse(q: Array, budget: Array) -> Array:
    """The largest p with kl(q || p) <= budget."""
    steps = EXTRA + int(jnp.finfo(q.dtype).nmant)
    # Pinsker: kl >= 2 (p - q)^2, and the rest of the way to 1.
    top = jnp.minimum(jnp.sqrt(budget / 2), 1 - q)

    def halve(_: int, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = (low + high) / 2
        above = _divergence(q, middle) > budget
        return jnp.where(above, low, middle), jnp.where(above, middle, high)

    _, gap = jax.lax.fori_loop(0, steps, halve, (jnp.zeros_like(top), top))
    return jnp.where(jnp.isnan(budget) | jnp.isnan(q), jnp.nan, q + gap)


@_inverse.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """From kl(q || p) = budget: (p - q) / (p (1 - p)) dp = d budget - (logit q - logit p) dq."""
    (q, budget), (dq, dbudget) = primals, tangents
    p = _inverse(q, budget)
    free = (p > q) & (p < 1)  # else at the end of the range, where p does not move
    safe_p = jnp.where(free, p, 0.5)
    safe_q = jnp.where(free, q, 0.25)
    # At q = 0 the slope in q is infinite; a large number avoids infinity times zero.
    inner_q = jnp.maximum(safe_q, float(jnp.finfo(q.dtype).tiny))
    tilt = jax.scipy.special.logit(inner_q) - jax.scipy.special.logit(safe_p)
    moved = dbudget - tilt * dq
    slope = safe_p * (1 - safe_p) / (safe_p - safe_q)
    return p, jnp.where(free, slope * moved, 0)
