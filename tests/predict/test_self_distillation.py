"""Self-distillation against the published table, the explicit recursion and plain regression."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import predict
from theorylab.predict import Status

# The eleven points of Mobahi, Farajtabar & Bartlett (2020), a sine wave with noise, as Borup &
# Andersen's public notebook (Kennethborup/self_distillation, toy_example.ipynb) gives them. The
# table is that of its README: kernel exp(-80 d^2), ridge 0.2, mean squared distance of each
# generation from sin(2 pi x) on x = 0, 0.01, ..., 1; the last number is the limit.
X = np.arange(11) / 10
Y = np.array(
    [
        0.38476636465198066,
        1.2333967683416893,
        1.33232242218057,
        0.6920159488889518,
        -0.29756145531871736,
        -0.24189291901377769,
        -0.7964485769175675,
        -0.9616480167034174,
        -0.49672509509916934,
        -0.3469066003991437,
        0.5589512650600734,
    ]
)
GRID = np.arange(101) / 100
TABLE = {
    0.0: (0.16477, 0.15076, 0.14915, 0.15561, 0.16735, 0.18251, 0.49505),
    # An older README heads this column 0.25; the numbers, and its text today, are those of 0.35.
    0.35: (0.16477, 0.15424, 0.15089, 0.14983, 0.14954, 0.14948, 0.14959),
}
N, M, C, RIDGE = 7, 4, 2, 0.3


class Pair(NamedTuple):
    nngp: Any
    ntk: Any


def rbf(a, b):
    return np.exp(-80 * (a[:, None] - b) ** 2)


def published(alpha, dtype=np.float64):
    k, grid = rbf(X, X).astype(dtype), rbf(GRID, X).astype(dtype)
    d = predict.self_distillation(
        k, Y.astype(dtype), ridge=0.2, alpha=alpha, steps=6, k_test_train=grid
    )
    predicted = np.concatenate([d.test_fits, d.test_limit[None]])
    return np.mean((predicted - np.sin(2 * np.pi * GRID)) ** 2, axis=1), d.status


def problem(dtype=np.float64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N + M, 20)) / np.sqrt(20)
    k = x @ x.T
    y = rng.normal(size=(N, C))
    return k[:N, :N].astype(dtype), k[N:, :N].astype(dtype), y.astype(dtype)


def recursion(k, cross, y, ridge, weights):
    """The definition, with an inverse: fits at training and test points."""
    s = np.linalg.inv(k + ridge * np.eye(len(k)))
    fit, fits, tests = y, [], []
    for weight in weights:
        blend = weight * y + (1 - weight) * fit
        fit = k @ s @ blend
        fits.append(fit)
        tests.append(cross @ s @ blend)
    return np.stack(fits), np.stack(tests)


@pytest.mark.parametrize("alpha", TABLE)
def test_the_published_table_is_reproduced_to_five_decimals(x64, alpha):
    losses, status = published(alpha)
    assert [f"{loss:.5f}" for loss in losses] == [f"{loss:.5f}" for loss in TABLE[alpha]]
    assert status == Status.SUCCESS


def test_the_published_table_has_no_column_for_a_quarter(x64):
    # The heading that an older README has: 0.25 gives other numbers, from the second one on.
    losses, _ = published(0.25)
    assert f"{losses[0]:.5f}" == "0.16477"
    assert all(abs(a - b) > 3e-5 for a, b in zip(losses[1:], TABLE[0.35][1:], strict=True))


def test_float32_reproduces_the_published_table_and_keeps_its_dtype():
    losses, _ = published(0.35, np.float32)
    np.testing.assert_allclose(losses, TABLE[0.35], atol=6e-6)
    k, cross, y = problem(np.float32)
    d = predict.self_distillation(k, y, ridge=RIDGE, alpha=0.5, steps=2, k_test_train=cross)
    assert {x.dtype for x in d if x is not d.status} == {jnp.dtype(jnp.float32)}
    w = predict.distillation_weights(k, y, cross, y[:M], ridge=RIDGE, steps=2)
    assert {x.dtype for x in w if x is not w.status} == {jnp.dtype(jnp.float32)}
    half = predict.self_distillation(k.astype(jnp.bfloat16), y, ridge=RIDGE, alpha=0.5, steps=2)
    assert half.fits.dtype == jnp.float32


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0, [0.9, -1.5, 0.4, 2.0, 0.1]], ids=str)
def test_every_generation_is_the_recursion_of_the_definition(x64, alpha):
    k, cross, y = problem()
    alpha = np.asarray(alpha) if isinstance(alpha, list) else alpha
    d = predict.self_distillation(k, y, ridge=RIDGE, alpha=alpha, steps=5, k_test_train=cross)
    fits, tests = recursion(k, cross, y, RIDGE, np.broadcast_to(alpha, 5))
    np.testing.assert_allclose(d.fits, fits, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(d.test_fits, tests, rtol=1e-12, atol=1e-13)
    assert d.status == Status.SUCCESS


@pytest.mark.parametrize("alpha", [0.05, 0.35, 1.0, np.array(1.3), np.array(-0.1)], ids=str)
def test_the_limit_is_ridge_regression_with_the_ridge_over_alpha_and_is_approached(x64, alpha):
    k, cross, y = problem()
    d = predict.self_distillation(k, y, ridge=1.0, alpha=alpha, steps=400, k_test_train=cross)
    inverse = np.linalg.inv(k + 1.0 / alpha * np.eye(N))
    np.testing.assert_allclose(d.limit, k @ inverse @ y, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(d.test_limit, cross @ inverse @ y, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(d.fits[-1], d.limit, atol=1e-9)
    np.testing.assert_allclose(d.test_fits[-1], d.test_limit, atol=1e-9)


def test_without_true_targets_the_limit_is_zero_unless_nothing_regularises(x64):
    k, cross, y = problem()
    d = predict.self_distillation(k, y, ridge=RIDGE, alpha=0, steps=300, k_test_train=cross)
    np.testing.assert_array_equal(d.limit, 0)
    np.testing.assert_array_equal(d.test_limit, 0)
    assert np.abs(d.fits[-1]).max() < np.abs(d.fits[0]).max() / 20
    for alpha in (0, 0.4):
        d = predict.self_distillation(k, y, ridge=0, alpha=alpha, steps=3, k_test_train=cross)
        interpolant = cross @ np.linalg.solve(k, y)
        for fit, test in zip([*d.fits, d.limit], [*d.test_fits, d.test_limit], strict=True):
            np.testing.assert_allclose(fit, y, atol=1e-11)
            np.testing.assert_allclose(test, interpolant, atol=1e-11)
        assert d.status == Status.SUCCESS


def test_without_a_ridge_duplicated_points_keep_their_average_for_ever(x64):
    k = np.kron(np.ones((2, 2)), np.eye(3))
    d = predict.self_distillation(k, np.arange(6.0), ridge=0.0, alpha=0.0, steps=2)
    average = [1.5, 2.5, 3.5, 1.5, 2.5, 3.5]
    for fit in (*d.fits, d.limit):
        np.testing.assert_allclose(fit, average, atol=1e-13)


def test_a_weight_under_which_generations_grow_has_no_limit_and_says_so(x64):
    k, cross, y = problem()
    d = predict.self_distillation(k, y, ridge=0.1, alpha=np.array(-2.0), steps=3)
    assert d.status == Status.DIVERGES
    assert np.isnan(d.limit).all()
    np.testing.assert_allclose(d.fits, recursion(k, cross, y, 0.1, [-2.0] * 3)[0], atol=1e-11)
    # The boundary: |1 - alpha| d = d + ridge at the largest eigenvalue d.
    edge = 0.1 / np.linalg.eigvalsh(k)[-1]
    for alpha, status in ((-0.99 * edge, Status.SUCCESS), (-1.01 * edge, Status.DIVERGES)):
        d = predict.self_distillation(k, y, ridge=0.1, alpha=np.array(alpha), steps=1)
        assert d.status == status


def test_a_pair_stands_for_its_ntk_and_targets_may_have_any_trailing_shape(x64):
    k, cross, y = problem()
    options = {"ridge": RIDGE, "alpha": 0.4, "steps": 3}
    plain = predict.self_distillation(k, y, **options, k_test_train=cross)
    pair = predict.self_distillation(
        Pair(None, k), y[:, 0], **options, k_test_train=Pair(None, cross)
    )
    np.testing.assert_allclose(pair.fits, plain.fits[..., 0], atol=1e-14)
    np.testing.assert_allclose(pair.test_limit, plain.test_limit[..., 0], atol=1e-14)
    deep = predict.self_distillation(k, y[:, :, None], **options, k_test_train=cross)
    assert deep.fits.shape == (3, N, C, 1)
    assert deep.limit.shape == (N, C, 1)
    assert deep.test_fits.shape == (3, M, C, 1)
    assert deep.test_limit.shape == (M, C, 1)
    np.testing.assert_allclose(deep.test_fits[..., 0], plain.test_fits, atol=1e-14)
    assert predict.self_distillation(k, y, **options).test_fits is None


# Best weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [True, False])
def test_best_weights_are_those_of_a_fine_grid(x64, clip):
    k, cross, y = problem()
    y_val = cross @ np.linalg.solve(k + 0.8 * np.eye(N), y)
    w = predict.distillation_weights(k, y, cross, y_val, ridge=RIDGE, steps=4, clip=clip)
    assert w.status == Status.SUCCESS
    assert w.alpha[0] == 1
    chosen = np.asarray(w.alpha)
    outside = np.any((chosen < 0) | (chosen > 1))
    assert outside == (not clip)
    d = predict.self_distillation(k, y, ridge=RIDGE, alpha=w.alpha, steps=4, k_test_train=cross)
    losses = np.mean((d.test_fits - y_val) ** 2, axis=(1, 2))
    np.testing.assert_allclose(w.losses, losses, rtol=1e-9)
    grid = np.linspace(0, 1, 101) if clip else chosen[:, None] + np.linspace(-1, 1, 101)
    for step in range(1, 4):
        for weight in grid if clip else grid[step]:
            other = chosen.copy()
            other[step] = weight
            _, tests = recursion(k, cross, y, RIDGE, other)
            assert np.mean((tests[step] - y_val) ** 2) >= losses[step] * (1 - 1e-12)


def test_best_weights_do_not_divide_by_zero_where_the_weight_has_no_effect(x64):
    k, cross, y = problem()
    w = predict.distillation_weights(k, y, cross, y[:M], ridge=0.0, steps=3, clip=False)
    np.testing.assert_array_equal(w.alpha, 1)
    assert w.status == Status.SUCCESS


# Battery -----------------------------------------------------------------------------------------


def total(k, y, cross, ridge, alpha):
    d = predict.self_distillation(k, y, ridge=ridge, alpha=alpha, steps=3, k_test_train=cross)
    return (
        jnp.sum(jnp.sin(d.fits))
        + jnp.sum(d.limit**2)
        + jnp.sum(d.test_fits**3)
        + jnp.sum(d.test_limit**2)
    )


@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_derivatives_agree_with_finite_differences_in_every_argument(x64, alpha):
    k, cross, y = problem()
    rng = np.random.default_rng(1)
    arguments = (k, y, cross, 0.3, alpha)
    gradients = jax.grad(total, argnums=range(5))(*arguments)
    for i, (argument, gradient) in enumerate(zip(arguments, gradients, strict=True)):
        direction = rng.normal(size=np.shape(argument))
        if i == 0:
            direction = direction + direction.T
        moved = []
        for sign in (1, -1):
            changed = list(map(jnp.asarray, arguments))  # arrays: alpha may step below 0
            changed[i] = argument + jnp.asarray(sign * 1e-5 * direction)
            moved.append(total(*changed))
        difference = (moved[0] - moved[1]) / 2e-5
        np.testing.assert_allclose(np.sum(gradient * direction), difference, rtol=2e-7, atol=1e-8)


def test_derivatives_at_repeated_eigenvalues_are_exact(x64):
    # K = s I: y_2 = a (alpha + (1 - alpha) a) y with a = s / (s + ridge), ridge 1, alpha 1/2.
    def fit(s):
        d = predict.self_distillation(s * jnp.eye(3), jnp.ones(3), ridge=1.0, alpha=0.5, steps=2)
        return d.fits[1, 0], d.limit[0]

    # a = 1/2, a' = 1/4: y_2' = a' / 2 + a a'; the limit is s / (s + 2).
    np.testing.assert_allclose(jax.jacobian(fit)(1.0), (0.25, 2 / 9), rtol=1e-14)


def test_jit_vmap_over_ridge_and_alpha_and_strict_promotion(x64, strict_promotion):
    k, cross, y = problem()

    def fits(ridge, alpha):
        d = predict.self_distillation(k, y, ridge=ridge, alpha=alpha, steps=3, k_test_train=cross)
        w = predict.distillation_weights(k, y, cross, y[:M], ridge=ridge, steps=3)
        return d.test_fits, d.limit, d.status, w.alpha

    ridges, alphas = jnp.array([0.1, 0.7]), jnp.array([0.0, 0.6])
    many = jax.jit(jax.vmap(fits))(ridges, alphas)
    for i in range(2):
        one = fits(float(ridges[i]), float(alphas[i]))
        for a, b in zip(many, one, strict=True):
            np.testing.assert_allclose(a[i], b, atol=1e-12)


def test_the_second_call_with_other_values_compiles_nothing(x64):
    from theorylab.predict import _distillation_weights, _self_distillation

    k, cross, y = problem()

    def call(scale, ridge, alpha):
        predict.self_distillation(scale * k, y, ridge=ridge, alpha=alpha, steps=3)
        predict.distillation_weights(scale * k, y, cross, y[:M], ridge=ridge, steps=3)
        return (
            _self_distillation._distil._cache_size() + _distillation_weights._choose._cache_size()
        )

    assert call(1.0, 0.1, 0.2) == call(2.0, 0.3, 1)


def test_trouble_is_reported(x64):
    k, cross, y = problem()
    options = {"ridge": RIDGE, "alpha": 0.5, "steps": 2}
    swapped = k.copy()
    swapped[0, 1] += 1e-3
    d, symmetric = (predict.self_distillation(q, y, **options) for q in (swapped, k))
    assert d.status == Status.ASYMMETRIC
    np.testing.assert_allclose(d.fits, symmetric.fits, atol=1e-2)
    broken = k.copy()
    broken[0, 0] = np.nan
    d = predict.self_distillation(broken, y, **options, k_test_train=cross)
    assert d.status == Status.NONFINITE
    assert np.isnan(d.fits).all()
    assert np.isnan(d.limit).all()
    w = predict.distillation_weights(broken, y, cross, y[:M], ridge=RIDGE, steps=2)
    assert w.status == Status.NONFINITE
    assert np.isnan(w.losses).all()
    d = jax.jit(lambda r: predict.self_distillation(k, y, ridge=r, alpha=0.5, steps=2))(-0.1)
    assert d.status == Status.NONFINITE
    d = predict.self_distillation(k - 2 * np.eye(N), y, **options)
    assert d.status == Status.INDEFINITE
    assert d.jitter > 1


GOOD = {"ridge": 0.1, "alpha": 0.5, "steps": 2}
K, Y2 = np.eye(3), np.ones((3, 2))
MISTAKES = [
    ({"ridge": -0.1}, ValueError, "ridge must be finite and 0 or positive, got -0.1"),
    ({"alpha": 1.5}, ValueError, r"alpha must lie in \[0, 1\], got 1.5"),
    ({"alpha": -0.1}, ValueError, r"alpha must lie in \[0, 1\], got -0.1"),
    ({"alpha": float("nan")}, ValueError, r"alpha must lie in \[0, 1\], got nan"),
    (
        {"alpha": [0.1, 0.2, 0.3]},
        ValueError,
        r"alpha must be a scalar or have shape \(2,\).*\(3,\)",
    ),
    ({"alpha": "half"}, TypeError, "alpha must be"),
    ({"alpha": np.array([1, 0])}, TypeError, "alpha must be a real floating-point array"),
    ({"steps": 0}, ValueError, "steps must be a positive whole number.*got 0"),
    ({"steps": 1.5}, ValueError, "steps must be a positive whole number.*got 1.5"),
    ({"steps": float("inf")}, ValueError, "steps must be .*in the field `limit`.*got inf"),
    ({"steps": None}, TypeError, "steps must be a plain positive whole number, got None"),
    ({"steps": True}, TypeError, "steps must be a plain positive whole number, got True"),
    ({"k_test_train": K[:, :2]}, ValueError, r"k_test_train must have shape \(3, 3\)"),
    ({"k_train": K[:2]}, ValueError, r"k_train must have shape \(2, 2\)"),
    ({"k_train": Pair(K, None)}, ValueError, "k_train.ntk is None"),
    ({"y": Y2[:2]}, ValueError, "y must have one row"),
    ({"y": Y2.astype(int)}, TypeError, "y must be a real floating-point array"),
]


@pytest.mark.parametrize(("wrong", "error", "message"), MISTAKES, ids=[m[2][:40] for m in MISTAKES])
def test_mistakes_are_named(wrong, error, message):
    arguments = {"k_train": K, "y": Y2, **GOOD, **wrong}
    with pytest.raises(error, match=message):
        predict.self_distillation(arguments.pop("k_train"), arguments.pop("y"), **arguments)


def test_mistakes_in_validation_data_are_named():
    with pytest.raises(ValueError, match=r"y_val must have shape \(2, 2\)"):
        predict.distillation_weights(K, Y2, K[:2], Y2, ridge=0.1, steps=2)
    with pytest.raises(ValueError, match=r"k_val_train must have shape \(3, 3\)"):
        predict.distillation_weights(K, Y2, K[:, :2], Y2, ridge=0.1, steps=2)
