r"""Layer normalization: :math:`K'_{ij} = K_{ij} / \sqrt{(Q_i + \epsilon)(Q_j + \epsilon)}`.

With many channels the mean over channels of a centred signal vanishes and its mean square is the
variance; :math:`Q` is its average over those spatial axes that are normalized too. In units of the
scales nothing changes but the scales themselves. :math:`\Theta' = \Theta / \sqrt{\ldots}` likewise:
the normalization is a constant in the limit.

Source: Ba, Kiros and Hinton, "Layer normalization", 2016, eq. 3, in the limit of many channels.

Differs from the paper:

1. ``eps`` is added to the variance, as in every implementation.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from theorylab.kernels._affine import facts
from theorylab.kernels._propagate import check_axes, layout_after, rows_behind, rule, shape_after
from theorylab.kernels._state import Held, KernelState, Layout, Rows
from theorylab.kernels._units import (
    greatest,
    held,
    ldexp,
    ntk_factors,
    product,
    settled,
    spread,
    unit,
    unit_scale,
)
from theorylab.layers import LayerNorm


def _factor(layer: LayerNorm, rows: Rows) -> Array:
    """What the signal is multiplied by, in units of the scales, ``(n, *S)``."""
    layout = rows.layout
    shape = layout.shape()
    spatial = [i for i in range(len(shape)) if i not in layout.axes]
    averaged = tuple(1 + spatial.index(i) for i in layer.axes(shape) if i in spatial)
    variance = jnp.mean(rows.scale**2 * rows.q, axis=averaged, keepdims=True)
    eps = ldexp(jnp.asarray(layer.eps, rows.q.dtype), -2 * rows.exponent)
    live = variance + eps > 0
    return jnp.where(live, 1 / jnp.sqrt(jnp.where(live, variance + eps, 1)), 0)


class NormRows(NamedTuple):
    """Rows behind the layer, and ``r`` and ``r q`` of every position, ``(n, *S)``."""

    after: Rows
    r: Held
    a: Held


@rows_behind.register
def _(layer: LayerNorm, rows: Rows) -> NormRows:
    layout = _norm_layout(layer, rows.layout, "LayerNorm")
    natural = _factor(layer, rows) * rows.scale
    variance = natural**2 * rows.q
    scale = unit_scale(variance)
    r = natural / scale
    fixed = dataclasses.replace(rows, exponent=jnp.zeros_like(rows.exponent))
    tangent = greatest(r**2, rows.q) * rows.tangent
    after = settled(fixed, scale, unit(variance / scale**2), tangent, **facts(layout))
    ours = (held(v, rows.dtype, len(layout.spatial)) for v in (r, r * rows.q))
    return NormRows(after, *ours)


@rule.register
def _rule(layer: LayerNorm, state: KernelState, ours: NormRows, theirs: NormRows) -> KernelState:
    decay = product(state, ours.r, theirs.r)
    gap = decay * state.gap + spread(state, ours.r, theirs.r, ours.a, theirs.a)
    ntk = state.ntk
    if ntk is not None:
        kept, _ = ntk_factors(state, ours.after, theirs.after)
        ntk = (kept * decay) * ntk
    return KernelState(ours.after, theirs.after, gap, ntk, state.paired)


@layout_after.register
def _norm_layout(layer: LayerNorm, layout: Layout, path: str) -> Layout:
    shape_after(layer, layout, path)
    check_axes(layer, layout, path)
    if not layout.gaussian:
        raise ValueError(
            f"{path} needs a Gaussian input, whose mean over channels vanishes: an affine layer "
            "(Dense, Conv) directly under it, or under the branches that are summed into it"
        )
    return layout
