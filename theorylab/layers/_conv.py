r"""Convolutions over any number of spatial axes, in both parameterizations.

.. math::

    z_{p, c} = \frac{W_{std}}{\sqrt{n_{in} |F|}} \sum_{q \in F} \sum_{c'} W_{q, c', c}\,
    x_{S p + q - l, c'} + b_{std}\, b_c

with filter positions :math:`q \in F`, strides :math:`S` and :math:`l` positions of padding before
the image (Novak et al. 2019, "Bayesian deep convolutional networks with many channels are Gaussian
processes", Section 2.1). Outside the image ``x`` is zero (``"SAME"``) or periodic
(``"CIRCULAR"``). The fan-in :math:`n_{in} |F|` is the same at the border.

Differs from the reference:

1. Any strides, paddings, numbers of spatial axes, and orders of axes.
2. Parameterizations as in :mod:`theorylab.layers._affine`.
"""

import dataclasses
import math
import string
from typing import Any, Literal, NamedTuple

from jax import Array, lax

from theorylab._numerics import HIGHEST
from theorylab.layers import _affine
from theorylab.layers._axes import (
    Padding,
    check_padding,
    check_sizes,
    float_array,
    pad_circular,
    split_axes,
    window_paddings,
)
from theorylab.layers._base import Layer, Shape
from theorylab.layers._record import record

_SPATIAL = "HWD" + "".join(c for c in string.ascii_uppercase if c not in "HWDNCIO")


class ConvAxes(NamedTuple):
    """Positions of the axes of a convolution's input and output.

    Attributes
    ----------
    lhs_batch, lhs_channel
        Of the input.
    out_batch, out_channel
        Of the output.
    spatial_in, spatial_out
        Of the spatial axes in input and output, in the order of the filter's specification, which
        is that of ``filter_shape`` and ``strides``.
    """

    lhs_batch: int
    lhs_channel: int
    out_batch: int
    out_channel: int
    spatial_in: tuple[int, ...]
    spatial_out: tuple[int, ...]


