"""The door: inputs are checked, the cost is planned, and one compiled program does the rest."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from theorylab._numerics import floating, wide_scope
from theorylab._tree import leaf_name, leaves_with_names
from theorylab.kernels._input import Points, paired_state, points
from theorylab.kernels._plan import prepare
from theorylab.kernels._propagate import Signal, advance, rule
from theorylab.kernels._state import Held, Kernel, Layout, LogScale, Rows
from theorylab.kernels._units import (
    kernel_exponents,
    ldexp,
    log_scale,
    natural_kernel,
    unfolded_pairs,
)
from theorylab.layers import Layer


def kernel(
    net: Layer,
    x1: Any,
    x2: Any = None,
    *,
    ntk: bool = True,
    memory_limit: int | None = None,
    **layer_inputs: Any,
) -> Kernel:
    r"""NNGP and NTK of an infinitely wide network; usually called as ``net.kernel(x1, x2)``.

    .. math::

        K(x, x') = \lim_{n\to\infty} E f(x) f(x'), \qquad
        \Theta(x, x') = \lim_{n\to\infty} E \nabla_\theta f(x) \cdot \nabla_\theta f(x'),

    per output channel, for hidden widths :math:`n` and parameters :math:`\theta` as drawn.

    Parameters
    ----------
    net
        Network.
    x1
        Inputs (n1, d), float32 or float64; a tuple of arrays for a network with several inputs.
    x2
        Inputs (n2, d). ``None`` means ``x1``: half the work, an exactly symmetric result.
    ntk
        Whether the NTK is wanted; ``False`` leaves it None.
    memory_limit
        In bytes; the kernel is computed in tiles small enough to stay below it.
    **layer_inputs
        Inputs of layers that take any; none of the present ones does.

    Returns
    -------
    Kernel
        ``nngp`` and ``ntk``, (n1, n2), in the dtype of the inputs as JAX holds them, whether
        64-bit types are enabled or not; half precision is computed and returned in float32.

    Raises
    ------
    ValueError
        For inputs of wrong rank, unequal features or no points, for a layer that cannot stand where
        it does, for a ``memory_limit`` that no tile can meet.
    TypeError
        For integer or complex inputs, and for lists and dictionaries of inputs.
    NotImplementedError
        Where there is no closed form; the message names the layer.

    Notes
    -----
    *Validity.* The limit of infinite width at initialisation. A NaN in an input gives NaN in its
    rows and columns and nowhere else.

    *float32.* Hyperparameters are rounded to the dtype of the inputs; what is formed from them, and
    all quantities per input, is float64. The error of an entry, over the square root of the product
    of its diagonal entries, stays below 1e-6 to depth 10, on near-duplicates, duplicates and
    rescaled copies of inputs too. Known limit: points within about 1e-3 of *opposite*
    (``x2 = -x1``) under a kinked activation without bias, where a gap near 2 holds the angle only
    to the square root of ``eps``: there the NTK is off by up to 1e-4 in float32, 1e-9 in float64.

    *Derivatives* of first and second order exist in both modes, in inputs and in hyperparameters
    (pass ``net`` itself as the argument). Where the NTK of a kinked activation has a cusp, at
    parallel inputs, the mean of the one-sided derivatives is returned. At a zero input under layers
    without bias the kernel is a cone: the derivative is finite and has no meaning.

    References
    ----------
    Lee, Bahri, Novak, Schoenholz, Pennington and Sohl-Dickstein, "Deep neural networks as Gaussian
    processes", 2018, eq. 5. Jacot, Gabriel and Hongler, "Neural tangent kernel", 2018, theorem 1.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import theorylab.kernels as tk
    >>> net = tk.serial(tk.Dense(512, W_std=2**0.5), tk.Relu(), tk.Dense(1))
    >>> k = net.kernel(jnp.eye(2))
    >>> k.nngp.shape, bool(jnp.allclose(jnp.diag(k.ntk), 1.0))
    ((2, 2), True)
    """
    if layer_inputs:
        names = ", ".join(sorted(layer_inputs))
        raise TypeError(f"kernel: no layer of this network takes the input {names}")
    for name, x in (("x1", x1), ("x2", x2)):
        if isinstance(x, dict | list):
            raise TypeError(
                f"{name} must be an array, or a tuple of arrays for a network with several "
                f"inputs, got a {type(x).__name__}"
            )
    named1 = leaves_with_names("x1", x1)
    named2 = [] if x2 is None else leaves_with_names("x2", x2)
    leaves = [floating(name, leaf) for name, leaf in named1 + named2]
    if not named1:
        raise ValueError("x1: no input given")
    structure1, structure2 = (str(jax.tree.structure(x)) for x in (x1, x2))
    if x2 is not None and structure1 != structure2:
        raise ValueError(
            f"x1 and x2 must have the same structure, got {structure1} and {structure2}"
        )
    dtype = jnp.result_type(*leaves)
    arrays = [jnp.asarray(leaf, dtype) for leaf in leaves]
    x1 = jax.tree.unflatten(jax.tree.structure(x1), arrays[: len(named1)])
    if x2 is not None:
        x2 = jax.tree.unflatten(jax.tree.structure(x2), arrays[len(named1) :])
    shapes = jax.tree.map(jnp.shape, (x1, x2))
    ready = prepare(net, *shapes, ntk=ntk, dtype=dtype, memory_limit=memory_limit)
    net = _cast(ready.net, dtype)
    how = _How(ready.layouts, ready.own, ready.counts, ntk, ready.plan.tile)
    with wide_scope():
        return _compiled(net, x1, x2, how)


class _How(NamedTuple):
    """All that is static about a call."""

    layouts: Signal
    own: bool
    counts: tuple[int, int]
    ntk: bool
    tile: tuple[int, int]


def _cast(net: Layer, dtype: Any) -> Layer:
    """Hyperparameters as scalars of the inputs' dtype."""

    def leaf(path: Any, value: Any) -> Array:
        if jnp.ndim(value) != 0:
            raise ValueError(
                f"{leaf_name('net', path)} must be a scalar, got shape {jnp.shape(value)}; "
                "to evaluate several values at once use jax.vmap over the network"
            )
        return jnp.asarray(value, dtype)

    return jax.tree_util.tree_map_with_path(leaf, net)


