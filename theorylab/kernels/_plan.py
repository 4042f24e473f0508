"""The planning pass: what a kernel will cost, and whether it exists, before anything is allocated.

The costs count what dominates: the output, the inputs in the wide dtype, the temporaries of one
tile. ``TILE_ARRAYS`` is the number of tile-sized arrays, in units of the kernel's dtype, alive at
once in the compiled program; it was read off the compiler's own memory analysis.
"""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from theorylab._numerics import wide_dtype
from theorylab._tree import leaves_with_names
from theorylab.kernels._propagate import Signal, layer_path, layout_after
from theorylab.kernels._state import Layout
from theorylab.layers import Activation, Dense, FanInSum, Layer, Parallel, Serial

TILE = 500  # rows and columns of a tile: its arrays, 1 MB in float32, stay in a core's cache
SMALLEST_TILE = 16
TILE_ARRAYS = 8


class LayerPlan(NamedTuple):
    """One layer's share.

    Attributes
    ----------
    path
        Where it stands, e.g. ``net[1] Relu``.
    width
        Channels of the finite network behind it.
    flops
        Floating-point operations of this layer over all pairs.
    """

    path: str
    width: int
    flops: int


class Plan(NamedTuple):
    """Predicted cost of ``net.kernel``.

    Attributes
    ----------
    bytes_peak
        Memory in bytes: inputs, outputs and temporaries.
    flops
        Floating-point operations.
    tile
        Rows and columns computed at a time.
    layers
        A :class:`LayerPlan` for every layer.
    """

    bytes_peak: int
    flops: int
    tile: tuple[int, int]
    layers: tuple[LayerPlan, ...]


