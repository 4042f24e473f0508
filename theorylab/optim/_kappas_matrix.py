r"""Kappas of the singular values of matrices.

With :math:`M = U \Sigma V^\top`, singular values in falling order,

.. math::

    \nabla \|M\|_{nuc} = U_r V_r^\top, \qquad \nabla \|M\|_{spec} = u_1 v_1^\top,

r the rank: the polar factor, and its part along the largest singular value. The two norms are dual
to each other. Matrices are the last two axes, axes before them count matrices, over which K sums
and the gauge is the largest. **A vector is a matrix of one row, a scalar a number**: of them both
norms are the Euclidean one. Nothing is left out by shape; ``optax.multi_transform`` gives biases
and embeddings another optimizer, as users of Muon do.

Differs from the paper / reference:
  1. Singular vectors are found in float64 where the backend has it, for float32 as well: a polar
     factor is as ill-conditioned as the matrix, and float32 loses 1e-5 from a condition number of
     some hundreds on.
  2. RANK: singular values count as 0 below RANK rounding units of the input's dtype (float32 for
     half precision), plus sqrt(n) units of the dtype they are found in, times the largest; n is the
     longer side. Rounding makes such values of 0 (up to 1 and 0.2 sqrt(n) units in products and
     averages of up to 1024 x 256, measured), and without the cut their directions, which mean
     nothing, would be taken at full length.
  3. The iteration without singular vectors is Newton and Schulz's in its scaled form (Chen and Chow
     2014, "A stable scaling of Newton-Schulz for improving the sign function computation of a
     Hermitian matrix"), and converges; that of Muon (Jordan et al. 2024) has fixed coefficients
     with which singular values end between about 0.7 and 1.2.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from theorylab._batches import one_by_one
from theorylab._numerics import HIGHEST, wide_dtype, wide_scope
from theorylab.optim._kappa import Kappa, inside, record, scaled
from theorylab.optim._kappa_arguments import real
from theorylab.optim._newton_schulz import newton_schulz

METHODS = ("svd", "newton_schulz")
RANK = 8


def nuclear(*, method: str = "svd", smallest: float = 1e-3) -> Kappa:
    r"""The sum of singular values: Muon with weight decay.

    .. math::

        K(M) = \|M\|_{nuc}, \quad \nabla K = U_r V_r^\top, \quad
        K^*(Y) = 0 \text{ where } \|Y\|_{spec} \le 1 .

    Minimises f under a bound of :math:`1/\lambda` on the spectral norm of every matrix. Muon with
    Nesterov's momentum :math:`\beta` has :math:`b_1 = \beta^2, b_2 = \beta`; without,
    :math:`b_1 = b_2 = \beta`.

    Parameters
    ----------
    method
        ``"svd"``: the polar factor to the rounding of the dtype, rank-deficient or not.
        ``"newton_schulz"``: products of matrices alone, for accelerators and large matrices.
    smallest
        For ``"newton_schulz"``, in (0, 1): singular values above ``smallest`` times a bound on the
        largest end at 1; those below, in between 0 and 1. The number of steps grows with its
        logarithm: 11 for 1e-3.

    Raises
    ------
    TypeError, ValueError
        If the method is unknown or smallest is not a number in (0, 1).

    Notes
    -----
    In float32 ``"svd"`` is within 1e-6 of the exact factor, for condition numbers up to about 1e6.
    ``"newton_schulz"``, products at the highest precision, loses digits with the condition number
    (512 x 512, measured: 5e-7 up to 100; with a small enough ``smallest`` 1e-5 at 1e4, 6e-5 at
    1e5). Its bound on the largest singular value is the smaller one of the Frobenius norm and
    :math:`\sqrt{\|M\|_1 \|M\|_\infty}`, too large by at most the square root of the rank.

    Derivatives of the update (of a hyperparameter through training, say) go through
    ``"newton_schulz"``; those of ``"svd"`` are not provided for. ``value`` and ``gauge`` use
    singular values in both, and have first derivatives.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.optim import kappas
    >>> kappas.nuclear().grad(jnp.array([[2.0, 0.0], [0.0, -5.0]])).tolist()
    [[1.0, 0.0], [0.0, -1.0]]
    >>> kappas.nuclear().grad(jnp.array([0.0, -3.0])).tolist()  # a matrix of one row
    [0.0, -1.0]
    """
    if method not in METHODS:
        raise ValueError(f"method must be 'svd' or 'newton_schulz', got {method!r}")
    least = real("smallest", smallest)
    if not 0 < least < 1:
        raise ValueError(f"smallest must lie in (0, 1), got {smallest!r}")

    def exact(m: Array) -> Array:
        return _along(m, "nuclear")

    def iterated(m: Array) -> Array:
        return newton_schulz(_matrices(m), least).reshape(m.shape)

    def gauge(y: Array) -> Array:
        return jnp.max(_norms("spectral", y), initial=0)

    return record(
        "nuclear" if method == "svd" else f"nuclear(newton_schulz, {least:g})",
        value=lambda m: jnp.sum(_norms("nuclear", m)),
        grad=exact if method == "svd" else iterated,
        conjugate=lambda y, slack: inside(gauge(y), slack),
        gauge=gauge,
    )


def spectral() -> Kappa:
    r"""The largest singular value: steps of rank one.

    .. math::

        K(M) = \|M\|_{spec}, \quad \nabla K = u_1 v_1^\top, \quad
        K^*(Y) = 0 \text{ where } \|Y\|_{nuc} \le 1 .

    Minimises f under a bound of :math:`1/\lambda` on the nuclear norm of every matrix: low rank.
    Where the largest singular value is a double one, one pair of its vectors is taken.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.optim import kappas
    >>> kappas.spectral().grad(jnp.array([[2.0, 0.0], [0.0, -5.0]])).tolist()
    [[0.0, 0.0], [0.0, -1.0]]
    """

    def grad(m: Array) -> Array:
        return _along(m, "spectral")

    def gauge(y: Array) -> Array:
        return jnp.max(_norms("nuclear", y), initial=0)

    return record(
        "spectral",
        value=lambda m: jnp.sum(_norms("spectral", m)),
        grad=grad,
        conjugate=lambda y, slack: inside(gauge(y), slack),
        gauge=gauge,
    )


def _matrices(x: Array) -> Array:
    """The array as matrices (..., m, n): a vector is one row, a scalar one entry."""
    return x.reshape((1,) * (2 - x.ndim) + x.shape) if x.ndim < 2 else x


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _norms(kind: str, x: Array) -> Array:
    """The norm of each matrix, (...); its derivative is the subgradient of that kind."""
    sizes = _singular_values(x)
    return jnp.sum(sizes, axis=-1) if kind == "nuclear" else sizes[..., 0]


@_norms.defjvp
def _norms_jvp(kind: str, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    return _norms(kind, x), jnp.sum(_matrices(_along(x, kind) * dx), axis=(-2, -1))


def _along(x: Array, kind: str) -> Array:
    """The sum of ``u_i v_i^T``: all that are not rounding (nuclear), or the first (spectral)."""
    matrices = _matrices(x)
    if x.size == 0:
        return x
    if 1 in matrices.shape[-2:]:  # one singular value
        _, unit = scaled(matrices, (-2, -1))
        length = jnp.sqrt(jnp.sum(unit * unit, axis=(-2, -1), keepdims=True))
        return (unit / jnp.maximum(length, 1)).reshape(x.shape)
    wide = wide_dtype(x.dtype)
    unit_in, unit_found = (float(jnp.finfo(dtype).eps) for dtype in (x.dtype, wide))
    cut = RANK * unit_in + max(matrices.shape[-2:]) ** 0.5 * unit_found
    with wide_scope():
        _, unit = scaled(matrices.astype(wide), (-2, -1))
        u, sizes, vh = _each(one_by_one(partial(jnp.linalg.svd, full_matrices=False)), unit)
        first = jnp.arange(sizes.shape[-1]) == 0
        kept = sizes > (cut * sizes[..., :1] if kind == "nuclear" else jnp.where(first, 0, jnp.inf))
        kept = kept[..., None, :]
        factor = jnp.matmul(jnp.where(kept, u, 0), vh, precision=HIGHEST)
        return factor.astype(x.dtype).reshape(x.shape)


def _each(function: Callable[[Array], Any], matrices: Array) -> Any:
    """A function of one matrix, of each of (..., m, n): one after the other on CPUs."""
    lead = matrices.shape[:-2]
    if not lead:
        return function(matrices)
    alone = jax.default_backend() == "cpu"
    over = partial(jax.lax.map, function) if alone else jax.vmap(function)
    found = over(matrices.reshape(-1, *matrices.shape[-2:]))
    return jax.tree.map(lambda x: x.reshape(*lead, *x.shape[1:]), found)


def _singular_values(x: Array) -> Array:
    """(..., min(m, n)), in falling order and in the dtype of x; one 0 where there is no entry."""
    matrices = _matrices(x)
    if x.size == 0:
        return jnp.zeros((*matrices.shape[:-2], 1), x.dtype)
    with wide_scope():
        scale, unit = scaled(matrices.astype(wide_dtype(x.dtype)), (-2, -1))
        sizes = _each(partial(jnp.linalg.svd, compute_uv=False), unit)
        return (sizes * scale[..., 0]).astype(x.dtype)
