"""Axes and windows: which axis is what, and how far a sliding window reaches over the border.

A layer names the batch axis and the channel axis of its input; every other axis is spatial, in the
order of the array. Windows slide by the rules of ``jax.lax``: ``"VALID"`` stays inside the image;
``"SAME"`` adds zeros until there are ``ceil(n / stride)`` windows, the odd one at the end;
``"CIRCULAR"`` adds as many positions as ``"SAME"`` and fills them as if the image were a torus.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from theorylab.layers._base import Shape

PADDINGS = ("VALID", "SAME", "CIRCULAR")


class Axes(NamedTuple):
    """Positions of the axes of an array, counted from the front.

    Attributes
    ----------
    batch, channel
        One axis each.
    spatial
        All others, ascending.
    """

    batch: int
    channel: int
    spatial: tuple[int, ...]


class Padding(NamedTuple):
    """What a window needs along one axis.

    Attributes
    ----------
    low, high
        Positions added before and behind.
    out
        Number of windows; 0 where none fits.
    """

    low: int
    high: int
    out: int


def padding_amounts(n: int, filter: int, stride: int, padding: str) -> Padding:
    """Positions to add along an axis of length ``n``, and the number of windows that result.

    Examples
    --------
    >>> from theorylab.layers._axes import padding_amounts
    >>> padding_amounts(8, 3, 2, "SAME")
    Padding(low=0, high=1, out=4)
    >>> padding_amounts(8, 3, 2, "VALID")
    Padding(low=0, high=0, out=3)
    """
    if padding == "VALID":
        return Padding(0, 0, max((n - filter) // stride + 1, 0))
    out = -(-n // stride)
    total = max((out - 1) * stride + filter - n, 0)
    return Padding(total // 2, total - total // 2, out)


def window_paddings(
    layer: str, sizes: Shape, window: Shape, strides: Shape, padding: str, shape: Shape
) -> tuple[Padding, ...]:
    """Padding of every spatial axis; raises where not even one window fits."""
    if len(sizes) != len(window):
        raise ValueError(
            f"{layer}: the window {window} has {len(window)} spatial axes, so the input must have "
            f"them beside its batch and channel axes, got shape {shape}"
        )
    amounts = tuple(
        padding_amounts(n, f, s, padding) for n, f, s in zip(sizes, window, strides, strict=True)
    )
    if any(amount.out < 1 for amount in amounts):
        raise ValueError(
            f"{layer}: the window {window} must fit into the image with padding 'VALID', got "
            f"shape {shape} with spatial axes of {sizes}"
        )
    return amounts


def pad_circular(x: Array, axes: tuple[int, ...], amounts: tuple[Padding, ...]) -> Array:
    """Continue ``x`` periodically; a border wider than the image goes round more than once."""
    width = [(0, 0)] * x.ndim
    for axis, amount in zip(axes, amounts, strict=True):
        width[axis] = (amount.low, amount.high)
    return jnp.pad(x, width, mode="wrap")


def one_array(layer: str, x: Any) -> Array:
    """The input as an array; raises for a tuple of branches."""
    if isinstance(x, tuple | list):
        raise ValueError(f"{layer}: takes one array, got {len(x)} branches")
    return jnp.asarray(x)


def float_array(layer: str, x: Any) -> Array:
    """The input as an array of its own dtype, half precision and integers as float32."""
    array = one_array(layer, x)
    wide = jnp.issubdtype(array.dtype, jnp.inexact) and array.dtype.itemsize >= 4
    return array if wide else array.astype(jnp.float32)


def check_shape(layer: str, shape: Any) -> Shape:
    """Raise unless ``shape`` is the shape of one array."""
    is_shape = isinstance(shape, tuple) and all(isinstance(n, int | np.integer) for n in shape)
    if not is_shape:
        raise ValueError(f"{layer}: the input shape must be a tuple of integers, got {shape!r}")
    return shape


def canonical_axis(layer: str, name: str, axis: int, shape: Shape) -> int:
    """``axis`` counted from the front; raises where ``shape`` has no such axis."""
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"{layer}: {name} {axis} must be an axis of the input, got shape {shape}")
    return axis % len(shape)


def split_axes(layer: str, shape: Any, batch_axis: int, channel_axis: int) -> Axes:
    """Which axis is what; raises unless batch and channel axes exist, differ, and none is empty.

    The batch may be empty.
    """
    shape = check_shape(layer, shape)
    if len(shape) < 2:
        raise ValueError(
            f"{layer}: the input shape must have a batch axis and a channel axis, got {shape}"
        )
    batch = canonical_axis(layer, "batch_axis", batch_axis, shape)
    channel = canonical_axis(layer, "channel_axis", channel_axis, shape)
    if batch == channel:
        raise ValueError(
            f"{layer}: batch_axis {batch_axis} and channel_axis {channel_axis} must differ, "
            f"got shape {shape}, in which they are one"
        )
    if any(n < 1 for i, n in enumerate(shape) if i != batch):
        raise ValueError(f"{layer}: no axis but the batch may be empty, got shape {shape}")
    spatial = tuple(i for i in range(len(shape)) if i not in (batch, channel))
    return Axes(batch, channel, spatial)


def check_axis(layer: str, name: str, value: Any) -> int:
    """``value`` as an integer."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{layer}: {name} must be an integer, got {value!r}")
    return int(value)


def check_batch_and_channel(layer: str, batch_axis: Any, channel_axis: Any) -> tuple[int, int]:
    """Both as integers; raises where they are one axis whatever the input."""
    batch = check_axis(layer, "batch_axis", batch_axis)
    channel = check_axis(layer, "channel_axis", channel_axis)
    if batch == channel:
        raise ValueError(f"{layer}: batch_axis and channel_axis must differ, got {batch} twice")
    return batch, channel


def check_sizes(layer: str, name: str, value: Any, length: int | None = None) -> Shape:
    """``value`` as a tuple of positive integers, one for each spatial axis."""
    sequence = isinstance(value, tuple | list) and len(value) > 0
    if not sequence or any(
        isinstance(n, bool) or not isinstance(n, int | np.integer) for n in value
    ):
        raise TypeError(
            f"{layer}: {name} must be a tuple of integers, one for each spatial axis, got {value!r}"
        )
    if any(n < 1 for n in value):
        raise ValueError(f"{layer}: {name} must be at least 1 along every axis, got {value!r}")
    if length is not None and len(value) != length:
        raise ValueError(
            f"{layer}: {name} must have {length} entries, one for each spatial axis, got {value!r}"
        )
    return tuple(int(n) for n in value)


def check_padding(layer: str, padding: Any) -> str:
    """``padding`` in capitals."""
    if not isinstance(padding, str) or padding.upper() not in PADDINGS:
        raise ValueError(f"{layer}: padding must be 'VALID', 'SAME' or 'CIRCULAR', got {padding!r}")
    return padding.upper()
