"""Copies of one layer in a chain, traced and compiled once whatever their number."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from theorylab.layers._base import Layer, check_count
from theorylab.layers._combinators import check_layers
from theorylab.layers._record import record


@record
class Repeat(Layer):
    """``times`` copies of ``layer``, each with parameters of its own; made by :func:`repeat`."""

    layer: Layer
    times: int = dataclasses.field(metadata={"static": True})

    def __post_init__(self) -> None:
        check_count("repeat", "times", self.times)
        object.__setattr__(self, "times", int(self.times))

    def init(self, key: Array, input_shape: Any) -> tuple[Any, Any]:
        shape = self.output_shape(input_shape)
        first = self.layer.init(jax.random.fold_in(key, 0), input_shape)
        if self.times == 1:
            return first, ()

        def draw(i: Array) -> Any:
            return self.layer.init(jax.random.fold_in(key, i), shape)

        return first, jax.vmap(draw)(jnp.arange(1, self.times))

    def apply(self, params: Any, x: Any, key: Array | None = None) -> Any:
        if not isinstance(params, tuple | list) or len(params) != 2:
            raise ValueError(
                "repeat: params must be a pair, those of the first copy and the stack of the "
                f"others, got {type(params).__name__}"
            )
        first, others = params
        x = self.layer.apply(first, x, None if key is None else jax.random.fold_in(key, 0))
        if self.times == 1:
            return x
        self._check_stack(others)
        self._check_kept(jax.tree.map(jnp.shape, x))

        def step(carry: Any, copy: tuple[Any, Array]) -> tuple[Any, None]:
            layer_params, i = copy
            layer_key = None if key is None else jax.random.fold_in(key, i)
            return self.layer.apply(layer_params, carry, layer_key), None

        return lax.scan(step, x, (others, jnp.arange(1, self.times)))[0]

    def output_shape(self, input_shape: Any) -> Any:
        shape = self.layer.output_shape(input_shape)
        if self.times > 1:
            self._check_kept(shape)
        return shape

    def _check_kept(self, shape: Any) -> None:
        """Raise unless the second copy keeps what the first hands on."""
        after = self.layer.output_shape(shape)
        if after != shape:
            raise ValueError(
                "repeat: every copy of the layer but the first must keep the shape of its input, "
                f"got {shape} before and {after} behind the second"
            )

    def _check_stack(self, others: Any) -> None:
        for leaf in jax.tree.leaves(others):
            if jnp.ndim(leaf) < 1 or leaf.shape[0] != self.times - 1:
                raise ValueError(
                    f"repeat: parameters of the other {self.times - 1} copies must be stacked "
                    f"along a leading axis, got an array of shape {jnp.shape(leaf)}"
                )


def repeat(layer: Layer, times: int) -> Repeat:
    """Chain ``times`` copies of ``layer`` with independent parameters, compiled once.

    The network and, for equal keys, the parameters are those of ``serial(layer, layer, ...)``.
    Parameters are a pair: those of the first copy, and those of the others stacked along a new
    leading axis; ``()`` where there are no others.

    Parameters
    ----------
    layer
        Layer record. The first copy may change the shape of its input, say from 784 channels to
        512; the others must keep it.
    times
        Number of copies, 1 or more.

    Raises
    ------
    TypeError
        If ``layer`` is no layer, or ``times`` no integer.
    ValueError
        If ``times`` is below 1; later, if the second copy changes the shape of its input.

    Examples
    --------
    >>> import jax
    >>> from theorylab.layers import Dense, Relu, repeat, serial
    >>> net = serial(repeat(serial(Dense(512, W_std=1.4), Relu()), 30), Dense(1))
    >>> params = net.init(jax.random.key(0), (5, 784))
    >>> params[0][0][0]["W"].shape, params[0][1][0]["W"].shape
    ((784, 512), (29, 512, 512))
    """
    (checked,) = check_layers("repeat", (layer,))
    return Repeat(checked, times)
