"""Inside of ``jax.shard_map``: over which devices a value varies is part of its type.

Two things go wrong where a value that is the same on all devices meets data that are not:

- The derivative of a loss that varies, with respect to what does not, is summed over devices: that
  of a replicated weight by each device's own loss would be the sum of all of theirs.
- A loop refuses to carry what varies after a turn and did not before.

Both are met by marking the value as varying beforehand. Outside of ``shard_map`` nothing varies,
and nothing is marked.

Differs from the paper / reference:
  1. No paper.
"""

from typing import Any

import jax


def _axes(leaf: Any) -> frozenset[Any]:
    kind = getattr(jax.typeof(leaf), "mat", None)
    return frozenset(getattr(kind, "varying", ()))


def varying_as(like: Any, tree: Any) -> Any:
    """``tree`` marked as varying over all devices that any leaf of ``like`` varies over."""
    found: frozenset[Any] = frozenset().union(*map(_axes, jax.tree.leaves(like)))

    def marked(leaf: Any) -> Any:
        missing = found - _axes(leaf)
        return jax.lax.pcast(leaf, tuple(sorted(missing)), to="varying") if missing else leaf

    return jax.tree.map(marked, tree)
