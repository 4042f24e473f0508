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
from theorylab.predict._results import cancellation, finite, first_trouble, not_negative
from theorylab.predict._self_distillation import ridge_regression, training
from theorylab.predict._spectral import decompose, dot

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
    one. float32 in, float32 out; unclipped weights magnify its rounding where u and v nearly agree.
    Status, null eigenvalues and derivatives as for :func:`self_distillation`.

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
    spectrum, ridge = decompose(kernel), not_negative(ridge)
    targets, held_out = y.reshape(len(y), -1), y_val.reshape(len(y_val), -1)

    def regress(target: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        coefficients, fit = ridge_regression(spectrum, target, ridge)
        trouble = cancellation(cross, coefficients, jnp.max(jnp.abs(targets)))
        return fit, dot(cross, coefficients), trouble

    first, u, trouble = regress(targets)

    def generation(state: tuple[jax.Array, jax.Array], _: None) -> Any:
        # fit and v: what ridge regression makes of the teacher, at training and held-out points.
        fit, v = state
        gap = u - v
        square = jnp.sum(gap * gap)
        eps = jnp.finfo(gap.dtype).eps
        same = square <= (SAME * eps) ** 2 * jnp.sum(u * u)
        alpha = jnp.where(same, 1, jnp.sum((held_out - v) * gap) / jnp.where(same, 1, square))
        if clip:
            alpha = jnp.clip(alpha, 0, 1)
        loss = jnp.mean((held_out - v - alpha * gap) ** 2)
        fit, v, trouble = regress(fit + alpha * (first - fit))
        return (fit, v), (alpha, loss, trouble)

    _, (alpha, losses, troubles) = jax.lax.scan(generation, (first, u), None, length=steps)
    trouble = first_trouble(trouble, troubles[jnp.argmax(troubles != 0)])
    status = first_trouble(spectrum.status, trouble, finite(alpha, losses))
    return DistillationWeights(alpha, losses, status, spectrum.jitter)
