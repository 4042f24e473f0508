r"""A cost that is never held: it is made again from points, some of them at a time.

A block of eliminated points meets all points of the other side, so that its softmax is complete,
and memory is block x n for n points on the smaller side. Every product with a plan makes costs and
exponentials again.

Differs from the paper / reference:
  1. No paper. The softmax is the one of ``_dense``; products take the plan from both potentials,
     which needs no peak.
  2. Derivatives in reverse mode make the blocks once more (``jax.checkpoint``) and store none.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from theorylab._numerics import HIGHEST
from theorylab.transport._dense import joint, softmax, sums
from theorylab.transport._geometry import Reach

Between = Callable[[jax.Array, jax.Array], jax.Array]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Blocks:
    """Costs ``between(own, other) - least`` of ``own`` (m, d), eliminated, and ``other`` (n, d).

    ``least`` (m,) is subtracted; where not ``valid`` there are no costs.
    """

    own: jax.Array
    other: jax.Array
    least: jax.Array
    valid: jax.Array
    between: Between = field(metadata={"static": True})
    block: int = field(metadata={"static": True})

    @property
    def cheap(self) -> bool:
        """Products are passes here."""
        return False

    def total(self, y: jax.Array) -> jax.Array:
        """Sum over the eliminated side."""
        return jnp.sum(y)

    def reach(self, a: jax.Array, b: jax.Array) -> Reach:
        """Whether costs are numbers, and what each point reaches."""

        def step(carry: Any, block: Any) -> Any:
            cost, b, inside = block
            wrong = (jnp.isnan(cost) | jnp.isneginf(cost)) & inside[:, None]
            open_ = jnp.isfinite(cost)
            first = jnp.any(open_ & ((b > 0) & inside)[:, None], axis=0)
            carry = carry[0] | jnp.any(wrong), carry[1] | first
            return carry, jnp.any(open_ & (a > 0)[None], axis=1)

        start = self._zeros(()) > 0, self._zeros(a.size) > 0
        (wrong, first), second = self._walk(step, start, b, jnp.ones(b.size, bool))
        return Reach(~wrong, first, second)

    def where(self, valid: jax.Array) -> "Blocks":
        """The same, or without costs."""
        return self.changed(valid=valid)

    def lowered(self) -> tuple["Blocks", jax.Array]:
        """The least cost (m,) of each eliminated point, and what is left above it."""

        def step(carry: Any, block: Any) -> Any:
            cost = block[0]
            return carry, jnp.min(jnp.where(jnp.isfinite(cost), cost, jnp.inf), axis=1)

        least = jax.lax.stop_gradient(self._walk(step, None)[1])
        least = jnp.where(jnp.isfinite(least), least, 0)
        return self.changed(least=least), least

    def plan(self, f: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array) -> "BlocksPlan":
        """One pass: the plan of the potential f (n,)."""

        def step(rows: Any, block: Any) -> Any:
            cost, b = block
            weights, g = softmax(cost, f, a, epsilon)
            total = sums(weights)
            rows = rows + jnp.matmul(b / total, weights, precision=HIGHEST)
            return rows, g - epsilon * jnp.log(total)

        rows, g = self._walk(step, self._zeros(f.size), b)
        return BlocksPlan(self, f, g, a, b, epsilon, rows)

    def extend(self, g: jax.Array, b: jax.Array, epsilon: jax.Array) -> jax.Array:
        """The potential (n,) that g makes of the other side, its peak found on the way."""

        def step(carry: Any, block: Any) -> Any:
            peak, total = carry
            cost, g, b = block
            open_ = jnp.isfinite(cost) & (b > 0)[:, None]
            z = jnp.where(open_, (g[:, None] - jnp.where(open_, cost, 0)) / epsilon, -jnp.inf)
            new = jnp.maximum(peak, jax.lax.stop_gradient(jnp.max(z, axis=0)))
            safe = jnp.where(jnp.isfinite(new), new, 0)
            weights = b[:, None] * jnp.exp(z - safe[None])
            total = total * jnp.exp(jnp.where(jnp.isfinite(peak), peak - safe, -jnp.inf))
            return (new, total + jnp.sum(weights, axis=0)), None

        size = self.other.shape[0]
        start = self._zeros(size) - jnp.inf, self._zeros(size)
        (peak, total), _ = self._walk(step, start, g, b)
        peak, total = (jnp.where(total > 0, x, y) for x, y in ((peak, 0), (total, 1)))
        return -epsilon * (peak + jnp.log(total))

    def marginals(
        self, f: jax.Array, g: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Sums (n,), (m,) of the plan of two potentials."""

        def step(rows: Any, block: Any) -> Any:
            cost, g, b = block
            plan = joint(cost, f, g, a, b, epsilon)
            return rows + jnp.sum(plan, axis=0), jnp.sum(plan, axis=1)

        return self._walk(step, self._zeros(f.size), g, b)

    def apply(
        self,
        f: jax.Array,
        g: jax.Array,
        a: jax.Array,
        b: jax.Array,
        epsilon: jax.Array,
        v: jax.Array,
    ) -> jax.Array:
        """``P.T @ v`` (m, k) for v (n, k)."""

        def step(carry: Any, block: Any) -> Any:
            cost, g, b = block
            return carry, _times(joint(cost, f, g, a, b, epsilon), v)

        return self._walk(step, None, g, b)[1]

    def spent(
        self, f: jax.Array, g: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array
    ) -> jax.Array:
        """Cost of the plan of two potentials."""

        def step(spent: Any, block: Any) -> Any:
            cost, g, b = block
            plan = joint(cost, f, g, a, b, epsilon)
            return spent + jnp.sum(plan * jnp.where(jnp.isfinite(cost), cost, 0)), None

        return self._walk(step, self._zeros(()), g, b)[0]

    def largest(self) -> jax.Array:
        """The largest finite cost."""

        def step(largest: Any, block: Any) -> Any:
            cost = block[0]
            return jnp.maximum(largest, jnp.max(jnp.where(jnp.isfinite(cost), cost, 0))), None

        return self._walk(step, self._zeros(()))[0]

    def changed(self, **changed: Any) -> "Blocks":
        """The same with other fields."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return Blocks(**(fields | changed))

    def _zeros(self, shape: Any) -> jax.Array:
        """Where a sum starts; it varies over the devices of a mesh if costs do."""
        return jnp.zeros(shape, self.least.dtype) + 0 * self.least[0]

    def _walk(self, step: Any, carry: Any, *along: jax.Array) -> Any:
        """``step(carry, (costs, *along))`` for each block of eliminated points; results joined.

        The last block is filled up with its own last point, without mass in ``along``.
        """
        m = self.own.shape[0]
        size = min(self.block, m)
        more = -m % size

        def cut(x: jax.Array, mode: str) -> jax.Array:
            width = ((0, more), *((0, 0),) * (x.ndim - 1))
            return jnp.pad(x, width, mode=mode).reshape(-1, size, *x.shape[1:])

        def turn(carry: Any, block: Any) -> Any:
            own, least, *rest = block
            cost = jnp.where(self.valid, self.between(own, self.other), 0)
            return step(carry, (cost - least[:, None], *rest))

        blocks = (
            cut(self.own, "edge"),
            cut(self.least, "edge"),
            *(cut(x, "constant") for x in along),
        )
        carry, made = jax.lax.scan(jax.checkpoint(turn), carry, blocks)
        return carry, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:m], made)


class BlocksPlan(NamedTuple):
    """The plan of a potential, made again for each product."""

    costs: Blocks
    f: jax.Array
    g: jax.Array
    a: jax.Array
    b: jax.Array
    epsilon: jax.Array
    rows: jax.Array

    def forward(self, v: jax.Array) -> jax.Array:
        """``P.T @ v`` (m,)."""
        return self._walk(lambda rows, plan, _: (rows, _times(plan, v)))[1]

    def backward(self, y: jax.Array) -> jax.Array:
        """``P @ y`` (n,)."""
        return self._walk(lambda rows, plan, y: (rows + _times(y, plan), None), y)[0]

    def gram(self, v: jax.Array, y: jax.Array) -> jax.Array:
        """``P @ (y * (P.T @ v))`` (n,), the plan made once."""
        return self._walk(lambda r, plan, y: (r + _times(y * _times(plan, v), plan), None), y)[0]

    def squares(self, y: jax.Array) -> jax.Array:
        """``P**2 @ y`` (n,)."""
        return self._walk(lambda rows, plan, y: (rows + _times(y, jnp.square(plan)), None), y)[0]

    def _walk(self, use: Any, *along: jax.Array) -> Any:
        def step(carry: Any, block: Any) -> Any:
            cost, g, b, *rest = block
            plan = joint(cost, self.f, g, self.a, b, self.epsilon)
            return use(carry, plan, rest[0] if rest else None)

        return self.costs._walk(step, self.costs._zeros(self.f.size), self.g, self.b, *along)


def _times(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.matmul(x, y, precision=HIGHEST)
