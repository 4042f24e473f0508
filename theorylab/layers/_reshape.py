"""Layers that move entries and compute nothing."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
from jax import Array

from theorylab.layers._axes import canonical_axis, check_axis, check_shape, one_array
from theorylab.layers._base import Layer, Shape
from theorylab.layers._record import record


@record
class Flatten(Layer):
    r"""Makes one channel axis of all axes but the batch, in row-major order.

    .. math:: K' = \frac1P \sum_p K(p, p),

    over the :math:`P` positions of an image; the NTK likewise.

    Parameters
    ----------
    batch_axis
        Of the input.
    batch_axis_out
        Of the output: 0 for ``(n, d)``, 1 for ``(d, n)``.

    Raises
    ------
    ValueError, TypeError
        For a ``batch_axis_out`` that a matrix does not have; later, for inputs without a second
        axis or with an empty one.

    Examples
    --------
    >>> from theorylab.layers import Flatten
    >>> Flatten().output_shape((5, 8, 8, 3))
    (5, 192)
    """

    batch_axis: int = dataclasses.field(default=0, metadata={"static": True})
    batch_axis_out: int = dataclasses.field(default=0, metadata={"static": True})

    def __post_init__(self) -> None:
        batch = check_axis("Flatten", "batch_axis", self.batch_axis)
        out = check_axis("Flatten", "batch_axis_out", self.batch_axis_out)
        if out not in (-2, -1, 0, 1):
            raise ValueError(f"Flatten: batch_axis_out must be 0 or 1, got {out}")
        object.__setattr__(self, "batch_axis", batch)
        object.__setattr__(self, "batch_axis_out", out % 2)

    def init(self, key: Array, input_shape: Any) -> tuple[()]:
        self._batch(input_shape)
        return ()

    def apply(self, params: Any, x: Any, key: Array | None = None) -> Array:
        x = one_array("Flatten", x)
        batch = self._batch(x.shape)
        last = -1 if self.batch_axis_out else 0
        return jnp.moveaxis(x, batch, last).reshape(self.output_shape(x.shape))

    def output_shape(self, input_shape: Any) -> Shape:
        batch = self._batch(input_shape)
        features = math.prod(n for i, n in enumerate(input_shape) if i != batch)
        n = input_shape[batch]
        return (features, n) if self.batch_axis_out else (n, features)

    def _batch(self, input_shape: Any) -> int:
        shape = check_shape("Flatten", input_shape)
        if len(shape) < 2:
            raise ValueError(f"Flatten: the input must have axes beside the batch, got {shape}")
        batch = canonical_axis("Flatten", "batch_axis", self.batch_axis, shape)
        if any(n < 1 for i, n in enumerate(shape) if i != batch):
            raise ValueError(f"Flatten: no axis but the batch may be empty, got shape {shape}")
        return batch
