r"""Branches of a network: opened by ``FanOut``, joined by a sum, a product or side by side.

Sum of independent branches: :math:`K' = \sum_b K_b`, :math:`\Theta' = \sum_b \Theta_b`; pieces of a
sum (see ``_units``) with :math:`r_{ib} = \mu_{ib}/\mu'_i`. Concatenation of channels is the same
with the shares :math:`p_b` of the channels as weights, for any branches; of positions, it puts
independent branches beside each other.

Product of independent branches: :math:`K' = \prod_b K_b`,
:math:`\Theta' = \sum_b \Theta_b \prod_{c \ne b} K_c`; for two of them, in gaps and with
:math:`m = (q_i + q_j)/2`, :math:`\Delta = q_i - q_j`,

.. math:: g' = m_a g_b + g_a (m_b - g_b) + \tfrac14 \Delta_a \Delta_b .

Differs from the reference (Neural Tangents, which warns that branches are taken for independent):

1. Branches that carry the same signal on are refused where independence is needed.
"""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from theorylab.kernels._affine import facts
from theorylab.kernels._propagate import (
    Record,
    Signal,
    State,
    advance,
    layout_after,
    layouts_of,
    relaid,
    rows_behind,
    rule,
)
from theorylab.kernels._reshape import diagonal_state
from theorylab.kernels._state import Held, KernelState, Layout, Rows, own_state
from theorylab.kernels._units import (
    difference,
    exp2,
    held,
    ldexp,
    mean,
    outer,
    scaled_covariance,
    settled,
    spread,
    unit,
    unit_scale,
)
from theorylab.kernels._windows import folded, unfolded
from theorylab.layers import FanInConcat, FanInProd, FanInSum, FanOut


@advance.register
def _(layer: FanOut, rows: Signal) -> tuple[Signal, Record]:
    branches = (_opened_rows(rows),) * layer.num
    return branches, None


def _opened_rows(rows: Signal) -> Signal:
    if isinstance(rows, tuple):
        return tuple(_opened_rows(one) for one in rows)
    return dataclasses.replace(rows, layout=_opened(rows.layout))


@rule.register
def _fan_out(layer: FanOut, state: State, record1: Record, record2: Record) -> State:
    return (_opened_state(state),) * layer.num


def _opened_state(state: State) -> State:
    if isinstance(state, tuple):
        return tuple(_opened_state(one) for one in state)
    return dataclasses.replace(
        state, rows1=_opened_rows(state.rows1), rows2=_opened_rows(state.rows2)
    )


@advance.register(FanInSum)
@advance.register(FanInProd)
@advance.register(FanInConcat)
def _fan_in(layer: Any, rows: Signal) -> tuple[Signal, Record]:
    rows = _aligned_rows(rows)
    record = rows_behind(layer, rows)
    if any(branch.own is None for branch in rows):
        return record.after, record
    own = rule(layer, tuple(own_state(branch) for branch in rows), record, record).gap
    return dataclasses.replace(record.after, own=own), record


def _aligned_rows(branches: Signal) -> Signal:
    """Where one branch holds equal positions alone, so do the others."""
    if all(rows.layout.full for rows in branches):
        return branches
    return tuple(rows.bare().relaid(full=False) for rows in branches)


def _aligned(branches: State) -> State:
    if all(s.layout.full for s in branches):
        return branches
    return tuple(diagonal_state(s) for s in branches)


def _shares(layer: Any, layouts: Signal) -> list[float]:
    """Weights of the branches' covariances: 1 in a sum, the share of channels side by side."""
    if isinstance(layer, FanInSum):
        return [1.0] * len(layouts)
    total = sum(layout.width for layout in layouts)
    return [layout.width / total for layout in layouts]


def _common(branches: tuple[Rows, ...]) -> tuple[Rows, list[Array]]:
    """Rows with the exponents that all branches are brought to, and their scales in these."""
    exponent, tangent_exponent = branches[0].exponent, branches[0].tangent_exponent
    for rows in branches[1:]:
        exponent = jnp.maximum(exponent, rows.exponent)
        tangent_exponent = jnp.maximum(tangent_exponent, rows.tangent_exponent)
    scales = [ldexp(rows.scale, rows.exponent - exponent) for rows in branches]
    base = dataclasses.replace(
        branches[0].bare(), exponent=exponent, tangent_exponent=tangent_exponent
    )
    return base, scales


def _tangent(rows: Rows, base: Rows, reach: Any) -> Any:
    shift = 2 * (rows.tangent_exponent - base.tangent_exponent)
    return reach * ldexp(rows.tangent, shift)


