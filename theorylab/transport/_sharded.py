"""A problem whose eliminated points are spread over the devices of a mesh.

Each device holds the costs of its own points, and their masses and potentials; the potential of the
other side is the same everywhere. So a pass is one sum over devices of n numbers, and so is a
product with the Hessian; algorithms do not know.

Differs from the paper / reference:
  1. No paper.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from theorylab.transport._core import Found, Problem, finished, prepared, searched
from theorylab.transport._dense import Dense
from theorylab.transport._geometry import Reach
from theorylab.transport._implicit import potential
from theorylab.transport._outcome import Outcome, Task


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Sharded:
    """The ``local`` costs of a device, along a mesh ``axis``."""

    local: Any
    axis: str = field(metadata={"static": True})

    @property
    def cheap(self) -> bool:
        """Whether products with a plan cost less than a pass."""
        return self.local.cheap

    def total(self, y: jax.Array) -> jax.Array:
        """Sum over the eliminated side."""
        return jax.lax.psum(jnp.sum(y), self.axis)

    def reach(self, a: jax.Array, b: jax.Array) -> Reach:
        """Whether costs are numbers, and what each point reaches."""
        numbers, first, second = self.local.reach(a, b)
        return Reach(~self._any(~numbers), self._any(first), second)

    def where(self, valid: jax.Array) -> "Sharded":
        """The same, or without costs."""
        return Sharded(self.local.where(valid), self.axis)

    def lowered(self) -> tuple["Sharded", jax.Array]:
        """Costs above the least one of each eliminated point, and these least ones."""
        local, least = self.local.lowered()
        return Sharded(local, self.axis), least

    def plan(self, f: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array) -> "ShardedPlan":
        """One pass: the plan of the potential f (n,)."""
        local = self.local.plan(f, a, b, epsilon)
        return ShardedPlan(local, local.g, jax.lax.psum(local.rows, self.axis), Axis(self.axis))

    def extend(self, g: jax.Array, b: jax.Array, epsilon: jax.Array) -> jax.Array:
        """The potential (n,) that g makes of the other side."""
        own = -self.local.extend(g, b, epsilon) / epsilon
        # Devices from which nothing with mass is in reach have no say.
        own = jnp.where(self.local.reach(jnp.ones_like(own), b).first, own, -jnp.inf)
        peak = jax.lax.pmax(jax.lax.stop_gradient(own), self.axis)
        peak = jnp.where(jnp.isfinite(peak), peak, 0)
        total = jax.lax.psum(jnp.exp(own - peak), self.axis)
        return -epsilon * (peak + jnp.log(jnp.where(total > 0, total, 1)))

    def marginals(
        self, f: jax.Array, g: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Sums (n,), (m,) of the plan of two potentials."""
        rows, columns = self.local.marginals(f, g, a, b, epsilon)
        return jax.lax.psum(rows, self.axis), columns

    def largest(self) -> jax.Array:
        """The largest finite cost."""
        return jax.lax.pmax(self.local.largest(), self.axis)

    def _any(self, x: jax.Array) -> jax.Array:
        return jax.lax.psum(x.astype(jnp.int32), self.axis) > 0


@jax.tree_util.register_static
@dataclass(frozen=True)
class Axis:
    """The name of a mesh axis."""

    name: str


class ShardedPlan(NamedTuple):
    """The plan of a potential: ``local`` columns, and sums of rows over all devices."""

    local: Any
    g: jax.Array
    rows: jax.Array
    axis: Axis

    def forward(self, v: jax.Array) -> jax.Array:
        """``P.T @ v`` (m,)."""
        return self.local.forward(v)

    def backward(self, y: jax.Array) -> jax.Array:
        """``P @ y`` (n,)."""
        return jax.lax.psum(self.local.backward(y), self.axis.name)

    def gram(self, v: jax.Array, y: jax.Array) -> jax.Array:
        """``P @ (y * (P.T @ v))`` (n,)."""
        return jax.lax.psum(self.local.gram(v, y), self.axis.name)

    def squares(self, y: jax.Array) -> jax.Array:
        """``P**2 @ y`` (n,)."""
        return jax.lax.psum(self.local.squares(y), self.axis.name)


def solved_on_mesh(
    mesh: Mesh,
    given: Any,
    rows: jax.Array,
    columns: jax.Array,
    epsilon: jax.Array,
    tol: jax.Array,
    begin: jax.Array | None,
    *,
    algorithm: Callable[[Task], Outcome],
    first_is_right: bool,
    extends: bool,
) -> tuple[Found, Outcome]:
    """The whole, with the eliminated points spread over a mesh with one axis."""
    axis, devices = mesh.axis_names[0], mesh.devices.size
    along, everywhere = PartitionSpec(axis), PartitionSpec()
    m = columns.size
    more = -m % devices  # points without mass, so that every device has as many

    def fill(x: jax.Array, mode: str = "constant") -> jax.Array:
        return jnp.pad(x, ((0, more), *((0, 0),) * (x.ndim - 1)), mode=mode)

    if isinstance(given, Dense):
        filled, part = Dense(fill(given.cost)), Dense(along)  # type: ignore[arg-type]
    else:
        filled = given.changed(own=fill(given.own, "edge"), least=fill(given.least))
        part = given.changed(own=along, other=everywhere, least=along, valid=everywhere)

    def problem(costs: Any, *masses: jax.Array) -> Problem:
        return prepared(Sharded(costs, axis), *masses, first_is_right=first_is_right)

    def find(costs: Any, rows: Any, columns: Any, epsilon: Any, tol: Any, begin: Any) -> Outcome:
        return searched(problem(costs, rows, columns, epsilon), tol, begin, algorithm)

    def finish(costs: Any, rows: Any, columns: Any, epsilon: Any, *rest: Any) -> Found:
        return finished(problem(costs, rows, columns, epsilon), *rest, extends=extends)

    def spread(run: Any, out: Any, *rest: Any) -> Any:
        specs = (part, everywhere, along, *(everywhere for _ in rest))
        run = jax.shard_map(run, mesh=mesh, in_specs=specs, out_specs=out)
        return run(filled, rows, fill(columns), *rest)

    outcome = spread(find, everywhere, epsilon, tol, begin)
    # Derivatives of the potential do not go through devices one by one: a linear solution inside
    # of shard_map does not transpose (jax 0.10.1).
    whole = prepared(given, rows, columns, epsilon, first_is_right=first_is_right)
    f = potential(jax.lax.stop_gradient(outcome.f), whole.equations())
    parts: Any = dict.fromkeys(Found._fields, everywhere) | {"g": along, "columns": along}
    found = spread(finish, Found(**parts), epsilon, f, tol, outcome)
    return found._replace(g=found.g[:m], columns=found.columns[:m]), outcome
