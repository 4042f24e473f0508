r"""A Gaussian matrix that is known only through what it was applied to.

Let W have independent entries from N(0, 1/n). Suppose that the images A = W X of orthonormal
vectors X, and B = W^T Y of orthonormal Y, are known. With the projections :math:`P = X X^\top` and
:math:`Q = Y Y^\top`,

.. math:: W = A X^\top + Y B^\top (I - P) + (I - Q)\, W (I - P) .

What is known determines the first two terms. The third is independent of it: entries of a Gaussian
matrix in orthonormal bases on both sides are independent, those of the third term are the ones
whose row is off Y and whose column is off X, while A and B are made of the others. This stays true
where the choice of the next vector depends on earlier images, as one conditions on their values.
So for orthonormal vectors E off X,

.. math:: W E = Y B^\top E + (I - Q) Z, \qquad Z \text{ fresh, with entries from } N(0, 1/n),

has exactly the conditional law, and any vector is a part in the span of X, whose image is known,
and a remainder. The transpose exchanges the roles of (X, A) and (Y, B). Vectors are rows here.

Source: Bolthausen (2014), An iterative construction of solutions of the TAP equations for the
Sherrington-Kirkpatrick model, Commun. Math. Phys. 325; Yang (2020), Tensor Programs III,
arXiv:2009.10685 (the same for networks).

Differs from the papers:
  1. Whole batches at once, in floating point. A remainder of less than 256 eps of its vector
     (5.7e-14 in float64, 3.1e-5 in float32) is rounding: it takes no slot and is left out. Others
     are orthogonalised twice against what is stored and twice against one another, normalised, and
     all of this once more, so that inner products are at rounding also for small remainders.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from theorylab._numerics import HIGHEST

DEPENDENT = 256  # in units of eps


class Known(NamedTuple):
    """What is known of a matrix: m slots of rows of length n, zero where they are free.

    Attributes
    ----------
    x, wx
        (m, n), orthonormal vectors, and their images by W.
    y, wty
        (m, n), orthonormal vectors, and their images by the transpose.
    x_count, y_count
        int32 scalars, slots in use.
    """

    x: Array
    wx: Array
    y: Array
    wty: Array
    x_count: Array
    y_count: Array


class Split(NamedTuple):
    """Vectors (b, n) as stored ones and new ones.

    Attributes
    ----------
    old, new
        (b, m) and (b, b), coordinates by the stored and the new vectors.
    e, image
        (b, n), new orthonormal vectors (zero where the vector was dependent), and their images.
    keep
        (b,), where there is a new one.
    """

    old: Array
    new: Array
    e: Array
    image: Array
    keep: Array


def dot(a: Array, b: Array) -> Array:
    """Product at full precision."""
    return jnp.matmul(a, b, precision=HIGHEST)


def nothing_known(capacity: int, n: int, dtype: Any) -> Known:
    """All slots free."""
    rows = jnp.zeros((capacity, n), dtype)
    return Known(rows, rows, rows, rows, jnp.int32(0), jnp.int32(0))


def transposed(known: Known) -> Known:
    """The same of the transpose of the matrix."""
    return Known(known.y, known.wty, known.x, known.wx, known.y_count, known.x_count)


def _off(rows: Array, basis: Array) -> Array:
    return rows - dot(dot(rows, basis.T), basis)


def _orthonormal(rows: Array, least: Array) -> Array:
    """Gram-Schmidt row by row; zero where the norm of the remainder is not above ``least``."""

    def one(i: Array, done: Array) -> Array:
        r = rows[i]
        for _ in range(2):
            r = r - dot(dot(done, r), done)
        square = jnp.sum(r * r)
        norm = jnp.sqrt(jnp.where(square > 0, square, 1))  # a root has no derivative at zero
        live = (square > 0) & (norm > least)
        return done.at[i].set(jnp.where(live, r / jnp.where(live, norm, 1), 0))

    return jax.lax.fori_loop(0, rows.shape[0], one, jnp.zeros_like(rows))


def remainder(v: Array, basis: Array) -> Array:
    """Orthonormal rows off a basis (m, n) that span with it what v (b, n) spans; else zero.

    Rows are scaled to norm 1 at first, by their largest entry before that, whose square may be
    below the least number. The result does not depend on scales, nor do its derivatives.
    """
    fixed = jax.lax.stop_gradient(v)
    peak = jnp.max(jnp.abs(fixed), axis=1, keepdims=True)
    peak = jnp.where(peak > 0, peak, 1)
    size = jnp.sqrt(jnp.sum((fixed / peak) ** 2, axis=1, keepdims=True))
    v = v / peak / jnp.where(size > 0, size, 1)
    least = DEPENDENT * float(jnp.finfo(v.dtype).eps)

    def again(i: Array, e: Array) -> Array:  # what is kept at first has norm 1 afterwards
        return _orthonormal(_off(_off(e, basis), basis), jnp.where(i == 0, least, 0.5))

    return jax.lax.fori_loop(0, 2, again, v)


def split(v: Array, known: Known, noise: Array, ahead: Split | None = None) -> Split:
    """Vectors v (b, n) in the basis ``known.x`` and new vectors, whose images are drawn.

    Parameters
    ----------
    v, noise
        (b, n); noise has independent entries from N(0, 1/n).
    known
        Of the matrix that is to be applied.
    ahead
        Vectors that the transpose was applied to since, and their images.
    """
    e = remainder(v, known.x)
    image = noise + dot(dot(e, known.wty.T) - dot(noise, known.y.T), known.y)
    if ahead is not None:
        image = image + dot(dot(e, ahead.image.T) - dot(noise, ahead.e.T), ahead.e)
    keep = jnp.any(e != 0, axis=1)
    return Split(dot(v, known.x.T), dot(v, e.T), e, jnp.where(keep[:, None], image, 0), keep)


def slots(parts: Split, count: Array, capacity: int) -> tuple[Array, Array]:
    """Where new vectors go (capacity: nowhere), and the count with them, maybe above capacity."""
    keep = parts.keep.astype(jnp.int32)
    return jnp.where(
        parts.keep, count + jnp.cumsum(keep, dtype=jnp.int32) - 1, capacity
    ), count + jnp.sum(keep, dtype=jnp.int32)


def coordinates(parts: Split, where: Array) -> Array:
    """(b, m), by all stored vectors after the new ones are put in their slots."""
    return parts.old.at[:, where].add(parts.new, mode="drop")


def store(known: Known, parts: Split, where: Array, count: Array) -> Known:
    """Put new vectors of W and their images in their slots."""
    return known._replace(
        x=known.x.at[where].set(parts.e, mode="drop"),
        wx=known.wx.at[where].set(parts.image, mode="drop"),
        x_count=count,
    )
