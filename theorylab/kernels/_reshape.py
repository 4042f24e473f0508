r"""Flattening: :math:`K' = \frac1P \sum_p K(p, p)`, the mean over equal positions.

The positions are independent pieces of a sum (see ``_units``), with
:math:`r_{ip} = \mu_{ip}/(\sqrt P \mu'_i)`; the NTK is likewise
:math:`\Theta' = \frac1P \sum_p \Theta(p, p)`.

Source: Novak et al., "Bayesian deep convolutional networks with many channels are Gaussian
processes", 2019, section 3.1.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp

from theorylab.kernels._affine import facts
from theorylab.kernels._propagate import layout_after, relaid, rows_behind, rule, shape_after
from theorylab.kernels._state import Held, KernelState, Layout, Rows
from theorylab.kernels._units import (
    held,
    ntk_factors,
    outer,
    settled,
    spread,
    unit,
    unit_scale,
)
from theorylab.kernels._windows import equal_positions
from theorylab.layers import Flatten


class FlattenRows(NamedTuple):
    """Rows behind the layer, and ``r`` and ``r q`` of every position, ``(n, *S)``."""

    after: Rows
    r: Held
    a: Held


@rows_behind.register
def _(layer: Flatten, rows: Rows) -> FlattenRows:
    layout = _flatten_layout(layer, rows.layout, "Flatten")
    positions = tuple(range(1, rows.scale.ndim))
    variance = jnp.mean(rows.scale**2 * rows.q, axis=positions)
    scale = unit_scale(variance)
    tangent = jnp.max(jnp.mean(rows.scale**2, axis=positions) / scale**2) * rows.tangent
    after = settled(rows, scale, unit(variance / scale**2), tangent, **facts(layout))
    r = rows.scale / jnp.expand_dims(scale, positions) / rows.layout.positions**0.5
    ours = (held(v, rows.dtype, len(positions)) for v in (r, r * rows.q))
    return FlattenRows(after, *ours)


@rule.register
def _rule(
    layer: Flatten, state: KernelState, ours: FlattenRows, theirs: FlattenRows
) -> KernelState:
    state = diagonal_state(state)
    dtype, wide = state.gap.dtype, state.rows1.q.dtype
    ratio = outer(state, ours.r, theirs.r)
    positions = tuple(range(2, state.gap.ndim))  # one axis, or none where nothing is spatial
    pieces = ratio * state.gap + spread(state, ours.r, theirs.r, ours.a, theirs.a)
    gap = jnp.sum(pieces, axis=positions, dtype=wide).astype(dtype)
    ntk = state.ntk
    if ntk is not None:
        kept, _ = ntk_factors(state, ours.after, theirs.after)
        ntk = kept * jnp.sum(ratio * ntk, axis=positions, dtype=wide).astype(dtype)
    return KernelState(ours.after, theirs.after, gap, ntk)


def diagonal_state(state: KernelState) -> KernelState:
    """Equal positions alone of a state that holds all pairs."""
    layout = state.layout
    if not layout.full or not layout.spatial:
        return state
    rows1, rows2 = (rows.bare().relaid(full=False) for rows in (state.rows1, state.rows2))
    gap = equal_positions(state.gap)
    ntk = None if state.ntk is None else equal_positions(state.ntk)
    return dataclasses.replace(state, rows1=rows1, rows2=rows2, gap=gap, ntk=ntk)


@layout_after.register
def _flatten_layout(layer: Flatten, layout: Layout, path: str) -> Layout:
    shape = shape_after(layer, layout, path)
    rank = len(layout.shape())
    if layer.batch_axis % rank != layout.axes[0]:
        raise ValueError(
            f"{path} has batch_axis={layer.batch_axis}, but its input, of {rank} axes, has its "
            f"batch axis at {layout.axes[0]}"
        )
    batch = layer.batch_axis_out % 2
    return relaid(layout, shape, (batch, 1 - batch), full=True)
