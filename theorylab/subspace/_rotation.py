r"""Block rotation: each block of d weights is theta, rolled by a random shift, with random signs.

.. math:: (P \theta)_{b d + i} = \frac{s_{b d + i}\, \theta_{(i + r_b) \bmod d}}{\sqrt{n}} ,

for blocks b = 0, 1, ..., with :math:`r_b` uniform in 0..d-1. A whole block is an orthogonal matrix,
so that :math:`P^\top P = I` exactly where d divides D. The last block may be cut: each column is
divided by the root of the number of rows that it has, one more for some columns than for others,
and :math:`P^\top P = I` still, since columns have no row in common.

Differs from the paper / reference:
  1. No paper: this is a CountSketch with h(i) balanced over columns, and reads of theta in order.
  2. Signs and shifts are made when they are needed, in chunks of whole blocks of about 2^16 rows
     together (a few arrays of this size stay in a second-level cache). The size of a chunk is a
     part of the definition.
  3. The shift is a random word modulo d, a bias of d / 2^32 at most.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from theorylab.subspace import _chunks as chunks
from theorylab.subspace._linear import zeros_beside
from theorylab.subspace._projection import Projection, build
from theorylab.subspace._threefry import signs, words

_CHUNK = 2**16
_SIGNS, _SHIFTS = 0, 1  # streams


@dataclasses.dataclass(frozen=True)
class RotationMap:
    """Signed rolls of theta, one below the other, cut to ``rows``."""

    d: int
    rows: int

    @property
    def blocks(self) -> int:
        """Blocks of d rows in a chunk."""
        return max(1, min(-(-self.rows // self.d), _CHUNK // self.d))

    @property
    def chunk(self) -> int:
        """Rows of a chunk."""
        return self.blocks * self.d

    def draw(self, seed: Array) -> Array:
        """Nothing is kept but the seed."""
        return seed

    def _shifts(self, seed: Array) -> Array:
        """(blocks,): the shifts of a chunk, of its seed."""
        drawn = words(seed, _SHIFTS, 0, self.blocks)
        return (drawn % jnp.uint32(self.d)).astype(jnp.int32)

    def _rolled(self, blocks: Array, shifts: Array) -> Array:
        """(blocks, d): each row rolled so that its entry ``shift`` comes first."""
        twice = jnp.concatenate([blocks, blocks], axis=1)
        return jax.vmap(lambda row, r: lax.dynamic_slice(row, (r,), (self.d,)))(twice, shifts)

    def forward(self, state: Array, theta: Array) -> Array:
        """(rows,): chunks of rolled and signed copies."""

        def values(chunk: Array) -> Array:
            own = chunks.seed_of(state, chunk)
            twice = jnp.concatenate([theta, theta])
            # A loop of slices: as one gather this takes ten times as long on a CPU.
            copies = lax.map(lambda r: lax.dynamic_slice(twice, (r,), (self.d,)), self._shifts(own))
            return copies.reshape(-1) * signs(own, _SIGNS, 0, self.chunk, theta.dtype)

        return chunks.stacked(self.rows, self.chunk, values)

    def backward(self, state: Array, flat: Array) -> Array:
        """(d,): blocks with their signs, rolled back and added."""

        def sums(chunk: Array, values: Array) -> Array:
            own = chunks.seed_of(state, chunk)
            signed = values * signs(own, _SIGNS, 0, self.chunk, flat.dtype)
            back = self.d - self._shifts(own)
            return jnp.sum(self._rolled(signed.reshape(self.blocks, self.d), back), axis=0)

        return chunks.summed(flat, self.chunk, zeros_beside(flat, (self.d,)), sums)

    def squared_norms(self, state: Array, dtype: DTypeLike) -> Array:
        """(d,): the whole blocks, and one where the last block has the column."""
        whole, rest = divmod(self.rows, self.d)
        if not rest:
            return jnp.full(self.d, whole, dtype)
        chunk, place = divmod(whole, self.blocks)
        shift = self._shifts(chunks.seed_of(state, jnp.asarray(chunk)))[place]
        in_last = jnp.remainder(jnp.arange(self.d, dtype=jnp.int32) - shift, self.d) < rest
        return (whole + in_last.astype(jnp.int32)).astype(dtype)


def rotation(
    d: int, like: Any, key: Array, *, scope: str = "global", mask: Any = None
) -> Projection:
    r"""Theta again and again, each time rolled by a random shift and with random signs.

    .. math:: (P \theta)_{b d + i} = s_{b d + i}\, \theta_{(i + r_b) \bmod d} / \sqrt{n} ,

    where n is the number of rows of the column, D / d where d divides D.

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
    :math:`P^\top P = I` to rounding, for any d and D. Every weight is a single coordinate with a
    sign, as in :func:`theorylab.subspace.sketch`, and no column is empty. With ``scope="leaf"``,
    if all leaves have fewer than d entries, a column may have no row in any of them; it is then
    zero, and so is its scale.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import subspace
    >>> p = subspace.rotation(4, jnp.zeros(50), jax.random.key(0))
    >>> bool(jnp.allclose(p.transpose(p.apply(jnp.arange(4.0))), jnp.arange(4.0), atol=1e-6))
    True
    """
    return build("rotation", RotationMap, d, like, key, scope=scope, mask=mask)
