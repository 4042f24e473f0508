"""The engine under the activations: lifts a scalar dual to states of every layout."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from theorylab.kernels._propagate import layout_after, rows_behind, rule, single
from theorylab.kernels._state import Held, KernelState, Layout, Rows
from theorylab.kernels._units import (
    Pair,
    correlation_gap,
    exp2,
    extremes,
    from_correlation_gap,
    greatest,
    held,
    ldexp,
    mean,
    natural_scale,
    ntk_factors,
    outer,
    product,
    scaled_covariance,
    settled,
    spread,
    unit,
    unit_scale,
)
from theorylab.kernels.duals import Homogeneous, Smooth, dual
from theorylab.layers import Activation


@rows_behind.register
def _(layer: Activation, rows: Rows) -> Any:
    rule = _dual(layer, rows.q.dtype)
    if isinstance(rule, Smooth):
        return _smooth_rows(rule, rows)
    gain = jnp.asarray(rule.gain, rows.q.dtype)
    root = unit_scale(gain)
    q = unit(gain / root**2 * rows.q)
    # Slopes a and b have E f'^2 = E f^2 / q: the bound of the NTK stays.
    return settled(rows, root * rows.scale, q, rows.tangent, gaussian=False)


def _dual(layer: Activation, wide: Any) -> Homogeneous | Smooth:
    """The dual, that of a homogeneous function from constants in the wide dtype.

    What is formed of them is rounded once, where pairs use it; where covariances cancel in a pool,
    the rounding of a square in float32 would show.
    """
    rule = dual(layer)
    if isinstance(rule, Smooth):
        return rule
    return dual(jax.tree.map(lambda leaf: jnp.asarray(leaf, wide), layer))


class SmoothRows(NamedTuple):
    """What the pairs of a smooth function need of each input, ``(n, *S)``.

    Attributes
    ----------
    after
        Rows behind the function.
    q
        Variances before it in natural units, wide dtype.
    natural, a
        Scales before it in natural units, and these times ``q`` in units of the scales.
    r, b
        Inverse of the scales behind it, and this times the variances behind it.
    shrinkage
        Old scales over new ones.
    """

    after: Rows
    q: Held
    natural: Held
    a: Held
    r: Held
    b: Held
    shrinkage: Held


def _smooth_rows(rule: Smooth, rows: Rows) -> SmoothRows:
    dtype, rank = rows.dtype, len(rows.layout.spatial)
    natural = natural_scale(rows, dtype)
    q = rows.q * natural**2
    variance = rule.variance(q)
    root = unit_scale(variance)
    slope = rule.slope(q) * (natural / root) ** 2
    # What is far from the unit scale is taken to be a power there, and so keeps its exponent.
    base = rows.exponent if rule.degree == 1 else jnp.minimum(rows.exponent, 0)
    small, large = extremes(rows, dtype)
    power = (small & rule.vanishes) | (large & (rule.degree == 1))
    kept = root * rows.scale / natural * exp2(rows.exponent - base, rows.q.dtype)
    scale = jnp.where(power, kept, ldexp(root, -base))
    before = dataclasses.replace(rows, exponent=base)
    tangent = greatest(slope, rows.q) * rows.tangent
    after = settled(before, scale, unit(variance / root**2), tangent, gaussian=False)
    return SmoothRows(
        after=after,
        q=Held(q, None, rank),
        natural=held(natural, dtype, rank),
        a=held(natural * rows.q, dtype, rank),
        r=held(1 / root, dtype, rank),
        b=held(variance / root, dtype, rank),
        shrinkage=held(natural / root, dtype, rank),
    )


@rule.register
def _rule(layer: Activation, state: KernelState, ours: Any, theirs: Any) -> KernelState:
    rule = _dual(layer, state.rows1.q.dtype)
    if isinstance(rule, Homogeneous):
        return _homogeneous(rule, state, ours, theirs)
    return _smooth(rule, state, ours, theirs)


def _homogeneous(rule: Homogeneous, state: KernelState, after1: Rows, after2: Rows) -> KernelState:
    """Scales grow by the root of the gain; correlations are mapped; variances stay 1."""
    c, k_dot = rule.correlation(correlation_gap(state))
    gap = from_correlation_gap(state, c, after1, after2)
    ntk = state.ntk
    if ntk is not None:
        # Live scales grow by the root of the gain in rows and columns alike: one division.
        gain = lax.stop_gradient(jnp.asarray(rule.gain, state.rows1.q.dtype))
        kept, _ = ntk_factors(state, after1, after2)
        ntk = (kept / jnp.where(gain > 0, gain, 1).astype(c.dtype)) * (ntk * k_dot)
    return KernelState(after1, after2, gap, ntk, state.paired)


def _smooth(rule: Smooth, state: KernelState, ours: SmoothRows, theirs: SmoothRows) -> KernelState:
    """Maps moments in natural units and returns to scaled ones by the better of two routes.

    A gap loses accuracy where variances differ much, a covariance where points nearly coincide;
    their errors are equal where the gap equals the geometric mean of the variances.
    """
    after1, after2 = ours.after, theirs.after
    narrow, wide = state.gap.dtype, ours.q.head.dtype
    if rule.wide and narrow != wide:
        ours, theirs = _widened(ours, wide), _widened(theirs, wide)
        state = dataclasses.replace(state, gap=state.gap.astype(wide))
    natural = outer(state, ours.natural, theirs.natural)
    moments = Pair(
        q1=state.column(ours.q.head),
        q2=state.line(theirs.q.head),
        gap=natural * state.gap + spread(state, ours.natural, theirs.natural, ours.a, theirs.a),
        cov=natural * scaled_covariance(state),
        correlation_gap=correlation_gap(state),
    )
    out = rule.pairwise(moments)
    scaled = outer(state, ours.r, theirs.r)
    through_gap = scaled * out.gap + spread(state, ours.r, theirs.r, ours.b, theirs.b)
    through_covariance = mean(after1, after2, state) - scaled * out.cov
    live = state.column(after1.half) * state.line(after2.half) > 0
    gap = jnp.where((scaled * out.gap < 1) & live, through_gap, through_covariance)
    gap = gap.astype(narrow)
    ntk = state.ntk
    if ntk is not None:
        kept, _ = ntk_factors(state, after1, after2)
        factor = product(state, ours.shrinkage, theirs.shrinkage) * out.k_dot
        ntk = kept.astype(narrow) * ntk * factor.astype(narrow)
    return KernelState(after1, after2, gap, ntk, state.paired)


def _widened(rows: SmoothRows, wide: Any) -> SmoothRows:
    """With heads and tails added up again."""

    def one(h: Held) -> Held:
        tail = 0 if h.tail is None else h.tail.astype(wide)
        return Held(h.head.astype(wide) + tail, None, h.rank)

    return SmoothRows(rows.after, *map(one, rows[1:]))


@layout_after.register
def _activation_layout(layer: Activation, layout: Layout, path: str) -> Layout:
    single(layout, path)
    if not layout.gaussian:
        raise ValueError(
            f"{path} needs a Gaussian input, that is an affine layer (Dense, Conv) under it or "
            "under the branches that are summed into it, with nothing but pools and norms between"
        )
    dual(layer)
    return dataclasses.replace(layout, gaussian=False)
