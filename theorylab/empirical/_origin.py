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


def origin_of(params: Tree) -> Origin:
    """Check the expansion point."""
    split, structure = split_params(params)
    return Origin(split.floats, split.fixed, structure)
