"""What goes through a batch one after the other on CPUs, and together elsewhere.

Two reasons:

- *Loops of unknown length*. Together, every turn takes as long as its slowest problem does: with
  Newton's method on 16 problems of 128 points, three times the products that they need alone. An
  accelerator has the room for it, a CPU has not.
- *Factorizations* (QR, eigenvectors, Cholesky, SVD). Those of a batch are shared out to JAX's pool
  of threads by a thread of this pool, which waits for them. If all threads do so at a time, they
  wait for ever (seen with two QRs on two cores, jaxlib 0.10.1). One matrix alone is computed where
  it is called.

Differs from the paper / reference:
  1. No paper.
"""

from collections.abc import Callable
from typing import Any

import jax


def one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of arrays, which under ``vmap`` becomes a loop on CPUs; not to be derived."""
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
