"""Gradient descent in continuous time under any loss, with or without momentum.

Differs from the paper / reference:
  1. Lee et al. (2019) and Neural Tangents: the same equations. The loss is the whole loss, mean
     included, so the units of time agree with ``gradient_flow`` for the loss |f - y|^2 / (2n).
  2. Infinite times are refused. A general loss may have no limit (cross-entropy on separable
     labels), and no test for having arrived sees the directions of small eigenvalues.
  3. A kernel with negative eigenvalues has them set to zero first, as in ``gradient_flow``.
  4. MAX_STEPS = 2^16 for each span between times asked for: minutes at some hundred points, so that
     a stiff problem ends with a status rather than never.
"""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from theorylab.predict._arguments import cast, count, fraction, scalar
from theorylab.predict._descent_arguments import (
    as_pytree,
    begin,
    finite_times,
    fitted,
    scalar_loss,
)
from theorylab.predict._integrate import TOLERANCE, DescentState, Problem, integrate
from theorylab.predict._results import Prediction, finite, first_trouble
from theorylab.predict._spectral import decompose, dot

MAX_STEPS = 2**16


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("problem", "status", "jitter"),
    meta_fields=("max_steps",),
)
@dataclasses.dataclass(frozen=True, eq=False)
class GradientDescent:
    """Predictor made by :func:`gradient_descent`; call it with a time.

    It is a pytree of arrays with the loss as its structure: it passes through ``jit``, ``vmap`` and
    ``grad``.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import predict
    >>> def loss(f, y):
    ...     return jnp.sum((f - y) ** 2) / 4  # n = 2 points
    >>> k, y = 2 * jnp.eye(2), jnp.array([1.0, -1.0])
    >>> descent = predict.gradient_descent(loss, k, y, learning_rate=1.0)
    >>> half, status = descent.state(1.0)
    >>> bool(jnp.allclose(descent(2.0, half).mean, descent(2.0).mean, atol=1e-5))
    True
    """

    problem: Problem
    status: jax.Array
    jitter: jax.Array
    max_steps: int

    def __call__(
        self,
        t: ArrayLike,
        f0_train: ArrayLike | DescentState | None = None,
        f0_test: ArrayLike | None = None,
        k_test_train: Any = None,
    ) -> Prediction:
        """Prediction after time ``t``; see :func:`gradient_descent`."""
        t = finite_times(t)
        problem, start = begin(self.problem, f0_train, f0_test, k_test_train)
        return _predict(self, problem, start, t)

    def state(
        self,
        t: ArrayLike,
        f0_train: ArrayLike | DescentState | None = None,
        f0_test: ArrayLike | None = None,
        k_test_train: Any = None,
    ) -> tuple[DescentState, jax.Array]:
        """State at one time ``t``, from which to go on, and its status."""
        t = finite_times(t)
        if t.ndim != 0:
            raise ValueError(f"t must be a scalar, got shape {tuple(t.shape)}")
        problem, start = begin(self.problem, f0_train, f0_test, k_test_train)
        return _state(self, problem, start, t)


