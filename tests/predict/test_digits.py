"""Rounding in the kernel is told where it matters: float32 against float64."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import predict
from theorylab.predict import Status
from theorylab.predict._filters import divided_differences, gain

INF = float("inf")


class Pair(NamedTuple):
    nngp: Any
    ntk: Any


def kernels(x, points, length):
    """Squared exponential kernels: train, test by train, test."""
    both = np.concatenate([x, points])
    k = np.exp(-((both[:, None] - both[None]) ** 2) / (2 * length**2))
    n = len(x)
    return k[:n, :n], k[n:, :n], k[n:, n:]


def in_both(compute, *arrays):
    """The same computation on float32 and on float64."""
    single = compute(*[a.astype(np.float32) for a in arrays])
    with jax.enable_x64(True):
        return single, compute(*arrays)


def error(a, b):
    return float(np.abs(np.asarray(a, float) - np.asarray(b, float)).max())


SMOOTH = [(n, length, seed) for n in (4, 8, 14) for length in (0.2, 0.5, 2.0) for seed in range(3)]


def smooth(n, length, seed):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=n)
    k, ks, kss = kernels(rng.uniform(-1, 1, n), rng.uniform(-1, 1, 5), length)
    return k, ks, kss, y / np.abs(y).max()


@pytest.mark.parametrize("make", [predict.gradient_flow, predict.gradient_steps])
def test_no_prediction_on_a_smooth_kernel_is_wrong_and_called_a_success(make):
    told = wrong = 0
    for case in SMOOTH:
        for t in (100.0, 1e4, INF):

            def means(k, ks, kss, y, t=t):
                pair = [Pair(a, a) for a in (k, ks, kss)]
                predictor = make(pair[0], y, learning_rate=1.0)
                return predictor(t, pair[1], pair[2]), predictor(t)

            for p, q in zip(*in_both(means, *smooth(*case)), strict=True):
                off = max(error(p.mean, q.mean), error(p.cov, q.cov))
                assert p.status == Status.ILL_CONDITIONED or off < 1e-2, (case, t, off)
                told += p.status == Status.ILL_CONDITIONED
                wrong += off > 1e-2
    assert 10 < wrong <= told < 2 * wrong + 60


@pytest.mark.parametrize("steps", [1, 5])
def test_no_generation_on_a_smooth_kernel_is_wrong_and_called_a_success(steps):
    wrong = 0
    for case in SMOOTH:
        for ridge in (0.0, 1e-6, 1e-2):

            def distil(k, ks, kss, y, ridge=ridge):
                d = predict.self_distillation(
                    k, y, ridge=ridge, alpha=0.5, steps=steps, k_test_train=ks
                )
                return d[:4], d.status

            (p, status), (q, _) = in_both(distil, *smooth(*case))
            off = max(error(a, b) for a, b in zip(p, q, strict=True))
            assert status == Status.ILL_CONDITIONED or off < 1e-2, (case, ridge, off)
            wrong += off > 1e-2
    assert wrong > 5


def test_weights_that_rounding_decides_are_reported():
    wrong = trusted = 0
    for case in SMOOTH:
        for ridge in (1e-6, 1e-3, 1.0):

            def weights(k, ks, kss, y, ridge=ridge):
                return predict.distillation_weights(
                    k, y, ks, np.cos(y[:4].repeat(2)[:5]).astype(y.dtype), ridge=ridge, steps=3
                )

            p, q = in_both(weights, *smooth(*case))
            off = error(p.alpha, q.alpha)
            # Where u and v agree up to float32's rounding a weight is 1 and has no effect.
            same = np.allclose(p.losses, q.losses, rtol=2e-6, atol=0)
            told = p.status == Status.ILL_CONDITIONED
            assert told or off < 1e-2 or (same and np.all(p.alpha == 1)), (case, ridge, off)
            trusted += ridge == 1 and p.status == Status.SUCCESS
            wrong += off > 1e-2
    assert wrong > 0
    assert trusted > 5


def test_accurate_predictions_are_not_reported():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    linear = x @ x.T / 3
    k, _, _, y = smooth(14, 0.5, 0)
    noise = rng.normal(size=40)
    cases = [
        (linear, x @ rng.normal(size=3), 0.0, INF),  # null directions carry no weight
        (linear, noise, 0.0, INF),  # plainly of rank 3
        (linear + np.eye(40), noise, 0.0, INF),
        (k, y, 0.1, INF),  # a ridge well above rounding
        (k, y, 0.0, 1.0),  # small eigenvalues have not moved
        (k, k @ y, 0.1, 1e6),
    ]
    for kernel, targets, ridge, t in cases:

        def flow(kernel, targets, ridge=ridge, t=t):
            return predict.gradient_flow(kernel, targets, ridge=ridge)(t, kernel[:5])

        p, q = in_both(flow, kernel, targets)
        assert error(p.mean, q.mean) < 1e-4
        assert p.status == q.status == Status.SUCCESS


@pytest.mark.parametrize(
    ("discrete", "rate", "time"),
    [
        (False, 0.4, 0.3),
        (False, 0.4, 50.0),
        (False, 0.4, INF),
        (True, 0.4, 1.0),
        (True, 0.4, 40.0),
    ],
)
def test_divided_differences_of_the_gain_are_bounded_by_its_products(x64, discrete, rate, time):
    w = jnp.logspace(-6, 0, 40)
    time = jnp.asarray(time)
    phi = gain(w, rate, time, discrete=discrete)
    d = divided_differences(w, jnp.zeros(40, bool), rate, time, discrete=discrete)
    assert jnp.all(jnp.abs(d) <= phi[:, None] * phi[None] * (1 + 1e-9))
    if not discrete:
        assert jnp.all(jnp.abs(d) >= phi[:, None] * phi[None] * (0.5 - 1e-9))


UNITS = [(1e30, 1e-10), (1e-30, 1e10), (1e-33, 1e-18), (1e37, 1e15), (1.0, 1e-30)]


@pytest.mark.parametrize(("unit", "size"), UNITS)
def test_units_of_kernel_and_targets_do_not_matter_even_at_the_ends_of_float32(unit, size):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 12))
    k = (x @ x.T / 12).astype(np.float32)
    y = rng.normal(size=(6, 2)).astype(np.float32)
    unit, size = np.float32(2.0) ** round(np.log2(unit)), np.float32(2.0) ** round(np.log2(size))

    def flow(k, y, t):
        p = predict.gradient_flow(Pair(k[:6, :6], k[:6, :6]), y, learning_rate=6.0)(
            t, Pair(k[6:, :6], k[6:, :6]), k[6:, 6:]
        )
        return p.mean, p.cov, p.status

    for t in (3.0, INF):
        plain, scaled = flow(k, y, t), flow(unit * k, size * y, np.float32(t) / unit)
        np.testing.assert_array_equal(scaled[0], size * plain[0])
        np.testing.assert_array_equal(scaled[1], unit * plain[1])
        assert scaled[2] == plain[2] == Status.SUCCESS

    def distil(k, y, ridge):
        d = predict.self_distillation(
            k[:6, :6], y, ridge=ridge, alpha=0.5, steps=3, k_test_train=k[6:, :6]
        )
        w = predict.distillation_weights(
            k[:6, :6], y, k[6:, :6], y[:3], ridge=ridge, steps=3, clip=False
        )
        return d.fits, d.limit, d.test_fits, d.status, w.alpha, w.status

    ridge = np.float32(0.25)
    plain, scaled = distil(k, y, ridge), distil(unit * k, size * y, unit * ridge)
    for a, b in zip(scaled[:3], plain[:3], strict=True):
        np.testing.assert_array_equal(a, size * b)
    np.testing.assert_array_equal(scaled[4], plain[4])
    assert scaled[3] == plain[3] == scaled[5] == plain[5] == Status.SUCCESS


@pytest.mark.parametrize("unit", [2.0**100, 2.0**-100])
def test_gradients_of_kernels_of_any_size_are_those_at_size_one(unit):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, 8))
    k, y = (x @ x.T / 8).astype(np.float32), rng.normal(size=5).astype(np.float32)
    unit = np.float32(unit)
    for t in (2.0, INF):

        def value(k, t=t, unit=1.0):
            return jnp.sum(predict.gradient_flow(k, y)(np.float32(t / unit), k[:2]).mean ** 2)

        there = jax.grad(lambda k, f=value: f(k, unit=unit))(unit * k)
        np.testing.assert_allclose(there * unit, jax.grad(value)(k), rtol=1e-6)


def test_the_check_passes_through_jit_vmap_and_derivatives():
    k, ks, _, y = (np.float32(a) for a in smooth(8, 0.5, 0))

    def flow(ridge, t):
        p = predict.gradient_flow(k, y, ridge=ridge)(t, ks)
        return jnp.sum(p.mean**2), p.status

    ridges, t = np.float32([0.0, 0.5]), np.float32([1e6, 1e6])
    slopes, codes = jax.jit(jax.vmap(jax.grad(flow, has_aux=True)))(ridges, t)
    assert codes.tolist() == [Status.ILL_CONDITIONED, Status.SUCCESS]
    assert np.isfinite(slopes).all()
