"""Shapes of inputs: checked, and read as layouts, before anything is traced."""

from typing import Any

import jax
import numpy as np

from theorylab._tree import leaves_with_names
from theorylab.kernels._state import Layout

AXES = (0, -1)  # batch and channel axis of an input of which no layer says where they are


class Branches(tuple):
    """A tuple with an entry for each of several inputs, not a pair of axes."""


def input_layouts(shape1: Any, shape2: Any, axes: Any = None) -> Any:
    """The layout of the inputs of shapes ``shape1`` and ``shape2``; raises unless they fit.

    Parameters
    ----------
    shape1, shape2
        A shape, or nested tuples of shapes for a network with several inputs.
    axes
        Batch and channel axis as the first layer expects them: a pair, of which either may be None,
        None, or :class:`Branches` of such.

    Returns
    -------
    Layout
        Or a tuple of them, nested as the shapes are.
    """
    named = [_named_shapes(name, shape) for name, shape in (("x1", shape1), ("x2", shape2))]
    if [name[2:] for name, _ in named[0]] != [name[2:] for name, _ in named[1]]:
        raise ValueError(
            f"x1 and x2 must have the same structure, got shapes {shape1} and {shape2}"
        )
    layouts = _layouts("x1", shape1, axes)
    for ((_, first), layout), (_, second) in zip(
        _matched(named[0], layouts), named[1], strict=True
    ):
        if _features(first, layout) != _features(second, layout):
            raise ValueError(
                "x1 and x2 must have the same features, "
                f"got shapes {_unpacked(shape1)} and {_unpacked(shape2)}"
            )
    for name, shapes, structure in (("x1", named[0], shape1), ("x2", named[1], shape2)):
        counts = {shape[layout.axes[0]] for (_, shape), layout in _matched(shapes, layouts)}
        if len(counts) > 1:
            raise ValueError(f"{name}: inputs must have one number of points, got {structure}")
    return layouts


def is_shape(x: Any) -> bool:
    """Whether ``x`` is one shape rather than a tuple of them."""
    return isinstance(x, tuple) and all(isinstance(n, int | np.integer) for n in x)


def number_of_points(shape: Any, layout: Any) -> int:
    """Length of the batch axis."""
    while not is_shape(shape):
        shape, layout = shape[0], layout[0]
    return int(shape[layout.axes[0]])


class _Shape:
    """A shape as an opaque leaf: tuples of integers would be pytrees."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = tuple(int(n) for n in shape)


def _named_shapes(name: str, shape: Any) -> list[tuple[str, tuple[int, ...]]]:
    if not isinstance(shape, tuple):
        raise ValueError(
            f"{name} must have a tuple (n, d) or (n, *S, d) for its shape, got {shape!r}"
        )
    odd = [x for x in jax.tree.leaves(shape, is_leaf=is_shape) if not is_shape(x)]
    if odd:
        raise ValueError(
            f"{name} must be made of tuples of whole numbers, got {odd[0]!r} in {shape}"
        )
    named = leaves_with_names(name, jax.tree.map(_Shape, shape, is_leaf=is_shape))
    if not named:
        raise ValueError(f"{name}: no input given")
    for leaf_name, leaf in named:
        if not isinstance(leaf, _Shape) or len(leaf.shape) < 2:
            got = leaf.shape if isinstance(leaf, _Shape) else leaf
            raise ValueError(f"{leaf_name} must have shape (n, d) or (n, *S, d), got {got}")
        if min(leaf.shape) < 1:
            raise ValueError(f"{leaf_name} must not be empty, got shape {leaf.shape}")
    return [(leaf_name, leaf.shape) for leaf_name, leaf in named]


def _layouts(name: str, shape: Any, axes: Any) -> Any:
    if not is_shape(shape):
        each = axes if isinstance(axes, Branches) else (axes,) * len(shape)
        if len(each) != len(shape):
            raise ValueError(f"{name}: the network takes {len(each)} inputs, got {len(shape)}")
        return tuple(
            _layouts(f"{name}[{i}]", one, at)
            for i, (one, at) in enumerate(zip(shape, each, strict=True))
        )
    while isinstance(axes, Branches):  # one input where several are expected: the layers will say
        axes = axes[0] if axes else None
    batch, channel = axes or (None, None)
    rank = len(shape)
    for what, axis in (("batch", batch), ("channel", channel)):
        if axis is not None and not -rank <= axis < rank:
            raise ValueError(
                f"{name} must have a {what} axis {axis}, where the network's first layer that has "
                f"axes looks for it, got shape {tuple(shape)}"
            )
    batch = (AXES[0] if batch is None else batch) % rank
    if channel is None:
        channel = rank - 1 if batch != rank - 1 else 0
    channel = channel % rank
    if batch == channel:
        raise ValueError(
            f"{name}: batch and channel axis must differ, got axis {batch} for both in the shape "
            f"{tuple(shape)}"
        )
    spatial = tuple(int(n) for i, n in enumerate(shape) if i not in (batch, channel))
    return Layout(int(shape[channel]), False, spatial=spatial, axes=(batch, channel))


def _matched(named: list[tuple[str, tuple[int, ...]]], layouts: Any) -> Any:
    return zip(
        named, jax.tree.leaves(layouts, is_leaf=lambda x: isinstance(x, Layout)), strict=True
    )


def _features(shape: tuple[int, ...], layout: Layout) -> tuple[int, ...]:
    """Rank and all sizes but the number of points."""
    return (len(shape), *(n for i, n in enumerate(shape) if i != layout.axes[0]))


def _unpacked(shape: Any) -> Any:
    return shape[0] if not is_shape(shape) and len(shape) == 1 else shape
