"""Derivatives, jit and vmap of predictions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import predict

N, M = 6, 3
INF = float("inf")


def spectra():
    """Training kernels: generic, with repeated eigenvalues, and with a wide spectrum."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 9))
    q, _ = np.linalg.qr(rng.normal(size=(N, N)))
    return {
        "generic": x @ x.T / 9,
        "identity": np.eye(N),
        "repeated": np.eye(N) + 0.5,
        "wide": (q * np.logspace(-5, 0, N)) @ q.T,
    }


DYNAMICS = [
    ("flow", 1e-3),
    ("flow", 2.0),
    ("flow", 1e3),
    ("flow", INF),
    ("steps", 3),
    ("steps", INF),
]


@pytest.mark.parametrize(("kind", "t"), DYNAMICS)
def test_derivatives_in_the_kernel_agree_with_finite_differences_at_any_spectrum(x64, kind, t):
    rng = np.random.default_rng(1)
    cross, y = rng.normal(size=(M, N)), rng.normal(size=(N, 2))
    direction = rng.normal(size=(N, N))
    direction += direction.T
    make = predict.gradient_flow if kind == "flow" else predict.gradient_steps

    def prediction(k):
        return make(k, y, learning_rate=0.7, ridge=0.01)(t, cross).mean

    for name, k in spectra().items():
        smallest = np.linalg.eigvalsh(k)[0] + 0.01
        h = 1e-4 * smallest
        tangent = jax.jvp(prediction, (k,), (direction,))[1]
        ahead, behind = prediction(k + h * direction), prediction(k - h * direction)
        scale = float(jnp.abs(tangent).max())
        np.testing.assert_allclose(
            tangent, (ahead - behind) / (2 * h), atol=3e-6 * scale, err_msg=name
        )


def test_reverse_mode_is_the_transpose_of_forward_mode(x64):
    rng = np.random.default_rng(2)
    y, weights = rng.normal(size=(N, 2)), rng.normal(size=(N, 2))
    direction = rng.normal(size=(N, N))

    def value(k, t):
        return jnp.sum(weights * predict.gradient_flow(k, y)(t).mean)

    k = spectra()["repeated"]
    forward = jax.jvp(lambda k: value(k, 2.0), (k,), (direction,))[1]
    gradient = jax.grad(value)(k, 2.0)
    np.testing.assert_allclose(jnp.sum(gradient * direction), forward, rtol=1e-12)


@pytest.mark.parametrize("kind", ["flow", "steps"])
def test_derivatives_in_the_scalars_agree_with_finite_differences(x64, kind):
    rng = np.random.default_rng(3)
    cross, y, k = rng.normal(size=(M, N)), rng.normal(size=N), spectra()["generic"]
    make = predict.gradient_flow if kind == "flow" else predict.gradient_steps

    def value(t, learning_rate, ridge):
        p = make(k, y, learning_rate=learning_rate, ridge=ridge)(t, cross)
        return jnp.sum(p.mean**2)

    at = np.array([3.0, 0.9, 0.2])
    gradient = jax.grad(value, argnums=(0, 1, 2))(*at)
    for i in range(3):
        if (kind, i) == ("steps", 0):
            assert gradient[0] == 0  # a number of steps has no derivative
            continue
        step = 1e-5 * np.eye(3)[i]
        difference = (value(*(at + step)) - value(*(at - step))) / 2e-5
        np.testing.assert_allclose(gradient[i], difference, rtol=1e-7)


def test_the_derivative_in_time_is_the_equation_of_motion(x64):
    rng = np.random.default_rng(4)
    k, y, f0 = spectra()["generic"], rng.normal(size=N), rng.normal(size=N)
    flow = predict.gradient_flow(k, y, learning_rate=0.6, ridge=0.3)
    for t in (0.0, 0.5, 8.0):
        f, velocity = jax.jvp(lambda t: flow(t, f0_train=f0).mean, (t,), (1.0,))
        motion = -0.6 / N * (k @ (f - y) + 0.3 * (f - f0))
        np.testing.assert_allclose(velocity, motion, atol=1e-14)
    assert jax.grad(lambda t: flow(t).mean.sum())(jnp.inf) == 0


