r"""One term of a row's gradient times one of a column's, summed over parameters and all else.

For two dense layers' terms :math:`G_i = A_i B_i` and :math:`G_j = A_j B_j` that is
:math:`\sum A_{isc} B_{iosf} A_{jtc} B_{jptf}`, where c and f (axes of the leaf) are common to both
sides, and s and t (positions, turns of a loop) are each its own side's.

Differs from the paper / reference:
  1. No paper. Positions in a table (the gradient of an embedding) are never written as one-hot
     vectors: two of them become the matrix of where they agree, one picks from the other side.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from theorylab.empirical._axes import COLUMN, ROW, Axes, widest
from theorylab.empirical._contract import Labels, Plan, multiply, plan

OWN = 1_000_000  # labels of a column's own axes are moved by this
LEAF = 1000  # first label of a leaf's axes and a term's own; below are batch and output axes


class Held(NamedTuple):
    """An array of a row: its labels, and the leaf's axis that it holds positions of, or None."""

    labels: Labels
    index_of: int | None


class Source(NamedTuple):
    """An array of a pair: a held one, or one made from two of them."""

    kind: str  # "row", "column", "equal", "row_by_column", "column_by_row"
    first: int
    second: int
    labels: Labels


class Pair(NamedTuple):
    """What to multiply for one pair of terms, and in which order."""

    sources: tuple[Source, ...]
    plan: Plan


def as_column(held: Held, axes: Axes, leaf: frozenset[int]) -> Held:
    """Labels of the same array on the column's side."""
    rows, columns, _ = axes.labels
    exchanged = {ROW: COLUMN, **dict(zip(rows, columns, strict=True))}

    def moved(label: int) -> int:
        return exchanged.get(label, label if label in leaf else label + OWN)

    return held._replace(labels=tuple(moved(label) for label in held.labels))


def natural(axes: Axes) -> Labels:
    """Axes of a block in the order in which products of matrices give them."""
    rows, columns, _ = axes.labels
    common = [label for label in rows if label in columns]
    kept = set(axes.labels[2])
    return (
        *(label for label in common if label in kept),
        ROW,
        *(label for label in rows if label not in common),
        COLUMN,
        *(label for label in columns if label not in common),
    )


def pair(
    row: Sequence[Held],
    column: Sequence[Held],
    out: Labels,
    sizes: Mapping[int, int],
) -> Pair:
    """Plan the product of a row's term and a column's, both already labelled for their side."""
    sources: list[Source] = []
    of_row = {h.index_of: k for k, h in enumerate(row) if h.index_of is not None}
    of_column = {h.index_of: k for k, h in enumerate(column) if h.index_of is not None}
    for label in of_row.keys() & of_column.keys():
        k, m = of_row[label], of_column[label]
        sources.append(Source("equal", k, m, (*row[k].labels, *column[m].labels)))
    for kind, held, others in (("row", row, of_column), ("column", column, of_row)):
        opposite = column if kind == "row" else row
        for k, h in enumerate(held):
            if h.index_of is not None:
                continue
            named = [label for label in h.labels if label in others]
            if not named:
                sources.append(Source(kind, k, -1, h.labels))
                continue
            if len(named) > 1:
                raise ValueError("two axes of one array are indexed at once")
            index = others[named[0]]
            place = h.labels.index(named[0])
            labels = (*h.labels[:place], *opposite[index].labels, *h.labels[place + 1 :])
            sources.append(Source(f"{kind}_by_{_other(kind)}", k, index, labels))
    return Pair(tuple(sources), plan([source.labels for source in sources], out, sizes))


def contract(
    pair: Pair,
    row: Sequence[jax.Array],
    column: Sequence[jax.Array],
    held: Sequence[Held],
    held_column: Sequence[Held],
    out: Labels,
) -> jax.Array:
    """Carry out a pair; ``held`` and ``held_column`` are the labels that it was planned with."""
    arrays = []
    for source in pair.sources:
        match source.kind:
            case "row":
                arrays.append(row[source.first])
            case "column":
                arrays.append(column[source.first])
            case "equal":
                a, b = row[source.first], column[source.second]
                equal = a.reshape(*a.shape, *([1] * b.ndim)) == b
                arrays.append(equal)
            case "row_by_column":
                axis = held[source.first].labels.index(_index(held_column, source.second))
                arrays.append(_picked(row[source.first], column[source.second], axis))
            case _:
                axis = held_column[source.first].labels.index(_index(held, source.second))
                arrays.append(_picked(column[source.first], row[source.second], axis))
    dtype = widest(a for a in arrays if jnp.issubdtype(a.dtype, jnp.floating))
    arrays = [a.astype(dtype) for a in arrays]
    return multiply(arrays, [s.labels for s in pair.sources], out, pair.plan.order)


def _picked(values: jax.Array, positions: jax.Array, axis: int) -> jax.Array:
    """``values`` at these positions along an axis; zero where a position lies outside."""
    return jnp.take(values, positions, axis=axis, mode="fill", fill_value=0)


def _index(held: Sequence[Held], k: int) -> int:
    label = held[k].index_of
    assert label is not None
    return label


def _other(kind: str) -> str:
    return "column" if kind == "row" else "row"
