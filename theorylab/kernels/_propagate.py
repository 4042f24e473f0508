"""How a layer acts on kernels: three functions per record type, registered with ``register``.

``layout_after``
    what is static: shapes, and whether the layer may stand where it does. Raises, before anything
    is traced.
``rows_behind``
    what belongs to one input alone: scales and variances, in the wide dtype.
``rule``
    pairs of inputs: gap and NTK, given the rows before and behind the layer.

What the second hands to the third is the layer's *record*. Layers that hold others (chains,
branches) register ``advance``, whose record is a tree of theirs.
"""

import dataclasses
import functools
from typing import Any

from theorylab._numerics import wide_scope
from theorylab.kernels._state import Layout, Rows, own_state
from theorylab.layers import Identity, Layer, Parallel, Serial

# A signal of a network with branches is a tuple of states, of rows or of layouts.
State = Any
Signal = Any
Record = Any


@functools.singledispatch
def rule(layer: Layer, state: State, record1: Record, record2: Record) -> State:
    """Pairs behind a layer from the pairs before it; runs where float64 is allowed."""
    raise NotImplementedError(f"{type(layer).__name__} has no kernel rule")


@functools.singledispatch
def rows_behind(layer: Layer, rows: Rows) -> Record:
    """Rows behind a layer from the rows before it, without gaps between positions.

    Either :class:`Rows` or a NamedTuple with such a field ``after`` and whatever else the layer's
    pairs need of each input.
    """
    raise NotImplementedError(f"{type(layer).__name__} has no kernel rule")


@functools.singledispatch
def advance(layer: Layer, rows: Signal) -> tuple[Signal, Record]:
    """Rows behind a layer, with gaps between positions where there were any, and its record."""
    record = rows_behind(layer, rows)
    after: Rows = record if isinstance(record, Rows) else record.after
    if rows.own is None or not after.layout.spatial or not after.layout.full:
        return after, record
    own = rule(layer, own_state(rows), record, record).gap
    return dataclasses.replace(after, own=own), record


def propagate(layer: Layer, state: State) -> State:
    """Kernels behind a layer from the kernels before it.

    Parameters
    ----------
    layer
        Any layer record, a whole network included.
    state
        A :class:`KernelState`, or a tuple of them where the layer takes several inputs. Made by
        :func:`theorylab.kernels.input_state` or by another ``propagate``.

    Returns
    -------
    KernelState
        Or a tuple of them behind ``FanOut`` and ``parallel``.

    Raises
    ------
    ValueError, NotImplementedError
        Where the layer has no kernel for such a signal; the message names the layer.

    Examples
    --------
    Networks compose by composing their kernels:

    >>> import jax.numpy as jnp
    >>> import theorylab.kernels as tk
    >>> state = tk.input_state(jnp.eye(2), jnp.eye(2))
    >>> first, second = tk.serial(tk.Dense(8), tk.Relu()), tk.Dense(1)
    >>> whole = tk.serial(tk.Dense(8), tk.Relu(), tk.Dense(1))
    >>> a = second.propagate(first.propagate(state)).kernel().ntk
    >>> bool(jnp.allclose(a, whole.propagate(state).kernel().ntk))
    True
    """
    layout_after(layer, layouts_of(state), type(layer).__name__.lower())
    with wide_scope():
        rows1, record1 = advance(layer, _rows_of(state, 1))
        rows2, record2 = advance(layer, _rows_of(state, 2))
        return _with_rows(rule(layer, state, record1, record2), rows1, rows2)


def _rows_of(state: State, side: int) -> Signal:
    if isinstance(state, tuple):
        return tuple(_rows_of(one, side) for one in state)
    return state.rows1 if side == 1 else state.rows2


def _with_rows(state: State, rows1: Signal, rows2: Signal) -> State:
    if isinstance(state, tuple):
        branches = zip(state, rows1, rows2, strict=True)
        return tuple(_with_rows(s, r1, r2) for s, r1, r2 in branches)
    return dataclasses.replace(state, rows1=rows1, rows2=rows2)


def layouts_of(signal: Signal) -> Signal:
    """The layout of a state or of rows, or the tuple of layouts of their branches."""
    return tuple(layouts_of(s) for s in signal) if isinstance(signal, tuple) else signal.layout


@functools.singledispatch
def layout_after(layer: Layer, layout: Signal, path: str) -> Signal:
    """Static facts about the signal behind a layer; raises where the layer cannot stand there.

    Parameters
    ----------
    layer
        Any layer record.
    layout
        :class:`Layout` of its input, or a tuple of them.
    path
        Where the layer stands in the network, for the message.
    """
    raise NotImplementedError(f"{path} has no kernel rule")


@advance.register
def _(layer: Identity, rows: Signal) -> tuple[Signal, Record]:
    return rows, None


@rule.register
def _identity(layer: Identity, state: State, record1: Record, record2: Record) -> State:
    return state


@layout_after.register
def _identity_layout(layer: Identity, layout: Signal, path: str) -> Signal:
    return layout


def single(layout: Signal, path: str) -> None:
    """Raise unless the signal is one branch."""
    if isinstance(layout, tuple):
        raise ValueError(
            f"{path} takes one input but stands behind {len(layout)} branches; "
            "join them with FanInSum or put it inside parallel"
        )


def shape_after(layer: Layer, layout: Layout, path: str) -> tuple[int, ...]:
    """Shape of the finite signal behind a layer, for one input; errors name the path."""
    single(layout, path)
    try:
        return layer.output_shape(layout.shape())
    except ValueError as error:
        raise ValueError(f"{path}: {str(error).partition(': ')[2]}") from None


def check_axes(layer: Any, layout: Layout, path: str) -> None:
    """Raise unless a layer's ``batch_axis`` and ``channel_axis`` are those of its input."""
    rank = len(layout.shape())
    for name, have in zip(("batch_axis", "channel_axis"), layout.axes, strict=True):
        if getattr(layer, name, have) % rank != have:
            raise ValueError(
                f"{path} has {name}={getattr(layer, name)}, but its input, of {rank} axes, has its "
                f"{name.replace('_', ' ')} at {have}"
            )


def relaid(layout: Layout, shape: tuple[int, ...], axes: tuple[int, int], **facts: Any) -> Layout:
    """The layout of a signal of another shape."""
    batch, channel = (axis % len(shape) for axis in axes)
    spatial = tuple(n for i, n in enumerate(shape) if i not in (batch, channel))
    changes = {"width": shape[channel], "spatial": spatial, "axes": (batch, channel), **facts}
    return dataclasses.replace(layout, **changes)


def layer_path(path: str, i: int, layer: Layer) -> str:
    """Name of the i-th layer of a combinator, e.g. ``net[1] parallel[0] Dense``."""
    names = {Serial: "", Parallel: " parallel"}
    return f"{path}[{i}]{names.get(type(layer), ' ' + type(layer).__name__)}"