def test_float32_gradients_are_finite_at_a_rank_deficient_kernel():
    x = np.random.default_rng(5).normal(size=(N, 2)).astype(np.float32)
    x[3] = x[0]
    y = np.arange(N, dtype=np.float32)
    for t in (1.0, INF):
        gradient = jax.grad(
            lambda x, t=t: predict.gradient_flow(x @ x.T, y)(t, x[:2] @ x.T).mean.sum()
        )(jnp.asarray(x))
        assert jnp.isfinite(gradient).all()
        assert gradient.dtype == jnp.float32


def test_second_derivatives_in_the_kernel_are_refused_for_flow_and_exact_for_posteriors(x64):
    k, y = spectra()["generic"], np.ones(N)

    def flow(s):
        return predict.gradient_flow(s * k, y)(1.0).mean.sum()

    with pytest.raises(NotImplementedError, match="second derivatives"):
        jax.hessian(flow)(1.0)

    def posterior(s):
        p = predict.posterior(s * k, k, k, y, noise=0.5)
        return p.mean.sum() + p.cov.sum()

    slope = jax.grad(posterior)
    difference = (slope(1.0 + 1e-5) - slope(1.0 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.hessian(posterior)(1.0), difference, rtol=1e-7)


def test_posterior_gradients_agree_with_finite_differences_in_every_argument(x64):
    rng = np.random.default_rng(6)
    x = rng.normal(size=(N + M, 12))
    k = x @ x.T / 12
    arguments = (k[:N, :N], k[N:, :N], k[N:, N:], rng.normal(size=(N, 2)), 0.3)
    weights = rng.normal(size=(M, M))

    def value(train, cross, test, y, noise):
        p = predict.posterior(train, cross, test, y, noise=noise)
        return jnp.sum(p.mean**2) + jnp.sum(weights * p.cov)

    gradients = jax.grad(value, argnums=range(5))(*arguments)
    for i, (argument, gradient) in enumerate(zip(arguments, gradients, strict=True)):
        direction = rng.normal(size=np.shape(argument))
        moved = [
            value(*[a + s * 1e-5 * direction if i == j else a for j, a in enumerate(arguments)])
            for s in (1, -1)
        ]
        difference = (moved[0] - moved[1]) / 2e-5
        np.testing.assert_allclose(jnp.sum(gradient * direction), difference, rtol=1e-6, atol=1e-9)


def test_predictors_pass_through_jit_and_predictions_through_vmap(x64):
    rng = np.random.default_rng(7)
    k, y, cross = spectra()["generic"], rng.normal(size=(N, 2)), rng.normal(size=(M, N))
    flow = predict.gradient_flow(k, y)
    np.testing.assert_allclose(
        jax.jit(lambda flow, t: flow(t, cross).mean)(flow, 0.5), flow(0.5, cross).mean, rtol=1e-13
    )
    scales = np.array([0.5, 1.0, 2.0])
    many = jax.vmap(lambda s: predict.gradient_flow(s * k, y)(0.5, cross).mean)(scales)
    posteriors = jax.vmap(lambda s: predict.posterior(s * k, cross, None, y, noise=0.1))(scales)
    for i, s in enumerate(scales):
        one = predict.gradient_flow(s * k, y)(0.5, cross).mean
        np.testing.assert_allclose(many[i], one, atol=1e-12)
        one = predict.posterior(s * k, cross, None, y, noise=0.1).mean
        np.testing.assert_allclose(posteriors.mean[i], one, rtol=1e-10)
    assert (posteriors.status == 0).all()


def test_the_second_call_with_other_values_compiles_nothing(x64):
    k, y = spectra()["generic"], np.ones(N)
    predict.gradient_flow(k, y, learning_rate=0.5)(1.0)
    predict.posterior(k, k, k, y, noise=0.1)
    before = _compiled()
    predict.gradient_flow(2 * k, y, learning_rate=0.7)(jnp.inf)
    predict.posterior(2 * k, k, k, y, noise=0.3)
    assert _compiled() == before


def _compiled():
    from theorylab.predict import _gradient_flow, _posterior

    return _gradient_flow._flow._cache_size() + _posterior._posterior._cache_size()
