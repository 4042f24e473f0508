r"""What is known of a leaf: which of its axes are widths, and by how much they have grown."""

import dataclasses
import math
from typing import Literal

Kind = Literal["scalar", "input", "hidden", "output"]
KINDS = ("scalar", "input", "hidden", "output")


@dataclasses.dataclass(frozen=True)
class AxisRoles:
    """The axes of a leaf that are summed over, that remain, and that only repeat it.

    Parameters
    ----------
    fan_in, fan_out
        Axes of the inputs and of the outputs of the linear map. Windows of convolutions count as
        inputs.
    batch
        Axes along which whole layers or models are stacked.
    """

    fan_in: tuple[int, ...] = ()
    fan_out: tuple[int, ...] = ()
    batch: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class LeafSpec:
    r"""One leaf of a model beside the same leaf of a base model. Static and hashable.

    Parameters
    ----------
    kind
        ``"input"``: only fan-out grows with the width (input weights, biases, gains of norms,
        embeddings); ``"hidden"``: both grow; ``"output"``: only fan-in; ``"scalar"``: neither.
    fan_in_ratio, fan_out_ratio
        Of this model over the base model.
    roles
        The :class:`AxisRoles`.
    depth_ratio
        How many times more layers this model stacks, where the leaf lies in a residual branch.
    base_shape, shape
        Of the leaf in the two models.
    widths
        For each axis the names of the widths that it depends on, where they are known.
    init_ratio, own_multiplier
        What the model does by itself, over what the base model does: its initial standard
        deviation, and the factor by which its forward pass multiplies the leaf.
    head_ratio
        For queries: how much longer a head is. See :func:`leaf_scales`.
    branch_output
        Whether the leaf is the last linear map of a residual branch (or that map's bias).
    tied
        Whether an embedding is the read-out as well.

    Raises
    ------
    ValueError
        For unknown kinds and for ratios that are not finite and positive.

    Examples
    --------
    >>> LeafSpec("hidden", 4.0, 4.0).depth_ratio
    1.0
    """

    kind: Kind
    fan_in_ratio: float = 1.0
    fan_out_ratio: float = 1.0
    roles: AxisRoles = AxisRoles()
    depth_ratio: float = 1.0
    base_shape: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    widths: tuple[tuple[str, ...], ...] = ()
    init_ratio: float = 1.0
    own_multiplier: float = 1.0
    head_ratio: float = 1.0
    branch_output: bool = False
    tied: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {self.kind!r}")
        for name in (
            "fan_in_ratio", "fan_out_ratio", "depth_ratio", "init_ratio", "own_multiplier",
            "head_ratio",
        ):  # fmt: skip
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be finite and positive, got {value!r}")