@record
class Conv(Layer):
    r"""Convolution with independent Gaussian filters, the same at all positions.

    With :math:`F` offsets :math:`w` in the filter, :math:`c` input channels, and zero for positions
    outside the image,

    .. math::

        K'(p, p') &= \frac{W_{std}^2}{F} \sum_w K(p + w, p' + w) + b_{std}^2, \\
        \Theta'(p, p') &= \frac{W_{std}^2}{F} \sum_w \Theta(p + w, p' + w) + K'(p, p')
                          \ (\text{"ntk"}), \\
        \Theta'(p, p') &= \sum_w \Big[\frac{W_{std}^2}{F} \Theta + \frac{c}{s_0} K\Big]
                          (p + w, p' + w) + [\text{bias}] \ (\text{"standard"}) .

    Parameters
    ----------
    out_chan
        Number of output channels; no kernel in the ``"ntk"`` parameterization depends on it.
    filter_shape
        Size of the filter along each spatial axis.
    strides
        Steps of the filter along each spatial axis; ``None`` for ones.
    padding
        ``"VALID"`` (the filter stays inside the image), ``"SAME"`` (zeros around it) or
        ``"CIRCULAR"`` (as many positions as ``"SAME"``, filled periodically).
    W_std
        Standard deviation of the weights, times the square root of the fan-in. Not negative.
    b_std
        Standard deviation of the bias, one number for each output channel; ``None`` for no bias.
    dimension_numbers
        Order of the axes of input, filter and output, like ``("NHWC", "HWIO", "NHWC")``: ``N`` is
        the batch, ``C`` the channels, ``I`` and ``O`` the filter's channels; every other letter is
        a spatial axis. ``None``: batch first, channels last.
    parameterization
        ``"ntk"`` or ``"standard"``.
    s
        Width multipliers ``(s_in, s_out)`` of the standard parameterization, as in ``Dense``.

    Raises
    ------
    ValueError, TypeError
        For sizes below 1, numbers of axes that differ, unknown paddings and parameterizations,
        specifications that are no permutations of each other, deviations that are negative or not
        finite; later, for inputs that have other axes or are smaller than a ``"VALID"`` filter.

    Notes
    -----
    The convolution runs at the highest precision of the device, in the dtype of ``x``.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab.layers import Conv
    >>> layer = Conv(16, (3, 3), strides=(2, 2), padding="SAME", b_std=0.1)
    >>> params = layer.init(jax.random.key(0), (5, 8, 8, 3))
    >>> params["W"].shape, params["b"].shape
    ((3, 3, 3, 16), (16,))
    >>> layer.apply(params, jnp.ones((5, 8, 8, 3))).shape
    (5, 4, 4, 16)
    """

    out_chan: int = dataclasses.field(metadata={"static": True})
    filter_shape: Any = dataclasses.field(metadata={"static": True})
    strides: Any = dataclasses.field(default=None, metadata={"static": True})
    padding: str = dataclasses.field(default="VALID", metadata={"static": True})
    W_std: Any = 1.0
    b_std: Any = None
    dimension_numbers: Any = dataclasses.field(default=None, metadata={"static": True})
    parameterization: Literal["ntk", "standard"] = dataclasses.field(
        default="ntk", metadata={"static": True}
    )
    s: tuple[int, int] = dataclasses.field(default=(1, 1), metadata={"static": True})

    def __post_init__(self) -> None:
        s = _affine.check_affine(
            "Conv",
            ("out_chan", self.out_chan),
            self.W_std,
            self.b_std,
            self.parameterization,
            self.s,
        )
        window = check_sizes("Conv", "filter_shape", self.filter_shape)
        strides = (1,) * len(window) if self.strides is None else self.strides
        for name, value in {
            "out_chan": int(self.out_chan),
            "filter_shape": window,
            "strides": check_sizes("Conv", "strides", strides, len(window)),
            "padding": check_padding("Conv", self.padding),
            "dimension_numbers": _specification(self.dimension_numbers, len(window)),
            "s": s,
        }.items():
            object.__setattr__(self, name, value)

    @property
    def channels(self) -> int:
        """Output channels of the finite layer."""
        return self.out_chan * (self.s[1] if self.parameterization == "standard" else 1)

    @property
    def axes(self) -> ConvAxes:
        """Where batch, channels and spatial axes stand in input and output."""
        lhs, rhs, out = self.dimension_numbers
        letters = [c for c in rhs if c not in "IO"]
        return ConvAxes(
            lhs.index("N"),
            lhs.index("C"),
            out.index("N"),
            out.index("C"),
            tuple(lhs.index(c) for c in letters),
            tuple(out.index(c) for c in letters),
        )

    def init(self, key: Array, input_shape: Any) -> dict[str, Array]:
        self._paddings(input_shape)
        channels = input_shape[self.axes.lhs_channel]
        return _affine.draw(self, key, self._weights_shape(channels), self._fan_in(channels))

    def apply(self, params: dict[str, Array], x: Any, key: Array | None = None) -> Array:
        x = float_array("Conv", x)
        paddings = self._paddings(x.shape)
        axes = self.axes
        channels = x.shape[axes.lhs_channel]
        weights = params["W"]
        if weights.shape != self._weights_shape(channels):
            raise ValueError(
                f"Conv: the weights must have shape {self._weights_shape(channels)} for inputs of "
                f"shape {x.shape}, got {weights.shape}"
            )
        if self.padding == "CIRCULAR":
            x = pad_circular(x, axes.spatial_in, paddings)
            paddings = tuple(Padding(0, 0, amount.out) for amount in paddings)
        product = lax.conv_general_dilated(
            x,
            weights.astype(x.dtype),
            self.strides,
            [(amount.low, amount.high) for amount in paddings],
            dimension_numbers=self.dimension_numbers,
            precision=HIGHEST,
            preferred_element_type=x.dtype,
        )
        return _affine.finish(self, product, params, self._fan_in(channels), axes.out_channel)

    def output_shape(self, input_shape: Any) -> Shape:
        paddings = self._paddings(input_shape)
        axes = self.axes
        shape = [0] * len(input_shape)
        shape[axes.out_batch] = input_shape[axes.lhs_batch]
        shape[axes.out_channel] = self.channels
        for axis, amount in zip(axes.spatial_out, paddings, strict=True):
            shape[axis] = amount.out
        return tuple(shape)

    def _paddings(self, input_shape: Any) -> tuple[Padding, ...]:
        """Padding of each spatial axis, in the order of the filter's specification."""
        axes = self.axes
        if isinstance(input_shape, tuple) and len(input_shape) != len(self.filter_shape) + 2:
            raise ValueError(
                f"Conv: the input must have the axes {self.dimension_numbers[0]}, "
                f"got shape {input_shape}"
            )
        split_axes("Conv", input_shape, axes.lhs_batch, axes.lhs_channel)
        sizes = tuple(input_shape[axis] for axis in axes.spatial_in)
        return window_paddings(
            "Conv", sizes, self.filter_shape, self.strides, self.padding, input_shape
        )

    def _weights_shape(self, channels: int) -> Shape:
        sizes = iter(self.filter_shape)
        return tuple(
            {"I": channels, "O": self.channels}[c] if c in "IO" else next(sizes)
            for c in self.dimension_numbers[1]
        )

    def _fan_in(self, channels: int) -> int:
        return channels * math.prod(self.filter_shape)


def _specification(numbers: Any, dimensions: int) -> tuple[str, str, str]:
    """The three orders of axes, checked; those of ``None`` filled in."""
    if numbers is None:
        if dimensions > len(_SPATIAL):
            raise ValueError(f"Conv: at most {len(_SPATIAL)} spatial axes, got {dimensions}")
        letters = _SPATIAL[:dimensions]
        return (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    is_triple = isinstance(numbers, tuple | list) and len(numbers) == 3
    if not is_triple or not all(isinstance(spec, str) for spec in numbers):
        raise TypeError(
            "Conv: dimension_numbers must be three strings like ('NHWC', 'HWIO', 'NHWC'), "
            f"got {numbers!r}"
        )
    spatial = []
    for spec, own in zip(numbers, ("NC", "IO", "NC"), strict=True):
        if len(set(spec)) != len(spec) or not spec.isalpha() or not set(own) <= set(spec):
            raise ValueError(
                f"Conv: dimension_numbers must have different letters, among them {own[0]} and "
                f"{own[1]} in {spec!r}, got {numbers!r}"
            )
        spatial.append(set(spec) - set(own))
    if spatial[0] != spatial[1] or spatial[1] != spatial[2] or spatial[0] & set("NCIO"):
        raise ValueError(
            "Conv: dimension_numbers must have the same spatial letters in all three, none of "
            f"them N, C, I or O, got {numbers!r}"
        )
    if len(spatial[0]) != dimensions:
        raise ValueError(
            f"Conv: dimension_numbers must have as many spatial letters as filter_shape has "
            f"entries, {dimensions}, got {numbers!r}"
        )
    return (numbers[0], numbers[1], numbers[2])
