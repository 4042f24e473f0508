r"""What a convex function K must say of itself for Lion-K and its theory.

For a convex :math:`K` with conjugate :math:`K^*(y) = \sup_m \langle m, y \rangle - K(m)`, Lion-K
moves along :math:`\nabla K`, a point of :math:`\operatorname{dom} K^*`, and minimises

.. math::

    f(x) + \tfrac{1}{\lambda} K^*(\lambda x) .

The *gauge* of the domain, :math:`\inf \{ t > 0 : y / t \in \operatorname{dom} K^* \}`, is convex
and at most 1 on it. A step :math:`x^+ = (1 - \eta\lambda) x + \eta \nabla K(u)` mixes
:math:`\lambda x` with a point of the domain, so that

.. math::

    d(\lambda x^+) \le (1 - \eta\lambda)\, d(\lambda x) , \qquad d = \max(0, \text{gauge} - 1) ,

whatever :math:`u` is. The same holds of every distance that is convex and 0 on the domain.

Differs from the paper / reference:
  1. SLACK: a subgradient may lie on the boundary of the domain, and rounding carry it across.
     Domains are taken larger by a factor of 1 + SLACK: two roundings for half precision; for wider
     types room for the roundings of a run, which sum to about :math:`\varepsilon / (\eta\lambda)`
     of x, with :math:`\eta\lambda` down to 1e-3 in float32 and 1e-6 in float64.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from theorylab._numerics import floating

SLACK = {"float64": 1e-9, "float32": 1e-4, "float16": 2e-3, "bfloat16": 1.6e-2}

Function = Callable[[ArrayLike], Array]


@dataclass(frozen=True, eq=False)
class Kappa:
    r"""A convex function K of one array, with what Lion-K and its theory need of it.

    Build those of the table with the functions of :mod:`theorylab.optim.kappas`, and others by
    giving the first four fields.

    Attributes
    ----------
    value
        m -> :math:`K(m)`, a scalar.
    grad
        m -> a subgradient :math:`\nabla K(m)`, of the shape and dtype of m: one fixed selection,
        and 0 at 0 where that is a subgradient.
    conjugate
        y -> :math:`K^*(y)`, a scalar; inf outside of its domain, which is taken larger by a factor
        of 1 + 1e-9 (1e-4 in float32, 2e-3 and 1.6e-2 in float16 and bfloat16), since a rounded
        subgradient may lie just outside.
    gauge
        y -> :math:`\inf \{ t > 0 : y/t \in \operatorname{dom} K^* \}`, positively homogeneous.
        None where the domain is everything, so that x is not constrained.
    conjugate_grad
        y -> a subgradient of :math:`K^*` at y, a fixed selection. None: ``jax.grad(conjugate)``.
    distance
        y -> how far y is outside of the domain, convex, and 0 inside: what a step of Lion-K
        multiplies by at most :math:`1 - \eta\lambda`. None: max(0, gauge - 1), 0 without gauge.
    odd
        Whether grad(-m) is -grad(m) to the bit, which saves two negations.
    name
        For messages and tables.

    Notes
    -----
    Functions take one array (one leaf of a tree) and no batch. Those of the table return float32
    for half precision, but ``grad`` the dtype it was given. They are equal only if they are the
    same object, and hashable. Not callable, so that ``optax.inject_hyperparams`` does not take one
    for a schedule.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.optim import kappas
    >>> half_square = kappas.Kappa(
    ...     value=lambda m: jnp.sum(m**2) / 2,
    ...     grad=lambda m: m,
    ...     conjugate=lambda y: jnp.sum(y**2) / 2,
    ... )
    >>> float(half_square.distance(jnp.array([3.0, 4.0])))  # no domain to be outside of
    0.0
    >>> half_square.conjugate_grad(jnp.array([3.0, 4.0])).tolist()
    [3.0, 4.0]
    """

    value: Function
    grad: Function
    conjugate: Function
    gauge: Function | None = None
    conjugate_grad: Any = None
    distance: Any = None
    odd: bool = False
    name: str = "custom"

    def __post_init__(self) -> None:
        """Check that functions are functions, and fill in the two that follow from the others."""
        for field in ("value", "grad", "conjugate", "gauge", "conjugate_grad", "distance"):
            given = getattr(self, field)
            if not callable(given) and (given is not None or field in ("value", "grad")):
                raise TypeError(f"{field} of a Kappa must be a function, got {given!r}")
        if not callable(self.conjugate):
            raise TypeError(f"conjugate of a Kappa must be a function, got {self.conjugate!r}")
        if self.conjugate_grad is None:
            object.__setattr__(self, "conjugate_grad", jax.grad(self.conjugate))
        if self.distance is None:
            object.__setattr__(self, "distance", _beyond(self.gauge))

    def __repr__(self) -> str:
        """For example ``Kappa(lp(3))``."""
        return f"Kappa({self.name})"


def checked_kappa(kappa: Any) -> Kappa:
    """A Kappa, and not the function that builds one."""
    if isinstance(kappa, Kappa):
        return kappa
    if callable(kappa):
        name = getattr(kappa, "__name__", type(kappa).__name__)
        raise TypeError(
            f"kappa must be a Kappa, got the function {name}; call it first, "
            "e.g. kappas.l1() and not kappas.l1"
        )
    raise TypeError(
        f"kappa must be a Kappa, e.g. kappas.l1(), got {kappa!r} ({type(kappa).__name__})"
    )


def _beyond(gauge: Function | None) -> Function:
    """How far a gauge is above 1."""

    def distance(y: ArrayLike) -> Array:
        if gauge is None:
            return jnp.zeros((), widened(y).dtype)
        return jnp.maximum(gauge(y) - 1, 0)

    return distance


def record(
    name: str,
    *,
    value: Callable[[Array], Array],
    grad: Callable[[Array], Array],
    conjugate: Callable[[Array, float], Array],
    gauge: Callable[[Array], Array] | None,
    conjugate_grad: Callable[[Array], Array] = jnp.zeros_like,
    distance: Callable[[Array], Array] | None = None,
    odd: bool = True,
    as_it_comes: bool = False,
) -> Kappa:
    """A member of the table, made of functions of a float32 or float64 array.

    ``conjugate`` takes the slack as well. ``as_it_comes``: half precision is not widened for
    ``grad``, so that it agrees with optax's Lion to the bit.
    """

    def at_the_door(function: Callable[[Array], Array]) -> Function:
        return lambda x: function(widened(x))

    def same_dtype(function: Callable[[Array], Array]) -> Function:
        def grad_of(x: ArrayLike) -> Array:
            wide = widened(x)
            if as_it_comes:
                return function(jnp.asarray(x))
            return function(wide).astype(jnp.result_type(x))

        return grad_of

    def conjugate_of(y: ArrayLike) -> Array:
        wide = widened(y)
        dtype = jax.dtypes.canonicalize_dtype(jnp.result_type(y))
        return conjugate(wide, SLACK[np.dtype(dtype).name])

    return Kappa(
        value=at_the_door(value),
        grad=same_dtype(grad),
        conjugate=conjugate_of,
        gauge=None if gauge is None else at_the_door(gauge),
        conjugate_grad=at_the_door(conjugate_grad),
        distance=None if distance is None else at_the_door(distance),
        odd=odd,
        name=name,
    )


def widened(x: ArrayLike) -> Array:
    """A real floating array, float32 where it was of half precision."""
    return jnp.asarray(floating("the array that a Kappa acts on", x))


def inside(gauge: Array, slack: float, value: Array | float = 0.0) -> Array:
    """``value`` where ``gauge`` says that the domain holds y, else inf; NaN stays NaN."""
    return jnp.where(gauge > 1 + slack, jnp.inf, value + 0 * gauge)


def largest(x: Array) -> Array:
    """The largest absolute value, 0 of no entries: the gauge of the box."""
    return jnp.max(jnp.abs(x), initial=0)


def scaled(x: Array, axis: int | tuple[int, ...] | None = None) -> tuple[Array, Array]:
    """``(scale, x / scale)`` with entries of at most 1: powers of them neither over- nor underflow.

    The scale is the largest absolute value along ``axis``, which is kept; both are 0 where that is.
    Large numbers are made smaller by 16 before the division: the compiler may multiply by one over
    the scale, which is flushed to 0 where it is subnormal.
    """
    scale = jnp.max(jnp.abs(x), axis=axis, keepdims=True, initial=0)
    less = jnp.where(scale > 1, jnp.asarray(1 / 16, x.dtype), 1)
    return scale, (x * less) / (jnp.where(scale > 0, scale, 1) * less)
