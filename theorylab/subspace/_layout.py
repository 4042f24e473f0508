"""Where the numbers of a tree of parameters lie in one long vector."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from theorylab._tree import leaf_name

# Offsets are int32 in XLA's programs unless x64 is on.
LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Layout:
    """Leaves in the order of JAX's flattening; ``selected`` are those that a projection moves.

    Leaves without entries are not among them.
    """

    treedef: Any
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    selected: tuple[bool, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of the selected leaves."""
        return tuple(
            prod(shape) for shape, use in zip(self.shapes, self.selected, strict=True) if use
        )

    @property
    def fingerprint(self) -> str:
        """A checksum of names, shapes, dtypes and the selection; the same in every process."""
        leaves = [self.names, self.shapes, self.dtypes, self.selected]
        return sha256(json.dumps(leaves).encode()).hexdigest()[:16]

    def check(self, tree: Any, what: str) -> list[Any]:
        """The leaves of ``tree``; raises where it is not of this layout. Dtypes may differ."""
        flat, treedef = jax.tree_util.tree_flatten_with_path(tree)
        if treedef != self.treedef:
            names = [leaf_name("", path) for path, _ in flat]
            extra = [name for name in names if name not in self.names]
            missing = [name for name in self.names if name not in names]
            how = (
                f"it lacks {what}{missing[0]}"
                if missing
                else f"{what}{extra[0]} is new"
                if extra
                else f"the structures are {treedef} and {self.treedef}"
            )
            raise ValueError(f"{what} must have the structure of the projection's `like`: {how}")
        leaves = [leaf for _, leaf in flat]
        for name, shape, use, leaf in zip(
            self.names, self.shapes, self.selected, leaves, strict=True
        ):
            if not use:
                continue
            if tuple(jnp.shape(leaf)) != shape:
                raise ValueError(
                    f"{what}{name} must have the shape {shape} that it has in the projection's "
                    f"`like`, got {tuple(jnp.shape(leaf))}"
                )
            dtype = jnp.result_type(leaf)
            if not jnp.issubdtype(dtype, jnp.floating):
                raise TypeError(f"{what}{name} must be of real floating point, got {dtype}")
        return leaves

    def pieces(self, tree: Any, what: str) -> list[jax.Array]:
        """The selected leaves of ``tree``, each as a vector."""
        leaves = zip(self.selected, self.check(tree, what), strict=True)
        return [jnp.asarray(leaf).reshape(-1) for use, leaf in leaves if use]

    def tree(self, pieces: list[jax.Array]) -> Any:
        """A tree with these vectors as its selected leaves, each cast to its dtype, else zeros."""
        rest = iter(pieces)
        leaves = [
            next(rest).astype(dtype).reshape(shape) if use else jnp.zeros(shape, dtype)
            for shape, dtype, use in zip(self.shapes, self.dtypes, self.selected, strict=True)
        ]
        return jax.tree_util.tree_unflatten(self.treedef, leaves)


def _selection(like: Any, mask: Any) -> list[bool]:
    """One mark for every leaf of ``like``; ``mask`` is a tree of bools that may end earlier."""
    if mask is None:
        return [True] * len(jax.tree.leaves(like))
    # Modules of equinox are callable, and trees.
    if callable(mask) and jax.tree_util.all_leaves([mask]):
        mask = mask(like)

    def spread(mark: Any, below: Any) -> Any:
        if not isinstance(mark, bool | np.bool_):
            raise TypeError(f"mask must hold bools, got {mark!r}")
        return jax.tree.map(lambda _: bool(mark), below)

    try:
        return jax.tree.leaves(jax.tree.map(spread, mask, like))
    except ValueError as error:
        raise ValueError(f"mask must be a prefix of `like` with bools as leaves: {error}") from None


def layout_of(like: Any, mask: Any | Callable[[Any], Any] = None) -> Layout:
    """The layout of ``like``, a tree of arrays or of their shapes."""
    flat, treedef = jax.tree_util.tree_flatten_with_path(like)
    selected = _selection(like, mask)
    for (path, leaf), use in zip(flat, selected, strict=True):
        name = leaf_name("like", path)
        if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
            raise TypeError(
                f"{name} must be an array or the shape of one, got {type(leaf).__name__}: give the "
                "arrays alone (equinox: eqx.filter(model, eqx.is_inexact_array); "
                "nnx: nnx.state(model, nnx.Param))"
            )
        if use and not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(
                f"{name} must be of real floating point, got {leaf.dtype}: leave it out by `mask`"
            )
    # What holds nothing is not moved.
    selected = [use and prod(leaf.shape) > 0 for (_, leaf), use in zip(flat, selected, strict=True)]
    if not any(selected):
        why = "has no leaves" if not flat else "has no leaf that `mask` selects"
        raise ValueError(f"like must hold parameters, but it {why}")
    return Layout(
        treedef,
        tuple(leaf_name("", path) for path, _ in flat),
        tuple(tuple(leaf.shape) for _, leaf in flat),
        tuple(str(jnp.dtype(leaf.dtype)) if hasattr(leaf, "dtype") else "" for _, leaf in flat),
        tuple(selected),
    )
