"""The planning pass: what a kernel will cost, and whether it exists, before anything is allocated.

The network is walked twice: upwards for shapes and for what cannot stand where it does, downwards
for what each layer must keep of the positions (``_needs``). The costs (``_costs``) count what
dominates: the output, the inputs, what the layers hold of each input, the temporaries of one tile.
"""

import math
from typing import Any, NamedTuple

import jax
import numpy as np

from theorylab._numerics import floating, wide_dtype
from theorylab.kernels._budget import Job, choose
from theorylab.kernels._costs import (
    DENSE_ARRAYS,
    Sizes,
    input_bytes,
    layer_flops,
    pair_bytes,
    pairs_of_positions,
    record_bytes,
)
from theorylab.kernels._needs import Need, greatest, input_axes, settle, wide_pairs
from theorylab.kernels._propagate import Signal, layer_path, layout_after
from theorylab.kernels._shapes import input_layouts, number_of_points
from theorylab.kernels._state import Layout
from theorylab.layers import Layer, Parallel, Repeat, Serial


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
    wide
        Whether pairs are formed in the wide dtype.
    counts
        Numbers of points.
    plan
        Its cost.
    """

    net: Layer
    layouts: Signal
    own: bool
    wide: bool
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
        Of the inputs; what JAX makes of it is what counts: float64 only where 64-bit types are on.
    memory_limit
        In bytes. Tiles are shrunk until it leaves half of the temporaries to spare.

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
    >>> tk.plan(net, (500, 784)).tile
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
    if memory_limit is not None:
        if isinstance(memory_limit, bool) or not isinstance(memory_limit, int | np.integer):
            raise TypeError(f"memory_limit must be a whole number of bytes, got {memory_limit!r}")
        if memory_limit < 1:
            raise ValueError(f"memory_limit must be positive, got {memory_limit}")
    dtype = floating("dtype", np.empty(0, dtype)).dtype
    symmetric = shape2 is None
    shape2 = shape1 if symmetric else shape2
    layouts = input_layouts(shape1, shape2, input_axes(net))
    if isinstance(layout_after(net, layouts, "net"), tuple):
        raise ValueError("net ends in several branches; join them, e.g. with FanInSum")
    counts = (number_of_points(shape1, layouts), number_of_points(shape2, layouts))
    settled, need = settle(net, Need.FULL)
    layouts = _kept(layouts, need)
    own = greatest(need) == Need.OWN and any(layout.spatial for layout in _leaves(layouts))

    wide = wide_pairs(settled)
    sizes = _sizes(dtype, wide)
    walk = _walk(settled, layouts, "net", ntk, sizes)
    end = layout_after(settled, layouts, "net")
    first = [pairs_of_positions(layout) for layout in _leaves(layouts)]
    images = [layout for layout in _leaves(layouts) if layout.spatial]
    gaps = [input_bytes(layout, sizes) for layout in images]
    job = Job(
        counts=counts,
        symmetric=symmetric,
        ntk=ntk,
        sizes=sizes,
        features=sum(layout.width * layout.positions for layout in _leaves(layouts)),
        record=sum(one.record for one in walk),
        pair=max([DENSE_ARRAYS * sizes.pairs * max(first), *gaps, *(one.pair for one in walk)]),
        kept=max(first + [one.plan.positions for one in walk]),
        out=end.positions**2,
    )
    tile, peak = choose(job, memory_limit)
    tiles = [math.ceil(n / t) for n, t in zip(counts, tile, strict=True)]
    count = tiles[0] * (tiles[0] + 1) // 2 if symmetric else tiles[0] * tiles[1]
    pairs = count * tile[0] * tile[1]
    layers = tuple(one.plan._replace(flops=one.plan.flops * pairs) for one in walk)
    inputs = sum(3 * layout.width * n for layout, n in zip(_leaves(layouts), first, strict=True))
    cost = Plan(peak, inputs * pairs + sum(layer.flops for layer in layers), tile, layers)
    return Prepared(settled, layouts, own, wide, counts, cost)


def _kept(layouts: Signal, need: Any) -> Signal:
    """The layouts of the inputs with what must be kept of their positions."""
    if isinstance(layouts, tuple):
        needs = need if isinstance(need, tuple) else (need,) * len(layouts)
        return tuple(_kept(one, n) for one, n in zip(layouts, needs, strict=True))
    full = greatest(need) > Need.DIAGONAL or not layouts.spatial
    return layouts.__class__(**{**vars(layouts), "full": full})


def _leaves(layouts: Signal) -> list[Layout]:
    return jax.tree.leaves(layouts, is_leaf=lambda x: isinstance(x, Layout))


def _sizes(dtype: Any, wide: bool) -> Sizes:
    kernel = np.dtype(dtype).itemsize
    widest = wide_dtype(np.float64 if kernel == 8 else np.float32).itemsize
    return Sizes(kernel, widest if wide else kernel, widest)


class _Walked(NamedTuple):
    """A layer with the plan of its share, and with the bytes that ``_costs`` predicts for it."""

    plan: LayerPlan
    record: int
    pair: float


def _walk(layer: Layer, layout: Signal, path: str, ntk: bool, sizes: Sizes) -> list[_Walked]:
    """Every layer, with its operations for one pair of inputs."""
    if isinstance(layer, Serial | Parallel):
        walked: list[_Walked] = []
        for i, inner in enumerate(layer.layers):
            branch = layout[i] if isinstance(layer, Parallel) else layout
            walked += _walk(inner, branch, layer_path(path, i, inner), ntk, sizes)
            if isinstance(layer, Serial):
                layout = layout_after(inner, layout, path)
        return walked
    if isinstance(layer, Repeat):
        once = _walk(layer.layer, layout, f"{path} layer", ntk, sizes)
        times = layer.times
        return [
            one._replace(
                plan=one.plan._replace(flops=one.plan.flops * times), record=one.record * times
            )
            for one in once
        ]
    before, behind = _leaves(layout), _leaves(layout_after(layer, layout, path))
    after = behind[0]
    held = max(map(pairs_of_positions, [*before, *behind]))
    return [
        _Walked(
            LayerPlan(path, after.width, held, layer_flops(layer, held, ntk)),
            record_bytes(layer, before, after, sizes),
            pair_bytes(layer, before, after, sizes),
        )
    ]
