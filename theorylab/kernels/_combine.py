"""Chains of layers, side by side and repeated, on kernels.

A chain in which a block of layers repeats (``Dense, Relu, Dense, Relu, ...``) is run as a loop over
the block with stacked hyperparameters, and so is ``repeat``. That compiles once whatever the depth,
and it is what makes depth cheap: without the loop XLA's fusion evaluates the layers below again for
each consumer. The rows of all inputs go through the same loop first; what they leave behind for
the pairs is stacked along a leading axis.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from theorylab.kernels._propagate import (
    Record,
    Signal,
    State,
    advance,
    layer_path,
    layout_after,
    layouts_of,
    rule,
)
from theorylab.kernels._state import KernelState, Layout, Rows, own_state
from theorylab.layers import Activation, Conv, Dense, Layer, Parallel, Repeat, Serial

MAX_PERIOD = 4  # longest repeating block looked for; two layers a block is the rule


def _finished(state: State) -> State:
    """The same, with the pairs of positions written to memory before anything reads them.

    A layer that reads windows would have those below it evaluated again for every offset. Nothing
    but a branch that the compiler cannot decide keeps it from that; the other one is never taken.
    """
    if isinstance(state, tuple) or state.gap.ndim < 4:
        return state
    sure = jnp.logical_not(state.rows1.exponent > jnp.iinfo(jnp.int32).max // 2)
    pairs = (state.gap, state.ntk)
    gap, ntk = lax.cond(sure, lambda p: p, lambda p: jax.tree.map(jnp.negative, p), pairs)
    return dataclasses.replace(state, gap=gap, ntk=ntk)


class _Segment(NamedTuple):
    """Consecutive layers of a chain: one, or blocks of equal form that are run as a loop."""

    layers: tuple[Layer, ...]
    period: int
    after: Signal


def _segments(layer: Serial, layout: Signal) -> Iterator[_Segment]:
    layers = flatten(layer)
    start = 0
    while start < len(layers):
        period, repeats = repeating_block(layers, start, layout)
        part = layers[start : start + period * repeats]
        layout = _layout_behind(part, layout)
        yield _Segment(part, period, layout)
        start += period * repeats


@advance.register
def _(layer: Serial, rows: Signal) -> tuple[Signal, Record]:
    records = []
    for segment in _segments(layer, layouts_of(rows)):
        if len(segment.layers) == 1:
            rows, record = advance(segment.layers[0], rows)
        else:
            rows, record = _advance_loop(segment, rows)
        records.append(record)
    return rows, tuple(records)


@rule.register
def _serial(layer: Serial, state: State, record1: Record, record2: Record) -> State:
    segments = _segments(layer, layouts_of(state))
    for segment, ours, theirs in zip(segments, record1, record2, strict=True):
        if len(segment.layers) == 1:
            state = _finished(rule(segment.layers[0], state, ours, theirs))
        else:
            state = _loop(segment, state, ours, theirs)
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
    try:
        after = _layout_behind(block, layout)
    except (ValueError, NotImplementedError):
        return False
    if not isinstance(layout, Layout) or not isinstance(after, Layout):
        return False
    if (after.spatial, after.axes, after.full) != (layout.spatial, layout.axes, layout.full):
        return False
    free = all(
        isinstance(x, Activation) or (isinstance(x, Dense | Conv) and x.parameterization == "ntk")
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
        jax.tree.structure(_without_width(layer))
        if isinstance(layer, Dense | Conv) and layer.parameterization == "ntk"
        else jax.tree.structure(layer)
        for layer in layers
    ]


def _without_width(layer: Dense | Conv) -> Layer:
    """The layer with one output channel: in the NTK parameterization no kernel depends on them."""
    width = "out_dim" if isinstance(layer, Dense) else "out_chan"
    same = object.__new__(type(layer))
    for field in dataclasses.fields(layer):
        object.__setattr__(
            same, field.name, 1 if field.name == width else getattr(layer, field.name)
        )
    return same


def _stacked(segment: _Segment, wide: Any) -> tuple[Any, list[Any]]:
    """The structure of a segment's blocks, and their hyperparameters stacked."""
    size = segment.period
    blocks = [segment.layers[i : i + size] for i in range(0, len(segment.layers), size)]
    leaves = zip(*(jax.tree.leaves(block) for block in blocks), strict=True)
    stacked = [jnp.stack([jnp.asarray(leaf, wide) for leaf in same]) for same in leaves]
    return jax.tree.structure(blocks[0]), stacked


_PLAIN = Activation, Dense, Conv


