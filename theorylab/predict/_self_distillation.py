r"""Self-distillation of kernel ridge regression: every generation from one eigendecomposition.

With :math:`S = (K + \lambda)^{-1}`, generation :math:`t` is ridge regression on a blend of the
targets and of what its teacher, generation :math:`t - 1`, predicts for the training points:

.. math::

    y_t = K S \left( \alpha_t y + (1 - \alpha_t) y_{t-1} \right), \qquad y_0 = y.

In an eigendirection with :math:`a = d / (d + \lambda)` a constant weight gives the fixed point
:math:`\alpha a / (1 - (1 - \alpha) a) = \alpha d / (\alpha d + \lambda)`: ridge regression with
:math:`\lambda / \alpha`.

Differs from the paper / reference:
  1. Borup & Andersen (2021) write powers of :math:`a`; here the recursion itself is run, each
     generation being two products with the eigenvectors (``_spectral.learn`` at infinite time),
     which loses nothing and takes a weight of its own for every generation.
  2. The limit is formed as :math:`\alpha K (\alpha K + \lambda)^{-1} y`, which is finite at
     :math:`\alpha = 0`, with its derivative. At :math:`\lambda = 0` it does not depend on
     :math:`\alpha`: every generation is the projection of y onto the range of K, also for
     :math:`\alpha = 0`, where the paper's limit (for :math:`\lambda > 0`) is zero.
  3. Weights outside [0, 1] are admitted as arrays, since best weights may lie there. The limit
     then exists while :math:`|1 - \alpha| a < 1` for every eigenvalue; otherwise the status says
     so.
"""

import numbers
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from theorylab._numerics import floating
from theorylab.predict._arguments import (
    cast,
    common_dtype,
    count,
    ntk_of,
    scalar,
    shaped,
    targets,
)
from theorylab.predict._digits import Doubt, doubt, fit_error, prediction_error, reach_of, spoiled
from theorylab.predict._results import (
    Status,
    cancellation,
    code,
    finite,
    first_trouble,
    not_negative,
)
from theorylab.predict._spectral import Spectrum, decompose, dot, learn
from theorylab.predict._units import unit_of


class Distillation(NamedTuple):
    """Generations of self-distillation.

    Attributes
    ----------
    fits
        (steps, n, ...): predictions at the training points; the first is plain ridge regression.
    limit
        (n, ...): the limit of infinitely many generations, the last weight being kept.
    test_fits
        (steps, m, ...): predictions at the test points; None without ``k_test_train``.
    test_limit
        (m, ...), likewise.
    status
        int32 scalar, a :class:`Status`. ``DIVERGES`` concerns the limit alone.
    jitter
        Scalar, in the units of the kernel: size of the most negative eigenvalue, set to zero.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import predict
    >>> k, y = jnp.eye(1), jnp.ones(1)
    >>> predict.self_distillation(k, y, ridge=1.0, alpha=0.5, steps=2)._fields[:2]
    ('fits', 'limit')
    """

    fits: jax.Array
    limit: jax.Array
    test_fits: jax.Array | None
    test_limit: jax.Array | None
    status: jax.Array
    jitter: jax.Array


