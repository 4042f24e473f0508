r"""Width classes from the shapes of three models: a base, one of another width, and the target.

An axis is a width if its size differs between base and delta; its ratio is that of target and
base, so several widths may grow by different ratios. Only shapes are read: nothing is allocated.

Differs from the reference (Yang et al. 2022, Tensor Programs V: tuning large neural networks via
zero-shot hyperparameter transfer, arXiv:2203.03466, whose program reads shapes likewise):
  1. Inputs and outputs are told apart by convention or rule, not by the number of widths, so that
     tensors of any rank work.
  2. An axis that grows from base to target without being a width is an error.
"""

import dataclasses
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from theorylab.parametrization._compare import evaluated, grown_axes, same_leaves, shapes
from theorylab.parametrization._leaf import leaf_spec
from theorylab.parametrization._leaves import flatten, is_statistic, is_weight
from theorylab.parametrization._modules import cell_sizes, equinox_biases, head_sizes, hints
from theorylab.parametrization._roles import CONVENTIONS, Leaf, outputs_by_bias, roles_of
from theorylab.parametrization._rules import Rule, check_rules, ruling
from theorylab.parametrization._spec import LeafSpec

Model = tuple[Any, dict[str, Any]]  # a tree, and its weights by name


def infer_specs(
    base: Any,
    delta: Any,
    target: Any,
    *,
    rules: Sequence[Rule] = (),
    convention: str = "flax",
) -> Any:
    r"""What every leaf of a model is: input, hidden or output weight, and how much wider.

    Parameters
    ----------
    base, delta, target
        Trees of arrays or of their shapes, or functions without arguments that return them (they
        are given to ``jax.eval_shape``). ``base`` is the model whose hyperparameters are known;
        ``delta`` has the same layers with every width changed, by any amount; ``target`` is the
        model to be trained. Leaves are matched by name.
    rules
        :class:`Rule` objects, for leaves that the convention does not cover.
    convention
        ``"flax"``, kernels (in, out), for linen, nnx, our own layers and plain trees; or
        ``"equinox"``, kernels (out, in). Give nnx models as ``nnx.state(model, nnx.Param)``.

    Returns
    -------
    tree of LeafSpec
        As ``target``; leaves that are no floating-point arrays get the kind ``"scalar"``.

    Raises
    ------
    ValueError
        If leaves or ranks differ; if nothing is a width; if an axis differs between base and
        target, but not between base and delta; if an axis that grows has no role; for rules with
        axes that a leaf lacks or that have two roles; for leaves of size zero.
    TypeError
        If rules are no :class:`Rule`, or a tree has no arrays, such as a module of flax linen.

    Warns
    -----
    UserWarning
        If the target is narrower than the base: hyperparameters transfer from small models to
        large ones. If no leaf's name matches a rule.

    Notes
    -----
    A model of 10\ :sup:`10` parameters takes milliseconds. Under ``jit`` it reads shapes as well.

    References
    ----------
    Yang et al. (2022), arXiv:2203.03466.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> def mlp(n):
    ...     return lambda: {"in": jnp.zeros((8, n)), "out": jnp.zeros((n, 2))}
    >>> specs = infer_specs(mlp(64), mlp(128), mlp(1024))
    >>> specs["in"].kind, specs["out"].kind, specs["out"].fan_in_ratio
    ('input', 'output', 16.0)
    """
    tree = evaluated("target", target)
    start = evaluated("base", base)
    small, large = shapes("base", start), shapes("target", tree)
    grown = grown_axes(small, shapes("delta", delta))
    return _specs((start, small), (tree, large), grown, {}, rules, convention)


