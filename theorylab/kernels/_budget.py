"""Tiles: as large as pays, small enough for a memory limit.

The memory of a program is that of its inputs and outputs, which is known, and that of its
temporaries, predicted by ``_costs``. A limit leaves half of the latter to spare.
"""

import math
from typing import NamedTuple

from theorylab.kernels._costs import TILED_ARRAYS, Sizes

TILE = 500  # rows and columns of a tile: its arrays, 1 MB in float32, stay in a core's cache
SMALLEST_TILE = 16
UNEVEN = 1.1  # tiles that do not divide the kernel have it copied out of a larger one
SAFETY = 1.5  # what a limit allows for temporaries beyond their prediction


class Job(NamedTuple):
    """What decides the memory: see :func:`_bytes`.

    Attributes
    ----------
    counts, symmetric, ntk
        Numbers of points, and whether they are one set; whether the NTK is wanted.
    sizes
        Bytes of numbers.
    features
        Numbers in an input.
    record
        Bytes for each input of all records.
    pair
        Bytes for each pair of inputs in a tile.
    kept, out
        Numbers that are held for each pair of inputs, at most and at the end.
    """

    counts: tuple[int, int]
    symmetric: bool
    ntk: bool
    sizes: Sizes
    features: int
    record: int
    pair: float
    kept: int
    out: int


def choose(job: Job, limit: int | None) -> tuple[tuple[int, int], int]:
    """The largest tile within the limit, and the memory it takes.

    The smallest tile is not always the one that takes least: where one tile holds all, nothing is
    copied.
    """
    first = max(1, math.isqrt(TILE * TILE // job.kept))
    smallest = min(first, max(1, math.isqrt(SMALLEST_TILE**2 // job.kept)))
    sizes = [first]
    while limit is not None and sizes[-1] > smallest:
        sizes.append(max(sizes[-1] // 2, smallest))
    least: tuple[int, tuple[int, int]] | None = None
    for size in sizes:
        tile = _tile(job.counts, size, job.symmetric)
        given, temporary = _bytes(job, tile)
        needed = given + math.ceil(SAFETY * temporary)
        if limit is None or needed <= limit:
            return tile, given + temporary
        least = min(least or (needed, tile), (needed, tile))
    assert least is not None
    needed, tile = least
    raise ValueError(
        f"memory_limit: {limit} bytes are too few for a {job.counts[0]} x {job.counts[1]} kernel; "
        f"{needed} would do, in tiles of {tile[0]} x {tile[1]}"
    )


def even_tile(n: int, size: int) -> int:
    """Tile length of at most ``size`` that divides ``n`` as evenly as whole numbers allow."""
    return math.ceil(n / math.ceil(n / size))


def _tile(counts: tuple[int, int], size: int, symmetric: bool) -> tuple[int, int]:
    """Tiles of at most ``size``; of a symmetric kernel, those whose triangle holds fewest pairs."""
    if not symmetric:
        return even_tile(counts[0], size), even_tile(counts[1], size)

    def cost(length: int) -> float:
        tiles = math.ceil(counts[0] / length)
        pairs = tiles * (tiles + 1) // 2 * length**2
        return pairs if counts[0] % length == 0 else UNEVEN * pairs

    if size >= counts[0]:
        return counts
    best = min(range(size, max(0, size // 2 - 1), -1), key=cost)
    return best, best


def _bytes(job: Job, tile: tuple[int, ...]) -> tuple[int, int]:
    """Bytes of inputs and outputs, and of temporaries."""
    sizes = job.sizes
    kernels = 2 if job.ntk else 1
    counts = job.counts[:1] if job.symmetric else job.counts
    lengths = tile[:1] if job.symmetric else tile
    padded = sum(math.ceil(n / t) * t for n, t in zip(counts, lengths, strict=True))
    several = any(t < n for n, t in zip(job.counts, tile, strict=True))
    outputs = math.prod(job.counts) * job.out * sizes.kernel * kernels
    inputs = sum(counts) * job.features * sizes.kernel
    rows = padded * (job.record + job.features * sizes.kernel)
    pairs = job.pair * (0.5 + 0.25 * kernels)
    if any(n % t for n, t in zip(job.counts, tile, strict=True)):
        edges = (math.ceil(n / t) * t for n, t in zip(job.counts, tile, strict=True))
        rows += math.prod(edges) * job.out * sizes.kernel * kernels
    if several:
        pairs += TILED_ARRAYS * job.out * sizes.kernel * kernels
        if job.symmetric:
            rows += sum(tile) * job.record
    tiles = sum(tile) * job.features * sizes.wide + math.prod(tile) * pairs
    before = padded * job.features * sizes.wide  # gone before the first tile
    return outputs + inputs, rows + math.ceil(max(tiles, before))
