r"""One step of SOAP, without the refresh of bases and without the first call's particulars.

In the basis of a leaf (one Q for each axis that has a factor) Adam runs on the rotated gradient:

.. math::

    G' = Q^\top G, \quad m \leftarrow \beta_1 m + (1 - \beta_1) G', \quad
    v \leftarrow \beta_2 v + (1 - \beta_2) G'^2, \quad
    U = Q \, \frac{m}{\sqrt{v} + \epsilon} \, \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t},

and the factors follow the gradient, :math:`S_k \leftarrow \beta_s S_k + (1 - \beta_s) G_k G_k^\top`
(:math:`G_k`: G with all axes but k in its columns).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from theorylab._numerics import HIGHEST, safe_sqrt
from theorylab.optim import _soap_basis as basis_of
from theorylab.optim._soap_plan import Leaf, Plan

Arrays = tuple[jax.Array, ...]


class Moments(NamedTuple):
    """What is kept of a leaf, in its basis."""

    mu: jax.Array
    nu: jax.Array


class Rates(NamedTuple):
    """Numbers of a step, each a scalar that may be traced."""

    b1: Any
    b2: Any
    shampoo_beta: Any
    eps: Any

    def cast(self, dtype: Any) -> "Rates":
        """In the dtype of a leaf."""
        return Rates(*(jnp.asarray(rate, dtype) for rate in self))


def rotated(x: jax.Array, leaf: Leaf, bases: Arrays) -> jax.Array:
    """A leaf (its own shape) in its basis."""
    return _turned(x, leaf, bases, axis_of_basis=0)


def rotated_back(x: jax.Array, leaf: Leaf, bases: Arrays) -> jax.Array:
    """The inverse of `rotated`."""
    return _turned(x, leaf, bases, axis_of_basis=1)


def _turned(x: jax.Array, leaf: Leaf, bases: Arrays, axis_of_basis: int) -> jax.Array:
    if not any(leaf.sides):
        return x
    x = leaf.read(x)
    # Axes stay where they are, the first one's basis multiplies from the left: products whose
    # result is transposed take half as long again on CPUs.
    for axis, side in enumerate(leaf.sides):
        if side is None:
            continue
        basis = bases[side[0]][side[1]]
        if axis == 0:
            x = jnp.tensordot(basis, x, axes=((axis_of_basis,), (0,)), precision=HIGHEST)
        else:
            x = jnp.tensordot(x, basis, axes=((axis,), (axis_of_basis,)), precision=HIGHEST)
            x = jnp.moveaxis(x, -1, axis)
    return leaf.write(x)


def with_gradients(plan: Plan, factors: Arrays, gradients: list[jax.Array], rate: Any) -> Arrays:
    """The factors after one more gradient."""
    products: list[list[jax.Array]] = [[] for _ in plan.stacks]
    for leaf, gradient in zip(plan.leaves, gradients, strict=True):
        g = leaf.read(gradient)
        for axis, side in enumerate(leaf.sides):
            if side is not None:
                others = tuple(other for other in range(g.ndim) if other != axis)
                product = jnp.tensordot(g, g, axes=(others, others), precision=HIGHEST)
                products[side[0]].append(product)
    return tuple(
        factor + jnp.asarray(1 - rate, factor.dtype) * (jnp.stack(product) - factor)
        for factor, product in zip(factors, products, strict=True)
    )


def stepped(
    leaf: Leaf, moments: Moments, gradient: jax.Array, bases: Arrays, rates: Rates
) -> tuple[Moments, jax.Array]:
    """The moments after one more gradient, and the direction before it is scaled."""
    rates = rates.cast(leaf.dtype)
    g = rotated(gradient, leaf, bases)
    mu = rates.b1 * moments.mu.astype(leaf.dtype) + (1 - rates.b1) * g
    nu = rates.b2 * moments.nu + (1 - rates.b2) * jnp.square(g)
    return Moments(mu, nu), rotated_back(mu / (safe_sqrt(nu) + rates.eps), leaf, bases)


def scaled(
    leaf: Leaf, direction: jax.Array, step: jax.Array, rates: Rates, normalize: bool, correct: bool
) -> jax.Array:
    """The direction, of root mean square 1 if so wished, times the correction of Adam's bias."""
    if normalize:
        direction = direction / (1e-30 + jnp.sqrt(jnp.mean(jnp.square(direction))))
    if correct:
        rates = rates.cast(leaf.dtype)
        t = step.astype(leaf.dtype)
        direction = direction * (jnp.sqrt(1 - rates.b2**t) / (1 - rates.b1**t))
    return direction


def refreshed_state(
    plan: Plan, factors: Arrays, bases: Arrays, moments: list[Moments], method: str
) -> tuple[Arrays, list[Moments]]:
    """The next bases; m turned into them, v with its entries in the new order of columns."""
    pairs = [basis_of.refreshed(f, q, method) for f, q in zip(factors, bases, strict=True)]
    new, orders = tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
    return new, [
        _moved(leaf, kept, bases, new, orders)
        for leaf, kept in zip(plan.leaves, moments, strict=True)
    ]


def first_bases(factors: Arrays) -> Arrays:
    """The bases after the first gradient."""
    return tuple(basis_of.first_bases(factor) for factor in factors)


def _moved(leaf: Leaf, moments: Moments, old: Arrays, new: Arrays, orders: Arrays) -> Moments:
    if not any(leaf.sides):
        return moments
    mu = rotated_back(moments.mu.astype(leaf.dtype), leaf, old)
    mu = rotated(mu, leaf, new).astype(moments.mu.dtype)
    nu = leaf.read(moments.nu)
    for axis, side in enumerate(leaf.sides):
        if side is not None:
            nu = jnp.take(nu, orders[side[0]][side[1]], axis=axis)
    return Moments(mu, leaf.write(nu))
