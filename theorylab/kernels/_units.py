r"""Arithmetic of row quantities, scales and pairs that loses no digits; see ``_state``.

A layer that adds independent pieces :math:`z'_i = \sum_b r_{ib}\, z_{ib}/\mu_{ib}` (a bias, a
window of pixels, branches) has

.. math::

    q'_i = \sum_b r_{ib}^2 q_{ib}, \qquad
    g'_{ij} = \sum_b \Big[ r_{ib} r_{jb}\, g_{ij,b}
              + \tfrac12 (r_{ib} - r_{jb})(r_{ib} q_{ib} - r_{jb} q_{jb}) \Big] :

a sum of non-negative terms while :math:`q` is 1 or 0, so that nothing cancels. With the scale of a
vanishing signal no larger than the others, an error of ``eps`` in a term is an error of ``eps``
times the angle.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from theorylab._numerics import safe_sqrt
from theorylab.kernels._state import Held, Kernel, KernelState, Layout, LogScale, Rows

LARGE = 60  # exponents of two within which scales and NTK stay: their squares are finite in float32
NATURAL = {4: 24, 8: 200}  # exponents of two within which an activation sees a scale, by itemsize
RANGE = {4: 120, 8: 1000}  # exponents of two within which a kernel is given without a log-scale


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


def held(value: Array, dtype: Any, rank: int, *, exact: bool = True) -> Held:
    """A row quantity ``(..., n, *S)`` for pairs of ``dtype``; ``exact`` keeps the rest."""
    head = value.astype(dtype)
    if not exact or head.dtype == value.dtype:
        return Held(head, None, rank)
    return Held(head, (value - head.astype(value.dtype)).astype(dtype), rank)


def outer(s: KernelState, a1: Held, a2: Held) -> Array:
    """Product of a row and a column quantity for every pair."""
    return s.column(a1.head) * s.line(a2.head)


def product(s: KernelState, a1: Held, a2: Held) -> Array:
    """As :func:`outer`, rounded about once: for factors that every layer applies again.

    The rounding of a row is the same in each layer, so ten layers would add it up ten times.
    """
    heads = outer(s, a1, a2)
    if a1.tail is None or a2.tail is None:
        return heads
    return heads + (s.column(a1.tail) * s.line(a2.head) + s.column(a1.head) * s.line(a2.tail))


def difference(s: KernelState, a1: Held, a2: Held) -> Array:
    """Row minus column quantity for every pair, rounded once."""
    heads = s.column(a1.head) - s.line(a2.head)
    if a1.tail is None or a2.tail is None:
        return heads
    return heads + (s.column(a1.tail) - s.line(a2.tail))


def mean(after1: Rows, after2: Rows, s: KernelState) -> Array:
    """Mean of the variances of a pair, in units of the scales."""
    return s.column(after1.half) + s.line(after2.half)


def scaled_covariance(s: KernelState) -> Array:
    """Covariance in units of the scales."""
    return mean(s.rows1, s.rows2, s) - s.gap


def spread(s: KernelState, r1: Held, r2: Held, a1: Held, a2: Held) -> Array:
    """The second term of the gap of a sum of pieces, for one piece, with ``a = r q``."""
    return difference(s, r1, r2) * difference(s, a1, a2) / 2


def correlation_gap(s: KernelState) -> Array:
    """One minus the correlation; 1 where a variance is zero.

    The roots of the variances are 1 or 0, so that they lose nothing in the narrow dtype; written
    out all the same, since their derivatives are not zero.
    """
    radial = (s.column(s.rows1.root) - s.line(s.rows2.root)) ** 2 / 2
    inverse = s.column(s.rows1.inverse) * s.line(s.rows2.inverse)
    return jnp.where(inverse > 0, (s.gap - radial) * inverse, 1)


def from_correlation_gap(s: KernelState, c: Array, after1: Rows, after2: Rows) -> Array:
    """The gap of scaled signals whose correlation is ``1 - c``."""
    radial = (s.column(after1.root) - s.line(after2.root)) ** 2 / 2
    return s.column(after1.root) * s.line(after2.root) * c + radial


def natural_scale(rows: Rows, dtype: Any) -> Array:
    """Scales in natural units, ``(n, *S)``, within ``NATURAL``: beyond, functions are at limits."""
    largest = NATURAL[jnp.dtype(dtype).itemsize]
    exponent = jnp.clip(rows.exponent, -largest - LARGE, largest + LARGE)
    return jnp.clip(ldexp(rows.scale, exponent), 2.0**-largest, 2.0**largest)


def extremes(rows: Rows, dtype: Any) -> tuple[Array, Array]:
    """Where scales in natural units are below, and where they are above ``NATURAL``."""
    largest = NATURAL[jnp.dtype(dtype).itemsize]
    exponent = jnp.clip(rows.exponent, -2 * (largest + LARGE), 2 * (largest + LARGE))
    natural = ldexp(rows.scale, exponent)
    return natural < 2.0**-largest, natural > 2.0**largest


def unit_scale(variance: Array) -> Array:
    """The scales ``(n, *S)`` that make ``variance`` one, constants.

    The root of the variance; where that is zero, the smallest of the same input's other roots, the
    largest of all inputs' if there is none, or 1.
    """
    root = jnp.sqrt(lax.stop_gradient(variance))
    live = root > 0
    positions = tuple(range(1, root.ndim))
    least = jnp.min(jnp.where(live, root, jnp.inf), axis=positions, keepdims=True)
    largest = jnp.max(root)
    rest = jnp.where(largest > 0, largest, 1)
    return jnp.where(live, root, jnp.where(least < jnp.inf, least, rest))


def unit(q: Array) -> Array:
    """A scaled variance without its rounding: exactly 1, or 0 where it is zero.

    Derivatives pass unchanged. Both subtraction and addition are exact next to 1.
    """
    return q + lax.stop_gradient(jnp.where(q > 0, 1 - q, 0))


def ldexp(x: Array, exponent: Array) -> Array:
    """``x 2**exponent``, exactly, for any exponent of type int32.

    Two halves, since the power itself may leave the range where the product does not.
    """
    half = exponent >> 1
    return x * exp2(half, x.dtype) * exp2(exponent - half, x.dtype)


# Bits of the mantissa and the bias of the exponent, by itemsize. The library's ldexp and frexp
# treat all special numbers; here that would be half of the compiled program.
_FLOAT = {4: (23, 127, jnp.int32), 8: (52, 1023, jnp.int64)}


def exp2(exponent: Array, dtype: Any) -> Array:
    """Two to an integer power, exactly; 0 below the normal numbers, infinite above."""
    bits, bias, integer = _FLOAT[jnp.dtype(dtype).itemsize]
    biased = jnp.clip(exponent + bias, 0, 2 * bias + 1).astype(integer)
    return lax.bitcast_convert_type(biased << bits, dtype)


def exponent_of(x: Array) -> Array:
    """The integer e, int32, with ``2**e <= x < 2**(e + 1)`` for a positive normal number."""
    bits, bias, integer = _FLOAT[x.dtype.itemsize]
    field = lax.bitcast_convert_type(lax.stop_gradient(x), integer) >> bits
    return field.astype(jnp.int32) - bias


def excess(size: Array) -> Array:
    """Power of two, int32, to take out of a positive size; 0 while it is moderate."""
    exponent = jnp.where((size > 0) & (size < jnp.inf), exponent_of(size), 0)
    return jnp.where(jnp.abs(exponent) > LARGE, exponent, 0)


def variances(q: Array, dtype: Any) -> dict[str, Any]:
    """The fields of :class:`Rows` that follow from ``q``."""
    live = q > 0
    root = safe_sqrt(q)
    inverse = jnp.where(live, 1 / jnp.where(live, root, 1), 0)
    narrow = {"half": q / 2, "root": root, "inverse": inverse}
    return {"q": q, **{name: value.astype(dtype) for name, value in narrow.items()}}


def settled(
    rows: Rows, scale: Array, q: Array, tangent: Array, *, moderated: bool = False, **facts: Any
) -> Rows:
    """Rows behind a layer; where ``moderated``, with powers of two taken out of scales and NTK.

    Affine layers do so. What stands between two of them cannot leave the range of float64.

    Parameters
    ----------
    rows
        Rows before the layer, whose exponents hold for the new quantities too.
    scale, q
        New scales and variances, ``(n, *S)``.
    tangent
        New bound of the NTK, in units of the new scales.
    **facts
        What changes in the layout.
    """
    tangent = lax.stop_gradient(tangent)
    after = dataclasses.replace(
        rows.relaid(**facts), scale=scale, tangent=tangent, own=None, **variances(q, rows.dtype)
    )
    if not moderated:
        return after
    grown = excess(greatest(scale, q))
    steep = excess(tangent) >> 1
    return dataclasses.replace(
        after,
        scale=ldexp(scale, -grown),
        exponent=rows.exponent + grown,
        tangent=ldexp(tangent, -2 * steep),
        tangent_exponent=rows.tangent_exponent + steep,
    )


def shrinkage(before: Rows, after: Rows) -> Array:
    """Old scales over new ones where a layer acts position by position, ``(n, *S)``."""
    return before.scale / after.scale * exp2(before.exponent - after.exponent, after.q.dtype)


def ntk_factors(s: KernelState, after1: Rows, after2: Rows) -> tuple[Array, Array]:
    """Scalars by which the old NTK, and a kernel in units of the new scales, enter the new NTK."""
    old = s.rows1.tangent_exponent + s.rows2.tangent_exponent
    new = after1.tangent_exponent + after2.tangent_exponent
    kept = exp2(old - new, s.gap.dtype)
    return kept, exp2(-new, s.gap.dtype)


def greatest(value: Array, q: Array) -> Array:
    """The largest of a row quantity over signals that do not vanish; 0 if all do."""
    return jnp.max(jnp.where(q > 0, value, 0))


def own_kernel(rows: Rows) -> Array:
    """A kernel that is 1 in units of the scales, in units of the NTK's bound; a scalar."""
    return exp2(-2 * rows.tangent_exponent, rows.q.dtype)


