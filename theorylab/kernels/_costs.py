"""What a kernel costs, layer by layer, as predicted before anything is traced.

Memory is counted in arrays of the size of a tile, some of which are alive at once in the compiled
program, and in the records that the rows of all inputs leave for the pairs. The numbers of
arrays were read off the compiler's memory analysis, on CPUs, of networks of one kind of layer;
on the architectures of ``tests/kernels/test_plan.py`` the sum is within 1.5 times of it.
"""

import math
from typing import Any, NamedTuple

from theorylab.kernels._needs import POOLS
from theorylab.kernels._state import Layout
from theorylab.kernels.duals import Smooth, dual
from theorylab.layers import (
    Activation,
    Conv,
    Dense,
    FanInConcat,
    FanInProd,
    FanInSum,
    Flatten,
    Layer,
    LayerNorm,
)

# Tile-sized arrays, in the dtype of the pairs, behind each kind of layer. Windows are padded and
# read out beside what they are added to; pools add up in the wide dtype.
DENSE_ARRAYS = 3.5
WINDOWED_ARRAYS = {False: 6.5, True: 10.5}  # equal positions, all pairs of positions
WIDE_ACTIVATION_ARRAYS = 11.0  # in the wide dtype: formed in it, whatever the kernel's is
INPUT_ARRAYS = 4  # squared differences of channels, in the wide dtype
TILED_ARRAYS = 1.25  # a finished tile and its transpose, where there are several

# Operations per number held: multiplications, additions and a polynomial's steps count one each.
_FLOPS: dict[Any, int] = {
    Dense: 8,
    LayerNorm: 4,
    FanInSum: 8,
    FanInProd: 8,
    FanInConcat: 8,
    Flatten: 6,
    Activation: 60,
}


class Sizes(NamedTuple):
    """Bytes of a number of the kernel, of the pairs, and of what belongs to one input alone."""

    kernel: int
    pairs: int
    wide: int

    @property
    def held(self) -> int:
        """Of a row quantity with what rounding took from it."""
        return self.pairs if self.pairs == self.wide else 2 * self.pairs

    @property
    def rows(self) -> int:
        """Of the scale, the variance and what follows from it, at one position."""
        return 2 * self.wide + 3 * self.pairs


def pairs_of_positions(layout: Layout) -> int:
    """Numbers that are held for a pair of inputs."""
    return layout.positions**2 if layout.full else layout.positions


def layer_flops(layer: Layer, numbers: int, ntk: bool) -> int:
    """Operations of a layer on ``numbers`` pairs of inputs and positions."""
    each = next((f for kind, f in _FLOPS.items() if isinstance(layer, kind)), 2)
    if isinstance(layer, Conv):
        each = 8 + 6 * math.prod(layer.filter_shape)
    return numbers * each // (1 if ntk else 2)


def record_bytes(layer: Layer, before: list[Layout], after: Layout, sizes: Sizes) -> int:
    """Bytes that a layer's record holds for each input."""
    seen, made = sum(layout.positions for layout in before), after.positions
    total = made * sizes.rows
    if isinstance(layer, Conv | Dense):
        bias = 0 if layer.b_std is None else sizes.held
        standard = 0 if layer.parameterization == "ntk" else 2 * sizes.pairs
        total += made * (bias + standard)
        if isinstance(layer, Conv):
            offsets = 2 * math.prod(layer.filter_shape) * sizes.pairs
            total += made * (sizes.held + offsets) + seen * sizes.held
        elif layer.b_std is not None:
            total += made * 2 * sizes.held
    elif isinstance(layer, Activation) and isinstance(dual(layer), Smooth):
        total += made * (sizes.wide + 5 * sizes.held)
    elif isinstance(layer, POOLS):
        total += seen * sizes.wide + made * 3 * sizes.wide
    elif isinstance(layer, Flatten | LayerNorm | FanInSum | FanInConcat | FanInProd):
        total += seen * 2 * sizes.held
    return total


def input_bytes(layout: Layout, sizes: Sizes) -> int:
    """Bytes alive at once for each pair of images where their gap is added up over channels."""
    return pairs_of_positions(layout) * min(layout.width, INPUT_ARRAYS) * sizes.wide


def pair_bytes(layer: Layer, before: list[Layout], after: Layout, sizes: Sizes) -> float:
    """Bytes alive at once for each pair of inputs where a layer acts on them."""
    numbers = max(map(pairs_of_positions, [*before, after]))
    arrays, item = DENSE_ARRAYS, sizes.pairs
    if isinstance(layer, (Conv, *POOLS)):
        arrays = WINDOWED_ARRAYS[any(layout.full for layout in before)]
    elif isinstance(layer, Activation):
        rule = dual(layer)
        if isinstance(rule, Smooth) and rule.wide:
            arrays, item = WIDE_ACTIVATION_ARRAYS, sizes.wide
    return numbers * arrays * item
