r"""Pooling: :math:`K'(p, p') = a_p a_{p'} \sum_{w, w'} K(p + w, p' + w')`.

All pairs of positions in two windows count, so the full covariance must be carried below a pooling
layer, that of every input with itself too. With :math:`R_p = \sum_w \mu_{p+w}`,
:math:`A_p = \sum_w \mu_{p+w} q_{p+w}` and :math:`G = \sum_{w,w'} \mu \mu' g`,

.. math::

    K'(p, p') = a_p a_{p'} \Big[ \tfrac12 (R_p A_{p'} + R_{p'} A_p) - G(p, p') \Big], \qquad
    g' = \tfrac12 (q'_p + q'_{p'}) - \frac{K'(p, p')}{\mu'_p \mu'_{p'}} .

:math:`a = 1/F` for averages over :math:`F` positions, 1 for sums.

*float32.* The gap behind a pooling layer is a difference, known to ``eps`` of the variances below
it and not of itself. Sums run in the wide dtype, and where more is needed all pairs do
(``_needs.wide_pairs``).

Source: Novak et al., "Bayesian deep convolutional networks with many channels are Gaussian
processes", 2019, section 3.2.

Differs from the paper:

1. Written in gaps; windows, strides and padding of any kind.
2. ``NOISE`` = 32, in float64: tiles hold 48 bits of the rows of wide pairs, 16 ``eps``; gaps of
   equal images without tiles were up to 1.3 ``eps`` of their terms, for 4 to 256 positions
   (measured). Points closer than 2e-7 are taken to coincide, for 5e-8 of the NTK above.
"""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from theorylab._numerics import wide_dtype
from theorylab.kernels._affine import facts
from theorylab.kernels._propagate import (
    check_axes,
    layout_after,
    relaid,
    rows_behind,
    rule,
    shape_after,
)
from theorylab.kernels._state import Held, KernelState, Layout, Rows, own_state
from theorylab.kernels._units import greatest, ntk_factors, outer, settled, unit, unit_scale
from theorylab.kernels._windows import (
    Window,
    count,
    equal_positions,
    folded,
    sum_apart,
    unfolded,
    views,
    windows,
)
from theorylab.layers import AvgPool, GlobalAvgPool, GlobalSumPool, SumPool

NOISE = 32


class PoolRows(NamedTuple):
    """What the pairs of a pool need of each input, wide dtype; see the module docstring.

    Attributes
    ----------
    after
        Rows behind the layer.
    share
        Scales before it over the input's largest one, ``(n, *S)``; so are R and A.
    h, r, a
        ``a_p / mu'_p`` times that largest one, and this times R and times A, (n, *out).
    """

    after: Rows
    share: Held
    h: Held
    r: Held
    a: Held


class _Sums(NamedTuple):
    """What a pool adds up: windows, or None for all positions, and the factor ``a`` before it."""

    where: tuple[Window, ...] | None
    factor: Any


@rows_behind.register(AvgPool)
@rows_behind.register(SumPool)
@rows_behind.register(GlobalAvgPool)
@rows_behind.register(GlobalSumPool)
def _(layer: Any, rows: Rows) -> PoolRows:
    if rows.own is None:
        raise ValueError(
            f"{type(layer).__name__}: the state holds no covariance between the positions of one "
            "input; make it with input_state, and do not flatten it before pooling"
        )
    layout = _pool_layout(layer, rows.layout, type(layer).__name__)
    sums = _sums(layer, rows.layout)
    top = jnp.max(rows.scale, axis=tuple(range(1, rows.scale.ndim)), keepdims=True)
    share = rows.scale / top
    own = own_state(rows)
    ours = Held(share, None, len(rows.layout.spatial))
    square = _pair_sums(sums, own, own.gap, ours, ours)
    if sums.where is None:
        top = top.reshape(-1)
        positions = tuple(range(1, share.ndim))
        total, live = (jnp.sum(v, axis=positions) for v in (share, share * rows.q))
    else:
        seen = views(share, sums.where)
        total = jnp.sum(seen, axis=0)
        live = jnp.sum(seen * views(rows.q, sums.where), axis=0)
        square = unfolded(equal_positions(square), layout.spatial, 1)
    variance = (sums.factor * top) ** 2 * (total * live - square)
    scale = unit_scale(variance)
    h = sums.factor * top / scale
    tangent = greatest((h * total) ** 2, variance) * rows.tangent
    after = settled(rows, scale, unit(variance / scale**2), tangent, **facts(layout))
    rank = len(layout.spatial)
    return PoolRows(after, ours, *(Held(v, None, rank) for v in (h, h * total, h * live)))