def plan(
    net: Layer,
    shape1: Any,
    shape2: Any = None,
    *,
    ntk: bool = True,
    dtype: Any = np.float32,
    memory_limit: int | None = None,
) -> Plan:
    """Predict memory and work of ``net.kernel``, and check that the kernel exists.

    Parameters
    ----------
    net
        Network.
    shape1, shape2
        Shapes of ``x1`` and ``x2``, batch axis included; ``shape2=None`` for the symmetric case.
        Tuples of shapes for a network with several inputs.
    ntk
        Whether the NTK is wanted.
    dtype
        Of the inputs.
    memory_limit
        In bytes. Tiles are shrunk to stay below it.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        If shapes do not fit the network or each other, if a layer cannot stand where it does (the
        message names its path), or if ``memory_limit`` is below what the smallest tile needs.

    Examples
    --------
    >>> import theorylab.kernels as tk
    >>> net = tk.serial(tk.Dense(512), tk.Relu(), tk.Dense(1))
    >>> tk.plan(net, (2000, 784)).tile
    (500, 500)
    """
    if memory_limit is not None and not isinstance(memory_limit, int | np.integer):
        raise TypeError(f"memory_limit must be a whole number of bytes, got {memory_limit!r}")
    shapes1, shapes2 = check_shapes(shape1, shape1 if shape2 is None else shape2)
    layout = _input_layout(shape1)
    if isinstance(layout_after(net, layout, "net"), tuple):
        raise ValueError("net ends in several branches; join them, e.g. with FanInSum")
    n1, n2 = shapes1[0][0], shapes2[0][0]
    symmetric = shape2 is None
    channels = sum(shape[1] for shape in shapes1)
    sizes = [TILE]
    while memory_limit is not None and sizes[-1] > SMALLEST_TILE:
        sizes.append(max(sizes[-1] // 2, SMALLEST_TILE))
    for size in sizes:
        tile = (even_tile(n1, size), even_tile(n2, size))
        peak = _bytes(n1, n2, channels, tile, ntk, symmetric, np.dtype(dtype))
        if memory_limit is None or peak <= memory_limit:
            break
    else:
        raise ValueError(
            f"memory_limit: {memory_limit} bytes are too few for a {n1} x {n2} kernel; "
            f"the smallest tile, {tile[0]} x {tile[1]}, needs {peak} bytes"
        )
    tiles1, tiles2 = math.ceil(n1 / tile[0]), math.ceil(n2 / tile[1])
    count = tiles1 * (tiles1 + 1) // 2 if symmetric else tiles1 * tiles2
    pairs = count * tile[0] * tile[1]
    layers = tuple(_layer_plans(net, layout, "net", pairs, ntk))
    gram = 2 * pairs * channels
    return Plan(peak, gram + sum(layer.flops for layer in layers), tile, layers)


def even_tile(n: int, size: int) -> int:
    """Tile length of at most ``size`` that divides ``n`` as evenly as whole numbers allow."""
    return math.ceil(n / math.ceil(n / size))


def check_shapes(shape1: Any, shape2: Any) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The input shapes as two lists of (n, d); raises ``ValueError`` unless they fit together."""
    lists = []
    for name, shape in (("x1", shape1), ("x2", shape2)):
        if not isinstance(shape, tuple):
            raise ValueError(f"{name} must have shape (n, d), got {shape!r}")
        named = leaves_with_names(name, jax.tree.map(_Shape, shape, is_leaf=_is_shape))
        if not named:
            raise ValueError(f"{name}: no input given")
        for leaf_name, leaf in named:
            if not isinstance(leaf, _Shape) or len(leaf.shape) != 2:
                got = leaf.shape if isinstance(leaf, _Shape) else leaf
                raise ValueError(f"{leaf_name} must have shape (n, d), got {got}")
            if min(leaf.shape) < 1:
                raise ValueError(f"{leaf_name} must not be empty, got shape {leaf.shape}")
        shapes = [leaf.shape for _, leaf in named]
        if len({n for n, _ in shapes}) > 1:
            raise ValueError(f"{name}: inputs must have one number of points, got {shapes}")
        lists.append(shapes)
    first, second = lists
    if [d for _, d in first] != [d for _, d in second]:
        raise ValueError(
            "x1 and x2 must have the same features, "
            f"got shapes {_unpacked(first)} and {_unpacked(second)}"
        )
    return first, second


def _unpacked(shapes: list[tuple[int, int]]) -> Any:
    return shapes[0] if len(shapes) == 1 else tuple(shapes)


class _Shape:
    """A shape as an opaque leaf: tuples of integers would be pytrees."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = tuple(shape)


def _is_shape(x: Any) -> bool:
    return isinstance(x, tuple) and all(isinstance(n, int | np.integer) for n in x)


def _input_layout(shape: Any) -> Signal:
    if _is_shape(shape):
        return Layout(width=shape[1], gaussian=False)
    return tuple(_input_layout(one) for one in shape)


def _bytes(
    n1: int, n2: int, d: int, tile: tuple[int, int], ntk: bool, symmetric: bool, dtype: np.dtype
) -> int:
    item = dtype.itemsize
    wide = wide_dtype(dtype).itemsize
    # A product of matrices in a wider type than the kernel's is one more, wider, temporary.
    arrays = (TILE_ARRAYS if ntk else TILE_ARRAYS // 2) * item + 2 * wide
    inputs = (n1 + (0 if symmetric else n2)) * d * item
    rows = (tile[0] + tile[1]) * d * wide
    return n1 * n2 * item * (2 if ntk else 1) + inputs + rows + tile[0] * tile[1] * arrays


# Operations per pair: multiplications, additions and a polynomial's steps count one each.
_FLOPS = {Dense: 8, FanInSum: 8, Activation: 60}


def _layer_plans(layer: Layer, layout: Signal, path: str, pairs: int, ntk: bool) -> list[LayerPlan]:
    if isinstance(layer, Serial | Parallel):
        plans: list[LayerPlan] = []
        for i, inner in enumerate(layer.layers):
            branch = layout[i] if isinstance(layer, Parallel) else layout
            plans += _layer_plans(inner, branch, layer_path(path, i, inner), pairs, ntk)
            if isinstance(layer, Serial):
                layout = layout_after(inner, layout, path)
        return plans
    after = layout_after(layer, layout, path)
    width = after[0].width if isinstance(after, tuple) else after.width
    per_pair = next((f for kind, f in _FLOPS.items() if isinstance(layer, kind)), 0)
    return [LayerPlan(path, width, pairs * per_pair // (1 if ntk else 2))]