def self_distillation(
    k_train: Any,
    y: ArrayLike,
    *,
    ridge: Any,
    alpha: Any,
    steps: int,
    k_test_train: Any = None,
) -> Distillation:
    r"""Distil kernel ridge regression into itself, keeping part of the true targets.

    .. math::

        f_t(*) = K_* (K + \lambda)^{-1} \left( \alpha y + (1 - \alpha) y_{t-1} \right), \qquad
        y_t = f_t(\text{train}), \quad y_0 = y,

    which shrinks each eigendirection further than its teacher did. As t grows it becomes ridge
    regression with :math:`\lambda / \alpha`; for :math:`\alpha = 0`, zero.

    Parameters
    ----------
    k_train
        (n, n) kernel of the training points, or a pair, of which ``ntk`` is used.
    y
        Targets, (n,) or (n, ...). Outputs share the kernel.
    ridge
        :math:`\lambda \ge 0`, in the units of the kernel. With 0 all generations are alike.
    alpha
        Weight of the true targets: a scalar, or (steps,), one for each generation (the first has no
        effect, since its teacher's predictions are y). A plain number must lie in [0, 1]; arrays,
        such as :func:`distillation_weights` gives, may leave it.
    steps
        Number of generations, a positive ``int``; it is static under ``jit``.
    k_test_train
        (m, n), to predict at test points as well.

    Returns
    -------
    Distillation
        fits (steps, n, ...), limit (n, ...), test_fits (steps, m, ...), test_limit (m, ...),
        status, jitter. ``fits[0]`` is ridge regression itself, generation 1. Where ``alpha`` holds
        one weight for each generation, the limit keeps the last one.

    Raises
    ------
    TypeError
        If an array is of integers or complex numbers, or ``steps`` is not a plain number.
    ValueError
        If shapes do not fit, a batch is empty, ``ridge`` is negative, ``alpha`` is a plain number
        outside [0, 1], or ``steps`` is not a positive whole number.

    Notes
    -----
    Limits: eigenvalues that, with the ridge, are below ``8 eps`` of the largest count as null, and
    nothing is predicted there (the pseudo-inverse). ``Status.DIVERGES``, with a limit of NaN, for
    weights outside [0, 1] under which the generations grow; ``Status.ILL_CONDITIONED`` for
    predictions at test points that are differences of huge terms, and where rounding leaves less
    than a third of the digits of any generation or of the limit; ``ASYMMETRIC``, ``INDEFINITE`` and
    ``NONFINITE`` as for :func:`gradient_flow` (the last also, with NaN, for a ridge that turns out
    negative under ``jit``). Errors of a teacher are passed on in full, so that many generations
    with alpha = 0 are reported earlier than they need be. float32 in, float32 out; float16 and
    bfloat16 are computed in float32. First derivatives with respect to everything, second ones not
    in ``k_train``. Cost: one eigendecomposition, then four (n, n) products with the targets for
    each generation.

    References
    ----------
    Borup & Andersen (2021), "Even your teacher needs guidance: ground-truth targets dampen
    regularization imposed by self-distillation", kernel ridge regression, its recursion and limit.
    With alpha = 0: Mobahi, Farajtabar & Bartlett (2020).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import predict
    >>> d = predict.self_distillation(jnp.eye(1), jnp.ones(1), ridge=1.0, alpha=0.5, steps=3)
    >>> d.fits[:, 0].tolist()  # 1/2, then (1/2 + y/2) / 2
    [0.5, 0.375, 0.34375]
    >>> round(float(d.limit[0]), 6)  # 1 / (1 + 1.0 / 0.5)
    0.333333
    """
    arrays = training(k_train, y, ridge, k_test_train)
    steps = count("steps", steps, "infinitely many are in the field `limit`")
    blend = cast(_weights(alpha, steps), arrays[2].dtype)
    assert blend is not None
    return _distil(*arrays, blend, steps=steps)


def training(
    k_train: Any, y: ArrayLike, ridge: Any, other: Any, name: str = "k_test_train"
) -> tuple[Any, ...]:
    """Check what all regressions here take; arrays (kernel, other or None, y, ridge)."""
    kernel = ntk_of("k_train", k_train)
    n = kernel.shape[0]
    shaped("k_train", kernel, (n, n), "square, one row for each training point")
    y = targets(y, n)
    ridge = scalar("ridge", ridge, positive=False)
    cross = None
    if other is not None:
        cross = ntk_of(name, other)
        shaped(name, cross, (cross.shape[0], n), f"points by the {n} training points")
    dtype = common_dtype(kernel, cross, y)
    return tuple(cast(x, dtype) for x in (kernel, cross, y, ridge))


def _weights(alpha: Any, steps: int) -> ArrayLike:
    if isinstance(alpha, numbers.Real | np.bool_):
        if not 0 <= float(alpha) <= 1:
            raise ValueError(f"alpha must lie in [0, 1], got {alpha!r}")
        return float(alpha)
    checked = floating("alpha", alpha)
    if tuple(checked.shape) not in ((), (steps,)):
        raise ValueError(
            f"alpha must be a scalar or have shape ({steps},), one weight for each step, "
            f"got shape {tuple(checked.shape)}"
        )
    return checked


