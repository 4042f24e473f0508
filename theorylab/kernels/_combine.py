"""Chains and branches of layers on kernels.

A chain in which a block of layers repeats (``Dense, Relu, Dense, Relu, ...``) is run as a loop over
the block with stacked hyperparameters. That compiles once whatever the depth, and it is what makes
depth cheap: without the loop XLA's fusion evaluates the layers below again for each consumer.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from theorylab.kernels._propagate import Signal, State, layer_path, layout_after, layouts_of, rule
from theorylab.kernels._state import (
    KernelState,
    Layout,
    difference,
    outer,
    unit,
    unit_scale,
)
from theorylab.layers import Activation, Dense, FanInSum, FanOut, Layer, Parallel, Serial

MAX_PERIOD = 4  # longest repeating block looked for; two layers a block is the rule


@rule.register
def _(layer: Serial, state: State) -> State:
    layers = flatten(layer)
    start = 0
    while start < len(layers):
        period, repeats = repeating_block(layers, start, layouts_of(state))
        if repeats > 1:
            state = _loop(layers[start : start + period * repeats], period, state)
        else:
            for inner in layers[start : start + period]:
                state = rule(inner, state)
        start += period * repeats
    return state


def flatten(layer: Serial) -> tuple[Layer, ...]:
    """The layers of a chain with chains inside it opened."""
    return tuple(
        inner
        for outer_layer in layer.layers
        for inner in (flatten(outer_layer) if isinstance(outer_layer, Serial) else (outer_layer,))
    )


def repeating_block(layers: tuple[Layer, ...], start: int, layout: Signal) -> tuple[int, int]:
    """Period and number of repeats of the block that begins at ``start``; (1, 1) if none."""
    best = (1, 1)
    for period in range(1, MAX_PERIOD + 1):
        block = layers[start : start + period]
        if len(block) < period or not _loopable(block, layout):
            continue
        repeats = 1
        while _signature(layers[start + period * repeats :][:period]) == _signature(block):
            repeats += 1
        if repeats > 1 and period * repeats > best[0] * best[1]:
            best = (period, repeats)
    return best


def _loopable(block: tuple[Layer, ...], layout: Signal) -> bool:
    """Whether a block maps one signal to one signal, without regard to the width it sees."""
    after = _layout_behind(block, layout)
    if not isinstance(layout, Layout) or not isinstance(after, Layout):
        return False
    free = all(
        isinstance(x, Activation) or (isinstance(x, Dense) and x.parameterization == "ntk")
        for x in block
    )
    return free or after.width == layout.width


def _layout_behind(layers: tuple[Layer, ...], layout: Signal) -> Signal:
    for layer in layers:
        layout = layout_after(layer, layout, type(layer).__name__)
    return layout


def _signature(layers: tuple[Layer, ...]) -> list[Any]:
    """What must agree for two blocks to be one loop body: everything static but free widths."""
    return [
        (Dense, layer.b_std is None)
        if isinstance(layer, Dense) and layer.parameterization == "ntk"
        else jax.tree.structure(layer)
        for layer in layers
    ]


def _loop(layers: tuple[Layer, ...], period: int, state: KernelState) -> KernelState:
    blocks = [layers[i : i + period] for i in range(0, len(layers), period)]
    wide = state.q1.dtype
    hyperparameters = [jax.tree.leaves(block) for block in blocks]
    stacked = [
        jnp.stack([jnp.asarray(leaf, wide) for leaf in leaves])
        for leaves in zip(*hyperparameters, strict=True)
    ]
    structure = jax.tree.structure(blocks[0])

    def body(inner: KernelState, leaves: list[Any]) -> tuple[KernelState, None]:
        for layer in jax.tree.unflatten(structure, leaves):
            inner = rule(layer, inner)
        return dataclasses.replace(inner, layout=state.layout), None

    final, _ = lax.scan(body, state, stacked, length=len(blocks))
    return dataclasses.replace(final, layout=_layout_behind(layers, state.layout))


@rule.register
def _fan_out(layer: FanOut, state: State) -> tuple[State, ...]:
    return (_opened_state(state),) * layer.num


def _opened_state(state: State) -> State:
    if isinstance(state, tuple):
        return tuple(_opened_state(one) for one in state)
    return dataclasses.replace(state, layout=_opened(state.layout))


@rule.register
def _parallel(layer: Parallel, state: State) -> tuple[State, ...]:
    return tuple(rule(inner, s) for inner, s in zip(layer.layers, state, strict=True))


@rule.register
def _fan_in_sum(layer: FanInSum, state: State) -> KernelState:
    """Independent branches: variances, gaps and NTKs add, once they are in common units."""
    branches = state
    layout = _sum_layout(layouts_of(branches), "FanInSum")
    dtype = branches[0].gap.dtype
    scale1 = unit_scale(sum(s.q1 * s.scale1**2 for s in branches))
    scale2 = unit_scale(sum(s.q2 * s.scale2**2 for s in branches))
    q1, q2 = jnp.zeros_like(scale1), jnp.zeros_like(scale2)
    gap, ntk = jnp.zeros_like(branches[0].gap), None
    for s in branches:
        r1, r2 = s.scale1 / scale1, s.scale2 / scale2
        ratio = outer(r1, r2, dtype)
        spread = difference(r1, r2, dtype) * difference(r1 * s.q1, r2 * s.q2, dtype)
        q1, q2 = q1 + r1**2 * s.q1, q2 + r2**2 * s.q2
        gap = gap + (ratio * s.gap + spread / 2)
        if s.ntk is not None:
            ntk = ratio * s.ntk + (0 if ntk is None else ntk)
    return KernelState(scale1, scale2, unit(q1), unit(q2), gap, ntk, layout)


@layout_after.register
def _serial_layout(layer: Serial, layout: Signal, path: str) -> Signal:
    for i, inner in enumerate(layer.layers):
        layout = layout_after(inner, layout, layer_path(path, i, inner))
    return layout


@layout_after.register
def _fan_out_layout(layer: FanOut, layout: Signal, path: str) -> Signal:
    return (_opened(layout),) * layer.num


def _opened(layout: Signal) -> Signal:
    """The layout with one more open ``FanOut`` above it."""
    if isinstance(layout, tuple):
        return tuple(_opened(one) for one in layout)
    return dataclasses.replace(layout, fresh=(*layout.fresh, False))


@layout_after.register
def _parallel_layout(layer: Parallel, layout: Signal, path: str) -> Signal:
    _check_branches(layer, layout, path)
    return tuple(
        layout_after(inner, one, layer_path(path, i, inner))
        for i, (inner, one) in enumerate(zip(layer.layers, layout, strict=True))
    )


@layout_after.register
def _fan_in_sum_layout(layer: FanInSum, layout: Signal, path: str) -> Layout:
    return _sum_layout(layout, path)


def _sum_layout(layouts: Signal, path: str) -> Layout:
    if not isinstance(layouts, tuple) or not all(isinstance(x, Layout) for x in layouts):
        raise ValueError(f"{path} needs branches to sum: put it behind FanOut and parallel")
    if len({layout.width for layout in layouts}) > 1:
        widths = ", ".join(str(layout.width) for layout in layouts)
        raise ValueError(f"{path} needs branches of one width, got {widths}")
    if sum(not layout.gaussian for layout in layouts) > 1:
        raise NotImplementedError(
            f"{path} sums {sum(not x.gaussian for x in layouts)} branches that are not Gaussian, "
            "whose correlations no kernel knows; end all but one of them with Dense"
        )
    if layouts[0].fresh and sum(not layout.fresh[-1] for layout in layouts) > 1:
        raise NotImplementedError(
            f"{path} sums branches that carry the same signal on: more than one has no affine "
            "layer of its own since FanOut, so they are not independent; add a Dense to all but one"
        )
    open_fan_outs = zip(*(layout.fresh[:-1] for layout in layouts), strict=True)
    return Layout(
        width=layouts[0].width,
        gaussian=all(layout.gaussian for layout in layouts),
        fresh=tuple(all(branches) for branches in open_fan_outs),
    )


def _check_branches(layer: Parallel, signal: Signal, path: str) -> None:
    if not isinstance(signal, tuple):
        raise ValueError(
            f"{path} has {len(layer.layers)} branches but a single input; put FanOut before it"
        )
    if len(signal) != len(layer.layers):
        raise ValueError(f"{path} has {len(layer.layers)} branches but {len(signal)} inputs")