class JoinRows(NamedTuple):
    """What joined branches need of each input.

    Attributes
    ----------
    after
        Rows behind the layer.
    r, a
        For each branch ``r`` and ``r q``, ``(n, *S)``; none where branches stand beside each other.
    """

    after: Rows
    r: tuple[Held, ...] = ()
    a: tuple[Held, ...] = ()


@rows_behind.register(FanInSum)
@rows_behind.register(FanInConcat)
def _joined_rows(layer: Any, branches: Any) -> JoinRows:
    layout = layout_after(layer, layouts_of(branches), type(layer).__name__)
    base, scales = _common(branches)
    axis = _spatial_axis(layer, branches[0].layout)
    if axis is not None:
        qs = [rows.q for rows in branches]
        scale, q = (jnp.concatenate(values, 1 + axis) for values in (scales, qs))
        tangent = sum(_tangent(rows, base, 1) for rows in branches)
        return JoinRows(settled(base, scale, q, tangent, **facts(layout)))
    shares = _shares(layer, layouts_of(branches))
    parts = list(zip(shares, scales, branches, strict=True))
    scale = unit_scale(sum(p * s**2 * rows.q for p, s, rows in parts))
    r = [p**0.5 * s / scale for p, s, _ in parts]
    q = sum(one**2 * rows.q for one, rows in zip(r, branches, strict=True))
    both = list(zip(r, branches, strict=True))
    tangent = sum(_tangent(rows, base, jnp.max(one**2)) for one, rows in both)
    rank, dtype = len(layout.spatial), base.dtype
    return JoinRows(
        settled(base, scale, unit(q), tangent, **facts(layout)),
        tuple(held(one, dtype, rank) for one in r),
        tuple(held(one * rows.q, dtype, rank) for one, rows in both),
    )


@rule.register(FanInSum)
@rule.register(FanInConcat)
def _joined(layer: Any, state: State, ours: JoinRows, theirs: JoinRows) -> KernelState:
    state = _aligned(state)
    axis = _spatial_axis(layer, state[0].layout)
    if axis is not None:
        return _beside(axis, state, ours.after, theirs.after)
    gap: Any = 0
    ntk: Any = None
    for s, r1, r2, a1, a2 in zip(state, ours.r, theirs.r, ours.a, theirs.a, strict=True):
        ratio = outer(s, r1, r2)
        gap = gap + (ratio * s.gap + spread(s, r1, r2, a1, a2))
        if s.ntk is not None:
            unit_ntk = _ntk_unit(s, ours.after, theirs.after)
            ntk = unit_ntk * (ratio * s.ntk) + (0 if ntk is None else ntk)
    return KernelState(ours.after, theirs.after, gap, ntk, state[0].paired)


def _ntk_unit(s: KernelState, after1: Rows, after2: Rows) -> Array:
    old = s.rows1.tangent_exponent + s.rows2.tangent_exponent
    return exp2(old - after1.tangent_exponent - after2.tangent_exponent, s.gap.dtype)


def _beside(axis: int, branches: State, after1: Rows, after2: Rows) -> KernelState:
    """Branches beside each other along a spatial axis; between them nothing is shared."""
    first = branches[0]
    lead, full, rank = 1 if first.paired else 2, first.layout.full, len(first.layout.spatial)
    after = KernelState(after1, after2, first.gap, None, first.paired)
    blocks = [[unfolded(s.gap, s.layout.spatial, lead) for s in branches]]
    if first.ntk is not None:
        units = [_ntk_unit(s, after1, after2) for s in branches]
        scaled = [u * s.ntk for u, s in zip(units, branches, strict=True)]
        pieces = zip(scaled, branches, strict=True)
        blocks.append([unfolded(a, s.layout.spatial, lead) for a, s in pieces])
    if not full:
        results = [jnp.concatenate(parts, axis=lead + axis) for parts in blocks]
    else:
        apart = jnp.broadcast_to(mean(after1, after2, after), _pairs_shape(after, lead))
        apart = unfolded(apart, after1.layout.spatial, lead)
        results = []
        for parts, rest in zip(blocks, (apart, jnp.zeros_like(apart)), strict=False):
            start = 0
            for part in parts:
                corner = [0] * rest.ndim
                corner[lead + axis] = corner[lead + rank + axis] = start
                rest = lax.dynamic_update_slice(rest, part, corner)
                start += part.shape[lead + axis]
            results.append(rest)
    pairs = [folded(a, lead, full) for a in results]
    return KernelState(after1, after2, pairs[0], (*pairs, None)[1], first.paired)


def _pairs_shape(s: KernelState, lead: int) -> tuple[int, ...]:
    return (*s.gap.shape[:lead], s.layout.positions, s.layout.positions)


