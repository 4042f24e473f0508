r"""muP networks with all their weights, in the gauge in which one rate serves all layers.

.. math::

    h^1 = \sqrt n\, w^1 \tilde x, \qquad h^{l+1} = W^l \phi(h^l), \qquad
    f = \frac{1}{\sqrt n}\, w^{L+1} \phi(h^L) ,

with entries of :math:`w^1` from :math:`N(0, \sigma_u^2 / n)`, of the hidden matrices :math:`W^l`
from :math:`N(0, \sigma_w^2 / n)`, of :math:`w^{L+1}` from :math:`N(0, \sigma_v^2 / n)`;
:math:`\tilde x` is x with a constant coordinate behind it if there is a bias. The vectors
:math:`u = \sqrt n\, w^1` and :math:`v = \sqrt n\, w^{L+1}` have entries of size 1, and one step of
the rate :math:`\eta` moves every entry of h by :math:`O(\eta)`. It is the point a = (-1/2, 0, 1/2),
b = (1/2, 1/2, 1/2), c = 0 of the exponents of ``theorylab.parametrization.MUP``.

Source: Yang and Hu (2021), Tensor Programs IV, arXiv:2011.14522.

Differs from the paper:
  1. Only the first layer has a bias, as the weight of a constant coordinate of the input.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from theorylab._numerics import HIGHEST, floating
from theorylab.limits._arguments import as_dtype


def with_bias(x: Array, bias: Any) -> Array:
    """Inputs (n, d) with one more coordinate, which is ``bias`` everywhere, unless that is None."""
    if bias is None:
        return x
    return jnp.concatenate([x, jnp.full_like(x[:, :1], bias)], axis=1)


def input_scales(d_in: int, sigma_u: Any, bias: Any, sigma_b: Any, dtype: Any) -> Array:
    """Standard deviations at the start, of the columns of u."""
    scales = jnp.full(d_in, as_dtype(sigma_u, dtype), dtype)
    if bias is None:
        return scales
    return jnp.append(scales, jnp.asarray(sigma_b, dtype))


def dense_mlp(
    key: Array, width: int, d_in: int, d_out: int, hidden: int,
    activation: Callable[[Array], Array], sigmas: tuple[Any, Any, Any], bias: Any, dtype: Any,
) -> tuple[dict[str, Array], Callable[[Any, Array], Array]]:  # fmt: skip
    """Params u (width, d), w (hidden, width, width), v (d_out, width), and ``apply(params, x)``.

    ``hidden`` counts the matrices between hidden layers; ``sigmas`` are those of u (as of
    ``input_scales``), w and v; d is d_in, or one more with a bias. There may be no ``w``.
    """
    root = width**0.5
    shapes = {
        "u": (width, d_in + (bias is not None)),
        "w": (hidden, width, width),
        "v": (d_out, width),
    }
    params = {
        name: as_dtype(sigma, dtype) / root * jax.random.normal(k, shapes[name], dtype)
        for name, sigma, k in zip(shapes, sigmas, jax.random.split(key, 3), strict=True)
    }
    if hidden == 0:
        del params["w"]

    def apply(params: Any, x: Array) -> Array:
        x = jnp.asarray(floating("x", x))
        h = root * jnp.matmul(with_bias(x, bias), params["u"].T, precision=HIGHEST)
        for layer in range(hidden):
            h = jnp.matmul(activation(h), params["w"][layer].T, precision=HIGHEST)
        return jnp.matmul(activation(h), params["v"].T, precision=HIGHEST) / root

    return params, apply
