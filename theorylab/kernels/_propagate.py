"""How a layer acts on kernels: one rule per record type, registered with ``rule.register``."""

import functools
from typing import Any

from theorylab._numerics import wide_scope
from theorylab.layers import Identity, Layer, Parallel, Serial

# A signal of a network with branches is a tuple of states, of layouts likewise.
State = Any
Signal = Any


@functools.singledispatch
def rule(layer: Layer, state: State) -> State:
    """Kernels behind a layer from the kernels before it; runs where float64 is allowed."""
    raise NotImplementedError(f"{type(layer).__name__} has no kernel rule")


def propagate(layer: Layer, state: State) -> State:
    """Kernels behind a layer from the kernels before it.

    Parameters
    ----------
    layer
        Any layer record, a whole network included.
    state
        A :class:`KernelState`, or a tuple of them where the layer takes several inputs. Made by
        :func:`theorylab.kernels.input_state` or by another ``propagate``.

    Returns
    -------
    KernelState
        Or a tuple of them behind ``FanOut`` and ``parallel``.

    Raises
    ------
    ValueError, NotImplementedError
        Where the layer has no kernel for such a signal; the message names the layer.

    Examples
    --------
    Networks compose by composing their kernels:

    >>> import jax.numpy as jnp
    >>> import theorylab.kernels as tk
    >>> state = tk.input_state(jnp.eye(2), jnp.eye(2))
    >>> first, second = tk.serial(tk.Dense(8), tk.Relu()), tk.Dense(1)
    >>> whole = tk.serial(tk.Dense(8), tk.Relu(), tk.Dense(1))
    >>> a = second.propagate(first.propagate(state)).kernel().ntk
    >>> bool(jnp.allclose(a, whole.propagate(state).kernel().ntk))
    True
    """
    layout_after(layer, layouts_of(state), type(layer).__name__.lower())
    with wide_scope():
        return rule(layer, state)


def layouts_of(state: State) -> Signal:
    """The layout of a state, or the tuple of layouts of its branches."""
    return tuple(layouts_of(s) for s in state) if isinstance(state, tuple) else state.layout


@functools.singledispatch
def layout_after(layer: Layer, layout: Signal, path: str) -> Signal:
    """Static facts about the signal behind a layer; raises where the layer cannot stand there.

    Parameters
    ----------
    layer
        Any layer record.
    layout
        :class:`Layout` of its input, or a tuple of them.
    path
        Where the layer stands in the network, for the message.
    """
    raise NotImplementedError(f"{path} has no kernel rule")


@rule.register
def _(layer: Identity, state: State) -> State:
    return state


@layout_after.register
def _identity_layout(layer: Identity, layout: Signal, path: str) -> Signal:
    return layout


def single(layout: Signal, path: str) -> None:
    """Raise unless the signal is one branch."""
    if isinstance(layout, tuple):
        raise ValueError(
            f"{path} takes one input but stands behind {len(layout)} branches; "
            "join them with FanInSum or put it inside parallel"
        )


def layer_path(path: str, i: int, layer: Layer) -> str:
    """Name of the i-th layer of a combinator, e.g. ``net[1] parallel[0] Dense``."""
    names = {Serial: "", Parallel: " parallel"}
    return f"{path}[{i}]{names.get(type(layer), ' ' + type(layer).__name__)}"
