"""The planning pass: what a kernel will cost, and whether it exists, before anything is allocated.

The network is walked twice: upwards for shapes and for what cannot stand where it does, downwards
for what each layer must keep of the positions (``_needs``). The costs count what dominates: the
output, the inputs in the wide dtype, the temporaries of one tile. ``TILE_ARRAYS`` is the number of
tile-sized arrays, in units of the kernel's dtype, alive at once in the compiled program; it was
read off the compiler's own memory analysis.
"""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from theorylab._numerics import wide_dtype
from theorylab.kernels._needs import Need, greatest, input_axes, settle
from theorylab.kernels._propagate import Signal, layer_path, layout_after
from theorylab.kernels._shapes import input_layouts, number_of_points
from theorylab.kernels._state import Layout
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
    Parallel,
    Repeat,
    Serial,
)

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
    positions
        What it keeps of the spatial positions of a pair of inputs: their number, squared where all
        pairs of positions are needed.
    flops
        Floating-point operations of this layer over all pairs.
    """

    path: str
    width: int
    positions: int
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


class Prepared(NamedTuple):
    """A network as it will be run.

    Attributes
    ----------
    net
        With what is not needed dropped as early as possible.
    layouts
        Of the inputs; hashable.
    own
        Whether the pairs of positions of every input with itself are needed.
    counts
        Numbers of points.
    plan
        Its cost.
    """

    net: Layer
    layouts: Signal
    own: bool
    counts: tuple[int, int]
    plan: Plan


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
    return prepare(net, shape1, shape2, ntk=ntk, dtype=dtype, memory_limit=memory_limit).plan


def prepare(
    net: Layer,
    shape1: Any,
    shape2: Any,
    *,
    ntk: bool,
    dtype: Any,
    memory_limit: int | None,
) -> Prepared:
    """What :func:`plan` finds out, with the network rewritten for it."""
    if memory_limit is not None and not isinstance(memory_limit, int | np.integer):
        raise TypeError(f"memory_limit must be a whole number of bytes, got {memory_limit!r}")
    symmetric = shape2 is None
    shape2 = shape1 if symmetric else shape2
    layouts = input_layouts(shape1, shape2, input_axes(net))
    if isinstance(layout_after(net, layouts, "net"), tuple):
        raise ValueError("net ends in several branches; join them, e.g. with FanInSum")
    counts = (number_of_points(shape1, layouts), number_of_points(shape2, layouts))
    settled, need = settle(net, Need.FULL)
    layouts = _kept(layouts, need)
    own = greatest(need) == Need.OWN and any(layout.spatial for layout in _leaves(layouts))

    item = np.dtype(dtype).itemsize
    walk = _layer_plans(settled, layouts, "net", ntk)
    end = layout_after(settled, layouts, "net")
    kept = max([_pairs(layout) for layout in _leaves(layouts)] + [one.positions for one in walk])
    job = _Job(counts, symmetric, ntk, item, _features(layouts), kept, end.positions**2, own)
    tile, peak = _choose(job, memory_limit)
    tiles = [math.ceil(n / t) for n, t in zip(counts, tile, strict=True)]
    count = tiles[0] * (tiles[0] + 1) // 2 if symmetric else tiles[0] * tiles[1]
    pairs = count * tile[0] * tile[1]
    layers = tuple(one._replace(flops=one.flops * pairs) for one in walk)
    first = sum(3 * layout.width * _pairs(layout) for layout in _leaves(layouts)) * pairs
    cost = Plan(peak, first + sum(layer.flops for layer in layers), tile, layers)
    return Prepared(settled, layouts, own, counts, cost)


class _Job(NamedTuple):
    """What decides the memory: see :func:`_bytes`."""

    counts: tuple[int, int]
    symmetric: bool
    ntk: bool
    item: int
    features: int
    kept: int
    out: int
    own: bool


def _choose(job: _Job, limit: int | None) -> tuple[tuple[int, int], int]:
    """The largest tile within the limit, and the memory it takes."""
    first = max(1, math.isqrt(TILE * TILE // job.kept))
    smallest = min(first, max(1, math.isqrt(SMALLEST_TILE**2 // job.kept)))
    sizes = [first]
    while limit is not None and sizes[-1] > smallest:
        sizes.append(max(sizes[-1] // 2, smallest))
    for size in sizes:
        tile = (even_tile(job.counts[0], size), even_tile(job.counts[1], size))
        peak = _bytes(job, tile)
        if limit is None or peak <= limit:
            return tile, peak
    raise ValueError(
        f"memory_limit: {limit} bytes are too few for a {job.counts[0]} x {job.counts[1]} kernel; "
        f"the smallest tile, {tile[0]} x {tile[1]}, needs {peak} bytes"
    )


def even_tile(n: int, size: int) -> int:
    """Tile length of at most ``size`` that divides ``n`` as evenly as whole numbers allow."""
    return math.ceil(n / math.ceil(n / size))


def _bytes(job: _Job, tile: tuple[int, ...]) -> int:
    n1, n2 = job.counts
    wide = wide_dtype(np.float64 if job.item == 8 else np.float32).itemsize
    # A product of matrices in a wider type than the kernel's is one more, wider, temporary.
    arrays = (TILE_ARRAYS if job.ntk else TILE_ARRAYS // 2) * job.item + 2 * wide
    inputs = (n1 + (0 if job.symmetric else n2)) * job.features * job.item
    rows = (tile[0] + tile[1]) * job.features * wide
    outputs = n1 * n2 * job.out * job.item * (2 if job.ntk else 1)
    return outputs + inputs + rows + tile[0] * tile[1] * job.kept * arrays


def _kept(layouts: Signal, need: Any) -> Signal:
    """The layouts of the inputs with what must be kept of their positions."""
    if isinstance(layouts, tuple):
        needs = need if isinstance(need, tuple) else (need,) * len(layouts)
        return tuple(_kept(one, n) for one, n in zip(layouts, needs, strict=True))
    full = greatest(need) > Need.DIAGONAL or not layouts.spatial
    return layouts.__class__(**{**vars(layouts), "full": full})


def _leaves(layouts: Signal) -> list[Layout]:
    return jax.tree.leaves(layouts, is_leaf=lambda x: isinstance(x, Layout))


def _features(layouts: Signal) -> int:
    return sum(layout.width * layout.positions for layout in _leaves(layouts))


def _pairs(layout: Layout) -> int:
    """Numbers that are held for a pair of inputs."""
    return layout.positions**2 if layout.full else layout.positions


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


def _layer_plans(layer: Layer, layout: Signal, path: str, ntk: bool) -> list[LayerPlan]:
    """A plan for every layer, with its operations for one pair of inputs."""
    plans: list[LayerPlan] = []
    if isinstance(layer, Serial | Parallel):
        for i, inner in enumerate(layer.layers):
            branch = layout[i] if isinstance(layer, Parallel) else layout
            plans += _layer_plans(inner, branch, layer_path(path, i, inner), ntk)
            if isinstance(layer, Serial):
                layout = layout_after(inner, layout, path)
        return plans
    if isinstance(layer, Repeat):
        once = _layer_plans(layer.layer, layout, f"{path} layer", ntk)
        return [one._replace(flops=one.flops * layer.times) for one in once]
    after = layout_after(layer, layout, path)
    width = after[0].width if isinstance(after, tuple) else after.width
    held = max(_pairs(one) for one in (*_leaves(layout), *_leaves(after)))
    per_number = next((f for kind, f in _FLOPS.items() if isinstance(layer, kind)), 2)
    if isinstance(layer, Conv):
        per_number = 8 + 6 * math.prod(layer.filter_shape)
    return [LayerPlan(path, width, held, held * per_number // (1 if ntk else 2))]
