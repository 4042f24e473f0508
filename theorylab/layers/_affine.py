r"""What ``Dense`` and ``Conv`` share: the two parameterizations in which wide limits are stated.

``"ntk"`` (Jacot et al. 2018): :math:`z = \frac{W_{std}}{\sqrt{n}}\, x * W + b_{std} b` with
standard normal ``W`` and ``b`` and the fan-in :math:`n`.

``"standard"`` (Sohl-Dickstein et al. 2020, "On the infinite width limit of neural networks with a
standard parameterization"): :math:`z = s_0^{-1/2}\, x * W + b` with
:math:`W \sim N(0, W_{std}^2 s_0 / n)` and :math:`b \sim N(0, b_{std}^2)`; :math:`n = s_0 N` for a
base fan-in :math:`N`. ``s = (1, 1)`` is the ordinary standard parameterization.

Differs from the reference:

1. Parameters are a dictionary with keys ``"W"`` and, where there is a bias, ``"b"``.
2. The network is computed in the dtype of ``x`` (float32 at least), whatever that of the
   parameters, so that 64-bit types being enabled does not change the type of the outputs.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from theorylab.layers._base import Shape, check_count, check_scale


def check_affine(
    layer: str,
    channels: tuple[str, Any],
    W_std: Any,
    b_std: Any,
    parameterization: Any,
    s: Any,
) -> tuple[int, int]:
    """Raise unless the fields make sense; ``s`` as a tuple. ``channels`` is a name and a value."""
    check_count(layer, *channels)
    check_scale(layer, "W_std", W_std)
    if b_std is not None:
        check_scale(layer, "b_std", b_std)
    if parameterization not in ("ntk", "standard"):
        raise ValueError(
            f"{layer}: parameterization must be 'ntk' or 'standard', got {parameterization!r}"
        )
    pair = isinstance(s, tuple | list) and len(s) == 2
    if not pair or any(
        isinstance(f, bool) or not isinstance(f, int | np.integer) or f < 1 for f in s
    ):
        raise ValueError(f"{layer}: s must be two positive integers, got {s!r}")
    return int(s[0]), int(s[1])


def draw(layer: Any, key: Array, shape: Shape, fan_in: int) -> dict[str, Array]:
    """Parameters of ``layer``: weights of ``shape``, and a bias unless ``b_std`` is ``None``."""
    key_w, key_b = jax.random.split(key)
    weights = jax.random.normal(key_w, shape)
    if layer.parameterization == "standard":
        weights = weights * jnp.asarray(layer.W_std * (layer.s[0] / fan_in) ** 0.5, weights.dtype)
    if layer.b_std is None:
        return {"W": weights}
    bias = jax.random.normal(key_b, (layer.channels,))
    if layer.parameterization == "standard":
        bias = bias * jnp.asarray(layer.b_std, bias.dtype)
    return {"W": weights, "b": bias}


def finish(layer: Any, product: Array, params: dict[str, Array], fan_in: int, axis: int) -> Array:
    """Scale the linear part and add the bias along ``axis``."""
    dtype = product.dtype
    if layer.parameterization == "standard":
        scale, bias_scale = layer.s[0] ** -0.5, 1.0
    else:
        scale, bias_scale = layer.W_std / fan_in**0.5, layer.b_std
    z = product * jnp.asarray(scale, dtype)
    if layer.b_std is None:
        return z
    bias = jnp.asarray(bias_scale, dtype) * jnp.asarray(params["b"], dtype)
    return z + bias.reshape((-1,) + (1,) * (z.ndim - 1 - axis))