def _advance_loop(segment: _Segment, rows: Rows) -> tuple[Rows, Record]:
    structure, stacked = _stacked(segment, rows.q.dtype)
    count = len(segment.layers) // segment.period
    # Where no layer of the block asks for the pairs of an input's own positions, they go through a
    # loop of their own: beside the rows, the compiler would form these again for every pair.
    apart = rows.own is not None and all(isinstance(x, _PLAIN) for x in segment.layers)

    def body(inner: Rows, leaves: list[Any]) -> tuple[Rows, Record]:
        records = []
        for layer in jax.tree.unflatten(structure, leaves):
            inner, record = advance(layer, inner)
            records.append(record)
        return dataclasses.replace(inner, layout=rows.layout), tuple(records)

    final, records = lax.scan(body, rows.bare() if apart else rows, stacked, length=count)
    final = dataclasses.replace(final, layout=segment.after)
    if apart:
        final = dataclasses.replace(
            final, own=_loop(segment, own_state(rows), records, records).gap
        )
    return final, records


def _loop(segment: _Segment, state: KernelState, record1: Record, record2: Record) -> KernelState:
    structure, stacked = _stacked(segment, state.rows1.q.dtype)
    count = len(segment.layers) // segment.period

    def body(inner: KernelState, each: Any) -> tuple[KernelState, None]:
        leaves, ours, theirs = each
        layers = jax.tree.unflatten(structure, leaves)
        for layer, record1, record2 in zip(layers, ours, theirs, strict=True):
            inner = rule(layer, inner, record1, record2)
        return _laid(inner, state.layout), None

    final, _ = lax.scan(body, state, (stacked, record1, record2), length=count)
    return _laid(final, segment.after)


def _laid(state: KernelState, layout: Layout) -> KernelState:
    rows1, rows2 = (dataclasses.replace(r, layout=layout) for r in (state.rows1, state.rows2))
    return dataclasses.replace(state, rows1=rows1, rows2=rows2)


@advance.register
def _advance_repeat(layer: Repeat, rows: Signal) -> tuple[Signal, Record]:
    rows, first = advance(layer.layer, rows)
    if layer.times == 1:
        return rows, (first, None)
    rows, others = lax.scan(
        lambda inner, _: advance(layer.layer, inner), rows, None, length=layer.times - 1
    )
    return rows, (first, others)


@rule.register
def _repeat(layer: Repeat, state: State, record1: Record, record2: Record) -> State:
    state = rule(layer.layer, state, record1[0], record2[0])
    if layer.times == 1:
        return state

    def body(inner: State, records: Any) -> tuple[State, None]:
        return rule(layer.layer, inner, *records), None

    state, _ = lax.scan(body, state, (record1[1], record2[1]), length=layer.times - 1)
    return state


@advance.register
def _advance_parallel(layer: Parallel, rows: Signal) -> tuple[Signal, Record]:
    both = [advance(inner, one) for inner, one in zip(layer.layers, rows, strict=True)]
    return tuple(after for after, _ in both), tuple(record for _, record in both)


@rule.register
def _parallel(layer: Parallel, state: State, record1: Record, record2: Record) -> State:
    parts = zip(layer.layers, state, record1, record2, strict=True)
    return tuple(rule(inner, s, ours, theirs) for inner, s, ours, theirs in parts)


@layout_after.register
def _serial_layout(layer: Serial, layout: Signal, path: str) -> Signal:
    for i, inner in enumerate(layer.layers):
        layout = layout_after(inner, layout, layer_path(path, i, inner))
    return layout


@layout_after.register
def _repeat_layout(layer: Repeat, layout: Signal, path: str) -> Signal:
    first = layout_after(layer.layer, layout, f"{path} layer")
    if layer.times == 1:
        return first
    second = layout_after(layer.layer, first, f"{path} layer")
    if second != first:
        raise ValueError(
            f"{path}: the layer to be repeated must keep the form of its own output, but made a "
            f"signal {_described(second)} of one {_described(first)}"
        )
    return first


def _described(layout: Signal) -> str:
    if isinstance(layout, tuple):
        return f"of {len(layout)} branches"
    return f"of shape {layout.shape()}, {'' if layout.gaussian else 'not '}Gaussian"


@layout_after.register
def _parallel_layout(layer: Parallel, layout: Signal, path: str) -> Signal:
    _check_branches(layer, layout, path)
    return tuple(
        layout_after(inner, one, layer_path(path, i, inner))
        for i, (inner, one) in enumerate(zip(layer.layers, layout, strict=True))
    )


def _check_branches(layer: Parallel, signal: Signal, path: str) -> None:
    if not isinstance(signal, tuple):
        raise ValueError(
            f"{path} has {len(layer.layers)} branches but a single input; put FanOut before it"
        )
    if len(signal) != len(layer.layers):
        raise ValueError(f"{path} has {len(layer.layers)} branches but {len(signal)} inputs")
