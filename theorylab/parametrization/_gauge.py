r"""The gauge symmetry: parametrizations that differ in where they keep a power of the width.

With :math:`w' = n^{\theta} w`, weights :math:`W = n^{-a} w = n^{-a-\theta} w'` are the same. The
gradient of :math:`w'` is :math:`n^{-\theta}` times that of w, so that SGD moves W alike if the rate
of :math:`w'` is :math:`n^{2 \theta}` times that of w; an optimizer that does not see the size of
gradients does so with :math:`n^{\theta}` times the rate.

Source: Yang and Hu (2021), Tensor Programs IV, arXiv:2011.14522 (one shift for all layers).

Differs from the paper:
  1. Each layer may be shifted by itself.
  2. The shift for scale-free optimizers is the one derived above.
"""

import dataclasses
import math
import numbers
from typing import Any

from theorylab.parametrization._abc import ABC, by_kind, check_abc

SHIFTS = {"sgd": 2, "adam": 1, "sign": 1, "orthogonal": 1}


def regauge(abc: ABC, theta: Any, optimizer: str = "sgd") -> ABC:
    r"""The same network and training, written with other exponents.

    .. math:: (a, b, c) \mapsto (a + \theta,\; b - \theta,\; c - 2\theta) \text{ (SGD)}, \qquad
       (a + \theta,\; b - \theta,\; c - \theta) \text{ (scale-free)}

    Parameters
    ----------
    abc
        The parametrization.
    theta
        One shift for all layers, or one for each entry of ``abc.a``.
    optimizer
        ``"sgd"``, with momentum or without; ``"adam"``, ``"sign"`` or ``"orthogonal"``.

    Returns
    -------
    ABC
        With one c for each entry of a, unless one number serves all.

    Raises
    ------
    TypeError, ValueError
        If ``abc`` is no :class:`ABC` whose a, b and c go together; if shifts are no finite
        numbers, or not as many as exponents; for unknown optimizers.

    Notes
    -----
    Exact up to rounding at every width. With Adam its epsilon must be multiplied by
    :math:`n^{-\theta}`. The coefficient of a weight decay that is multiplied by the rate must be
    multiplied by :math:`n^{-2\theta}` (SGD) or :math:`n^{-\theta}`, since the rate has changed.

    References
    ----------
    Yang and Hu (2021), arXiv:2011.14522.

    Examples
    --------
    >>> from theorylab.parametrization import MFP
    >>> regauge(MFP, -0.5)
    ABC(a=(-0.5, 0.5), b=(0.5, 0.5), c=0.0)
    """
    check_abc(abc)
    if optimizer not in SHIFTS:
        raise ValueError(f"optimizer must be one of {tuple(SHIFTS)}, got {optimizer!r}")
    count = len(abc.a)
    shifts = tuple(theta) if hasattr(theta, "__len__") else (theta,) * count
    if len(shifts) != count:
        raise ValueError(f"theta must be a number or have {count} entries, as a has; got {theta!r}")
    for shift in shifts:
        real = isinstance(shift, numbers.Real) and not isinstance(shift, bool)
        if not real or not math.isfinite(float(shift)):
            raise ValueError(f"theta must be finite, got {theta!r}")
    b, c = by_kind("b", abc.b, count), by_kind("c", abc.c, count)
    rates = tuple(ci - SHIFTS[optimizer] * t for ci, t in zip(c, shifts, strict=True))
    return dataclasses.replace(
        abc,
        a=tuple(ai + t for ai, t in zip(abc.a, shifts, strict=True)),
        b=tuple(bi - t for bi, t in zip(b, shifts, strict=True)),
        c=rates[0] if len(set(rates)) == 1 else rates,
    )
