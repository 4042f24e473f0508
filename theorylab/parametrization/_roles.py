r"""Which axes of a leaf are inputs and which outputs: the conventions of libraries.

By the last word of a leaf's name, and where that is not enough by the word before it, by the shape
of the bias beside it, or by the class of its layer:

======================  ==========================  =============================================
leaf                    flax, plain trees, ours     equinox (and PyTorch's order)
======================  ==========================  =============================================
``bias``, ``scale``, .. no inputs, at any rank      the same; as every leaf of rank 1
``..embed..``           (vocabulary, out)           the same, and ``weight`` of an ``Embedding``
rank 2                  (in, out)                   (out, in)
rank 3, attention       ``query``, ``key``,         no such leaf
                        ``value``: (in, out, out);
                        ``out``: (in, in, out)
rank >= 3, bias beside  outputs are the last axes   (out, in, ...)
                        that the bias has as well,
                        or the last axis but one
                        (``transpose_kernel``)
rank >= 3, windows      (..., in, out)              (out, in, ...)
======================  ==========================  =============================================

A leaf of rank 3 or more without a bias is read as one with windows only if no other axis than
those two grows with the width; anything else needs a :class:`Rule`. So does a kernel of
``transpose_kernel`` without a bias, which looks like any other; of stacked layers the batch axes
must be known by a rule, or the bias says nothing. A vector that is summed over
(the read-out of a scalar, kept as (n,)) needs one as well, since it looks like a bias.

The initial standard deviations that go with it are those of the libraries: kernels
:math:`\text{fan-in}^{-1/2}` (flax's transposed ones, by their order of axes,
:math:`\text{fan-out}^{-1/2}`), vectors none that depends on the width, flax's ``Embed``
:math:`\text{out}^{-1/2}`, equinox's biases :math:`\text{fan-in}^{-1/2}` of their weights, and
recurrent cells of equinox the hidden size to the power -1/2 throughout.
"""

from typing import Any, NamedTuple

from theorylab.parametrization._leaves import Name
from theorylab.parametrization._rules import InitLaw, Rule, axes_of, ruling
from theorylab.parametrization._spec import AxisRoles

CONVENTIONS = ("flax", "equinox")
VECTORS = ("bias", "scale", "gain", "offset", "beta", "gamma")
ATTENTION = {"query": ((0,), (1, 2)), "key": ((0,), (1, 2)), "value": ((0,), (1, 2)),
             "out": ((0, 1), (2,))}  # fmt: skip

Found = tuple[tuple[int, ...], tuple[int, ...], InitLaw]


class Leaf(NamedTuple):
    """What a tree says of a leaf: its name, rank, growing axes, its layer's class, its bias."""

    name: str
    words: Name
    rank: int
    growing: frozenset[int]
    hint: str | None
    outputs: tuple[int, ...] | None  # axes, counted from the end, that the bias beside it has too


def outputs_by_bias(
    name: str, rules: tuple[Rule, ...], *trees: dict[str, Any]
) -> tuple[int, ...] | None:
    """The axes of a kernel, from its end, that the bias beside it has as well in every tree.

    They are the last ones; or, in transposed convolutions (..., out, in), the last but one. Axes of
    batches count on neither side.
    """
    beside = name.removesuffix("kernel") + "bias"
    if not name.endswith("kernel") or any(beside not in leaves for leaves in trees):
        return None
    pairs = [[_kept(k, rules, tuple(leaves[k].shape)) for k in (name, beside)] for leaves in trees]
    rank = len(pairs[0][1])
    if not 0 < rank < len(pairs[0][0]):
        return None
    if all(kernel[-rank:] == bias for kernel, bias in pairs):
        return tuple(range(-rank, 0))
    if all(len(kernel) > 2 and kernel[-2:-1] == bias for kernel, bias in pairs):
        return (-2,)
    return None


