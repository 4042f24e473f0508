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
    r"""Base of the elementwise nonlinearities: a scalar function and no parameters.

    In the formulas of all of them :math:`K = E z z'` is the kernel of the Gaussian input,
    :math:`q = E z^2` and :math:`q' = E z'^2` are its variances and
    :math:`\theta = \arccos(K / \sqrt{q q'})`. The NNGP behind the layer is
    :math:`E f f' = E f(z) f(z')`; the NTK is multiplied by :math:`\dot K = E \dot f(z) \dot f(z')`.
    """

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
    r"""``max(x, 0)``.

    .. math::

        E f f' = \frac{\sqrt{q q'}}{2\pi} \big(\sin\theta + (\pi - \theta) \cos\theta\big), \qquad
        \dot K = \frac{\pi - \theta}{2\pi} .

    Source: Cho and Saul, "Kernel methods for deep learning", 2009, eqs. 3-6.
    """

    def function(self, x: Array) -> Array:
        return jax.nn.relu(x)


@record
class Abs(Activation):
    r"""``|x|``.

    .. math::

        E f f' = \frac{2 \sqrt{q q'}}{\pi} \Big(\sin\theta
                 + \big(\tfrac{\pi}{2} - \theta\big) \cos\theta\Big), \qquad
        \dot K = 1 - \frac{2\theta}{\pi} .
    """

    def function(self, x: Array) -> Array:
        return jnp.abs(x)


@record
class LeakyRelu(Activation):
    r"""``max(x, 0) + alpha min(x, 0)``.

    .. math::

        E f f' = \sqrt{q q'} \Big[\frac{(1 - \alpha)^2}{2\pi} (\sin\theta - \theta\cos\theta)
                 + \frac{1 + \alpha^2}{2} \cos\theta\Big], \qquad
        \dot K = \frac{(1 - \alpha)^2}{2} \Big(1 - \frac{\theta}{\pi}\Big) + \alpha .
    """

    alpha: Any

    def function(self, x: Array) -> Array:
        return jnp.where(x < 0, jnp.asarray(self.alpha, x.dtype) * x, x)


@record
class ABRelu(Activation):
    r"""``a min(x, 0) + b max(x, 0)``.

    .. math::

        E f f' = \sqrt{q q'} \Big[\frac{(a - b)^2}{2\pi} (\sin\theta - \theta\cos\theta)
                 + \frac{a^2 + b^2}{2} \cos\theta\Big], \qquad
        \dot K = \frac{(a - b)^2}{2} \Big(1 - \frac{\theta}{\pi}\Big) + a b .
    """

    a: Any
    b: Any

    def function(self, x: Array) -> Array:
        slope = jnp.where(x < 0, jnp.asarray(self.a, x.dtype), jnp.asarray(self.b, x.dtype))
        return slope * x


@record
class Erf(Activation):
    r"""``a erf(b x) + c``.

    .. math::

        E f f' = \frac{2 a^2}{\pi} \arcsin \frac{2 b^2 K}{\sqrt{(1 + 2 b^2 q)(1 + 2 b^2 q')}} + c^2,
        \qquad
        \dot K = \frac{4 a^2 b^2}{\pi \sqrt{(1 + 2 b^2 q)(1 + 2 b^2 q') - 4 b^4 K^2}} .

    Source: Williams, "Computing with infinite networks", 1997, eq. 11.
    """

    a: Any = 1.0
    b: Any = 1.0
    c: Any = 0.0

    def function(self, x: Array) -> Array:
        a, b, c = (jnp.asarray(v, x.dtype) for v in (self.a, self.b, self.c))
        return a * jax.scipy.special.erf(b * x) + c


@record
class Gelu(Activation):
    r"""``x Phi(x)`` with the normal distribution function; ``approximate`` uses tanh when finite.

    The kernel is that of the exact function either way: with :math:`V = q q' - K^2`,
    :math:`D = 1 + q + q' + V` and :math:`A = \arcsin\big(K / \sqrt{(1 + q)(1 + q')}\big)`

    .. math::

        E f f' &= K \Big(\frac14 + \frac{A}{2\pi}\Big) + \frac{1}{2\pi\sqrt{D}}
                  \Big[V + K^2 \Big(\frac{1}{1 + q} + \frac{1}{1 + q'}\Big)\Big], \\
        \dot K &= \frac14 + \frac{A}{2\pi} + \frac{K}{2\pi\sqrt{D}}
                  \Big[\frac{1}{1 + q} + \frac{1}{1 + q'} + \frac{1}{D}\Big] .
    """

    approximate: bool = dataclasses.field(default=False, metadata={"static": True})

    def __post_init__(self) -> None:
        if not isinstance(self.approximate, bool):
            raise TypeError(f"Gelu: approximate must be a bool, got {self.approximate!r}")

    def function(self, x: Array) -> Array:
        return jax.nn.gelu(x, approximate=self.approximate)


@record
class Sin(Activation):
    r"""``a sin(b x + c)``.

    .. math::

        E f f' &= \frac{a^2}{2} \big[e^{-b^2 (q + q' - 2K)/2}
                  - \cos(2c)\, e^{-b^2 (q + q' + 2K)/2}\big], \\
        \dot K &= \frac{a^2 b^2}{2} \big[e^{-b^2 (q + q' - 2K)/2}
                  + \cos(2c)\, e^{-b^2 (q + q' + 2K)/2}\big] .
    """

    a: Any = 1.0
    b: Any = 1.0
    c: Any = 0.0

    def function(self, x: Array) -> Array:
        a, b, c = (jnp.asarray(v, x.dtype) for v in (self.a, self.b, self.c))
        return a * jnp.sin(b * x + c)


@record
class Cos(Activation):
    r"""``a cos(b x + c)``.

    .. math::

        E f f' &= \frac{a^2}{2} \big[e^{-b^2 (q + q' - 2K)/2}
                  + \cos(2c)\, e^{-b^2 (q + q' + 2K)/2}\big], \\
        \dot K &= \frac{a^2 b^2}{2} \big[e^{-b^2 (q + q' - 2K)/2}
                  - \cos(2c)\, e^{-b^2 (q + q' + 2K)/2}\big] .
    """

    a: Any = 1.0
    b: Any = 1.0
    c: Any = 0.0

    def function(self, x: Array) -> Array:
        a, b, c = (jnp.asarray(v, x.dtype) for v in (self.a, self.b, self.c))
        return a * jnp.cos(b * x + c)


@record
class Rbf(Activation):
    r"""``sqrt(2) sin(sqrt(2 gamma) x + pi/4)``: random features of a Gaussian kernel.

    .. math:: E f f' = e^{-\gamma (q + q' - 2K)}, \qquad \dot K = 2\gamma\, E f f' .
    """

    gamma: Any = 1.0

    def __post_init__(self) -> None:
        gamma = check_constant("Rbf", "gamma", self.gamma)
        if gamma is not None and gamma < 0:
            raise ValueError(f"Rbf: gamma must not be negative, got {self.gamma!r}")

    def function(self, x: Array) -> Array:
        rate = jnp.asarray(jnp.sqrt(2 * jnp.asarray(self.gamma, x.dtype)))
        return math.sqrt(2) * jnp.sin(rate * x + math.pi / 4)
