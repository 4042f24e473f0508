"""From the arguments of a call to what will be done about it; the same for doing and explaining.

Differs from the paper / reference:
  1. No paper.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from theorylab.empirical._axes import Axes, as_axes, resolve
from theorylab.empirical._cost import Choice, Job, choose
from theorylab.empirical._forms import Read, read
from theorylab.empirical._function import (
    Split,
    Structure,
    batch,
    batch_shapes,
    hashable,
    one_example,
    output_shapes,
    require_same_outputs,
    same_kind,
    split_params,
    whole_batch,
)
from theorylab.empirical._methods import Example

Tree = Any

METHODS = ("auto", "structured", "jacobian", "vector_product")


class Question(NamedTuple):
    """Everything about a call that is not an array; hashable."""

    f: Callable[..., Tree]
    structure: Structure
    method: str
    trace_axes: tuple[int, ...]
    diagonal_axes: tuple[int, ...]
    batch_size: int | None
    batch_axis: int | None


class Asked(NamedTuple):
    """A call, checked."""

    question: Question
    split: Split
    x1: Tree
    x2: Tree | None


class Decision(NamedTuple):
    """What will be done: ``g`` is differentiated, for the examples of a tile or for a batch."""

    g: Example
    shapes: Tree
    axes: list[Axes]
    choice: Choice
    reads: list[Read]
    column_reads: list[Read]
    whole: bool


def question(
    f: Callable[..., Tree],
    params: Tree,
    x1: Tree,
    x2: Tree | None,
    *,
    method: str,
    trace_axes: int | tuple[int, ...],
    diagonal_axes: int | tuple[int, ...],
    batch_size: int | None,
    batch_axis: int | None,
    kwargs: dict[str, Any],
) -> Asked:
    """Check the arguments that :func:`ntk` and :func:`explain` share."""
    if method not in METHODS:
        names = ", ".join(repr(name) for name in METHODS)
        raise ValueError(f"method must be one of {names}, got {method!r}")
    if batch_size is not None and (
        isinstance(batch_size, bool)
        or not isinstance(batch_size, int | np.integer)
        or batch_size < 1
    ):
        raise ValueError(f"batch_size must be a positive whole number or None, got {batch_size!r}")
    if batch_axis is not None and (isinstance(batch_axis, bool) or batch_axis != 0):
        raise ValueError(
            f"batch_axis must be 0, or None where examples are mixed, got {batch_axis!r}"
        )
    if batch_axis is None and batch_size is not None:
        raise ValueError("batch_size must be None where batch_axis is: there are no tiles")
    split, structure = split_params(params, kwargs)
    x1, _ = batch("x1", x1)
    if x2 is not None:
        x2, _ = batch("x2", x2)
        same_kind(x1, x2)
    asked = Question(
        hashable(f),
        structure,
        method,
        as_axes("trace_axes", trace_axes),
        as_axes("diagonal_axes", diagonal_axes),
        None if batch_size is None else int(batch_size),
        batch_axis,
    )
    return Asked(asked, split, x1, x2)


def decide(asked: Question, split: Split, x1: Tree, x2: Tree | None) -> Decision:
    """Trace the function, and choose a method, its tile, and what it does with each leaf."""
    f, structure, whole = asked.f, asked.structure, asked.batch_axis is None
    n1, n2 = batch("x1", x1)[1], None if x2 is None else batch("x2", x2)[1]
    if whole:
        shapes = batch_shapes(f, structure, split, x1, n1)
        if n2 is not None:
            others = batch_shapes(f, structure, split, x2, n2)
            require_same_outputs(shapes, others, n1, n2)
        g = whole_batch(f, structure, split)
        example = jax.tree.map(_shape, x1)
    else:
        shapes = output_shapes(f, structure, split, x1)
        g = one_example(f, structure, split)
        example = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), x1)
    axes = resolve(shapes, asked.trace_axes, asked.diagonal_axes)
    floats = [_shape(leaf) for leaf in split.floats]
    reads: list[Read] = []
    column_reads = reads
    if asked.method in ("auto", "structured"):
        dtypes = [leaf.dtype for leaf in jax.tree.leaves(shapes)]
        column_reads = reads = read(g, floats, example, axes, dtypes, n1 if whole else 0)
        if whole and n2 not in (None, n1):
            column_reads = read(g, floats, jax.tree.map(_shape, x2), axes, dtypes, n2)
            reads, column_reads = _agreeing(reads, column_reads)
    job = Job(floats, axes, n1, n2, asked.batch_size, whole)
    choice = choose(asked.method, g, job, example, reads)
    return Decision(g, shapes, axes, choice, reads, column_reads, whole)


def _agreeing(rows: list[Read], columns: list[Read]) -> tuple[list[Read], list[Read]]:
    """Keep operands only where two batches, read apart, have the same axes of the leaf."""
    pairs = []
    for row, column in zip(rows, columns, strict=True):
        both = []
        for a, b in zip(row.leaves, column.leaves, strict=True):
            same = a.kept and b.kept and a.kept.leaf == b.kept.leaf
            both.append((a, b) if same else (a._replace(kept=None), b._replace(kept=None)))
        pairs.append([list(side) for side in zip(*both, strict=True)])
    rows = [r._replace(leaves=tuple(p[0])) for r, p in zip(rows, pairs, strict=True)]
    columns = [c._replace(leaves=tuple(p[1])) for c, p in zip(columns, pairs, strict=True)]
    return rows, columns


def _shape(a: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(a.shape, a.dtype)
