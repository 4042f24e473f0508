"""A loop of unknown length in a batch: problems one after the other on CPUs, together elsewhere.

Together, every turn takes as long as its slowest problem does: with Newton's method on 16 problems
of 128 points, three times the products that they need alone. An accelerator has the room for it, a
CPU has not.

Differs from the paper / reference:
  1. No paper.
"""

from collections.abc import Callable
from typing import Any

import jax


def one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of arrays, which under ``vmap`` becomes a loop on CPUs."""
    if jax.default_backend() != "cpu":
        return function
    run = jax.custom_batching.custom_vmap(function)

    @run.def_vmap
    def _(size: int, batched: Any, *arguments: Any) -> tuple[Any, Any]:
        leaves, structure = jax.tree.flatten(arguments)
        marks = jax.tree.leaves(batched)
        moving = [leaf for leaf, mark in zip(leaves, marks, strict=True) if mark]

        def alone(given: list[jax.Array]) -> Any:
            rest = iter(given)
            own = [next(rest) if mark else leaf for leaf, mark in zip(leaves, marks, strict=True)]
            return run(*jax.tree.unflatten(structure, own))

        found = jax.lax.map(alone, moving)
        return found, jax.tree.map(lambda _: True, found)

    return run
