"""The user's function ``f(params, x, **kwargs)``, checked and brought to the form kernels need.

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
_ARRAY = object()  # stands for an array among keyword arguments


class Split(NamedTuple):
    """What a call of ``f`` takes beside inputs: only ``floats`` are differentiated.

    ``fixed`` are the other leaves of the parameters, ``options`` the arrays in keyword arguments.
    """

    floats: list[jax.Array]
    fixed: list[Any]
    options: list[Any]


class Keywords(NamedTuple):
    """How to put keyword arguments together again; hashable.

    ``plain`` are the leaves that are no arrays, None in the place of those that are. Each comes
    with its type and, for numbers, how it is written: 1, 1.0 and True are equal, and so are 0.0 and
    -0.0, but a function may tell them apart.
    """

    treedef: Any
    plain: tuple[tuple[Any, type, str], ...]
    is_array: tuple[bool, ...]

    def join(self, options: list[Any]) -> dict[str, Any]:
        """Rebuild the keyword arguments from their arrays."""
        arrays = iter(options)
        leaves = zip(self.is_array, self.plain, strict=True)
        return self.treedef.unflatten([next(arrays) if own else value[0] for own, value in leaves])


class Structure(NamedTuple):
    """How to put a :class:`Split` together again; hashable."""

    treedef: Any
    is_float: tuple[bool, ...]
    keywords: Keywords

    def join(self, split: Split) -> Tree:
        """Rebuild the pytree of parameters."""
        floats, fixed = iter(split.floats), iter(split.fixed)
        return self.treedef.unflatten([next(floats if own else fixed) for own in self.is_float])

    def call(self, f: Callable[..., Tree], split: Split, x: Tree) -> Tree:
        """``f(params, x, **kwargs)``, half precision widened in its results."""
        return widened(f(self.join(split), x, **self.keywords.join(split.options)))


class Opaque:
    """A function that cannot be hashed, as a static argument: known by its identity.

    A bound method is made anew whenever it is named, so it is known by its object and function.
    """

    def __init__(self, f: Callable[..., Any]) -> None:
        self.f = f
        owner = getattr(f, "__self__", None)
        method = getattr(f, "__func__", None)
        self.known_by = (id(f),) if owner is None or method is None else (id(owner), id(method))

    def __hash__(self) -> int:
        return hash(self.known_by)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and self.known_by == other.known_by

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.f(*args, **kwargs)


def hashable(f: Any) -> Callable[..., Tree]:
    """``f`` itself where it can be hashed, which lets compiled code be found again."""
    if not callable(f):
        raise TypeError(f"f must be a function f(params, x), got {type(f).__name__}")
    try:
        hash(f)
    except TypeError:
        return Opaque(f)
    return f


def split_params(params: Tree, kwargs: dict[str, Any] | None = None) -> tuple[Split, Structure]:
    """Separate the floating leaves, widened from half precision, from all others.

    Of keyword arguments arrays are traced, anything else is part of the function (``train=False``).
    """
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
    options, keywords = split_keywords(kwargs or {})
    structure = Structure(jax.tree.structure(params), tuple(kinds), keywords)
    return Split(floats, fixed, options), structure


def split_keywords(kwargs: dict[str, Any]) -> tuple[list[Any], Keywords]:
    """Separate arrays, which are traced, from all else, which is part of the function."""
    options: list[Any] = []
    plain: list[Any] = []
    for name, leaf in leaves_with_names("kwargs", kwargs):
        traced = hasattr(leaf, "dtype") and hasattr(leaf, "shape")
        if traced:
            options.append(leaf)
        else:
            try:
                hash(leaf)
            except TypeError:
                got = type(leaf).__name__
                raise TypeError(f"{name} must be an array or hashable, got {got}") from None
        plain.append(_ARRAY if traced else leaf)
    is_array = tuple(value is _ARRAY for value in plain)
    kept = tuple(
        (None, type(None), "")
        if value is _ARRAY
        else (value, type(value), repr(value) if isinstance(value, float | complex) else "")
        for value in plain
    )
    return options, Keywords(jax.tree.structure(kwargs), kept, is_array)


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


def output_shapes(f: Callable[..., Tree], structure: Structure, split: Split, x: Tree) -> Tree:
    """Shapes and dtypes of ``f`` for the batch ``x``, checked, with 1 in place of its length.

    A batch of one must give the same shapes; it is tried, in shapes alone.
    """
    n = jax.tree.leaves(x)[0].shape[0]
    one = jax.tree.map(lambda a: jax.ShapeDtypeStruct((1, *a.shape[1:]), a.dtype), x)
    shapes = batch_shapes(f, structure, split, one, 1)
    if n == 1:
        return shapes
    whole = batch_shapes(f, structure, split, x, n)
    require_same_outputs(shapes, whole, 1, n)
    return shapes


def require_same_outputs(shapes: Tree, others: Tree, n: int, m: int) -> None:
    """Require that batches of n and of m examples give the same outputs for each."""
    first: Any = jax.tree.structure(shapes)
    second: Any = jax.tree.structure(others)
    if first != second:
        raise ValueError(
            f"f(params, x) must return the same tree for every batch: a batch of {n} gave {first}, "
            f"a batch of {m} gave {second}"
        )
    for (name, a), (_, b) in zip(
        leaves_with_names("f(params, x)", shapes),
        leaves_with_names("f(params, x)", others),
        strict=True,
    ):
        if a.shape[1:] != b.shape[1:]:
            raise ValueError(
                f"{name} must have the same shape for every example: a batch of {n} gave "
                f"{a.shape}, a batch of {m} gave {b.shape}"
            )


def batch_shapes(
    f: Callable[..., Tree], structure: Structure, split: Split, x: Tree, n: int
) -> Tree:
    """Shapes and dtypes of ``f`` for a batch of n, checked."""
    shapes = jax.eval_shape(lambda s, a: structure.call(f, s, a), split, x)
    named = leaves_with_names("f(params, x)", shapes)
    if not named:
        raise ValueError("f(params, x) must return at least one array, got none")
    for name, leaf in named:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(f"{name} must be a real floating-point array, got dtype {leaf.dtype}")
        if leaf.ndim == 0 or leaf.shape[0] != n:
            raise ValueError(
                f"{name} must keep the batch axis of x in front: "
                f"a batch of {n} example{'s' * (n > 1)} gave shape {leaf.shape}"
            )
        if 0 in leaf.shape:
            raise ValueError(
                f"{name} must not be empty, got shape {leaf.shape} for {n} example{'s' * (n > 1)}"
            )
    return shapes


def one_example(
    f: Callable[..., Tree], structure: Structure, split: Split
) -> Callable[[list[jax.Array], Tree], list[jax.Array]]:
    """``g(floats, x_i)``: the list of outputs of a single example, without batch axis."""

    def g(floats: list[jax.Array], example: Tree) -> list[jax.Array]:
        batch = jax.tree.map(lambda a: a[None], example)
        out = structure.call(f, split._replace(floats=floats), batch)
        return [leaf[0] for leaf in jax.tree.leaves(out)]

    return g


def whole_batch(
    f: Callable[..., Tree], structure: Structure, split: Split
) -> Callable[[list[jax.Array], Tree], list[jax.Array]]:
    """``g(floats, x)``: the list of outputs of all examples, which may depend on each other."""

    def g(floats: list[jax.Array], x: Tree) -> list[jax.Array]:
        return jax.tree.leaves(structure.call(f, split._replace(floats=floats), x))

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
    if isinstance(leaf, np.ndarray | np.generic):  # as JAX will hold it
        return np.asarray(leaf, jax.dtypes.canonicalize_dtype(leaf.dtype))
    return leaf
