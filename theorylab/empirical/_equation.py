"""How JAX writes down one operation: its sub-programs, its parameters, and how to carry it out.

This file and that of whole programs beside it hold all knowledge of how JAX writes down a function.
Its objects are described by duck typing, since their types and parameters change between releases.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax

from theorylab.empirical._convolution import Convolution, evaluate

REMATERIALISED = {"checkpoint", "remat", "remat2"}
CALLS = {"jit", "pjit", "closed_call", "core_call", *REMATERIALISED}


class Dot(NamedTuple):
    """Pairs of axes that a product of two arrays sums over, and pairs that it goes along."""

    contracted: list[tuple[int, int]]
    batched: list[tuple[int, int]]


class Scatter(NamedTuple):
    """Adding rows of updates at positions along one axis; axis None if it is not that."""

    axis: int | None
    column: int  # of the positions (..., columns)
    window: dict[int, int]  # axis of the result -> axis of the updates, which may have that axis
    clips: bool  # positions outside are moved inside, else dropped


def opened(jaxpr: Any) -> Any:
    """The program itself, of one that comes with its constants."""
    return jaxpr if hasattr(jaxpr, "eqns") and hasattr(jaxpr, "invars") else jaxpr.jaxpr


def sub_programs(values: Iterable[Any]) -> list[Any]:
    """The programs among the parameters of an operation."""
    found = []
    for value in values:
        if hasattr(value, "eqns") or hasattr(value, "jaxpr"):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += sub_programs(value)
    return found


def evaluator(equation: Any, details: Any) -> Callable[..., Sequence[Any]]:
    """Apply an equation's operation with all its rules (custom derivatives, branches)."""
    if isinstance(details, Convolution):
        return lambda *values: [evaluate(details, *values)]
    primitive = equation.primitive

    def run(*values: Any) -> Sequence[Any]:
        bound = primitive.get_bind_params(equation.params)
        functions, params = bound if isinstance(bound, tuple) else ((), bound)
        out = primitive.bind(*functions, *values, **params)
        return out if primitive.multiple_results else [out]

    return run


def details_of(equation: Any) -> Any:
    """What a walk backwards must know of an operation; None of one that it does not tell apart."""
    params, name = equation.params, equation.primitive.name
    if name == "reshape":
        return params.get("dimensions")
    if name == "transpose":
        return params["permutation"]
    if name == "reduce_sum":
        return params["axes"]
    if name == "broadcast_in_dim":
        return params["broadcast_dimensions"]
    if name == "dot_general":
        contracted, batched = params["dimension_numbers"]
        return Dot([*zip(*contracted, strict=True)], [*zip(*batched, strict=True)])
    if name == "conv_general_dilated":
        numbers = params["dimension_numbers"]
        return Convolution(
            numbers.lhs_spec,
            numbers.rhs_spec,
            numbers.out_spec,
            params["window_strides"],
            params["padding"],
            params["lhs_dilation"],
            params["rhs_dilation"],
            params["feature_group_count"],
            params["batch_group_count"],
            params["precision"],
            params["preferred_element_type"],
        )
    if name in ("scatter-add", "scatter_add"):
        return _scatter(equation, params["dimension_numbers"])
    return None


def _scatter(equation: Any, numbers: Any) -> Scatter:
    shape, updates = (equation.invars[k].aval.shape for k in (0, 2))
    inserted = set(numbers.inserted_window_dims)
    whole = [axis for axis in range(len(shape)) if axis not in inserted]
    window = dict(zip(whole, numbers.update_window_dims, strict=False))
    axes = tuple(numbers.scatter_dims_to_operand_dims)
    length = {a: updates[window[a]] if a in window else 1 for a in range(len(shape))}
    # A position along an axis of which all is added is moved to 0 by clipping, and to nothing else.
    moving = [a for a in axes if length[a] != shape[a]]
    clips = equation.params["mode"] == jax.lax.GatherScatterMode.CLIP
    plain = len(moving) == 1 and length[moving[0]] == 1 and (clips or len(axes) == 1)
    plain = plain and inserted <= set(axes) and not numbers.operand_batching_dims
    axis = moving[0] if plain else None
    return Scatter(axis, axes.index(axis) if plain else 0, window, clips)
