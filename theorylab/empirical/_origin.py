"""The point around which a network is expanded, and the way from there.

Differs from the paper / reference:
  1. Leaves that are not floating point (counters, random keys) are those of the expansion point.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from theorylab.empirical._function import Structure, split_params

Tree = Any


class Origin(NamedTuple):
    """Parameters at the expansion point."""

    floats: list[jax.Array]
    fixed: list[Any]
    structure: Structure

    def steps(self, params: Tree) -> list[jax.Array]:
        """Differences of the floating leaves from the expansion point."""
        here = jax.tree.structure(params)
        if here != self.structure.treedef:
            raise ValueError(
                "params must have the tree structure of the expansion point, "
                f"{self.structure.treedef}, got {here}"
            )
        own = zip(jax.tree.leaves(params), self.structure.is_float, strict=True)
        leaves = [leaf for leaf, is_float in own if is_float]
        steps = []
        for place, (leaf, start) in enumerate(zip(leaves, self.floats, strict=True)):
            if jnp.shape(leaf) != start.shape:
                raise ValueError(
                    f"params: floating leaf {place} must have the shape of the expansion point's, "
                    f"{start.shape}, got {jnp.shape(leaf)}"
                )
            steps.append(jnp.asarray(leaf, start.dtype) - start)
        return steps


@jax.tree_util.register_static
class _Place:
    """Marks the place of a floating output."""


class Outputs(NamedTuple):
    """What ``f`` returns, with marks in the places of its floating leaves."""

    rest: Tree

    def together(self, floats: list[jax.Array]) -> Tree:
        """Put floating leaves into their places."""
        given = iter(floats)
        is_mark = lambda a: isinstance(a, _Place)  # noqa: E731
        return jax.tree.map(lambda a: next(given) if is_mark(a) else a, self.rest, is_leaf=is_mark)


def apart(out: Tree) -> tuple[list[jax.Array], Outputs]:
    """Floating leaves of what ``f`` returns, and the rest, which has no derivative."""
    leaves = jax.tree.leaves(out)
    treedef: Any = jax.tree.structure(out)
    is_float = [jnp.issubdtype(jnp.result_type(a), jnp.floating) for a in leaves]
    floats = [a for a, own in zip(leaves, is_float, strict=True) if own]
    rest = [_Place() if own else a for a, own in zip(leaves, is_float, strict=True)]
    return floats, Outputs(treedef.unflatten(rest))


def origin_of(params: Tree) -> Origin:
    """Check the expansion point."""
    split, structure = split_params(params)
    return Origin(split.floats, split.fixed, structure)
