"""The user's function ``f(params, x)``, checked and brought to the form that kernels need.

Differs from the paper / reference:
  1. No paper. Leaves of ``params`` that are not floating point (counters, random keys) are held
     fixed; half-precision leaves are widened to float32 before anything is computed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from theorylab._tree import leaves_with_names

Tree = Any


class Split(NamedTuple):
    """A pytree of parameters, taken apart: ``floats`` are differentiated, ``fixed`` are not."""

    floats: list[jax.Array]
    fixed: list[Any]


class Structure(NamedTuple):
    """How to put a :class:`Split` together again; hashable."""

    treedef: Any
    is_float: tuple[bool, ...]

    def join(self, split: Split) -> Tree:
        """Rebuild the pytree that was split."""
        floats, fixed = iter(split.floats), iter(split.fixed)
        return self.treedef.unflatten([next(floats if own else fixed) for own in self.is_float])


class Opaque:
    """Wraps a function that cannot be hashed, so that it can be a static argument (of one call)."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self.f = f

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.f(*args, **kwargs)


def hashable(f: Any) -> Callable[[Tree, Tree], Tree]:
    """``f`` itself where it can be hashed, which lets compiled code be found again."""
    if not callable(f):
        raise TypeError(f"f must be a function f(params, x), got {type(f).__name__}")
    try:
        hash(f)
    except TypeError:
        return Opaque(f)
    return f


def split_params(params: Tree) -> tuple[Split, Structure]:
    """Separate the floating leaves, widened from half precision, from all others."""
    named = leaves_with_names("params", params)
    floats: list[jax.Array] = []
    fixed: list[Any] = []
    kinds = []
    for name, leaf in named:
        leaf = _array(name, leaf)
        kinds.append(bool(jnp.issubdtype(leaf.dtype, jnp.floating)))
        (floats if kinds[-1] else fixed).append(leaf)
    if not floats:
        raise ValueError("params must hold at least one floating-point array, got none")
    return Split(floats, fixed), Structure(jax.tree.structure(params), tuple(kinds))


def batch(name: str, x: Tree) -> tuple[Tree, int]:
    """Check a pytree of arrays with a common leading axis; also return its length."""
    named = leaves_with_names(name, x)
    if not named:
        raise ValueError(f"{name} must hold at least one array, got none")
    leaves = [_array(leaf_name, leaf) for leaf_name, leaf in named]
    for (leaf_name, _), leaf in zip(named, leaves, strict=True):
        if leaf.ndim == 0 or leaf.shape[0] == 0:
            raise ValueError(
                f"{leaf_name} must have a leading batch axis that is not empty, "
                f"got shape {leaf.shape}"
            )
        if leaf.shape[0] != leaves[0].shape[0]:
            raise ValueError(
                f"{leaf_name} must have the batch length {leaves[0].shape[0]} of {named[0][0]}, "
                f"got shape {leaf.shape}"
            )
    return jax.tree.unflatten(jax.tree.structure(x), leaves), leaves[0].shape[0]


def same_kind(x1: Tree, x2: Tree) -> None:
    """Require that two batches hold examples of the same structure and shape."""
    first: Any = jax.tree.structure(x1)
    second: Any = jax.tree.structure(x2)
    if first != second:
        raise ValueError(f"x2 must have the tree structure of x1, {first}, got {second}")
    for (name, b), a in zip(leaves_with_names("x2", x2), jax.tree.leaves(x1), strict=True):
        if a.shape[1:] != b.shape[1:]:
            raise ValueError(
                f"{name} must hold examples of the shape in x1, {a.shape[1:]}, got {b.shape[1:]}"
            )


def widened(tree: Tree) -> Tree:
    """Half-precision leaves as float32."""
    return jax.tree.map(lambda a: a.astype(jnp.float32) if _half(a.dtype) else a, tree)


def output_shapes(f: Callable[[Tree, Tree], Tree], params: Tree, x: Tree) -> Tree:
    """Shapes and dtypes of ``f`` for a batch of one, batch axis included, checked."""
    one = jax.tree.map(lambda a: jax.ShapeDtypeStruct((1, *a.shape[1:]), a.dtype), x)
    shapes = jax.eval_shape(lambda p, a: widened(f(p, a)), params, one)
    named = leaves_with_names("f(params, x)", shapes)
    if not named:
        raise ValueError("f(params, x) must return at least one array, got none")
    for name, leaf in named:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(f"{name} must be a real floating-point array, got dtype {leaf.dtype}")
        if leaf.ndim == 0 or leaf.shape[0] != 1:
            raise ValueError(
                f"{name} must keep the batch axis of x in front: "
                f"a batch of 1 example gave shape {leaf.shape}"
            )
        if 0 in leaf.shape:
            raise ValueError(f"{name} must not be empty, got shape {leaf.shape} for 1 example")
    return shapes


def one_example(
    f: Callable[[Tree, Tree], Tree], structure: Structure, fixed: list[Any]
) -> Callable[[list[jax.Array], Tree], list[jax.Array]]:
    """``g(floats, x_i)``: the list of outputs of a single example, without batch axis."""

    def g(floats: list[jax.Array], example: Tree) -> list[jax.Array]:
        params = structure.join(Split(floats, fixed))
        out = f(params, jax.tree.map(lambda a: a[None], example))
        return [leaf[0] for leaf in jax.tree.leaves(widened(out))]

    return g


def _half(dtype: Any) -> bool:
    return bool(jnp.issubdtype(dtype, jnp.floating)) and np.dtype(dtype).itemsize < 4


def _array(name: str, leaf: Any) -> Any:
    if not hasattr(leaf, "dtype"):
        if not isinstance(leaf, bool | int | float | complex):
            raise TypeError(f"{name} must be an array, got {type(leaf).__name__}")
        leaf = jnp.asarray(leaf)
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
        raise TypeError(f"{name} must be real, got the complex dtype {leaf.dtype}")
    if _half(leaf.dtype):
        return jnp.asarray(leaf, jnp.float32)
    return leaf
