"""What the coordinate check and the sweep of rates share: models, losses, optimizers, arguments."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from theorylab._tree import leaves_with_names

Loss = Callable[[Array, Array], Array]


def default_loss(output: Array, y: Array) -> Array:
    """Mean cross-entropy of integer labels, mean squared error of floating-point targets."""
    labels = jnp.issubdtype(y.dtype, jnp.integer)
    if not labels and not jnp.issubdtype(y.dtype, jnp.floating):
        raise TypeError(f"y must be integer labels or floating-point targets, got {y.dtype}")
    # Other shapes would be broadcast: (n,) against (n, 1) is a loss of n x n pairs.
    wanted = output.shape[:-1] if labels else output.shape
    if y.shape != wanted:
        raise ValueError(
            f"y must have shape {wanted}, as {'labels' if labels else 'targets'} of an output of "
            f"shape {output.shape}, got {y.shape}"
        )
    output = output.astype(jnp.promote_types(output.dtype, jnp.float32))
    if labels:
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(output, y))
    return jnp.mean((output - y.astype(output.dtype)) ** 2)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _is_sequence(value: Any) -> bool:
    several = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return several or (isinstance(value, np.ndarray | Array) and value.ndim == 1)


def check_widths(widths: Any) -> tuple[int, ...]:
    """Return widths that grow."""
    if not _is_sequence(widths):
        raise TypeError(f"widths must be a sequence of positive integers, got {widths!r}")
    found = tuple(np.asarray(widths).tolist() if hasattr(widths, "ndim") else widths)
    if not all(_is_whole(width) and width > 0 for width in found):
        raise ValueError(f"widths must be positive integers, got {found!r}")
    if not found or any(b <= a for a, b in zip(found, found[1:], strict=False)):
        raise ValueError(f"widths must be at least one, and each larger than the last, got {found}")
    return tuple(int(width) for width in found)


def check_seeds(seeds: Any) -> tuple[int, ...]:
    """Return the seeds: as many as a number says, or those given."""
    found: tuple[Any, ...] = ()
    if _is_whole(seeds):
        found = tuple(range(seeds))
    elif _is_sequence(seeds):
        found = tuple(np.asarray(seeds).tolist() if hasattr(seeds, "ndim") else seeds)
    if not found or not all(_is_whole(seed) for seed in found):
        raise ValueError(
            f"seeds must be a positive integer or a sequence of integers, got {seeds!r}"
        )
    return tuple(int(seed) for seed in found)


def check_count(name: str, value: Any) -> int:
    """Return a positive integer."""
    if not _is_whole(value) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return int(value)


def is_transformation(optimizer: Any) -> bool:
    """Whether it is an optax transformation, not a function that makes one."""
    return hasattr(optimizer, "init") and hasattr(optimizer, "update")


def check_maker(optimizer: Any) -> Any:
    """Return a function that makes transformations."""
    if not callable(optimizer):
        raise TypeError(
            "optimizer must be a function that returns an optax transformation, got "
            f"{type(optimizer).__name__}"
        )
    return optimizer


def check_transformation(optimizer: Any) -> Any:
    """Return an optax transformation."""
    if not is_transformation(optimizer):
        raise TypeError(
            f"optimizer must be an optax transformation, or a function that returns one, got "
            f"{optimizer!r}"
        )
    return optimizer


def model(make: Any, width: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The pair (init, apply) of a width."""
    try:
        init, apply = make(width)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"make must return a pair (init, apply), but make({width}) did not: {error}"
        ) from error
    if not (callable(init) and callable(apply)):
        raise TypeError(f"make({width}) must return two functions, got {init!r} and {apply!r}")
    return init, apply


def shapes_of(init: Callable[..., Any]) -> Any:
    """The parameters' shapes; all of them can be trained."""
    shapes = jax.eval_shape(init, jax.random.key(0))
    for name, leaf in leaves_with_names("params", shapes):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(
                f"init must return real floating-point arrays, {name} is {leaf.dtype}; what is not "
                "trained belongs into apply"
            )
    return shapes


def recorded(apply: Callable[..., Any], params: Any, x: Any) -> tuple[str, ...]:
    """The names of what ``apply`` returns, in its own order; the output is the last."""
    names: list[str] = []

    def traced(params: Any, x: Any) -> list[Any]:
        found = apply(params, x)
        if isinstance(found, Mapping):
            compiled = isinstance(apply, jax.stages.Wrapped)
            if compiled and len(found) > 1 and not isinstance(found, OrderedDict):
                raise ValueError(
                    "apply must not be compiled by jax.jit if it returns a mapping, since jit "
                    f"sorts the names, and the output is the last: got {tuple(found)}; leave jit "
                    "out, or return a collections.OrderedDict"
                )
        names.extend(found if isinstance(found, Mapping) else ["output"])
        for name, h in zip(names, outputs(found), strict=True):
            _check_activation(name, h)
        return outputs(found)

    jax.eval_shape(traced, params, x)
    if not names:
        raise ValueError("apply must return at least one activation, got an empty mapping")
    return tuple(str(name) for name in names)


def _check_activation(name: Any, h: Any) -> None:
    if not isinstance(h, Array | np.ndarray) or not h.shape:
        got = f"a number of {h.dtype}" if hasattr(h, "dtype") else type(h).__name__
        raise TypeError(f"apply must return arrays with a batch axis, {name!r} is {got}")
    if not jnp.issubdtype(h.dtype, jnp.floating):
        raise TypeError(f"apply must return real floating-point arrays, {name!r} is of {h.dtype}")
    if not h.size:
        raise ValueError(f"apply must return arrays that are not empty, {name!r} is {h.shape}")


def outputs(found: Any) -> list[Any]:
    """Activations in the order of ``apply``, which ``jit`` would sort by name."""
    return list(found.values()) if isinstance(found, Mapping) else [found]


def scalar_loss(loss: Any) -> Loss:
    """The loss, checked to be a number where it is traced."""
    if loss is None:
        return default_loss
    if not callable(loss):
        raise TypeError(f"loss must be a function of outputs and targets, got {loss!r}")

    def checked(output: Array, y: Array) -> Array:
        value = loss(output, y)
        if jnp.shape(value) != ():
            raise ValueError(f"loss must return a scalar, got shape {jnp.shape(value)}")
        return value

    return checked
