"""Windows that slide over positions: what convolutions and pooling share.

Row quantities are read out window by window, (F, n, *out) for ``F`` offsets, with zeros outside the
image. Pairs are summed over windows one spatial axis at a time. A convolution moves both positions
of a pair together, since all channels share one filter; pooling moves each alone.

All is made of slices, concatenations and sums of windows: in float64, gathers and paddings cannot
be transposed where the caller has 64-bit types off.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from theorylab.layers._axes import padding_amounts


class Window(NamedTuple):
    """A window along one spatial axis.

    Attributes
    ----------
    size, stride
        Length and step.
    low, high
        Positions added before and behind; those used alone, so that ``high`` may be negative.
    out
        Number of steps.
    wrap
        Whether what is added comes from the other end; zeros if not.
    """

    size: int
    stride: int
    low: int
    high: int
    out: int
    wrap: bool


def windows(
    spatial: tuple[int, ...], sizes: tuple[int, ...], strides: tuple[int, ...], padding: str
) -> tuple[Window, ...]:
    """The windows along all spatial axes, in the order of the axes."""
    result = []
    for n, size, stride in zip(spatial, sizes, strides, strict=True):
        low, _, out = padding_amounts(n, size, stride, padding)
        high = (out - 1) * stride + size - n - low
        result.append(Window(size, stride, low, high, out, padding == "CIRCULAR"))
    return tuple(result)


def count(where: tuple[Window, ...]) -> int:
    """Number of offsets in a window."""
    return math.prod(w.size for w in where)


def padded(a: Array, axis: int, w: Window) -> Array:
    """``a`` with a window's margins along one axis; margins that no window reaches are cut."""
    n = a.shape[axis]
    if w.wrap:
        first, last = (math.ceil(max(0, size) / n) for size in (w.low, w.high))
        start = first * n - w.low
        copies = jnp.concatenate([a] * (first + 1 + last), axis)
        return lax.slice_in_dim(copies, start, start + w.low + n + w.high, axis=axis)
    kept = lax.slice_in_dim(a, max(0, -w.low), n + min(0, w.high), axis=axis)
    zeros = [a.shape[:axis] + (max(0, size),) + a.shape[axis + 1 :] for size in (w.low, w.high)]
    before, behind = (jnp.zeros(shape, a.dtype) for shape in zeros)
    return jnp.concatenate([before, kept, behind], axis)


def shifted(a: Array, axis: int, w: Window, offset: int) -> Array:
    """The entries of padded ``a`` that stand at ``offset`` in the successive windows."""
    stop = offset + (w.out - 1) * w.stride + 1
    return lax.slice_in_dim(a, offset, stop, w.stride, axis)


def views(row: Array, where: tuple[Window, ...]) -> Array:
    """A row quantity ``(n, *S)`` as the windows see it, (F, n, *out), zero outside the image."""
    parts = [row]
    for i, w in enumerate(where):
        extended = [padded(part, 1 + i, w) for part in parts]
        parts = [shifted(part, 1 + i, w, offset) for part in extended for offset in range(w.size)]
    return jnp.stack(parts)


def sum_together(a: Array, where: tuple[Window, ...], lead: int, full: bool) -> Array:
    """Sum over windows that move both positions of a pair together.

    Parameters
    ----------
    a
        ``(..., *S)`` or, for all pairs of positions, ``(..., *S, *S')``, with ``lead`` leading
        axes.
    where
        The windows.
    lead
        Number of axes before the spatial ones.
    full
        Whether both positions have axes of their own.
    """
    rank = len(where)
    for i, w in enumerate(where):
        axis = lead + i
        a = _sum_offsets(a, (axis, axis + rank), w) if full else _sum_windows(a, axis, w)
    return a


def _sum_windows(a: Array, axis: int, w: Window) -> Array:
    """Sum of windows along one axis; on CPUs twice as fast as a sum of shifted copies."""
    a = padded(a, axis, w)
    ones = (1,) * a.ndim
    size, stride = (ones[:axis] + (n,) + ones[axis + 1 :] for n in (w.size, w.stride))
    return lax.reduce_window(a, a.dtype.type(0), lax.add, size, stride, "VALID")


def sum_apart(a: Array, where: tuple[Window, ...], lead: int) -> Array:
    """Sum over windows that move each position of ``(..., *S, *S')`` alone."""
    rank = len(where)
    for i, w in enumerate(where):
        for axis in (lead + rank + i, lead + i):
            a = _sum_offsets(a, (axis,), w)
    return a


def _sum_offsets(a: Array, axes: tuple[int, ...], w: Window) -> Array:
    """Sum of what stands at the offsets of a window, along all of ``axes`` together."""
    for axis in axes:
        a = padded(a, axis, w)
    total: Any = 0
    for offset in range(w.size):
        term = a
        for axis in axes:
            term = shifted(term, axis, w, offset)
        total = term + total
    return total


def equal_positions(a: Array) -> Array:
    """Pairs of equal positions (..., P) out of all pairs (..., P, P')."""
    size = a.shape[-1]
    flat = a.reshape(*a.shape[:-2], size * size)
    return lax.slice_in_dim(flat, 0, None, size + 1, axis=-1)


def unfolded(a: Array, spatial: tuple[int, ...], lead: int) -> Array:
    """Positions, (..., P) or (..., P, P'), along their own axes; ``lead`` axes come before."""
    return a.reshape(*a.shape[:lead], *spatial * (a.ndim - lead))


def folded(a: Array, lead: int, full: bool) -> Array:
    """The reverse of :func:`unfolded`."""
    each: tuple[int, ...] = (-1,)
    if full:
        half = (a.ndim - lead) // 2
        each = (math.prod(a.shape[lead : lead + half]), -1)
    return a.reshape(*a.shape[:lead], *each)
