r"""Averages and sums over windows or over the whole image; no parameters.

.. math::

    y_{p, c} = \frac{1}{|F|} \sum_{q \in F} x_{S p + q - l, c}

for windows :math:`F`, strides :math:`S` and :math:`l` positions of padding before the image;
``SumPool`` leaves out the factor. Outside the image ``x`` is zero (``"SAME"``) or periodic
(``"CIRCULAR"``).
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from theorylab.layers._axes import (
    Padding,
    check_batch_and_channel,
    check_padding,
    check_sizes,
    float_array,
    pad_circular,
    split_axes,
    window_paddings,
)
from theorylab.layers._base import Layer, Shape
from theorylab.layers._record import record


class Pool(Layer):
    """Base of the pools over windows."""

    window_shape: Any
    strides: Any
    padding: str
    batch_axis: int
    channel_axis: int

    def __post_init__(self) -> None:
        name = type(self).__name__
        window = check_sizes(name, "window_shape", self.window_shape)
        strides = (1,) * len(window) if self.strides is None else self.strides
        batch, channel = check_batch_and_channel(name, self.batch_axis, self.channel_axis)
        for field, value in {
            "window_shape": window,
            "strides": check_sizes(name, "strides", strides, len(window)),
            "padding": check_padding(name, self.padding),
            "batch_axis": batch,
            "channel_axis": channel,
        }.items():
            object.__setattr__(self, field, value)

    def init(self, key: Array, input_shape: Any) -> tuple[()]:
        self._windows(input_shape)
        return ()

    def output_shape(self, input_shape: Any) -> Shape:
        spatial, amounts = self._windows(input_shape)
        shape = list(input_shape)
        for axis, amount in zip(spatial, amounts, strict=True):
            shape[axis] = amount.out
        return tuple(shape)

    def sums(self, x: Array) -> Array:
        """Sum of every window."""
        spatial, amounts = self._windows(x.shape)
        if self.padding == "CIRCULAR":
            x = pad_circular(x, spatial, amounts)
            amounts = tuple(Padding(0, 0, amount.out) for amount in amounts)
        window, strides, pads = [1] * x.ndim, [1] * x.ndim, [(0, 0)] * x.ndim
        for i, axis in enumerate(spatial):
            window[axis], strides[axis] = self.window_shape[i], self.strides[i]
            pads[axis] = (amounts[i].low, amounts[i].high)
        zero = np.zeros((), x.dtype)
        return lax.reduce_window(x, zero, lax.add, window, strides, pads)

    def _windows(self, input_shape: Any) -> tuple[tuple[int, ...], tuple[Padding, ...]]:
        """The spatial axes and their paddings."""
        name = type(self).__name__
        spatial = split_axes(name, input_shape, self.batch_axis, self.channel_axis).spatial
        sizes = tuple(input_shape[axis] for axis in spatial)
        return spatial, window_paddings(
            name, sizes, self.window_shape, self.strides, self.padding, input_shape
        )


@record
class AvgPool(Pool):
    r"""Average of every window.

    .. math:: K'(p, p') = \frac{1}{F^2} \sum_{w, w'} K(p + w, p' + w'),

    over the :math:`F` positions :math:`w` of a window; the NTK likewise.

    Parameters
    ----------
    window_shape
        Size of the window along each spatial axis, in the order of the array.
    strides
        Steps of the window along each spatial axis; ``None`` for ones.
    padding
        ``"VALID"``, ``"SAME"`` (zeros around the image) or ``"CIRCULAR"``.
    normalize_edges
        Divide by the number of positions inside the image instead of the size of the window. They
        differ at the border with padding ``"SAME"`` alone.
    batch_axis, channel_axis
        Of the input; all other axes are spatial.

    Raises
    ------
    ValueError, TypeError
        For sizes below 1, numbers of axes that differ, unknown paddings; later, for inputs that
        have other axes or are smaller than a ``"VALID"`` window.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.layers import AvgPool
    >>> AvgPool((2, 2), strides=(2, 2)).apply((), jnp.ones((5, 8, 6, 3))).shape
    (5, 4, 3, 3)
    """

    window_shape: Any = dataclasses.field(metadata={"static": True})
    strides: Any = dataclasses.field(default=None, metadata={"static": True})
    padding: str = dataclasses.field(default="VALID", metadata={"static": True})
    normalize_edges: bool = dataclasses.field(default=False, metadata={"static": True})
    batch_axis: int = dataclasses.field(default=0, metadata={"static": True})
    channel_axis: int = dataclasses.field(default=-1, metadata={"static": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.normalize_edges, bool):
            raise TypeError(
                f"AvgPool: normalize_edges must be a bool, got {self.normalize_edges!r}"
            )

    def apply(self, params: Any, x: Any, key: Array | None = None) -> Array:
        x = float_array("AvgPool", x)
        return self.sums(x) / self._counts(x.shape).astype(x.dtype)

    def _counts(self, shape: Shape) -> np.ndarray:
        """What each window's sum is divided by, in a shape that broadcasts."""
        spatial, amounts = self._windows(shape)
        counts = np.ones((1,) * len(shape))
        for i, axis in enumerate(spatial):
            window, n = self.window_shape[i], shape[axis]
            if self.normalize_edges and self.padding == "SAME":
                first = np.arange(amounts[i].out) * self.strides[i] - amounts[i].low
                inside = np.minimum(first + window, n) - np.maximum(first, 0)
            else:
                inside = np.array([window])
            along = [1] * len(shape)
            along[axis] = -1
            counts = counts * inside.reshape(along)
        return counts


@record
class SumPool(Pool):
    r"""Sum of every window; see :class:`AvgPool` for the arguments and errors.

    .. math:: K'(p, p') = \sum_{w, w'} K(p + w, p' + w'), \quad \text{the NTK likewise.}

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.layers import SumPool
    >>> SumPool((3,), padding="SAME").apply((), jnp.ones((1, 4, 1)))[0, :, 0]
    Array([2., 3., 3., 2.], dtype=float32)
    """

    window_shape: Any = dataclasses.field(metadata={"static": True})
    strides: Any = dataclasses.field(default=None, metadata={"static": True})
    padding: str = dataclasses.field(default="VALID", metadata={"static": True})
    batch_axis: int = dataclasses.field(default=0, metadata={"static": True})
    channel_axis: int = dataclasses.field(default=-1, metadata={"static": True})

    def apply(self, params: Any, x: Any, key: Array | None = None) -> Array:
        return self.sums(float_array("SumPool", x))


class GlobalPool(Layer):
    """Base of the pools over whole images."""

    batch_axis: int
    channel_axis: int

    def __post_init__(self) -> None:
        name = type(self).__name__
        batch, channel = check_batch_and_channel(name, self.batch_axis, self.channel_axis)
        object.__setattr__(self, "batch_axis", batch)
        object.__setattr__(self, "channel_axis", channel)

    def init(self, key: Array, input_shape: Any) -> tuple[()]:
        self._spatial(input_shape)
        return ()

    def output_shape(self, input_shape: Any) -> Shape:
        spatial = self._spatial(input_shape)
        return tuple(n for i, n in enumerate(input_shape) if i not in spatial)

    def _spatial(self, input_shape: Any) -> tuple[int, ...]:
        name = type(self).__name__
        spatial = split_axes(name, input_shape, self.batch_axis, self.channel_axis).spatial
        if not spatial:
            raise ValueError(
                f"{name}: the input must have spatial axes beside batch and channels, "
                f"got shape {input_shape}"
            )
        return spatial


@record
class GlobalAvgPool(GlobalPool):
    r"""Average over all positions: the batch and channel axes remain, in their order.

    .. math:: K' = \frac{1}{P^2} \sum_{p, p'} K(p, p'),

    over the :math:`P` positions of an image; the NTK likewise.

    Parameters
    ----------
    batch_axis, channel_axis
        Of the input; all other axes are spatial.

    Raises
    ------
    ValueError, TypeError
        For axes that are no integers or one and the same; later, for inputs without spatial axes.

    Examples
    --------
    >>> from theorylab.layers import GlobalAvgPool
    >>> GlobalAvgPool().output_shape((5, 8, 8, 3))
    (5, 3)
    """

    batch_axis: int = dataclasses.field(default=0, metadata={"static": True})
    channel_axis: int = dataclasses.field(default=-1, metadata={"static": True})

    def apply(self, params: Any, x: Any, key: Array | None = None) -> Array:
        x = float_array("GlobalAvgPool", x)
        return jnp.mean(x, axis=self._spatial(x.shape))


@record
class GlobalSumPool(GlobalPool):
    r"""Sum over all positions; see :class:`GlobalAvgPool` for the arguments and errors.

    .. math:: K' = \sum_{p, p'} K(p, p'), \quad \text{the NTK likewise.}

    Examples
    --------
    >>> from theorylab.layers import GlobalSumPool
    >>> GlobalSumPool(batch_axis=0, channel_axis=1).output_shape((5, 3, 8, 8))
    (5, 3)
    """

    batch_axis: int = dataclasses.field(default=0, metadata={"static": True})
    channel_axis: int = dataclasses.field(default=-1, metadata={"static": True})

    def apply(self, params: Any, x: Any, key: Array | None = None) -> Array:
        x = float_array("GlobalSumPool", x)
        return jnp.sum(x, axis=self._spatial(x.shape))