def _spatial_axis(layer: Any, layout: Layout) -> int | None:
    """Which spatial axis a concatenation runs along; None where it runs along the channels."""
    if not isinstance(layer, FanInConcat):
        return None
    rank = len(layout.shape())
    axis = layer.axis % rank
    spatial = [i for i in range(rank) if i not in layout.axes]
    return None if axis == layout.axes[1] else spatial.index(axis)


@rows_behind.register
def _product_rows(layer: FanInProd, branches: Any) -> JoinRows:
    layout = layout_after(layer, layouts_of(branches), "FanInProd")
    base, _ = _common(branches)
    rank, dtype = len(layout.spatial), base.dtype
    exponent, scale, q = branches[0].exponent, branches[0].scale, branches[0].q
    products = [held(q, dtype, rank, exact=False)]
    for rows in branches[1:]:
        exponent, scale, q = exponent + rows.exponent, scale * rows.scale, q * rows.q
        products.append(held(q, dtype, rank, exact=False))
    tangent = sum(_tangent(rows, base, 1) for rows in branches)
    base = dataclasses.replace(base, exponent=exponent)
    after = settled(base, scale, unit(q), tangent, moderated=True, **facts(layout))
    return JoinRows(after, a=tuple(products))


@rule.register
def _product(layer: FanInProd, state: State, ours: JoinRows, theirs: JoinRows) -> KernelState:
    state = _aligned(state)
    s = state[0]
    after1, after2 = ours.after, theirs.after
    gap = s.gap
    ntk = None if s.ntk is None else _ntk_unit(s, after1, after2) * s.ntk
    for i, other in enumerate(state[1:]):
        mine = (s.column(ours.a[i].head) + s.line(theirs.a[i].head)) / 2
        factor = scaled_covariance(other)
        if ntk is not None:
            share = _ntk_unit(other, after1, after2) * other.ntk
            ntk = ntk * factor + (mine - gap) * share
        mixed = difference(s, ours.a[i], theirs.a[i]) * (
            s.column(other.rows1.half) - s.line(other.rows2.half)
        )
        gap = mine * other.gap + gap * factor + mixed / 2
    return KernelState(after1, after2, gap, ntk, s.paired)


@layout_after.register
def _fan_out_layout(layer: FanOut, layout: Signal, path: str) -> Signal:
    return (_opened(layout),) * layer.num


def _opened(layout: Signal) -> Signal:
    """The layout with one more open ``FanOut`` above it."""
    if isinstance(layout, tuple):
        return tuple(_opened(one) for one in layout)
    return dataclasses.replace(layout, fresh=(*layout.fresh, False))


@layout_after.register(FanInSum)
@layout_after.register(FanInProd)
@layout_after.register(FanInConcat)
def _fan_in_layout(layer: Any, layout: Signal, path: str) -> Layout:
    if not isinstance(layout, tuple) or not all(isinstance(x, Layout) for x in layout):
        raise ValueError(f"{path} needs branches to join: put it behind FanOut and parallel")
    if len({x.axes for x in layout}) > 1:
        raise ValueError(
            f"{path} needs branches with their axes in one order, got batch and channel axes at "
            + ", ".join(str(x.axes) for x in layout)
        )
    try:
        shape = layer.output_shape(tuple(x.shape() for x in layout))
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).partition(': ')[2]}") from None
    if isinstance(layer, FanInConcat) and layer.axis % len(shape) == layout[0].axes[0]:
        raise ValueError(f"{path}: axis {layer.axis} is the batch axis of its branches")
    channels = isinstance(layer, FanInConcat) and _spatial_axis(layer, layout[0]) is None
    if not channels:
        _check_independent(layer, layout, path)
    return relaid(
        layout[0],
        shape,
        layout[0].axes,
        full=all(x.full for x in layout),
        # A product is not Gaussian; neither is a channel drawn from one of several variances.
        gaussian=all(x.gaussian for x in layout)
        and not isinstance(layer, FanInProd)
        and not (channels and len(layout) > 1),
        fresh=tuple(
            all(branches) for branches in zip(*(x.fresh[:-1] for x in layout), strict=True)
        ),
    )


def _check_independent(layer: Any, layouts: tuple[Layout, ...], path: str) -> None:
    """Raise unless branches are independent, and all but one of zero mean where that counts."""
    loose = sum(not x.gaussian for x in layouts)
    if loose > 1 and not isinstance(layer, FanInProd):
        raise NotImplementedError(
            f"{path} joins {loose} branches that are not Gaussian, whose correlations no kernel "
            "knows; end all but one of them with an affine layer (Dense, Conv)"
        )
    if layouts[0].fresh and sum(not x.fresh[-1] for x in layouts) > 1:
        raise NotImplementedError(
            f"{path} joins branches that carry the same signal on: more than one has no affine "
            "layer of its own since FanOut, so they are not independent; add a Dense or a Conv to "
            "all but one"
        )
