r"""Sweeps of Sinkhorn's method that need no exponential.

One pass at a potential f gives a plan with exact columns. A sweep in the *log domain* moves f by
:math:`\varepsilon \log (a / P 1)` and makes another pass. In the *kernel domain* the plan itself is
scaled,

.. math::

    u \leftarrow a / (P v), \qquad v \leftarrow b / (P^\top u),

two products each, and f moves by :math:`\varepsilon \log u` when they end.

Differs from the paper / reference:
  1. Schmitzer (2019), "Stabilized sparse scaling algorithms for entropy regularized transport
     problems", absorbs scalings into a kernel that both potentials made; here each pass makes a new
     kernel at the potential itself.
  2. SCALING = 50 (20 in float32) bounds :math:`|\log u|`: entries of the plan below the range of
     the dtype are 0, and with scalings no larger than e^50 they would stay below e^-600 (e^-60).
  3. LEAP = 600 (60): a row whose sum is below the range is moved by so many epsilon at most.
"""

from typing import Any

import jax
import jax.numpy as jnp

SCALING = {8: 50.0, 4: 20.0}
LEAP = {8: 600.0, 4: 60.0}


def log_ratio(a: jax.Array, rows: jax.Array) -> jax.Array:
    """``log(a / rows)``, 0 where there is no mass, and bounded."""
    live = a > 0
    least = jnp.finfo(a.dtype).tiny
    below = jnp.log(jnp.where(live, jnp.maximum(rows, least), 1))
    leap = LEAP[a.dtype.itemsize]
    return jnp.where(live, jnp.clip(jnp.log(jnp.where(live, a, 1)) - below, -leap, leap), 0)


def kernel_sweeps(
    plan: Any, a: jax.Array, b: jax.Array, count: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """``log u`` after ``count`` sweeps, or as many as scalings allow; how many, and products."""
    live, least = a > 0, jnp.finfo(a.dtype).tiny
    bound = SCALING[a.dtype.itemsize]

    def sweep(state: Any) -> Any:
        made, products, log_u, rows, _ = state
        further = log_ratio(a, rows)
        u = jnp.exp(further)
        good = jnp.max(jnp.abs(further)) <= bound
        v = b / jnp.where(b > 0, jnp.maximum(plan.forward(u), least), 1)
        rows = jnp.where(good, plan.backward(v), rows)
        return (
            made + good.astype(jnp.int32),
            products + 1,
            jnp.where(good, further, log_u),
            rows,
            good,
        )

    start = (jnp.int32(0), jnp.int32(0), jnp.zeros_like(a), plan.rows, jnp.bool_(True))
    made, products, log_u, _, _ = jax.lax.while_loop(lambda s: (s[1] < count) & s[4], sweep, start)
    return jnp.where(live, log_u, 0), made, products
