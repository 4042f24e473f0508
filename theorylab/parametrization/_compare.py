"""Three trees of shapes beside one another: the same leaves, and the axes that differ."""

from typing import Any

import jax

from theorylab.parametrization._leaves import is_weight, named


def evaluated(what: str, given: Any) -> Any:
    """The tree of a function without arguments; any other tree as it is."""
    if not callable(given) or all(leaf is not given for leaf in jax.tree.leaves(given)):
        return given
    _refuse_module(what, given)

    def tree() -> Any:
        made = given()
        _refuse_module(what, made)
        return made

    return jax.eval_shape(tree)


def _refuse_module(what: str, given: Any) -> None:
    """Say what a module of flax linen lacks: its parameters lie beside it."""
    is_leaf = any(leaf is given for leaf in jax.tree.leaves(given))
    if is_leaf and hasattr(given, "init") and hasattr(given, "apply"):
        name = getattr(given, "__name__", type(given).__name__)
        raise TypeError(
            f"{what} must hold parameters or their shapes, got the module {name}, which has none: "
            "give jax.eval_shape(module.init, key, x)"
        )


def shapes(what: str, given: Any) -> dict[str, Any]:
    """The weights of a tree, by name."""
    leaves = {k: v for k, v in named(evaluated(what, given)).items() if is_weight(v)}
    if not leaves:
        raise TypeError(
            f"{what} must be a tree with floating-point arrays or their shapes in it, got none "
            "(of shapes, eqx.filter keeps nothing: give what eqx.filter_eval_shape returns)"
        )
    for name, leaf in leaves.items():
        if 0 in leaf.shape:
            raise ValueError(f"{what}: {name!r} has size zero, shape {tuple(leaf.shape)}")
    return leaves


def grown_axes(
    base: dict[str, Any], delta: dict[str, Any], named_width: str | None = None
) -> dict[str, frozenset[int]]:
    """The axes of each leaf that differ."""
    same_leaves("delta", base, delta)
    grown = {}
    for name, leaf in base.items():
        pairs = zip(leaf.shape, delta[name].shape, strict=True)
        grown[name] = frozenset(axis for axis, (a, b) in enumerate(pairs) if a != b)
    if not any(grown.values()):
        which = "anything" if named_width is None else f"any axis ({named_width!r})"
        raise ValueError(
            f"base and delta have equal shapes, so nothing is a width: delta must change {which}"
        )
    return grown


def same_leaves(what: str, base: dict[str, Any], other: dict[str, Any]) -> None:
    """Raise unless two trees have the same leaves with the same ranks."""
    for name in (*base, *other):
        if (name in base) != (name in other):
            have, lack = ("base", what) if name in base else (what, "base")
            raise ValueError(
                f"{have} has a leaf {name!r} of shape {tuple((base | other)[name].shape)} that "
                f"{lack} lacks: both must have the same layers; stack layers along a batch axis, "
                f"or compare models of one depth"
            )
        a, b = tuple(base[name].shape), tuple(other[name].shape)
        if len(a) != len(b):
            raise ValueError(f"{name!r} has shape {a} in base and {b} in {what}: ranks must agree")
