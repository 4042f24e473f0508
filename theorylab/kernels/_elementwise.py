"""The engine under the activations: lifts a scalar dual to states."""

import dataclasses

import jax.numpy as jnp
from jax import Array, lax

from theorylab.kernels._propagate import layout_after, rule, single
from theorylab.kernels._state import (
    KernelState,
    Layout,
    correlation_gap,
    difference,
    from_correlation_gap,
    mean,
    outer,
    pair,
    product,
    unit,
    unit_scale,
)
from theorylab.kernels.duals import Homogeneous, Smooth, dual
from theorylab.layers import Activation


@rule.register
def _(layer: Activation, state: KernelState) -> KernelState:
    rule = dual(layer)
    if isinstance(rule, Homogeneous):
        return _homogeneous(rule, state)
    return _smooth(rule, state)


def _homogeneous(rule: Homogeneous, state: KernelState) -> KernelState:
    """Scales grow by the root of the gain; correlations are mapped; variances stay 1."""
    gain = jnp.asarray(rule.gain, state.q1.dtype)
    c, k_dot = rule.correlation(correlation_gap(state))
    scale1, q1 = _rescale(state.scale1, gain * state.q1)
    scale2, q2 = _rescale(state.scale2, gain * state.q2)
    gap = from_correlation_gap(c, q1, q2)
    # Scales grow by the root of the gain in rows and columns alike: one division for both.
    gain = lax.stop_gradient(jnp.where(gain > 0, gain, 1))
    k_dot = k_dot / gain.astype(c.dtype)
    root1, root2 = unit_scale(state.q1), unit_scale(state.q2)
    return _with_ntk(state, scale1, scale2, q1, q2, gap, k_dot, root1, root2)


def _smooth(rule: Smooth, state: KernelState) -> KernelState:
    """Maps moments in natural units and returns to scaled ones by the better of two routes.

    A gap loses accuracy where variances differ much, a covariance where points nearly coincide;
    their errors are equal where the gap equals the geometric mean of the variances.
    """
    dtype = state.gap.dtype
    moments = pair(state)
    variance1, variance2 = rule.variance(moments.q1[:, 0]), rule.variance(moments.q2[0, :])
    scale1, q1 = _rescale(jnp.ones_like(variance1), variance1)
    scale2, q2 = _rescale(jnp.ones_like(variance2), variance2)
    out = rule.pairwise(moments)
    r1, r2 = 1 / scale1, 1 / scale2
    scaled = outer(r1, r2, dtype)
    spread = difference(r1, r2, dtype) * difference(r1 * variance1, r2 * variance2, dtype)
    through_gap = scaled * out.gap + spread / 2
    through_covariance = mean(q1, q2, dtype) - scaled * out.cov
    near = (scaled * out.gap < 1) & (outer(q1, q2, dtype) > 0)
    gap = jnp.where(near, through_gap, through_covariance)
    growth1, growth2 = scale1 / state.scale1, scale2 / state.scale2
    return _with_ntk(state, scale1, scale2, q1, q2, gap, out.k_dot, growth1, growth2)


def _rescale(scale: Array, q: Array) -> tuple[Array, Array]:
    root = unit_scale(q)
    return scale * root, unit(q / root**2)


def _with_ntk(
    state: KernelState,
    scale1: Array,
    scale2: Array,
    q1: Array,
    q2: Array,
    gap: Array,
    k_dot: Array,
    growth1: Array,
    growth2: Array,
) -> KernelState:
    """The state behind an activation: its NTK is ``ntk k_dot`` in the new units."""
    ntk = state.ntk
    if ntk is not None:
        ntk = product(1 / growth1, 1 / growth2, gap.dtype) * (ntk * k_dot)
    layout = dataclasses.replace(state.layout, gaussian=False)
    return KernelState(scale1, scale2, q1, q2, gap, ntk, layout)


@layout_after.register
def _activation_layout(layer: Activation, layout: Layout, path: str) -> Layout:
    single(layout, path)
    if not layout.gaussian:
        raise ValueError(
            f"{path} needs a Gaussian input, that is an affine layer (Dense) directly under it "
            "or under the branches that are summed into it"
        )
    dual(layer)
    return dataclasses.replace(layout, gaussian=False)
