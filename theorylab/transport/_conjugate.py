r"""The Hessian of the semi-dual, and conjugate gradients with it.

.. math::

    S = \operatorname{diag}(P 1) - P \operatorname{diag}(1 / b) P^\top,

positive semi-definite, its null space the constants. The Newton step for the potential is
:math:`\varepsilon S^{-1} (a - P 1)`; derivatives of potentials solve with the same matrix.

Differs from the paper / reference:
  1. Tang et al. (2024) solve with a sparsified Hessian of both potentials. Here one potential is
     eliminated and every product is exact, two products with the plan; the preconditioner is the
     diagonal of S.
  2. No factorisation, for small sides either: forming S and its Cholesky factor takes as long as 7
     to 40 products at n = 16 and 32, and 40 to 65 at 64, while a Newton step takes 4 to 25 (random
     assignments and mixtures, epsilon 1e-2 to 1e-4, float64 on a CPU; measured here).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def inverse(b: jax.Array) -> jax.Array:
    """``1 / b``, 0 where there is no mass."""
    return jnp.where(b > 0, 1 / jnp.where(b > 0, b, 1), 0)


def hessian(plan: Any, v: jax.Array, b: jax.Array) -> jax.Array:
    """``S @ v``."""
    return plan.rows * v - plan.gram(v, inverse(b))


def diagonal(plan: Any, b: jax.Array) -> jax.Array:
    """The diagonal of S, not below rounding."""
    least = jnp.finfo(b.dtype).eps * plan.rows
    return jnp.maximum(plan.rows - plan.squares(inverse(b)), least)


def conjugate_gradients(
    multiply: Callable[[jax.Array], jax.Array],
    right: jax.Array,
    diagonal: jax.Array,
    *,
    relative: jax.Array | float,
    most: int,
) -> tuple[jax.Array, jax.Array]:
    """Solve from zero until the preconditioned residual fell by ``relative``; also the steps made.

    Entries whose ``diagonal`` is 0 stay 0. Where rounding makes the curvature negative the last
    iterate is kept, which is a direction of ascent as every iterate is.
    """
    scale = jnp.where(diagonal > 0, 1 / jnp.where(diagonal > 0, diagonal, 1), 0)
    start = scale * right
    energy = jnp.sum(right * start)

    def step(state: Any) -> Any:
        made, x, residual, direction, energy, _ = state
        image = multiply(direction)
        curvature = jnp.sum(direction * image)
        good = curvature > 0
        length = jnp.where(good, energy / jnp.where(good, curvature, 1), 0)
        x = x + length * direction
        residual = residual - length * image
        weighed = scale * residual
        new = jnp.sum(residual * weighed)
        direction = weighed + new / energy * direction
        return made + 1, x, residual, direction, new, good

    goal = relative**2 * energy
    first = (jnp.int32(0), jnp.zeros_like(right), right, start, energy, jnp.bool_(True))
    made, x, *_ = jax.lax.while_loop(lambda s: (s[0] < most) & (s[4] > goal) & s[5], step, first)
    return x, made
