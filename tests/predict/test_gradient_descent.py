"""Descent under any loss against closed forms, explicit steps and itself, continued."""

import subprocess
import sys
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

from theorylab import predict
from theorylab.predict import Status

N, M, C, RATE = 7, 4, 3, 1.7


class Pair(NamedTuple):
    nngp: Any
    ntk: Any


def problem(dtype=np.float64):
    """Kernels (train, test by train), targets, and starts at training and test points."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N + M, 20)) / np.sqrt(20)
    k = x @ x.T
    y, f0 = rng.normal(size=(N, C)), rng.normal(size=(N + M, C))
    return [a.astype(dtype) for a in (k[:N, :N], k[N:, :N], y, f0[:N], f0[N:])]


def squared(f, y):
    return jnp.sum((f - y) ** 2) / (2 * len(y))


def logistic(f, y):
    return jnp.mean(jnp.logaddexp(0, -f * y))


def cross_entropy(f, labels):
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(f), labels[:, None], axis=1))


TIMES = np.array([30.0, 0.0, 0.5, 0.5, 1000.0, 3.0])


def test_under_squared_loss_it_is_gradient_flow_to_1e_8(x64):
    k, cross, y, f0, f0s = problem()
    descent = predict.gradient_descent(squared, k, y, learning_rate=RATE)
    flow = predict.gradient_flow(k, y, learning_rate=RATE)
    ours, exact = descent(TIMES, f0, f0s, cross), flow(TIMES, cross, None, f0, f0s)
    np.testing.assert_allclose(ours.mean, exact.mean, atol=1e-8)
    assert ours.status == Status.SUCCESS
    assert ours.cov is None
    np.testing.assert_array_equal(ours.mean[1], f0s)
    # At the training points, and from zero, where it is the mean over random networks.
    np.testing.assert_allclose(descent(3.0).mean, flow(3.0).mean, atol=1e-8)
    np.testing.assert_allclose(
        descent(TIMES, k_test_train=cross).mean, flow(TIMES, cross).mean, atol=1e-8
    )


@pytest.mark.parametrize("scale", [1e-9, 1e9])
def test_accuracy_does_not_depend_on_units(x64, scale):
    # Targets in other units, and time in other units by way of the kernel.
    k, _, y, _, _ = problem()
    descent = predict.gradient_descent(squared, scale * k, y / scale, learning_rate=RATE)
    flow = predict.gradient_flow(k, y, learning_rate=RATE)
    np.testing.assert_allclose(descent(3.0 / scale).mean * scale, flow(3.0).mean, atol=1e-8)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_momentum_under_squared_loss_is_the_matrix_exponential_to_1e_8(x64, momentum):
    k, cross, y, f0, f0s = problem()
    drift = np.zeros((2 * (N + M), 2 * (N + M)))
    n, size = N, N + M
    drift[:size, size:] = np.eye(size)
    drift[size:, :n] = -RATE / n * np.concatenate([k, cross])
    drift[size:, size:] = -(1 - momentum) * np.eye(size)
    descent = predict.gradient_descent(squared, k, y, learning_rate=RATE, momentum=momentum)
    for t in (0.0, 2.0, 40.0):
        target = np.concatenate([y, np.zeros((M, C))])
        start = np.concatenate([np.concatenate([f0, f0s]) - target, np.zeros((size, C))])
        moved = scipy.linalg.expm(drift * t) @ start
        state, status = descent.state(t, f0, f0s, cross)
        assert status == Status.SUCCESS
        np.testing.assert_allclose(state.f_train, moved[:n] + y, atol=1e-8)
        np.testing.assert_allclose(state.f_test, moved[n:size], atol=1e-8)
        np.testing.assert_allclose(state.velocity_train, moved[size : size + n], atol=1e-8)
        np.testing.assert_allclose(state.velocity_test, moved[size + n :], atol=1e-8)


def test_any_other_loss_agrees_with_scipys_solver(x64):
    k, cross, y, f0, f0s = problem()
    y = np.sign(y)
    both = np.concatenate([k, cross])

    def motion(_, f):
        margins = f.reshape(N + M, C)[:N] * y
        slope = -y / (1 + np.exp(margins)) / (N * C)
        return (-RATE * both @ slope).ravel()

    solved = scipy.integrate.solve_ivp(
        motion, (0, 50), np.concatenate([f0, f0s]).ravel(), method="DOP853", rtol=1e-12, atol=1e-12
    ).y[:, -1]
    descent = predict.gradient_descent(logistic, k, y, learning_rate=RATE)
    np.testing.assert_allclose(
        descent(50.0, f0, f0s, cross).mean.ravel(), solved[N * C :], atol=1e-8
    )


def test_small_steps_with_momentum_approach_the_equation(x64):
    # Heavy-ball steps of a rate shrunk by h^2 with the friction shrunk by h, 1 / h as many.
    k, cross, y, f0, f0s = problem()
    errors = []
    descent = predict.gradient_descent(squared, k, y, learning_rate=RATE, momentum=0.5)
    exact = descent.state(4.0, f0, f0s, cross)[0].f_train
    for h in (1e-2, 5e-3):
        f, v = f0, np.zeros_like(f0)
        for _ in range(round(4.0 / h)):
            v = (1 - 0.5 * h) * v - h**2 * RATE / N * k @ (f - y)
            f = f + v
        errors.append(np.abs(f - exact).max())
    assert 1.8 < errors[0] / errors[1] < 2.2


@pytest.mark.parametrize("momentum", [None, 0.8])
def test_training_goes_on_from_a_state_as_if_it_had_not_stopped(x64, momentum):
    k, cross, y, f0, f0s = problem()
    descent = predict.gradient_descent(squared, k, y, learning_rate=RATE, momentum=momentum)
    state, status = descent.state(5.0, f0, f0s, cross)
    assert status == Status.SUCCESS
    assert (state.velocity_train is None) == (momentum is None)
    there, _ = descent.state(12.0, f0, f0s, cross)
    again, _ = descent.state(12.0, state, None, cross)
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(there), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)
    np.testing.assert_array_equal(descent(12.0, state, None, cross).mean, again.f_test)
    # A span of nothing keeps the velocities.
    same, _ = descent.state(5.0, state, None, cross)
    for a, b in zip(jax.tree.leaves(same), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_labels_may_be_integers_and_the_start_gives_the_shape(x64):
    k, cross, _, f0, f0s = problem()
    labels = np.arange(N) % C
    one_hot = np.eye(C)[labels]
    descent = predict.gradient_descent(cross_entropy, k, labels, learning_rate=RATE)
    other = predict.gradient_descent(
        lambda f, y: -jnp.mean(jnp.sum(y * jax.nn.log_softmax(f), axis=1)),
        k,
        one_hot,
        learning_rate=RATE,
    )
    np.testing.assert_allclose(
        descent(9.0, f0, f0s, cross).mean, other(9.0, f0, f0s, cross).mean, atol=1e-9
    )


def test_float32_agrees_with_float64_and_keeps_its_dtype():
    k, cross, y, f0, f0s = problem(np.float32)
    descent = predict.gradient_descent(squared, k, y, learning_rate=RATE)
    p = descent(TIMES, f0, f0s, cross)
    assert p.mean.dtype == p.jitter.dtype == jnp.float32
    assert p.status == Status.SUCCESS
    half = predict.gradient_descent(squared, k.astype(jnp.bfloat16), y, learning_rate=RATE)
    assert half(TIMES, f0, f0s, cross).mean.dtype == jnp.float32
    with jax.enable_x64(True):
        k, cross, y, f0, f0s = problem()
        exact = predict.gradient_flow(k, y, learning_rate=RATE)(TIMES, cross, None, f0, f0s)
        np.testing.assert_allclose(p.mean, exact.mean, atol=1e-5)


def test_derivatives_agree_with_finite_differences_in_every_argument(x64):
    k, cross, y, f0, f0s = problem()
    rng = np.random.default_rng(1)

    def value(k, cross, y, f0, f0s, rate, momentum, t, temperature):
        def loss(f, y):  # closes over a traced value
            return logistic(temperature * f, y)

        descent = predict.gradient_descent(loss, k, y, learning_rate=rate, momentum=momentum)
        return jnp.sum(descent(t, f0, f0s, cross).mean ** 2)

    at = [np.asarray(a) for a in (k, cross, np.sign(y), f0, f0s, RATE, 0.5, 4.0, 1.3)]
    both = jax.jit(jax.value_and_grad(value, argnums=range(9)))
    for i, gradient in enumerate(both(*at)[1]):
        direction = rng.normal(size=np.shape(at[i]))
        if i == 0:
            direction = direction + direction.T
        moved = []
        for step in (1e-4, -1e-4):
            changed = list(at)
            changed[i] = np.asarray(at[i] + step * direction)
            moved.append(both(*changed)[0])
        difference = (moved[0] - moved[1]) / 2e-4
        np.testing.assert_allclose(np.sum(gradient * direction), difference, rtol=1e-6, atol=1e-8)


def test_jit_and_vmap_over_times_starts_and_ridges(x64):
    k, cross, y, f0, f0s = problem()
    descent = predict.gradient_descent(squared, k, y, learning_rate=RATE)
    flow = predict.gradient_flow(k, y, learning_rate=RATE)
    times = jnp.array([0.5, 2.0])
    expected = flow(times, cross, None, f0, f0s).mean
    passed = jax.jit(lambda descent, t: descent(t, f0, f0s, cross).mean)(descent, times[1])
    np.testing.assert_allclose(passed, expected[1], atol=1e-8)

    def trained(make, ridge, t, start):
        return make(k + ridge * jnp.eye(N), y, learning_rate=RATE)(t, f0_train=start).mean

    many = jnp.array([0.0, 0.3]), times, jnp.stack([f0, 2 * f0])
    mapped = jax.vmap(partial(trained, partial(predict.gradient_descent, squared)))(*many)
    for i in range(2):
        one = trained(predict.gradient_flow, *(x[i] for x in many))
        np.testing.assert_allclose(mapped[i], one, atol=1e-8)


def test_a_loss_may_hold_arrays_and_strict_promotion_finds_nothing(x64, strict_promotion):
    k, _, y, _, _ = problem()
    twice = jax.tree_util.Partial(lambda s, f, y: s * squared(f, y), jnp.asarray(2.0))
    p = predict.gradient_descent(twice, k, y, learning_rate=RATE, momentum=0.5)(1.0)
    q = predict.gradient_descent(squared, k, y, learning_rate=2 * RATE, momentum=0.5)(1.0)
    np.testing.assert_allclose(p.mean, q.mean, atol=1e-9)


def test_the_second_call_with_other_values_compiles_nothing(x64):
    from theorylab.predict import _gradient_descent

    k, cross, y, f0, f0s = problem()

    def call(scale, rate, t):
        descent = predict.gradient_descent(squared, scale * k, y, learning_rate=rate)
        descent(t, f0, f0s, cross)
        return _gradient_descent._predict._cache_size() + _gradient_descent._repaired._cache_size()

    assert call(1.0, 0.5, 2.0) == call(2.0, 0.7, 3.0)


def test_too_few_steps_are_reported_and_earlier_times_are_kept(x64):
    k, _, y, _, _ = problem()
    descent = predict.gradient_descent(squared, k, y, learning_rate=RATE, max_steps=12)
    p = descent([1e5, 0.1, 2e5])
    assert p.status == Status.NOT_INTEGRATED
    assert np.isnan(p.mean[::2]).all()
    exact = predict.gradient_flow(k, y, learning_rate=RATE)(0.1).mean
    np.testing.assert_allclose(p.mean[1], exact, atol=1e-8)


def test_infinite_and_past_times_under_jit_are_nan_and_say_so(x64):
    k, cross, y, f0, f0s = problem()
    descent = predict.gradient_descent(squared, k, y, learning_rate=RATE)
    p = jax.jit(descent)(jnp.array([jnp.inf, 1.0, -1.0, jnp.nan]))
    assert p.status == Status.NOT_INTEGRATED
    np.testing.assert_array_equal(np.isnan(p.mean[:, 0, 0]), [True, False, True, True])
    np.testing.assert_allclose(p.mean[1], descent(1.0).mean, atol=1e-12)
    state, _ = descent.state(5.0, f0, f0s, cross)
    assert descent(4.0, state, None, cross).status == Status.NOT_INTEGRATED


@pytest.mark.filterwarnings("error")
def test_trouble_in_kernels_losses_and_starts_is_reported(x64):
    k, cross, y, f0, f0s = problem()

    def make(k=k, y=y, loss=squared):
        return predict.gradient_descent(loss, k, y, learning_rate=RATE)

    broken = k.copy()
    broken[0, 0] = np.nan
    for p in (
        make(k=broken)(1.0),
        make(y=np.where(y == y[0, 0], np.inf, y))(1.0),
        make()(1.0, f0 * np.nan),
        make()(1.0, f0, f0s, cross * np.inf),
    ):
        assert p.status == Status.NONFINITE
        assert np.isnan(p.mean).all()
    crooked = k.copy()
    crooked[0, 1] += 0.1
    p, symmetric = make(k=crooked)(1.0), make(k=(crooked + crooked.T) / 2)(1.0)
    assert p.status == Status.ASYMMETRIC
    np.testing.assert_allclose(p.mean, symmetric.mean, atol=1e-12)
    # The negative part of a kernel is set to zero, as in gradient_flow.
    indefinite = k - 0.5 * np.eye(N)
    p, flow = (
        make(k=indefinite)(40.0),
        predict.gradient_flow(indefinite, y, learning_rate=RATE)(40.0),
    )
    assert p.status == flow.status == Status.INDEFINITE
    np.testing.assert_allclose(p.jitter, flow.jitter, rtol=1e-14)
    np.testing.assert_allclose(p.mean, flow.mean, atol=1e-8)
    # What turns out to be out of range under jit.
    loud = jax.jit(
        lambda m: predict.gradient_descent(squared, k, y, learning_rate=RATE, momentum=m)(1.0)
    )(1.5)
    assert loud.status == Status.NONFINITE
    assert np.isnan(loud.mean).all()
    # A loss whose gradient is infinite at the start.
    p = make(loss=lambda f, y: jnp.sum(jnp.log(f)))(1.0)
    assert p.status == Status.NOT_INTEGRATED
    assert np.isnan(p.mean).all()


def test_importing_the_library_does_not_import_the_solver():
    code = (
        "import sys; import theorylab.predict; print([m for m in ('diffrax',) if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


K, Y, F = np.eye(3), np.ones((3, 2)), np.zeros((3, 2))
KS, FS = np.ones((2, 3)), np.zeros((2, 2))


def make(loss=squared, k=K, y=Y, learning_rate=1.0, **options):
    return predict.gradient_descent(loss, k, y, learning_rate=learning_rate, **options)


def state(**options):
    return make(**options).state(0.0, F)[0]


MISTAKES = [
    (lambda: make(loss=None), TypeError, "loss must be a function"),
    (lambda: make(loss=lambda f, y: f - y), ValueError, r"loss must return a scalar.*\(3, 2\)"),
    (lambda: make(loss=lambda f, y: (f.sum(), y.sum())), ValueError, "loss must return a scalar"),
    (lambda: make(loss=lambda f, y: jnp.int32(1)), ValueError, "loss must return a real floating"),
    (
        lambda: make(loss=lambda f, y: f, y=np.arange(3))(1.0, F),
        ValueError,
        "loss must return a scalar",
    ),
    (lambda: make(k=K[:2]), ValueError, r"k_train must have shape \(2, 2\)"),
    (lambda: make(k=Pair(K, None)), ValueError, "k_train.ntk is None"),
    (lambda: make(y=Y[:2]), ValueError, "y must have one row for each of the 3"),
    (lambda: make(y=np.arange(2)), ValueError, "y must have one row for each of the 3"),
    (lambda: make(y=Y.astype(bool)), TypeError, "y must be a real floating"),
    (lambda: make(learning_rate=0.0), ValueError, "learning_rate must be finite and positive"),
    (lambda: make(momentum=1.0), ValueError, r"momentum must lie in \[0, 1\), got 1.0"),
    (lambda: make(momentum=-0.5), ValueError, r"momentum must lie in \[0, 1\), got -0.5"),
    (lambda: make(tol=0.0), ValueError, "tol must be finite and positive"),
    (lambda: make(tol=1.0), ValueError, "tol must be below 1, .* got 1.0"),
    (lambda: make(max_steps=0), ValueError, "max_steps must be a positive whole number"),
    (lambda: make()(-1.0), ValueError, "t must not be negative, got -1.0"),
    (lambda: make()(np.inf), ValueError, "t must be finite, got inf.*gradient_flow"),
    (lambda: make()([1.0, np.inf]), ValueError, "t must be finite"),
    (lambda: make()(None), TypeError, "t must be a real number"),
    (lambda: make().state([1.0, 2.0]), ValueError, r"t must be a scalar, got shape \(2,\)"),
    (lambda: make()(1.0, F[:2]), ValueError, r"f0_train must have shape \(3, 2\)"),
    (lambda: make()(1.0, F, FS), ValueError, "f0_test is given without k_test_train"),
    (lambda: make()(1.0, F, None, KS), ValueError, "f0_train is given without f0_test"),
    (lambda: make()(1.0, None, FS, KS), ValueError, "f0_test is given without f0_train"),
    (lambda: make()(1.0, F, F, KS), ValueError, r"f0_test must have shape \(2, 2\)"),
    (lambda: make()(1.0, F, FS, KS.T), ValueError, r"k_test_train must have shape \(3, 3\)"),
    (lambda: make(y=np.arange(3))(1.0), ValueError, "f0_train is needed where y holds labels"),
    (lambda: make()(1.0, F.astype(int)), TypeError, "f0_train must be a real floating"),
    (lambda: make()(1.0, state(), FS, KS), ValueError, "f0_test is given beside a state"),
    (lambda: make()(1.0, state(), None, KS), ValueError, "a state without test points"),
    (lambda: make()(1.0, state(momentum=0.5)), ValueError, "a state with velocities"),
    (lambda: make(momentum=0.5)(1.0, state()), ValueError, "a state without velocities"),
]


@pytest.mark.parametrize(("call", "error", "message"), MISTAKES, ids=[m[2][:40] for m in MISTAKES])
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
