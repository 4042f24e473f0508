r"""Elementwise nonlinearities as records; their kernels are in ``theorylab/kernels/duals``.

Constants are pytree leaves. ``Relu`` and ``Abs`` have none: nobody means to differentiate them.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from theorylab.layers._axes import check_shape, float_array
from theorylab.layers._base import Layer, Shape, check_constant
from theorylab.layers._record import record


class Activation(Layer):
    """Base of the elementwise nonlinearities: a scalar function and no parameters."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            if not field.metadata.get("static"):
                check_constant(type(self).__name__, field.name, getattr(self, field.name))

    def function(self, x: Array) -> Array:
        """The nonlinearity itself, elementwise."""
        raise NotImplementedError

    def init(self, key: Array, input_shape: Any) -> tuple[()]:
        check_shape(type(self).__name__, input_shape)
        return ()

    def apply(self, params: Any, x: Array, key: Array | None = None) -> Array:
        return self.function(float_array(type(self).__name__, x))

    def output_shape(self, input_shape: Any) -> Shape:
        return check_shape(type(self).__name__, input_shape)


@record
class Relu(Activation):
    """``max(x, 0)``."""

    def function(self, x: Array) -> Array:
        return jax.nn.relu(x)


@record
class Abs(Activation):
    """``|x|``."""

    def function(self, x: Array) -> Array:
        return jnp.abs(x)


@record
class LeakyRelu(Activation):
    """``max(x, 0) + alpha min(x, 0)``."""

    alpha: Any

    def function(self, x: Array) -> Array:
        return jnp.where(x < 0, jnp.asarray(self.alpha, x.dtype) * x, x)


@record
class ABRelu(Activation):
    """``a min(x, 0) + b max(x, 0)``."""

    a: Any
    b: Any

    def function(self, x: Array) -> Array:
        slope = jnp.where(x < 0, jnp.asarray(self.a, x.dtype), jnp.asarray(self.b, x.dtype))
        return slope * x


@record
class Erf(Activation):
    """``a erf(b x) + c``."""

    a: Any = 1.0
    b: Any = 1.0
    c: Any = 0.0

    def function(self, x: Array) -> Array:
        a, b, c = (jnp.asarray(v, x.dtype) for v in (self.a, self.b, self.c))
        return a * jax.scipy.special.erf(b * x) + c


@record
class Gelu(Activation):
    """``x Phi(x)`` with the normal distribution function; ``approximate`` uses tanh when finite.

    The kernel is that of the exact function either way.
    """

    approximate: bool = dataclasses.field(default=False, metadata={"static": True})

    def __post_init__(self) -> None:
        if not isinstance(self.approximate, bool):
            raise TypeError(f"Gelu: approximate must be a bool, got {self.approximate!r}")

    def function(self, x: Array) -> Array:
        return jax.nn.gelu(x, approximate=self.approximate)


@record
class Sin(Activation):
    """``a sin(b x + c)``."""

    a: Any = 1.0
    b: Any = 1.0
    c: Any = 0.0

    def function(self, x: Array) -> Array:
        a, b, c = (jnp.asarray(v, x.dtype) for v in (self.a, self.b, self.c))
        return a * jnp.sin(b * x + c)


@record
class Cos(Activation):
    """``a cos(b x + c)``."""

    a: Any = 1.0
    b: Any = 1.0
    c: Any = 0.0

    def function(self, x: Array) -> Array:
        a, b, c = (jnp.asarray(v, x.dtype) for v in (self.a, self.b, self.c))
        return a * jnp.cos(b * x + c)


@record
class Rbf(Activation):
    r"""``sqrt(2) sin(sqrt(2 gamma) x + pi/4)``: random features of a Gaussian kernel.

    The NNGP behind it is :math:`\exp(-\gamma\, E(z_1 - z_2)^2)`.
    """

    gamma: Any = 1.0

    def __post_init__(self) -> None:
        gamma = check_constant("Rbf", "gamma", self.gamma)
        if gamma is not None and gamma < 0:
            raise ValueError(f"Rbf: gamma must not be negative, got {self.gamma!r}")

    def function(self, x: Array) -> Array:
        rate = jnp.asarray(jnp.sqrt(2 * jnp.asarray(self.gamma, x.dtype)))
        return math.sqrt(2) * jnp.sin(rate * x + math.pi / 4)
