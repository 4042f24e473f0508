"""What a user says of leaves that the conventions of libraries do not cover."""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any, Literal

InitLaw = Literal["fan_in", "fan_out", "fan_avg", "fixed"]
INIT_LAWS = ("fan_in", "fan_out", "fan_avg", "fixed")


@dataclasses.dataclass(frozen=True)
class Rule:
    """What a user says of the leaves whose names match; of what is None, the convention speaks.

    Parameters
    ----------
    pattern
        Regular expression, searched for in the leaf's name: its keys joined by slashes, for
        example ``"params/Dense_0/kernel"``.
    fan_in, fan_out
        Axes of inputs and of outputs; negative ones count from the end. If one is given, the
        other is empty unless it is given too.
    batch
        Axes that stack whole layers (``nn.scan``) or models (an ensemble). They may differ
        between base and target, and what is said of the other axes is said without them.
    init
        How the model's own initial standard deviation falls with the width: ``"fan_in"``,
        ``"fan_out"``, ``"fan_avg"`` (each to the power -1/2), or ``"fixed"``.
    head
        For the weights and biases of queries, the axis along which a head lies: attention is to
        be divided by its length, where the model divides by the root of it.
    depth_ratio
        The leaf is in a residual branch, of which there are that many times more than in the base
        model; ``"batch"``: as the batch axes say.
    branch_output
        The leaf is in the last linear map of a residual branch.
    tied
        The embedding is the read-out as well.

    Raises
    ------
    ValueError
        For patterns that are no regular expressions, axes with two roles, unknown ``init``.

    Examples
    --------
    >>> Rule("decoder/layers", batch=(0,), depth_ratio="batch").batch
    (0,)
    """

    pattern: str
    fan_in: tuple[int, ...] | None = None
    fan_out: tuple[int, ...] | None = None
    batch: tuple[int, ...] | None = None
    init: InitLaw | None = None
    head: int | None = None
    depth_ratio: float | Literal["batch"] | None = None
    branch_output: bool | None = None
    tied: bool | None = None

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except (re.error, TypeError) as error:
            raise ValueError(
                f"pattern must be a regular expression, got {self.pattern!r}: {error}"
            ) from None
        seen: dict[int, str] = {}
        for role in ("fan_in", "fan_out", "batch"):
            axes = getattr(self, role)
            if axes is None:
                continue
            if isinstance(axes, int) or not all(type(axis) is int for axis in axes):
                raise ValueError(f"{role} must be a tuple of axes, got {axes!r}")
            object.__setattr__(self, role, tuple(axes))
            for axis in axes:
                if axis in seen:
                    raise ValueError(
                        f"axis {axis} is claimed by {seen[axis]} and {role} of the rule "
                        f"{self.pattern!r}"
                    )
                seen[axis] = role
        if self.init is not None and self.init not in INIT_LAWS:
            raise ValueError(f"init must be one of {INIT_LAWS}, got {self.init!r}")
        ratio: Any = self.depth_ratio
        if ratio is None or ratio == "batch":
            return
        if isinstance(ratio, str) or not (math.isfinite(ratio) and ratio > 0):
            raise ValueError(f"depth_ratio must be a positive number or 'batch', got {ratio!r}")


def check_rules(rules: Any) -> tuple[Rule, ...]:
    """Return the rules as a tuple."""
    if isinstance(rules, Rule) or not isinstance(rules, Sequence):
        raise TypeError(f"rules must be a sequence of parametrization.Rule, got {rules!r}")
    for rule in rules:
        if not isinstance(rule, Rule):
            raise TypeError(f"rules must hold parametrization.Rule, got {rule!r}")
    return tuple(rules)


def ruling(name: str, rules: tuple[Rule, ...]) -> Rule:
    """What the rules that match say together; the first that speaks of a thing decides it."""
    said: dict[str, Any] = {}
    for rule in rules:
        if re.search(rule.pattern, name):
            for field in dataclasses.fields(rule):
                value = getattr(rule, field.name)
                if field.name not in said and value is not None:
                    said[field.name] = value
    return dataclasses.replace(Rule(""), **said)


def axes_of(name: str, role: str, axes: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Axes counted from the front."""
    for axis in axes:
        if not -rank <= axis < rank:
            raise ValueError(
                f"{role} of the rule for {name!r} has axis {axis}, but the leaf has {rank} axes"
            )
    return tuple(axis % rank for axis in axes)
