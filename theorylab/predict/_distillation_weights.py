r"""Best weights of the true targets in self-distillation, generation by generation.

A generation is linear in its blend of targets: with u what ridge regression predicts for held-out
points from the true targets, and v what it predicts from the teacher's fit, the student predicts
:math:`\alpha u + (1 - \alpha) v`, so that

.. math::

    \alpha^* = \frac{\langle y_\text{val} - v, u - v \rangle}{\|u - v\|^2}.

Differs from the paper / reference:
  1. Borup & Andersen (2021) state an optimal weight in closed form; the formula above was derived
     anew from linearity, not read there.
  2. Clipped to [0, 1] unless asked otherwise. The loss is a parabola in the weight, so the clipped
     weight is the best one in the interval.
  3. Where u and v agree up to rounding, as for the first generation, whose teacher is y itself, the
     weight has no effect and is set to 1. SAME = 8: "up to rounding" means by less than ``8 eps``
     of u in norm, as NOISE in ``_spectral``.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from theorylab._numerics import floating
from theorylab.predict._arguments import count, shaped
from theorylab.predict._digits import fit_error, prediction_error, product_error, reach_of, spoiled
from theorylab.predict._results import cancellation, finite, first_trouble, not_negative
from theorylab.predict._self_distillation import (
    regression_doubt,
    ridge_regression,
    training,
)
from theorylab.predict._spectral import decompose, dot
from theorylab.predict._units import unit_of

SAME = 8


class DistillationWeights(NamedTuple):
    """Weights that are best on held-out points, and what they achieve there.

    Attributes
    ----------
    alpha
        (steps,), ready to be passed to :func:`self_distillation`.
    losses
        (steps,): mean squared error on the held-out points after each generation.
    status
        int32 scalar, a :class:`Status`.
    jitter
        Scalar, in the units of the kernel: size of the most negative eigenvalue, set to zero.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import predict
    >>> k, y = jnp.eye(1), jnp.ones(1)
    >>> predict.distillation_weights(k, y, k, y, ridge=1.0, steps=2).losses.tolist()
    [0.25, 0.25]
    """

    alpha: jax.Array
    losses: jax.Array
    status: jax.Array
    jitter: jax.Array


def distillation_weights(
    k_train: Any,
    y: ArrayLike,
    k_val_train: Any,
    y_val: ArrayLike,
    *,
    ridge: Any,
    steps: int,
    clip: bool = True,
) -> DistillationWeights:
    r"""Choose the weight of each generation of self-distillation by a validation set.

    .. math::

        \alpha_t = \frac{\langle y_\text{val} - v_t, u - v_t \rangle}{\|u - v_t\|^2}, \qquad
        u = K_\text{val} (K + \lambda)^{-1} y, \quad
        v_t = K_\text{val} (K + \lambda)^{-1} y_{t-1},

    which minimises :math:`\|y_\text{val} - (\alpha u + (1 - \alpha) v_t)\|^2`, one generation after
    the other, each taught by the one before it as chosen.

    Parameters
    ----------
    k_train, y, ridge, steps
        As for :func:`self_distillation`.
    k_val_train
        (m, n) kernel of held-out points with the training points, or a pair, whose ``ntk`` is used.
    y_val
        (m, ...), their targets, with the trailing shape of y. One weight serves all outputs.
    clip
        Whether to keep the weights in [0, 1]. Without, they may be negative (where even a weight of
        0 shrinks too little) or above 1 (where it shrinks too much).

    Returns
    -------
    DistillationWeights
        alpha (steps,), losses (steps,), status, jitter. ``alpha[0]`` is 1: the first generation has
        the true targets for its teacher.

    Raises
    ------
    TypeError
        If an array is of integers or complex numbers, or ``steps`` is not a plain number.
    ValueError
        If shapes do not fit, a batch is empty, ``ridge`` is negative, or ``steps`` is not a
        positive whole number.

    Notes
    -----
    Limits: the choice is greedy, best for each generation given those before it, not for the last
    one. float32 in, float32 out; weights magnify its rounding where u and v nearly agree, and
    ``Status.ILL_CONDITIONED`` says where less than a third of their digits are left. Status, null
    eigenvalues and derivatives as for :func:`self_distillation`. ``losses`` are in squared units of
    the targets and sink to 0 below the range of the dtype.

    References
    ----------
    Borup & Andersen (2021), "Even your teacher needs guidance", on optimal weights; derived here.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import predict
    >>> k, y = jnp.eye(1), jnp.ones(1)
    >>> w = predict.distillation_weights(k, y, k, 0.3 * y, ridge=1.0, steps=2)
    >>> [round(float(a), 3) for a in w.alpha]  # 1/4 + alpha / 4 = 0.3
    [1.0, 0.2]
    """
    kernel, cross, train, ridge = training(k_train, y, ridge, k_val_train, "k_val_train")
    steps = count("steps", steps, "one weight is chosen for each")
    held_out = floating("y_val", y_val)
    rows = f"one row for each of the {len(cross)} points of k_val_train, then the shape of y"
    shaped("y_val", held_out, (len(cross), *train.shape[1:]), rows)
    held_out = jnp.asarray(held_out, train.dtype)
    return _choose(kernel, cross, train, held_out, ridge, steps=steps, clip=bool(clip))


@partial(jax.jit, static_argnames=("steps", "clip"))
def _choose(
    kernel: jax.Array,
    cross: jax.Array,
    y: jax.Array,
    y_val: jax.Array,
    ridge: jax.Array,
    *,
    steps: int,
    clip: bool,
) -> DistillationWeights:
    ridge = not_negative(ridge)
    unit, size = unit_of(kernel, ridge), unit_of(y)
    spectrum, ridge, cross = decompose(kernel / unit), ridge / unit, cross / unit
    targets, held_out = y.reshape(len(y), -1) / size, y_val.reshape(len(y_val), -1) / size
    far = unit_of(held_out, jnp.ones_like(size))  # so that squares of losses do not overflow
    scale = jnp.max(jnp.abs(targets))
    sight = regression_doubt(spectrum, ridge)
    reach = reach_of(sight, cross)

    def regress(target: jax.Array, inherited: jax.Array) -> _Regression:
        coefficients, fit = ridge_regression(spectrum, target, ridge)
        return _Regression(
            target,
            fit,
            dot(cross, coefficients),
            inherited,
            prediction_error(sight, reach, target) + reach.solved * inherited,
            cancellation(cross, coefficients, scale),
        )

    first = regress(targets, jnp.zeros_like(scale))
    u, products = first.test, product_error(sight, reach, targets)

    def generation(teacher: _Regression, _: None) -> Any:
        # What ridge regression makes of the teacher, at training and held-out points.
        fit, v = teacher.fit, teacher.test
        gap, miss = u - v, held_out - v
        square = jnp.sum(gap * gap)
        eps = jnp.finfo(gap.dtype).eps
        same = square <= (SAME * eps) ** 2 * jnp.sum(u * u)
        square = jnp.where(same, 1, square)
        best = jnp.where(same, 1, jnp.sum(miss * gap) / square)
        alpha = jnp.clip(best, 0, 1) if clip else best
        loss = jnp.mean(((miss - alpha * gap) / far) ** 2)
        # The error of the gap is smaller than those of u and v, which move together.
        apart = prediction_error(sight, reach, targets - teacher.target) + products
        apart += reach.solved * teacher.inherited
        missed = (_root(miss) + 2 * jnp.abs(best) * _root(gap)) * apart
        error = (missed + _root(gap) * teacher.error) * gap.size / square
        if clip:  # a weight well outside its interval stays at the end
            error = (jnp.clip(best + error, 0, 1) - jnp.clip(best - error, 0, 1)) / 2
        inherited = teacher.inherited + fit_error(sight, teacher.target)
        student = regress(
            fit + alpha * (first.fit - fit), jax.lax.stop_gradient(jnp.abs(1 - alpha)) * inherited
        )
        trouble = first_trouble(
            student.trouble,
            spoiled(jnp.where(same, 0, error), jnp.maximum(1, jnp.abs(best))),
            spoiled(student.error, jnp.maximum(scale, far)),
        )
        return student, (alpha, loss, trouble)

    _, (alpha, losses, troubles) = jax.lax.scan(generation, first, None, length=steps)
    losses = losses * (size * far) * (size * far)
    codes = [first.trouble, spoiled(first.error, scale), troubles[jnp.argmax(troubles != 0)]]
    status = first_trouble(spectrum.status, *codes, finite(alpha, losses))
    return DistillationWeights(alpha, losses, status, unit * spectrum.jitter)


class _Regression(NamedTuple):
    """Ridge regression of a target at training and held-out points.

    ``inherited`` is the error of the target, ``error`` that at the held-out points.
    """

    target: jax.Array
    fit: jax.Array
    test: jax.Array
    inherited: jax.Array
    error: jax.Array
    trouble: jax.Array


def _root(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(jnp.square(jax.lax.stop_gradient(x))))
