r"""Activations: what is asked of them, and their values with their derivatives.

Gradient descent needs :math:`\phi'`. It is asked of JAX, once, at a few points: a function with no
derivative, or one that is zero everywhere (``sign``, ``round``), would make a network in which
nothing below it ever moves, and is refused. Kinks are allowed.

Differs from the reference: the points, 13 in [-3.1, 2.9], are no kinks of usual functions, and
in no order, so that sorting them is seen.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from theorylab._numerics import known

POINTS = np.linspace(-3.1, 2.9, 13, dtype=np.float32)[5 * np.arange(13) % 13]


def value_and_slope(activation: Callable[[Array], Array], h: Array) -> tuple[Array, Array]:
    """The activation and its derivative, each of the shape of ``h``."""
    return jax.jvp(activation, (h,), (jnp.ones_like(h),))


def checked_activation(activation: Any) -> Callable[[Array], Array]:
    """Return the activation if it acts on every entry by itself and has a derivative.

    Raises
    ------
    TypeError
        If it is not callable.
    ValueError
        If it changes shapes or dtypes, mixes entries, or has no derivative; if values or
        derivatives are not finite at negative or positive numbers. Nothing is checked of values of
        a function that closes over traced ones.
    """
    if not callable(activation):
        raise TypeError(
            f"activation must be a function of an array, such as jnp.tanh, got {activation!r}"
        )
    with jax.ensure_compile_time_eval():
        points = jnp.asarray(POINTS)
        out = jax.eval_shape(activation, points)
        if not hasattr(out, "shape") or out.shape != points.shape or out.dtype != points.dtype:
            raise ValueError(
                "activation must return an array of its argument's shape and dtype, "
                f"{points.dtype}{points.shape}, got {out}"
            )
        try:
            value, slope = value_and_slope(activation, points)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ValueError(
                f"activation must have a derivative that JAX can take, got {activation!r}: {error}"
            ) from error
        alone = [known(activation(points[i : i + 1])) for i in range(points.size)]
    apart = [one for one in alone if one is not None]
    values, slopes = known(value), known(slope)
    if values is None or slopes is None or len(apart) < points.size:
        return activation  # of something that is traced: what it does is seen later
    for name, found in (("value", values), ("derivative", slopes)):
        if not np.all(np.isfinite(found)):
            where = int(np.argmin(np.isfinite(found)))
            raise ValueError(
                f"activation must be finite on the whole line, got {activation!r}, whose {name} at "
                f"{POINTS[where]:.3g} is {found[where]}"
            )
    if not np.allclose(np.concatenate(apart), values, rtol=1e-4, atol=1e-5):
        raise ValueError(
            f"activation must act on every entry by itself, got {activation!r}, which mixes them"
        )
    if not np.any(slopes):
        raise ValueError(
            f"activation must have a derivative, got {activation!r}, whose derivative is zero "
            "everywhere: no gradient passes it, and nothing below it is trained"
        )
    return activation
