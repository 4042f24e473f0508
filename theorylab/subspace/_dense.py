r"""Dense random projections whose matrix is never stored: rows made again whenever they are used.

.. math::

    (P \theta)_i = \sum_{j=1}^{d} P_{ij} \theta_j, \qquad
    (P^\top g)_j = \sum_{i=1}^{D} P_{ij} g_i ,

with independent entries, normal or :math:`\pm 1`, and every column divided by its norm. A loop runs
over blocks of rows; each block is drawn, multiplied, and forgotten, so that the memory is that of
the D results and of one block, and the time is that of drawing D d numbers in each direction.
Singular values lie within about :math:`\sqrt{d / D}` of 1.

Differs from the paper / reference:
  1. Li, Farkhoor, Liu and Yosinski (2018), "Measuring the intrinsic dimension of objective
     landscapes", ICLR, store the matrix. Values here come from a counter, and P is drawn twice.
  2. Entries are normals in float32 also where theta is in float64: one map for both.
  3. A block has 2^18 entries (1 MiB in float32, which a second-level cache holds), at least one
     row. Its size is a part of the definition: another one would give another P.
  4. Signs are taken from packed words, 32 from each.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from theorylab.subspace import _chunks as chunks
from theorylab.subspace._linear import zeros_beside
from theorylab.subspace._normal import normals
from theorylab.subspace._projection import Projection, build
from theorylab.subspace._threefry import signs

_ENTRIES = 2**18
_NORMALS, _SIGNS = 0, 1  # streams


@dataclasses.dataclass(frozen=True)
class DenseMap:
    """Independent entries: normal, or signs. ``rows`` by ``d``, in blocks of rows."""

    d: int
    rows: int
    rademacher: bool = False

    @property
    def block(self) -> int:
        """Rows of a block."""
        return max(1, min(self.rows, _ENTRIES // self.d))

    def draw(self, seed: Array) -> Array:
        """Nothing is kept but the seed."""
        return seed

    def matrix(self, seed: Array, chunk: Array, dtype: DTypeLike) -> Array:
        """(block, d): the rows of one block, and more than there are in the last."""
        own, count = chunks.seed_of(seed, chunk), self.block * self.d
        if self.rademacher:
            entries = signs(own, _SIGNS, 0, count, dtype)
        else:
            entries = normals(own, _NORMALS, 0, count).astype(dtype)
        return entries.reshape(self.block, self.d)

    def forward(self, state: Array, theta: Array) -> Array:
        """(rows,): one block of rows after another."""

        def product(chunk: Array) -> Array:
            block = self.matrix(state, chunk, theta.dtype)
            return jnp.matmul(block, theta, precision=lax.Precision.HIGHEST)

        return chunks.stacked(self.rows, self.block, product)

    def backward(self, state: Array, flat: Array) -> Array:
        """(d,): the sum over blocks."""

        def product(chunk: Array, values: Array) -> Array:
            block = self.matrix(state, chunk, flat.dtype)
            return jnp.matmul(values, block, precision=lax.Precision.HIGHEST)

        return chunks.summed(flat, self.block, zeros_beside(flat, (self.d,)), product)

    def squared_norms(self, state: Array, dtype: DTypeLike) -> Array:
        """(d,): the number of rows for signs, else the sum of squares."""
        if self.rademacher:
            return jnp.full(self.d, self.rows, dtype)

        def squares(chunk: Array) -> Array:
            block = self.matrix(state, chunk, dtype)
            inside = chunks.rows_in(chunk, self.block, self.rows)[:, None]
            return jnp.sum(jnp.where(inside, block, 0) ** 2, axis=0)

        count = chunks.count_of(self.rows, self.block)
        return chunks.summed_exactly(count, jnp.zeros(self.d, dtype), squares)


def rademacher_map(d: int, rows: int) -> DenseMap:
    """The map of :func:`dense_rademacher`."""
    return DenseMap(d, rows, rademacher=True)


def dense_gaussian(
    d: int, like: Any, key: Array, *, scope: str = "global", mask: Any = None
) -> Projection:
    r"""A projection with independent normal entries, never stored: Li et al.'s dense one.

    .. math:: P_{ij} = G_{ij} / \lVert G_{\cdot j} \rVert, \qquad G_{ij} \sim N(0, 1) .

    Parameters
    ----------
    d : int
        Dimension of the subspace, from 1 to D.
    like : tree
        The parameters, as arrays or ``jax.ShapeDtypeStruct``; D is how many of them there are.
    key : key
        A typed key. The same key, d and ``like`` give the same P.
    scope : {"global", "leaf"}
        One map of all parameters laid end to end, or one for each leaf, all of the same theta. The
        columns have unit norm over all leaves in either case.
    mask : tree of bools or function of ``like``, optional
        Which leaves are moved; a prefix of ``like``. By default all.

    Returns
    -------
    Projection

    Raises
    ------
    ValueError, TypeError
        As :func:`theorylab.subspace.hadamard`.

    Notes
    -----
    Every call draws D d normals: use it at small sizes, or as a standard for the fast kinds.
    Memory is D floats and one block of about 2^18. Columns have unit norm to rounding, in float32
    to 1e-6. Singular values lie within about :math:`\sqrt{d / D}` of 1. Normals come from a table:
    ``vmap`` over keys that lie spread over the explicit axes of a mesh raises
    ``ShardingTypeError``; automatic axes and ``shard_map`` do not.

    References
    ----------
    Li, Farkhoor, Liu and Yosinski (2018), "Measuring the intrinsic dimension of objective
    landscapes", ICLR.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import subspace
    >>> like = {"w": jnp.zeros((8, 4)), "b": jnp.zeros(4)}
    >>> p = subspace.dense_gaussian(3, like, jax.random.key(0))
    >>> jax.tree.map(jnp.shape, p.apply(jnp.ones(3)))
    {'b': (4,), 'w': (8, 4)}
    """
    return build("dense_gaussian", DenseMap, d, like, key, scope=scope, mask=mask)


def dense_rademacher(
    d: int, like: Any, key: Array, *, scope: str = "global", mask: Any = None
) -> Projection:
    r"""A projection with independent signs, never stored: the dense one, at a fraction of the cost.

    .. math:: P_{ij} = \pm D^{-1/2} .

    Parameters
    ----------
    d, like, key, scope, mask
        As :func:`dense_gaussian`.

    Returns
    -------
    Projection

    Raises
    ------
    ValueError, TypeError
        As :func:`theorylab.subspace.hadamard`.

    Notes
    -----
    Each random word gives 32 entries. Columns have unit norm exactly. Where D is small, columns of
    signs can be equal or opposite, with a probability of about :math:`d^2 2^{-D}`.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import subspace
    >>> p = subspace.dense_rademacher(1, jnp.zeros(16), jax.random.key(0))
    >>> abs(p.apply(jnp.ones(1)))[:2].tolist()
    [0.25, 0.25]
    """
    return build("dense_rademacher", rademacher_map, d, like, key, scope=scope, mask=mask)
