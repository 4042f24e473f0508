r"""Fastfood, as it was used to measure intrinsic dimension.

With theta padded to :math:`L = 2^{\lceil \log_2 D \rceil}` numbers,

.. math::

    P \theta = \Big[ \frac{H\, G\, \Pi\, H\, B\, \theta}
                          {\sqrt{L \sum_i G_{ii}^2}\, \sqrt{D / L}} \Big]_{1 \ldots D} ,

where H is the matrix of Walsh and Hadamard with entries :math:`\pm 1`, B diagonal with random
signs, :math:`\Pi` a random permutation, and G diagonal with independent normal entries. The L rows
of a column have the squared norm :math:`L \sum_i G_{ii}^2` exactly; the first D of them have
:math:`D / L` of it **in expectation only**. Columns are left as they are: this is the paper's map.

Differs from the paper / reference:
  1. Le, Sarlos and Smola (2013), "Fastfood: approximating kernel expansions in loglinear time",
     ICML, have a further diagonal S, which gives rows the lengths of normal vectors. Li et al.
     (2018) leave it out, as here.
  2. The permutation and its inverse, and G, are kept: 3 L numbers. Signs are made when needed.
  3. The permutation sorts L random words of 32 bits; equal ones stay in their order.
  4. With ``scope="leaf"`` a leaf of fewer than d entries has L = 2^ceil(log2 d), so that all of
     theta is seen; leaves have the share D_leaf / D of the expected squared norm.
"""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from theorylab.subspace._normal import normals
from theorylab.subspace._projection import Projection, build
from theorylab.subspace._threefry import signs, words
from theorylab.subspace._walsh import walsh_hadamard

_SIGNS, _ORDER, _NORMALS = 0, 1, 2  # streams


class FastfoodState(NamedTuple):
    """What is kept of a map: the seed of the signs, the permutation both ways, and G."""

    seed: Array
    order: Array
    inverse: Array
    normals: Array


@dataclasses.dataclass(frozen=True)
class FastfoodMap:
    """H G Pi H B, its first ``rows`` entries, with a mean square of 1 for a unit theta."""

    d: int
    rows: int

    @property
    def length(self) -> int:
        """L: the least power of two that holds the rows and theta."""
        return 1 << (max(self.rows, self.d) - 1).bit_length()

    def draw(self, seed: Array) -> FastfoodState:
        """Sort words for the permutation, and draw G."""
        order = jnp.argsort(words(seed, _ORDER, 0, self.length)).astype(jnp.int32)
        ranks = jnp.arange(self.length, dtype=jnp.int32)
        inverse = jnp.zeros_like(order).at[order].set(ranks, unique_indices=True)
        return FastfoodState(seed, order, inverse, normals(seed, _NORMALS, 0, self.length))

    def _diagonal(self, state: FastfoodState, dtype: DTypeLike) -> Array:
        """(L,): G divided by its norm, so that the sum of its squares is 1."""
        g = state.normals.astype(dtype)
        return g * lax.rsqrt(jnp.sum(g * g))

    def _signs(self, state: FastfoodState, dtype: DTypeLike) -> Array:
        return signs(state.seed, _SIGNS, 0, self.d, dtype)

    def forward(self, state: FastfoodState, theta: Array) -> Array:
        """(rows,): signs, H, permutation, G, H, from right to left."""
        x = theta * self._signs(state, theta.dtype)
        x = walsh_hadamard(jnp.pad(x, (0, self.length - self.d)))
        x = x[state.order] * self._diagonal(state, theta.dtype)
        return walsh_hadamard(x)[: self.rows]

    def backward(self, state: FastfoodState, flat: Array) -> Array:
        """(d,): the same from left to right, with the permutation's inverse."""
        x = walsh_hadamard(jnp.pad(flat, (0, self.length - self.rows)))
        x = (x * self._diagonal(state, flat.dtype))[state.inverse]
        return walsh_hadamard(x)[: self.d] * self._signs(state, flat.dtype)

    def squared_norms(self, state: FastfoodState, dtype: DTypeLike) -> Array:
        """(d,): those expected, the number of rows; the columns' own are left as they are."""
        return jnp.full(self.d, self.rows, dtype)


def fastfood(
    d: int, like: Any, key: Array, *, scope: str = "global", mask: Any = None
) -> Projection:
    r"""The paper's Fastfood projection: unit columns in expectation, and O(D log D) time.

    .. math::

        P \theta = \Big[ \frac{H\, G\, \Pi\, H\, B\, \theta}
                              {\sqrt{L \sum_i G_{ii}^2}\, \sqrt{D / L}} \Big]_{1 \ldots D} ,
        \qquad L = 2^{\lceil \log_2 D \rceil} .

    Parameters
    ----------
    d, like, key, scope, mask
        As :func:`theorylab.subspace.dense_gaussian`.

    Returns
    -------
    Projection
        It keeps 3 L numbers: a permutation, its inverse, and G.

    Raises
    ------
    ValueError, TypeError
        As :func:`theorylab.subspace.hadamard`.

    Notes
    -----
    For comparisons with published numbers. :func:`theorylab.subspace.hadamard` is faster, keeps
    nothing, and has singular values closer to 1. **Columns do not have unit norm**: their squared
    norms have the mean 1 over keys. Where D is a power of two they are exactly 1.

    References
    ----------
    Le, Sarlos and Smola (2013), "Fastfood: approximating kernel expansions in loglinear time",
    ICML; Li, Farkhoor, Liu and Yosinski (2018), "Measuring the intrinsic dimension of objective
    landscapes", ICLR.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import subspace
    >>> p = subspace.fastfood(5, jnp.zeros(64), jax.random.key(0))
    >>> column = p.apply(jnp.zeros(5).at[2].set(1.0))
    >>> round(float(jnp.linalg.norm(column)), 5)  # D is a power of two
    1.0
    """
    return build("fastfood", FastfoodMap, d, like, key, scope=scope, mask=mask)
