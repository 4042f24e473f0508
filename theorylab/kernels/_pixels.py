r"""Gaps between the pixels of images, from differences of their channels.

.. math:: g(p, p') = \frac{1}{2d} \sum_c (u_{pc} - u'_{p'c})^2, \qquad u = x / \mu,

one channel after another in the wide dtype, since images have few channels and backgrounds
coincide: so nothing cancels, whatever the pixels. Beyond ``FEW`` channels the sum over them runs in
a loop, so that no array of all channels for all pairs is ever held.
"""

import jax.numpy as jnp
from jax import Array, lax

from theorylab.kernels._state import Rows
from theorylab.kernels._units import ldexp

FEW = 8


def spatial_gap(x1: Array, rows1: Rows, x2: Array, rows2: Rows) -> Array:
    """Gap (n1, n2, P, P') or (n1, n2, P) of images ``(n, *S, d)``, in the dtype of the pairs."""
    u1, u2 = pixels(x1, rows1)[:, None], pixels(x2, rows2)[None, :]
    if rows1.layout.full:
        u1, u2 = u1[:, :, :, None], u2[:, :, None, :]
    return _mean_square(u1, u2).astype(rows1.dtype)


def own_gap(x: Array, rows: Rows) -> Array:
    """Gap (n, P, P') between the pixels of every image, in the dtype of the pairs."""
    u = pixels(x, rows)
    return _mean_square(u[:, :, None], u[:, None, :]).astype(rows.dtype)


def pixels(x: Array, rows: Rows) -> Array:
    """Images in units of the scales of their pixels, (n, P, d), wide dtype."""
    scale = ldexp(rows.scale, rows.exponent)
    u = x.astype(scale.dtype) / lax.stop_gradient(scale)[..., None]
    return u.reshape(x.shape[0], -1, x.shape[-1])


def _mean_square(first: Array, second: Array) -> Array:
    """Half the mean over the last axis of the squared difference."""
    channels = first.shape[-1]
    if channels <= FEW:
        total = (first[..., 0] - second[..., 0]) ** 2
        for c in range(1, channels):
            total = total + (first[..., c] - second[..., c]) ** 2
    else:

        def add(total: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
            return total + (pair[0] - pair[1]) ** 2, None

        shape = jnp.broadcast_shapes(first.shape[:-1], second.shape[:-1])
        pairs = (jnp.moveaxis(first, -1, 0), jnp.moveaxis(second, -1, 0))
        total, _ = lax.scan(add, jnp.zeros(shape, first.dtype), pairs)
    return total / (2 * channels)
