r"""Dense layers: :math:`K' = W^2 K + b^2`, position by position.

In units of the scales, with :math:`r_i = W\mu_i/\mu_i'`, :math:`e_i = b/\mu_i'` and new scales
:math:`\mu_i'^2 = W^2 \mu_i^2 q_i + b^2`, a sum of two pieces (see ``_units``):

.. math::

    q_i' = r_i^2 q_i + e_i^2, \qquad
    g' = r_i r_j\, g + \frac{(r_i - r_j)(r_i q_i - r_j q_j) + (e_i - e_j)^2}{2} .

The NTK follows Jacot et al. 2018, theorem 1,

.. math:: \Theta' = W^2 \Theta + K' \quad (\text{"ntk"}), \qquad
          \Theta' = W^2 \Theta + \frac{n}{s_0} K + [\text{bias}] \quad (\text{"standard"}),

the latter from Sohl-Dickstein et al. 2020, eq. 11, with the fan-in :math:`n` of the finite network.

Differs from the papers:

1. Written in gaps and scales; see :mod:`theorylab.kernels._state`.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from theorylab.kernels._propagate import (
    check_axes,
    layout_after,
    relaid,
    rows_behind,
    rule,
    shape_after,
)
from theorylab.kernels._state import Held, KernelState, Layout, Rows
from theorylab.kernels._units import (
    difference,
    greatest,
    held,
    ldexp,
    ntk_factors,
    outer,
    own_kernel,
    product,
    scaled_covariance,
    settled,
    shrinkage,
    spread,
    unit,
    unit_scale,
)
from theorylab.layers import Conv, Dense


class Bias(NamedTuple):
    """A bias, and 1 in natural units (standard parameterization), in units of the new scales."""

    share: Held | None
    one: Held | None


class DenseRows(NamedTuple):
    """What a dense layer's pairs need of each input; see the module docstring.

    Attributes
    ----------
    after
        Rows behind the layer.
    r, a
        ``r`` and ``r q``; None without bias, where ``r`` is one number.
    bias
        ``e``; None without bias.
    shrinkage
        Old scales over new ones; None in the NTK parameterization.
    """

    after: Rows
    r: Held | None
    a: Held | None
    bias: Bias
    shrinkage: Held | None


@rows_behind.register
def _(layer: Dense, rows: Rows) -> DenseRows:
    wide = rows.q.dtype
    weight = jnp.asarray(layer.W_std, wide)
    layout = _dense_layout(layer, rows.layout, "Dense")
    rank = len(layout.spatial)
    if layer.b_std is None:
        scale = unit_scale(weight**2) * rows.scale
        e = jnp.zeros((), wide)
    else:
        bias = bias_in_units(layer.b_std, rows)
        scale = unit_scale(weight**2 * rows.scale**2 * rows.q + bias**2)
        e = bias / scale
    r = weight * rows.scale / scale
    q = r**2 * rows.q + e**2
    tangent = greatest(jnp.broadcast_to(r**2, rows.q.shape), rows.q) * rows.tangent
    if layer.parameterization == "ntk":
        tangent = tangent + own_kernel(rows)
    else:
        own = (rows.layout.width / layer.s[0]) * jnp.max((rows.scale / scale) ** 2)
        own = own + jnp.max((ldexp(jnp.ones((), wide), -rows.exponent) / scale) ** 2)
        tangent = tangent + own * own_kernel(rows)
    q = q if layer.b_std is None else unit(q)
    after = settled(rows, scale, q, tangent, moderated=True, **facts(layout))
    old = None
    if layer.parameterization == "standard":
        old = held(shrinkage(rows, after), rows.dtype, rank, exact=False)
    if layer.b_std is None:
        return DenseRows(after, None, None, bias_rows(layer, after), old)
    ours = held(r, rows.dtype, rank), held(r * rows.q, rows.dtype, rank)
    return DenseRows(after, *ours, bias_rows(layer, after), old)


@rule.register
def _rule(layer: Dense, state: KernelState, ours: DenseRows, theirs: DenseRows) -> KernelState:
    dtype = state.gap.dtype
    if ours.r is None or theirs.r is None or ours.a is None or theirs.a is None:
        # All scales grow by the weight: nothing changes but the NTK.
        weight = jnp.asarray(layer.W_std, state.rows1.q.dtype)
        decay = ((weight / unit_scale(weight**2)) ** 2).astype(dtype)
        gap = decay * state.gap
    else:
        decay = product(state, ours.r, theirs.r)
        gap = decay * state.gap + spread(state, ours.r, theirs.r, ours.a, theirs.a)
        gap = gap + bias_spread(state, ours.bias, theirs.bias)
    after = KernelState(ours.after, theirs.after, gap, None, state.paired)
    if state.ntk is None:
        return after
    kept, unit_kernel = ntk_factors(state, ours.after, theirs.after)
    if ours.shrinkage is None or theirs.shrinkage is None:
        new = scaled_covariance(after)
    else:
        fan_in = jnp.asarray(state.layout.width / layer.s[0], dtype)
        new = outer(state, ours.shrinkage, theirs.shrinkage) * fan_in * scaled_covariance(state)
        new = new + bias_kernel(after, ours.bias, theirs.bias)
    ntk = (kept * decay) * state.ntk + unit_kernel * new
    return KernelState(ours.after, theirs.after, gap, ntk, state.paired)


def bias_in_units(b_std: Array, rows: Rows) -> Array:
    """The bias in units of the power of two that was taken out of the scales."""
    return ldexp(jnp.asarray(b_std, rows.q.dtype), -rows.exponent)


def bias_rows(layer: Dense | Conv, after: Rows) -> Bias:
    """The bias in units of the new scales."""
    if layer.b_std is None:
        return Bias(None, None)
    rank = len(after.layout.spatial)
    e = held(bias_in_units(layer.b_std, after) / after.scale, after.dtype, rank)
    if layer.parameterization == "ntk":
        return Bias(e, None)
    return Bias(e, held(ldexp(1 / after.scale, -after.exponent), after.dtype, rank, exact=False))


def bias_spread(after: KernelState, ours: Bias, theirs: Bias) -> Array:
    """What a bias adds to the gap: half the squared difference of its shares of the scales."""
    if ours.share is None or theirs.share is None:
        return jnp.zeros((), after.gap.dtype)
    return difference(after, ours.share, theirs.share) ** 2 / 2


def bias_kernel(after: KernelState, ours: Bias, theirs: Bias) -> Array:
    """The NTK of a bias in the standard parameterization, 1 in natural units."""
    if ours.one is None or theirs.one is None:
        return jnp.zeros((), after.gap.dtype)
    return outer(after, ours.one, theirs.one)


def facts(layout: Layout) -> dict:
    """The fields of a layout, to be passed on."""
    return {name: getattr(layout, name) for name in Layout.__dataclass_fields__}


@layout_after.register
def _dense_layout(layer: Dense, layout: Layout, path: str) -> Layout:
    shape = shape_after(layer, layout, path)
    check_axes(layer, layout, path)
    fresh = (True,) * len(layout.fresh)
    return relaid(layout, shape, layout.axes, gaussian=True, fresh=fresh)
