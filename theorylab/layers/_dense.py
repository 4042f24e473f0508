r"""The fully connected layer, :math:`z = x W + b`, along the channel axis of its input.

Parameterizations, and what differs from their references: :mod:`theorylab.layers._affine`.
"""

import dataclasses
from typing import Any, Literal

import jax.numpy as jnp
from jax import Array

from theorylab._numerics import HIGHEST
from theorylab.layers import _affine
from theorylab.layers._axes import Axes, check_batch_and_channel, float_array, split_axes
from theorylab.layers._base import Layer, Shape
from theorylab.layers._record import record


@record
class Dense(Layer):
    r"""Fully connected layer ``z = x W + b`` with independent Gaussian parameters.

    In the ``"ntk"`` parameterization :math:`z = \frac{W_{std}}{\sqrt{n}} x W + b_{std} b` with
    standard normal ``W`` (n, out_dim) and ``b`` (out_dim,). In the ``"standard"`` one
    :math:`z = s_0^{-1/2} x W + b` with :math:`W \sim N(0, W_{std}^2 s_0 / n)` and
    :math:`b \sim N(0, b_{std}^2)`. The kernels :math:`K` and :math:`\Theta` of the input become,
    position by position,

    .. math::

        K' = W_{std}^2 K + b_{std}^2, \qquad
        \Theta' = W_{std}^2 \Theta + K' \ (\text{"ntk"}), \quad
        W_{std}^2 \Theta + \tfrac{n}{s_0} K + [\text{bias}] \ (\text{"standard"}).

    Parameters
    ----------
    out_dim
        Number of output channels; no kernel in the ``"ntk"`` parameterization depends on it.
    W_std
        Standard deviation of the weights, times the square root of the fan-in. Not negative.
    b_std
        Standard deviation of the bias; ``None`` for no bias. ``0.`` differs from ``None`` in that
        the network has a bias, which in the standard parameterization contributes to the NTK.
    parameterization
        ``"ntk"`` or ``"standard"``.
    s
        Width multipliers ``(s_in, s_out)`` of the standard parameterization: the layer has
        ``s_out * out_dim`` output channels, and its fan-in is ``s_in`` times a base width.
    batch_axis, channel_axis
        Of the input; all other axes are spatial, and the layer acts on each position by itself
        with the same weights. The output has its axes in the same order.

    Raises
    ------
    ValueError, TypeError
        For an ``out_dim`` below 1, negative or non-finite deviations, unknown parameterizations,
        axes that are no integers or one and the same; later, for inputs without those axes.

    Notes
    -----
    The product runs at the highest precision of the device, in the dtype of ``x``.

    Examples
    --------
    >>> import jax
    >>> from theorylab.layers import Dense
    >>> layer = Dense(3, W_std=1.5, b_std=0.1)
    >>> params = layer.init(jax.random.key(0), (8, 4))
    >>> params["W"].shape, params["b"].shape
    ((4, 3), (3,))
    """

    out_dim: int = dataclasses.field(metadata={"static": True})
    W_std: Any = 1.0
    b_std: Any = None
    parameterization: Literal["ntk", "standard"] = dataclasses.field(
        default="ntk", metadata={"static": True}
    )
    s: tuple[int, int] = dataclasses.field(default=(1, 1), metadata={"static": True})
    batch_axis: int = dataclasses.field(default=0, metadata={"static": True})
    channel_axis: int = dataclasses.field(default=-1, metadata={"static": True})

    def __post_init__(self) -> None:
        s = _affine.check_affine(
            "Dense",
            ("out_dim", self.out_dim),
            self.W_std,
            self.b_std,
            self.parameterization,
            self.s,
        )
        batch, channel = check_batch_and_channel("Dense", self.batch_axis, self.channel_axis)
        for name, value in {
            "out_dim": int(self.out_dim),
            "s": s,
            "batch_axis": batch,
            "channel_axis": channel,
        }.items():
            object.__setattr__(self, name, value)

    @property
    def channels(self) -> int:
        """Output channels of the finite layer."""
        return self.out_dim * (self.s[1] if self.parameterization == "standard" else 1)

    def init(self, key: Array, input_shape: Any) -> dict[str, Array]:
        n = input_shape[self._axes(input_shape).channel]
        return _affine.draw(self, key, (n, self.channels), n)

    def apply(self, params: dict[str, Array], x: Any, key: Array | None = None) -> Array:
        x = float_array("Dense", x)
        axis = self._axes(x.shape).channel
        weights = params["W"]
        n = x.shape[axis]
        if weights.shape != (n, self.channels):
            raise ValueError(
                f"Dense: the weights must have shape {(n, self.channels)} for inputs of shape "
                f"{x.shape}, got {weights.shape}"
            )
        inputs = jnp.moveaxis(x, axis, -1)
        product = jnp.matmul(inputs, weights.astype(x.dtype), precision=HIGHEST)
        return _affine.finish(self, jnp.moveaxis(product, -1, axis), params, n, axis)

    def output_shape(self, input_shape: Any) -> Shape:
        axis = self._axes(input_shape).channel
        return (*input_shape[:axis], self.channels, *input_shape[axis + 1 :])

    def _axes(self, input_shape: Any) -> Axes:
        return split_axes("Dense", input_shape, self.batch_axis, self.channel_axis)
