"""A linear map from its two programs: one forwards, one for the transpose; all derivatives work.

JAX would derive the transpose by itself, but badly: for the stacked Hadamard transform in 4 to 9
times the time of ours on two cores, for matrices that are drawn again block by block with all
blocks stored. ``jax.custom_vjp`` takes a program for the transpose and gives up forward mode;
``custom_derivatives.linear_call`` has no ``vmap``. What has it all is JAX's linear solver, so the
map is put as one: x = (theta, P theta) is the solution of

    [ I  0] x = (theta, 0),
    [-P  I]

whose solver calls P, and whose transposed solver calls P^T. No system is solved.

Differs from the paper / reference:
  1. No paper. Where the lower half of the right-hand side should be 0, something that depends on
     theta is passed and ignored; and the result names the upper half in a branch that is never
     taken. Both are gone in the compiled program. They are there because JAX's rules (0.10.1,
     0.12.0) fail on halves that are known to have no derivative.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from theorylab._devices import varying_as


def zeros_beside(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Zeros in the dtype of ``x`` that, inside of ``shard_map``, vary over devices as it does.

    What a loop carries must vary from its start as it will after a turn.
    """
    first = x.reshape(-1)[0]
    return jnp.broadcast_to(jnp.where(False, first, jnp.zeros_like(first)), shape)


def linear_map(
    forward: Callable[[Any, jax.Array], jax.Array],
    backward: Callable[[Any, jax.Array], jax.Array],
    state: Any,
    theta: jax.Array,
    rows: int,
) -> jax.Array:
    """P theta, (rows,), for theta (d,), where ``backward(state, .)`` is the adjoint of P.

    ``state`` is constant: no derivatives with respect to it.
    """
    # What the solver's programs close over is marked too late otherwise, after they were traced.
    state = varying_as(theta, jax.lax.stop_gradient(state))

    def matvec(x: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return x[0], x[1] - forward(state, x[0])

    def solve(_: Any, b: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return b[0], forward(state, b[0])

    def solve_transposed(_: Any, b: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return b[0] + backward(state, b[1]), zeros_beside(b[1], b[1].shape)

    ignored = jnp.broadcast_to(theta[0], (rows,))
    same, image = jax.lax.custom_linear_solve(matvec, (theta, ignored), solve, solve_transposed)
    return jnp.where(False, same[0], image)
