"""Sets of inputs: sent through the network alone, then cut into tiles for the pairs."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from theorylab.kernels._input import Points, points
from theorylab.kernels._propagate import Signal, advance
from theorylab.kernels._state import Held, Layout, Rows
from theorylab.kernels._units import ldexp
from theorylab.layers import Layer


class Side(NamedTuple):
    """One set of inputs: themselves, what every layer makes of them alone, and the end of that."""

    points: Any
    record: Any
    final: Rows


def side_of(net: Layer, x: Any, layouts: Signal, own: bool, pairs: Any) -> Side:
    """Prepare inputs, for pairs of a dtype, and send their rows through the network."""

    def canonical(layout: Layout, a: Array) -> Array:
        # Widened once: the derivatives of all uses of an image are added up before they are
        # rounded, since behind a pool they nearly cancel.
        a = a.astype(pairs) if layout.spatial else a
        return jnp.moveaxis(a, layout.axes, (0, -1))

    x = jax.tree.map(canonical, layouts, x, is_leaf=_is_layout)
    prepared = _points(layouts, x, pairs, own=False)
    if not own:
        final, record = advance(net, _rows(prepared))
        return Side(prepared, record, final)

    def alone(one: Any) -> tuple[Rows, Any]:
        one = jax.tree.map(lambda a: a[None], one)
        final, record = advance(net, _rows(_points(layouts, one, pairs, own=True)))
        return final.bare(), record

    # One input after another: the pairs of positions of all inputs at once may not fit.
    final, record = jax.tree.map(_gathered, lax.map(alone, x), is_leaf=_is_held)
    return Side(prepared, record, final)


def _points(layouts: Signal, x: Any, pairs: Any, own: bool) -> Any:
    return jax.tree.map(
        lambda layout, a: points(a, layout, pairs=pairs, own=own), layouts, x, is_leaf=_is_layout
    )


def _rows(prepared: Any) -> Signal:
    return jax.tree.map(lambda p: p.rows, prepared, is_leaf=is_points)


def _gathered(record: Any) -> Any:
    """Rows of single inputs, ``(n, ..., 1, *S)``, as rows of all, with one exponent for all."""

    def together(a: Array, rank: int) -> Array:
        axis = a.ndim - 1 - rank
        return jnp.moveaxis(jnp.squeeze(a, axis), 0, axis - 1)

    if isinstance(record, Held):
        return _changed(record, together)
    rows: Rows = record
    # An input that vanishes has no say, and no size.
    each = tuple(range(rows.q.ndim - 1 - len(rows.layout.spatial), rows.q.ndim))
    live = jnp.any(rows.q > 0, axis=each)
    exponent, tangent_exponent = (
        jnp.where(jnp.any(live, axis=0), jnp.max(jnp.where(live, e, -(2**20)), axis=0), 0)
        for e in (rows.exponent, rows.tangent_exponent)
    )

    def shifted(a: Array, shift: Array) -> Array:
        return ldexp(a, shift.reshape(shift.shape + (1,) * (a.ndim - shift.ndim)))

    tangent = shifted(rows.tangent, 2 * (rows.tangent_exponent - tangent_exponent))
    scale = shifted(rows.scale, rows.exponent - exponent)
    common = dataclasses.replace(
        rows,
        scale=jnp.where(jnp.expand_dims(live, each), scale, 1),
        exponent=exponent,
        tangent=jnp.max(jnp.where(live, tangent, 0), axis=0),
        tangent_exponent=tangent_exponent,
        own=None,
    )
    return _changed(common, together)


def _changed(record: Any, change: Callable[[Array, int], Array]) -> Any:
    """Apply ``change(array, number of spatial axes)`` to what is held for each input.

    The inputs are counted along the axis before the spatial ones; records of loops have further
    axes in front.
    """
    if isinstance(record, Held):
        tail = None if record.tail is None else change(record.tail, record.rank)
        return dataclasses.replace(record, head=change(record.head, record.rank), tail=tail)
    if not isinstance(record, Rows):
        return record
    rank = len(record.layout.spatial)
    names = ("scale", "q", "half", "root", "inverse")
    changed: dict[str, Any] = {n: change(getattr(record, n), rank) for n in names}
    return dataclasses.replace(record, **changed)


def per_input(change: Callable[[Array, int], Array], side: Side) -> Side:
    """Apply ``change(array, sample axis)`` to all that is held for each input."""

    def one(record: Any) -> Any:
        return _changed(record, lambda a, rank: change(a, a.ndim - 1 - rank))

    points = jax.tree.map(
        lambda p: Points(change(p.x, 0), one(p.rows), change(p.u, 0)),
        side.points,
        is_leaf=is_points,
    )
    return Side(points, jax.tree.map(one, side.record, is_leaf=_is_held), side.final)


def _is_layout(x: Any) -> bool:
    return isinstance(x, Layout)


def _is_held(x: Any) -> bool:
    return isinstance(x, Rows | Held)


def is_points(x: Any) -> bool:
    return isinstance(x, Points)
