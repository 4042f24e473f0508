"""The passes of a network whose initial hidden matrices are drawn as they are used.

What is drawn in a pass is not stored by it: :func:`places` says whether all of it fits, and
:func:`remember` stores it. The
backward pass conditions on the forward pass before it all the same. Equations: ``_conditioning``
and ``_conditioned_mlp``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from theorylab.limits import _conditioning as given
from theorylab.limits._activation import value_and_slope
from theorylab.limits._conditioned_digest import digest
from theorylab.limits._conditioned_state import ConditionedState

dot = given.dot


class Forward(NamedTuple):
    """A forward pass of b points.

    Attributes
    ----------
    inputs
        (b, d), with the constant coordinate of a bias.
    h, value, slope
        (L, b, n), preactivations, activations and their derivatives.
    parts
        Of the activations that hidden matrices were applied to; leading axis L - 1.
    f
        (b, d_out), outputs.
    """

    inputs: Array
    h: Array
    value: Array
    slope: Array
    parts: given.Split
    f: Array


def forward(state: ConditionedState, x: Array, activation: Callable[[Array], Array]) -> Forward:
    """All layers, from inputs x (b, d) with their constant coordinate, if there is one."""
    params = state.params
    root = len(params["u"]) ** 0.5
    h = dot(x, params["u"].T) * root
    value, slope = value_and_slope(activation, h)

    def layer(value: Array, of: Any) -> tuple[Array, Any]:
        known, scale, core, noise = of
        parts = given.split(value, known, noise)
        image = dot(parts.old, known.wx) + dot(parts.new, parts.image)
        h = scale * image + dot(dot(parts.old, core.T), known.y)
        value, slope = value_and_slope(activation, h)
        return value, (h, value, slope, parts)

    of = (state.known, params["scale"], params["core"], _noise(state, x, 0, h))
    last, (hs, values, slopes, parts) = jax.lax.scan(layer, value, of)
    h, value, slope = (
        jnp.concatenate([first[None], rest])
        for first, rest in ((h, hs), (value, values), (slope, slopes))
    )
    return Forward(x, h, value, slope, parts, dot(last, params["v"].T) / root)


def backward(state: ConditionedState, ahead: Forward, d: Array) -> tuple[Array, given.Split]:
    """From d (b', n) behind the last activation: d (L, b', n) by all h, and their parts.

    Each point of the forward pass may have several rows, one after the other.
    """
    params = state.params
    slope = jnp.repeat(ahead.slope, len(d) // ahead.slope.shape[1], axis=1)

    def layer(d: Array, of: Any) -> tuple[Array, Any]:
        known, scale, core, slope, ahead, noise = of
        d = d * slope
        parts = given.split(d, given.transposed(known), noise, ahead)
        image = dot(parts.old, known.wty) + dot(parts.new, parts.image)
        return scale * image + dot(dot(parts.old, core), known.x), (d, parts)

    noise = _noise(state, ahead.inputs, 1, d)
    of = (state.known, params["scale"], params["core"], slope[1:], ahead.parts, noise)
    first, (ds, parts) = jax.lax.scan(layer, d, of, reverse=True)
    return jnp.concatenate([(first * slope[0])[None], ds]), parts


class Places(NamedTuple):
    """Where new vectors of both passes go: slots (L - 1, b) and counts (L - 1,) with them.

    Slots are the capacity, that is nowhere, unless all of it fits.
    """

    x: Array
    y: Array
    x_count: Array
    y_count: Array
    fits: Array


def places(known: given.Known, ahead: given.Split, back: given.Split) -> Places:
    """Slots for what both passes drew, if there are enough."""
    capacity = known.x.shape[1]
    slots = jax.vmap(lambda parts, count: given.slots(parts, count, capacity))
    x, x_count = slots(ahead, known.x_count)
    y, y_count = slots(back, known.y_count)
    fits = jnp.all(jnp.maximum(x_count, y_count) <= capacity)
    x, y = (jnp.where(fits, slot, capacity) for slot in (x, y))
    return Places(x, y, x_count, y_count, fits)


def remember(
    known: given.Known, ahead: given.Split, back: given.Split, where: Places, made: Array
) -> given.Known:
    """What is known once both passes are stored, unchanged unless ``made``, which implies fits."""
    capacity = known.x.shape[1]
    x, y = (jnp.where(made, s, capacity) for s in (where.x, where.y))
    x_count = jnp.where(made, where.x_count, known.x_count)
    y_count = jnp.where(made, where.y_count, known.y_count)
    known = jax.vmap(given.store)(known, ahead, x, x_count)
    return given.transposed(jax.vmap(given.store)(given.transposed(known), back, y, y_count))


def _noise(state: ConditionedState, x: Array, side: int, rows: Array) -> Array:
    """(L - 1, b, n) from N(0, 1/n), the same again only for the same state, points and side."""
    key = jax.random.fold_in(jax.random.fold_in(state.key, state.time), side)
    key = jax.random.fold_in(key, digest(x))
    hidden, n = len(state.params["scale"]), rows.shape[1]
    return jax.random.normal(key, (hidden, *rows.shape), rows.dtype) / n**0.5
