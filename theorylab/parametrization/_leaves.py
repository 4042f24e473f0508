"""Leaves of a tree of parameters, by name.

Trees of specs, scales, parameters and updates are matched by the names of their leaves, not by
their structures: structures hold static sizes (equinox), and leave out what an optimizer masks.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Name = tuple[str, ...]


def _word(key: Any) -> str:
    """One key of a path without its brackets."""
    for field in ("key", "name", "idx"):
        if hasattr(key, field):
            return str(getattr(key, field))
    return str(key)


def words(path: tuple[Any, ...]) -> Name:
    """The keys of a path."""
    return tuple(_word(key) for key in path)


def flatten(tree: Any) -> tuple[list[tuple[Name, Any]], Any]:
    """The leaves with the keys of their paths, and the structure.

    An attribute ``value`` that has no siblings is flax's box round an array, and left out.
    """
    flat, treedef = jax.tree_util.tree_flatten_with_path(tree)
    siblings = Counter(path[:-1] for path, _ in flat)

    def name(path: tuple[Any, ...]) -> Name:
        boxed = len(path) > 1 and getattr(path[-1], "name", None) == "value"
        return words(path[:-1] if boxed and siblings[path[:-1]] == 1 else path)

    return [(name(path), leaf) for path, leaf in flat], treedef


def named(tree: Any) -> dict[str, Any]:
    """The leaves by name, the keys joined by slashes; in order."""
    found: dict[str, Any] = {}
    for keys, leaf in flatten(tree)[0]:
        name = "/".join(keys)
        if name in found:
            raise ValueError(f"two leaves have the name {name!r}: keys must not hold slashes")
        found[name] = leaf
    return found


def is_statistic(name: Name) -> bool:
    """Whether a leaf is one of flax's running means and variances, which are not trained."""
    return "batch_stats" in name


def is_weight(leaf: Any) -> bool:
    """Whether a leaf is an array of floating-point numbers, or the shape of one."""
    dtype = getattr(leaf, "dtype", None)
    return hasattr(leaf, "shape") and dtype is not None and jnp.issubdtype(dtype, jnp.inexact)


def scaled(x: Any, factor: float) -> Any:
    """``factor x``; exactly x, and the same object, for a factor of 1."""
    return x if factor == 1 else x * factor


def _in_pieces() -> bool:
    """Whether arrays are seen piece by piece, inside ``shard_map``: shapes are then not whole."""
    return bool(jax.sharding.get_abstract_mesh().manual_axes)


def map_leaves(what: str, tree: Any, scales: Any, function: Callable[[Any, Any, str], Any]) -> Any:
    """``function(leaf, scale, name)`` for every weight of ``tree``; other leaves stay."""
    by_name = named(scales)
    flat, treedef = flatten(tree)
    out = []
    for keys, leaf in flat:
        name = "/".join(keys)
        if not is_weight(leaf):
            out.append(leaf)
            continue
        if name not in by_name:
            known = ", ".join(list(by_name)[:3]) or "none"
            raise ValueError(
                f"{what}: no scale for the leaf {name!r} of shape {jnp.shape(leaf)}; the scales "
                f"name {known}, ...: infer specs from the tree that is given here"
            )
        scale = by_name[name]
        if not hasattr(scale, "init_std"):
            raise TypeError(
                f"{what}: scales must hold a LeafScale at {name!r}, as leaf_scales returns them, "
                f"got {type(scale).__name__}"
            )
        if not _in_pieces() and tuple(scale.shape) != tuple(jnp.shape(leaf)):
            raise ValueError(
                f"{what}: the leaf {name!r} has shape {jnp.shape(leaf)}, its scale is for "
                f"{tuple(scale.shape)}: infer specs with this model as the target"
            )
        out.append(function(leaf, scale, name))
    return jax.tree_util.tree_unflatten(treedef, out)
