"""Windows that slide over positions: what convolutions and pooling share.

Row quantities are read out window by window, (F, n, *out) for ``F`` offsets, with zeros outside the
image. Pairs are summed over windows one spatial axis at a time. A convolution moves both positions
of a pair together, since all channels share one filter; pooling moves each alone.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
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
    if w.wrap:
        n = a.shape[axis]
        index = jnp.arange(-w.low, n + w.high) % n
        return jnp.take(a, index, axis=axis)
    amounts = [(0, 0, 0)] * a.ndim
    amounts[axis] = (w.low, w.high, 0)
    return lax.pad(a, jnp.zeros((), a.dtype), amounts)


def shifted(a: Array, axis: int, w: Window, offset: int) -> Array:
    """The entries of padded ``a`` that stand at ``offset`` in the successive windows."""
    stop = offset + (w.out - 1) * w.stride + 1
    return lax.slice_in_dim(a, offset, stop, w.stride, axis)


def moved(move: Callable[[Array], Array], a: Array, narrow: Any) -> Array:
    """A rearrangement of a wide array, made of those of its leading and trailing narrow parts.

    Slices and gathers of float64 cannot be transposed outside the scope that allows float64.
    """
    if a.dtype == narrow:
        return move(a)
    head = a.astype(narrow)
    tail = (a - head.astype(a.dtype)).astype(narrow)
    return move(head).astype(a.dtype) + move(tail).astype(a.dtype)


def views(row: Array, where: tuple[Window, ...], narrow: Any) -> Array:
    """A row quantity ``(n, *S)`` as the windows see it, (F, n, *out), zero outside the image."""
    return moved(lambda a: _views(a, where), row, narrow)


def _views(row: Array, where: tuple[Window, ...]) -> Array:
    for i, w in enumerate(where):
        axis = 1 + 2 * i
        n = row.shape[axis]
        place = np.arange(w.out)[:, None] * w.stride + np.arange(w.size) - w.low
        inside = np.ones_like(place, bool) if w.wrap else (place >= 0) & (place < n)
        row = jnp.take(row, place % n, axis=axis)
        if not inside.all():
            mask = inside.reshape(inside.shape + (1,) * (row.ndim - axis - 2))
            row = row * mask.astype(row.dtype)
    offsets = tuple(2 + 2 * i for i in range(len(where)))
    row = jnp.moveaxis(row, offsets, range(len(where)))
    return row.reshape(count(where), *row.shape[len(where) :])


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
        axes = (lead + i, lead + rank + i) if full else (lead + i,)
        for axis in axes:
            a = padded(a, axis, w)
        total: Any = 0
        for offset in range(w.size):
            term = a
            for axis in axes:
                term = shifted(term, axis, w, offset)
            total = term + total
        a = total
    return a


def sum_apart(a: Array, where: tuple[Window, ...], lead: int, narrow: Any) -> Array:
    """Sum over windows that move each position of ``(..., *S, *S')`` alone."""
    rank = len(where)
    for i, w in enumerate(where):
        for axis in (lead + rank + i, lead + i):
            terms = [
                moved(partial(_offset, axis=axis, w=w, at=k), a, narrow) for k in range(w.size)
            ]
            a = sum(terms[1:], terms[0])
    return a


def _offset(a: Array, *, axis: int, w: Window, at: int) -> Array:
    return shifted(padded(a, axis, w), axis, w, at)


def equal_positions(a: Array) -> Array:
    """Pairs of equal positions (..., P) out of all pairs (..., P, P')."""
    return jnp.diagonal(a, axis1=-2, axis2=-1)


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
