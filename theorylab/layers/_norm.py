r"""Normalisation of every input by itself.

.. math::

    y = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}

with mean :math:`\mu` and variance :math:`\sigma^2` over the given axes of the same input (Ba et
al. 2016, "Layer normalization", equations 3 and 4).

Differs from the paper:

1. No gain and no bias; a ``Dense`` or ``Conv`` behind it has both.
2. Spatial axes may be averaged over as well; :math:`\epsilon` stands under the root, and its
   default, 1e-12, is Neural Tangents': small against the variance of any wide layer.
3. Where variance and :math:`\epsilon` are both zero the result is zero.
"""

import dataclasses
import math
import numbers
from typing import Any

import jax.numpy as jnp
from jax import Array

from theorylab.layers._axes import (
    canonical_axis,
    check_axis,
    check_batch_and_channel,
    float_array,
    split_axes,
)
from theorylab.layers._base import Layer, Shape
from theorylab.layers._record import record


@record
class LayerNorm(Layer):
    r"""Subtracts the mean over ``axis`` and divides by the standard deviation over it.

    .. math:: K'(p, p') = \frac{K(p, p')}{\sqrt{(\bar q_p + \epsilon)(\bar q_{p'} + \epsilon)}},

    with :math:`\bar q_p` the variance of an input, averaged over the spatial axes in ``axis``; the
    NTK likewise.

    Parameters
    ----------
    axis
        Axis or axes of the input. The channel axis must be among them, or there were no limit of
        infinite width; the batch axis must not.
    eps
        Added to the variance. Not negative.
    batch_axis, channel_axis
        Of the input; all other axes are spatial.

    Raises
    ------
    ValueError, TypeError
        For an ``eps`` that is negative or not finite, an ``axis`` given twice; later, for inputs in
        which ``axis`` does not have the channel axis, or has the batch axis.

    Notes
    -----
    The variance is the mean of squared differences from the mean, so float32 keeps its digits
    where the mean is large.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.layers import LayerNorm
    >>> LayerNorm().apply((), jnp.array([[1.0, 3.0]]))
    Array([[-1.,  1.]], dtype=float32)
    """

    axis: Any = dataclasses.field(default=-1, metadata={"static": True})
    eps: Any = dataclasses.field(default=1e-12, metadata={"static": True})
    batch_axis: int = dataclasses.field(default=0, metadata={"static": True})
    channel_axis: int = dataclasses.field(default=-1, metadata={"static": True})

    def __post_init__(self) -> None:
        given = self.axis if isinstance(self.axis, tuple | list) else (self.axis,)
        axes = tuple(check_axis("LayerNorm", "axis", axis) for axis in given)
        if not axes or len(set(axes)) != len(axes):
            raise ValueError(f"LayerNorm: axis must be one axis or several, got {self.axis!r}")
        if isinstance(self.eps, bool) or not isinstance(self.eps, numbers.Real):
            raise TypeError(f"LayerNorm: eps must be a real number, got {self.eps!r}")
        if not math.isfinite(self.eps) or self.eps < 0:
            raise ValueError(f"LayerNorm: eps must be finite and not negative, got {self.eps!r}")
        batch, channel = check_batch_and_channel("LayerNorm", self.batch_axis, self.channel_axis)
        is_tuple = isinstance(self.axis, tuple | list)
        object.__setattr__(self, "axis", axes if is_tuple else axes[0])
        object.__setattr__(self, "eps", float(self.eps))
        object.__setattr__(self, "batch_axis", batch)
        object.__setattr__(self, "channel_axis", channel)

    def init(self, key: Array, input_shape: Any) -> tuple[()]:
        self.axes(input_shape)
        return ()

    def apply(self, params: Any, x: Any, key: Array | None = None) -> Array:
        x = float_array("LayerNorm", x)
        axes = self.axes(x.shape)
        centred = x - jnp.mean(x, axis=axes, keepdims=True)
        variance = jnp.mean(centred**2, axis=axes, keepdims=True)
        variance = variance + jnp.asarray(self.eps, variance.dtype)
        safe = jnp.where(variance > 0, variance, jnp.ones_like(variance))
        return centred / jnp.sqrt(safe)

    def output_shape(self, input_shape: Any) -> Shape:
        self.axes(input_shape)
        return input_shape

    def axes(self, input_shape: Any) -> tuple[int, ...]:
        """The axes averaged over, counted from the front, ascending."""
        split = split_axes("LayerNorm", input_shape, self.batch_axis, self.channel_axis)
        given = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        axes = sorted(canonical_axis("LayerNorm", "axis", a, input_shape) for a in given)
        if len(set(axes)) != len(axes):
            raise ValueError(
                f"LayerNorm: axis {self.axis} must not name an axis twice, got shape {input_shape}"
            )
        if split.channel not in axes:
            raise ValueError(
                f"LayerNorm: axis {self.axis} must contain the channel axis {split.channel}, "
                f"got shape {input_shape}"
            )
        if split.batch in axes:
            raise ValueError(
                f"LayerNorm: axis {self.axis} must not contain the batch axis {split.batch}, "
                f"got shape {input_shape}"
            )
        return tuple(axes)
