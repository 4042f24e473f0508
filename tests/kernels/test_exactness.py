"""Kernels by two routes: closed forms against quadrature, networks, loops, single precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import theorylab.kernels as tk
from theorylab.kernels import _budget, _combine
from theorylab.kernels._input import NEAR

ACTIVATIONS = {
    "relu": tk.Relu(),
    "leaky": tk.LeakyRelu(0.3),
    "abs": tk.Abs(),
    "abrelu": tk.ABRelu(-0.5, 1.2),
    "erf": tk.Erf(1.3, 0.7, 0.4),
    "gelu": tk.Gelu(),
    "sin": tk.Sin(1.2, 0.8, 0.3),
    "cos": tk.Cos(0.9, 1.1, 0.2),
    "rbf": tk.Rbf(0.7),
}
everyone = pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS.keys())


def points(dtype, near=True):
    """Points in 16 dimensions; with near-duplicates, duplicates and rescaled copies of some."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 16))
    if near:
        copies = [x[:3] + 1e-3 * rng.normal(size=(3, 16)), x[:3] + 1e-5 * rng.normal(size=(3, 16))]
        x = np.concatenate([x, *copies, x[:2], 2.5 * x[2:4], 0.3 * x[4:5]])
    return x.astype(np.float32).astype(dtype)


def normalised_error(ours, reference):
    ours, reference = np.asarray(ours, np.float64), np.asarray(reference, np.float64)
    root = np.sqrt(np.diag(reference))
    return np.max(np.abs(ours - reference) / (root[:, None] * root))


def mlp(activation, depth, w=1.5, b=0.2):
    w, b = float(np.float32(w)), None if b is None else float(np.float32(b))
    return tk.serial(*[tk.Dense(64, w, b), activation] * depth, tk.Dense(1, w, b))


