r"""CountSketch: every weight is one coordinate of theta, or its negative.

.. math:: (P \theta)_i = \frac{s_i\, \theta_{h(i)}}{\sqrt{n_{h(i)}}}, \qquad
          n_j = \#\{ i : h(i) = j \} ,

with :math:`h(i)` uniform in 1..d and :math:`s_i` a random sign, both independent over rows. Columns
have no row in common, so that :math:`P^\top P = I` exactly once each is divided by its norm.

Differs from the paper / reference:
  1. Charikar, Chen and Farach-Colton (2002), "Finding frequent items in data streams", take h and s
     from hash families that are pairwise independent; here one word of a counter gives both: its
     lowest bit the sign, the others the column, modulo d (a bias of d / 2^31 at most).
  2. Words are made when they are needed, in chunks of 2^16 rows (a few arrays of this size stay
     in a second-level cache). The size of a chunk is a part of the definition.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import DTypeLike

from theorylab.subspace import _chunks as chunks
from theorylab.subspace._linear import zeros_beside
from theorylab.subspace._projection import Projection, build
from theorylab.subspace._threefry import words

_CHUNK = 2**16
_WORDS = 0  # stream


@dataclasses.dataclass(frozen=True)
class SketchMap:
    """One signed entry in each of ``rows`` rows, at a column of ``d``."""

    d: int
    rows: int

    @property
    def chunk(self) -> int:
        """Rows of a chunk."""
        return min(self.rows, _CHUNK)

    def draw(self, seed: Array) -> Array:
        """Nothing is kept but the seed."""
        return seed

    def _entries(self, seed: Array, chunk: Array, dtype: DTypeLike) -> tuple[Array, Array]:
        """(chunk,) columns and (chunk,) signs of the rows of a chunk."""
        drawn = words(chunks.seed_of(seed, chunk), _WORDS, 0, self.chunk)
        columns = ((drawn >> jnp.uint32(1)) % jnp.uint32(self.d)).astype(jnp.int32)
        return columns, jnp.where(drawn & jnp.uint32(1), -1, 1).astype(dtype)

    def forward(self, state: Array, theta: Array) -> Array:
        """(rows,): theta at the column of each row, with its sign."""

        def values(chunk: Array) -> Array:
            columns, signs = self._entries(state, chunk, theta.dtype)
            return theta[columns] * signs

        return chunks.stacked(self.rows, self.chunk, values)

    def backward(self, state: Array, flat: Array) -> Array:
        """(d,): for each column the sum of its rows, with their signs."""

        def sums(chunk: Array, values: Array) -> Array:
            columns, signs = self._entries(state, chunk, flat.dtype)
            return jax.ops.segment_sum(values * signs, columns, num_segments=self.d)

        return chunks.summed(flat, self.chunk, zeros_beside(flat, (self.d,)), sums)

    def squared_norms(self, state: Array, dtype: DTypeLike) -> Array:
        """(d,): how many rows each column has, counted in integers."""

        def counts(chunk: Array, inside: Array) -> Array:
            columns, _ = self._entries(state, chunk, jnp.int32)
            return jax.ops.segment_sum(inside, columns, num_segments=self.d)

        ones, zeros = jnp.ones(self.rows, jnp.int32), jnp.zeros(self.d, jnp.int32)
        return chunks.summed(ones, self.chunk, zeros, counts).astype(dtype)


def sketch(d: int, like: Any, key: Array, *, scope: str = "global", mask: Any = None) -> Projection:
    r"""CountSketch: every weight is one coordinate of theta with a sign.

    .. math:: (P \theta)_i = s_i\, \theta_{h(i)} / \sqrt{n_{h(i)}} ,

    where :math:`n_j` is the number of rows of column j.

    Parameters
    ----------
    d, like, key, scope, mask
        As :func:`theorylab.subspace.dense_gaussian`.

    Returns
    -------
    Projection
        It keeps nothing but words of its key.

    Raises
    ------
    ValueError, TypeError
        As :func:`theorylab.subspace.hadamard`.

    Notes
    -----
    :math:`P^\top P = I` exactly, but for columns that no row has chosen: they are **zero, and so is
    their scale**; the rank of P is then below d. A column stays empty with the probability
    :math:`(1 - 1/d)^D \approx e^{-D/d}`; at d = D / 2 this is the case of about one in seven, at
    d = D / 20 of two in 10^9. Weights that share a coordinate move together.

    References
    ----------
    Charikar, Chen and Farach-Colton (2002), "Finding frequent items in data streams", ICALP.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import subspace
    >>> p = subspace.sketch(4, jnp.zeros(400), jax.random.key(0))
    >>> bool(jnp.allclose(p.transpose(p.apply(jnp.arange(4.0))), jnp.arange(4.0)))
    True
    """
    return build("sketch", SketchMap, d, like, key, scope=scope, mask=mask)
