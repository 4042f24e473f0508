"""Branches joined again: added, multiplied or laid side by side.

The kernels behind them are exact when the branches are independent given their common input, as
they are whenever at most one of them carries the input on without fresh weights.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array

from theorylab.layers._axes import canonical_axis, check_axis
from theorylab.layers._base import Layer, Shape
from theorylab.layers._record import record


class _FanIn(Layer):
    """Base: no parameters, a tuple of branches as input."""

    def init(self, key: Array, input_shape: Any) -> tuple[()]:
        self.output_shape(input_shape)
        return ()

    def output_shape(self, input_shape: Any) -> Any:
        name = type(self).__name__
        shapes = _branches(name, input_shape)
        if any(shape != shapes[0] for shape in shapes[1:]):
            raise ValueError(f"{name}: branches must have equal shapes, got {input_shape!r}")
        return shapes[0]

    def _arrays(self, x: Any) -> list[Array]:
        """The branches, checked."""
        if not isinstance(x, tuple | list):
            raise ValueError(
                f"{type(self).__name__}: needs a tuple of branches, got one of shape {jnp.shape(x)}"
            )
        self.output_shape(tuple(jnp.shape(branch) for branch in x))
        return [jnp.asarray(branch) for branch in x]


@record
class FanInSum(_FanIn):
    r"""Adds the outputs of branches, which must have equal shapes.

    .. math:: K' = \sum_b K_b, \qquad \Theta' = \sum_b \Theta_b .

    The kernel is exact when the branches are independent given their common input, as they are
    whenever at most one of them carries the input on without fresh weights.

    Raises
    ------
    ValueError
        For inputs that are no tuple, or branches of different shapes.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.layers import FanInSum
    >>> FanInSum().apply((), (jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 4.0]])))
    Array([[4., 6.]], dtype=float32)
    """

    def apply(self, params: Any, x: Any, key: Array | None = None) -> Any:
        first, *others = self._arrays(x)
        for branch in others:
            first = first + branch
        return first


@record
class FanInProd(_FanIn):
    r"""Multiplies the outputs of branches entry by entry; they must have equal shapes.

    .. math:: K' = \prod_b K_b, \qquad \Theta' = \sum_b \Theta_b \prod_{c \ne b} K_c .

    Raises
    ------
    ValueError
        For inputs that are no tuple, or branches of different shapes.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.layers import FanInProd
    >>> FanInProd().apply((), (jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 4.0]])))
    Array([[3., 8.]], dtype=float32)
    """

    def apply(self, params: Any, x: Any, key: Array | None = None) -> Any:
        first, *others = self._arrays(x)
        for branch in others:
            first = first * branch
        return first


@record
class FanInConcat(_FanIn):
    r"""Joins the outputs of branches along ``axis``; all other axes must be equal.

    .. math:: K' = \sum_b \frac{n_b}{\sum_c n_c} K_b, \quad \text{the NTK likewise,}

    for branches of :math:`n_b` channels, along the channel axis. Along a spatial axis the branches'
    positions stand beside each other, and :math:`K'` is zero between those of different branches.

    Parameters
    ----------
    axis
        The channel axis or a spatial axis, never the batch axis. Along the channel axis the kernel
        is the mean of the branches' kernels, weighted by their channels.

    Raises
    ------
    TypeError
        For an ``axis`` that is no integer.
    ValueError
        For inputs that are no tuple, branches without that axis, or of different shapes otherwise.

    Examples
    --------
    >>> from theorylab.layers import FanInConcat
    >>> FanInConcat().output_shape(((5, 8, 8, 3), (5, 8, 8, 4)))
    (5, 8, 8, 7)
    """

    axis: int = dataclasses.field(default=-1, metadata={"static": True})

    def __post_init__(self) -> None:
        object.__setattr__(self, "axis", check_axis("FanInConcat", "axis", self.axis))

    def apply(self, params: Any, x: Any, key: Array | None = None) -> Any:
        return jnp.concatenate(self._arrays(x), axis=self.axis)

    def output_shape(self, input_shape: Any) -> Any:
        shapes = _branches("FanInConcat", input_shape)
        axes = [canonical_axis("FanInConcat", "axis", self.axis, shape) for shape in shapes]
        rests = [s[:axis] + s[axis + 1 :] for s, axis in zip(shapes, axes, strict=True)]
        if any(rest != rests[0] for rest in rests[1:]):
            raise ValueError(
                f"FanInConcat: branches must have equal shapes but for axis {self.axis}, "
                f"got {input_shape!r}"
            )
        length = sum(shape[axis] for shape, axis in zip(shapes, axes, strict=True))
        return shapes[0][: axes[0]] + (length,) + shapes[0][axes[0] + 1 :]


def _branches(name: str, input_shape: Any) -> tuple[Shape, ...]:
    is_tuple = isinstance(input_shape, tuple | list) and len(input_shape) > 0
    if not is_tuple or not all(isinstance(shape, tuple) for shape in input_shape):
        raise ValueError(f"{name}: needs a tuple of branches, got {input_shape!r}")
    return tuple(input_shape)
