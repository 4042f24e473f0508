r"""Very sparse random projections: signs with the probability :math:`1 / \sqrt n`, else zero.

.. math::

    P_{ij} \propto \begin{cases} \pm 1 & \text{with probability } p = n^{-1/2} \\
                                 0 & \text{otherwise} \end{cases}

independently over entries, n being the number of rows of the map, and every column divided by its
norm. There are about :math:`d \sqrt n` entries, and only they are kept and used.

*Rows of the entries.* The distance from one entry of a column to the next is geometric,
:math:`\Pr(k) = p (1 - p)^{k-1}`. Distances are drawn by looking up a random word in a table of
:math:`2^{32} (1 - (1 - p)^k)`, and added up. Everything is in integers: a logarithm that differs in
its last bit between two machines would move all later entries of a column.

Differs from the paper / reference:
  1. Li, Hastie and Church (2006), "Very sparse random projections", KDD, multiply by a constant;
     here columns are divided by their norms over the whole vector, as Li et al. (2018) do.
  2. Li et al. (2018) draw one matrix per layer, with n the size of the layer: this is
     ``scope="leaf"``. ``scope="global"`` has n = D, which is sparser.
  3. Columns have room for :math:`\sqrt n + 8 n^{1/4} + 8` entries, eight standard deviations above
     the mean; later ones would be dropped. Distances above :math:`22.2 \sqrt n`, of probability
     2^-32, are cut to that.
  4. A column without any entry gets one, at a random row (modulo n). The probability of this is
     :math:`e^{-\sqrt n}`, noticeable in small leaves alone.
  5. Columns are worked on in groups of 2^18 entries, which bounds memory and changes no result
     but by the order of sums.
"""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike

from theorylab.subspace._linear import zeros_beside
from theorylab.subspace._projection import Projection, build
from theorylab.subspace._threefry import signs, words

_ENTRIES = 2**18
_SIGNS, _STEPS, _SPARE = 0, 1, 2  # streams


@dataclasses.dataclass(frozen=True)
class SparseMap:
    """Signs at random rows, each of ``rows`` with the probability 1 / sqrt(rows)."""

    d: int
    rows: int

    @property
    def room(self) -> int:
        """Entries that a column may have."""
        return min(self.rows, math.ceil(self.rows**0.5 + 8 * self.rows**0.25) + 8)

    @property
    def together(self) -> int:
        """Columns that are worked on at a time."""
        return max(1, min(self.d, _ENTRIES // self.room))

    def draw(self, seed: Array) -> Array:
        """(groups, together, room) rows r, or ``-1 - r`` where the sign is negative.

        Unused places have the row ``rows``. Distances are added up column by column.
        """
        shape = (self.d, self.room)
        drawn = words(seed, _STEPS, 0, self.d * self.room).reshape(shape)
        steps = jnp.searchsorted(jnp.asarray(_table(self.rows)), drawn, side="right") + 1
        at = jnp.cumsum(steps.astype(jnp.uint32), axis=1) - jnp.uint32(1)
        at = jnp.minimum(at, jnp.uint32(self.rows)).astype(jnp.int32)
        spare = (words(seed, _SPARE, 0, self.d) % jnp.uint32(self.rows)).astype(jnp.int32)
        at = at.at[:, 0].set(jnp.where(at[:, 0] < self.rows, at[:, 0], spare))
        negative = signs(seed, _SIGNS, 0, self.d * self.room, jnp.int32).reshape(shape) < 0
        entries = jnp.where(negative & (at < self.rows), ~at, at)
        groups = -(-self.d // self.together)
        more = ((0, groups * self.together - self.d), (0, 0))
        padded = jnp.pad(entries, more, constant_values=self.rows)
        return padded.reshape(groups, self.together, self.room)

    def forward(self, state: Array, theta: Array) -> Array:
        """(rows,): the signed theta of all entries, added by row, a group of columns at a time."""
        groups, together, _ = state.shape
        theta = jnp.pad(theta, (0, groups * together - self.d)).reshape(groups, together, 1)

        def add(total: Array, group: tuple[Array, Array]) -> tuple[Array, None]:
            entries, values = group
            signed = jnp.where(entries < 0, -values, values)
            return total.at[_rows(entries)].add(signed, mode="drop"), None

        return lax.scan(add, zeros_beside(theta, (self.rows,)), (state, theta))[0]

    def backward(self, state: Array, flat: Array) -> Array:
        """(d,): for each column the signed sum of its rows."""

        def sums(entries: Array) -> Array:
            values = flat.at[_rows(entries)].get(mode="fill", fill_value=0)
            return jnp.sum(jnp.where(entries < 0, -values, values), axis=1)

        return lax.map(sums, state).reshape(-1)[: self.d]

    def squared_norms(self, state: Array, dtype: DTypeLike) -> Array:
        """(d,): the number of entries."""
        counts = jnp.sum(state < self.rows, axis=2, dtype=jnp.int32)
        return counts.reshape(-1)[: self.d].astype(dtype)


def _rows(entries: Array) -> Array:
    """The rows, of entries whose negative ones have negative signs."""
    return jnp.where(entries < 0, ~entries, entries)


def _table(rows: int) -> np.ndarray:
    """Words below entry k - 1 mean a distance of at most k; increasing uint32."""
    if rows == 1:
        return np.array([2**32 - 1], np.uint32)
    log_stay = math.log1p(-(rows**-0.5))
    k = np.arange(1, math.ceil(32 * math.log(2) / -log_stay) + 1)
    return np.floor(-np.expm1(k * log_stay) * 2.0**32).clip(max=2**32 - 1).astype(np.uint32)


def sparse(d: int, like: Any, key: Array, *, scope: str = "global", mask: Any = None) -> Projection:
    r"""The paper's sparse projection: about :math:`\sqrt D` signs in a column of D.

    .. math:: P_{ij} = \pm m_j^{-1/2} \text{ with probability } n^{-1/2}, \text{ else } 0 ,

    with :math:`m_j` the number of entries of column j.

    Parameters
    ----------
    d, like, key, mask
        As :func:`theorylab.subspace.dense_gaussian`.
    scope : {"global", "leaf"}
        ``"global"``: n = D, one matrix for all weights. ``"leaf"``: a matrix for each leaf with n
        its size, as in Li et al. (2018); small leaves are then denser than large ones.

    Returns
    -------
    Projection
        It keeps the rows of its entries, about :math:`d (\sqrt n + 8 n^{1/4})` integers.

    Raises
    ------
    ValueError, TypeError
        As :func:`theorylab.subspace.hadamard`.

    Notes
    -----
    Columns have unit norm to rounding. Where :math:`d < \sqrt D` many weights have no entry in any
    column and never move: a share of about :math:`e^{-d / \sqrt D}`.

    References
    ----------
    Li, Hastie and Church (2006), "Very sparse random projections", KDD; Li, Farkhoor, Liu and
    Yosinski (2018), "Measuring the intrinsic dimension of objective landscapes", ICLR.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import subspace
    >>> p = subspace.sparse(1, jnp.zeros(10_000), jax.random.key(0))
    >>> column = p.apply(jnp.ones(1))
    >>> bool(60 < jnp.sum(column != 0) < 140), round(float(jnp.linalg.norm(column)), 5)
    (True, 1.0)
    """
    return build("sparse", SparseMap, d, like, key, scope=scope, mask=mask)
