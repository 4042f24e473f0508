"""Kernels averaged over draws: the same draws by hand, honest errors, layouts, transformations."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import empirical
from theorylab import kernels as tk
from theorylab.empirical import _monte_carlo

HIGHEST = jax.lax.Precision.HIGHEST
KEY = jax.random.key(7)


def init(key, shape):
    """Parameters of a linear network of two layers with 16 hidden units and 3 channels."""
    normal = jax.random.normal(key, (shape[-1] + 3, 16))  # one call: drawing takes long to compile
    return {"v": normal[3:], "w": normal[:3].T}


def apply(params, x):
    hidden = jnp.matmul(x, params["v"], precision=HIGHEST)
    return jnp.matmul(hidden, params["w"], precision=HIGHEST) / 4


def inputs(dtype=np.float32, n=4):
    return np.random.default_rng(0).normal(size=(n, 5)).astype(dtype)


def by_hand(n_samples, x1, x2=None, init=init, apply=apply):
    """Kernels of the draws, one by one: two lists of arrays."""
    draws = [init(jax.random.fold_in(KEY, s), x1.shape) for s in range(n_samples)]
    nngps = [np.asarray(empirical.nngp(apply, params, x1, x2)) for params in draws]
    return nngps, [np.asarray(empirical.ntk(apply, params, x1, x2)) for params in draws]


@pytest.mark.parametrize("general", [False, True])
def test_mean_and_standard_error_are_those_of_the_kernels_of_the_draws(x64, general):
    x1, x2 = inputs(np.float64), inputs(np.float64, 2) + 1 if general else None
    estimate = empirical.monte_carlo(init, apply, KEY, 5, x1, x2)
    nngps, ntks = by_hand(5, x1, x2)
    for own, error, each in [
        (estimate.nngp, estimate.nngp_se, nngps),
        (estimate.ntk, estimate.ntk_se, ntks),
    ]:
        np.testing.assert_allclose(own, np.mean(each, 0), rtol=1e-12)
        np.testing.assert_allclose(error, np.std(each, 0, ddof=1) / 5**0.5, rtol=1e-10)
        if not general:
            np.testing.assert_array_equal(own, own.T)


def test_a_draw_is_the_same_however_many_follow_and_without_the_tangent_kernel(x64):
    x = inputs(np.float64)
    few = empirical.monte_carlo(init, apply, KEY, 5, x, ntk=False)
    more = empirical.monte_carlo(init, apply, KEY, 6, x)
    assert few.ntk is None
    assert few.ntk_se is None
    sixth = init(jax.random.fold_in(KEY, 5), x.shape)
    np.testing.assert_allclose(
        6 * more.nngp - 5 * few.nngp, empirical.nngp(apply, sixth, x), atol=1e-11
    )


@cache
def repeats(n_samples):
    """2,000 independent estimates for two points, and the true means, known at any width."""
    x = inputs(n=2)
    keys = jax.random.split(jax.random.key(1), 2000)
    estimates = jax.vmap(lambda key: empirical.monte_carlo(init, apply, key, n_samples, x))(keys)
    truth = x.astype(np.float64) @ x.T.astype(np.float64)
    return jax.tree.map(np.asarray, estimates), truth, 2 * truth


def test_standard_errors_are_honest():
    """The true mean lies within the interval of Student's t as often as that promises."""
    estimate, nngp, ntk = repeats(40)
    half_width = 2.0227  # 97.5 % quantile of Student's t with 39 degrees of freedom
    for mean, error, exact in [
        (estimate.nngp, estimate.nngp_se, nngp),
        (estimate.ntk, estimate.ntk_se, ntk),
    ]:
        # Entries of one repeat are correlated: one of them is counted.
        z = (mean[:, 0, 0] - exact[0, 0]) / error[:, 0, 0]
        # 0.95 up to the skewness of the draws (0.02) and the 0.005 of that many repeats, thrice.
        assert 0.915 < np.mean(np.abs(z) < half_width) < 0.965
        assert 0.9 < np.std(z) < 1.2


def test_the_error_falls_as_the_root_of_the_number_of_draws():
    few, nngp, ntk = repeats(4)
    many = repeats(40)[0]
    for a, b, exact in [(few.nngp, many.nngp, nngp), (few.ntk, many.ntk, ntk)]:
        ratio = np.sqrt(np.mean((b - exact) ** 2) / np.mean((a - exact) ** 2))
        assert abs(np.log10(ratio) + 0.5) < 0.05