def infer_specs_from_init(
    make: Callable[..., Any],
    *,
    base: Mapping[str, int],
    delta: Mapping[str, int],
    target: Mapping[str, int],
    rules: Sequence[Rule] = (),
    convention: str = "flax",
) -> Any:
    r"""As :func:`infer_specs`, for models that are made from named widths.

    Parameters
    ----------
    make
        ``make(**widths)`` returns parameters, or their shapes; it is given to ``jax.eval_shape``.
    base, delta, target
        Widths by name. Every width of ``delta`` is changed on its own, which tells several widths
        apart; those that ``delta`` or ``target`` does not name have the value of ``base``.
    rules, convention
        As in :func:`infer_specs`.

    Returns
    -------
    tree of LeafSpec
        With ``widths``: for each axis the names of those that it depends on.

    Raises
    ------
    ValueError, TypeError
        As :func:`infer_specs`; if ``delta`` or ``target`` names a width that ``base`` does not;
        if a width of ``delta`` is that of ``base``.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> def make(model, feed):
    ...     return {"up": jnp.zeros((model, feed)), "down": jnp.zeros((feed, model))}
    >>> specs = infer_specs_from_init(
    ...     make,
    ...     base={"model": 8, "feed": 16},
    ...     delta={"model": 9, "feed": 17},
    ...     target={"model": 16, "feed": 64},
    ... )
    >>> specs["up"].widths, specs["up"].fan_in_ratio, specs["up"].fan_out_ratio
    ((('model',), ('feed',)), 2.0, 4.0)
    """
    for what, given in (("delta", delta), ("target", target)):
        for name in given:
            if name not in base:
                raise ValueError(f"{what} has the width {name!r}, base has {sorted(base)}")
    if not delta:
        raise ValueError("delta must change at least one width, got none")
    start = evaluated("base", lambda: make(**base))
    small = shapes("base", start)
    found: dict[str, list[set[str]]] = {k: [set() for _ in v.shape] for k, v in small.items()}
    for width, size in delta.items():
        if size == base[width]:
            raise ValueError(f"delta must change the width {width!r}, got {size}, as in base")
        changed = shapes("delta", lambda w=width, s=size: make(**{**base, w: s}))
        for name, axes in grown_axes(small, changed, width).items():
            for axis in axes:
                found[name][axis].add(width)
    grown = {k: frozenset(i for i, by in enumerate(v) if by) for k, v in found.items()}
    widths = {k: tuple(tuple(sorted(by)) for by in v) for k, v in found.items()}
    tree = evaluated("target", lambda: make(**{**base, **target}))
    large = shapes("target", tree)
    return _specs((start, small), (tree, large), grown, widths, rules, convention)


def _specs(
    base: Model,
    target: Model,
    grown: dict[str, frozenset[int]],
    widths: dict[str, tuple[tuple[str, ...], ...]],
    rules: Sequence[Rule],
    convention: str,
) -> Any:
    """The specs in the structure of the target."""
    if convention not in CONVENTIONS:
        raise ValueError(f"convention must be one of {CONVENTIONS}, got {convention!r}")
    checked = check_rules(rules)
    same_leaves("target", base[1], target[1])
    by_class: dict[str, str] = {}
    heads: dict[str, float] = {}
    cells: dict[str, float] = {}
    if convention == "equinox":
        by_class = hints(target[0])
        heads = _ratios(head_sizes(base[0]), head_sizes(target[0]))
        cells = _ratios(cell_sizes(base[0]), cell_sizes(target[0]))
    flat, treedef = flatten(target[0])
    out: dict[str, LeafSpec] = {}
    ruled: dict[str, Rule] = {}
    for keys, leaf in flat:
        name, keys = "/".join(keys), keys or ("",)
        if not is_weight(leaf):
            out[name] = LeafSpec("scalar")
            continue
        if is_statistic(keys):
            out[name] = LeafSpec("scalar", base_shape=base[1][name].shape, shape=leaf.shape)
            continue
        rule = ruled[name] = ruling(name, checked)
        small, large = tuple(base[1][name].shape), tuple(target[1][name].shape)
        made = outputs_by_bias(name, checked, base[1], target[1])
        leaf_in_tree = Leaf(name, keys, len(small), grown[name], by_class.get(name), made)
        roles, law = roles_of(leaf_in_tree, rule, convention)
        spec = leaf_spec(leaf_in_tree, (small, large), rule, roles, law)
        if name in heads and rule.head is None:
            spec = dataclasses.replace(spec, head_ratio=heads[name])
        if name in cells and rule.init is None:
            spec = dataclasses.replace(spec, init_ratio=cells[name] ** -0.5)
        out[name] = dataclasses.replace(spec, widths=widths.get(name, ()))
    if convention == "equinox":
        out = equinox_biases(out, ruled)
    _warn_if_narrower(out)
    for rule in checked:
        if not any(re.search(rule.pattern, name) for name in ruled):
            warnings.warn(
                f"no leaf has a name that matches the rule {rule.pattern!r}; names are "
                f"{', '.join(list(ruled)[:3])}, ...",
                UserWarning,
                stacklevel=3,
            )
    return jax.tree_util.tree_unflatten(treedef, list(out.values()))


def _ratios(before: dict[str, int], after: dict[str, int]) -> dict[str, float]:
    """How sizes that layers know have grown."""
    return {name: size / before[name] for name, size in after.items() if name in before}


def _warn_if_narrower(specs: dict[str, LeafSpec]) -> None:
    """Say that hyperparameters go the other way."""
    for name, spec in specs.items():
        if min(spec.fan_in_ratio, spec.fan_out_ratio) < 1:
            warnings.warn(
                f"the target is narrower than the base: {name!r} has shape {spec.shape}, in base "
                f"{spec.base_shape}; hyperparameters transfer from small models to large ones",
                UserWarning,
                stacklevel=4,
            )
            return
