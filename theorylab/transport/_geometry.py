r"""What a solver asks of costs, however they are held: a matrix, points, a grid.

One side is *eliminated*: its potential g (m,) is a function of the other one, f (n,). A geometry
makes plans of f, and gives products with them; no solver sees a cost.

Differs from the paper / reference:
  1. No paper.
"""

from typing import Any, NamedTuple, Protocol

import jax


class Reach(NamedTuple):
    """Whether all costs are numbers, and whether each point (n,), (m,) reaches one with mass."""

    numbers: jax.Array
    first: jax.Array
    second: jax.Array


class Plan(Protocol):
    """The plan of a potential f: its sums over f's side are b exactly.

    ``g`` (m,) is the eliminated potential, ``rows`` (n,) the sums over the eliminated side. v has n
    entries, y has m.
    """

    g: jax.Array
    rows: jax.Array

    def forward(self, v: jax.Array) -> jax.Array:
        """``P.T @ v`` (m,)."""
        ...

    def backward(self, y: jax.Array) -> jax.Array:
        """``P @ y`` (n,)."""
        ...

    def gram(self, v: jax.Array, y: jax.Array) -> jax.Array:
        """``P @ (y * (P.T @ v))`` (n,)."""
        ...

    def squares(self, y: jax.Array) -> jax.Array:
        """``P**2 @ y`` (n,)."""
        ...


class Geometry(Protocol):
    """Costs, with the eliminated side first; f, a (n,) and g, b (m,).

    ``cheap``: whether products with a plan cost less than a pass, because the plan is at hand.
    """

    @property
    def cheap(self) -> bool:
        """Whether products with a plan cost less than a pass."""
        ...

    def total(self, y: jax.Array) -> jax.Array:
        """Sum of y (m,) over the eliminated side, wherever it is held."""
        ...

    def reach(self, a: jax.Array, b: jax.Array) -> Reach:
        """Whether this can be a problem of transport."""
        ...

    def where(self, valid: jax.Array) -> Any:
        """The same costs, or none."""
        ...

    def lowered(self) -> tuple[Any, jax.Array]:
        """Costs above the least one of each eliminated point, and these least ones (m,)."""
        ...

    def plan(self, f: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array) -> Any:
        """The plan of f, in one pass."""
        ...

    def extend(self, g: jax.Array, b: jax.Array, epsilon: jax.Array) -> jax.Array:
        """The potential (n,) that g makes of the other side."""
        ...

    def marginals(
        self, f: jax.Array, g: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Sums (n,), (m,) of the plan of two potentials, which need not meet a marginal."""
        ...

    def apply(
        self,
        f: jax.Array,
        g: jax.Array,
        a: jax.Array,
        b: jax.Array,
        epsilon: jax.Array,
        v: jax.Array,
    ) -> jax.Array:
        """``P.T @ v`` (m, k) for v (n, k), without forming the plan of two potentials."""
        ...

    def spent(
        self, f: jax.Array, g: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array
    ) -> jax.Array:
        """Cost of the plan of two potentials."""
        ...

    def largest(self) -> jax.Array:
        """The largest finite cost."""
        ...