def smooth_expectation(function, covariance):
    """E f(z1) f(z2) by tensor Gauss-Hermite quadrature, exact to 1e-12 for the smooth ones."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(96)
    root = np.linalg.cholesky(covariance)
    z1, z2 = root[0, 0] * nodes[:, None], root[1, 0] * nodes[:, None] + root[1, 1] * nodes
    values = np.asarray(function(z1)) * np.asarray(function(z2))
    return weights @ values @ weights / (2 * np.pi)


def kinked_expectation(function, covariance):
    """The same for positively homogeneous functions: a radial moment times an angular integral."""
    root = np.linalg.cholesky(covariance)
    angle = np.linspace(0, 2 * np.pi, 400_001)
    z1, z2 = root[0, 0] * np.cos(angle), root[1, 0] * np.cos(angle) + root[1, 1] * np.sin(angle)
    values = np.asarray(function(z1)) * np.asarray(function(z2))
    return 2 * np.mean(values[:-1])


@everyone
@pytest.mark.parametrize("correlation", [-0.7, 0.0, 0.4, 0.97])
def test_nngp_equals_the_gaussian_expectation(activation, correlation):
    q1, q2 = 1.3, 0.6
    k = correlation * np.sqrt(q1 * q2)
    covariance = np.array([[q1, k], [k, q2]])
    homogeneous = isinstance(activation, tk.Relu | tk.LeakyRelu | tk.Abs | tk.ABRelu)
    expectation = kinked_expectation if homogeneous else smooth_expectation
    x = np.linalg.cholesky(covariance) * np.sqrt(2)
    with jax.enable_x64(True):
        ours = tk.serial(tk.Dense(1), activation).kernel(x).nngp
        exact = expectation(activation.function, covariance)
    assert abs(float(ours[0, 1]) - exact) < (2e-9 if homogeneous else 1e-11)


@everyone
def test_the_derivative_of_the_nngp_map_is_the_factor_of_the_ntk(activation):
    """Theta' = Theta K_dot with K_dot the derivative of K' in K at fixed variances."""
    x = points(np.float64, near=False)
    with jax.enable_x64(True):
        state = tk.Dense(8, 1.2, 0.3).propagate(tk.input_state(jnp.asarray(x), jnp.asarray(x)))
        gap = state.gap + 0.05 * (1 - jnp.eye(len(x)))

        def kernels(gap):
            moved = tk.KernelState(state.rows1, state.rows2, gap, jnp.ones_like(gap))
            return activation.propagate(moved).kernel()

        scale = state.rows1.scale[:, None] * state.rows2.scale
        derivative = jax.jvp(lambda g: kernels(g).nngp, (gap,), (-jnp.ones_like(gap) / scale,))[1]
        k_dot = kernels(gap).ntk / scale
    off = ~np.eye(len(x), dtype=bool)
    assert np.allclose(np.asarray(derivative)[off], np.asarray(k_dot)[off], rtol=1e-9, atol=1e-12)


@everyone
def test_single_precision_keeps_its_contract_on_near_duplicates(activation):
    """At depth 10; other depths, and layers without bias, are in tests/oracles."""
    x = points(np.float32)
    activation = jax.tree.map(lambda leaf: float(np.float32(leaf)), activation)
    net = mlp(activation, 10, 1.2, 0.2)
    single = net.kernel(x)
    with jax.enable_x64(True):
        double = net.kernel(x.astype(np.float64))
    for ours, reference in zip(single, double, strict=True):
        assert ours.dtype == jnp.float32
        assert normalised_error(ours, reference) <= 1e-6
        eigenvalues = np.linalg.eigvalsh(np.asarray(ours, np.float64))
        assert eigenvalues[0] >= -1e-6 * eigenvalues[-1]


def test_the_loop_over_equal_blocks_changes_nothing(monkeypatch):
    x = jnp.asarray(points(np.float32))
    net = tk.serial(
        tk.Dense(7, 1.1, 0.1), tk.Relu(), tk.Dense(9, 1.2, 0.3), tk.Relu(), tk.Dense(1, 0.9, 0.2)
    )
    looped = tk.propagate(net, tk.input_state(x, x)).kernel()
    monkeypatch.setattr(_combine, "MAX_PERIOD", 0)
    unrolled = tk.propagate(net, tk.input_state(x, x)).kernel()
    for a, b in zip(looped, unrolled, strict=True):
        assert normalised_error(a, b) < 5e-7


def test_standard_parameterization_sees_each_layers_own_fan_in():
    x = jnp.asarray(points(np.float32, near=False))
    wide = tk.serial(*[tk.Dense(50, 1.0, None, "standard"), tk.Relu()] * 3)
    narrow = tk.serial(*[tk.Dense(5, 1.0, None, "standard"), tk.Relu()] * 3)
    mixed = tk.serial(
        *[tk.Dense(50, 1.0, None, "standard"), tk.Relu()],
        *[tk.Dense(5, 1.0, None, "standard"), tk.Relu()],
        *[tk.Dense(50, 1.0, None, "standard"), tk.Relu()],
    )
    a, b, c = (float(net.kernel(x).ntk[0, 0]) for net in (wide, narrow, mixed))
    assert b < c < a


def test_tiles_symmetry_and_the_general_case_agree(monkeypatch):
    x = points(np.float32)
    net = mlp(tk.Relu(), 2)
    whole, general = net.kernel(x), net.kernel(x, x.copy())
    monkeypatch.setattr(_budget, "TILE", 7)
    jax.clear_caches()
    tiled, tiled_general = net.kernel(x), net.kernel(x[:9], x)
    for i in range(2):
        assert np.array_equal(whole[i], whole[i].T)
        assert np.array_equal(tiled[i], tiled[i].T)
        assert normalised_error(tiled[i], whole[i]) < 4e-7
        assert normalised_error(general[i], whole[i]) < 4e-7
        assert np.allclose(tiled_general[i], whole[i][:9], rtol=1e-5, atol=1e-6)


def test_residual_branches_add_their_kernels():
    x = points(np.float32, near=False)
    stem, branch = tk.Dense(16, 1.2, 0.1), tk.serial(tk.Relu(), tk.Dense(16, 0.8, 0.3))
    block = tk.serial(tk.FanOut(2), tk.parallel(tk.Identity(), branch), tk.FanInSum())
    residual = tk.serial(stem, block).kernel(x)
    skip, path = tk.serial(stem).kernel(x), tk.serial(stem, branch).kernel(x)
    for i in range(2):
        assert normalised_error(residual[i], skip[i] + path[i]) < 4e-7


def test_repeated_residual_blocks_equal_finite_networks():
    x = jnp.asarray(points(np.float32, near=False)[:4])
    width = 2048
    branch = tk.serial(tk.Relu(), tk.Dense(width, 0.8, 0.3))
    block = tk.serial(tk.FanOut(2), tk.parallel(tk.Identity(), branch), tk.FanInSum())
    net = tk.serial(tk.Dense(width), block, block, block)
    y = net.apply(net.init(jax.random.key(0), x.shape), x)
    finite = jnp.matmul(y, y.T, precision="highest") / width
    assert normalised_error(finite, net.kernel(x).nngp) < 0.15


def test_several_inputs_give_the_sum_of_their_kernels():
    x, z = points(np.float32, near=False), points(np.float32, near=False)[:, :5]
    net = tk.serial(tk.parallel(tk.Dense(4, 1.1), tk.Dense(4, 0.7, 0.2)), tk.FanInSum())
    both = net.kernel((x, z))
    a, b = tk.Dense(4, 1.1).kernel(x), tk.Dense(4, 0.7, 0.2).kernel(z)
    assert np.allclose(both.ntk, a.ntk + b.ntk, rtol=1e-6)


def test_zero_rows_give_exact_zeros_without_bias_and_the_bias_with_it():
    x = points(np.float32)
    x[3] = 0
    plain = mlp(tk.Relu(), 3, 1.4, None).kernel(x)
    assert not np.any(np.asarray(plain.nngp[3])) and not np.any(np.asarray(plain.ntk[:, 3]))
    biased = tk.serial(tk.Dense(4, 1.4, 0.5), tk.Relu()).kernel(x)
    assert np.isclose(biased.nngp[3, 3], 0.125) and np.all(np.isfinite(biased.nngp))


def test_a_nan_stays_in_its_own_row_and_column(monkeypatch):
    x = points(np.float32)
    x[5, 2] = np.nan
    clean = np.delete(np.arange(len(x)), 5)
    for tile in (500, 7):
        monkeypatch.setattr(_budget, "TILE", tile)
        jax.clear_caches()
        for ours in mlp(tk.Relu(), 2).kernel(x):
            ours = np.asarray(ours)
            assert np.all(np.isnan(ours[5])) and np.all(np.isnan(ours[:, 5]))
            assert np.all(np.isfinite(ours[np.ix_(clean, clean)]))
    with jax.enable_x64(True):
        double = np.asarray(mlp(tk.Erf(), 2).kernel(x.astype(np.float64)).ntk)
    assert np.all(np.isnan(double[5])) and np.all(np.isfinite(double[np.ix_(clean, clean)]))
    x[5, 2] = np.inf
    ours = np.asarray(mlp(tk.Relu(), 2).kernel(x).ntk)
    assert np.all(np.isnan(ours[5])) and np.all(np.isfinite(ours[np.ix_(clean, clean)]))


@pytest.mark.parametrize("spread", [1e-5, 1e-2, 0.3, 2.0])
@pytest.mark.parametrize("clustered", [3, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gaps_of_few_and_of_many_near_pairs_equal_differences(spread, clustered, dtype):
    """Few near pairs are formed from differences, many by a wider product where there is one."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 30))
    x[:clustered] = x[0] + spread * rng.normal(size=(clustered, 30))
    x[5] *= 3.0
    x[50:] = -x[:10] + 1e-2 * rng.normal(size=(10, 30))
    x = x.astype(dtype)
    u = x.astype(np.longdouble)
    u = u / np.sqrt(np.mean(u**2, axis=1))[:, None]
    exact = np.mean((u[:, None] - u) ** 2, axis=2) / 2
    with jax.enable_x64(dtype == np.float64):
        gap = np.asarray(tk.input_state(jnp.asarray(x), jnp.asarray(x)).gap, np.float64)
    # Products hold a gap to a few eps; differences, at worst a float64 product, to its own digits.
    eps = np.finfo(dtype).eps
    differences = exact < 0.999 * NEAR[np.dtype(dtype).itemsize]
    assert differences.sum() > 60 or spread > 0.1
    bound = np.where(differences, 4 * eps * exact + 1e-15, 4 * eps)
    assert np.all(np.abs(gap - exact) <= bound)