def ridge_regression(
    spectrum: Spectrum, y: jax.Array, ridge: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Coefficients (K + ridge)^+ y and fit, (n, c): gradient flow for ever, at any rate."""
    one = jnp.ones_like(ridge)
    return learn(spectrum, y, ridge=ridge, rate=one, time=jnp.inf * one, discrete=False)


def regression_doubt(spectrum: Spectrum, ridge: jax.Array) -> Doubt:
    """What the digits of ridge regression hang on."""
    one = jnp.ones_like(ridge)
    return doubt(spectrum, ridge=ridge, rate=one, time=jnp.inf * one, discrete=False)


@partial(jax.jit, static_argnames="steps")
def _distil(
    kernel: jax.Array,
    cross: jax.Array | None,
    y: jax.Array,
    ridge: jax.Array,
    alpha: jax.Array,
    *,
    steps: int,
) -> Distillation:
    ridge = not_negative(ridge)
    unit, size = unit_of(kernel, ridge), unit_of(y)
    spectrum, ridge = decompose(kernel / unit), ridge / unit
    flat = y.reshape(len(y), -1) / size

    def generation(teacher: jax.Array, weight: jax.Array) -> tuple[jax.Array, Any]:
        blend = teacher + weight * (flat - teacher)
        coefficients, fit = ridge_regression(spectrum, blend, ridge)
        return fit, (blend, coefficients, fit)

    alpha = jnp.broadcast_to(alpha, (steps,))
    _, (blends, coefficients, fits) = jax.lax.scan(generation, flat, alpha)
    limited = _limit(spectrum, flat, ridge, alpha[-1])
    last, limit = limited.coefficients, limited.fit
    sight = regression_doubt(spectrum, ridge)
    blends, scale = _columns(blends), jnp.max(jnp.abs(flat))
    passed = _passed_on(alpha)
    codes = [spectrum.status, limited.status]
    codes.append(spoiled(passed * fit_error(sight, blends), scale))
    codes.append(spoiled(fit_error(limited.sight, flat), scale))
    test_fits = test_limit = None
    if cross is not None:
        cross = cross / unit
        columns = _columns(jnp.concatenate([coefficients, last[None]]))
        tests = jnp.moveaxis(dot(cross, columns).reshape(len(cross), steps + 1, -1), 1, 0)
        tests = size * tests.reshape(steps + 1, len(cross), *y.shape[1:])
        test_fits, test_limit = tests[:-1], tests[-1]
        reach = reach_of(sight, cross)
        codes.append(cancellation(cross, columns, scale))
        codes.append(spoiled(passed * prediction_error(sight, reach, blends), scale))
        reach = reach_of(limited.sight, limited.weight * cross)
        codes.append(spoiled(prediction_error(limited.sight, reach, flat), scale))
    fits, limit = size * fits.reshape(steps, *y.shape), size * limit.reshape(y.shape)
    codes.append(finite(fits, limit, test_fits, test_limit))
    jitter = unit * spectrum.jitter
    return Distillation(fits, limit, test_fits, test_limit, first_trouble(*codes), jitter)


def _columns(generations: jax.Array) -> jax.Array:
    """(steps, n, c) as (n, steps c)."""
    return jnp.moveaxis(generations, 0, 1).reshape(generations.shape[1], -1)


def _passed_on(alpha: jax.Array) -> jax.Array:
    """How often an error made in every generation is in the last one, teachers' errors included."""

    def generation(number: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
        number = 1 + jnp.abs(1 - weight) * number
        return number, number

    alpha = jax.lax.stop_gradient(alpha)
    return jnp.max(jax.lax.scan(generation, jnp.zeros_like(alpha[0]), alpha)[1])


class _Limit(NamedTuple):
    """The limit: coefficients and fit (n, c), its weight, its doubts, the code for none."""

    coefficients: jax.Array
    fit: jax.Array
    weight: jax.Array
    sight: Doubt
    status: jax.Array


def _limit(spectrum: Spectrum, y: jax.Array, ridge: jax.Array, alpha: jax.Array) -> _Limit:
    # Without a ridge the limit is a projection under any weight; its derivative needs the weight.
    alpha = jnp.where((ridge == 0) & (alpha <= 0), 1, alpha)
    largest = spectrum.values[-1]
    # |1 - alpha| largest >= largest + ridge, without the rounding of that sum.
    excess = jnp.where(alpha < 1, -alpha, alpha - 2) * largest
    diverges = (ridge > 0) & (excess >= ridge)
    # alpha = 1 where there is no limit, so that no derivative divides by zero.
    safe = jnp.where(diverges, 1, alpha)
    constant = jax.lax.stop_gradient(safe)
    scaled = spectrum._replace(
        kernel=safe * spectrum.kernel,
        values=constant * spectrum.values,
        floor=jnp.abs(constant) * spectrum.floor,
    )
    coefficients, fit = ridge_regression(scaled, y, ridge)
    coefficients = jnp.where(diverges, jnp.nan, safe * coefficients)
    fit = jnp.where(diverges, jnp.nan, fit)
    sight = regression_doubt(scaled, ridge)
    return _Limit(coefficients, fit, safe, sight, code(diverges, Status.DIVERGES))
