"""Mistakes are caught before tracing, in words that name the argument, the rule and the value."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import predict


class Pair(NamedTuple):
    nngp: Any
    ntk: Any


K, Y = np.eye(3), np.ones((3, 2))
KS, KSS = np.ones((2, 3)), np.eye(2)
flow, posterior = predict.gradient_flow, predict.posterior
steps = predict.gradient_steps

MISTAKES = [
    (lambda: flow(K[:2], Y), ValueError, r"k_train must have shape \(2, 2\).*got \(2, 3\)"),
    (lambda: flow(K[0], Y), ValueError, r"k_train must be a non-empty matrix, got shape \(3,\)"),
    (lambda: flow(np.zeros((0, 0)), Y), ValueError, "k_train must be a non-empty matrix"),
    (lambda: flow(np.zeros((3, 3, 2, 2)), Y), ValueError, "k_train must be a non-empty matrix"),
    (lambda: flow(K, Y[:2]), ValueError, r"y must have one row for each of the 3 .*\(2, 2\)"),
    (lambda: flow(K, 1.0), ValueError, r"y must have one row for each of the 3 .*\(\)"),
    (lambda: flow(K, Y[:, :0]), ValueError, r"y must not be empty, got shape \(3, 0\)"),
    (lambda: flow(K, Y.astype(int)), TypeError, "y must be a real floating-point array.*int"),
    (lambda: flow(K.astype(int), Y), TypeError, "k_train must be a real floating-point.*int"),
    (
        lambda: flow(K.astype(complex), Y),
        TypeError,
        "k_train must be a real floating-point.*complex",
    ),
    (lambda: flow("kernel", Y), TypeError, "k_train must be"),
    (
        lambda: flow(K, Y, learning_rate=0),
        ValueError,
        "learning_rate must be finite and positive, got 0",
    ),
    (lambda: flow(K, Y, learning_rate=-1.0), ValueError, "learning_rate must be .* got -1.0"),
    (
        lambda: flow(K, Y, ridge=-0.1),
        ValueError,
        "ridge must be finite and 0 or positive, got -0.1",
    ),
    (lambda: flow(K, Y, ridge=float("nan")), ValueError, "ridge must be finite .* got nan"),
    (lambda: flow(K, Y, ridge=1j), TypeError, "ridge must be a real number, got 1j"),
    (lambda: flow(K, Y, ridge=np.ones(3)), ValueError, r"ridge must be a scalar, got shape \(3,\)"),
    (lambda: flow(Pair(K, None), Y), ValueError, "k_train.ntk is None"),
    (lambda: flow(Pair(KSS, K), Y), ValueError, r"k_train.nngp must have shape \(3, 3\)"),
    (
        lambda: flow(K, Y)(1.0, KS.T),
        ValueError,
        r"k_test_train must have shape \(3, 3\).*got \(3, 2\)",
    ),
    (lambda: flow(K, Y)(1.0, Pair(KS, None)), ValueError, "k_test_train.ntk is None"),
    (lambda: flow(K, Y)(1.0, KS, K), ValueError, r"k_test_test must have shape \(2, 2\)"),
    (lambda: flow(K, Y)(1.0, None, KSS), ValueError, "k_test_test is given without k_test_train"),
    (
        lambda: flow(K, Y)(1.0, f0_train=Y, f0_test=Y),
        ValueError,
        "f0_test is given without k_test_train",
    ),
    (lambda: flow(K, Y)(1.0, KS, f0_train=Y), ValueError, "f0_train is given without f0_test"),
    (lambda: flow(K, Y)(1.0, KS, f0_test=Y[:2]), ValueError, "f0_test is given without f0_train"),
    (lambda: flow(K, Y)(1.0, f0_train=Y[:2]), ValueError, r"f0_train must have shape \(3, 2\)"),
    (lambda: flow(K, Y)(1.0, KS, None, Y, Y), ValueError, r"f0_test must have shape \(2, 2\)"),
    (lambda: flow(K, Y)(-1.0), ValueError, "t must not be negative, got -1.0"),
    (lambda: flow(K, Y)([0.0, -2.0]), ValueError, "t must not be negative"),
    (lambda: flow(K, Y)(np.ones((2, 2))), ValueError, r"t must be a scalar or a vector.*\(2, 2\)"),
    (lambda: flow(K, Y)([]), ValueError, "t must be a scalar or a vector"),
    (lambda: flow(K, Y)(1j), TypeError, "t must be a real number"),
    (lambda: flow(K, Y)(None), TypeError, "t must be a real number"),
    (lambda: steps(K, Y, learning_rate=1.0)(1.5), ValueError, "steps must be whole numbers"),
    (lambda: steps(K, Y, learning_rate=1.0)(-1), ValueError, "steps must not be negative"),
    (lambda: posterior(K, KS.T, KSS, Y), ValueError, r"k_test_train must have shape \(3, 3\)"),
    (lambda: posterior(K, KS, K, Y), ValueError, r"k_test_test must have shape \(2, 2\)"),
    (lambda: posterior(K, KS, KSS, Y[:1]), ValueError, "y must have one row"),
    (
        lambda: posterior(K, KS, KSS, Y, noise=-1),
        ValueError,
        "noise must be finite and 0 or positive",
    ),
    (
        lambda: posterior(K, KS.astype(int), KSS, Y),
        TypeError,
        "k_test_train must be a real floating",
    ),
    (lambda: posterior(K, KS, KSS, Y.astype(bool)), TypeError, "y must be a real floating"),
    (lambda: posterior(Pair(None, K), KS, KSS, Y), ValueError, "k_train.nngp is None"),
    (lambda: posterior(K, KS[:0], None, Y), ValueError, r"k_test_train must be a non-empty matrix"),
]


@pytest.mark.parametrize(("call", "error", "message"), MISTAKES, ids=[m[2][:40] for m in MISTAKES])
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_values_are_never_the_reason_for_an_error_under_jit():
    p = jax.jit(lambda t, r: flow(jnp.eye(3), jnp.ones(3), learning_rate=r)(t))(-1.0, -1.0)
    assert p.mean.shape == (3,)
