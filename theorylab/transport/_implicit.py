r"""Derivatives of potentials and of the value, by the equations that they solve.

At the solution :math:`P 1 = a`, so for a change of the problem

.. math::

    df = \varepsilon\, S^{-1} \left( da - \partial (P 1) \right),

one solution with the Hessian of the semi-dual; the value has the derivative of the semi-dual at
fixed potentials (envelope theorem), which needs none. Both rules contain the potentials themselves,
so they can be differentiated again, forwards and in reverse.

Differs from the paper / reference:
  1. No paper followed. One potential is eliminated, and the constants, the null space, are shifted
     by the rank-one matrix a a^T / sum a in place of a ridge.
  2. Points without mass have no equation: their potential is what the other one makes of them.
  3. EXACT = 1e-12 (1e-6 in float32) of the residual is where conjugate gradients end, and at
     MOST = 2000 steps.
"""

from typing import Any

import jax
import jax.numpy as jnp

from theorylab.transport._conjugate import conjugate_gradients, diagonal, hessian

EXACT = {8: 1e-12, 4: 1e-6}
MOST = 2000

Problem = tuple[Any, jax.Array, jax.Array, jax.Array]  # costs, a, b, epsilon


@jax.custom_jvp
def potential(f: jax.Array, problem: Problem) -> jax.Array:
    """``f``, which solves the problem, with its derivatives in the problem."""
    return f


@potential.defjvp
def _potential_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    f = potential(*primals)
    problem = primals[1]
    costs, a, b, epsilon = problem

    def residual(problem: Problem) -> jax.Array:
        costs, a, b, epsilon = problem
        return a - costs.plan(f, a, b, epsilon).rows

    change = jax.jvp(residual, (problem,), (tangents[1],))[1]
    live = a > 0
    plan = costs.plan(f, a, b, epsilon)
    gauge = a / jnp.sum(a)

    def multiply(v: jax.Array) -> jax.Array:
        own = hessian(plan, v, b) + a * jnp.sum(gauge * v)
        return jnp.where(live, own, v)

    weights = jax.lax.stop_gradient(jnp.where(live, diagonal(plan, b) + a * gauge, 1))

    def solve(matrix: Any, right: jax.Array) -> jax.Array:
        relative = EXACT[a.dtype.itemsize]
        return conjugate_gradients(matrix, right, weights, relative=relative, most=MOST)[0]

    right = jnp.where(live, change, 0)
    df = jax.lax.custom_linear_solve(multiply, right, solve, symmetric=True)
    return f, epsilon * df


@jax.custom_jvp
def value(f: jax.Array, g: jax.Array, problem: Problem) -> jax.Array:
    """The dual at the solution ``f``, ``g``, whose derivative does not see that they move."""
    costs, a, b, _ = problem
    return jnp.sum(a * f) + costs.total(b * g)


@value.defjvp
def _value_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    f, _, problem = primals

    def semi_dual(problem: Problem) -> jax.Array:
        costs, a, b, epsilon = problem
        return jnp.sum(a * f) + costs.total(b * costs.plan(f, a, b, epsilon).g)

    return value(*primals), jax.jvp(semi_dual, (problem,), (tangents[2],))[1]
