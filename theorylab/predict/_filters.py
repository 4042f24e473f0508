r"""How much of each eigendirection has been learned: the scalar functions behind flow and descent.

In an eigendirection of the regularised training kernel with eigenvalue :math:`w`, at the rate
:math:`c = \eta / n`, the residual has decayed by

.. math::

    \rho = e^{-c w t} \ \text{(flow)}, \qquad \rho = (1 - c w)^s \ \text{(s steps)},

and the coefficient with which the training residual enters the prediction is the *gain*

.. math::

    \varphi(w) = \frac{1 - \rho}{w} = c t\,(1 - \psi(x)), \quad x = c w t, \qquad
    \psi(x) = \sum_{k \ge 1} \frac{(-1)^{k+1} x^k}{(k+1)!} \prod_{j=1}^{k} (1 - j h),

with :math:`h = 0` for the flow and :math:`h = 1/s` for steps. The series serves for
:math:`|x| \le 1`, where it has full relative accuracy, the quotient elsewhere.

Differs from the paper / reference:
  1. Papers write matrix exponentials and inverses (Lee et al. 2019, equations 10 and 11); the gain
     is finite at w = 0 and exact for tiny w, at every time, infinity included.
  2. Derivatives with respect to the kernel use divided differences of the gain (Daleckii & Krein
     1965), so repeated eigenvalues, e.g. of duplicated points, are harmless.
  3. SERIES_TERMS = 18: 1/20! is below the rounding of float64. CLOSE = 1/3: eigenvalues nearer than
     ``eps ** CLOSE`` of their size use the derivative at their midpoint, whose error ``eps **
     (2/3)`` balances the cancellation in the difference.
"""

import jax
import jax.numpy as jnp

SERIES_TERMS = 18
CLOSE = 1 / 3


def decay(nu: jax.Array, time: jax.Array, *, discrete: bool) -> jax.Array:
    """Compute the residual left at ``nu = c w`` (not 0 where time is infinite) after ``time``."""
    forever = jnp.isinf(time)
    time = jnp.where(forever, 1, time)
    if not discrete:
        return jnp.where(forever, 0, jnp.exp(-nu * time))
    # 1 - nu is exact for nu in [1/2, 2]; below, log1p keeps the digits of a small nu.
    gentle = nu < 0.5
    slow = jnp.exp(time * jnp.log1p(-jnp.where(gentle, nu, 0)))
    fast = jnp.power(1 - jnp.where(gentle, 1.0, nu).astype(nu.dtype), time)
    rho = jnp.where(gentle, slow, fast)
    limit = jnp.where((nu > 0) & (nu < 2), 0.0, jnp.nan).astype(rho.dtype)
    return jnp.where(forever, limit, rho)


def gain(w: jax.Array, rate: jax.Array, time: jax.Array, *, discrete: bool) -> jax.Array:
    """Compute the gain at eigenvalues ``w``; at infinite time ``w`` must not be 0."""
    forever = jnp.isinf(time)
    finite_time = jnp.where(forever, 0, time)
    large = forever | (jnp.abs(rate * w * finite_time) > 1)
    w_large = jnp.where(large, w, 1)
    # With w replaced by 1, a rate above 2 could overflow in the branch that is not taken.
    rho = decay(jnp.where(large, rate * w, 0.1), time, discrete=discrete)
    quotient = (1 - rho) / w_large
    series = (
        rate * finite_time * (1 - _defect(jnp.where(large, 0, w), rate, time, discrete=discrete))
    )
    return jnp.where(large, quotient, series)


def divided_differences(
    w: jax.Array, held: jax.Array, rate: jax.Array, time: jax.Array, *, discrete: bool
) -> jax.Array:
    """(phi(w_i) - phi(w_j)) / (w_i - w_j) for all pairs, phi'(w_i) on the diagonal.

    ``held`` marks the directions whose gain is set to 0.
    """
    safe = jnp.where(held, 1, w)
    phi = jnp.where(held, 0, gain(safe, rate, time, discrete=discrete))
    psi = _defect(jnp.where(held, 0, w), rate, time, discrete=discrete)
    finite_time = jnp.where(jnp.isinf(time), 0, time)
    small = ~held & ~jnp.isinf(time) & (jnp.abs(rate * w * finite_time) <= 1)

    def pairs(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return x[:, None], x[None, :]

    (w1, w2), (held1, held2), (small1, small2) = pairs(w), pairs(held), pairs(small)
    tolerance = jnp.finfo(w.dtype).eps ** CLOSE
    close = jnp.abs(w1 - w2) <= tolerance * jnp.maximum(jnp.abs(w1), jnp.abs(w2))
    gap = jnp.where(close, 1, w1 - w2)
    # Where both gains are near c t, their difference is that of the small defects psi.
    difference = jnp.where(
        small1 & small2,
        -rate * finite_time * (psi[:, None] - psi[None, :]),
        phi[:, None] - phi[None, :],
    )
    both_held = held1 & held2
    middle = jnp.where(both_held, 1, (w1 + w2) / 2)
    slope = jax.jvp(
        lambda m: gain(m, rate, time, discrete=discrete), (middle,), (jnp.ones_like(middle),)
    )[1]
    return jnp.where(both_held, 0, jnp.where(close, slope, difference / gap))


def _defect(w: jax.Array, rate: jax.Array, time: jax.Array, *, discrete: bool) -> jax.Array:
    """Compute psi at x = rate * w * time, for |x| <= 1; other entries are not used."""
    finite_time = jnp.where(jnp.isinf(time), 0, time)
    # The bound is beyond the entries used: at a bound, the derivative of clip is halved.
    x = jnp.clip(rate * finite_time * w, -2, 2)
    h = jnp.where(finite_time == 0, 0, 1 / jnp.where(finite_time == 0, 1, finite_time))
    h = h * (1 if discrete else 0)

    def horner(i: jax.Array, total: jax.Array) -> jax.Array:
        k = (SERIES_TERMS - i).astype(x.dtype)
        return 1 - x * ((1 - k * h) / (k + 1)) * total

    # A loop, since eighteen fused terms and their derivatives take seconds to compile.
    total = jax.lax.fori_loop(0, SERIES_TERMS - 1, horner, jnp.ones_like(x))
    return x * ((1 - h) / 2) * total
