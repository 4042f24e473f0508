"""Which axes of which leaves SOAP keeps factors for, settled from shapes before anything runs.

A leaf is read as a tensor of its own axes, or of merged ones. Each axis has a *side*: None where
the axis is left as it is, else a slot ``(stack, row)``: factors of the same size and dtype lie in
one array (N, d, d), so that one call refreshes all of them, and N is an axis to spread over
devices. Stacks are in the order in which their first factor comes: leaves in the tree's order, axes
from the first to the last.

Differs from the paper / reference:
  1. ``merge_dims`` merges as the reference does: sizes are multiplied from left to right; a product
     that would pass ``max_precond_dim`` ends the axis before it, and an axis that passes it alone
     stays alone, the next starting afresh.
  2. ``one_sided="auto"``: of a matrix that is not square only the shorter side has a factor. The
     reference has no such switch; ``max_precond_dim`` between the two sizes is the same.
  3. Factors of one size are stacked; the reference keeps a list for each tensor.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from theorylab._tree import leaves_with_names
from theorylab.optim import _arguments as check


@dataclass(frozen=True)
class Sides:
    """The options that decide which axes have factors."""

    max_precond_dim: int
    merge_dims: bool
    precondition_1d: bool
    one_sided: bool | str
    data_format: str


class Leaf(NamedTuple):
    """How one leaf is read: as ``merged``, after ``order`` where axes change places."""

    shape: tuple[int, ...]
    order: tuple[int, ...] | None
    merged: tuple[int, ...]
    sides: tuple[tuple[int, int] | None, ...]
    dtype: np.dtype

    def read(self, x: jax.Array) -> jax.Array:
        """The leaf with the axes that factors belong to."""
        return (x if self.order is None else x.transpose(self.order)).reshape(self.merged)

    def write(self, x: jax.Array) -> jax.Array:
        """The inverse of ``read``."""
        if self.order is None:
            return x.reshape(self.shape)
        moved = x.reshape([self.shape[axis] for axis in self.order])
        return moved.transpose(np.argsort(self.order))


class Stack(NamedTuple):
    """Factors of one size and dtype: an array (rows, size, size)."""

    size: int
    dtype: np.dtype
    rows: int


class Plan(NamedTuple):
    """Leaves in the tree's order, and the stacks that their sides point into."""

    leaves: tuple[Leaf, ...]
    stacks: tuple[Stack, ...]


def planned(tree: Any, sides: Sides, precond_dtype: Any = None) -> Plan:
    """The plan for a tree of arrays or ``ShapeDtypeStruct``.

    Raises TypeError, with its path, for a leaf that is not real and floating.
    """
    check.floating_leaves("params", tree)
    leaves: list[Leaf] = []
    keys: list[tuple[int, np.dtype]] = []
    rows: list[int] = []
    for name, leaf in leaves_with_names("params", tree):
        dtype = checked_dtype(name, leaf, precond_dtype)
        shape = tuple(leaf.shape)
        order, merged = _merged(shape, sides)
        slots: list[tuple[int, int] | None] = []
        for size, kept in zip(merged, _kept(shape, merged, sides), strict=True):
            if not kept:
                slots.append(None)
                continue
            if (size, dtype) not in keys:
                keys.append((size, dtype))
                rows.append(0)
            stack = keys.index((size, dtype))
            slots.append((stack, rows[stack]))
            rows[stack] += 1
        leaves.append(Leaf(shape, order, merged, tuple(slots), dtype))
    stacks = (Stack(*key, count) for key, count in zip(keys, rows, strict=True))
    return Plan(tuple(leaves), tuple(stacks))


def checked_dtype(name: str, leaf: Any, precond_dtype: Any = None) -> np.dtype:
    """The dtype that a leaf is preconditioned in: its own, but never below float32."""
    if not hasattr(leaf, "dtype") or not hasattr(leaf, "shape"):
        raise TypeError(f"{name} must be an array, got {type(leaf).__name__}")
    if precond_dtype is not None:
        return np.dtype(precond_dtype)
    double = jax.dtypes.canonicalize_dtype(leaf.dtype) == np.float64
    return np.dtype(np.float64 if double else np.float32)


def _merged(shape: tuple[int, ...], sides: Sides) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    if not sides.merge_dims:
        return None, shape
    order = None
    if sides.data_format == "channels_last" and len(shape) == 4:
        order = (0, 3, 1, 2)
        shape = tuple(shape[axis] for axis in order)
    sizes: list[int] = []
    running = 1
    for size in shape:
        if running * size <= sides.max_precond_dim:
            running *= size
        elif running > 1:
            sizes.append(running)
            running = size
        else:
            sizes.append(size)
            running = 1
    if running > 1 or not sizes:
        sizes.append(running)
    return order, tuple(sizes)


def _kept(shape: tuple[int, ...], merged: tuple[int, ...], sides: Sides) -> list[bool]:
    if 0 in shape or not shape:
        return [False] * len(merged)
    if len(shape) == 1 and not sides.precondition_1d:
        return [False] * len(merged)
    kept = [size <= sides.max_precond_dim for size in merged]
    if sides.one_sided == "auto" and len(merged) == 2 and merged[0] != merged[1]:
        longer = int(merged[1] > merged[0])
        kept[longer] = False
    return kept
