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

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from theorylab._numerics import HIGHEST, floating, wide_dtype, wide_scope
from theorylab.kernels._plan import check_shapes
from theorylab.kernels._state import KernelState, Layout, column, line, mean, unit, unit_scale

NEAR = {4: 5e-2, 8: 1e-3}
CHUNK = 256
MANY = 1 / 32


class Points(NamedTuple):
    """Inputs with all that belongs to one of them alone.

    Attributes
    ----------
    x
        As given, (n, d).
    scale
        Root of the mean square, (n,), wide dtype; constant under differentiation.
    q
        Mean square of ``x / scale``, (n,), wide dtype: 1, or 0 for a zero row.
    u
        ``x / scale`` in the dtype of ``x``.
    """

    x: Array
    scale: Array
    q: Array
    u: Array


def points(x: Array) -> Points:
    """Prepare inputs (n, d)."""
    wide = x.astype(wide_dtype(x.dtype))
    scale = unit_scale(jnp.mean(wide**2, axis=1))
    u = wide / scale[:, None]
    return Points(x, scale, unit(jnp.mean(u**2, axis=1)), u.astype(x.dtype))


def input_state(x1: Array, x2: Array, *, ntk: bool = True) -> KernelState:
    """State of the inputs themselves, whose NTK is zero.

    Parameters
    ----------
    x1, x2
        (n1, d) and (n2, d), of one floating dtype.
    ntk
        Whether to carry the NTK.

    Returns
    -------
    KernelState
        Gap and NTK in the dtype of the inputs, row quantities in the wide dtype.

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
    check_shapes(x1.shape, x2.shape)
    dtype = jnp.result_type(x1, x2)
    x1, x2 = x1.astype(dtype), x2.astype(dtype)
    with wide_scope():
        return paired_state(points(x1), points(x2), ntk=ntk, same=False)


def paired_state(p1: Points, p2: Points, *, ntk: bool, same: bool | Array) -> KernelState:
    """State of prepared inputs; where ``same``, equal indices mean one and the same point."""
    fixed = lax.stop_gradient((p1.x, p2.x, p1.scale, p2.scale, p1.q, p2.q))
    diagonal = jnp.asarray(False)
    if same is not False and p1.x.shape == p2.x.shape:
        index = jnp.arange(p1.x.shape[0])
        diagonal = jnp.logical_and(same, column(index) == line(index))
    gap = _gap(p1.u, p2.u, fixed, jnp.broadcast_to(diagonal, (p1.q.size, p2.q.size)))
    return KernelState(
        scale1=p1.scale,
        scale2=p2.scale,
        q1=p1.q,
        q2=p2.q,
        gap=gap,
        ntk=jnp.zeros_like(gap) if ntk else None,
        layout=Layout(width=p1.x.shape[1], gaussian=False),
    )


def _mean_product(u1: Array, u2: Array) -> Array:
    return jnp.matmul(u1, u2.T, precision=HIGHEST) / u1.shape[1]


@jax.custom_jvp
def _gap(u1: Array, u2: Array, fixed: tuple[Array, ...], diagonal: Array) -> Array:
    """Gap (n1, n2), at least 0, exactly 0 on ``diagonal``; differentiable in ``u1``, ``u2``."""
    x1, x2, scale1, scale2, q1, q2 = fixed
    dtype, wide = u1.dtype, q1.dtype
    gap = _clip(mean(q1, q2, dtype) - _mean_product(u1, u2))
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
        product = _clip(column(q1 / 2) + line(q2 / 2) - _mean_product(rows1, rows2))
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
    own = column(jnp.mean(u1 * du1, axis=1)) + line(jnp.mean(u2 * du2, axis=1))
    tangent = own - _mean_product(du1, u2) - _mean_product(u1, du2)
    return _gap(*primals), jnp.where(diagonal, 0, tangent)
