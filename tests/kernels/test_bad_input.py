"""What a wrong call is told."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import theorylab.kernels as tk

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
NET = tk.serial(tk.Dense(8), tk.Relu(), tk.Dense(1))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X[0],), ValueError, r"x1 must have shape \(n, d\) or .* got \(3,\)"),
        ((X[None], X), ValueError, r"same features, got shapes \(1, 4, 3\) and \(4, 3\)"),
        ((X, X[0]), ValueError, r"x2 must have shape \(n, d\) or .* got \(3,\)"),
        ((X, X[:, :2]), ValueError, r"same features, got shapes \(4, 3\) and \(4, 2\)"),
        ((X[:0],), ValueError, r"x1 must not be empty, got shape \(0, 3\)"),
        ((X[:, :0],), ValueError, r"x1 must not be empty, got shape \(4, 0\)"),
        ((X, X[:0]), ValueError, r"x2 must not be empty"),
        ((X.astype(int),), TypeError, r"x1 must be a real floating-point array.*int64"),
        ((X.astype(complex),), TypeError, r"x1 must be a real .* complex dtype complex"),
        ((X, X > 0), TypeError, r"x2 must be a real floating-point array.*bool"),
        (("digits",), TypeError, r"x1 must be a real floating-point array"),
        (((X, X),), ValueError, r"net\[0\] Dense takes one input but stands behind 2 branches"),
        ((X, (X,)), ValueError, r"x1 and x2 must have the same structure"),
        (((),), ValueError, r"x1: no input given"),
        (([X],), TypeError, r"x1 must be an array, or a tuple of arrays .* got a list"),
        (({"image": X},), TypeError, r"x1 must be an array, or a tuple .* got a dict"),
    ],
)
def test_wrong_inputs_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        NET.kernel(*arguments)
    with pytest.raises(error, match=message):  # and before anything is traced
        jax.eval_shape(lambda: NET.kernel(*arguments))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: tk.Dense(0), ValueError, r"Dense: out_dim must be at least 1, got 0"),
        (lambda: tk.Dense(2.5), TypeError, r"Dense: out_dim must be an integer, got 2.5"),
        (lambda: tk.Dense(1, W_std=-1.0), ValueError, r"W_std must not be negative, got -1.0"),
        (lambda: tk.Dense(1, b_std=-0.1), ValueError, r"b_std must not be negative, got -0.1"),
        (lambda: tk.Dense(1, W_std=float("nan")), ValueError, r"W_std must be finite, got nan"),
        (lambda: tk.Dense(1, W_std=None), TypeError, r"W_std must be a real number, got None"),
        (lambda: tk.Dense(1, W_std="1"), TypeError, r"W_std must be a real number, got '1'"),
        (lambda: tk.Dense(1, 1.0, None, "mup"), ValueError, r"'ntk' or 'standard', got 'mup'"),
        (lambda: tk.Dense(1, s=(0, 1)), ValueError, r"s must be two positive integers"),
        (lambda: tk.Erf(a=1j), TypeError, r"Erf: a must be a real number"),
        (lambda: tk.Dense(1, W_std=np.array(-1.0)), ValueError, r"W_std must not be negative"),
        (lambda: tk.Dense(1, W_std=jnp.array(-1.0)), ValueError, r"W_std must not be negative"),
        (lambda: tk.Dense(1, W_std=[1.0]), TypeError, r"W_std must be a real number"),
        (lambda: tk.Dense(1, s=3), ValueError, r"s must be two positive integers, got 3"),
        (lambda: tk.Gelu(3), TypeError, r"approximate must be a bool, got 3"),
        (lambda: tk.Rbf(-1.0), ValueError, r"gamma must not be negative, got -1.0"),
        (lambda: tk.FanOut(0), ValueError, r"num must be at least 1"),
        (lambda: tk.serial(), ValueError, r"serial: needs at least one layer"),
        (lambda: tk.serial(tk.Dense(1), tk.Relu), TypeError, r"argument 1 .* forget to call"),
    ],
)
def test_wrong_layers_are_refused_when_they_are_made(make, error, message):
    with pytest.raises(error, match=message):
        make()


DENSE = tk.Dense(4)


@pytest.mark.parametrize(
    ("net", "error", "message"),
    [
        (tk.Relu(), ValueError, r"^net needs a Gaussian input.*Dense"),
        (tk.serial(tk.Relu(), DENSE), ValueError, r"net\[0\] Relu needs a Gaussian input"),
        (tk.serial(DENSE, tk.Relu(), tk.Erf()), ValueError, r"net\[2\] Erf needs a Gaussian"),
        (tk.serial(tk.FanInSum()), ValueError, r"net\[0\] FanInSum needs branches to join"),
        (tk.serial(DENSE, tk.FanOut(2), DENSE), ValueError, r"net\[2\] Dense takes one input"),
        (tk.serial(DENSE, tk.FanOut(2)), ValueError, r"ends in several branches"),
        (
            tk.serial(tk.parallel(DENSE, DENSE)),
            ValueError,
            r"net\[0\] parallel has 2 branches but a single input",
        ),
        (
            tk.serial(tk.FanOut(3), tk.parallel(DENSE, DENSE), tk.FanInSum()),
            ValueError,
            r"2 branches but 3 inputs",
        ),
        (
            tk.serial(tk.FanOut(2), tk.parallel(DENSE, tk.Dense(5)), tk.FanInSum()),
            ValueError,
            r"net\[2\] FanInSum: branches must have equal shapes, got",
        ),
        (
            tk.serial(
                tk.FanOut(2),
                tk.parallel(tk.serial(DENSE, tk.Relu()), tk.serial(DENSE, tk.Relu())),
                tk.FanInSum(),
            ),
            NotImplementedError,
            r"net\[2\] FanInSum joins 2 branches that are not Gaussian",
        ),
        (
            tk.serial(DENSE, tk.FanOut(2), tk.parallel(tk.Identity(), tk.Relu()), tk.FanInSum()),
            NotImplementedError,
            r"carry the same signal on",
        ),
    ],
)
def test_layers_that_cannot_stand_where_they_do_are_named(net, error, message):
    with pytest.raises(error, match=message):
        net.kernel(X)
    with pytest.raises(error, match=message):
        net.plan(X.shape)


def test_a_hyperparameter_with_axes_points_to_vmap():
    with pytest.raises(ValueError, match=r"W_std must be a scalar, got shape \(2,\).*vmap"):
        tk.serial(tk.Dense(1, W_std=jnp.ones(2))).kernel(X)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((X, X[:, :2]), ValueError, r"same features"),
        ((X[0], X), ValueError, r"x1 must have shape \(n, d\) or .* got \(3,\)"),
        ((X, X.astype(int)), TypeError, r"x2 must be a real floating-point array"),
    ],
)
def test_wrong_inputs_of_a_state_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        tk.input_state(*arguments)


def test_unknown_layer_inputs_are_refused():
    with pytest.raises(TypeError, match="takes the input pattern"):
        NET.kernel(X, pattern=X)


def test_a_memory_limit_shrinks_tiles_and_names_what_would_do():
    roomy = NET.plan((2000, 8))
    tight = NET.plan((2000, 8), memory_limit=roomy.bytes_peak)
    assert tight.tile < roomy.tile and tight.bytes_peak < roomy.bytes_peak
    with pytest.raises(TypeError, match=r"whole number of bytes, got '1GB'"):
        NET.kernel(X, memory_limit="1GB")
    with pytest.raises(ValueError, match=r"x1 must have a tuple \(n, d\) or .* got 3"):
        NET.plan(3)
    with pytest.raises(ValueError, match=r"memory_limit: 1000 bytes .* \d+ would do"):
        NET.kernel(X, memory_limit=1000)
    with pytest.raises(ValueError, match=r"memory_limit must be positive, got 0"):
        NET.plan((5, 3), memory_limit=0)
    with pytest.raises(ValueError, match=r"whole numbers, got 5\.0 in \(5\.0, 3\)"):
        NET.plan((5.0, 3))
    with pytest.raises(TypeError, match=r"dtype must be a real floating-point array"):
        tk.plan(NET, (5, 3), dtype=np.int32)
    for shapes in (((100, 5), (3, 5)), ((17, 5000), None)):
        with pytest.raises(ValueError, match="would do") as raised:
            NET.plan(*shapes, memory_limit=1)
        named = int(re.search(r"(\d+) would do", str(raised.value)).group(1))
        assert NET.plan(*shapes, memory_limit=named).bytes_peak <= named
    small = NET.kernel(X, memory_limit=10**6)
    assert np.allclose(small.ntk, NET.kernel(X).ntk)
