r"""The polar factor of a matrix by products of matrices alone.

An odd cubic acts on the singular values of X and leaves its singular vectors,

.. math::

    X \leftarrow \tfrac32 \rho X - \tfrac12 \rho^3 X X^\top X , \qquad
    s \leftarrow p(s) = \tfrac12 \rho s (3 - \rho^2 s^2) .

p rises to its largest value, 1 at :math:`s = 1/\rho`, and falls. With singular values in
:math:`[l, 1]` the best :math:`\rho` makes both ends equal, :math:`p(l) = p(1)`:

.. math::

    3 (1 - l) = \rho^2 (1 - l^3), \qquad \rho^2 = \frac{3}{1 + l + l^2},

after which they lie in :math:`[p(l), 1]`. Small ones grow by :math:`3\sqrt3 / 2 = 2.6` in a step,
and :math:`1 - l` falls quadratically at the end, where :math:`\rho = 1` is Newton and Schulz's
method. Singular values below l only grow, and stay below 1.

Differs from the paper / reference:
  1. Chen and Chow (2014), "A stable scaling of Newton-Schulz for improving the sign function
     computation of a Hermitian matrix", scale the iteration for the sign function; this is the same
     scaling for the polar factor, derived above.
  2. The lower end l is an assumption, not an estimate, so that the steps are known beforehand.
  3. DONE: steps end when the lower end is within 1e-7 of 1 (float32), 1e-15 (float64).
"""

import jax.numpy as jnp
from jax import Array, lax

from theorylab._numerics import HIGHEST
from theorylab.optim._kappa import scaled

DONE = {4: 1e-7, 8: 1e-15}


def scalings(smallest: float, done: float) -> list[float]:
    """The factors rho of all steps, for singular values in [smallest, 1]."""
    factors, low = [], smallest
    while 1 - low > done:
        rho = (3 / (1 + low + low * low)) ** 0.5
        factors.append(rho)
        low = min(0.5 * rho * low * (3 - (rho * low) ** 2), 1.0)
    return factors


def newton_schulz(x: Array, smallest: float) -> Array:
    """The polar factors of matrices (..., m, n), where singular values exceed the smallest.

    ``smallest`` is relative to a bound on the largest singular value, the smaller one of the
    Frobenius norm and the root of the product of the norms 1 and infinity. 0 for a matrix of zeros.
    """
    wide = x.shape[-2] <= x.shape[-1]
    _, unit = scaled(x if wide else jnp.swapaxes(x, -1, -2), (-2, -1))
    size = jnp.abs(unit)
    frobenius = jnp.sqrt(jnp.sum(size * size, axis=(-2, -1), keepdims=True))
    columns = jnp.max(jnp.sum(size, -2, keepdims=True), -1, keepdims=True, initial=0)
    lines = jnp.max(jnp.sum(size, -1, keepdims=True), -2, keepdims=True, initial=0)
    bound = jnp.minimum(frobenius, jnp.sqrt(columns * lines))
    # At least 1, the largest entry, but where all is 0.
    unit = unit / jnp.maximum(bound, 1)
    rhos = jnp.asarray(scalings(smallest, DONE[x.dtype.itemsize]), x.dtype)
    unit, _ = lax.scan(_step, unit, rhos)
    return unit if wide else jnp.swapaxes(unit, -1, -2)


def _step(unit: Array, rho: Array) -> tuple[Array, None]:
    gram = jnp.matmul(unit, jnp.swapaxes(unit, -1, -2), precision=HIGHEST)
    cubic = jnp.matmul(gram, unit, precision=HIGHEST)
    return 1.5 * rho * unit - 0.5 * rho**3 * cubic, None
