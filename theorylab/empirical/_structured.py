r"""The NTK from structured derivatives: products are paired before they are multiplied out.

A leaf's gradient is a sum of products, :math:`G_i = \sum A_i B_i` (``_walk``). The kernel needs
:math:`\sum_{cf} G_i G_j` only, and for a dense layer

.. math::

    \Theta_{ij}^{oo'} = \sum_{cf} A_{ic} B_{if}^o A_{jc} B_{jf}^{o'}
        = (A_i \cdot A_j)\,(B_i^o \cdot B_j^{o'}),

without any array of the size of the leaf. *Prepare* evaluates the operands for a tile of examples,
*combine* multiplies those of two tiles in the cheapest order (``_contract``).

Differs from the paper / reference:
  1. Novak et al. (2022), section 3.4, choose among orders by operation counts for the whole kernel;
     here each pair of terms has its own order, chosen by operations and bytes, and each leaf either
     keeps its operands or is multiplied out first, whichever is predicted to be cheaper.
  2. An example's operands do not depend on other examples; where they do, the whole batch is one
     example with as many outputs (``batch_axis=None``).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from theorylab.empirical._axes import COLUMN, ROW, Axes, widest
from theorylab.empirical._contract import multiply, plan, spread
from theorylab.empirical._forms import Form, Group, Read
from theorylab.empirical._methods import Method
from theorylab.empirical._pairs import as_column, contract, natural, pair
from theorylab.empirical._terms import COTANGENT, X

Tree = Any


class _Rows(NamedTuple):
    """What a tile holds for one output; ``examples`` (n, 0) says how many rows, and the dtype."""

    leaves: list[list[list[jax.Array]]]
    examples: jax.Array


class Side(NamedTuple):
    """For each output the backward pass that was read, and a form for each leaf."""

    reads: Sequence[Read]
    forms: Sequence[Sequence[Form]]


def structured(rows: Side, columns: Side, floats: list[jax.Array], *, whole: bool) -> Method:
    """Build the method; rows and columns differ where two whole batches differ in length."""
    dtype = widest(floats)

    def prepare(x: Tree) -> list[Any]:
        n = jax.tree.leaves(x)[0].shape[0]
        own = rows if not whole or _length(rows) == n else columns
        return [
            _Rows(_held_arrays(read, forms, floats, x, whole), jnp.zeros((n, 0), dtype))
            for read, forms in zip(own.reads, own.forms, strict=True)
        ]

    def combine(first: Any, second: Any) -> list[jax.Array]:
        sides = zip(rows.reads, rows.forms, columns.forms, first, second, strict=True)
        return [_block(read.axes, *rest) for read, *rest in sides]

    return Method(prepare, combine)


def _length(side: Side) -> int:
    """Examples in the whole batch that was read as one."""
    program = side.reads[0].program
    return program.shapes[program.inputs[-1]].shape[0]


def _held_arrays(
    read: Read, forms: Sequence[Form], floats: list[jax.Array], x: Tree, whole: bool
) -> list[list[list[jax.Array]]]:
    """For each leaf and term the arrays that it holds, for all examples of a tile."""
    program = read.program
    groups = [group for form in forms for term in form.evaluated for group in term]
    wanted = sorted({variable for group in groups for variable, _ in group.factors})
    cotangent = program.shapes[program.inputs[-1]]
    outputs = cotangent.shape
    count = math.prod(outputs)
    basis = jnp.eye(count, dtype=cotangent.dtype).reshape(count, *outputs)

    def one(x: Tree) -> list[jax.Array]:
        inputs = [*floats, *jax.tree.leaves(x)]

        def at(cotangent: jax.Array) -> list[jax.Array]:
            return program.evaluate([*inputs, cotangent], wanted)

        axes = [0 if program.depends[v] & COTANGENT else None for v in wanted]
        return jax.vmap(at, out_axes=axes)(basis)

    if whole:
        found = one(x)
    else:
        axes = [0 if program.depends[v] & X else None for v in wanted]
        found = jax.vmap(one, out_axes=axes)(x)
    values = {}
    for v, value in zip(wanted, found, strict=True):
        bits = program.depends[v]
        batch = jnp.shape(value)[:1] if bits & X and not whole else ()
        seen = outputs if bits & COTANGENT else ()
        own = [n for n in program.shapes[v].shape if n != 1]
        values[v] = jnp.reshape(value, (*batch, *seen, *own))
    made = []
    for form in forms:
        terms = [[_product_of(group, values) for group in term] for term in form.evaluated]
        made.append([[_multiplied_out(form, terms)]] if form.source else terms)
    return made


def _multiplied_out(form: Form, terms: list[list[jax.Array]]) -> jax.Array:
    """The Jacobian of a leaf, with the labels that its form says, from the operands."""
    ((whole,),) = form.terms
    labels = whole.held.labels
    total: Any = 0.0
    dtype = widest(array for groups in terms for array in groups)
    for groups, arrays in zip(form.source, terms, strict=True):
        held = [group.held.labels for group in groups]
        sizes = {
            k: n
            for own, a in zip(held, arrays, strict=True)
            for k, n in zip(own, a.shape, strict=True)
        }
        arrays = [array.astype(dtype) for array in arrays]
        total = total + multiply(arrays, held, labels, plan(held, labels, sizes).order)
    return total


def _product_of(group: Group, values: dict[int, jax.Array]) -> jax.Array:
    labels = group.held.labels
    if group.held.index_of is not None:
        return values[group.factors[0][0]]
    result = None
    dtype = widest(values[variable] for variable, _ in group.factors)
    for variable, own in group.factors:
        value = values[variable]
        factor = spread(value.astype(dtype), own, labels)
        result = factor if result is None else result * factor
    assert result is not None
    return result


def _block(
    axes: Axes,
    row_forms: Sequence[Form],
    column_forms: Sequence[Form],
    rows: _Rows,
    columns: _Rows,
) -> jax.Array:
    """The kernel between two tiles: a sum over leaves, and over pairs of their terms."""
    out = natural(axes)
    total: Any = jnp.zeros((1,) * len(out), rows.examples.dtype)
    for own, other, row_arrays, column_arrays in zip(
        row_forms, column_forms, rows.leaves, columns.leaves, strict=True
    ):
        for row, a in zip(own.terms, row_arrays, strict=True):
            held = [group.held for group in row]
            for column, b in zip(other.terms, column_arrays, strict=True):
                moved = [as_column(group.held, axes, other.leaf) for group in column]
                sizes: dict[int, int] = {}
                for h, array in zip([*held, *moved], [*a, *b], strict=True):
                    sizes.update(zip(h.labels, array.shape, strict=True))
                chosen = pair(held, moved, out, sizes)
                block = contract(chosen, a, b, held, moved, out)
                total = total + block.astype(rows.examples.dtype)
    lengths = {ROW: len(rows.examples), COLUMN: len(columns.examples)}
    for labels in axes.labels[:2]:
        lengths.update(zip(labels, axes.sizes, strict=True))
    total = jnp.broadcast_to(total, [lengths[label] for label in out])
    order = [out.index(label) for label in (ROW, COLUMN, *axes.labels[2])]
    return total.transpose(order) / axes.traced_size
