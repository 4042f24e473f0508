r"""Eigenbases of SOAP's factors, and how they follow their factors.

A factor S (d x d, symmetric, positive semidefinite) has a basis Q whose columns are its
eigenvectors, largest eigenvalue first. The first basis is computed; later ones follow by one step
of orthogonal iteration, :math:`Q \leftarrow \mathrm{qr}(S Q_\pi)`, where the order :math:`\pi`
sorts the estimates :math:`\mathrm{diag}(Q^\top S Q)`. Three ways:

- ``"qr"``: Householder's, the reference's;
- ``"cholqr"``: the same from Cholesky factors of Gram matrices. Only products and triangular
  solves, which accelerators like. The columns of :math:`S Q` have norms near the eigenvalues, over
  many decades, so they are scaled to 1 first, which leaves Q as it is;
- ``"eigh"``: the eigenvectors themselves.

Differs from the paper / reference:
  1. :math:`S Q` is formed once, and serves the estimates and the step.
  2. ``"cholqr"`` takes :math:`S + \delta I` for S, with :math:`\delta` = d u times the largest
     estimate, u the unit round-off. That has the same eigenvectors, and where S is 0 but for
     rounding (dead inputs) columns stay as they are, where Householder's method leaves them to
     round-off. It repeats until columns are orthonormal, with a shift of the Gram matrix as long as
     they are far from it (Fukaya, Kannan, Nakatsukasa, Yamamoto & Yanagisawa 2020, "Shifted
     Cholesky QR for computing the QR factorization of ill-conditioned matrices"): 10 d u, where
     they prove more cautious shifts. If eight passes do not do, the sorted old basis stays.
  3. Stacks of factors go through together on accelerators; the reference goes from one to the next,
     as we do on CPUs (``theorylab/_batches.py`` says why).
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from theorylab._batches import one_by_one
from theorylab._numerics import HIGHEST

METHODS = ("qr", "eigh", "cholqr")
PASSES = 8


Carry = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


def first_bases(factors: jax.Array) -> jax.Array:
    """Eigenvectors of a stack of factors (N, d, d), largest eigenvalue first."""
    return jax.vmap(one_by_one(_eigenvectors))(factors)


def refreshed(factors: jax.Array, bases: jax.Array, method: str) -> tuple[jax.Array, jax.Array]:
    """The next bases (N, d, d), and the orders (N, d) in which the old columns precede them."""
    return jax.vmap(one_by_one(partial(_refreshed, method=method)))(factors, bases)


def _eigenvectors(factor: jax.Array) -> jax.Array:
    # The reference's 1e-30 on the diagonal: a factor of zeros gets the identity's vectors.
    floor = jnp.asarray(1e-30, factor.dtype) * jnp.eye(len(factor), dtype=factor.dtype)
    return jnp.flip(jnp.linalg.eigh(factor + floor)[1], axis=-1)


def _refreshed(factor: jax.Array, basis: jax.Array, method: str) -> tuple[jax.Array, jax.Array]:
    product = jnp.matmul(factor, basis, precision=HIGHEST)
    estimates = jnp.sum(basis * product, axis=0)
    order = jnp.argsort(estimates, descending=True)
    if method == "eigh":
        return _eigenvectors(factor), order
    if method == "qr":
        return jnp.linalg.qr(product[:, order])[0], order
    # A part of S Q below the rounding of the rest has no direction. The shift gives it that of Q.
    shift = len(factor) * jnp.finfo(factor.dtype).eps * jnp.max(estimates)
    columns = (product + shift.astype(factor.dtype) * basis)[:, order]
    return _cholesky_qr(columns, basis[:, order]), order


def _cholesky_qr(columns: jax.Array, otherwise: jax.Array) -> jax.Array:
    """The orthonormal factor of ``columns``; ``otherwise`` where that cannot be had."""
    size = len(columns)
    unit = jnp.finfo(columns.dtype).eps
    identity = jnp.eye(size, dtype=columns.dtype)
    # Scaled by the largest entry before squares are formed, which could underflow.
    for length in (jnp.max, jnp.linalg.norm):
        scale = length(jnp.abs(columns), axis=0, keepdims=True)
        columns = columns / jnp.where(scale > 0, scale, 1)

    def gram(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        g = jnp.matmul(x.T, x, precision=HIGHEST)
        return g, jnp.max(jnp.abs(g - identity))

    def unfinished(carry: Carry) -> jax.Array:
        _, _, error, passes = carry
        return (passes < PASSES) & (error > 32 * unit)

    def orthonormalised(carry: Carry) -> Carry:
        x, g, error, passes = carry
        shift = jnp.where(error > 0.5, 10 * size * unit, 0).astype(g.dtype)
        lower = jnp.linalg.cholesky(g + shift * identity, symmetrize_input=False)
        x = lax.linalg.triangular_solve(lower, x, left_side=False, lower=True, transpose_a=True)
        return x, *gram(x), passes + 1

    start = (columns, *gram(columns), jnp.zeros((), jnp.int32))
    columns, _, error, _ = lax.while_loop(unfinished, orthonormalised, start)
    return jnp.where(error <= 64 * unit, columns, otherwise)
