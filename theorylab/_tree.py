"""Pytrees at the border: names for leaves in error messages, common leading axes."""

from typing import Any

import jax


def leaf_name(name: str, path: tuple[Any, ...]) -> str:
    """``name`` followed by the path of a leaf inside it, e.g. ``x1[0]['image']``."""
    return name + jax.tree_util.keystr(path)


def leaves_with_names(name: str, tree: Any) -> list[tuple[str, Any]]:
    """The leaves of ``tree`` with their names, in order; ``None`` counts as no leaf."""
    return [
        (leaf_name(name, path), leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    ]
