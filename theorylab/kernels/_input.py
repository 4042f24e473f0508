r"""From inputs to the first state: the gap between points, exact where points nearly coincide.

For inputs :math:`x_i \in R^d` with :math:`\mu_i^2 = |x_i|^2/d` and :math:`u_i = x_i/\mu_i`,

.. math:: q_i = \frac{|u_i|^2}{d} = 1, \qquad g_{ij} = \frac{|u_i - u_j|^2}{2 d} .

A product of matrices gives :math:`g` with the absolute error of its arithmetic, ``eps``, that is an
angle wrong by ``eps / sin(theta)``: harmless but near :math:`g = 0` and 2. Pairs within ``NEAR`` of
0 are therefore formed again from differences of the rows, in the wide dtype; those within ``NEAR``
of 2, opposite points, from sums, :math:`2 - |u_i + u_j|^2/2d`. Data without such pairs pay
one comparison per pair. Where more than a fraction ``MANY`` of a tile is near, a product in float64
is cheaper than differences, and as good for a float32 kernel.

Differs from the reference (Neural Tangents forms :math:`x_i \cdot x_j/d` in the input's dtype):

1. Gaps in place of products; near pairs from differences.
2. ``NEAR`` = 5e-2 in float32 leaves, for a product with the error 2 eps, an angle error of
   2.4e-7/sqrt(0.1) = 8e-7 above it, a few roundings of an angle; 1e-3 in float64 leaves
   4e-16/sqrt(2e-3) = 1e-14.
3. ``CHUNK`` = 256 pairs at a time bounds the gathered rows at 256 d numbers; ``MANY`` = 1/32 is
   where both routes took the same time for d = 784 on two CPU cores.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from theorylab._numerics import HIGHEST, floating, wide_dtype, wide_scope
from theorylab.kernels._pixels import own_gap, spatial_gap
from theorylab.kernels._shapes import input_layouts
from theorylab.kernels._state import KernelState, Layout, Rows
from theorylab.kernels._units import excess, ldexp, unit, unit_scale, variances

NEAR = {4: 5e-2, 8: 1e-3}
CHUNK = 256
MANY = 1 / 32


class Points(NamedTuple):
    """Inputs in canonical order, with all that belongs to one of them alone.

    Attributes
    ----------
    x
        As given, ``(n, *S, d)``.
    rows
        Scale: root of the mean square over channels; q: mean square of ``x / scale``. Both
        ``(n, *S)``.
    u
        ``x / scale`` in the dtype of ``x``, ``(n, *S, d)``.
    """

    x: Array
    rows: Rows
    u: Array


def points(x: Array, layout: Layout, *, pairs: Any = None, own: bool = False) -> Points:
    """Prepare inputs ``(n, *S, d)`` for pairs of a dtype, by default theirs.

    ``own`` for gaps between the positions of each.
    """
    dtype = wide_dtype(x.dtype)
    wide = x.astype(dtype)
    scale = unit_scale(jnp.mean(wide**2, axis=-1))
    u = wide / scale[..., None]
    zero = jnp.zeros((), jnp.int32)
    rows = Rows(
        scale=scale,
        **variances(unit(jnp.mean(u**2, axis=-1)), x.dtype if pairs is None else pairs),
        exponent=zero,
        tangent=jnp.zeros((), dtype),
        tangent_exponent=zero,
        own=None,
        layout=layout,
    )
    grown = excess(lax.stop_gradient(jnp.max(scale)))
    rows = dataclasses.replace(rows, scale=ldexp(scale, -grown), exponent=grown)
    made = Points(x, rows, u.astype(x.dtype))
    if own and layout.spatial:
        made = made._replace(rows=dataclasses.replace(rows, own=own_gap(x, rows)))
    return made


def input_state(
    x1: Array, x2: Array, *, ntk: bool = True, batch_axis: int = 0, channel_axis: int = -1
) -> KernelState:
    """State of the inputs themselves, whose NTK is zero.

    Parameters
    ----------
    x1, x2
        (n1, d) and (n2, d), or with spatial axes, ``(n1, *S, d)`` and ``(n2, *S, d)``, of one
        floating dtype.
    ntk
        Whether to carry the NTK.
    batch_axis, channel_axis
        Where the inputs have these axes.

    Returns
    -------
    KernelState
        Gap and NTK in the dtype of the inputs, row quantities in the wide dtype. All pairs of
        positions are kept, as pooling needs them.

    Raises
    ------
    ValueError, TypeError
        For arrays of wrong rank, unequal features, no points, or no real floating dtype.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.kernels import input_state
    >>> x = 2 * jnp.eye(4)[:2]
    >>> input_state(x, x).kernel().nngp.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    x1, x2 = jnp.asarray(floating("x1", x1)), jnp.asarray(floating("x2", x2))
    layout = input_layouts(x1.shape, x2.shape, (batch_axis, channel_axis))
    dtype = jnp.result_type(x1, x2)
    with wide_scope():
        p1, p2 = (
            points(jnp.moveaxis(x.astype(dtype), layout.axes, (0, -1)), layout, own=True)
            for x in (x1, x2)
        )
        return paired_state(p1, p2, ntk=ntk, same=False)


