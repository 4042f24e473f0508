"""State of weighted neurons, and what is reported of a step."""

from typing import Any, NamedTuple

from jax import Array


class MeanFieldState(NamedTuple):
    """Weighted neurons and what moves them.

    Attributes
    ----------
    params
        ``u`` (N, d) and ``v`` (d_out, N), each neuron times the root of its weight.
    weights
        (N,), of the neurons; they sum to 1 and stay as they are.
    optimizer
        State of the optax transformation.
    dropped
        Scalar: the mass of the initial law that was dropped with nodes of negligible weight.
    status
        int32 scalar, a :class:`Status`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import limits
    >>> state = limits.mean_field(1, 1, jnp.tanh, learning_rate=0.1, order=4).init()
    >>> state.params["u"].shape
    (16, 1)
    """

    params: Any
    weights: Array
    optimizer: Any
    dropped: Array
    status: Array


class MeanFieldInfo(NamedTuple):
    """Of one step.

    Attributes
    ----------
    loss, gradient_norm
        Scalars, before the step.
    status
        int32 scalar, a :class:`Status`; DIVERGED stays.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import limits
    >>> limits.MeanFieldInfo(jnp.ones(()), jnp.zeros(()), jnp.int32(0)).loss.shape
    ()
    """

    loss: Array
    gradient_norm: Array
    status: Array
