"""Records: frozen dataclasses that are pytrees *and* tell each other apart as such.

``jax.tree_util.register_dataclass`` leaves the class out of the comparison of tree structures (seen
in jax 0.10.1 and 0.12.0): two networks that differ in ``Relu()`` against ``Abs()`` alone have equal
structures with different hashes, so ``jit`` now and then runs the one's program for the other,
depending on how the hashes fall into its cache. Here the class is part of the structure.
"""

import dataclasses
import typing
from typing import Any, TypeVar

import jax

T = TypeVar("T")


@typing.dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def record(cls: type[T]) -> type[T]:
    """Make ``cls`` a frozen dataclass and a pytree.

    Fields with ``metadata={"static": True}`` belong to the structure, all others are children.
    ``__post_init__`` runs when a person makes a record, not when JAX rebuilds one.
    """
    cls = dataclasses.dataclass(frozen=True)(cls)
    fields = dataclasses.fields(cls)  # type: ignore[arg-type]
    static = tuple(f.name for f in fields if f.metadata.get("static"))
    children = tuple(f.name for f in fields if not f.metadata.get("static"))
    keys = tuple(jax.tree_util.GetAttrKey(name) for name in children)

    def flatten(self: T) -> tuple[tuple[Any, ...], Any]:
        structure = (cls, tuple(getattr(self, name) for name in static))
        return tuple(getattr(self, name) for name in children), structure

    def flatten_with_keys(self: T) -> tuple[tuple[tuple[Any, Any], ...], Any]:
        values, structure = flatten(self)
        return tuple(zip(keys, values, strict=True)), structure

    def unflatten(structure: Any, values: Any) -> T:
        self = object.__new__(cls)
        for name, value in zip(static + children, (*structure[1], *values), strict=True):
            object.__setattr__(self, name, value)
        return self

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls
