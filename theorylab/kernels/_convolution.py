r"""Convolutions: :math:`K'(p, p') = \frac{W^2}{F} \sum_w K(p + w, p' + w) + b^2`.

The :math:`F` offsets :math:`w` of the filter are independent pieces of a sum (see ``_units``), with
:math:`r_{pw} = W \mu_{p+w} / (\sqrt F \mu'_p)`, and 0 outside the image:

.. math::

    g'(p, p') = \sum_w \Big[ r_{pw} r_{p'w}\, g(p+w, p'+w)
        + \tfrac12 (r_{pw} - r_{p'w})(r_{pw} q_{p+w} - r_{p'w} q_{p'+w}) \Big]
        + \tfrac12 (e_p - e_{p'})^2 .

The first part is a sum of windows, one spatial axis at a time; the second is made of row quantities
alone, and vanishes for patches whose pixels stand in equal proportions. The same formulas hold for
equal positions of two images (``Layout.full`` false).

The NTK is that of :mod:`theorylab.kernels._affine` with windows of :math:`\Theta` and :math:`K`;
the fan-in of the standard parameterization is :math:`n = F` times the number of channels.

Sources: Novak et al., "Bayesian deep convolutional networks with many channels are Gaussian
processes", 2019, eq. 6; Arora et al., "On exact computation with an infinitely wide neural net",
2019, section 4.

Differs from the papers:

1. Written in gaps. A pair of which one position lies outside the image is as far apart as the
   other's variance says; padding a gap with zeros would be wrong.
2. The second part runs in a loop over offsets: written out, it took forty times as long on CPUs.
"""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from theorylab.kernels._affine import (
    Bias,
    bias_in_units,
    bias_kernel,
    bias_rows,
    bias_spread,
    facts,
)
from theorylab.kernels._propagate import layout_after, relaid, rows_behind, rule, shape_after
from theorylab.kernels._state import Held, KernelState, Layout, Rows
from theorylab.kernels._units import (
    exp2,
    greatest,
    held,
    ldexp,
    ntk_factors,
    outer,
    own_kernel,
    product,
    scaled_covariance,
    settled,
    unit,
    unit_scale,
)
from theorylab.kernels._windows import (
    Window,
    count,
    folded,
    sum_together,
    unfolded,
    views,
    windows,
)
from theorylab.layers import Conv


class ConvRows(NamedTuple):
    """What a convolution's pairs need of each input; see the module docstring.

    Attributes
    ----------
    after
        Rows behind the layer.
    share
        Scales over the input's largest one, so that their products stay in range, ``(n, *S)``.
    height
        ``W / sqrt(F)`` times that largest scale over the new ones, (n, *out).
    r, a
        ``r`` and ``r q`` for every offset, (F, n, *out).
    bias
        Of the new scales.
    base
        As ``height``, without the weight; None in the NTK parameterization.
    """

    after: Rows
    share: Held
    height: Held
    r: Held
    a: Held
    bias: Bias
    base: Held | None


@rows_behind.register
def _(layer: Conv, rows: Rows) -> ConvRows:
    wide = rows.q.dtype
    where, order = _windows(layer, rows.layout), _output_order(layer)
    weight = jnp.asarray(layer.W_std, wide) / count(where) ** 0.5
    mu, q_seen = (views(v, where) for v in (rows.scale, rows.q))
    squares = weight**2 * jnp.sum(mu**2 * q_seen, axis=0)
    bias = jnp.zeros((), wide) if layer.b_std is None else bias_in_units(layer.b_std, rows)
    scale = unit_scale(squares + bias**2)
    q = unit((squares + bias**2) / scale**2)
    reach = jnp.sum(mu**2, axis=0) / scale**2
    tangent = greatest(weight**2 * reach, q) * rows.tangent
    if layer.parameterization == "ntk":
        tangent = tangent + own_kernel(rows)
    else:
        own = (rows.layout.width / layer.s[0]) * jnp.max(reach)
        own = own + jnp.max((ldexp(jnp.ones((), wide), -rows.exponent) / scale) ** 2)
        tangent = tangent + own * own_kernel(rows)
    scale, q = (_transposed(v, order, 1, full=False) for v in (scale, q))
    layout = _conv_layout(layer, rows.layout, "Conv")
    after = settled(rows, scale, q, tangent, moderated=True, **facts(layout))

    rank, dtype = len(order), rows.dtype
    top = jnp.max(rows.scale, axis=tuple(range(1, 1 + rank)), keepdims=True)
    base = top / after.scale * exp2(rows.exponent - after.exponent, wide)
    r = weight * base * _transposed(mu / top, order, 2, full=False)
    a = r * _transposed(q_seen, order, 2, full=False)
    return ConvRows(
        after=after,
        share=held(rows.scale / top, dtype, rank),
        height=held(weight * base, dtype, rank),
        r=held(r, dtype, rank, exact=False),
        a=held(a, dtype, rank, exact=False),
        bias=bias_rows(layer, after),
        base=None if layer.parameterization == "ntk" else held(base, dtype, rank, exact=False),
    )


