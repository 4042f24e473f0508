"""The networks of finite width that belong to a limit, and what trains them.

A description of a limit (``limit.init.__self__``) has two methods: ``finite(width, key, **options)
-> (params, apply)`` and ``optimizer() -> optax.GradientTransformation``.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from theorylab.limits._limit import Limit


def finite_width_like(
    limit: Limit, width: int, key: jax.Array, **options: Any
) -> tuple[Any, Callable[[Any, jax.Array], jax.Array]]:
    r"""Draw a network of finite width that tends to a limit as the width grows.

    Parameters
    ----------
    limit
        Of this module.
    width
        Number n of hidden units in each layer.
    key
        Of ``jax.random.key``; the network is random in all limits.
    **options
        Of the limit in question: ``dtype`` for all; ``orthonormal=True`` for :func:`linear_mup`,
        which draws initial weights whose Gram matrix is exactly that of infinite width, so that the
        network equals the limit at any width but for rounding.

    Returns
    -------
    (params, apply)
        A dict of arrays, and ``apply(params, x) -> (n, d_out)``. Training params on
        :math:`\frac12 \lVert f(x) - y\rVert^2`, mean over the batch, with :func:`optimizer_like`
        follows the limit up to :math:`O(n^{-1/2})` at any fixed step.

    Raises
    ------
    TypeError
        If ``limit`` is not a limit of this module, or an option is not one of its.
    ValueError
        If ``width`` is not a positive integer, or too small for an option.

    Examples
    --------
    >>> from theorylab import limits
    >>> limit = limits.linear_mup(3, 2, learning_rate=0.1)
    >>> params, apply = limits.finite_width_like(limit, 64, jax.random.key(0))
    >>> {name: p.shape for name, p in params.items()}
    {'u': (64, 3), 'v': (2, 64)}
    """
    description = _described(limit, "finite")
    whole = isinstance(width, int | np.integer) and not isinstance(width, bool)
    if not whole or width < 1:
        raise ValueError(f"width must be a positive integer, got {width!r}")
    return description.finite(int(width), key, **options)


def optimizer_like(limit: Limit) -> optax.GradientTransformation:
    """What trains the networks of :func:`finite_width_like` as the limit is trained.

    Parameters
    ----------
    limit
        Of this module.

    Returns
    -------
    optax.GradientTransformation
        To be applied to plain gradients of the loss by the params of ``finite_width_like``. Rates,
        which in muP depend on how weights are parametrized, are part of it.

    Raises
    ------
    TypeError
        If ``limit`` is not a limit of this module.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import limits
    >>> tx = limits.optimizer_like(limits.linear_mup(3, 2, learning_rate=0.5))
    >>> updates, _ = tx.update({"u": jnp.ones(1)}, tx.init({"u": jnp.ones(1)}), {"u": jnp.ones(1)})
    >>> float(updates["u"][0])
    -0.5
    """
    return _described(limit, "optimizer").optimizer()


def _described(limit: Any, method: str) -> Any:
    """The description of a limit, found as the owner of its bound methods."""
    description = getattr(getattr(limit, "init", None), "__self__", None)
    if not isinstance(limit, Limit) or not hasattr(description, method):
        raise TypeError(f"limit must be one of theorylab.limits, got {limit!r}")
    return description