@partial(jax.jit, static_argnames="how")
def _compiled(net: Layer, x1: Any, x2: Any, how: _How) -> Kernel:
    rows = _side(net, x1, how)
    columns = rows if x2 is None else _side(net, x2, how)
    units = kernel_exponents(rows.final, columns.final, rows.final.dtype)
    job = _Job(net, rows, columns, units, how.ntk, x2 is None)
    dtype = rows.final.dtype
    if all(size >= n for size, n in zip(how.tile, how.counts, strict=True)):
        pair = _tile(job, rows, columns, same=x2 is None)
    else:
        pair = _tiled(job, how)
    ntk_log = log_scale(units[1], dtype) if how.ntk else None
    nngp, ntk = jax.tree.map(lambda k: unfolded_pairs(k, rows.final.layout), pair)
    return Kernel(nngp, ntk, LogScale(log_scale(units[0], dtype), ntk_log))


class _Side(NamedTuple):
    """One set of inputs: themselves, what every layer makes of them alone, and the end of that."""

    points: Any
    record: Any
    final: Rows


class _Job(NamedTuple):
    """What all tiles share."""

    net: Layer
    rows: _Side
    columns: _Side
    units: tuple[Array, Array]
    ntk: bool
    symmetric: bool


def _side(net: Layer, x: Any, how: _How) -> _Side:
    """Prepare inputs and send their rows through the network."""
    layouts = how.layouts
    x = jax.tree.map(
        lambda layout, a: jnp.moveaxis(a, layout.axes, (0, -1)), layouts, x, is_leaf=_is_layout
    )
    prepared = _points(layouts, x, own=False)
    if not how.own:
        final, record = advance(net, _rows(prepared))
        return _Side(prepared, record, final)

    def alone(one: Any) -> tuple[Rows, Any]:
        one = jax.tree.map(lambda a: a[None], one)
        return advance(net, _rows(_points(layouts, one, own=True)))

    # One input after another: the pairs of positions of all inputs at once may not fit.
    final, record = jax.tree.map(_gathered, lax.map(alone, x), is_leaf=_is_held)
    return _Side(prepared, record, final.bare())


def _points(layouts: Signal, x: Any, own: bool) -> Any:
    return jax.tree.map(
        lambda layout, a: points(a, layout, own=own), layouts, x, is_leaf=_is_layout
    )


def _rows(prepared: Any) -> Signal:
    return jax.tree.map(lambda p: p.rows, prepared, is_leaf=_is_points)


