r"""From inputs to the first state: the gap between points, exact where points nearly coincide.

For inputs :math:`x_i \in R^d` with :math:`\mu_i^2 = |x_i|^2/d` and :math:`u_i = x_i/\mu_i`,

.. math:: q_i = \frac{|u_i|^2}{d} = 1, \qquad g_{ij} = \frac{|u_i - u_j|^2}{2 d} .

A product of matrices gives :math:`g` with the absolute error of its arithmetic, ``eps``, that is an
angle wrong by ``eps / theta``. Formed in float64 that is below float32's rounding everywhere. When
the kernel itself is wanted in the widest type, pairs with :math:`g <` ``NEAR`` are formed again
from differences, in chunks, so that data without near pairs pay one comparison per pair.

Differs from the reference (Neural Tangents forms :math:`x_i \cdot x_j/d` in the input's dtype):

1. Gaps in place of products; near pairs from differences.
2. ``NEAR`` = 1e-3 in float64 leaves an angle error of 4e-16/sqrt(2e-3) = 1e-14 above it; 5e-2 in
   float32 (used where the hardware has no float64) leaves 2e-7/sqrt(0.1) = 6e-7.
3. ``CHUNK`` = 256 pairs at a time bounds the gathered rows at 256 d numbers.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

from theorylab._numerics import HIGHEST, wide_dtype, wide_scope
from theorylab.kernels._state import KernelState, Layout, column, line, unit_scale

NEAR = {4: 5e-2, 8: 1e-3}
CHUNK = 256


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

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.kernels import input_state
    >>> state = input_state(jnp.eye(2), jnp.eye(2))
    >>> state.kernel().nngp.tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """
    with wide_scope():
        return _input_state(x1, x2, ntk=ntk)


def _input_state(x1: Array, x2: Array, *, ntk: bool) -> KernelState:
    dtype = x1.dtype
    scale1, u1 = _normalise(x1)
    scale2, u2 = _normalise(x2)
    gap = scaled_gap(u1, u2).astype(dtype) if u1.dtype != dtype else refined_gap(u1, u2)
    return KernelState(
        scale1=scale1,
        scale2=scale2,
        q1=jnp.mean(u1**2, axis=1),
        q2=jnp.mean(u2**2, axis=1),
        gap=gap,
        ntk=jnp.zeros_like(gap) if ntk else None,
        layout=Layout(width=x1.shape[1], gaussian=False),
    )


def _normalise(x: Array) -> tuple[Array, Array]:
    x = x.astype(wide_dtype(x.dtype))
    scale = unit_scale(jnp.mean(x**2, axis=1))
    return scale, x / scale[:, None]


def _mean_product(u1: Array, u2: Array) -> Array:
    return jnp.matmul(u1, u2.T, precision=HIGHEST) / u1.shape[1]


@jax.custom_jvp
def scaled_gap(u1: Array, u2: Array) -> Array:
    """Gap (n1, n2) of rows (n1, d), (n2, d) by one product, in their dtype; at least 0."""
    squares = column(jnp.mean(u1**2, axis=1) / 2) + line(jnp.mean(u2**2, axis=1) / 2)
    gap = squares - _mean_product(u1, u2)
    # A maximum would turn NaN into 0 on some backends.
    return jnp.where(gap < 0, 0, gap)


@scaled_gap.defjvp
def _scaled_gap_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    # Products in float32: transposing a float64 product happens in the caller's scope, where
    # 64-bit types may be off.
    narrow = jnp.float32 if wide_dtype(jnp.float32) == jnp.float64 else primals[0].dtype
    return scaled_gap(*primals), _gap_tangent(primals, tangents, narrow)


@jax.custom_jvp
def refined_gap(u1: Array, u2: Array) -> Array:
    """Gap as :func:`scaled_gap`, with near pairs formed from differences of the rows."""
    gap = scaled_gap(u1, u2)
    near = (gap < NEAR[u1.dtype.itemsize]).reshape(-1)
    rank = jnp.cumsum(near, dtype=jnp.int32)
    count = rank[-1]

    def refine(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        done, flat = carry
        index = jnp.searchsorted(rank, done + 1 + jnp.arange(CHUNK, dtype=jnp.int32))
        i, j = jnp.divmod(index, u2.shape[0])
        rows = jnp.take(u1, i, axis=0, mode="clip") - jnp.take(u2, j, axis=0, mode="clip")
        flat = flat.at[index].set(jnp.mean(rows**2, axis=1) / 2, mode="drop")
        return done + CHUNK, flat

    _, flat = lax.while_loop(lambda carry: carry[0] < count, refine, (0 * count, gap.reshape(-1)))
    return flat.reshape(gap.shape)


@refined_gap.defjvp
def _refined_gap_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    return refined_gap(*primals), _gap_tangent(primals, tangents, primals[0].dtype)


def _gap_tangent(
    primals: tuple[Array, Array], tangents: tuple[Array, Array], product_dtype: jnp.dtype
) -> Array:
    """Mean over channels of ``(u_i - u_j)(du_i - du_j)``, from products."""
    (u1, u2), (du1, du2) = primals, tangents
    own = column(jnp.mean(u1 * du1, axis=1)) + line(jnp.mean(u2 * du2, axis=1))
    v1, v2, dv1, dv2 = (a.astype(product_dtype) for a in (u1, u2, du1, du2))
    cross = _mean_product(dv1, v2) + _mean_product(v1, dv2)
    return own - cross.astype(u1.dtype)