def test_spatial_axes_of_a_pair_follow_one_another():
    """(n1, n2, H, W, H', W') for outputs (n, H, W, C), as in the kernels of infinite width."""

    def init(key, shape):
        return jax.random.normal(key, (shape[-1], 6))

    def apply(w, x):
        return jnp.sin(jnp.einsum("nhwi,ic->nhwc", x, w, precision=HIGHEST))

    x = np.random.default_rng(0).normal(size=(4, 2, 3, 2)).astype(np.float32)
    x1, x2 = x[:3], x[2:]
    estimate = empirical.monte_carlo(init, apply, KEY, 3, x1, x2)
    assert estimate.nngp.shape == estimate.ntk_se.shape == (3, 2, 2, 3, 2, 3)
    nngp, ntk = np.zeros((3, 2, 2, 3, 2, 3)), np.zeros((3, 2, 2, 3, 2, 3))
    for s in range(3):
        w = init(jax.random.fold_in(KEY, s), x1.shape)
        nngp += np.einsum("nhwc,mijc->nmhwij", apply(w, x1), apply(w, x2)) / 18
        j1, j2 = (np.asarray(jax.jacrev(apply)(w, x)) for x in (x1, x2))
        ntk += np.einsum("nhwcpq,mijcpq->nmhwij", j1, j2) / 18
    np.testing.assert_allclose(estimate.nngp, nngp, atol=1e-6)
    np.testing.assert_allclose(estimate.ntk, ntk, atol=1e-5)


def test_networks_of_this_library_have_their_kernel_as_mean_position_by_position():
    """Behind one hidden layer the mean is exact at any width; the noise is given."""
    x = np.random.default_rng(1).normal(size=(2, 4, 2)).astype(np.float32)
    net = tk.serial(
        tk.Conv(256, (3,), None, "SAME", 1.4, 0.3, parameterization="standard"),
        tk.Erf(),
        tk.Conv(4, (2,), None, "VALID", 1.2, 0.1, parameterization="standard"),
    )
    init, apply, kernel = net
    estimate, exact = empirical.monte_carlo(init, apply, KEY, 48, x), kernel(x)
    assert estimate.nngp.shape == exact.nngp.shape == (2, 2, 3, 3)
    assert np.all(np.abs(estimate.nngp - exact.nngp) < 5 * estimate.nngp_se)
    assert np.all(np.abs(estimate.ntk - exact.ntk) < 5 * estimate.ntk_se)
    assert {leaf.dtype for leaf in estimate} == {np.dtype(np.float32)}