def gradient_descent(
    loss: Any,
    k_train: Any,
    y: ArrayLike,
    *,
    learning_rate: Any,
    momentum: Any = None,
    tol: float | None = None,
    max_steps: int = MAX_STEPS,
) -> GradientDescent:
    r"""Train a (linearised) network under any loss, in continuous time, by solving the equation.

    .. math::

        \frac{d f}{dt} = -\eta\, \Theta\, \nabla_f L(f, y), \qquad
        \frac{d f(*)}{dt} = -\eta\, \Theta_*\, \nabla_f L(f, y),

    or, with momentum m, :math:`\frac{d^2 f}{dt^2} + (1 - m) \frac{d f}{dt}` on the left sides: the
    continuous form of the heavy-ball steps :math:`v \leftarrow m v - \eta \Theta \nabla L`,
    :math:`f \leftarrow f + v`, one step being one unit of t, from rest.

    Parameters
    ----------
    loss
        ``loss(f, y) -> scalar``, the whole loss: if it is a mean over points, take the mean inside.
        With :math:`L = \tfrac{1}{2n} \|f - y\|^2` the result is that of :func:`gradient_flow`. It
        must be differentiable JAX code; for ``jit`` not to compile anew, pass the same function.
    k_train
        (n, n) NTK of the training points, or a pair, whose ``ntk`` is used.
    y
        Targets with n rows, handed to the loss: floating, of the shape of f; or integers (labels),
        in which case ``f0_train`` gives the shape of f.
    learning_rate
        :math:`\eta > 0`.
    momentum
        None for the first-order flow; or m in [0, 1). Note that 0 is not None: it has inertia.
    tol
        Error allowed in each step, relative and in units of the largest start or target (1 where
        targets are labels and the start is zero: then choose units in which f is of order 1, since
        nothing says what size f will have). A plain number must be below 1.
        Default: 1e-10 in float64, 1e-6 in float32.
    max_steps
        Steps allowed between two times asked for, an ``int``; static under ``jit``.

    Returns
    -------
    GradientDescent
        ``descent(t, f0_train=None, f0_test=None, k_test_train=None)``, which returns
        :class:`Prediction` at the test points, or without ``k_test_train`` at the training points;
        ``cov`` is None, ``jitter`` as for :func:`gradient_flow`.

        - ``t``: finite scalar, or (T,) in any order, then a leading axis T of ``mean``.
        - ``f0_train`` (n, ...), ``f0_test`` (m, ...): outputs at the start. Default: zero, which
          for losses that are not quadratic is *not* the mean over random networks.
        - ``f0_train`` may be a :class:`DescentState`: training goes on from there, and ``t`` still
          counts from the first start.

        ``descent.state(t, ...)`` with the same arguments gives ``(DescentState, status)``: outputs
        at training and test points, and with momentum their velocities.

    Raises
    ------
    TypeError
        If an array is of the wrong kind of numbers, or ``loss`` cannot be called.
    ValueError
        If shapes do not fit, a batch is empty, the NTK of a pair is None, a plain number is out of
        range, t is negative or infinite, a start is incomplete, or the loss is not a real scalar.

    Notes
    -----
    Limits: one kernel for all outputs; smooth losses (one with kinks, as the hinge or the absolute
    error, takes many steps or ends in NaN). The solver is explicit: the number of steps grows like
    ``learning_rate * t`` times the largest eigenvalue of the kernel and the curvature of the loss.
    Where it needs more than ``max_steps``, where t comes before the state it starts from (or, under
    ``jit``, is infinite or negative), and where the gradient of the loss is not finite, the result
    is NaN with ``Status.NOT_INTEGRATED``; in a vector of times, from there on. NaN in gives NaN out
    with ``Status.NONFINITE``; kernels as for :func:`gradient_flow`. float32 in, float32 out, right
    to about 1e-5; float16 and bfloat16 are computed in float32. Derivatives in reverse mode, with
    respect to everything (``jvp`` is refused by the solver).

    References
    ----------
    Lee et al. (2019), "Wide neural networks of any depth evolve as linear models under gradient
    descent", section 2, the flow in function space. Momentum: heavy-ball steps of Polyak (1964) in
    continuous time, the equation that Neural Tangents integrates too.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from theorylab import predict
    >>> def cross_entropy(f, labels):
    ...     return -jnp.mean(jax.nn.log_softmax(f)[jnp.arange(len(labels)), labels])
    >>> k, labels = jnp.eye(2), jnp.array([0, 1])
    >>> descent = predict.gradient_descent(cross_entropy, k, labels, learning_rate=1.0)
    >>> p = descent(10.0, jnp.zeros((2, 2)))
    >>> jnp.argmax(p.mean, axis=1).tolist(), int(p.status)
    ([0, 1], 0)
    """
    loss = as_pytree(loss)
    kernel, y = fitted(k_train, y)
    rate = cast(scalar("learning_rate", learning_rate, positive=True), kernel.dtype)
    inertia = None if momentum is None else fraction("momentum", momentum)
    allowed = TOLERANCE[kernel.dtype.itemsize] if tol is None else scalar("tol", tol, positive=True)
    if isinstance(allowed, float) and allowed >= 1:
        raise ValueError(
            f"tol must be below 1, the size of the outputs themselves, got {tol!r}: it is the "
            "relative error of each step"
        )
    steps = count("max_steps", max_steps, "each span between two times takes at most so many")
    if jnp.issubdtype(y.dtype, jnp.floating):
        scalar_loss(loss, y, y)
    kernel, status, jitter = _repaired(kernel)
    assert rate is not None
    problem = Problem(
        loss,
        kernel,
        None,
        y,
        rate,
        cast(inertia, kernel.dtype),
        jnp.asarray(allowed, kernel.dtype),
    )
    return GradientDescent(problem, status, jitter, steps)


@jax.jit
def _repaired(kernel: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The symmetric part with its negative eigenvalues set to zero, a constant to derivatives."""
    spectrum = decompose(kernel)
    cut = dot(spectrum.vectors * spectrum.values[None, :], spectrum.vectors.T) - spectrum.kernel
    cut = jnp.where(spectrum.jitter > spectrum.floor, jax.lax.stop_gradient(cut), 0)
    return spectrum.kernel + cut, spectrum.status, spectrum.jitter


@jax.jit
def _predict(
    descent: GradientDescent, problem: Problem, start: DescentState, t: jax.Array
) -> Prediction:
    times = t.reshape(-1).astype(start.t.dtype)
    states, codes = integrate(problem, start, times, max_steps=descent.max_steps)
    mean = states.f_train if states.f_test is None else states.f_test
    mean = mean.reshape(*t.shape, *mean.shape[1:])
    status = first_trouble(codes[jnp.argmax(codes != 0)], descent.status, finite(mean))
    return Prediction(mean, None, status, descent.jitter)


@jax.jit
def _state(
    descent: GradientDescent, problem: Problem, start: DescentState, t: jax.Array
) -> tuple[DescentState, jax.Array]:
    times = t[None].astype(start.t.dtype)
    states, codes = integrate(problem, start, times, max_steps=descent.max_steps)
    state = jax.tree.map(lambda x: x[0], states)
    return state, first_trouble(codes[0], descent.status, finite(*jax.tree.leaves(state)))
