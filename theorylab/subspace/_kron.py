r"""A Kronecker product of two small random matrices, with random signs on its rows.

.. math::

    P \theta = S\, \operatorname{vec}(A \Theta B^\top)_{1 \ldots D}, \qquad
    \Theta \in \mathbb{R}^{d_1 \times d_2},\; A \in \mathbb{R}^{D_1 \times d_1},\;
    B \in \mathbb{R}^{D_2 \times d_2},

with theta as the matrix :math:`\Theta` row by row, :math:`d = d_1 d_2`, independent normal entries
in A and B, and S a diagonal of random signs. Two small products: about :math:`D d_1` operations,
and :math:`D_1 d_1 + D_2 d_2`, of the order of :math:`\sqrt{D d}`, numbers kept. The singular values
of P are products of two singular values of Gaussian matrices, and spread wider than one's.

*Sizes.* :math:`d_1 \le d_2` are the divisors of d next to its root, and :math:`D_2` is the whole
number next to :math:`\sqrt{D d_2 / d_1}` in :math:`[d_2, D / d_1]`, which makes both factors
equally oblong; :math:`D_1 = \lceil D / D_2 \rceil`. The product has up to :math:`D_2 - 1` rows too
many, and the last ones are cut. There are still :math:`d_1` or more whole blocks of :math:`D_2`
rows, which is :math:`d_2` at least, so that P has rank d almost surely. (Where D < d, in a small
leaf, this is not possible.)

*Columns.* With :math:`D = q D_2 + c` rows, column :math:`(j, k)` has the squared norm

.. math:: \sum_{i \le q} A_{ij}^2\, \lVert B_{\cdot k} \rVert^2 +
          A_{q+1, j}^2 \sum_{i \le c} B_{ik}^2 .

Differs from the paper / reference:
  1. Lotfi et al. (2022), "PAC-Bayes compression bounds so tight that they can explain
     generalization", permute the D weights. Here rows have random signs, which cost one bit each.
     Without either, a sum over one row's block sees B only through one number per column, and the
     subspace is special with respect to how weights are laid out.
  2. d may have factors with :math:`d_2 \le 16 d_1`; other d are refused, since B would be nearly as
     large as a dense P. At 16 the factors hold 8 times what those of a square number do.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax
from jax.typing import DTypeLike

from theorylab.subspace._normal import normals
from theorylab.subspace._projection import Projection, build
from theorylab.subspace._threefry import signs

_SIGNS, _LEFT, _RIGHT = 0, 1, 2  # streams
_OBLONG = 16


class KronState(NamedTuple):
    """What is kept of a map: the seed of the signs, A and B, in float32."""

    seed: Array
    left: Array
    right: Array


@dataclasses.dataclass(frozen=True)
class KronMap:
    """The first ``rows`` rows of A (x) B, with signs; ``d`` is ``d1`` times ``d2``."""

    d: int
    rows: int

    def __post_init__(self) -> None:
        if not _factors(self.d):
            raise ValueError(
                f"d must have two factors of which one is at most {_OBLONG} times the other for "
                f"kron, got {self.d}; the nearest that does is {_nearest(self.d)}"
            )

    @property
    def inner(self) -> tuple[int, int]:
        """(d1, d2)."""
        factors = _factors(self.d)
        assert factors is not None
        return factors

    @property
    def outer(self) -> tuple[int, int]:
        """(D1, D2)."""
        d1, d2 = self.inner
        least = d2 if self.rows >= self.d else 1
        d2_rows = round(math.sqrt(self.rows * d2 / d1))
        d2_rows = max(least, min(d2_rows, max(1, self.rows // d1)))
        return -(-self.rows // d2_rows), d2_rows

    def draw(self, seed: Array) -> KronState:
        """Draw A and B."""
        (m, n), (d1, d2) = self.outer, self.inner
        left = normals(seed, _LEFT, 0, m * d1).reshape(m, d1)
        right = normals(seed, _RIGHT, 0, n * d2).reshape(n, d2)
        return KronState(seed, left, right)

    def _signs(self, state: KronState, dtype: DTypeLike) -> Array:
        return signs(state.seed, _SIGNS, 0, self.rows, dtype)

    def forward(self, state: KronState, theta: Array) -> Array:
        """(rows,): A Theta B^T, row by row, cut, and signed."""
        left, right = state.left.astype(theta.dtype), state.right.astype(theta.dtype)
        small = _dot(theta.reshape(self.inner), right.T)
        return _dot(left, small).reshape(-1)[: self.rows] * self._signs(state, theta.dtype)

    def backward(self, state: KronState, flat: Array) -> Array:
        """(d,): A^T G B, of the signed values with zeros at what was cut."""
        left, right = state.left.astype(flat.dtype), state.right.astype(flat.dtype)
        m, n = self.outer
        signed = flat * self._signs(state, flat.dtype)
        full = jnp.pad(signed, (0, m * n - self.rows)).reshape(m, n)
        return _dot(_dot(left.T, full), right).reshape(-1)

    def squared_norms(self, state: KronState, dtype: DTypeLike) -> Array:
        """(d,): of the whole blocks, and of what the last one has."""
        left, right = state.left.astype(dtype) ** 2, state.right.astype(dtype) ** 2
        whole, cut = divmod(self.rows, self.outer[1])
        norms = jnp.outer(jnp.sum(left[:whole], axis=0), jnp.sum(right, axis=0))
        if cut:
            norms = norms + jnp.outer(left[whole], jnp.sum(right[:cut], axis=0))
        return norms.reshape(-1)


def _dot(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _factors(d: int) -> tuple[int, int] | None:
    """The divisors of d next to its root, the smaller first; None if they are too far apart."""
    d1 = next(f for f in range(math.isqrt(d), 0, -1) if d % f == 0)
    return (d1, d // d1) if d // d1 <= _OBLONG * d1 else None


def _nearest(d: int) -> int:
    """The number next to d that has factors, the smaller one of two."""
    step = 1
    while True:
        for number in (d - step, d + step):
            if number >= 1 and _factors(number):
                return number
        step += 1


def kron(d: int, like: Any, key: Array, *, scope: str = "global", mask: Any = None) -> Projection:
    r"""A Kronecker product of two Gaussian matrices with random signs, columns normalised.

    .. math:: P \theta = S\, \operatorname{vec}(A \Theta B^\top)_{1 \ldots D} .

    Parameters
    ----------
    d : int
        Dimension of the subspace, 1 <= d <= D, with two factors of which one is at most 16 times
        the other.
    like, key, scope, mask
        As :func:`theorylab.subspace.dense_gaussian`.

    Returns
    -------
    Projection
        It keeps the two factors, of the order of :math:`\sqrt{D d}` numbers.

    Raises
    ------
    ValueError
        If d has no such factors; the message names the nearest number that has.
    ValueError, TypeError
        As :func:`theorylab.subspace.hadamard`.

    Notes
    -----
    Entries of P are products of two normals: heavier tails than a Gaussian's, and singular values
    further from 1, the extreme ones by about :math:`\sqrt{d_1 / D_1} + \sqrt{d_2 / D_2}`. Factors
    are float32 also for theta in float64.

    References
    ----------
    Lotfi et al. (2022), "PAC-Bayes compression bounds so tight that they can explain
    generalization", NeurIPS.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import subspace
    >>> p = subspace.kron(12, jnp.zeros(500), jax.random.key(0))
    >>> column = p.apply(jnp.zeros(12).at[5].set(1.0))
    >>> round(float(jnp.linalg.norm(column)), 5)
    1.0
    """
    return build("kron", KronMap, d, like, key, scope=scope, mask=mask)
