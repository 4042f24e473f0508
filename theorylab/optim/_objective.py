r"""What Lion-K minimises, and what it has to do with the weight decay.

A point at rest has :math:`m = -\nabla f(x)`, :math:`u = m` and
:math:`\nabla K(-\nabla f(x)) = \lambda x`. By duality this is
:math:`-\nabla f(x) \in \partial K^*(\lambda x)`, the condition for a minimum of
:math:`F(x) = f(x) + K^*(\lambda x) / \lambda`.

Differs from the paper / reference:
  1. With :math:`\lambda = 0` the second term is left out: it is the constant :math:`K^*(0)` over 0.
"""

import numbers
from collections.abc import Callable
from typing import Any

import jax
from jax import Array
from jax.typing import ArrayLike

from theorylab.optim import _arguments as check
from theorylab.optim._kappa import Kappa, checked_kappa


def objective(
    f: Callable[[Any], Array], kappa: Kappa, weight_decay: ArrayLike
) -> Callable[[Any], Array]:
    r"""What Lion-K minimises.

    .. math::

        F(x) = f(x) + \tfrac{1}{\lambda} K^*(\lambda x) ,

    summed over the leaves of x; inf where x violates the constraint.

    Parameters
    ----------
    f
        x -> a scalar, for an array or a tree x.
    kappa
        The convex function, of :mod:`theorylab.optim.kappas`.
    weight_decay
        :math:`\lambda \ge 0`. With the number 0 there is no constraint, and F is f; an array must
        hold a positive number.

    Returns
    -------
    x -> F(x), a scalar.

    Raises
    ------
    TypeError, ValueError
        If f is not a function, kappa not a Kappa, or weight_decay negative.

    Notes
    -----
    A constraint counts as met within the rounding tolerance of the Kappa's conjugate. All leaves
    are taken to decay: with a mask, apply this to those that do.

    References
    ----------
    Chen, Liu, Liang and Liu (2024), "Lion secretly solves constrained optimization: as Lyapunov
    predicts", arXiv:2310.05898.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import optim
    >>> F = optim.objective(lambda x: jnp.sum((x - 1) ** 2), optim.kappas.huber(2.0), 0.5)
    >>> float(F(jnp.array([2.0]))), float(F(jnp.array([3.0])))  # 1 + 2 (0.5 * 2)^2 / 2 / 0.5
    (3.0, inf)
    """
    kappa = checked_kappa(kappa)
    decay = checked_decay(f, weight_decay)
    if decay is None:
        return f

    def minimised(x: Any) -> Array:
        check.floating_leaves("x", x)
        return f(x) + total(kappa.conjugate, times(decay, x)) / decay

    return minimised


def checked_decay(f: Any, weight_decay: Any) -> Any:
    """The decay, None where it is the number 0."""
    if not callable(f):
        raise TypeError(f"f must be a function of the parameters, got {f!r}")
    check.not_negative("weight_decay", weight_decay)
    known = isinstance(weight_decay, numbers.Real)
    return None if known and float(weight_decay) == 0 else weight_decay


def times(number: Any, tree: Any) -> Any:
    """A number times every leaf."""
    return jax.tree.map(lambda leaf: number * leaf, tree)


def total(function: Callable[[Any], Array], tree: Any) -> Any:
    """The sum of a function over the leaves."""
    return sum(function(leaf) for leaf in jax.tree.leaves(tree))
