"""What a limit is: three functions, and small integers that say how a step went."""

import enum
from collections.abc import Callable
from typing import Any, NamedTuple


class Status(enum.IntEnum):
    """Outcome of a step; 0 is success. A trouble stays for all steps that follow.

    Attributes
    ----------
    OK
        The state is that of the limit, up to rounding.
    CAPACITY
        A buffer of fixed size was too small. :func:`deep_linear_mup` predicts NaN from then on;
        :func:`conditioned_mlp` keeps the last state that is exact and no longer moves. Give a
        larger ``capacity``.
    DIVERGED
        The loss, its gradient or the state is NaN or infinite: the learning rate is too large, or
        data are not finite. Numbers that follow mean nothing.

    Examples
    --------
    >>> Status(1).name
    'CAPACITY'
    """

    OK = 0
    CAPACITY = 1
    DIVERGED = 2


class Limit(NamedTuple):
    r"""A network in the limit of infinite width (or of a given one), and its training.

    ``init, step, predict = limit`` are pure: they compose under ``jit``, ``vmap`` and ``lax.scan``,
    and under ``grad`` where the limit in question says nothing else. In all limits the loss is
    :math:`\frac{1}{2 n} \sum_i \lVert f(x_i) - y_i \rVert^2` over the n points of a batch.

    Attributes
    ----------
    init
        ``init(key=None, dtype=None) -> state``. A key is needed where the limit is random, and
        ignored elsewhere. ``dtype`` is float32 or float64; None: JAX's default float.
    step
        ``step(state, x, y) -> (state, info)``: one step of gradient descent on a batch x (n, d_in),
        y (n, d_out). ``info.loss`` is that before the step, ``info.status`` a :class:`Status`.
    predict
        ``predict(state, x) -> (n, d_out)``.

    Notes
    -----
    The three are bound methods of one description, in which :func:`finite_width_like` and
    :func:`optimizer_like` find what a matching network of finite width is. A step is
    compiled; for many, put ``jax.jit`` around the loop.

    Inside of ``jax.shard_map`` each device trains on the batch it has, by its own loss, as under
    ``vmap``: nothing is summed over devices. A loop over steps carries a state that differs from
    device to device, which JAX wants to be told of at its start:
    ``jax.lax.pcast(init(), axis, to="varying")``.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import limits
    >>> init, step, predict = limits.linear_mup(3, 1, learning_rate=0.1)
    >>> x, y = jnp.eye(3), jnp.ones((3, 1))
    >>> state, info = step(init(), x, y)
    >>> limits.Status(int(info.status)).name, predict(state, x).shape
    ('OK', (3, 1))
    """

    init: Callable[..., Any]
    step: Callable[..., tuple[Any, Any]]
    predict: Callable[..., Any]
