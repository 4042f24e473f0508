r"""Which pairs of output axes a kernel keeps, and the one contraction that follows from it.

For outputs :math:`(n, o_1, ..., o_r)` the full kernel has the axes :math:`(n_1, n_2, o_1, o_1',
..., o_r, o_r')`. A traced pair is replaced by the mean of its diagonal and disappears; a diagonal
pair keeps its diagonal.

Differs from the paper / reference:
  1. Names, order of axes and the division by the traced sizes are Neural Tangents' (its
     ``empirical`` functions), since every user knows them; the batch axis is always axis 0 here.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from theorylab._numerics import HIGHEST
from theorylab._tree import leaves_with_names

ROW, COLUMN, _PARAMETER = 0, 1, 2


class Axes(NamedTuple):
    """For one output: sizes of its axes beside the batch, and what becomes of each pair."""

    sizes: tuple[int, ...]
    traced: tuple[bool, ...]
    diagonal: tuple[bool, ...]

    @property
    def outputs(self) -> int:
        """Outputs of one example."""
        return math.prod(self.sizes)

    @property
    def kept(self) -> int:
        """Entries of the kernel for one pair of examples."""
        sizes = zip(self.sizes, self.traced, self.diagonal, strict=True)
        return math.prod(1 if t else (s if d else s * s) for s, t, d in sizes)

    @property
    def traced_size(self) -> int:
        """Product of the traced sizes."""
        return math.prod(s for s, t in zip(self.sizes, self.traced, strict=True) if t)

    @property
    def labels(self) -> tuple[list[int], list[int], list[int]]:
        """Einsum labels: of the outputs of a row, of a column, and of the kernel."""
        rows, columns, kernel = [], [], []
        for axis, (traced, diagonal) in enumerate(zip(self.traced, self.diagonal, strict=True)):
            row = 3 + 2 * axis
            column = row if traced or diagonal else row + 1
            rows.append(row)
            columns.append(column)
            if diagonal:
                kernel.append(row)
            elif not traced:
                kernel += [row, column]
        return rows, columns, kernel


def resolve(shapes: Any, trace_axes: tuple[int, ...], diagonal_axes: tuple[int, ...]) -> list[Axes]:
    """Resolve the axes of each output of ``f``, from the shapes for a batch of one."""
    resolved = []
    for name, leaf in leaves_with_names("f(params, x)", shapes):
        traced, diagonal = _kinds(name, leaf.ndim, trace_axes, diagonal_axes)
        resolved.append(Axes(leaf.shape[1:], traced, diagonal))
    return resolved


def _kinds(
    name: str, ndim: int, trace_axes: tuple[int, ...], diagonal_axes: tuple[int, ...]
) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """For each axis after the batch: traced? diagonal? Negative axes count from the end."""
    if ndim == 1 and trace_axes == (-1,):
        trace_axes = ()  # one number per example: nothing to trace
    seen: dict[int, str] = {}
    for argument, axes in (("trace_axes", trace_axes), ("diagonal_axes", diagonal_axes)):
        for axis in axes:
            place = axis + ndim if axis < 0 else axis
            if not 0 <= place < ndim:
                raise ValueError(
                    f"{argument}: axis {axis} does not exist in {name}, which has {ndim} axes"
                )
            if place == 0:
                raise ValueError(
                    f"{argument}: axis {axis} is the batch axis of {name} (of {ndim} axes in all), "
                    "which every kernel keeps"
                )
            if place in seen:
                raise ValueError(
                    f"{argument}: axis {axis} of {name} was already given in {seen[place]}"
                )
            seen[place] = argument
    kinds = [seen.get(axis) for axis in range(1, ndim)]
    return tuple(k == "trace_axes" for k in kinds), tuple(k == "diagonal_axes" for k in kinds)


def as_axes(argument: str, axes: object) -> tuple[int, ...]:
    """Check a tuple of whole numbers; one number is a tuple of one."""
    if isinstance(axes, int | np.integer) and not isinstance(axes, bool):
        return (int(axes),)
    if isinstance(axes, tuple | list) and all(
        isinstance(a, int | np.integer) and not isinstance(a, bool) for a in axes
    ):
        return tuple(int(a) for a in axes)
    raise TypeError(f"{argument} must be a tuple of whole numbers, got {axes!r}")


def widest(arrays: Iterable[Any]) -> Any:
    """The widest dtype of some floating arrays, float32 at least: what a kernel of them has."""
    return max([np.dtype(np.float32), *(a.dtype for a in arrays)], key=lambda d: d.itemsize)


def contract_jacobians(rows: jax.Array, columns: jax.Array, axes: Axes) -> jax.Array:
    """Sum over parameters of the product of two Jacobians (n, *o, P), not yet divided."""
    row, column, kernel = axes.labels
    return jnp.einsum(
        rows,
        [ROW, *row, _PARAMETER],
        columns,
        [COLUMN, *column, _PARAMETER],
        [ROW, COLUMN, *kernel],
        precision=HIGHEST,
    )


def contract_outputs(rows: jax.Array, columns: jax.Array, axes: Axes) -> jax.Array:
    """Product of two batches of outputs (n, *o), divided by the traced sizes."""
    row, column, kernel = axes.labels
    product = jnp.einsum(
        rows,
        [ROW, *row],
        columns,
        [COLUMN, *column],
        [ROW, COLUMN, *kernel],
        precision=HIGHEST,
    )
    return product / axes.traced_size


def reduce_full(full: jax.Array, axes: Axes) -> jax.Array:
    """From (n2, *o', n1, *o), all pairs, to the kept axes, not yet divided."""
    row, column, kernel = axes.labels
    return jnp.einsum(full, [COLUMN, *column, ROW, *row], [ROW, COLUMN, *kernel], precision=HIGHEST)


def transposed(block: jax.Array, axes: Axes) -> jax.Array:
    """Exchange rows and columns of a block, and the two axes of each kept pair."""
    order, place = [1, 0], 2
    for traced, diagonal in zip(axes.traced, axes.diagonal, strict=True):
        if diagonal:
            order.append(place)
            place += 1
        elif not traced:
            order += [place + 1, place]
            place += 2
    return block.transpose(order)