def paired_state(p1: Points, p2: Points, *, ntk: bool, same: bool | Array) -> KernelState:
    """State of prepared inputs; where ``same``, equal indices mean one and the same point."""
    if p1.rows.layout.spatial:
        gap = spatial_gap(p1.x, p1.rows, p2.x, p2.rows)
    else:
        fixed = lax.stop_gradient(
            (p1.x, p2.x, _natural(p1.rows), _natural(p2.rows), p1.rows.q, p2.rows.q)
        )
        diagonal = jnp.asarray(False)
        if same is not False and p1.x.shape == p2.x.shape:
            index = jnp.arange(p1.x.shape[0])
            diagonal = jnp.logical_and(same, index[:, None] == index[None, :])
        shape = (p1.x.shape[0], p2.x.shape[0])
        gap = _gap(p1.u, p2.u, fixed, jnp.broadcast_to(diagonal, shape))
    gap = gap.astype(p1.rows.dtype)
    return KernelState(p1.rows, p2.rows, gap, jnp.zeros_like(gap) if ntk else None)


def _natural(rows: Rows) -> Array:
    return ldexp(rows.scale, rows.exponent)


def _mean_product(u1: Array, u2: Array) -> Array:
    return jnp.matmul(u1, u2.T, precision=HIGHEST) / u1.shape[1]


@jax.custom_jvp
def _gap(u1: Array, u2: Array, fixed: tuple[Array, ...], diagonal: Array) -> Array:
    """Gap (n1, n2), at least 0, exactly 0 on ``diagonal``; differentiable in ``u1``, ``u2``."""
    x1, x2, scale1, scale2, q1, q2 = fixed
    dtype, wide = u1.dtype, q1.dtype
    halves = (q1 / 2).astype(dtype)[:, None] + (q2 / 2).astype(dtype)[None, :]
    gap = _clip(halves - _mean_product(u1, u2))
    # A NaN is neither near nor clipped, and stays on the diagonal.
    gap = jnp.where(diagonal & (gap >= 0), 0, gap)
    opposite = gap > 2 - NEAR[dtype.itemsize]
    near = ((gap < NEAR[dtype.itemsize]) | opposite) & ~diagonal
    count = jnp.sum(near, dtype=jnp.int32)

    def few(_: Array) -> Array:
        flat = near.reshape(-1)
        rank = jnp.cumsum(flat, dtype=jnp.int32)

        def refine(carry: tuple[Array, Array]) -> tuple[Array, Array]:
            done, values = carry
            index = jnp.searchsorted(rank, done + 1 + jnp.arange(CHUNK, dtype=jnp.int32))
            i, j = jnp.divmod(index, u2.shape[0])
            turned = jnp.take(values, index, mode="clip") > 1
            sign = jnp.where(turned, -1, 1).astype(wide)[:, None]
            rows = _rows(x1, scale1, i) - sign * _rows(x2, scale2, j)
            squares = jnp.mean(rows**2, axis=1) / 2
            gaps = jnp.where(turned, 2 - squares, squares).astype(dtype)
            return done + CHUNK, values.at[index].set(gaps, mode="drop")

        start = (jnp.zeros_like(count), gap.reshape(-1))
        return lax.while_loop(lambda carry: carry[0] < count, refine, start)[1].reshape(gap.shape)

    def many(_: Array) -> Array:
        rows1 = x1.astype(wide) / scale1[:, None]
        rows2 = x2.astype(wide) / scale2[:, None]
        product = _clip((q1 / 2)[:, None] + (q2 / 2)[None, :] - _mean_product(rows1, rows2))
        return jnp.where(diagonal & (gap >= 0), 0, product).astype(dtype)

    branches = [lambda kept: kept, few]
    choice = (count > 0).astype(jnp.int32)
    if dtype != wide:
        branches.append(many)
        choice = choice + (count > MANY * gap.size)
    return lax.switch(choice, branches, gap)


def _clip(gap: Array) -> Array:
    """At least 0; unlike a maximum, sure to keep NaN."""
    return jnp.where(gap < 0, 0, gap)


def _rows(x: Array, scale: Array, index: Array) -> Array:
    rows = jnp.take(x, index, axis=0, mode="clip").astype(scale.dtype)
    return rows / jnp.take(scale, index, mode="clip")[:, None]


@_gap.defjvp
def _gap_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """Tangent: mean over channels of ``(u_i - u_j)(du_i - du_j)``, from products.

    In the dtype of the kernel: transposing a float64 product happens in the caller's scope, where
    64-bit types may be off.
    """
    (u1, u2, _, diagonal), (du1, du2, _, _) = primals, tangents
    own = jnp.mean(u1 * du1, axis=1)[:, None] + jnp.mean(u2 * du2, axis=1)[None, :]
    tangent = own - _mean_product(du1, u2) - _mean_product(u1, du2)
    return _gap(*primals), jnp.where(diagonal, 0, tangent)
