r"""The two forms of a leaf: the operands of its gradient kept apart, or multiplied out.

Multiplied out, a leaf of P entries costs its Jacobian, O P numbers for each example, and
2 O_t O_k P operations for each pair (``_cost``). Kept, it costs what ``_contract`` finds for each
pair of its terms. Early convolutions (many positions, few channels) are cheaper multiplied out,
late ones and dense layers kept. Most leaves are multiplied out by JAX; filters from the operands
that were found.

Differs from the paper / reference:
  1. Novak et al. (2022) treat all leaves alike. The price of a byte decides here as much as the
     operations do.
  2. What JAX makes of the gradients of a filter for several outputs and examples is one convolution
     in groups. For 64 channels in and out, 32 x 32 positions, 10 outputs and 4 examples it took 2.7
     times as long as a product of patches (jax 0.10.1, CPU; 5.4 times on 0.12.0.1).
  3. A leaf with fewer than two axes longer than 1 is never kept: its gradient is no larger than the
     signal that makes it.
"""

import itertools
import math
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import jax

from theorylab.empirical._axes import ROW, Axes
from theorylab.empirical._contract import MOST, Cost
from theorylab.empirical._jaxpr import Program, traced
from theorylab.empirical._methods import Example
from theorylab.empirical._pairs import LEAF, Held, as_column, natural, pair
from theorylab.empirical._terms import COTANGENT, Operand, Term, Unrecognised, X
from theorylab.empirical._walk import Walk

Tree = Any


class Group(NamedTuple):
    """Variables whose product is one held array, each with its labels."""

    factors: tuple[tuple[int, tuple[int, ...]], ...]
    held: Held


Groups = tuple[Group, ...]


class Form(NamedTuple):
    """One way to hold a leaf: its terms, the labels of its axes, what forming it costs.

    ``source``: terms whose sum of products is the one array of the one term in ``terms``; empty
    where the arrays are variables of the program.
    """

    terms: tuple[Groups, ...]
    leaf: frozenset[int]
    forming: float  # operations for each example
    source: tuple[Groups, ...] = ()

    @property
    def evaluated(self) -> tuple[Groups, ...]:
        """The terms that the program evaluates."""
        return self.source or self.terms


class Leaf(NamedTuple):
    """A leaf with the forms it can have; ``kept`` is None where no product was found."""

    kept: Form | None
    formed: Form
    recognised: bool
    reason: str


class Read(NamedTuple):
    """The backward pass of one output, read."""

    program: Program
    axes: Axes
    leaves: tuple[Leaf, ...]

    def forms(self, kept: Sequence[bool]) -> list[Form]:
        """The form of each leaf, given whether it keeps its operands."""
        return [
            leaf.kept if keep and leaf.kept is not None else leaf.formed
            for leaf, keep in zip(self.leaves, kept, strict=True)
        ]


def read(
    g: Example,
    floats: list[Any],
    x: Tree,
    axes: list[Axes],
    dtypes: Sequence[Any],
    batch: int,
) -> list[Read]:
    """Trace the backward pass of every output, and walk back from each of its leaves.

    ``x`` is a single example, or with ``batch`` > 0 a whole batch of so many that makes one.
    """
    return [_read_output(g, k, floats, x, out, dtypes[k], batch) for k, out in enumerate(axes)]


def _read_output(
    g: Example, k: int, floats: list[Any], x: Tree, out: Axes, dtype: Any, batch: int
) -> Read:
    def back(floats: list[jax.Array], x: Tree, cotangent: jax.Array) -> list[jax.Array]:
        return jax.vjp(lambda p: g(p, x)[k], floats)[1](cotangent)[0]

    sizes = (batch, *out.sizes) if batch else out.sizes
    cotangent = jax.ShapeDtypeStruct(sizes, dtype)
    program = traced(back, (floats, x, cotangent), (0, X, COTANGENT))
    leaves = [_leaf(program, root, out, bool(batch)) for root in program.outputs]
    return Read(program, out, tuple(leaves))