@rule.register
def _rule(layer: Conv, state: KernelState, ours: ConvRows, theirs: ConvRows) -> KernelState:
    where, order = _windows(layer, state.layout), _output_order(layer)
    lead = 1 if state.paired else 2
    ratio = outer(state, ours.share, theirs.share)

    def summed(a: Array) -> Array:
        full = state.layout.full
        image = unfolded(ratio * a, state.layout.spatial, lead)
        whole = sum_together(image, where, lead, full)
        return folded(_transposed(whole, order, lead, full), lead, full)

    boxes = summed(state.gap)
    after = KernelState(ours.after, theirs.after, boxes, None, state.paired)
    decay = product(after, ours.height, theirs.height)
    start = decay * boxes + bias_spread(after, ours.bias, theirs.bias)
    after = dataclasses.replace(after, gap=_with_spread(start, after, ours, theirs))
    if state.ntk is None:
        return after
    kept, unit_kernel = ntk_factors(state, ours.after, theirs.after)
    if ours.base is None or theirs.base is None:
        new = scaled_covariance(after)
    else:
        channels = jnp.asarray(state.layout.width / layer.s[0], after.gap.dtype)
        share = outer(after, ours.base, theirs.base) * summed(scaled_covariance(state))
        new = channels * share + bias_kernel(after, ours.bias, theirs.bias)
    ntk = (kept * decay) * summed(state.ntk) + unit_kernel * new
    return dataclasses.replace(after, ntk=ntk)


def _with_spread(gap: Array, after: KernelState, ours: ConvRows, theirs: ConvRows) -> Array:
    """With the part of the gap that row quantities alone make: what differs in proportion.

    It is added in the loop, whose result is in memory: what follows would form ``gap`` again for
    every use of it.
    """

    def one(total: Array, seen: Any) -> tuple[Array, None]:
        r1, a1, r2, a2 = seen
        term = (after.column(r1) - after.line(r2)) * (after.column(a1) - after.line(a2)) / 2
        return term + total, None

    seen = [held.head for held in (ours.r, ours.a, theirs.r, theirs.a)]
    return lax.scan(one, gap, seen)[0]


def _windows(layer: Conv, layout: Layout) -> tuple[Window, ...]:
    """The filter's windows along the spatial axes, in the order in which the input has them."""
    order = _ranks(layer.axes.spatial_in)
    sizes, strides = [0] * len(order), [1] * len(order)
    for k, i in enumerate(order):
        sizes[i], strides[i] = layer.filter_shape[k], layer.strides[k]
    return windows(layout.spatial, tuple(sizes), tuple(strides), layer.padding)


def _output_order(layer: Conv) -> tuple[int, ...]:
    """For each spatial axis of the output, which one of the input it is."""
    before, after = _ranks(layer.axes.spatial_in), _ranks(layer.axes.spatial_out)
    return tuple(before[after.index(j)] for j in range(len(after)))


def _ranks(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(axes).index(axis) for axis in axes)


def _transposed(a: Array, order: tuple[int, ...], lead: int, full: bool) -> Array:
    rank = len(order)
    if order == tuple(range(rank)):
        return a
    axes: tuple[Any, ...] = (*range(lead), *(lead + i for i in order))
    if full:
        axes = (*axes, *(lead + rank + i for i in order))
    return jnp.transpose(a, axes)


@layout_after.register
def _conv_layout(layer: Conv, layout: Layout, path: str) -> Layout:
    shape = shape_after(layer, layout, path)
    have, want = layout.axes, (layer.axes.lhs_batch, layer.axes.lhs_channel)
    if have != want:
        raise ValueError(
            f"{path} reads its batch and channel axes at {want}, as its dimension_numbers say, "
            f"but its input has them at {have}"
        )
    axes = (layer.axes.out_batch, layer.axes.out_channel)
    fresh = (True,) * len(layout.fresh)
    return relaid(layout, shape, axes, gaussian=True, fresh=fresh)