def natural_kernel(s: KernelState, units: tuple[Array, Array]) -> tuple[Array, Array | None]:
    """NNGP and NTK in units of two powers of two; see :func:`kernel_exponents`."""
    shift = s.rows1.exponent + s.rows2.exponent
    covariance = product(s, *_shared(s, shift - units[0])) * scaled_covariance(s)
    if s.ntk is None:
        return covariance, None
    shift = shift + s.rows1.tangent_exponent + s.rows2.tangent_exponent
    return covariance, product(s, *_shared(s, shift - units[1])) * s.ntk


def kernel_of(s: KernelState) -> Kernel:
    """The kernel of a state, with its log-scale."""
    dtype = s.gap.dtype
    units = kernel_exponents(s.rows1, s.rows2, dtype)
    nngp, ntk = natural_kernel(s, units)
    logs = [log_scale(unit, dtype) for unit in units]
    return Kernel(
        unfolded_pairs(nngp, s.layout),
        None if ntk is None else unfolded_pairs(ntk, s.layout),
        LogScale(logs[0], None if ntk is None else logs[1]),
    )


def unfolded_pairs(k: Array, layout: Layout) -> Array:
    """A kernel with the positions along their own axes, ``(n1, n2, *S, *S')``."""
    if not layout.spatial:
        return k
    return k.reshape(*k.shape[:2], *layout.spatial * (k.ndim - 2))