def test_flax_modules_work_by_a_line():
    import flax.linen as nn

    class Module(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2)(nn.BatchNorm(use_running_average=True)(nn.Dense(8)(x)))

    x, module = inputs(), Module()

    def init(key, shape):
        return module.init(key, jnp.ones(shape))

    estimate = empirical.monte_carlo(init, module.apply, KEY, 3, x)
    nngps, ntks = by_hand(3, x, init=init, apply=module.apply)
    np.testing.assert_allclose(estimate.nngp, np.mean(nngps, 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(estimate.ntk, np.mean(ntks, 0), rtol=1e-5, atol=1e-5)


def test_an_init_that_wants_an_array_is_told_what_it_got():
    with pytest.raises(AttributeError, match="no attribute 'dtype'") as raised:
        empirical.monte_carlo(lambda key, x: jnp.ones(x.dtype), apply, KEY, 3, inputs())
    assert raised.value.__notes__[0].endswith("init(key, input_shape) with input_shape = (4, 5)")


def test_pytrees_of_inputs_and_outputs_and_one_number_per_example():
    def init_two(key, shapes):
        assert shapes == {"a": (4, 5), "b": (4, 5)}
        return init(key, shapes["a"])

    def apply_two(params, x):
        y = apply(params, x["a"] * x["b"])
        return {"all": y, "first": y[:, 0]}

    x = inputs()
    both = {"a": x, "b": np.ones_like(x)}
    estimate = empirical.monte_carlo(init_two, apply_two, KEY, 4, both)
    plain = empirical.monte_carlo(init, apply, KEY, 4, x)
    first = empirical.monte_carlo(init, lambda p, x: apply(p, x)[:, 0], KEY, 4, x)
    for own, all_channels, one_channel in zip(estimate, plain, first, strict=True):
        np.testing.assert_allclose(own["all"], all_channels, rtol=2e-5, atol=1e-5)
        np.testing.assert_allclose(own["first"], one_channel, rtol=2e-5, atol=1e-5)


def test_the_mean_keeps_its_digits_over_many_draws():
    """100,000 float32 draws of mean 1 and deviation 0.006, to a few roundings of the mean.

    A running mean in plain arithmetic is off by seventy times the bound, half a standard error.
    """

    def init(key, shape):
        return 1 + 0.003 * jax.random.normal(key, ())

    def apply(w, x):
        return x * w

    samples, x = 100_000, np.ones((1, 1), np.float32)
    own = empirical.monte_carlo(init, apply, KEY, samples, x, ntk=False)
    keys = jax.vmap(lambda s: jax.random.fold_in(KEY, s))(jnp.arange(samples, dtype=jnp.uint32))
    each = np.asarray(jax.vmap(lambda key: init(key, None) ** 2)(keys), np.float64)
    assert abs(float(own.nngp[0, 0]) - np.mean(each)) < 1.5e-7
    exact = np.std(each, ddof=1) / samples**0.5
    assert abs(float(own.nngp_se[0, 0]) / exact - 1) < 1e-4


def test_memory_does_not_grow_with_the_number_of_draws():
    x = inputs()
    temporaries = []
    for samples in (2, 1000):
        run = jax.jit(partial(empirical.monte_carlo, init, apply, n_samples=samples, x1=x))
        memory = run.lower(key=KEY).compile().memory_analysis()
        temporaries.append(memory.temp_size_in_bytes)
    assert temporaries[1] == temporaries[0]


def test_dtype_follows_the_inputs_and_promotion_is_explicit(strict_promotion):
    half = empirical.monte_carlo(init, apply, KEY, 3, jnp.asarray(inputs(), jnp.bfloat16))
    with jax.enable_x64(True):
        mixed = empirical.monte_carlo(init, apply, KEY, 3, inputs())
        double = empirical.monte_carlo(init, apply, KEY, 3, inputs(np.float64))
    for estimate, dtype in [
        (half, np.float32),
        (mixed, np.float32),
        (double, np.float64),
    ]:
        assert {leaf.dtype for leaf in estimate} == {np.dtype(dtype)}
    np.testing.assert_allclose(mixed.ntk, double.ntk, rtol=1e-5, atol=1e-5)


def test_is_differentiable_in_inputs_and_hyperparameters_under_jit(x64):
    def loss(w_std, x):
        estimate = empirical.monte_carlo(
            lambda key, shape: w_std * jax.random.normal(key, (shape[-1], 8)),
            lambda w, x: w_std * jnp.sin(jnp.matmul(x, w, precision=HIGHEST)),
            KEY,
            2,
            x,
        )
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in estimate)

    x, w, h = inputs(np.float64, 2), 1.3, 1e-5
    gradients = jax.jit(jax.grad(loss, (0, 1)))(w, x)
    step, run = h * np.eye(1, x.size).reshape(x.shape), jax.jit(loss)
    by_width = (run(w + h, x) - run(w - h, x)) / (2 * h)
    by_input = (run(w, x + step) - run(w, x - step)) / (2 * h)
    np.testing.assert_allclose(gradients[0], by_width, rtol=1e-6)
    np.testing.assert_allclose(gradients[1][0, 0], by_input, rtol=1e-6)


def test_derivatives_are_finite_where_an_entry_does_not_vary():
    def total_error(x):
        return jnp.sum(empirical.monte_carlo(init, lambda p, x: x @ p["v"], KEY, 3, x).ntk_se)

    error, gradient = jax.jit(jax.value_and_grad(total_error))(inputs())
    assert float(error) == 0
    assert np.all(gradient == 0)


def test_the_second_call_compiles_nothing():
    x = inputs()
    net = tk.serial(tk.Dense(8), tk.Erf(), tk.Dense(2))
    empirical.monte_carlo(net.init, net.apply, KEY, 3, x)
    before = _monte_carlo._monte_carlo._cache_size()
    empirical.monte_carlo(net.init, net.apply, jax.random.key(9), 3, x + 1)
    assert _monte_carlo._monte_carlo._cache_size() == before


MISTAKES = [
    ({"key": 3}, TypeError, r"typed JAX key, jax.random.key\(seed\), got int"),
    ({"key": np.zeros(2, np.uint32)}, TypeError, "typed JAX key.* got an array of uint32"),
    ({"key": jax.random.split(KEY)}, ValueError, r"single key, got an array .* shape \(2,\)"),
    ({"n_samples": 1}, ValueError, "n_samples must be at least 2.* got 1"),
    ({"n_samples": 2**31}, ValueError, "below 2\\*\\*31, got 2147483648"),
    ({"n_samples": 10.0}, TypeError, "n_samples must be a whole number, got 10.0"),
    ({"n_samples": True}, TypeError, "n_samples must be a whole number, got True"),
    ({"ntk": None}, TypeError, "ntk must be True or False, got None"),
    ({"init": {}}, TypeError, "init must be a function, got dict"),
    ({"apply": 3}, TypeError, "apply must be a function, got int"),
    ({"x1": np.ones((0, 5), np.float32)}, ValueError, r"x1 must have a leading batch axis.*\(0, 5"),
    ({"x2": np.ones((2, 4), np.float32)}, ValueError, r"shape in x1, \(5,\), got \(4,\)"),
    ({"apply": lambda p, x: apply(p, x).sum()}, ValueError, "must keep the batch axis"),
    ({"init": lambda key, shape: ()}, ValueError, "params must hold at least one floating-point"),
]


@pytest.mark.parametrize(
    ("change", "error", "message"), MISTAKES, ids=[m[2][:40] for m in MISTAKES]
)
def test_mistakes_are_named(change, error, message):
    arguments = {"init": init, "apply": apply, "key": KEY, "n_samples": 3, "x1": inputs()}
    with pytest.raises(error, match=message):
        empirical.monte_carlo(**{**arguments, **change})
