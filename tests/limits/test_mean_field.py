"""Weighted neurons: refinement, networks of finite width, and moments where they close."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from theorylab import limits
from theorylab.limits._nodes import gauss_hermite, shifted_normal


def circle(points=6, dtype=np.float64):
    t = 2 * np.pi * np.arange(points) / points + 0.3
    x = np.stack([np.cos(t), np.sin(t)], axis=1)
    return x.astype(dtype), (0.5 * np.sin(t))[:, None].astype(dtype)


@functools.partial(jax.jit, static_argnums=(0, 4))
def outputs(limit, state, x, y, steps):
    """After every step."""

    def one(state, _):
        state, info = limit.step(state, x, y)
        return state, (limit.predict(state, x), info)

    return jax.lax.scan(one, state, None, length=steps)[1]


def test_outputs_are_converged_to_1e_5_under_refinement_over_200_steps(x64):
    x, y = circle()
    coarse, fine = (
        outputs(limit, limit.init(), x, y, 200)
        for limit in (
            limits.mean_field(2, 1, jnp.tanh, learning_rate=0.1, order=order) for order in (32, 40)
        )
    )
    assert np.abs(coarse[0] - fine[0]).max() < 1e-5
    assert fine[1].loss[0] > 0.06 and fine[1].loss[-1] < 1e-4
    assert np.all(fine[1].status == limits.Status.OK)


def test_a_linear_activation_is_the_linear_limit_with_all_options(x64):
    x, y = circle()
    y = np.concatenate([y, x[:, :1] + 0.3], axis=1)
    options = {
        "learning_rate": 0.3, "momentum": 0.6, "weight_decay": 0.02, "clip": 0.4, "sigma_u": 0.8,
        "sigma_v": 1.3, "bias": 0.7, "sigma_b": 0.0,
    }  # fmt: skip
    nodes = limits.mean_field(2, 2, lambda h: 1.0 * h, order=6, **options)
    exact = limits.linear_mup(2, 2, **options)
    f, info = outputs(nodes, nodes.init(), x, y, 40)
    expected, told = outputs(exact, exact.init(), x, y, 40)
    np.testing.assert_allclose(f, expected, atol=1e-9)
    np.testing.assert_allclose(info.gradient_norm, told.gradient_norm, atol=1e-9)


def test_one_step_is_that_of_a_mean_over_the_initial_law(x64):
    """phi = h^3: E[v phi(u x)] after a step is a polynomial in moments, known to rounding."""
    rate, x, y = 0.1, np.array([[1.0]]), np.array([[0.5]])
    limit = limits.mean_field(1, 1, lambda h: h * h * h, learning_rate=rate, order=12)
    state, _ = limit.step(limit.init(), x, y)
    # f = 0 at first, so that u and v move by c (3 v u^2, u^3) with c = rate * y, and
    # E (v + c u^3) (u + 3 c v u^2)^3 = (27 + 15) c + (1215 + 2835) c^3.
    c = rate * y.item()
    np.testing.assert_allclose(limit.predict(state, x), [[42 * c + 4050 * c**3]], rtol=1e-7)


def test_networks_of_finite_width_come_closer_as_one_over_root_n():
    x, y = circle(dtype=np.float32)
    limit = limits.mean_field(
        2, 1, jnp.tanh, learning_rate=0.5, momentum=0.5, bias=1.0, sigma_b=0.5, order=12
    )
    expected = outputs(limit, limit.init(), x, y, 4)[0]
    transform = limits.optimizer_like(limit)

    def trained(key, width):
        params, apply = limits.finite_width_like(limit, width, key)

        def one(carry, _):
            params, state = carry
            gradient = jax.grad(lambda p: 0.5 * jnp.mean((apply(p, x) - y)[:, 0] ** 2))(params)
            updates, state = transform.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), apply(params, x)

        return jax.lax.scan(one, (params, transform.init(params)), None, length=4)[1]

    widths, errors = (64, 4096), []
    for width in widths:
        keys = jax.random.split(jax.random.key(width), 48)
        f = jax.jit(jax.vmap(functools.partial(trained, width=width)))(keys)
        errors.append(float(jnp.sqrt(jnp.mean((f - expected) ** 2))))
    slope = np.log(errors[1] / errors[0]) / np.log(widths[1] / widths[0])
    assert -0.56 < slope < -0.44, (errors, slope)


def test_quasi_monte_carlo_is_closer_than_as_many_random_neurons(x64):
    x, y = circle()
    exact = limits.mean_field(2, 1, jnp.tanh, learning_rate=0.3)
    limit = limits.mean_field(2, 1, jnp.tanh, learning_rate=0.3, rule="qmc", points=1024)
    expected = outputs(exact, exact.init(), x, y, 10)[0]
    keys = jax.random.split(jax.random.key(0), 8)

    def random(key):  # neurons that are independent, with the same weights
        nodes = jax.random.normal(key, (1024, 3)) / 32
        state = limit.init(key)
        return state._replace(params={"u": nodes[:, :2], "v": nodes[:, 2:].T})

    many = jax.jit(jax.vmap(lambda state: outputs(limit, state, x, y, 10)[0]))
    errors = [
        float(jnp.sqrt(jnp.mean((many(jax.vmap(start)(keys)) - expected) ** 2)))
        for start in (limit.init, random)
    ]
    assert errors[0] < errors[1] / 5, errors


def test_above_four_dimensions_points_are_drawn_by_a_key():
    limit = limits.mean_field(4, 1, jnp.tanh, learning_rate=0.1, points=256)
    states = jax.vmap(limit.init)(jax.random.split(jax.random.key(0), 3))
    u = np.asarray(states.params["u"]) * 16
    assert u.shape == (3, 256, 4) and u.dtype == np.float32
    assert not np.allclose(u[0], u[1]) and np.all(np.isfinite(u))
    np.testing.assert_allclose(u.mean(axis=1), 0, atol=0.05)
    np.testing.assert_allclose(u.var(axis=1), 1, atol=0.1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shifted_points_fill_every_cell_of_a_grid_once(x64, dtype):
    """In each dimension, one of N points to each Nth of the normal law."""
    z = shifted_normal(jax.random.key(3), 5, 512, dtype)
    assert z.dtype == dtype
    cells = np.sort(np.floor(512 * np.asarray(jax.scipy.stats.norm.cdf(z), np.float64)), axis=0)
    np.testing.assert_array_equal(cells, np.tile(np.arange(512)[:, None], (1, 5)))


def test_the_tensor_rule_integrates_polynomials_and_says_what_it_dropped(x64):
    t, w, dropped = gauss_hermite(3, 16)
    assert t.shape == (len(w), 3) and len(w) < 16**3 and 0 < dropped < 1e-9
    np.testing.assert_allclose(w @ (t[:, 0] ** 4 * t[:, 1] ** 2 * t[:, 2] ** 2), 3, rtol=1e-6)
    limit = limits.mean_field(2, 1, jnp.tanh, learning_rate=0.1, order=16)
    np.testing.assert_allclose(limit.init().dropped, dropped)


def test_kernels_are_means_over_the_law_and_say_how_outputs_move(x64):
    x, y = circle()
    rate = 1e-6
    limit = limits.mean_field(2, 1, jnp.tanh, learning_rate=rate, bias=0.5, order=12)
    state, seen = limits.features(limit, limit.init(), x)
    moved = (limit.predict(limit.step(state, x, y)[0], x) - limit.predict(state, x)) / rate
    found = limits.kernels(seen, seen)
    expected = -np.einsum("pqcd,qd->pc", found.ntk, limit.predict(state, x) - y) / len(x)
    np.testing.assert_allclose(moved, expected, atol=1e-5)
    rng = np.random.default_rng(0)  # one feature kernel against independent neurons
    phi = np.tanh(rng.normal(size=(200_000, 2)) @ x.T)
    np.testing.assert_allclose(found.feature[0], phi.T @ phi / len(phi), atol=4e-3)


def test_rates_may_be_traced_and_half_precision_is_widened():
    x, y = circle(dtype=np.float32)

    @jax.jit
    def loss(rate):
        limit = limits.mean_field(2, 1, jnp.tanh, learning_rate=rate, order=8)
        state, _ = limit.step(limit.init(), x, y)
        return limit.step(state, x, y)[1].loss

    fixed = limits.mean_field(2, 1, jnp.tanh, learning_rate=0.25, order=8)
    state, _ = fixed.step(fixed.init(), x, y)
    np.testing.assert_allclose(loss(0.25), fixed.step(state, x, y)[1].loss, rtol=1e-6)
    assert fixed.predict(state, x.astype(np.float16)).dtype == np.float32


def test_a_rate_that_is_too_large_ends_as_diverged():
    x, y = circle(dtype=np.float32)
    limit = limits.mean_field(2, 1, lambda h: h * h * h, learning_rate=100.0, order=8)
    status = outputs(limit, limit.init(), x, y, 8)[1].status
    assert int(status[0]) == limits.Status.OK and int(status[-1]) == limits.Status.DIVERGED


def test_features_of_a_diverged_state_say_so():
    x, y = circle(dtype=np.float32)
    limit = limits.mean_field(2, 1, jnp.tanh, learning_rate=0.1, order=4)
    state, _ = limit.step(limit.init(), x, np.full_like(y, np.inf))
    assert int(limits.features(limit, state, x)[1].status) == limits.Status.DIVERGED
    assert int(limits.features(limit, limit.init(), x)[1].status) == limits.Status.OK


def test_the_highest_order_still_has_exact_means():
    nodes, weights, dropped = gauss_hermite(2, 256)
    assert 0 <= dropped < 1e-10 and abs(weights.sum() - 1) < 1e-14
    wave = weights @ np.cos(3 * nodes[:, 0] + 2 * nodes[:, 1])
    assert abs(wave - np.exp(-13 / 2)) < 1e-10  # what was dropped
