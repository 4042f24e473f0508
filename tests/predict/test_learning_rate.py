"""The largest stable learning rate against simulated descent on both sides of it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import predict
from theorylab.predict import Status

N = 6


class Pair(NamedTuple):
    nngp: Any
    ntk: Any


def kernel(seed=0, dtype=np.float64):
    x = np.random.default_rng(seed).normal(size=(N, 10))
    return (x @ x.T / 10).astype(dtype)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("ridge", [0.0, 0.4])
def test_heavy_ball_steps_shrink_below_the_rate_and_grow_above_it(x64, momentum, ridge):
    k = kernel()
    largest = float(predict.max_learning_rate(k, momentum=momentum, ridge=ridge))
    regularised = k + ridge * np.eye(N)
    top = np.linalg.eigh(regularised)[1][:, -1]
    for factor in (0.99, 1.01):
        f, v = top.copy(), np.zeros(N)
        sizes = []
        for _ in range(2000):
            v = momentum * v - factor * largest / N * regularised @ f
            f = f + v
            sizes.append(np.abs(f).max())
        assert (max(sizes[1900:]) < max(sizes[900:1000])) == (factor < 1)


@pytest.mark.parametrize("ridge", [0.0, 0.4])
def test_the_rate_is_where_gradient_steps_start_to_diverge(x64, ridge):
    k, y = kernel(), np.ones(N)
    largest = predict.max_learning_rate(k, ridge=ridge)
    for factor, status in ((1 - 1e-12, Status.SUCCESS), (1 + 1e-12, Status.DIVERGES)):
        steps = predict.gradient_steps(k, y, learning_rate=factor * largest, ridge=ridge)
        assert steps(jnp.inf).status == status


def test_known_kernels_have_known_rates(x64):
    np.testing.assert_allclose(predict.max_learning_rate(np.diag([1.0, 4.0])), 1.0, rtol=1e-15)
    assert predict.max_learning_rate(np.zeros((3, 3))) == np.inf
    assert predict.max_learning_rate(np.zeros((3, 3)), ridge=2.0) == 3.0
    pair = Pair(None, kernel())
    assert predict.max_learning_rate(pair) == predict.max_learning_rate(kernel())


def test_kernels_without_a_stable_rate_give_nan(x64):
    broken = kernel()
    broken[0, 1] = np.nan
    infinite = kernel()
    infinite[2, 2] = np.inf
    crooked = kernel()
    crooked[0, 1] += 1e-3
    for k in (broken, infinite, crooked, np.diag([1.0, -0.1]), -np.eye(2)):
        assert np.isnan(predict.max_learning_rate(k))
    assert np.isnan(jax.jit(lambda m: predict.max_learning_rate(kernel(), momentum=m))(1.5))
    assert np.isnan(jax.jit(lambda r: predict.max_learning_rate(kernel(), ridge=r))(-0.1))
    # Rounding of kernels is not garbage.
    assert np.isfinite(predict.max_learning_rate(np.diag([1.0, -1e-12])))


def test_derivatives_agree_with_finite_differences_and_second_ones_are_refused(x64):
    k = kernel()
    direction = np.random.default_rng(1).normal(size=(N, N))
    direction += direction.T

    def rate(k, m, ridge):
        return predict.max_learning_rate(k, momentum=m, ridge=ridge)

    at = (k, 0.3, 0.2)
    gradients = jax.grad(rate, argnums=(0, 1, 2))(*at)
    for i, step in enumerate((direction, 1.0, 1.0)):
        moved = []
        for sign in (1e-5, -1e-5):
            changed = list(at)
            changed[i] = at[i] + sign * step
            moved.append(rate(*changed))
        difference = (moved[0] - moved[1]) / 2e-5
        np.testing.assert_allclose(np.sum(gradients[i] * step), difference, rtol=1e-8)
    # At a repeated largest eigenvalue it stays finite: 2 * 3 / s for s times the identity.
    slope = jax.grad(lambda s: predict.max_learning_rate(s * jnp.eye(3)))(2.0)
    np.testing.assert_allclose(slope, -6 / 4, rtol=1e-14)
    with pytest.raises(NotImplementedError, match="second derivatives"):
        jax.hessian(lambda s: predict.max_learning_rate(s * k))(1.0)


def test_jit_vmap_float32_and_no_second_compilation(strict_promotion):
    from theorylab.predict import _learning_rate

    k = kernel(dtype=np.float32)
    one = predict.max_learning_rate(k)
    assert one.dtype == jnp.float32
    assert predict.max_learning_rate(k.astype(jnp.float16)).dtype == jnp.float32
    with jax.enable_x64(True):
        np.testing.assert_allclose(one, predict.max_learning_rate(kernel()), rtol=1e-6)
    before = _learning_rate._rate._cache_size()
    predict.max_learning_rate(2 * k, momentum=0.5)
    assert _learning_rate._rate._cache_size() == before
    many = jax.jit(jax.vmap(lambda m: predict.max_learning_rate(k, momentum=m)))(
        jnp.array([0.0, 0.5], jnp.float32)
    )
    np.testing.assert_allclose(many, [one, 1.5 * one], rtol=1e-6)


K = np.eye(3)
MISTAKES = [
    (lambda: predict.max_learning_rate(K[:2]), ValueError, r"k_train must have shape \(2, 2\)"),
    (
        lambda: predict.max_learning_rate(K.astype(int)),
        TypeError,
        "k_train must be a real floating",
    ),
    (lambda: predict.max_learning_rate(Pair(K, None)), ValueError, "k_train.ntk is None"),
    (
        lambda: predict.max_learning_rate(K, momentum=1.0),
        ValueError,
        r"momentum.*\[0, 1\), got 1.0",
    ),
    (lambda: predict.max_learning_rate(K, momentum=-0.1), ValueError, r"momentum.*got -0.1"),
    (lambda: predict.max_learning_rate(K, momentum=float("nan")), ValueError, "momentum.*got nan"),
    (
        lambda: predict.max_learning_rate(K, momentum="a"),
        TypeError,
        "momentum must be a real number",
    ),
    (lambda: predict.max_learning_rate(K, ridge=-1.0), ValueError, "ridge must be finite and 0 or"),
]


@pytest.mark.parametrize(("call", "error", "message"), MISTAKES, ids=[m[2][:40] for m in MISTAKES])
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
