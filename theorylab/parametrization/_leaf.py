"""The spec of one leaf, from its shapes in two models and the roles of its axes."""

import math
from typing import Any

from theorylab.parametrization._roles import Leaf, query_head
from theorylab.parametrization._rules import Rule, axes_of
from theorylab.parametrization._spec import AxisRoles, Kind, LeafSpec

Shape = tuple[int, ...]


def leaf_spec(
    leaf: Leaf,
    shapes: tuple[Shape, Shape],
    rule: Rule,
    roles: AxisRoles,
    law: str,
) -> LeafSpec:
    """One leaf."""
    name, growing = leaf.name, leaf.growing
    small, large = shapes
    for axis, (a, b) in enumerate(zip(small, large, strict=True)):
        if axis in roles.batch:
            continue
        if a != b and axis not in growing:
            raise ValueError(
                f"{name!r} has shape {small} in base and {large} in target, but its axis {axis} is "
                f"the same in base and delta: delta must change every width; if the axis stacks "
                f"layers or models, say so with Rule({name!r}, batch=({axis},))"
            )
        if axis in growing and axis not in roles.fan_in + roles.fan_out:
            raise ValueError(
                f"axis {axis} of {name!r}, {small} in base and {large} in target, grows with the "
                f"width, and its rule gives it no role: name it in fan_in, fan_out or batch"
            )
    wide_in = bool(growing & set(roles.fan_in))
    wide_out = bool(growing & set(roles.fan_out))
    kinds: dict[tuple[bool, bool], Kind] = {
        (False, False): "scalar", (False, True): "input", (True, True): "hidden",
        (True, False): "output",
    }  # fmt: skip
    kind = kinds[wide_in, wide_out]
    if rule.tied and kind != "input":
        raise ValueError(
            f"{name!r} is {kind}, not input: a tied read-out is an embedding (vocabulary, width)"
        )
    fans = [
        [math.prod(shape[i] for i in r) for shape in shapes] for r in (roles.fan_in, roles.fan_out)
    ]
    (in0, in1), (out0, out1) = fans
    initial = {
        "fan_in": in0 / in1,
        "fan_out": out0 / out1,
        "fan_avg": (in0 + out0) / (in1 + out1),
        "fixed": 1.0,
    }
    head = query_head(leaf, roles) if rule.head is None else None
    if rule.head is not None:
        (head,) = axes_of(name, "head", (rule.head,), len(small))
    depth: Any = 1.0 if rule.depth_ratio is None else rule.depth_ratio
    if depth == "batch":
        depth = math.prod(large[i] for i in roles.batch) / math.prod(small[i] for i in roles.batch)
    return LeafSpec(
        kind=kind,
        fan_in_ratio=in1 / in0,
        fan_out_ratio=out1 / out0,
        roles=roles,
        depth_ratio=float(depth),
        base_shape=small,
        shape=large,
        init_ratio=initial[law] ** 0.5,
        head_ratio=1.0 if head is None else large[head] / small[head],
        branch_output=bool(rule.branch_output),
        tied=bool(rule.tied),
    )
