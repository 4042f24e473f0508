"""Blocks of rows by columns, so that memory is that of two tiles and of the result.

Differs from the paper / reference:
  1. No paper. Sizes need not divide: the last tile is filled with copies of the last example,
     which, unlike zeros, are inputs that the network can meet, and their entries are cut off.
  2. In the symmetric case each tile of rows meets itself and the next half of the tiles, in a
     circle; the rest is mirrored, and the result is symmetric to the bit. Going round, unlike going
     up to the diagonal, gives every row the same number of tiles, as a compiled loop needs. Two
     tiles, which are held together anyway, need no loop and are prepared once.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from theorylab.empirical._axes import Axes, transposed
from theorylab.empirical._methods import Method

Tree = Any


def rectangle(method: Method, x1: Tree, x2: Tree, size: int) -> list[jax.Array]:
    """All blocks of rows ``x1`` by columns ``x2``; a list of (n1, n2, ...)."""
    (tiles1, n1), (tiles2, n2) = _cut(x1, size), _cut(x2, size)
    count1, count2 = _count(tiles1), _count(tiles2)
    if count1 == count2 == 1:
        return method.combine(method.prepare(x1), method.prepare(x2))
    if count2 == 1:
        columns = method.prepare(_tile(tiles2, 0))
        blocks = jax.lax.map(
            lambda x: [b[None] for b in method.combine(method.prepare(x), columns)], tiles1
        )
    else:

        def row(x: Tree) -> list[jax.Array]:
            rows = method.prepare(x)
            return jax.lax.map(lambda c: method.combine(rows, method.prepare(c)), tiles2)

        blocks = jax.lax.map(row, tiles1)
    return [_assemble(b, n1, n2) for b in blocks]


def square(method: Method, x: Tree, axes: list[Axes], size: int) -> list[jax.Array]:
    """All blocks of ``x`` by itself; a list of (n, n, ...), symmetric."""
    tiles, n = _cut(x, size)
    count = _count(tiles)

    def own(rows: Any) -> list[jax.Array]:
        blocks = method.combine(rows, rows)
        return [(b + transposed(b, out)) / 2 for b, out in zip(blocks, axes, strict=True)]

    if count == 1:
        return own(method.prepare(x))
    if count == 2 and not method.direct:
        first, second = (method.prepare(_tile(tiles, i)) for i in range(2))
        across = method.combine(first, second)
        back = [transposed(b, out) for b, out in zip(across, axes, strict=True)]
        blocks = [
            jnp.stack([jnp.stack([a, b]), jnp.stack([c, d])])
            for a, b, c, d in zip(own(first), across, back, own(second), strict=True)
        ]
        return [_assemble(b, n, n) for b in blocks]

    def put(held: list[jax.Array], i: Any, j: Any, blocks: list[jax.Array]) -> list[jax.Array]:
        return [
            all_blocks.at[j, i].set(transposed(one, out)).at[i, j].set(one)
            for all_blocks, one, out in zip(held, blocks, axes, strict=True)
        ]

    def row(held: list[jax.Array], i: jax.Array) -> tuple[list[jax.Array], None]:
        rows = method.prepare(_tile(tiles, i))

        def step(held: list[jax.Array], ahead: jax.Array) -> tuple[list[jax.Array], None]:
            j = (i + ahead) % count
            columns = method.prepare(_tile(tiles, j))
            return put(held, i, j, method.combine(rows, columns)), None

        if method.direct:  # its own columns cost nothing to prepare, and one program is compiled
            return jax.lax.scan(step, held, jnp.arange(count // 2 + 1))
        return jax.lax.scan(step, put(held, i, i, own(rows)), jnp.arange(1, count // 2 + 1))

    shapes = jax.eval_shape(lambda t: method.combine(*[method.prepare(t)] * 2), _tile(tiles, 0))
    start = [jnp.zeros((count, count, *s.shape), s.dtype) for s in shapes]
    blocks, _ = jax.lax.scan(row, start, jnp.arange(count))
    if method.direct:
        i = jnp.arange(count)
        blocks = [
            b.at[i, i].set(jax.vmap(lambda d, out=out: (d + transposed(d, out)) / 2)(b[i, i]))
            for b, out in zip(blocks, axes, strict=True)
        ]
    return [_assemble(b, n, n) for b in blocks]


def _cut(x: Tree, size: int) -> tuple[Tree, int]:
    """Cut into tiles (count, length, ...), length at most ``size``; also the number of rows."""
    n = jax.tree.leaves(x)[0].shape[0]
    count = -(-n // size)
    length = -(-n // count)
    rows = np.minimum(np.arange(count * length), n - 1).reshape(count, length)
    return jax.tree.map(lambda a: jnp.asarray(a)[rows], x), n


def _count(tiles: Tree) -> int:
    return jax.tree.leaves(tiles)[0].shape[0]


def _tile(tiles: Tree, i: Any) -> Tree:
    return jax.tree.map(lambda a: a[i], tiles)


def _assemble(blocks: jax.Array, n1: int, n2: int) -> jax.Array:
    """From (count1, count2, length1, length2, ...) to (n1, n2, ...)."""
    count1, count2, length1, length2, *rest = blocks.shape
    joined = blocks.swapaxes(1, 2).reshape(count1 * length1, count2 * length2, *rest)
    return joined[:n1, :n2]
