"""Pairs, tile by tile, in one compiled loop."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from theorylab.kernels._input import paired_state
from theorylab.kernels._propagate import rule
from theorylab.kernels._sides import Side, is_points, per_input
from theorylab.kernels._units import natural_kernel
from theorylab.layers import Layer

Pairs = tuple[Array, Array | None]


class Job(NamedTuple):
    """What all tiles share."""

    net: Layer
    rows: Side
    columns: Side
    units: tuple[Array, Array]
    dtype: Any
    ntk: bool
    symmetric: bool


def tile_of(job: Job, rows: Side, columns: Side, same: bool | Array) -> Pairs:
    """NNGP and NTK of a tile; where ``same``, its points are the same in rows and columns."""
    state = jax.tree.map(
        lambda p1, p2: paired_state(p1, p2, ntk=job.ntk, same=same),
        rows.points,
        columns.points,
        is_leaf=is_points,
    )
    final = rule(job.net, state, rows.record, columns.record)
    pair = jax.tree.map(lambda k: k.astype(job.dtype), natural_kernel(final, job.units))
    shape = pair[0].shape
    if same is False or shape[0] != shape[1]:
        return pair
    if same is True:
        # A condition that the compiler cannot decide: see _mirrored.
        same = jnp.logical_not(jnp.isnan(pair[0].reshape(-1)[0]))
    index = jnp.arange(shape[0] * math.prod(job.rows.final.layout.spatial))
    return lax.cond(same, _mirrored, lambda k, _: k, pair, index)


def tiled(job: Job, shape: tuple[int, int], tile: tuple[int, int]) -> Pairs:
    """All tiles in one loop; of a symmetric kernel the upper ones, each written twice."""
    counts = tuple(-(-n // size) for n, size in zip(shape, tile, strict=True))
    padded = tuple(count * size for count, size in zip(counts, tile, strict=True))
    rows, columns = (
        per_input(partial(_extended, more=p - n), side)
        for side, n, p in zip((job.rows, job.columns), shape, padded, strict=True)
    )
    pairs = [
        (i, j) for i in range(counts[0]) for j in range(counts[1]) if i <= j or not job.symmetric
    ]

    def part(side: Side, start: Array, size: int) -> Side:
        return per_input(lambda a, axis: _sliced(a, start, size, axis, job.dtype), side)

    def body(out: Any, pair: Array) -> tuple[Any, None]:
        i, j = pair[0] * tile[0], pair[1] * tile[1]
        ours, theirs = part(rows, i, tile[0]), part(columns, j, tile[1])
        result = tile_of(job, ours, theirs, same=(i == j) if job.symmetric else False)
        out = _written(out, result, (i, j))
        if job.symmetric:
            out = _written(out, jax.tree.map(_transposed, result), (j, i))
        return out, None

    layout = job.rows.final.layout
    positions = (layout.positions,) * 2 if layout.spatial else ()
    empty = jnp.zeros((*padded, *positions), job.dtype)
    start = (empty, empty if job.ntk else None)
    pair, _ = lax.scan(body, start, jnp.asarray(pairs, jnp.int32))
    return jax.tree.map(lambda k: k[: shape[0], : shape[1]], pair)


def _mirrored(pair: Pairs, index: Array) -> Pairs:
    """The upper triangle, mirrored; points and positions count together.

    Rounding differs between (i, j) and (j, i): in products of matrices, and in elementwise code
    wherever the compiler contracts a multiplication and an addition. Called under a condition, so
    that it works on finished entries; fused with what makes them, they would be made twice, and
    perhaps differently. The index is an argument because the compiler would evaluate a constant
    mask entry by entry, which takes half a minute.
    """
    if pair[0].ndim == 2:
        below = index[:, None] > index[None, :]
    else:
        index = index.reshape(pair[0].shape[0], -1)
        below = index[:, None, :, None] > index[None, :, None, :]
    return jax.tree.map(lambda k: jnp.where(below, _transposed(k), k), pair)


def _transposed(k: Array) -> Array:
    """(n2, n1, P', P) from (n1, n2, P, P')."""
    return k.T if k.ndim == 2 else jnp.transpose(k, (1, 0, 3, 2))


def _extended(a: Array, axis: int, more: int) -> Array:
    """The last input repeated, to fill the last tile."""
    amounts = [(0, 0)] * a.ndim
    amounts[axis] = (0, more)
    return jnp.pad(a, amounts, mode="edge") if more else a


def _sliced(a: Array, start: Array, size: int, axis: int, narrow: Any) -> Array:
    """A slice, of a wide array made of those of its leading and trailing narrow parts.

    That of a float64 array cannot be transposed where the caller has 64-bit types off. A float32
    kernel needs no more than the 48 bits that both parts hold.
    """
    if a.dtype in (narrow, jnp.int32):
        return lax.dynamic_slice_in_dim(a, start, size, axis)
    head = a.astype(narrow)
    tail = (a - head.astype(a.dtype)).astype(narrow)
    parts = (lax.dynamic_slice_in_dim(v, start, size, axis).astype(a.dtype) for v in (head, tail))
    return sum(parts, start=jnp.zeros((), a.dtype))


def _written(out: Any, result: Any, at: tuple[Array, Array]) -> Any:
    zero = jnp.zeros_like(at[0])
    return jax.tree.map(
        lambda a, k: lax.dynamic_update_slice(a, k, (*at, *(zero,) * (a.ndim - 2))), out, result
    )
