r"""The fully connected layer, in the two parameterizations in which wide limits are stated.

``"ntk"`` (Jacot et al. 2018): :math:`z = \frac{W_{std}}{\sqrt{n}} x W + b_{std} b` with standard
normal ``W`` (n, out_dim) and ``b`` (out_dim,).

``"standard"`` (Sohl-Dickstein et al. 2020, "On the infinite width limit of neural networks with a
standard parameterization"): :math:`z = s_0^{-1/2} x W + b` with
:math:`W \sim N(0, W_{std}^2 s_0 / n)` and :math:`b \sim N(0, b_{std}^2)`; :math:`n = s_0 N` for a
base width :math:`N`. ``s = (1, 1)`` is the ordinary standard parameterization.

Differs from the reference:

1. Parameters are a dictionary with keys ``"W"`` and, where there is a bias, ``"b"``.
"""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import Array

from theorylab._numerics import HIGHEST
from theorylab.layers._base import Layer, Shape, check_count, check_scale
from theorylab.layers._record import record


@record
class Dense(Layer):
    """Fully connected layer ``z = x W + b`` with independent Gaussian parameters.

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

    Raises
    ------
    ValueError, TypeError
        For an ``out_dim`` below 1, negative or non-finite deviations, unknown parameterizations.

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

    def __post_init__(self) -> None:
        check_count("Dense", "out_dim", self.out_dim)
        check_scale("Dense", "W_std", self.W_std)
        if self.b_std is not None:
            check_scale("Dense", "b_std", self.b_std)
        if self.parameterization not in ("ntk", "standard"):
            raise ValueError(
                "Dense: parameterization must be 'ntk' or 'standard', "
                f"got {self.parameterization!r}"
            )
        pair = isinstance(self.s, tuple) and len(self.s) == 2
        if not pair or not all(isinstance(f, int) and f > 0 for f in self.s):
            raise ValueError(f"Dense: s must be two positive integers, got {self.s!r}")

    @property
    def channels(self) -> int:
        """Output channels of the finite layer."""
        return self.out_dim * (self.s[1] if self.parameterization == "standard" else 1)

    def init(self, key: Array, input_shape: Any) -> dict[str, Array]:
        n = self._fan_in(input_shape)
        key_w, key_b = jax.random.split(key)
        weights = jax.random.normal(key_w, (n, self.channels))
        if self.parameterization == "standard":
            weights = weights * jnp.asarray(self.W_std * (self.s[0] / n) ** 0.5, weights.dtype)
        if self.b_std is None:
            return {"W": weights}
        bias = jax.random.normal(key_b, (self.channels,))
        if self.parameterization == "standard":
            bias = bias * jnp.asarray(self.b_std, bias.dtype)
        return {"W": weights, "b": bias}

    def apply(self, params: dict[str, Array], x: Array, key: Array | None = None) -> Array:
        weights = params["W"]
        if jnp.ndim(x) != 2 or jnp.shape(x)[1] != weights.shape[0]:
            raise ValueError(
                f"Dense: x must have shape (n, {weights.shape[0]}), as the weights say, "
                f"got {jnp.shape(x)}"
            )
        product = jnp.matmul(x, weights, precision=HIGHEST)
        if self.parameterization == "standard":
            z = product * jnp.asarray(self.s[0] ** -0.5, product.dtype)
            return z if self.b_std is None else z + params["b"]
        z = product * jnp.asarray(self.W_std / weights.shape[0] ** 0.5, product.dtype)
        if self.b_std is None:
            return z
        return z + jnp.asarray(self.b_std, z.dtype) * params["b"]

    def output_shape(self, input_shape: Any) -> Shape:
        self._fan_in(input_shape)
        return (*input_shape[:-1], self.channels)

    def _fan_in(self, input_shape: Any) -> int:
        is_shape = isinstance(input_shape, tuple) and all(isinstance(n, int) for n in input_shape)
        if not is_shape or len(input_shape) != 2:
            raise ValueError(f"Dense: the input shape must be (n, d), got {input_shape!r}")
        return input_shape[-1]