def _gathered(record: Any) -> Any:
    """Rows of single inputs, (n, ..., 1, *S), as rows of all, with one exponent for all."""

    def together(a: Array, rank: int) -> Array:
        axis = a.ndim - 1 - rank
        return jnp.moveaxis(jnp.squeeze(a, axis), 0, axis - 1)

    if isinstance(record, Held):
        return _changed(record, together)
    rows: Rows = record
    exponent, tangent_exponent = (
        jnp.max(e, axis=0) for e in (rows.exponent, rows.tangent_exponent)
    )

    def shifted(a: Array, shift: Array) -> Array:
        return ldexp(a, shift.reshape(shift.shape + (1,) * (a.ndim - shift.ndim)))

    tangent = shifted(rows.tangent, 2 * (rows.tangent_exponent - tangent_exponent))
    common = dataclasses.replace(
        rows,
        scale=shifted(rows.scale, rows.exponent - exponent),
        exponent=exponent,
        tangent=jnp.max(tangent, axis=0),
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


def _is_layout(x: Any) -> bool:
    return isinstance(x, Layout)


def _is_held(x: Any) -> bool:
    return isinstance(x, Rows | Held)


def _is_points(x: Any) -> bool:
    return isinstance(x, Points)


def _per_input(change: Callable[[Array, int], Array], side: _Side) -> _Side:
    """Apply ``change(array, sample axis)`` to all that is held for each input."""

    def one(record: Any) -> Any:
        return _changed(record, lambda a, rank: change(a, a.ndim - 1 - rank))

    points = jax.tree.map(
        lambda p: Points(change(p.x, 0), one(p.rows), change(p.u, 0)),
        side.points,
        is_leaf=_is_points,
    )
    return _Side(points, jax.tree.map(one, side.record, is_leaf=_is_held), side.final)


def _tile(job: _Job, rows: _Side, columns: _Side, same: bool | Array) -> tuple[Array, Array | None]:
    """NNGP and NTK of a tile; where ``same``, its points are the same in rows and columns."""
    state = jax.tree.map(
        lambda p1, p2: paired_state(p1, p2, ntk=job.ntk, same=same),
        rows.points,
        columns.points,
        is_leaf=_is_points,
    )
    pair = natural_kernel(rule(job.net, state, rows.record, columns.record), job.units)
    shape = pair[0].shape
    if same is False or shape[0] != shape[1]:
        return pair
    if same is True:
        # A condition that the compiler cannot decide: see _mirrored.
        same = jnp.logical_not(jnp.isnan(pair[0].reshape(-1)[0]))
    index = jnp.arange(shape[0] * math.prod(job.rows.final.layout.spatial))
    return lax.cond(same, _mirrored, lambda k, _: k, pair, index)


def _mirrored(pair: tuple[Array, Array | None], index: Array) -> tuple[Array, Array | None]:
    """The upper triangle, mirrored; points and positions count together.

    Rounding differs between (i, j) and (j, i): in products of matrices, and in elementwise code
    wherever the compiler contracts a multiplication and an addition. Called under a condition, so
    that it works on finished entries; fused with what makes them, they would be made twice, and
    perhaps differently. The index is an argument because the compiler would evaluate a constant
    mask entry by entry, which takes half a minute.
    """
    if pair[0].ndim == 2:
        below = index[:, None] > index[None, :]
    else:
        index = index.reshape(pair[0].shape[0], -1)
        below = index[:, None, :, None] > index[None, :, None, :]
    return jax.tree.map(lambda k: jnp.where(below, _transposed(k), k), pair)


def _transposed(k: Array) -> Array:
    """(n2, n1, P', P) from (n1, n2, P, P')."""
    return k.T if k.ndim == 2 else jnp.transpose(k, (1, 0, 3, 2))


def _tiled(job: _Job, how: _How) -> tuple[Array, Array | None]:
    """All tiles in one loop; of a symmetric kernel the upper ones, each written twice."""
    tile, shape = how.tile, how.counts
    counts = tuple(-(-n // size) for n, size in zip(shape, tile, strict=True))
    padded = tuple(count * size for count, size in zip(counts, tile, strict=True))
    rows, columns = (
        _per_input(partial(_extended, more=p - n), side)
        for side, n, p in zip((job.rows, job.columns), shape, padded, strict=True)
    )
    pairs = [
        (i, j) for i in range(counts[0]) for j in range(counts[1]) if i <= j or not job.symmetric
    ]

    def part(side: _Side, start: Array, size: int) -> _Side:
        return _per_input(lambda a, axis: lax.dynamic_slice_in_dim(a, start, size, axis), side)

    def body(out: Any, pair: Array) -> tuple[Any, None]:
        i, j = pair[0] * tile[0], pair[1] * tile[1]
        ours, theirs = part(rows, i, tile[0]), part(columns, j, tile[1])
        result = _tile(job, ours, theirs, same=(i == j) if job.symmetric else False)
        out = _written(out, result, (i, j))
        if job.symmetric:
            out = _written(out, jax.tree.map(_transposed, result), (j, i))
        return out, None

    layout = job.rows.final.layout
    positions = (layout.positions,) * 2 if layout.spatial else ()
    empty = jnp.zeros((*padded, *positions), job.rows.final.dtype)
    start = (empty, empty if job.ntk else None)
    pair, _ = lax.scan(body, start, jnp.asarray(pairs, jnp.int32))
    return jax.tree.map(lambda k: k[: shape[0], : shape[1]], pair)


def _extended(a: Array, axis: int, more: int) -> Array:
    """The last input repeated, to fill the last tile."""
    amounts = [(0, 0)] * a.ndim
    amounts[axis] = (0, more)
    return jnp.pad(a, amounts, mode="edge") if more else a


def _written(out: Any, result: Any, at: tuple[Array, Array]) -> Any:
    return jax.tree.map(
        lambda a, k: lax.dynamic_update_slice(a, k, (*at, *(0,) * (a.ndim - 2))), out, result
    )
