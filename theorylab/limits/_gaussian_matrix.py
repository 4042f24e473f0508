r"""A square Gaussian matrix of infinite size, known only where it was applied.

Let W be n x n with independent entries of variance 1/n. Suppose that W was applied to orthonormal
vectors, the columns of X, and :math:`W^\top` to orthonormal columns of Y, with the results
:math:`A = W X` and :math:`B = W^\top Y`. Given these, W is

.. math::

    W = A X^\top + Y B^\top - Y Y^\top A X^\top
        + (I - Y Y^\top)\, G\, (I - X X^\top) ,

where G is a fresh copy: the four conditions are linear in a Gaussian vector, the first three terms
are their solution with least norm, and what is left is free. So for a unit vector e orthogonal to X

.. math::

    W e = Y B^\top e + (I - Y Y^\top)\, G e .

As :math:`n \to \infty` with fixed numbers of vectors, the entries of G e are independent of all
that came before, so that its inner products with old vectors vanish as :math:`n^{-1/2}` and its
length tends to 1: **the image of a new direction is what the transpose already told, and one new
basis vector**. For :math:`W^\top`, exchange the roles.

Vectors are held by coordinates along an orthonormal basis of what was seen in their layer. A new
basis vector is the next coordinate axis; nothing is drawn.

Differs from the paper / reference:
  1. The conditional law is Bolthausen's (2014), arXiv:1201.2891; the rule in the limit is that of a
     Gaussian matrix in Yang's Tensor Programs, in which vectors are symbols rather than
     coordinates.
  2. Arrays have a fixed size. Columns not in use are zero, and so drop out of all products.
  3. What is left of a vector after projection counts as a new direction if it is longer than 256
     units of rounding times the vector: projection twice leaves a few units, and sums over some
     tens of vectors a few more. A direction that is noise would do no harm but take room.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from theorylab._devices import varying_as
from theorylab._numerics import HIGHEST

ROUNDING = 256


class GaussianMatrix(NamedTuple):
    """What is known of a matrix; K is the capacity of its layers.

    Attributes
    ----------
    x, wx
        (K, K): orthonormal vectors of the layer below, as columns, and their images.
    used
        int32 scalar, the number of columns of x in use.
    y, wty
        (K, K): orthonormal vectors of the layer above, and their images under the transpose.
    used_t
        int32 scalar, the number of columns of y in use.
    """

    x: Array
    wx: Array
    used: Array
    y: Array
    wty: Array
    used_t: Array


def unknown(capacity: int, dtype: jnp.dtype) -> GaussianMatrix:
    """A matrix that was not applied yet."""
    empty, none = jnp.zeros((capacity, capacity), dtype), jnp.int32(0)
    return GaussianMatrix(empty, empty, none, empty, empty, none)


def transposed(matrix: GaussianMatrix) -> GaussianMatrix:
    """The transpose."""
    return GaussianMatrix(*matrix[3:], *matrix[:3])


def product(a: Array, b: Array) -> Array:
    """Matrix product at the highest precision."""
    return jnp.matmul(a, b, precision=HIGHEST)


def apply(
    matrix: GaussianMatrix, vectors: Array, size: Array, tolerance: float = 0.0
) -> tuple[Array, GaussianMatrix, Array, Array]:
    """Apply a matrix to vectors, and remember what this told of it.

    Parameters
    ----------
    matrix
        What is known.
    vectors
        (K, m) coordinates in the layer below.
    size
        int32 scalar, the size of the basis of the layer above.
    tolerance
        What is left of a vector outside of the known directions is dropped if it is shorter than
        this times the vector. 256 units of rounding at least.

    Returns
    -------
    images, matrix, size, full
        (K, m) coordinates in the layer above; what is known now; the new size of its basis; and a
        boolean: whether there was a new direction without room for it, which images then lack.
    """
    capacity = len(vectors)
    axes = jnp.arange(capacity, dtype=jnp.int32)
    least = max(tolerance, ROUNDING * float(jnp.finfo(vectors.dtype).eps))

    def one(
        carry: tuple[GaussianMatrix, Array, Array], vector: Array
    ) -> tuple[tuple[GaussianMatrix, Array, Array], Array]:
        known, size, full = carry
        parts = product(known.x.T, vector)
        rest = vector - product(known.x, parts)
        again = product(known.x.T, rest)  # twice is enough for orthogonality to rounding
        parts, rest = parts + again, rest - product(known.x, again)
        length = jnp.linalg.norm(rest)
        new = length > least * jnp.linalg.norm(vector)
        room = (known.used < capacity) & (size < capacity)
        take = new & room
        direction = rest / jnp.where(new, length, 1)
        axis = (axes == size).astype(vector.dtype)
        image = product(known.y, product(known.wty.T, direction)) + axis
        column = jnp.where(take, (axes == known.used).astype(vector.dtype), 0)
        known = known._replace(
            x=known.x + direction[:, None] * column[None, :],
            wx=known.wx + image[:, None] * column[None, :],
            used=known.used + take.astype(jnp.int32),
        )
        result = product(known.wx, parts + length * column)
        return (known, size + take.astype(jnp.int32), full | (new & ~room)), result

    start = matrix, size, jnp.bool_(False)
    start = varying_as((vectors, start), start)
    (matrix, size, full), images = jax.lax.scan(one, start, vectors.T)
    return images.T, matrix, size, full
