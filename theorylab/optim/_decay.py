r"""Decoupled weight decay that can wait for the first step, and that can come after it.

Differs from the paper / reference:
  1. ``optax.add_decayed_weights`` decays with the parameters before the step,
     :math:`x \leftarrow x - \eta (U + \lambda x)`; the reference of SOAP with those after it,
     :math:`x \leftarrow (1 - \eta \lambda)(x - \eta U)`. The two differ by
     :math:`\eta^2 \lambda U`. Here are both, and neither decays in a call that is skipped.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

NEEDS_PARAMS = "weight decay needs the parameters: call update(gradients, state, params)"


class DecayState(NamedTuple):
    """() int32: calls so far."""

    count: jax.Array  # type: ignore[assignment]


def decayed(
    weight_decay: Any, *, skip_first: bool, after: bool = False, learning_rate: Any = None
) -> optax.GradientTransformation:
    """Add decay to updates: not yet scaled by a rate, or (``after``) finished ones."""

    def init(params: Any) -> DecayState:
        del params
        return DecayState(jnp.zeros((), jnp.int32))

    def update(updates: Any, state: DecayState, params: Any = None) -> tuple[Any, DecayState]:
        if params is None:
            raise ValueError(NEEDS_PARAMS)
        factor = value_at(weight_decay, state.count)
        if skip_first:
            factor = jnp.where(state.count == 0, 0, factor)
        if after:
            rate = value_at(learning_rate, state.count)

            def one(u: jax.Array, p: jax.Array) -> jax.Array:
                dtype = jnp.promote_types(u.dtype, p.dtype)
                step = jnp.asarray(rate, dtype) * jnp.asarray(factor, dtype)
                return (u - step * (p + u).astype(dtype)).astype(u.dtype)

        else:

            def one(u: jax.Array, p: jax.Array) -> jax.Array:
                return u + (jnp.asarray(factor, p.dtype) * p).astype(u.dtype)

        return jax.tree.map(one, updates, params), DecayState(optax.safe_increment(state.count))

    return optax.GradientTransformation(init, update)


def value_at(value: Any, count: jax.Array) -> Any:
    """A number, or what a schedule says for a count."""
    return value(count) if callable(value) else value
