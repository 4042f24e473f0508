"""The products that a walk ends at: dense, convolution, table.

Differs from the paper / reference:
  1. A convolution is a product with the patches that it reads (``_convolution``).
  2. MOST_SLICES = 256: a convolution's patches are that many slices at most.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Protocol

import jax
import jax.numpy as jnp

from theorylab.empirical._convolution import patches_of
from theorylab.empirical._terms import COTANGENT, At, Labels, Operand, Term, Unrecognised

MOST_SLICES = 256


class Walk(Protocol):
    """What the rules need of a walk: fresh labels, and a place to say what was found."""

    found: set[str]

    def new_labels(self, shape: Sequence[int]) -> Labels:
        """A label for each axis that is not of length 1."""


def dot(walk: Walk, at: At) -> list[Term]:
    """A product of matrices, in any order and with common axes."""
    stored_first(at)
    shapes = [at.program.shapes[v].shape for v in at.step.ins]
    axes: list[dict[int, int | None]] = [{}, {}]
    rest = iter(at.labels)
    for left, right in at.step.details.batched:
        axes[0][left] = axes[1][right] = next(rest)
    for left, right in at.step.details.contracted:
        axes[0][left] = axes[1][right] = walk.new_labels([shapes[0][left]])[0]
    for side, shape in zip(axes, shapes, strict=True):
        side.update({axis: next(rest) for axis in range(len(shape)) if axis not in side})
    walk.found.add("product")
    return [
        tuple(
            Operand(v, tuple(side[axis] for axis in range(len(shape))))
            for v, side, shape in zip(at.step.ins, axes, shapes, strict=True)
        )
    ]


def convolution(walk: Walk, at: At) -> list[Term]:
    """The gradient of a filter: patches of the stored signal by the backpropagated one."""
    conv = at.step.details
    if conv.groups != 1:
        raise Unrecognised("a grouped convolution")
    if not stored_first(at):
        raise Unrecognised("a convolution with its signals exchanged")
    left, right = (at.program.shapes[v].shape for v in at.step.ins)
    made = [at.program.shapes[at.variable].shape[axis] for axis in conv.out[2:]]
    window = [right[axis] for axis in conv.right[2:]]
    if min(math.prod(made), math.prod(window)) > MOST_SLICES:
        raise Unrecognised(f"a convolution of more than {MOST_SLICES} slices")
    patches = at.program.add(
        "patches", partial(patches_of, conv=conv, made=made, window=window), at.step.ins[0]
    )
    rows, channels, *places = (at.labels[axis] for axis in conv.out)
    summed = walk.new_labels([left[conv.left[1]], *window])
    inner: list[int | None] = [None] * len(right)
    for axis, label in zip(conv.right, (channels, *summed), strict=True):
        inner[axis] = label
    walk.found.add("convolution")
    stored = Operand(patches, (rows, summed[0], *places, *summed[1:]))
    return [(stored, Operand(at.step.ins[1], tuple(inner)))]


def scatter(walk: Walk, at: At) -> list[Term]:
    """The gradient of a table: rows of the signal, added up where they were read."""
    zeros, indices, updates = at.step.ins
    axis, column, window, clips = at.step.details
    shape, signal = at.program.shapes[at.variable], at.program.shapes[updates]
    if not at.program.is_zero(zeros) or at.program.depends[indices] & COTANGENT:
        raise Unrecognised("a scatter into what is not zero")
    if axis is None or at.labels[axis] is None:
        raise Unrecognised("a scatter of another kind than that of an embedding")
    if any(
        signal.shape[place] != (1 if a == axis else shape.shape[a]) for a, place in window.items()
    ):
        raise Unrecognised("a scatter of parts of rows")
    inner = list(walk.new_labels(signal.shape))
    for a, place in window.items():
        inner[place] = None if a == axis else at.labels[a]
    spots = tuple(label for place, label in enumerate(inner) if place not in window.values())
    length = shape.shape[axis]
    across = list(window.values())

    def position(i: jax.Array) -> jax.Array:
        one = i[..., column]
        return jnp.clip(one, 0, length - 1) if clips else one

    def inside(added: jax.Array, i: jax.Array) -> jax.Array:
        return jnp.where(jnp.expand_dims((i >= 0) & (i < length), across), added, 0)

    rows = at.program.add("rows", position, indices)
    if not clips:  # what lies outside is dropped, whatever it is
        updates = at.program.add("inside", inside, updates, rows)
    walk.found.add("embedding")
    return [(Operand(updates, tuple(inner)), Operand(rows, spots, at.labels[axis]))]


def stored_first(at: At) -> bool:
    first, second = (bool(at.program.depends[v] & COTANGENT) for v in at.step.ins[:2])
    if first and second:
        raise Unrecognised("a product of two signals that depend on the cotangent")
    return second
