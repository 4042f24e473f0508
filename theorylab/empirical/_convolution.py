"""Convolutions: evaluated in a standard order of axes, and the patches that they read.

Differs from the paper / reference:
  1. Novak et al. (2022) contract the patches that a convolution reads by a convolution of its own.
     Here they are cut out as strided slices once, and what follows is a product like any other.
  2. In the standard order of axes inside loops: XLA on CPU brings the filters of convolutions into
     that order in the main program alone, and takes 5 to 10 times as long for those that it meets
     in another order in the body of a loop (jax 0.10.1 and 0.12.0.1; measured here), as every
     convolution of a backward pass is.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax


class Convolution(NamedTuple):
    """Places of (rows, channels, *space) left and out, (channels out, in, *space) right."""

    left: Sequence[int]
    right: Sequence[int]
    out: Sequence[int]
    strides: Sequence[int]
    padding: Sequence[tuple[int, int]]
    inside: Sequence[int]  # dilation of the left
    spread: Sequence[int]  # dilation of the right
    feature_groups: int
    batch_groups: int
    precision: Any
    dtype: Any  # in which products are summed, None for that of the signals

    @property
    def groups(self) -> int:
        """1 where every channel out sees every channel in."""
        return self.feature_groups * self.batch_groups


def evaluate(conv: Convolution, signal: jax.Array, filters: jax.Array) -> jax.Array:
    """Convolve in the order (rows, *space, channels), (*space, in, out), then rearrange."""
    places = range(2, 2 + len(conv.strides))
    signal = signal.transpose([conv.left[k] for k in (0, *places, 1)])
    filters = filters.transpose([conv.right[k] for k in (*places, 1, 0)])
    last = len(conv.strides) + 1
    order = tuple(range(last + 1))
    rows, out_first = (0, last, *order[1:last]), (last, last - 1, *order[: last - 1])
    made = lax.conv_general_dilated(
        signal,
        filters,
        conv.strides,
        conv.padding,
        lhs_dilation=conv.inside,
        rhs_dilation=conv.spread,
        dimension_numbers=lax.ConvDimensionNumbers(rows, out_first, rows),
        feature_group_count=conv.feature_groups,
        batch_group_count=conv.batch_groups,
        precision=conv.precision,
        preferred_element_type=conv.dtype,
    )
    standard = (conv.out[0], *conv.out[2:], conv.out[1])
    return made.transpose([standard.index(axis) for axis in range(last + 1)])


def patches_of(
    signal: jax.Array, *, conv: Convolution, made: Sequence[int], window: Sequence[int]
) -> jax.Array:
    """Everything that a convolution reads, (rows, channels, *made, *window), from strided slices.

    Entry (.., y, k) is the padded signal at ``y strides + k spread``. The slices run over whichever
    of ``made`` and ``window`` is smaller.
    """
    edges = [(*ends, n - 1) for ends, n in zip(conv.padding, conv.inside, strict=True)]
    zero = jnp.zeros((), signal.dtype)
    signal = lax.pad(signal.transpose(conv.left), zero, [(0, 0, 0), (0, 0, 0), *edges])
    by_place = math.prod(made) <= math.prod(window)
    few, many = (made, window) if by_place else (window, made)
    leap, stride = (conv.strides, conv.spread) if by_place else (conv.spread, conv.strides)
    slices = []
    for place in itertools.product(*(range(size) for size in few)):
        start = [p * s for p, s in zip(place, leap, strict=True)]
        stop = [a + (m - 1) * s + 1 for a, m, s in zip(start, many, stride, strict=True)]
        corner = (*signal.shape[:2], *stop)
        slices.append(lax.slice(signal, (0, 0, *start), corner, (1, 1, *stride)))
    stacked = jnp.stack(slices, axis=2).reshape(*signal.shape[:2], *few, *many)
    d = len(few)
    order = [0, 1, *range(2, 2 + 2 * d)]
    return (
        stacked if by_place else stacked.transpose(*order[:2], *order[2 + d :], *order[2 : 2 + d])
    )