def _leaf(program: Program, root: int, out: Axes, whole: bool) -> Leaf:
    shape = program.shapes[root].shape
    # Numbered as a walk numbers them, so that two batches that are read apart agree.
    numbers = itertools.count()
    labels = tuple(next(numbers) if n != 1 else None for n in shape)
    alone = _form(program, [(Operand(root, labels),)], labels, out, whole)
    assert alone is not None
    if not program.depends[root] & COTANGENT and program.is_zero(root):
        unused = Form((), frozenset(), 0.0)
        return Leaf(None, unused, True, "unused: contributes nothing")
    if sum(n > 1 for n in shape) < 2:
        return Leaf(None, alone, True, "a vector: its gradient is no larger than its signal")
    walk = Walk(program, renumber=not whole)
    try:
        found, terms = walk.from_leaf(root)
    except Unrecognised as reason:
        return Leaf(None, alone, False, f"not recognised: {reason}")
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # An operation that is written down in a way unknown here: slower, never wrong.
        return Leaf(None, alone, False, f"not recognised: {type(error).__name__}: {error}")
    kept = _form(program, terms, found, out, whole)
    kinds = ", ".join(sorted(walk.found)) or "no product"
    if kept is None:
        return Leaf(None, alone, False, f"not recognised: more than {MOST // 2} factors ({kinds})")
    formed = alone._replace(forming=_forming(kept, program, out))
    indexed = any(group.held.index_of is not None for term in kept.terms for group in term)
    if "convolution" in walk.found and not indexed:
        formed = _from_operands(kept, formed, out)
    return Leaf(kept, formed, True, kinds)


def _form(
    program: Program, terms: Sequence[Term], leaf: Collection[int | None], out: Axes, whole: bool
) -> Form | None:
    groups = [_groups(program, term, out, whole) for term in terms]
    if any(len(term) > MOST // 2 for term in groups):
        return None
    names = frozenset(LEAF + label for label in leaf if label is not None)
    return Form(tuple(groups), names, 0.0)


def _from_operands(kept: Form, formed: Form, out: Axes) -> Form:
    """The form whose only array is the sum of the products of ``kept``."""
    labels = (ROW, *out.labels[0], *sorted(kept.leaf))
    whole = Group((), Held(labels, None))
    return Form(((whole,),), kept.leaf, formed.forming, kept.terms)


def _groups(program: Program, term: Term, out: Axes, whole: bool) -> tuple[Group, ...]:
    """Factors whose labels another one has are multiplied into it at once."""
    rows = tuple(out.labels[0])

    def full(operand: Operand) -> tuple[int, ...]:
        bits = program.depends[operand.variable]
        batch = (ROW,) if bits & (COTANGENT if whole else X) else ()
        outputs = rows if bits & COTANGENT else ()
        own = (LEAF + label for label in operand.labels if label is not None)
        return (*batch, *outputs, *own)

    groups: list[Group] = []
    ordered = sorted(term, key=lambda a: -len(full(a)))
    for operand in ordered:
        labels = full(operand)
        factor = (operand.variable, labels)
        if operand.index_of is not None:
            groups.append(Group((factor,), Held(labels, LEAF + operand.index_of)))
            continue
        for k, group in enumerate(groups):
            if group.held.index_of is None and set(labels) <= set(group.held.labels):
                groups[k] = group._replace(factors=(*group.factors, factor))
                break
        else:
            groups.append(Group((factor,), Held(labels, None)))
    return tuple(groups)


def pairs_cost(read: Read, form: Form, tile: int) -> Cost:
    """What all pairs of terms cost for one tile of rows by one of columns."""
    total = Cost(0.0, 0.0, 0.0)
    sizes = _sizes(read, form, tile)
    for row in form.terms:
        for column in form.terms:
            held = [group.held for group in row]
            moved = [as_column(group.held, read.axes, form.leaf) for group in column]
            cost = pair(held, moved, natural(read.axes), sizes).plan.cost
            total = Cost(
                total.flops + cost.flops,
                total.entries + cost.entries,
                max(total.largest, cost.largest),
            )
    return total


def held_entries(read: Read, form: Form) -> float:
    """Entries that one row holds."""
    sizes = _sizes(read, form, 1)
    held = (group.held.labels for term in form.terms for group in term)
    return float(sum(math.prod(sizes[label] for label in labels) for labels in held))


def _sizes(read: Read, form: Form, tile: int) -> dict[int, int]:
    """Length of every label, of rows and of columns."""
    out, shapes = read.axes, read.program.shapes
    sizes = {ROW: tile, **dict(zip(out.labels[0], out.sizes, strict=True))}
    for term in form.evaluated:
        for variable, labels in (factor for group in term for factor in group.factors):
            own = [n for n in shapes[variable].shape if n != 1]
            sizes.update(zip([k for k in labels if k >= LEAF], own, strict=True))
    every = Held(tuple(sizes), None)
    moved = as_column(every, out, form.leaf).labels
    return sizes | dict(zip(moved, sizes.values(), strict=True))


def _forming(kept: Form, program: Program, out: Axes) -> float:
    """Multiplying out all terms of one example."""
    sizes = _sizes(Read(program, out, ()), kept, 1)
    labels = [{k for group in term for k in group.held.labels} for term in kept.terms]
    return 2.0 * sum(math.prod(sizes[k] for k in term) for term in labels)
