"""Spatial networks: axes, tiles, what is kept of the positions, derivatives, extreme scales."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import theorylab.kernels as tk
from theorylab.kernels import _budget

X = np.random.default_rng(0).normal(size=(5, 4, 4, 2)).astype(np.float32)
X[2, :2] = 0


def pooled(**options):
    conv = tk.Conv(3, (3, 3), padding="SAME", W_std=1.3, b_std=0.1, **options)
    axes = {"channel_axis": 1} if options else {}
    return tk.serial(conv, tk.Relu(), conv, tk.Erf(), tk.GlobalAvgPool(**axes), tk.Dense(1))


def test_channels_first_gives_the_kernel_of_channels_last():
    numbers = ("NCHW", "OIHW", "NCHW")
    first = pooled(dimension_numbers=numbers).kernel(np.moveaxis(X, -1, 1))
    last = pooled().kernel(X)
    assert np.allclose(first.nngp, last.nngp, rtol=1e-6)
    assert np.allclose(first.ntk, last.ntk, rtol=1e-6)


def test_tiles_and_the_general_case_agree_for_images(monkeypatch):
    net = pooled()
    whole = net.kernel(X)
    general = net.kernel(X, X[:3])
    monkeypatch.setattr(_budget, "TILE", 2 * 16)
    assert net.plan(X.shape).tile[0] < len(X)
    tiled = net.kernel(X)
    for which in ("nngp", "ntk"):
        a, b, c = (np.asarray(getattr(k, which)) for k in (whole, tiled, general))
        assert np.array_equal(b, b.T)
        assert np.allclose(a, b, rtol=2e-6)
        assert np.allclose(a[:, :3], c, rtol=2e-6)


def test_tiles_keep_the_spatial_axes_of_the_output(monkeypatch):
    net = tk.serial(tk.Conv(3, (2, 2), W_std=1.3, b_std=0.1), tk.Relu(), tk.Conv(2, (2, 1)))
    whole, general = net.kernel(X), net.kernel(X, X[:3])
    monkeypatch.setattr(_budget, "TILE", 2 * 16)
    tiled = net.kernel(X)
    assert tiled.ntk.shape == (5, 5, 2, 3, 2, 3)
    for which in ("nngp", "ntk"):
        a, b, c = (np.asarray(getattr(k, which)) for k in (whole, tiled, general))
        assert np.allclose(a, b, rtol=2e-6)
        assert np.allclose(a[:, :3], c, rtol=2e-6)


def test_near_duplicates_keep_single_precision_behind_a_pool_under_a_kink():
    """The gap behind a pool is a difference; a root of its rounding would be 3e-4."""
    conv = [tk.Conv(3, (2, 2), padding="SAME", W_std=1.25, b_std=0.125), tk.Relu()]
    net = tk.serial(*conv, tk.AvgPool((2, 2), (2, 2)), *conv, tk.GlobalAvgPool(), tk.Dense(1))
    noise = np.random.default_rng(1).normal(size=X[:2].shape)
    x = np.concatenate([X, X[:2] + 1e-3 * noise, X[:2] + 1e-5 * noise, X[:1], 2.5 * X[:1]])
    x = x.astype(np.float32)
    single = net.kernel(x)
    with jax.enable_x64(True):
        double = net.kernel(x.astype(np.float64))
    for k32, k64 in zip(single, double, strict=True):
        k32, k64 = np.asarray(k32, np.float64), np.asarray(k64)
        norm = np.sqrt(np.diag(k64))
        assert k32.dtype == np.float64 and np.max(np.abs(k32 - k64) / np.outer(norm, norm)) < 3e-7


def test_dropping_pairs_of_positions_behind_the_last_pool_changes_nothing():
    pool = tk.AvgPool((2, 2), strides=(2, 2))
    layers = (tk.Conv(3, (2, 2), W_std=1.2), tk.Relu(), pool)
    net = tk.serial(*layers, tk.Flatten(), tk.Dense(1))
    kept = jax.jit(lambda x: net.propagate(tk.input_state(x, x)).kernel())(X)
    planned = net.kernel(X)
    assert np.allclose(kept.ntk, planned.ntk, rtol=1e-5)
    assert np.allclose(kept.nngp, planned.nngp, rtol=1e-5)


def test_single_precision_derivatives_of_pooled_networks_equal_double_ones():
    """With 64-bit types off outside: what is wide inside must be transposed without them."""
    net = tk.serial(
        tk.Conv(3, (2, 2), padding="SAME", W_std=1.3, b_std=0.2),
        tk.Relu(),
        tk.AvgPool((2, 2), padding="SAME", normalize_edges=True),
        tk.Conv(3, (2, 2), W_std=1.1),
        tk.Gelu(),
        tk.GlobalAvgPool(),
        tk.Dense(1),
    )

    def total(net, x):
        return jnp.sum(net.kernel(x, X[:2].astype(x.dtype)).ntk)

    with jax.enable_x64(True):
        double = jax.jacfwd(total)(net, jnp.asarray(X, jnp.float64))
    for mode in (jax.grad, jax.jacfwd):
        single = mode(total)(net, jnp.asarray(X))
        for a, b in zip(jax.tree.leaves(single), jax.tree.leaves(double), strict=True):
            assert np.isfinite(a).all()
            assert np.allclose(a, b, rtol=1e-4)


def test_a_kernel_beyond_its_dtype_comes_with_the_logarithm_of_its_unit():
    """ReLU networks without bias: K grows by W^2/2 a layer, and the correlations do not change."""

    def deep(w):
        hidden = tk.serial(tk.Conv(2, (3, 3), padding="SAME", W_std=w), tk.Relu())
        net = tk.serial(tk.repeat(hidden, 100), tk.GlobalAvgPool(), tk.Dense(1, W_std=w))
        return net.kernel(X)

    critical, large = deep(math.sqrt(2)), deep(10.0)
    assert float(critical.log_scale.nngp) == 0 == float(critical.log_scale.ntk)
    for which in ("nngp", "ntk"):
        log = float(getattr(large.log_scale, which))
        moderate, huge = np.asarray(getattr(critical, which)), np.asarray(getattr(large, which))
        assert np.isfinite(huge).all() and (np.diag(huge) > 0).all()
        assert np.allclose(np.log(huge / moderate) + log, 101 * math.log(50), rtol=1e-6)


def test_smooth_networks_neither_overflow_nor_vanish():
    x = X[:, 0, 0]
    for activation in (tk.Erf(), tk.Gelu(), tk.Sin()):
        for w in (10.0, 0.01):
            hidden = tk.serial(tk.Dense(4, W_std=w), activation)
            kernel = tk.serial(tk.repeat(hidden, 100), tk.Dense(1, W_std=w)).kernel(x)
            for k in kernel:
                live = np.diag(k)[np.any(x != 0, axis=1)]
                assert np.isfinite(k).all() and (live > 0).all(), (activation, w)


def test_a_kernel_is_a_pair_with_a_unit():
    kernel = tk.Dense(1).kernel(X[:, 0, 0])
    nngp, ntk = kernel
    assert nngp is kernel.nngp and ntk is kernel.ntk and len(kernel) == 2
    again = jax.tree.map(lambda a: a + 0, kernel)
    assert isinstance(again, tk.Kernel) and float(again.log_scale.nngp) == 0
    assert kernel._replace(ntk=None).log_scale is kernel.log_scale


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (tk.serial(tk.Conv(3, (5, 5)), tk.Flatten()), r"net\[0\] Conv.*must fit into the image"),
        (
            tk.serial(tk.Conv(3, (3, 3)), tk.Relu(), tk.LayerNorm()),
            r"net\[2\] LayerNorm needs a Gaussian input",
        ),
        (
            tk.serial(tk.Conv(3, (3, 3)), tk.GlobalAvgPool(channel_axis=1)),
            r"net\[1\] GlobalAvgPool has channel_axis=1.*channel axis at 3",
        ),
        (tk.serial(tk.Flatten(), tk.Dense(2), tk.GlobalAvgPool()), r"net\[2\] GlobalAvgPool"),
        (tk.serial(tk.Conv(3, (3,))), r"net\[0\] Conv"),
        (
            tk.repeat(tk.serial(tk.Conv(3, (2, 2)), tk.Relu()), 2),
            r"must keep the form of its own output",
        ),
    ],
)
def test_spatial_layers_that_cannot_stand_where_they_do_are_named(net, message):
    with pytest.raises(ValueError, match=message):
        net.kernel(X)
    with pytest.raises(ValueError, match=message):
        net.plan(X.shape)


def test_images_behind_a_pool_have_no_angle_with_themselves():
    """What rounding leaves of such a gap is taken as 0: a root of it would tilt the derivative."""
    pool = tk.AvgPool((2,), (1,))
    lower, upper = tk.Conv(4, (2,), W_std=1.3, b_std=0.2), tk.Conv(4, (1,), W_std=1.1, b_std=0.1)
    net = tk.serial(lower, tk.Relu(), pool, upper, tk.Relu(), tk.Flatten())
    x = np.random.default_rng(1).normal(size=(6, 5, 2)).astype(np.float32)

    def own(x):
        return jnp.diag(net.kernel(x).ntk)

    single = np.asarray(jax.jacrev(own)(x))
    with jax.enable_x64(True):
        wide = x.astype(np.float64)
        double = np.asarray(jax.jacrev(own)(wide))
        state = tk.input_state(jnp.asarray(wide), jnp.asarray(wide))
        gap = np.asarray(tk.serial(lower, tk.Relu(), pool).propagate(state).gap)
    assert np.max(np.abs(single - double)) < 1e-6
    assert np.all(np.einsum("iipp->ip", gap) == 0)


def test_derivatives_of_wide_pairs_pass_through_tiles(monkeypatch):
    net = tk.serial(tk.Conv(4, (1,), W_std=1.3, b_std=0.1), tk.Erf(), tk.GlobalAvgPool())
    x = np.random.default_rng(2).normal(size=(3, 4, 2)).astype(np.float32)

    def entry(x):
        return net.kernel(x).ntk[0, 1]

    whole = jax.grad(entry)(x)
    monkeypatch.setattr(_budget, "TILE", 8)
    assert net.plan(x.shape).tile[0] < 3
    assert np.allclose(jax.grad(entry)(x), whole, rtol=1e-5, atol=1e-7)


MIXED = tk.serial(tk.Conv(4, (1, 1), W_std=0.0625), tk.Relu(), tk.Conv(4, (1, 1), W_std=0.5))


@pytest.mark.parametrize(
    "below",
    [
        (tk.Conv(4, (1, 1), W_std=1.25), tk.LeakyRelu(0.875)),
        (tk.FanOut(2), tk.parallel(tk.Conv(4, (1, 1), W_std=1.5), MIXED), tk.FanInSum()),
    ],
)
def test_covariances_that_cancel_in_a_pool_keep_single_precision(below):
    net = tk.serial(*below, tk.GlobalAvgPool(), tk.Dense(1, W_std=1.125))
    x = np.random.default_rng(3).normal(size=(4, 4, 4, 3))
    x = (x - x.mean(axis=(1, 2), keepdims=True)).astype(np.float32)
    single = net.kernel(x)
    with jax.enable_x64(True):
        double = net.kernel(x.astype(np.float64))
    for k32, k64 in zip(single, map(np.asarray, double), strict=True):
        norm = np.sqrt(np.diag(k64))
        assert np.max(np.abs(np.asarray(k32, np.float64) - k64) / np.outer(norm, norm)) < 1e-6


def test_the_batch_axis_of_branches_cannot_be_joined():
    branches = tk.parallel(tk.Conv(3, (2, 2)), tk.Conv(3, (2, 2)))
    net = tk.serial(tk.FanOut(2), branches, tk.FanInConcat(0))
    with pytest.raises(ValueError, match=r"net\[2\] FanInConcat: axis 0 is the batch axis"):
        net.plan(X.shape)


def test_reverse_derivatives_at_near_duplicates_behind_a_pool_are_those_of_forward_mode():
    """They are sums of terms as large as the inverse of the angle, which nearly cancel."""
    conv = tk.Conv(4, (2,), W_std=1.25, b_std=0.25)
    net = tk.serial(conv, tk.Relu(), tk.AvgPool((2,), (1,)), conv, tk.Relu(), tk.Flatten())
    x = np.random.default_rng(1).normal(size=(3, 5, 2))
    x[1] = x[0] + 1e-5 * x[2]

    def entry(x):
        return net.kernel(x).ntk[0, 1]

    x = x.astype(np.float32)
    reverse, forward = (np.asarray(mode(entry)(x)) for mode in (jax.grad, jax.jacfwd))
    assert np.max(np.abs(reverse - forward)) < 1e-6 * np.max(np.abs(forward))