def _shared(s: KernelState, exponent: Array) -> tuple[Held, Held]:
    """The scales of both sides with a power of two divided among them."""
    half = exponent >> 1
    rank = len(s.layout.spatial)
    shifts = (half, exponent - half)
    one, two = (
        held(ldexp(rows.scale, shift), s.gap.dtype, rank)
        for rows, shift in zip((s.rows1, s.rows2), shifts, strict=True)
    )
    return one, two


def log_scale(exponent: Array, dtype: Any) -> Array:
    """Natural logarithm of a power of two."""
    return (exponent * math.log(2)).astype(dtype)


def kernel_exponents(rows1: Rows, rows2: Rows, dtype: Any) -> tuple[Array, Array]:
    """Powers of two in whose units NNGP and NTK are given: 0 while natural units are in range."""
    limit = RANGE[jnp.dtype(dtype).itemsize]
    tops = [greatest(rows.scale, rows.q) for rows in (rows1, rows2)]
    sizes = [exponent_of(t) + r.exponent for t, r in zip(tops, (rows1, rows2), strict=True)]
    nngp = sizes[0] + sizes[1]
    tangents = [exponent_of(r.tangent) + 2 * r.tangent_exponent for r in (rows1, rows2)]
    ntk = nngp + ((tangents[0] + tangents[1]) >> 1)
    nngp, ntk = (jnp.where(jnp.abs(e) > limit, e, 0).astype(jnp.int32) for e in (nngp, ntk))
    live = tops[0] * tops[1] > 0
    trained = live & (rows1.tangent * rows2.tangent > 0)
    return jnp.where(live, nngp, 0), jnp.where(trained, ntk, 0)
