"""What must be kept of the spatial positions, settled from the top of the network downwards.

``Flatten`` reads pairs of equal positions alone, pooling all pairs, and those of every input with
itself. A network is rewritten before it is run: behind a pooling layer with nothing but
``Flatten`` above it, the pairs that nobody needs any more are dropped (``KeepDiagonal``).
"""

import dataclasses
import enum
import functools
from typing import Any

from jax import Array

from theorylab.kernels._propagate import layout_after, rows_behind, rule
from theorylab.kernels._reshape import diagonal_state
from theorylab.kernels._shapes import Branches
from theorylab.kernels._state import KernelState, Layout, Rows
from theorylab.kernels.duals import Homogeneous, dual
from theorylab.layers import (
    Abs,
    Activation,
    AvgPool,
    Conv,
    Dense,
    FanInConcat,
    FanInProd,
    FanInSum,
    FanOut,
    Flatten,
    GlobalAvgPool,
    GlobalSumPool,
    Layer,
    LayerNorm,
    Parallel,
    Relu,
    Repeat,
    Serial,
    SumPool,
)
from theorylab.layers._record import record

POOLS = (AvgPool, SumPool, GlobalAvgPool, GlobalSumPool)


class Need(enum.IntEnum):
    """What is read of a signal above some point."""

    DIAGONAL = 0
    FULL = 1
    OWN = 2  # all pairs of positions, and those of every input with itself


@record
class KeepDiagonal(Layer):
    """Drops all pairs but those of equal positions; part of a plan, of no network."""

    def init(self, key: Array, input_shape: Any) -> tuple[()]:
        return ()

    def apply(self, params: Any, x: Any, key: Array | None = None) -> Any:
        return x


@rows_behind.register
def _(layer: KeepDiagonal, rows: Rows) -> Rows:
    return rows.bare().relaid(full=not rows.layout.spatial)


@rule.register
def _rule(layer: KeepDiagonal, state: KernelState, after1: Rows, after2: Rows) -> KernelState:
    state = diagonal_state(state)
    return dataclasses.replace(state, rows1=after1, rows2=after2)


@layout_after.register
def _layout(layer: KeepDiagonal, layout: Layout, path: str) -> Layout:
    return dataclasses.replace(layout, full=not layout.spatial)


@functools.singledispatch
def settle(layer: Layer, need: Any) -> tuple[Layer, Any]:
    """The layer as it will be run, and what it needs, given what is needed of its output.

    ``need`` is a :class:`Need`, or a tuple of them for a signal of several branches.
    """
    return layer, need


@settle.register
def _settle_flatten(layer: Flatten, need: Any) -> tuple[Layer, Any]:
    return layer, Need.DIAGONAL


@settle.register(AvgPool)
@settle.register(SumPool)
@settle.register(GlobalAvgPool)
@settle.register(GlobalSumPool)
def _settle_pool(layer: Any, need: Any) -> tuple[Layer, Any]:
    windowed = isinstance(layer, AvgPool | SumPool)
    if windowed and need == Need.DIAGONAL:
        return Serial((layer, KeepDiagonal())), Need.OWN
    return layer, Need.OWN


@settle.register
def _settle_serial(layer: Serial, need: Any) -> tuple[Layer, Any]:
    layers: list[Layer] = []
    for inner in reversed(layer.layers):
        settled, need = settle(inner, need)
        layers.append(settled)
    return Serial(tuple(reversed(layers))), need


@settle.register
def _settle_parallel(layer: Parallel, need: Any) -> tuple[Layer, Any]:
    needs = need if isinstance(need, tuple) else (need,) * len(layer.layers)
    both = [settle(inner, one) for inner, one in zip(layer.layers, needs, strict=True)]
    return Parallel(tuple(inner for inner, _ in both)), tuple(one for _, one in both)


@settle.register
def _settle_fan_out(layer: FanOut, need: Any) -> tuple[Layer, Any]:
    return layer, greatest(need)


@settle.register
def _settle_repeat(layer: Repeat, need: Any) -> tuple[Layer, Any]:
    # The copies below see what the copy above needs, which in turn may be more than the top needs.
    inner, below = settle(layer.layer, need)
    if below != need:
        inner, below = settle(layer.layer, greatest((need, below)))
    return Repeat(inner, layer.times), below


@dataclasses.dataclass(frozen=True)
class _Seen:
    """Whether a signal has been pooled, and whether its covariances are sure to be positive."""

    pooled: bool = False
    positive: bool = False


def wide_pairs(layer: Layer) -> bool:
    """Whether pairs must be formed in the wide dtype for a kernel in the narrow one.

    A pool makes one covariance of many, and the gap behind it is a difference: known to ``eps`` of
    the variances below, of which a kinked activation above takes the root. Covariances below may
    cancel, too, and leave a variance far smaller than theirs, but for those behind ``Relu`` and
    ``Abs``, which are positive.
    """
    return _passed(layer, _Seen())[1]


def _passed(layer: Layer, seen: Any) -> tuple[Any, bool]:
    """What is known behind a layer, branch by branch, and whether it asks for wide pairs."""
    if isinstance(layer, Serial):
        wide = False
        for inner in layer.layers:
            seen, asked = _passed(inner, seen)
            wide = wide or asked
        return seen, wide
    if isinstance(layer, Parallel):
        branches = seen if isinstance(seen, tuple) else (seen,) * len(layer.layers)
        both = [_passed(inner, one) for inner, one in zip(layer.layers, branches, strict=True)]
        return tuple(one for one, _ in both), any(wide for _, wide in both)
    if isinstance(layer, Repeat):
        seen, first = _passed(layer.layer, seen)
        seen, second = _passed(layer.layer, seen)
        return seen, first or second
    if isinstance(layer, FanOut):
        return (seen,) * layer.num, False
    if isinstance(seen, tuple) and isinstance(layer, FanInSum | FanInProd | FanInConcat):
        return _Seen(any(x.pooled for x in seen), all(x.positive for x in seen)), False
    if isinstance(layer, POOLS):
        return dataclasses.replace(seen, pooled=True), not seen.positive
    if isinstance(layer, Activation):
        kinked = isinstance(dual(layer), Homogeneous)
        after = dataclasses.replace(seen, positive=isinstance(layer, Relu | Abs))
        return after, kinked and seen.pooled
    return seen, False


def greatest(need: Any) -> Need:
    """The largest of nested needs."""
    return max(map(greatest, need)) if isinstance(need, tuple) else need


def input_axes(layer: Layer) -> Any:
    """Batch and channel axis that the first layer to name them expects; None if none does."""
    if isinstance(layer, Serial):
        opened = False
        for inner in layer.layers:
            opened = opened or isinstance(inner, FanOut)
            axes = input_axes(inner)
            if axes is not None:
                return _first(axes) if opened else axes
        return None
    if isinstance(layer, Repeat):
        return input_axes(layer.layer)
    if isinstance(layer, Parallel):
        return Branches(tuple(input_axes(inner) for inner in layer.layers))
    if isinstance(layer, Conv):
        return layer.axes.lhs_batch, layer.axes.lhs_channel
    if isinstance(layer, Flatten):
        return layer.batch_axis, None
    if isinstance(layer, (Dense, LayerNorm, *POOLS)):
        return layer.batch_axis, layer.channel_axis
    return None


def _first(axes: Any) -> Any:
    if not isinstance(axes, Branches):
        return axes
    return next((found for found in map(_first, axes) if found is not None), None)