@rule.register(AvgPool)
@rule.register(SumPool)
@rule.register(GlobalAvgPool)
@rule.register(GlobalSumPool)
def _rule(layer: Any, state: KernelState, ours: PoolRows, theirs: PoolRows) -> KernelState:
    dtype = state.gap.dtype
    sums = _sums(layer, state.layout)
    after = KernelState(ours.after, theirs.after, state.gap, None, state.paired)
    share = outer(after, ours.h, theirs.h)
    crossed = (outer(after, ours.a, theirs.r) + outer(after, ours.r, theirs.a)) / 2
    covariance = crossed - share * _pair_sums(sums, state, state.gap, ours.share, theirs.share)
    halves = after.column(ours.after.q / 2) + after.line(theirs.after.q / 2)
    gap = _without_noise(halves - covariance, halves + crossed).astype(dtype)
    ntk = state.ntk
    if ntk is not None:
        kept, _ = ntk_factors(state, ours.after, theirs.after)
        ntk = kept * (share * _pair_sums(sums, state, ntk, ours.share, theirs.share)).astype(dtype)
    return dataclasses.replace(after, gap=gap, ntk=ntk)


def _without_noise(gap: Array, size: Array) -> Array:
    """Exactly 0 where rounding alone is left of terms of a size: there points coincide.

    An activation above would take a root of that noise, and its derivative be the inverse of the
    root. Derivatives pass.
    """
    noise = NOISE * float(jnp.finfo(gap.dtype).eps) * lax.stop_gradient(size)
    return jnp.where(gap <= noise, gap - lax.stop_gradient(gap), gap)


def _sums(layer: Any, layout: Layout) -> _Sums:
    if isinstance(layer, GlobalAvgPool | GlobalSumPool):
        average = isinstance(layer, GlobalAvgPool)
        return _Sums(None, 1 / layout.positions if average else 1.0)
    where = windows(layout.spatial, layer.window_shape, layer.strides, layer.padding)
    if isinstance(layer, SumPool):
        return _Sums(where, 1.0)
    if not layer.normalize_edges:
        return _Sums(where, 1 / count(where))
    return _Sums(where, _inside(layout.spatial, where))


def _inside(spatial: tuple[int, ...], where: tuple[Window, ...]) -> Array:
    """Inverse number of positions of every window that are inside the image, (1, *out)."""
    ones = jnp.ones((1, *spatial), jnp.float32)
    seen = jnp.sum(views(ones, where), axis=0)
    return 1 / seen.astype(wide_dtype(jnp.float32))


def _pair_sums(sums: _Sums, state: KernelState, pairs: Array, ours: Held, theirs: Held) -> Array:
    """A pair quantity times the shares of the scales, added up in the wide dtype."""
    lead = 1 if state.paired else 2
    weighted = outer(state, ours, theirs) * pairs.astype(ours.head.dtype)
    if sums.where is None:
        return jnp.sum(weighted, axis=(lead, lead + 1))
    image = unfolded(weighted, state.layout.spatial, lead)
    return folded(sum_apart(image, sums.where, lead), lead, full=True)


@layout_after.register(AvgPool)
@layout_after.register(SumPool)
@layout_after.register(GlobalAvgPool)
@layout_after.register(GlobalSumPool)
def _pool_layout(layer: Any, layout: Layout, path: str) -> Layout:
    shape = shape_after(layer, layout, path)
    check_axes(layer, layout, path)
    if not layout.full:
        raise ValueError(
            f"{path} needs the covariance of all pairs of positions, but its input holds equal "
            "positions alone"
        )
    axes = layout.axes
    if isinstance(layer, GlobalAvgPool | GlobalSumPool):
        axes = (0, 1) if axes[0] < axes[1] else (1, 0)
    return relaid(layout, shape, axes)
