"""What an activation supplies: one scalar map, lifted to every layout by the engine.

An activation registers, with ``@dual.register``, a function from its record to one of two kinds.

``Homogeneous``: positively homogeneous functions, whose output correlation depends on the input
correlation alone. ``Smooth``: everything else, in natural units.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

from jax import Array

from theorylab.kernels._units import Pair
from theorylab.layers import Activation

Scalar = Array | float
"""A constant of an activation: a number, or a scalar array where it is traced."""


class Homogeneous(NamedTuple):
    """Dual of a function with ``f(s z) = s f(z)`` for ``s > 0``.

    Attributes
    ----------
    gain
        ``E f(z)^2 / E z^2``, a scalar.
    correlation
        ``c -> (c', k_dot)``: one minus the correlation behind the function from that before it,
        and ``E f'(z1) f'(z2)``.
    """

    gain: Scalar
    correlation: Callable[[Array], tuple[Array, Array]]


class SmoothPair(NamedTuple):
    """Result of a smooth dual for pairs: gap, covariance and ``E f'(z1) f'(z2)``, (n1, n2)."""

    gap: Array
    cov: Array
    k_dot: Array


class Smooth(NamedTuple):
    """Dual of a function that knows a scale.

    Attributes
    ----------
    variance, slope
        ``q -> E f(z)^2`` and ``q -> E f'(z)^2`` for rows, wide dtype.
    pairwise
        ``Pair -> SmoothPair``. The gap must be free of cancellation as the points approach each
        other, the covariance as they become independent.
    degree
        Of homogeneity at large scales: 1 where ``f(s z)/s`` has a limit, 0 where ``f(s z)`` has.
    wide
        Whether pairs must be formed in the wide dtype, as they cancel at points that are parallel
        and of different lengths.
    vanishes
        Whether ``f(0) = 0``, so that ``f(s z)/s`` has a limit at small scales.
    """

    variance: Callable[[Array], Array]
    slope: Callable[[Array], Array]
    pairwise: Callable[[Pair], SmoothPair]
    degree: int = 0
    vanishes: bool | Array = False
    wide: bool = False


@functools.singledispatch
def dual(activation: Activation) -> Homogeneous | Smooth:
    """The dual of an activation record.

    Raises
    ------
    NotImplementedError
        If none is registered for its type.
    """
    raise NotImplementedError(
        f"{type(activation).__name__} has no closed-form kernel here; "
        "sample finite networks instead"
    )
