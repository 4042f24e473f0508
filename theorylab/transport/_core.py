"""One oriented problem, from its masses to checked potentials; on one device or as a part of it.

Differs from the paper / reference:
  1. The least cost of each eliminated point is subtracted first.
  2. Points without mass get the potential that the other side makes of them.
  3. SPARE = 0.9 (0.5 in float32) of the tolerance is what algorithms aim at: the potentials
     themselves are rounded, and moved by a constant, before their error is taken.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from theorylab.transport._arguments import BALANCE
from theorylab.transport._implicit import potential, value
from theorylab.transport._outcome import Outcome, Task
from theorylab.transport._results import Status

SPARE = {8: 0.9, 4: 0.5}


class Found(NamedTuple):
    """Potentials f (n,) and g (m,), the latter eliminated; ``columns`` are the masses solved for.

    Everything is NaN where this is no problem of transport.
    """

    f: jax.Array
    g: jax.Array
    value: jax.Array
    error: jax.Array
    status: jax.Array
    rows: jax.Array
    columns: jax.Array
    epsilon: jax.Array


class Problem(NamedTuple):
    """Costs as ``given``, and above the ``least`` of each eliminated point; masses of one sum."""

    given: Any
    costs: Any
    least: jax.Array
    rows: jax.Array
    columns: jax.Array
    epsilon: jax.Array
    valid: jax.Array

    def equations(self) -> tuple[Any, jax.Array, jax.Array, jax.Array]:
        """What defines the potentials."""
        return self.costs, self.rows, self.columns, self.epsilon


def prepared(
    given: Any,
    rows: jax.Array,
    columns: jax.Array,
    epsilon: jax.Array,
    *,
    first_is_right: bool,
) -> Problem:
    """A problem with the geometry ``given``; one side's masses are brought to the sum of the other.

    ``first_is_right``: it is the sum of ``rows`` that counts. What is no problem of transport
    becomes one that is solved at once.
    """
    valid = _valid(given, rows, columns, epsilon)
    given = given.where(valid)
    size = given.total(jnp.ones_like(columns))
    rows = jnp.where(valid, rows, 1 / rows.size)
    columns = jnp.where(valid, columns, 1 / size)
    ratio = jnp.sum(rows) / given.total(columns)
    rows, columns = (rows, columns * ratio) if first_is_right else (rows / ratio, columns)
    costs, least = given.lowered()
    return Problem(given, costs, least, rows, columns, jnp.where(valid, epsilon, 1), valid)


def searched(
    problem: Problem,
    tol: jax.Array,
    begin: jax.Array | None,
    algorithm: Callable[[Task], Outcome],
) -> Outcome:
    """What an algorithm finds; it has no derivatives."""
    given = (problem.costs, problem.rows, problem.columns, problem.epsilon, tol, begin)
    costs, rows, columns, epsilon, tol, begin = jax.lax.stop_gradient(given)
    goal = SPARE[rows.dtype.itemsize] * tol
    start = jnp.zeros_like(rows) if begin is None else begin
    return algorithm(Task(costs, rows, columns, epsilon, goal, start, begin is not None))


def finished(
    problem: Problem, f: jax.Array, tol: jax.Array, outcome: Outcome, *, extends: bool
) -> Found:
    """Both potentials, checked, from that of one side."""
    given, costs, least, rows, columns, epsilon, valid = problem
    plan = costs.plan(f, rows, columns, epsilon)
    if extends:
        f = jnp.where(rows > 0, f, costs.extend(plan.g, columns, epsilon))
    worth = value(f, plan.g, problem.equations()) + given.total(columns * least)
    g = plan.g + least
    mass = jnp.sum(rows)
    shift = (given.total(columns * g) - jnp.sum(rows * f)) / (2 * mass)
    f, g = f + shift, g - shift

    point = jax.lax.stop_gradient((f, g, rows, columns, epsilon))
    sums = jax.lax.stop_gradient(given).marginals(*point)
    error = jnp.sum(jnp.abs(sums[0] - point[2])) + given.total(jnp.abs(sums[1] - point[3]))
    error = error / jnp.sum(point[2])
    status = jnp.where(valid, outcome.status, int(Status.INVALID))
    # The bound is met by the plan of the very potentials that are returned, or is not.
    late = (status == 0) & ~(error <= tol)
    status = jnp.where(late, int(Status.STALLED), status).astype(jnp.int32)
    nan = jnp.where(valid, 0, jnp.nan).astype(f.dtype)
    return Found(f + nan, g + nan, worth + nan, error + nan, status, rows, columns, epsilon)


def solved(
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
    """The whole, on one device."""
    problem = prepared(given, rows, columns, epsilon, first_is_right=first_is_right)
    outcome = searched(problem, tol, begin, algorithm)
    f = potential(jax.lax.stop_gradient(outcome.f), problem.equations())
    return finished(problem, f, tol, outcome, extends=extends), outcome


def _valid(costs: Any, a: jax.Array, b: jax.Array, epsilon: jax.Array) -> jax.Array:
    """Whether this is a problem of transport."""
    reach, slack = costs.reach(a, b), BALANCE[a.dtype.itemsize]
    sums = jnp.sum(a), costs.total(b)
    wrong = ~((b >= 0) & jnp.isfinite(b)) | ((b > 0) & ~reach.second)
    return (
        reach.numbers
        & jnp.all((a >= 0) & jnp.isfinite(a))
        & jnp.all((a == 0) | reach.first)
        & (costs.total(wrong.astype(a.dtype)) == 0)
        & (sums[0] > 0)
        & (jnp.abs(sums[0] - sums[1]) <= slack * jnp.maximum(*sums))
        & (epsilon > 0)
        & jnp.isfinite(epsilon)
    )
