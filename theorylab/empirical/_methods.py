r"""Two of the three ways to a block of the NTK: prepare one tile, combine two of them.

*Jacobian contraction*: prepare the Jacobians :math:`J_i = \partial f(x_i) / \partial\theta`,
combine by :math:`J_i J_j^\top`, leaf by leaf. *NTK-vector products*: for each column and output,
pull a basis vector back to the parameters and push it forward through all rows, so that no two
Jacobians are multiplied.

Differs from the paper / reference:
  1. Novak, Sohl-Dickstein & Schoenholz (2022), sections 3.2 and 3.3, differentiate whole batches;
     here every Jacobian is of one example, so that memory is that of a tile, and outputs of one
     example must not depend on the others of its batch.
  2. Convolutions are evaluated as in ``_convolution``, since tiles and columns are loops.
  3. NTK-vector products go through the columns one by one, since all at once they would need the
     Jacobians.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from theorylab.empirical._axes import Axes, contract_jacobians, reduce_full, widest
from theorylab.empirical._jaxpr import standard

Tree = Any
Example = Callable[[list[jax.Array], Tree], list[jax.Array]]


class Method(NamedTuple):
    """``prepare(x)`` for a tile of inputs, ``combine(rows, columns)`` to a list of blocks.

    ``direct``: there is nothing to prepare.
    """

    prepare: Callable[[Tree], Any]
    combine: Callable[[Any, Any], list[jax.Array]]
    direct: bool = False


def jacobian(g: Example, floats: list[jax.Array], axes: list[Axes], *, whole: bool) -> Method:
    """Jacobian contraction; ``whole``: what ``g`` takes is a batch, not one example."""

    def prepare(x: Tree) -> list[list[jax.Array]]:
        one = standard(jax.jacrev(g), floats, x if whole else _first(x))
        jacobians = one(floats, x) if whole else jax.vmap(one, (None, 0))(floats, x)
        return [
            [leaf.reshape(*leaf.shape[: 1 + len(out.sizes)], -1) for leaf in leaves]
            for out, leaves in zip(axes, jacobians, strict=True)
        ]

    def combine(rows: Any, columns: Any) -> list[jax.Array]:
        blocks = []
        for out, row, column in zip(axes, rows, columns, strict=True):
            terms = [contract_jacobians(a, b, out) for a, b in zip(row, column, strict=True)]
            blocks.append(sum(terms[1:], terms[0]) / out.traced_size)
        return blocks

    return Method(prepare, combine)


def vector_product(
    g: Example, floats: list[jax.Array], axes: list[Axes], pulled: int, *, whole: bool
) -> Method:
    """NTK-vector products, with ``pulled`` copies of the parameters in memory at a time."""
    batched = g if whole else jax.vmap(g, (None, 0))

    def combine(rows: Tree, columns: Tree) -> list[jax.Array]:
        forward = standard(batched, floats, rows)
        push = jax.linearize(lambda p: forward(p, rows), floats)[1]

        def column(example: Tree) -> list[jax.Array]:
            outputs, pull = jax.vjp(lambda p: g(p, example), floats)
            products = []
            for k in range(len(axes)):

                def through(seed: jax.Array, k: int = k) -> jax.Array:
                    seeds = [seed if i == k else jnp.zeros_like(o) for i, o in enumerate(outputs)]
                    return push(pull(seeds)[0])[k]

                shape = outputs[k].shape
                basis = jnp.eye(math.prod(shape), dtype=outputs[k].dtype)
                seeds = basis.reshape(-1, *shape)
                full = jax.lax.map(through, seeds, batch_size=min(pulled, len(basis)))
                products.append(full.reshape(*shape, *full.shape[1:]))
            return products

        if whole:
            full = standard(column, columns)(columns)
        else:
            full = jax.lax.map(standard(column, _first(columns)), columns)
        dtype = widest(floats)  # that of a Jacobian
        return [
            reduce_full(leaf, out).astype(dtype) / out.traced_size
            for leaf, out in zip(full, axes, strict=True)
        ]

    return Method(lambda x: x, combine, direct=True)


def _first(x: Tree) -> Tree:
    """One example of a batch, in shapes."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), x)
