r"""Training under any loss as a differential equation in function space, solved by diffrax.

.. math::

    \dot f = -\eta\, \Theta \nabla L(f), \qquad \text{or with momentum} \quad
    \ddot f + (1 - m)\, \dot f = -\eta\, \Theta \nabla L(f),

at training points; at test points the same with :math:`\Theta_*` in front of the gradient at the
training points.

Differs from the paper / reference:
  1. Every span between two times asked for is integrated in :math:`s = t / \text{span}` from 0 to
     1, so that results lie at ends of steps (no interpolation) and have derivatives in t. The
     velocity is carried as df/ds, in the units of f.
  2. Neural Tangents carries df/d(sqrt(eta) t); the equation is the same.
  3. Dormand & Prince's pair of order 8 with adaptive steps. It is explicit: the number of steps
     grows like the span times the largest eigenvalue of the linearised flow.
  4. TOLERANCE: of each step's error, relative and in units of the largest start or target: 1e-10
     (float64), which leaves two digits to the 1e-8 promised; 1e-6 (float32), ten times its
     rounding. Steps shorter than eps of a span cannot be told from none and end the integration.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from theorylab.predict._results import Status, code, first_trouble
from theorylab.predict._spectral import dot

TOLERANCE = {8: 1e-10, 4: 1e-6}  # by itemsize


class DescentState(NamedTuple):
    """Where training stands: pass it back to the predictor, in place of a start, to go on.

    Attributes
    ----------
    f_train
        (n, ...): outputs at the training points.
    f_test
        (m, ...): outputs at the test points, or None.
    velocity_train, velocity_test
        Their derivatives with respect to t; None without momentum.
    t
        Scalar, the time reached.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.predict import DescentState
    >>> DescentState(jnp.zeros(2), None, None, None, jnp.zeros(())).f_train.shape
    (2,)
    """

    f_train: jax.Array
    f_test: jax.Array | None
    velocity_train: jax.Array | None
    velocity_test: jax.Array | None
    t: jax.Array


class Problem(NamedTuple):
    """What the equation holds, apart from its state: arrays, and the loss as a ``Partial``."""

    loss: Any  # (f, y) -> scalar
    kernel: jax.Array  # (n, n)
    cross: jax.Array | None  # (m, n)
    y: jax.Array
    rate: jax.Array
    momentum: jax.Array | None
    tol: jax.Array


def integrate(
    problem: Problem, start: DescentState, times: jax.Array, *, max_steps: int
) -> tuple[DescentState, jax.Array]:
    """States at ``times`` (T,), in any order, along a leading axis; and a code for each, (T,).

    States that were not reached are NaN.
    """
    sensible = jnp.isfinite(times) & (times >= start.t)
    times = jnp.where(sensible, times, start.t)
    order = jnp.argsort(times)
    ordered = times[order]
    spans = jnp.diff(ordered, prepend=start.t[None])
    numbers = jax.tree.leaves((problem._replace(loss=None), start))
    good = jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in numbers]))
    good &= problem.rate > 0
    if problem.momentum is not None:
        good &= (problem.momentum >= 0) & (problem.momentum < 1)
    # NaN would not stop the search for a step; where there is any, nothing moves until the end.
    first = jax.tree.map(lambda x: jnp.where(good, x, 0), start)

    def onward(state: tuple[DescentState, jax.Array], span: jax.Array) -> Any:
        current, reached = state
        # After a failure nothing moves any more: a span of zero ends at once.
        moved, success = _solve(problem, current, jnp.where(reached, span, 0), good, max_steps)
        reached = reached & success
        current = jax.tree.map(lambda new, old: jnp.where(reached, new, old), moved, current)
        return (current, reached), (current, reached)

    _, (states, reached) = jax.lax.scan(onward, (first, good), spans)
    states = states._replace(t=ordered)
    back = jnp.argsort(order)
    reached = reached[back] & sensible

    def told(x: jax.Array) -> jax.Array:
        return jnp.where(reached.reshape(-1, *[1] * (x.ndim - 1)), x[back], jnp.nan)

    codes = first_trouble(code(~good, Status.NONFINITE), code(~reached, Status.NOT_INTEGRATED))
    return jax.tree.map(told, states), codes


def _solve(
    problem: Problem, state: DescentState, span: jax.Array, good: jax.Array, max_steps: int
) -> tuple[DescentState, jax.Array]:
    # Only here, so that importing the library costs no more than it must.
    import diffrax

    dtype = state.f_train.dtype
    sizes = [state.f_train]
    if jnp.issubdtype(problem.y.dtype, jnp.floating):
        sizes.append(problem.y)
    scale = jnp.max(jnp.stack([jnp.max(jnp.abs(x)) for x in sizes]))
    scale = jax.lax.stop_gradient(jnp.where(scale > 0, scale, 1))
    controller = diffrax.PIDController(
        rtol=problem.tol,
        atol=problem.tol * scale,
        dtmin=float(jnp.finfo(dtype).eps),
        force_dtmin=False,
    )

    def scaled(velocity: Any, factor: jax.Array) -> Any:
        return jax.tree.map(lambda v: v * factor, velocity)

    inverse = jnp.where(span == 0, 0, 1 / jnp.where(span == 0, 1, span))
    velocities = (state.velocity_train, state.velocity_test)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(_motion),
        diffrax.Dopri8(),
        t0=jnp.zeros((), dtype),
        t1=jnp.ones((), dtype),
        dt0=None,
        y0=(state.f_train, state.f_test, *scaled(velocities, span)),
        args=(problem, span, good),
        stepsize_controller=controller,
        max_steps=max_steps,
        throw=False,
    )
    assert solution.ys is not None
    f_train, f_test, *ends = jax.tree.map(lambda x: x[-1], solution.ys)
    # A span of zero has no df/ds to go back from.
    v_train, v_test = jax.tree.map(
        lambda end, v: jnp.where(span == 0, v, end * inverse), tuple(ends), velocities
    )
    success = solution.result == diffrax.RESULTS.successful
    return DescentState(f_train, f_test, v_train, v_test, state.t + span), success


def _motion(_: Any, state: Any, args: tuple[Problem, jax.Array, jax.Array]) -> Any:
    problem, span, good = args
    f_train, f_test, w_train, w_test = state
    gradient = jax.grad(problem.loss)(f_train, problem.y).astype(f_train.dtype)
    pull = -problem.rate * span * gradient.reshape(len(gradient), -1)
    push = dot(problem.kernel, pull).reshape(f_train.shape)
    push = jnp.where(good, push, 0)
    push_test = None
    if problem.cross is not None:
        push_test = dot(problem.cross, pull).reshape(f_test.shape)
        push_test = jnp.where(good, push_test, 0)
    if problem.momentum is None:
        return push, push_test, None, None
    friction = jnp.where(good, 1 - problem.momentum, 0) * span
    a_train = span * push - friction * w_train
    a_test = None if push_test is None else span * push_test - friction * w_test
    return w_train, w_test, a_train, a_test
