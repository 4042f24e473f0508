r"""Dense layers: :math:`K' = W^2 K + b^2`.

In units of the scales, with :math:`r_i = W\mu_i/\mu_i'`, :math:`e_i = b/\mu_i'` and new scales
:math:`\mu_i'^2 = W^2 \mu_i^2 q_i + b^2`,

.. math::

    q_i' = r_i^2 q_i + e_i^2, \qquad
    g' = r_i r_j\, g + \frac{(r_i - r_j)(r_i q_i - r_j q_j) + (e_i - e_j)^2}{2},

a sum of non-negative terms while :math:`q = 1`. The NTK follows Jacot et al. 2018, theorem 1,

.. math:: \Theta' = W^2 \Theta + K' \quad (\text{"ntk"}), \qquad
          \Theta' = W^2 \Theta + \frac{n}{s_0} K + [\text{bias}] \quad (\text{"standard"}),

the latter from Sohl-Dickstein et al. 2020, eq. 11, with the fan-in :math:`n` of the finite network.

Differs from the papers:

1. Written in gaps and scales; see :mod:`theorylab.kernels._state`.
"""

import jax.numpy as jnp
from jax import Array

from theorylab.kernels._propagate import layout_after, rule, single
from theorylab.kernels._state import (
    KernelState,
    Layout,
    difference,
    outer,
    product,
    scaled_covariance,
    unit,
    unit_scale,
)
from theorylab.layers import Dense


@rule.register
def _(layer: Dense, state: KernelState) -> KernelState:
    dtype, wide = state.gap.dtype, state.q1.dtype
    weight = jnp.asarray(layer.W_std, wide)
    bias = None if layer.b_std is None else jnp.asarray(layer.b_std, wide)
    after = _dense_layout(layer, state.layout, "Dense")

    if bias is None:
        return _linear(layer, weight, state, after)
    # New units first, as constants; then the affine map in these units.
    scale1 = _new_scale(weight, bias, state.scale1, state.q1)
    scale2 = _new_scale(weight, bias, state.scale2, state.q2)
    r1, r2 = weight * state.scale1 / scale1, weight * state.scale2 / scale2
    e1, e2 = bias / scale1, bias / scale2
    q1, q2 = unit(r1**2 * state.q1 + e1**2), unit(r2**2 * state.q2 + e2**2)
    spread = difference(r1, r2, dtype) * difference(r1 * state.q1, r2 * state.q2, dtype)
    spread = spread + difference(e1, e2, dtype) ** 2
    decay = product(r1, r2, dtype)
    gap = decay * state.gap + spread / 2

    ntk = state.ntk
    if ntk is not None:
        ntk = decay * ntk
        if layer.parameterization == "ntk":
            ntk = ntk + scaled_covariance(q1, q2, gap)
        else:
            ratio = outer(state.scale1 / scale1, state.scale2 / scale2, dtype)
            ntk = ntk + ratio * _fan_in(layer, state) + outer(1 / scale1, 1 / scale2, dtype)
    return KernelState(scale1, scale2, q1, q2, gap, ntk, after)


def _linear(layer: Dense, weight: Array, state: KernelState, after: Layout) -> KernelState:
    """Without bias: all scales grow by the weight, and nothing else changes but the NTK."""
    dtype = state.gap.dtype
    growth = unit_scale(weight**2)
    r = (weight / growth) ** 2
    q1, q2, gap = r * state.q1, r * state.q2, r.astype(dtype) * state.gap
    ntk = state.ntk
    if ntk is not None:
        ntk = r.astype(dtype) * ntk
        if layer.parameterization == "ntk":
            ntk = ntk + scaled_covariance(q1, q2, gap)
        else:
            ntk = ntk + (1 / growth**2).astype(dtype) * _fan_in(layer, state)
    return KernelState(growth * state.scale1, growth * state.scale2, q1, q2, gap, ntk, after)


def _fan_in(layer: Dense, state: KernelState) -> Array:
    """The weights' own share of the standard NTK, in the old units: ``n / s_0`` covariances."""
    covariance = scaled_covariance(state.q1, state.q2, state.gap)
    return jnp.asarray(state.layout.width / layer.s[0], covariance.dtype) * covariance


def _new_scale(weight: Array, bias: Array, scale: Array, q: Array) -> Array:
    return unit_scale(weight**2 * scale**2 * q + bias**2)


@layout_after.register
def _dense_layout(layer: Dense, layout: Layout, path: str) -> Layout:
    single(layout, path)
    return Layout(layer.channels, gaussian=True, fresh=(True,) * len(layout.fresh))
