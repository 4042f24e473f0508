"""The state of a linear limit with one hidden layer, and what a step tells of it."""

from typing import Any, NamedTuple

from jax import Array


class LinearState(NamedTuple):
    """State of :func:`linear_mup` and :func:`linear_gram`; k is d_in + d_out, + 1 with ``bias``.

    Attributes
    ----------
    params
        A dict of the weights of the network of k hidden units: ``u`` (k, d_in), ``v`` (d_out, k),
        and with biases ``b`` (k,), ``c`` (d_out,). Rows of u are coordinates along the initial
        columns of u, then b, then the initial rows of v: the blocks are the four matrices. NaN
        from the first step on whose status is DIVERGED.
    optimizer
        State of the optax chain of :func:`optimizer_like`.
    """

    params: dict[str, Array]
    optimizer: Any


class LinearInfo(NamedTuple):
    """What a step of a linear limit tells.

    Attributes
    ----------
    loss
        Scalar, before the step.
    gradient_norm
        Scalar, of the gradient by all weights together, before clipping.
    status
        int32 scalar, a :class:`Status`: OK or DIVERGED, which stays.
    """

    loss: Array
    gradient_norm: Array
    status: Array


def told(info: LinearInfo, dtype: Any) -> LinearInfo:
    """Numbers in the dtype of the data."""
    return LinearInfo(info.loss.astype(dtype), info.gradient_norm.astype(dtype), info.status)
