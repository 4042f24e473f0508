r"""Predictions during training, shared by gradient flow (real time) and gradient steps.

With :math:`A_t = \Theta_{*} \varphi_t(\Theta + \lambda)` (``_spectral``), trained from :math:`f_0`,

.. math::

    f_t = f_0(*) + A_t (y - f_0), \qquad
    \operatorname{cov} f_t = K_{**} - A_t K_{\cdot *} - K_{* \cdot} A_t^\top + A_t K A_t^\top

where the covariance belongs to a random start :math:`f_0 \sim GP(0, K)`.

Differs from the paper / reference:
  1. On the training points the covariance is formed as (I - A) K (I - A)^T, which is positive
     semi-definite by construction.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from theorylab._numerics import floating
from theorylab.predict._arguments import (
    cast,
    common_dtype,
    is_kernel,
    matrix,
    nngp_of,
    ntk_of,
    scalar,
    shaped,
    targets,
)
from theorylab.predict._digits import (
    covariance_error,
    doubt,
    fit_error,
    prediction_error,
    reach_of,
    spoiled,
    start_error,
)
from theorylab.predict._results import (
    Prediction,
    asymmetry,
    cancellation,
    finite,
    first_trouble,
    not_negative,
    tidy_covariance,
)
from theorylab.predict._spectral import Spectrum, decompose, dot, learn
from theorylab.predict._units import rescaled, unit_of


class Trained(NamedTuple):
    """Everything about the training set: arrays only, so that predictors pass through ``jit``.

    ``spectrum`` and ``ridge`` are in units of ``unit``, ``rate`` in its inverse.
    """

    spectrum: Spectrum
    nngp: jax.Array | None
    y: jax.Array
    rate: jax.Array  # learning rate / n
    ridge: jax.Array
    unit: jax.Array


class Query(NamedTuple):
    """Everything about the test points, checked and cast; None where it was not given."""

    ntk: jax.Array | None
    cross: jax.Array | None  # NNGP, test by train
    prior: jax.Array | None  # NNGP, test by test
    f0_train: jax.Array | None
    f0_test: jax.Array | None


@jax.jit
def _train(ntk: jax.Array, nngp: jax.Array | None, y: jax.Array, rate: Any, ridge: Any) -> Trained:
    ridge = not_negative(ridge)
    unit = unit_of(ntk, ridge)
    spectrum = decompose(ntk / unit)
    return Trained(spectrum, nngp, y, rescaled(rate / len(ntk), unit), ridge / unit, unit)


def train(k_train: Any, y: ArrayLike, learning_rate: Any, ridge: Any) -> Trained:
    """Check the arguments that make a predictor, and decompose the kernel once."""
    ntk, nngp = ntk_of("k_train", k_train), nngp_of("k_train", k_train)
    n = ntk.shape[0]
    square = "square, one row for each training point"
    shaped("k_train.ntk" if is_kernel(k_train) else "k_train", ntk, (n, n), square)
    if nngp is not None:
        shaped("k_train.nngp", nngp, (n, n), "the shape of k_train.ntk")
    y = targets(y, n)
    learning_rate = scalar("learning_rate", learning_rate, positive=True)
    ridge = scalar("ridge", ridge, positive=False)
    dtype = common_dtype(ntk, nngp, y)
    arrays = [cast(x, dtype) for x in (ntk, nngp, y, learning_rate, ridge)]
    return _train(*arrays)


def query(
    trained: Trained,
    k_test_train: Any,
    k_test_test: Any,
    f0_train: ArrayLike | None,
    f0_test: ArrayLike | None,
) -> Query:
    """Check the arguments of a prediction."""
    n, y, dtype = len(trained.y), trained.y, trained.y.dtype
    if k_test_train is None:
        for name, value in (("k_test_test", k_test_test), ("f0_test", f0_test)):
            if value is not None:
                raise ValueError(
                    f"{name} is given without k_test_train: without it the prediction is at the "
                    "training points"
                )
        ntk = cross = prior = None
        m = n
    else:
        ntk, cross = ntk_of("k_test_train", k_test_train), nngp_of("k_test_train", k_test_train)
        m = ntk.shape[0]
        shaped("k_test_train", ntk, (m, n), f"test points by the {n} training points")
        if cross is not None:
            shaped("k_test_train.nngp", cross, (m, n), "the shape of k_test_train.ntk")
        prior = k_test_test
        if prior is not None:
            pair = is_kernel(prior)
            prior = nngp_of("k_test_test", prior) if pair else matrix("k_test_test", prior)
        if prior is not None:
            shaped("k_test_test", prior, (m, m), f"the {m} test points of k_test_train")
    if f0_train is None and f0_test is not None:
        raise ValueError("f0_test is given without f0_train: a start needs both")
    if f0_train is not None:
        if k_test_train is not None and f0_test is None:
            raise ValueError("f0_train is given without f0_test: a start needs both")
        f0_train = floating("f0_train", f0_train)
        shaped("f0_train", f0_train, y.shape, "the shape of y")
    if f0_test is not None:
        f0_test = floating("f0_test", f0_test)
        shaped("f0_test", f0_test, (m, *y.shape[1:]), "test points, then the trailing shape of y")
    return Query(*(cast(x, dtype) for x in (ntk, cross, prior, f0_train, f0_test)))


def predict(trained: Trained, asked: Query, time: jax.Array, *, discrete: bool) -> Prediction:
    """Predict at one time, or along a leading axis at several."""
    # A rate that is not positive shows only here under ``jit``; no time is long enough for it.
    time = jnp.where(trained.rate > 0, not_negative(time), jnp.nan)
    if time.ndim == 0:
        return _at(trained, asked, time, discrete)
    every = jax.vmap(lambda t: _at(trained, asked, t, discrete))(time)
    status = every.status[jnp.argmax(every.status != 0)]
    return Prediction(every.mean, every.cov, status, every.jitter[0])


def _at(trained: Trained, asked: Query, time: jax.Array, discrete: bool) -> Prediction:
    spectrum, nngp, y, rate, ridge, unit = trained
    residual = _flat(y if asked.f0_train is None else y - asked.f0_train)
    outputs, size = residual.shape[1], unit_of(residual)
    residual = residual / size
    dynamics: dict[str, Any] = {"ridge": ridge, "rate": rate, "time": time, "discrete": discrete}
    sight = doubt(spectrum, **dynamics)
    codes = [spectrum.status]
    cov: jax.Array | None = None

    def learned(residuals: jax.Array) -> tuple[jax.Array, jax.Array]:
        return learn(spectrum, residuals, **dynamics)

    drawn = nngp if asked.f0_train is None else None  # the covariance of a random start
    if asked.ntk is None:
        start = asked.f0_train
        if drawn is None:
            change = learned(residual)[1]
        else:
            variance = unit_of(drawn)
            random = drawn / variance
            codes.append(asymmetry(random))
            random = (random + random.T) / 2
            identity = jnp.eye(len(y), dtype=y.dtype)
            fit = learned(jnp.concatenate([residual, identity], axis=1))[1]
            change, left = fit[:, :outputs], identity - fit[:, outputs:]
            cov, negative = tidy_covariance(dot(dot(left, random), left.T), random)
            codes += [negative, spoiled(start_error(sight, random, left), _variance(random))]
            cov = variance * cov
        codes.append(spoiled(fit_error(sight, residual), _size(residual, change, discrete)))
    else:
        start = asked.f0_test
        cross = asked.ntk / unit
        if drawn is None or asked.cross is None or asked.prior is None:
            alpha = learned(residual)[0]
        else:
            variance = unit_of(drawn, asked.cross, asked.prior)
            random, across, prior = (k / variance for k in (drawn, asked.cross, asked.prior))
            codes += [asymmetry(random), asymmetry(prior)]
            random = (random + random.T) / 2
            both = learned(jnp.concatenate([residual, cross.T], axis=1))[0]
            alpha, weights = both[:, :outputs], both[:, outputs:].T  # A_t
            shared = dot(weights, across.T)
            carried = dot(weights, random)
            cov = prior - shared - shared.T + dot(carried, weights.T)
            cov, negative = tidy_covariance(cov, prior)
            error = covariance_error(sight, weights, across - carried, random)
            codes += [negative, spoiled(error, _variance(prior))]
            cov = variance * cov
        change = dot(cross, alpha)
        codes.append(cancellation(cross, alpha, jnp.max(jnp.abs(residual))))
        error = prediction_error(sight, reach_of(sight, cross), residual)
        codes.append(spoiled(error, _size(residual, change, discrete)))
    change = size * change.reshape(len(change), *y.shape[1:])
    mean = change if start is None else start + change
    return Prediction(mean, cov, first_trouble(*codes, finite(mean, cov)), unit * spectrum.jitter)


def _size(residual: jax.Array, change: jax.Array, discrete: bool) -> jax.Array:
    """What errors are measured by: the targets, or what diverging steps have made of them."""
    size = jnp.max(jnp.abs(residual))
    return jnp.maximum(size, jnp.max(jnp.abs(change))) if discrete else size


def _variance(prior: jax.Array) -> jax.Array:
    return jnp.max(jnp.abs(jnp.diagonal(prior)))


def _flat(x: jax.Array) -> jax.Array:
    return x.reshape(len(x), -1)
