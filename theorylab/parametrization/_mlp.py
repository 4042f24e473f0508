r"""The network in which parametrizations are defined, at any exponents.

.. math::

    h^1 = n^{-a_1} x w^1, \qquad h^{l+1} = n^{-a_{l+1}} \phi(h^l) w^{l+1}, \qquad
    w^l \sim N(0, n^{-2 b_l})

without biases; the last h is the output. Source: Yang and Hu (2021), arXiv:2011.14522.

Differs from the paper:
  1. Weights stand on the right, (fan-in, fan-out), as everywhere in this library.
  2. Hidden widths may differ: n is the fan-out of the first layer and the fan-in of the others.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from theorylab._numerics import HIGHEST, floating
from theorylab.parametrization._abc import ABC, layers

Params = tuple[Array, ...]


class AbcMlp(NamedTuple):
    """A network as a pair of functions.

    Parameters
    ----------
    init
        ``init(key) -> params``: a tuple of the weights w.
    apply
        ``apply(params, x) -> outputs`` (..., d_out); with ``features=True`` the tuple of all
        preactivations, the output being the last.
    """

    init: Callable[..., Params]
    apply: Callable[..., Any]


def check_widths(widths: Any) -> tuple[int, ...]:
    """Return the widths as a tuple."""
    if isinstance(widths, str) or not hasattr(widths, "__len__") or len(widths) < 3:
        raise ValueError(
            f"widths must hold those of input, hidden layers and output, three at least, got "
            f"{widths!r}"
        )
    for width in widths:
        whole = isinstance(width, int | np.integer) and not isinstance(width, bool)
        if not whole or width < 1:
            raise ValueError(f"widths must be positive integers, got {tuple(widths)!r}")
    return tuple(int(width) for width in widths)


def _powers(widths: tuple[int, ...], exponents: tuple[float, ...]) -> tuple[float, ...]:
    """The width of each layer to the power of minus its exponent."""
    n = (widths[1], *widths[1:-1])
    try:
        return tuple(float(k) ** -e for k, e in zip(n, exponents, strict=True))
    except OverflowError:
        raise ValueError(f"a width to minus its exponent overflows: {n} to {exponents}") from None


def abc_mlp(widths: Sequence[int], abc: ABC, activation: Callable[[Array], Array]) -> AbcMlp:
    r"""A fully connected network in an abc-parametrization.

    The equations are those at the head of this module's source: :math:`W^l = n^{-a_l} w^l` and
    :math:`w^l \sim N(0, n^{-2 b_l})`. Learning rates are not a part of it: :func:`abc_rates`.

    Parameters
    ----------
    widths
        ``(d_in, n, ..., n, d_out)``; as many hidden layers as there are entries between the ends.
    abc
        The parametrization.
    activation
        Applied to each entry of hidden layers.

    Returns
    -------
    AbcMlp
        ``init(key, dtype=None) -> params``, a tuple of arrays (fan-in, fan-out) of JAX's default
        float or of ``dtype``, and ``apply(params, x, features=False)``, x being (..., d_in).

    Raises
    ------
    ValueError, TypeError
        For widths that are no positive integers or fewer than three; for an ABC whose exponents do
        not go with the depth; for an activation that cannot be called; from ``apply``, for
        parameters or inputs of other shapes.

    Notes
    -----
    Nothing is normalised by the dimension of the inputs. Products are formed at the highest
    precision, in the dtype of weights and inputs, float32 for half precision.

    References
    ----------
    Yang and Hu (2021), arXiv:2011.14522.

    Examples
    --------
    >>> from theorylab.parametrization import MUP
    >>> init, apply = abc_mlp((3, 64, 64, 1), MUP, jnp.tanh)
    >>> apply(init(jax.random.key(0)), jnp.ones((5, 3))).shape
    (5, 1)
    """
    sizes = check_widths(widths)
    a, b, _ = layers(abc, len(sizes) - 2)
    if not callable(activation):
        raise TypeError(f"activation must be a function, got {activation!r}")
    multipliers, deviations = _powers(sizes, a), _powers(sizes, b)
    shapes = tuple(zip(sizes[:-1], sizes[1:], strict=True))

    def init(key: Array, dtype: Any = None) -> Params:
        keys = jax.random.split(key, len(shapes))
        return tuple(
            jax.random.normal(k, shape, dtype) * std
            for k, shape, std in zip(keys, shapes, deviations, strict=True)
        )

    def apply(params: Params, x: Any, features: bool = False) -> Any:
        found = tuple(jnp.shape(w) for w in params)
        if found != shapes:
            raise ValueError(f"params must have the shapes {shapes}, got {found}")
        h = floating("x", x)
        if h.ndim < 1 or h.shape[-1] != sizes[0]:
            raise ValueError(f"x must have {sizes[0]} entries along its last axis, got {h.shape}")
        kept = []
        for layer, (w, multiplier) in enumerate(zip(params, multipliers, strict=True)):
            if layer:
                h = activation(jnp.asarray(h))
            h = jnp.matmul(h, floating("params", w) * multiplier, precision=HIGHEST)
            kept.append(h)
        return tuple(kept) if features else kept[-1]

    return AbcMlp(init, apply)


def abc_rates(widths: Sequence[int], abc: ABC) -> tuple[float, ...]:
    r"""What the learning rate of each layer is multiplied by, :math:`n^{-c_l}`.

    Parameters
    ----------
    widths, abc
        As for :func:`abc_mlp`.

    Returns
    -------
    tuple of float
        In the structure of the parameters: ``jax.tree.map(lambda u, rate: rate * u, updates,
        rates)``.

    Raises
    ------
    ValueError, TypeError
        As :func:`abc_mlp`.

    Examples
    --------
    >>> from theorylab.parametrization import MFP
    >>> abc_rates((3, 64, 1), MFP)
    (64.0, 64.0)
    """
    sizes = check_widths(widths)
    return _powers(sizes, layers(abc, len(sizes) - 2)[2])