def _kept(name: str, rules: tuple[Rule, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    batch = axes_of(name, "batch", ruling(name, rules).batch or (), len(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in batch)


def _is_vector(leaf: Leaf, rank: int) -> bool:
    last = leaf.words[-1]
    return rank <= 1 or leaf.hint == "vector" or last in VECTORS


def _conventional(leaf: Leaf, kept: list[int], convention: str) -> Found | None:
    """Axes of inputs and outputs among those kept, and the law; None where there is none."""
    rank, last = len(kept), len(kept) - 1
    growing = frozenset(kept.index(axis) for axis in leaf.growing if axis in kept)
    word = leaf.words[-1]
    above = leaf.words[-2] if len(leaf.words) > 1 else ""
    if _is_vector(leaf, rank):
        return (), tuple(range(rank)), "fixed"
    if leaf.hint == "embedding" or ("embed" in word.lower() and growing <= {last}):
        flax = convention == "flax" and word == "embedding"
        return tuple(range(last)), (last,), "fan_out" if flax else "fixed"
    if convention == "equinox":
        if leaf.hint == "linear" and rank != 2:
            raise ValueError(
                f"{leaf.name!r} belongs to a linear layer and has rank {leaf.rank}: say which axes "
                f"stack layers, e.g. Rule({leaf.name!r}, batch=(0,))"
            )
        if rank == 2 and "embed" in above.lower() and leaf.hint is None:
            raise ValueError(
                f"{leaf.name!r} may be a table of embeddings or a linear map: say which, by "
                f"Rule({leaf.name!r}, fan_in=(0,), fan_out=(1,), init='fixed') or by "
                f"Rule({leaf.name!r}, fan_in=(1,), fan_out=(0,))"
            )
        return (tuple(range(1, rank)), (0,), "fan_in") if growing <= {0, 1} else None
    if leaf.outputs == (-2,) and growing <= {last - 1, last}:
        # flax draws by the last axis but one, whichever that is.
        return (*range(last - 1), last), (last - 1,), "fan_out"
    if leaf.outputs is not None and leaf.outputs != (-2,) and len(leaf.outputs) < rank:
        split = rank - len(leaf.outputs)
        return tuple(range(split)), tuple(range(split, rank)), "fan_in"
    if rank == 3 and above in ATTENTION and 0 in growing:
        fan_in, fan_out = ATTENTION[above]
        return fan_in, fan_out, "fan_in"
    return (tuple(range(last)), (last,), "fan_in") if growing <= {last - 1, last} else None


def query_head(leaf: Leaf, roles: AxisRoles) -> int | None:
    """The axis of a head in flax's queries: kernels (in, heads, head), biases (heads, head)."""
    word, above = leaf.words[-1], leaf.words[-2:-1]
    if above != ("query",) or word not in ("kernel", "bias") or len(roles.fan_out) != 2:
        return None
    return roles.fan_out[1]


def roles_of(leaf: Leaf, rule: Rule, convention: str) -> tuple[AxisRoles, InitLaw]:
    """The roles of all axes, and the law of the initial values."""
    name, rank = leaf.name, leaf.rank
    batch = axes_of(name, "batch", rule.batch or (), rank)
    if rule.fan_in is not None or rule.fan_out is not None:
        roles = AxisRoles(
            axes_of(name, "fan_in", rule.fan_in or (), rank),
            axes_of(name, "fan_out", rule.fan_out or (), rank),
            batch,
        )
        claimed = (*roles.fan_in, *roles.fan_out, *batch)
        if len(set(claimed)) < len(claimed):
            raise ValueError(f"an axis of {name!r} has two roles by its rule, got {roles}")
        return roles, rule.init or ("fan_in" if roles.fan_in else "fixed")
    kept = [axis for axis in range(rank) if axis not in batch]
    found = _conventional(leaf, kept, convention)
    if found is None:
        raise ValueError(
            f"{name!r} has rank {rank}, and axes {sorted(leaf.growing)} grow with the width: say "
            f"which are inputs and which outputs, e.g. Rule({name!r}, fan_in=(0,), fan_out=(1, 2))"
        )
    fan_in, fan_out, law = found
    roles = AxisRoles(tuple(kept[i] for i in fan_in), tuple(kept[i] for i in fan_out), batch)
    return roles, rule.init or law
