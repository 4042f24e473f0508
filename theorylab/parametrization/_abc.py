r"""abc-parametrizations: how multipliers, initial weights and rates depend on the width.

A network with L hidden layers of width n, weights :math:`W^l = n^{-a_l} w^l`, initial values
:math:`w^l \sim N(0, n^{-2 b_l})`, trained with the rate :math:`\eta n^{-c_l}` on :math:`w^l`.
Layer 1 reads the input, layers 2 to L are hidden, layer L + 1 is the read-out.

====================  ==================  ==================  ====
name                  a                   b                   c
====================  ==================  ==================  ====
``SP`` standard       0, 0, 0             0, 1/2, 1/2         0
``NTP`` neural tangent  0, 1/2, 1/2       0, 0, 0             0
``MFP`` mean field    0, 1                0, 0                -1
``MUP`` maximal update  -1/2, 0, 1/2      1/2, 1/2, 1/2       0
====================  ==================  ==================  ====

The three numbers are those of input, hidden and output weights; ``MFP`` is defined for one hidden
layer, which has no hidden weights. c is that of SGD.

Source: Yang and Hu (2021), Tensor Programs IV: feature learning in infinite-width neural networks
(arXiv:2011.14522).

Differs from the paper:
  1. Rates may differ between layers (c_l): gauge shifts layer by layer lead there.
  2. In the paper ``SP`` is stable with c = 1 only. Here, as there, it has c = 0, the rate that is
     used in practice; ``dataclasses.replace(SP, c=1.0)`` is the other.
"""

import dataclasses
import math
import numbers
from typing import Any

import numpy as np

Exponents = tuple[float, ...]


def _exponent(name: str, value: Any) -> float:
    """A finite number."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r} ({type(value).__name__})")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return float(value)


def _exponents(name: str, value: Any) -> Exponents:
    """A tuple of finite numbers, one for each layer or one for each kind of layer."""
    if isinstance(value, str) or not hasattr(value, "__len__"):
        raise TypeError(
            f"{name} must hold one exponent for the input, the hidden and the output weights, or "
            f"one for each layer, got {value!r}"
        )
    if len(value) < 2:
        raise ValueError(f"{name} must hold at least two exponents, got {value!r}")
    return tuple(_exponent(f"{name}[{i}]", entry) for i, entry in enumerate(value))


@dataclasses.dataclass(frozen=True)
class ABC:
    r"""Exponents of the width n: :math:`W^l = n^{-a_l} w^l`, and so on, as above.

    Parameters
    ----------
    a, b
        Exponents of the multiplier and of the initial standard deviation. Either three numbers,
        for the input weights, all hidden weights, and the output weights, at any depth; or L + 1
        numbers, one for each layer, for the depth L alone.
    c
        Exponent of the learning rate: one number for all layers, or as for ``a``.

    Raises
    ------
    ValueError, TypeError
        If exponents are no finite numbers, or fewer than two; from functions that take a depth,
        if their number does not go with it.

    Notes
    -----
    Static, hashable, and compared by value. With L = 2, three numbers mean the same either way.

    Examples
    --------
    >>> ABC(a=(0, 0.5, 0.5), b=(0, 0, 0), c=0) == NTP
    True
    """

    a: Exponents
    b: Exponents
    c: float | Exponents = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "a", _exponents("a", self.a))
        object.__setattr__(self, "b", _exponents("b", self.b))
        if hasattr(self.c, "__len__"):
            c: float | Exponents = _exponents("c", self.c)
        else:
            c = _exponent("c", self.c)
        object.__setattr__(self, "c", c)


SP = ABC(a=(0.0, 0.0, 0.0), b=(0.0, 0.5, 0.5), c=0.0)
NTP = ABC(a=(0.0, 0.5, 0.5), b=(0.0, 0.0, 0.0), c=0.0)
MFP = ABC(a=(0.0, 1.0), b=(0.0, 0.0), c=-1.0)
MUP = ABC(a=(-0.5, 0.0, 0.5), b=(0.5, 0.5, 0.5), c=0.0)


def check_abc(abc: Any) -> ABC:
    """Return ``abc`` if it is one."""
    if not isinstance(abc, ABC):
        raise TypeError(f"abc must be a parametrization.ABC, got {abc!r}")
    return abc


def check_depth(depth: Any) -> int:
    """Return the number of hidden layers."""
    if isinstance(depth, bool) or not isinstance(depth, int | np.integer) or depth < 1:
        raise ValueError(f"depth, the number of hidden layers, must be at least 1, got {depth!r}")
    return int(depth)


def by_layer(name: str, value: float | Exponents, depth: int) -> Exponents:
    """The exponents of the ``depth + 1`` layers, from the first to the read-out."""
    if isinstance(value, float):
        return (value,) * (depth + 1)
    if len(value) == 3:
        return value[:1] + value[1:2] * (depth - 1) + value[2:]
    if len(value) == depth + 1:
        return value
    raise ValueError(
        f"{name} has {len(value)} exponents; {depth} hidden layers need 3 (input, hidden, output) "
        f"or {depth + 1}, one for each layer"
    )


def by_kind(name: str, value: float | Exponents, count: int) -> Exponents:
    """As many exponents as a has."""
    if isinstance(value, float):
        return (value,) * count
    if len(value) != count:
        raise ValueError(f"{name} has {len(value)} exponents and a has {count}: they must agree")
    return value


def layers(abc: ABC, depth: int) -> tuple[Exponents, Exponents, Exponents]:
    """The exponents (a, b, c) of every layer."""
    abc, depth = check_abc(abc), check_depth(depth)
    a, b = by_layer("a", abc.a, depth), by_layer("b", abc.b, depth)
    return a, b, by_layer("c", abc.c, depth)
