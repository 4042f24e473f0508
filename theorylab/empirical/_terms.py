"""What a walk back from a leaf's gradient speaks of: places, operands, terms.

Differs from the paper / reference:
  1. No paper.
"""

from typing import NamedTuple

from theorylab.empirical._jaxpr import Program, Step

X, COTANGENT = 1, 2  # bits of Program.depends

Labels = tuple[int | None, ...]


class Operand(NamedTuple):
    """A variable with a label for each axis, None for axes of length 1.

    Where ``index_of`` is a label, the variable holds positions along that axis of the leaf, and
    stands for the matrix that is 1 at those positions and 0 elsewhere.
    """

    variable: int
    labels: Labels
    index_of: int | None = None


Term = tuple[Operand, ...]


class Unrecognised(Exception):
    """Raised with a reason where the walk meets what it does not know."""


class Sum(NamedTuple):
    """An accumulator of a loop: the variable to be added to, and how often it was met."""

    variable: int
    met: list[None]


class At(NamedTuple):
    """A place on the walk: a variable, the step that makes it, and labels for its axes.

    ``whole``: nothing but rearranging lies between here and the leaf.
    """

    program: Program
    variable: int
    step: Step
    labels: Labels
    whole: bool
    total: Sum | None
