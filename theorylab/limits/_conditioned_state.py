"""State of a conditioned network, and what is reported of a step."""

from typing import Any, NamedTuple

from jax import Array

from theorylab.limits._conditioning import Known


class ConditionedState(NamedTuple):
    """A network, as far as it is determined yet.

    Attributes
    ----------
    params
        ``u`` (n, d) and ``v`` (d_out, n), over the root of n; ``scale`` (L - 1,) and ``core``
        (L - 1, m, m): a and C of the hidden matrices.
    known
        What is known of each initial hidden matrix; arrays (L - 1, m, n), counts (L - 1,).
    optimizer
        State of the optax transformation.
    key, time
        Of draws.
    status
        int32 scalar, a :class:`Status`; steps do nothing where it is not OK.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from theorylab import limits
    >>> limit = limits.conditioned_mlp(64, 3, 1, 2, jnp.tanh, learning_rate=0.1, capacity=8)
    >>> limit.init(jax.random.key(0)).known.x.shape
    (1, 8, 64)
    """

    params: Any
    known: Known
    optimizer: Any
    key: Array
    time: Array
    status: Array


class ConditionedInfo(NamedTuple):
    """Of one step.

    Attributes
    ----------
    loss, gradient_norm
        Scalars, before the step; under CAPACITY the norm leaves out what has no slots.
    slots
        int32 scalar: the most slots that are in use in any basis.
    status
        int32 scalar, a :class:`Status`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import limits
    >>> info = limits.ConditionedInfo(jnp.ones(()), jnp.ones(()), jnp.int32(4), jnp.int32(0))
    >>> int(info.slots)
    4
    """

    loss: Array
    gradient_norm: Array
    slots: Array
    status: Array
