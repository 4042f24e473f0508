"""Base shapes on disk: what a run needs of its base model, as JSON.

Format: ``{"format": "theorylab base shapes", "version": 1, "leaves": {name: [base, delta]}}`` with
two shapes for each leaf.
"""

import json
import os
from typing import Any

import jax

from theorylab.parametrization._compare import evaluated, grown_axes, shapes
from theorylab.parametrization._leaves import flatten, is_weight
from theorylab.parametrization._modules import head_sizes

FORMAT = "theorylab base shapes"
VERSION = 1
LARGEST = 64 * 2**20  # bytes; a leaf takes about a hundred


def save_base_shapes(path: str | os.PathLike[str], base: Any, delta: Any) -> None:
    """Write the shapes of base and delta, with which :func:`infer_specs` knows every width.

    Parameters
    ----------
    path
        File to be written, replaced if it exists.
    base, delta
        As for :func:`infer_specs`.

    Raises
    ------
    ValueError, TypeError
        As :func:`infer_specs`, for trees that differ in more than widths or in nothing.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import jax.numpy as jnp
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "base.json"
    >>> save_base_shapes(path, {"w": jnp.zeros((4, 2))}, {"w": jnp.zeros((8, 2))})
    >>> load_base_shapes(path, {"w": jnp.zeros((64, 2))})[0]["w"].shape
    (4, 2)
    """
    small, changed = shapes("base", evaluated("base", base)), shapes("delta", delta)
    grown_axes(small, changed)
    leaves = {name: [list(leaf.shape), list(changed[name].shape)] for name, leaf in small.items()}
    text = json.dumps({"format": FORMAT, "version": VERSION, "leaves": leaves}, indent=1)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text + "\n")


def load_base_shapes(path: str | os.PathLike[str], like: Any) -> tuple[Any, Any]:
    """Read base and delta: ``infer_specs(*load_base_shapes(path, target), target)``.

    Parameters
    ----------
    path
        File of :func:`save_base_shapes`.
    like
        The target: a tree of arrays or shapes, or a function that returns one, as for
        :func:`infer_specs`. The trees that are returned have its structure.

    Returns
    -------
    base, delta
        Trees of ``jax.ShapeDtypeStruct``, dtypes being those of ``like``.

    Raises
    ------
    ValueError
        If the file is not of this format or version, or has other leaves than ``like``.
    NotImplementedError
        If ``like`` has equinox's attention: the length of its heads is not in any shape. Make the
        base model itself with ``eqx.filter_eval_shape`` instead.
    """
    if os.path.getsize(path) > LARGEST:
        raise ValueError(f"{os.fspath(path)!r} is larger than {LARGEST} bytes: no base shapes")
    with open(path, encoding="utf-8") as file:
        try:
            held = json.load(file)
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"{os.fspath(path)!r} is no JSON: {error}") from None
    leaves = _checked(os.fspath(path), held)
    tree = evaluated("like", like)
    if head_sizes(tree):
        raise NotImplementedError(
            "base shapes do not hold the length of heads of equinox's MultiheadAttention: give "
            "infer_specs the base model, by eqx.filter_eval_shape"
        )
    flat, treedef = flatten(tree)
    names = {"/".join(keys) for keys, leaf in flat if is_weight(leaf)}
    if names != set(leaves):
        name = sorted(names ^ set(leaves))[0]
        have, lack = ("like", "the file") if name in names else ("the file", "like")
        raise ValueError(f"{have} has a leaf {name!r} that {lack} lacks: the layers must agree")
    trees: list[list[Any]] = [[], []]
    for keys, leaf in flat:
        for kept, shape in zip(trees, leaves.get("/".join(keys), (None, None)), strict=True):
            weight = is_weight(leaf) and shape is not None
            kept.append(jax.ShapeDtypeStruct(tuple(shape), leaf.dtype) if weight else leaf)
    base, delta = (jax.tree_util.tree_unflatten(treedef, kept) for kept in trees)
    return base, delta


def _checked(path: str, held: Any) -> dict[str, Any]:
    """The leaves of a file, if it is one of ours."""
    if not isinstance(held, dict) or held.get("format") != FORMAT:
        raise ValueError(f"{path!r} holds no base shapes: its format must be {FORMAT!r}")
    if held.get("version") != VERSION:
        raise ValueError(f"{path!r} has version {held.get('version')!r}, known is {VERSION}")
    leaves = held.get("leaves")
    if not isinstance(leaves, dict):
        raise ValueError(f"{path!r}: leaves must be an object, got {type(leaves).__name__}")
    for name, pair in leaves.items():
        fair = (
            isinstance(pair, list)
            and len(pair) == 2
            and all(isinstance(shape, list) for shape in pair)
            and all(type(size) is int and size > 0 for shape in pair for size in shape)
        )
        if not fair:
            raise ValueError(
                f"{path!r}: {name!r} must have two shapes of positive sizes, got {pair!r}"
            )
    return leaves
