"""What layers of equinox say of their leaves by their class, which the leaves' names do not."""

import dataclasses
from typing import Any

import jax

from theorylab.parametrization._leaves import named, words
from theorylab.parametrization._rules import Rule
from theorylab.parametrization._spec import LeafSpec

CLASSES = {
    "Embedding": "embedding",
    "LayerNorm": "vector",
    "RMSNorm": "vector",
    "GroupNorm": "vector",
    "BatchNorm": "vector",
    "Linear": "linear",
}
CELLS = ("GRUCell", "LSTMCell")


def _nodes(tree: Any, classes: tuple[str, ...]) -> list[tuple[Any, Any]]:
    """The layers of some classes, with their paths."""
    nodes = jax.tree_util.tree_flatten_with_path(
        tree, is_leaf=lambda node: type(node).__name__ in classes
    )[0]
    return [(path, node) for path, node in nodes if type(node).__name__ in classes]


def hints(tree: Any) -> dict[str, str]:
    """Which leaves are tables and which are gains, by the class that holds them."""
    found: dict[str, str] = {}
    for path, node in _nodes(tree, tuple(CLASSES)):
        kind = CLASSES[type(node).__name__]
        found |= {"/".join((*words(path), inner)): kind for inner in named(node)}
    return found


def head_sizes(tree: Any) -> dict[str, int]:
    """The length of a head, for the weights of queries."""
    found: dict[str, int] = {}
    for path, node in _nodes(tree, ("MultiheadAttention",)):
        if hasattr(node, "qk_size"):
            for inner in ("weight", "bias"):
                found["/".join((*words(path), "query_proj", inner))] = node.qk_size
    return found


def cell_sizes(tree: Any) -> dict[str, int]:
    """The hidden size of recurrent cells, by which all of their leaves are drawn."""
    found: dict[str, int] = {}
    for path, node in _nodes(tree, CELLS):
        if hasattr(node, "hidden_size"):
            found |= {"/".join((*words(path), inner)): node.hidden_size for inner in named(node)}
    return found


def equinox_biases(specs: dict[str, LeafSpec], rules: dict[str, Rule]) -> dict[str, LeafSpec]:
    """Specs in which biases begin as their weights do, at fan-in to the power -1/2."""
    out = dict(specs)
    for name, spec in specs.items():
        weight = specs.get(name.removesuffix("bias") + "weight")
        if not name.endswith("bias") or weight is None or not weight.roles.fan_in:
            continue
        if rules[name].init is None:
            out[name] = dataclasses.replace(spec, init_ratio=weight.fan_in_ratio**-0.5)
    return out
