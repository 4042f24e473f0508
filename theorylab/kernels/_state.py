r"""The state that kernels are propagated in, and the arithmetic that keeps it exact.

For inputs :math:`i` (rows) and :math:`j` (columns), a signal :math:`z` inside an infinitely wide
network has the covariance :math:`K_{ij} = E z_i z_j`. What is carried is, with a positive scale
:math:`\mu_i` per input,

.. math::

    q_i = \frac{E z_i^2}{\mu_i^2}, \qquad
    g_{ij} = \tfrac12 E \Big(\frac{z_i}{\mu_i} - \frac{z_j}{\mu_j}\Big)^2, \qquad
    t_{ij} = \frac{\Theta_{ij}}{\mu_i \mu_j},

so that :math:`K_{ij} = \mu_i \mu_j ((q_i + q_j)/2 - g_{ij})`. After every layer the scales are set
so that :math:`q = 1`: then :math:`g` is one minus the cosine, rescaled copies of an input have
:math:`g = 0`, and nothing overflows before the result is formed.

The scales are *constants* for differentiation: the result does not depend on how they are chosen,
so derivatives flow through ``q`` and ``g`` alone, where they are smooth even at zero inputs.

Differs from the textbook recursion:

1. The gap is carried, not the covariance: near-duplicates keep their angle in float32.
2. Row quantities are kept in float64 where the hardware has it.
3. Where a variance is zero the scale is 1 and the correlation is taken as 0.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from theorylab._numerics import outer_difference, safe_sqrt, wide_scope


class Kernel(NamedTuple):
    """Kernels of an infinitely wide network.

    Attributes
    ----------
    nngp
        Covariance of the outputs at initialisation, (n1, n2).
    ntk
        Neural tangent kernel, (n1, n2), or None where it was not asked for.
    """

    nngp: Array
    ntk: Array | None


@dataclasses.dataclass(frozen=True)
class Layout:
    """Static facts about a signal.

    Attributes
    ----------
    width
        Number of channels of the finite network at this point.
    gaussian
        Whether the signal is Gaussian in the limit: so behind an affine layer, not behind a
        nonlinearity or at the input.
    fresh
        For each ``FanOut`` that is still open above this point, outermost first: whether an affine
        layer, with weights of its own, stands between it and this point. Branches are independent
        given their common input when at most one of them is not fresh.
    """

    width: int
    gaussian: bool
    fresh: tuple[bool, ...] = ()


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KernelState:
    """Everything a layer needs to propagate kernels; see the module docstring.

    Attributes
    ----------
    scale1, scale2
        Scales of rows (n1,) and columns (n2,), wide dtype, constant under differentiation.
    q1, q2
        Variances in units of the squared scales, (n1,) and (n2,), wide dtype; 1, or 0 for a signal
        that is zero.
    gap
        Half the mean squared difference of the scaled signals, (n1, n2).
    ntk
        NTK in units of the scales, (n1, n2), or None when it is not wanted.
    layout
        Static facts.
    """

    scale1: Array
    scale2: Array
    q1: Array
    q2: Array
    gap: Array
    ntk: Array | None
    layout: Layout = dataclasses.field(metadata={"static": True})

    def kernel(self) -> Kernel:
        """The covariance and the NTK in natural units, in the dtype of ``gap``."""
        with wide_scope():
            scale = product(self.scale1, self.scale2, self.gap.dtype)
            nngp = scale * scaled_covariance(self.q1, self.q2, self.gap)
            return Kernel(nngp, None if self.ntk is None else scale * self.ntk)


class Pair(NamedTuple):
    """Second moments of a pair of Gaussians in natural units, as an activation's map sees them.

    Attributes
    ----------
    q1, q2
        Variances, wide dtype, broadcastable against ``gap``: (n1, 1) and (1, n2).
    gap
        Half the mean squared difference, (n1, n2).
    cov
        Covariance, (n1, n2).
    correlation_gap
        One minus the correlation, (n1, n2); 1 where a variance is zero.
    """

    q1: Array
    q2: Array
    gap: Array
    cov: Array
    correlation_gap: Array


def column(row: Array) -> Array:
    """Rows (n1,) as (n1, 1), to broadcast against pairs."""
    return row[:, None]


def line(row: Array) -> Array:
    """Columns (n2,) as (1, n2)."""
    return row[None, :]


def outer(row1: Array, row2: Array, dtype: Any) -> Array:
    """Product of a row and a column quantity for every pair, in ``dtype``."""
    return column(row1).astype(dtype) * line(row2).astype(dtype)


def product(row1: Array, row2: Array, dtype: Any) -> Array:
    """As :func:`outer`, rounded about once: for factors that every layer applies again.

    The rounding of a row is the same in each layer, so ten layers would add it up ten times.
    """
    if row1.dtype == dtype:
        return outer(row1, row2, dtype)
    head1, head2 = row1.astype(dtype), row2.astype(dtype)
    tail1, tail2 = row1 - head1.astype(row1.dtype), row2 - head2.astype(row2.dtype)
    return outer(head1, head2, dtype) + (
        outer(tail1, row2, dtype) + outer(head1.astype(row1.dtype), tail2, dtype)
    )


def mean(row1: Array, row2: Array, dtype: Any) -> Array:
    """Mean of a row and a column quantity for every pair, in ``dtype``."""
    return (column(row1 / 2)).astype(dtype) + (line(row2 / 2)).astype(dtype)


def difference(row1: Array, row2: Array, dtype: Any) -> Array:
    """Row minus column quantity for every pair, rounded once."""
    return outer_difference(column(row1), line(row2), dtype)


def scaled_covariance(q1: Array, q2: Array, gap: Array) -> Array:
    """Covariance in units of the scales, (n1, n2)."""
    return mean(q1, q2, gap.dtype) - gap


def correlation_gap(state: KernelState) -> Array:
    """One minus the correlation, (n1, n2); 1 where a variance is zero.

    The roots of the variances are 1 or 0, so that they lose nothing in the narrow dtype; written
    out all the same, since their derivatives are not zero.
    """
    dtype = state.gap.dtype
    live1, live2 = state.q1 > 0, state.q2 > 0
    s1, s2 = safe_sqrt(state.q1), safe_sqrt(state.q2)
    inverse1 = jnp.where(live1, 1 / jnp.where(live1, s1, 1), 0)
    inverse2 = jnp.where(live2, 1 / jnp.where(live2, s2, 1), 0)
    radial = (column(s1).astype(dtype) - line(s2).astype(dtype)) ** 2 / 2
    dead = 1 - outer(live1, live2, dtype)
    return (state.gap - radial) * outer(inverse1, inverse2, dtype) + dead


def from_correlation_gap(c: Array, q1: Array, q2: Array) -> Array:
    """The gap, (n1, n2), of scaled signals whose correlation is ``1 - c``."""
    dtype = c.dtype
    s1, s2 = safe_sqrt(q1), safe_sqrt(q2)
    radial = (column(s1).astype(dtype) - line(s2).astype(dtype)) ** 2 / 2
    return outer(s1, s2, dtype) * c + radial


def natural_gap(state: KernelState) -> Array:
    """Half the mean squared difference in natural units, (n1, n2): a sum of positive terms."""
    dtype = state.gap.dtype
    spread = difference(state.scale1, state.scale2, dtype) * difference(
        state.scale1 * state.q1, state.scale2 * state.q2, dtype
    )
    return outer(state.scale1, state.scale2, dtype) * state.gap + spread / 2


def pair(state: KernelState) -> Pair:
    """The state in natural units, for activations without a scale-free form."""
    dtype = state.gap.dtype
    return Pair(
        q1=column(state.q1 * state.scale1**2),
        q2=line(state.q2 * state.scale2**2),
        gap=natural_gap(state),
        cov=outer(state.scale1, state.scale2, dtype)
        * scaled_covariance(state.q1, state.q2, state.gap),
        correlation_gap=correlation_gap(state),
    )


def unit_scale(variance: Array) -> Array:
    """The scale that makes ``variance`` one: its root, or 1 where it is zero; a constant."""
    root = jnp.sqrt(lax.stop_gradient(variance))
    return jnp.where(root > 0, root, jnp.ones_like(root))


def unit(q: Array) -> Array:
    """A scaled variance without its rounding: exactly 1, or 0 where it is zero.

    Derivatives pass unchanged. Both subtraction and addition are exact next to 1.
    """
    return q + lax.stop_gradient(jnp.where(q > 0, 1 - q, 0))
