"""The state of a deep linear limit, what a step tells of it, and how large it can become."""

from typing import Any, NamedTuple

from jax import Array

from theorylab.limits import _arguments as check
from theorylab.limits._gaussian_matrix import GaussianMatrix


class DeepLinearState(NamedTuple):
    """State of :func:`deep_linear_mup`: K is the capacity, L the depth.

    Attributes
    ----------
    params
        A dict: ``u`` (K, d_in) and ``v`` (d_out, K) in coordinates of the first and the last layer;
        ``c`` (L - 1,), factors of the initial hidden matrices of unit scale; ``m`` (L - 1, K, K),
        what was added to them.
    optimizer
        State of the optax chain of :func:`optimizer_like`.
    matrices
        What is known of the L - 1 initial hidden matrices.
    forward, backward
        Tuples of L arrays, (K, d_in) and (K, d_out): the F and E of the present weights.
    sizes
        (L,) int32, the sizes of the bases.
    status
        int32 scalar, a :class:`Status`.
    """

    params: dict[str, Array]
    optimizer: Any
    matrices: tuple[GaussianMatrix, ...]
    forward: tuple[Array, ...]
    backward: tuple[Array, ...]
    sizes: Array
    status: Array


class DeepLinearInfo(NamedTuple):
    """What a step of :func:`deep_linear_mup` tells.

    Attributes
    ----------
    loss
        Scalar, before the step.
    gradient_norm
        Scalar, of the gradient by all weights together, before clipping.
    sizes
        (L,) int32, the sizes of the bases after the step, to be compared with the capacity.
    status
        int32 scalar, a :class:`Status`, after the step.
    """

    loss: Array
    gradient_norm: Array
    sizes: Array
    status: Array


def deep_linear_capacity(
    d_in: int, d_out: int, depth: int, steps: int, *, batch: int | None = None
) -> int:
    r"""How large bases of :func:`deep_linear_mup` can become: a bound for all data.

    .. math::

        d_{in} + d_{out} + (L - 1)\, T \min(d_{in}, d_{out}, P) .

    Parameters
    ----------
    d_in, d_out, depth
        Of the network; L is the number of hidden layers.
    steps
        T, the number of steps.
    batch
        P, the number of points in a step; None: any.

    Returns
    -------
    int
        Vectors in a layer.

    Raises
    ------
    ValueError
        If an argument is not a positive integer.

    Notes
    -----
    Bases of data that repeat grow less: ``info.sizes`` tells what is in use.

    Examples
    --------
    >>> deep_linear_capacity(4, 1, depth=3, steps=20)
    45
    """
    names = {"d_in": d_in, "d_out": d_out, "depth": depth, "steps": steps}
    d_in, d_out, depth, steps = (check.positive_integer(k, v) for k, v in names.items())
    rank = min(d_in, d_out)
    if batch is not None:
        rank = min(rank, check.positive_integer("batch", batch))
    return d_in + d_out + (depth - 1) * rank * steps
