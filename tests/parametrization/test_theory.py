"""Regimes, the gauge symmetry, and the network in which both are defined."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from theorylab.parametrization import (
    ABC,
    MFP,
    MUP,
    NTP,
    SP,
    abc_mlp,
    abc_rates,
    classify,
    r_exponent,
    regauge,
)

QUARTER = ABC((-1 / 4, 1 / 8, 1 / 2), (1 / 4, 3 / 8, 1 / 2))
EIGHTH = ABC((-3 / 8, 1 / 16, 1 / 2), (3 / 8, 7 / 16, 1 / 2))
SP1 = dataclasses.replace(SP, c=1.0)
TABLE = [
    # parametrization, depths, r, stable, feature learning, kernel
    (SP, (2, 5), -1, False, False, False),
    (SP1, (2, 5), 0.5, True, False, True),
    (NTP, (1, 2, 5), 0.5, True, False, True),
    (MFP, (1,), 0, True, True, False),
    (MUP, (1, 2, 5), 0, True, True, False),
    (QUARTER, (2, 5), 0.25, True, False, True),
    (EIGHTH, (2, 5), 0.125, True, False, True),
]


@pytest.mark.parametrize(("abc", "depths", "r", "stable", "rich", "kernel"), TABLE)
def test_the_named_parametrizations_have_the_regimes_of_the_theory(
    abc, depths, r, stable, rich, kernel
):
    for depth in depths:
        found = classify(abc, depth)
        assert found.r == r_exponent(abc, depth) == r
        assert found[:4] == (stable, stable, rich, kernel)
        assert len(found.reasons) == (6 if depth == 1 else 7)


def test_with_one_rate_r_is_the_formula_of_the_paper():
    rng = np.random.default_rng(0)
    for _ in range(300):
        depth = int(rng.integers(1, 6))
        a, b = (tuple(rng.normal(size=depth + 1)) for _ in range(2))
        c = float(rng.normal())
        least = min(2 * a[0] + 1, *(2 * x for x in a[1:-1])) if depth > 1 else 2 * a[0] + 1
        paper = min(a[-1] + b[-1], 2 * a[-1] + c) + c - 1 + least
        assert r_exponent(ABC(a, b, c), depth) == pytest.approx(paper, abs=1e-12)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "sign"])
def test_regimes_do_not_depend_on_the_gauge(optimizer):
    rng = np.random.default_rng(1)
    for _ in range(300):
        depth = int(rng.integers(1, 5))
        # exponents in sixteenths on the faces of the stable set, where shifts are exact
        a = rng.integers(-16, 17, depth + 1) / 16
        sums = [0, *[0.5] * (depth - 1), rng.choice([0.5, 0.75, 1.0])]
        abc = ABC(tuple(a), tuple(sums - a), float(rng.integers(-16, 17) / 16))
        theta = rng.integers(-32, 33, depth + 1) / 16
        moved = regauge(abc, theta, optimizer)
        assert (
            classify(moved, depth, optimizer=optimizer)[:4]
            == classify(abc, depth, optimizer=optimizer)[:4]
        )
        assert r_exponent(moved, depth, optimizer=optimizer) == pytest.approx(
            r_exponent(abc, depth, optimizer=optimizer), abs=1e-12
        )


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_stable_and_nontrivial_is_either_rich_or_a_kernel_and_all_classes_occur(optimizer):
    rng = np.random.default_rng(2)
    seen = set()
    for _ in range(20000):
        a = rng.integers(-4, 5, 3) / 4
        sums = rng.choice([0.5, 0.75, 1.0])
        abc = ABC(tuple(a), (-a[0], 0.5 - a[1], sums - a[2]), tuple(rng.integers(-4, 9, 3) / 4))
        found = classify(abc, 3, optimizer=optimizer)
        assert found.nontrivial == (found.feature_learning or found.kernel)
        assert not (found.feature_learning and found.kernel)
        assert not found.nontrivial or found.stable
        if found.feature_learning:
            assert sums >= 1  # outputs vanish at the start
        seen.add(found[:4])
    assert len(seen) == 4  # unstable, trivial, kernel, feature learning


def test_muP_of_adam_is_table_3():
    """Rates 1, 1/n, 1/n and a read-out of 1/n: every layer moves as much as it may."""
    table = ABC((0, 0, 0), (0, 0.5, 1), (0, 1, 1))
    assert classify(table, 4, optimizer="adam").feature_learning
    lazy = ABC((0, 0, 0), (0, 0.5, 0.5), (0.5, 1.5, 1))
    assert classify(lazy, 4, optimizer="adam").kernel
    assert not classify(SP, 4, optimizer="adam").stable


def test_reasons_say_what_fails():
    said = classify(SP, 2).reasons
    assert "features do not blow up: r = -1, at least 0: no" in said
    assert sum(reason.endswith(": no") for reason in said) == 4


# The network ------------------------------------------------------------------------------------


def trajectory(widths, abc, make, steps=8):
    """Outputs along a run in which only the gauge may differ."""
    init, apply = abc_mlp(widths, abc, jnp.tanh)
    rates = abc_rates(widths, abc)
    x = jax.random.normal(jax.random.key(5), (4, widths[0]))
    y = jnp.sin(3 * x[:, :1])
    params = init(jax.random.key(0))
    optimizer = make

    def step(carry, _):
        params, state = carry
        gradient = jax.grad(lambda p: jnp.mean((apply(p, x) - y) ** 2))(params)
        updates, state = optimizer.update(gradient, state, params)
        updates = jax.tree.map(lambda u, rate: rate * u, updates, rates)
        params = optax.apply_updates(params, updates)
        return (params, state), apply(params, x)

    run = jax.jit(lambda c: jax.lax.scan(step, c, None, length=steps)[1])
    return np.asarray(run((params, optimizer.init(params))))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("optimizer", "make", "tol"),
    [
        ("sgd", optax.sgd(0.2), 1e-10),
        ("adam", optax.adam(1e-2, eps=0.0), 1e-6),
        ("sign", optax.lion(1e-2, weight_decay=0.0), 1e-6),
    ],
)
def test_shifts_of_the_gauge_leave_the_trajectory_alone_layer_by_layer(optimizer, make, tol):
    widths = (3, 16, 16, 1)
    before = trajectory(widths, MUP, make)
    after = trajectory(widths, regauge(MUP, (0.3, -0.7, 1.1), optimizer), make)
    assert np.ptp(before, axis=0).min() > 1e-3  # it trains
    np.testing.assert_allclose(after, before, rtol=tol, atol=tol)
    wrong = "adam" if optimizer == "sgd" else "sgd"
    other = trajectory(widths, regauge(MUP, (0.3, -0.7, 1.1), wrong), make)
    assert not np.allclose(other, before, rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("x64")
def test_mean_field_is_muP_at_one_hidden_layer():
    widths = (3, 32, 1)
    shifted = regauge(MFP, -0.5)
    assert shifted == ABC(a=(-0.5, 0.5), b=(0.5, 0.5), c=0)
    make = optax.sgd(0.2)
    mean_field, mup = (trajectory(widths, abc, make) for abc in (MFP, MUP))
    assert np.ptp(mup, axis=0).max() > 1e-2
    np.testing.assert_allclose(mean_field, mup, rtol=1e-10, atol=1e-10)


def test_weights_have_the_deviations_and_multipliers_of_the_exponents():
    init, apply = abc_mlp((4, 400, 400, 1), QUARTER, jnp.tanh)
    params = init(jax.random.key(0))
    for w, b in zip(params, QUARTER.b, strict=True):
        assert float(jnp.std(w)) == pytest.approx(400**-b, rel=0.1)
    x = jnp.ones((2, 4))
    h = np.asarray(x, np.float64)
    expected = []
    for k, (w, a) in enumerate(zip(params, QUARTER.a, strict=True)):
        h = (np.tanh(h) if k else h) @ (np.asarray(w, np.float64) * 400.0**-a)
        expected.append(h)
    for found, value in zip(apply(params, x, features=True), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=2e-5, atol=2e-5)
    np.testing.assert_array_equal(apply(params, x), apply(params, x, features=True)[-1])


def test_dtypes_stay(x64):
    init, apply = abc_mlp((3, 8, 1), NTP, jnp.tanh)
    for dtype in (jnp.float32, jnp.float64):
        params = init(jax.random.key(0), dtype)
        assert params[0].dtype == dtype
        assert apply(params, jnp.ones((2, 3), dtype)).dtype == dtype


# Bad input --------------------------------------------------------------------------------------


def test_exponents_are_checked():
    for arguments, error, match in (
        (((0,), (0, 0)), ValueError, "a must hold at least two exponents"),
        ((0.5, (0, 0)), TypeError, "a must hold one exponent for the input"),
        (((0, "x"), (0, 0)), TypeError, "a\\[1\\] must be a number, got 'x'"),
        (((0, 0), (0, np.nan)), ValueError, "b\\[1\\] must be finite"),
        (((0, 0), (0, 0), np.inf), ValueError, "c must be finite"),
    ):
        with pytest.raises(error, match=match):
            ABC(*arguments)


def test_depths_and_names_are_checked():
    with pytest.raises(ValueError, match="a has 2 exponents; 2 hidden layers need 3"):
        r_exponent(MFP, 2)
    with pytest.raises(ValueError, match="depth, the number of hidden layers.*got 0"):
        classify(MUP, 0)
    with pytest.raises(TypeError, match="abc must be a parametrization.ABC, got 'mup'"):
        classify("mup", 2)
    with pytest.raises(ValueError, match="optimizer must be one of .*'muon'"):
        r_exponent(MUP, 2, optimizer="muon")
    with pytest.raises(ValueError, match="optimizer must be one of .*'muon'"):
        regauge(MUP, 0.5, "muon")
    with pytest.raises(ValueError, match="theta must be a number or have 3 entries"):
        regauge(MUP, (0.5, 0.5))
    with pytest.raises(ValueError, match="theta must be finite, got nan"):
        regauge(MUP, np.nan)
    with pytest.raises(ValueError, match="b has 2 exponents and a has 3"):
        regauge(ABC((0, 0, 0), (0, 0)), 0.5)


def test_networks_are_checked():
    for widths in ((3, 1), (3, 0, 1), (3, 2.5, 1), "abc", 7):
        with pytest.raises(ValueError, match="widths must"):
            abc_mlp(widths, MUP, jnp.tanh)
    with pytest.raises(TypeError, match="activation must be a function, got 'tanh'"):
        abc_mlp((3, 4, 1), MUP, "tanh")
    init, apply = abc_mlp((3, 4, 1), MUP, jnp.tanh)
    params = init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"x must have 3 entries.*got \(2, 4\)"):
        apply(params, jnp.ones((2, 4)))
    with pytest.raises(ValueError, match=r"params must have the shapes \(\(3, 4\), \(4, 1\)\)"):
        apply(params[:1], jnp.ones((2, 3)))


def test_half_precision_is_computed_in_float32_and_integers_are_refused():
    init, apply = abc_mlp((3, 8, 1), NTP, jnp.tanh)
    params = init(jax.random.key(0), jnp.bfloat16)
    wide = apply(tuple(w.astype(jnp.float32) for w in params), jnp.ones((2, 3)))
    half = apply(params, jnp.ones((2, 3), jnp.bfloat16))
    assert half.dtype == jnp.float32
    np.testing.assert_allclose(half, wide, rtol=1e-6)
    with pytest.raises(TypeError, match="params must be a real floating-point array"):
        apply(tuple(jnp.ones(w.shape, int) for w in params), jnp.ones((2, 3)))
    with pytest.raises(ValueError, match="overflows"):
        abc_mlp((3, 64, 1), ABC((-400, 0), (0, 0)), jnp.tanh)
