"""How layers are put together: in a chain, side by side, branching."""

import dataclasses
from typing import Any

import jax
from jax import Array

from theorylab.layers._base import Layer, check_count
from theorylab.layers._record import record


@record
class Serial(Layer):
    """A chain of layers; made by :func:`serial`."""

    layers: tuple[Layer, ...]

    def init(self, key: Array, input_shape: Any) -> tuple[Any, ...]:
        params = []
        for i, layer in enumerate(self.layers):
            params.append(layer.init(jax.random.fold_in(key, i), input_shape))
            input_shape = layer.output_shape(input_shape)
        return tuple(params)

    def apply(self, params: Any, x: Any, key: Array | None = None) -> Any:
        _check_length("serial", params, self.layers)
        for i, (layer, layer_params) in enumerate(zip(self.layers, params, strict=True)):
            layer_key = None if key is None else jax.random.fold_in(key, i)
            x = layer.apply(layer_params, x, layer_key)
        return x

    def output_shape(self, input_shape: Any) -> Any:
        for layer in self.layers:
            input_shape = layer.output_shape(input_shape)
        return input_shape


@record
class Parallel(Layer):
    """Layers side by side, each on an input of its own; made by :func:`parallel`."""

    layers: tuple[Layer, ...]

    def init(self, key: Array, input_shape: Any) -> tuple[Any, ...]:
        _check_branches(self.layers, input_shape)
        return tuple(
            layer.init(jax.random.fold_in(key, i), shape)
            for i, (layer, shape) in enumerate(zip(self.layers, input_shape, strict=True))
        )

    def apply(self, params: Any, x: Any, key: Array | None = None) -> tuple[Any, ...]:
        _check_length("parallel", params, self.layers)
        _check_branches(self.layers, x)
        return tuple(
            layer.apply(params[i], x[i], None if key is None else jax.random.fold_in(key, i))
            for i, layer in enumerate(self.layers)
        )

    def output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        _check_branches(self.layers, input_shape)
        return tuple(
            layer.output_shape(shape) for layer, shape in zip(self.layers, input_shape, strict=True)
        )


@record
class Identity(Layer):
    """Leaves its input as it is."""

    def init(self, key: Array, input_shape: Any) -> tuple[()]:
        return ()

    def apply(self, params: Any, x: Any, key: Array | None = None) -> Any:
        return x


@record
class FanOut(Layer):
    """Hands its input to ``num`` branches."""

    num: int = dataclasses.field(metadata={"static": True})

    def __post_init__(self) -> None:
        check_count("FanOut", "num", self.num)

    def init(self, key: Array, input_shape: Any) -> tuple[()]:
        return ()

    def apply(self, params: Any, x: Any, key: Array | None = None) -> tuple[Any, ...]:
        return (x,) * self.num

    def output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        return (input_shape,) * self.num


def serial(*layers: Layer) -> Serial:
    """Chain layers: the output of each is the input of the next.

    Parameters
    ----------
    *layers
        Layer records, one or more; a ``serial`` may stand inside another.

    Raises
    ------
    TypeError
        If an argument is no layer.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab.layers import Dense, Relu, serial
    >>> net = serial(Dense(512, W_std=1.4), Relu(), Dense(1))
    >>> params = net.init(jax.random.key(0), (5, 3))
    >>> net.apply(params, jnp.ones((5, 3))).shape
    (5, 1)
    """
    return Serial(check_layers("serial", layers))


def parallel(*layers: Layer) -> Parallel:
    """Put layers side by side: the i-th acts on the i-th of a tuple of inputs.

    Usually between ``FanOut`` and ``FanInSum``.

    Raises
    ------
    TypeError
        If an argument is no layer.

    Examples
    --------
    >>> from theorylab.layers import Dense, FanInSum, FanOut, Identity, Relu, parallel, serial
    >>> block = serial(FanOut(2), parallel(Identity(), serial(Relu(), Dense(4))), FanInSum())
    >>> block.output_shape((5, 4))
    (5, 4)
    """
    return Parallel(check_layers("parallel", layers))


def check_layers(name: str, layers: tuple[Any, ...]) -> tuple[Layer, ...]:
    """Raise unless all are layers and there is one."""
    if not layers:
        raise ValueError(f"{name}: needs at least one layer")
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            hint = " (did you forget to call it?)" if callable(layer) else ""
            raise TypeError(f"{name}: argument {i} is no layer but {layer!r}{hint}")
    return layers


def _check_branches(layers: tuple[Layer, ...], inputs: Any) -> None:
    if not isinstance(inputs, tuple | list) or len(inputs) != len(layers):
        got = f"{len(inputs)} of them" if isinstance(inputs, tuple | list) else repr(inputs)
        raise ValueError(f"parallel: needs a tuple of {len(layers)} inputs, got {got}")


def _check_length(name: str, params: Any, layers: tuple[Layer, ...]) -> None:
    if len(params) != len(layers):
        raise ValueError(f"{name}: params has {len(params)} entries for {len(layers)} layers")
