"""Finite widths by their Gram matrix: the right law at every width, and the right approach."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from theorylab import limits
from theorylab.limits._linear_gram import _scaled_chi

D_IN, D_OUT = 4, 2


def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((10, D_IN))
    return x, x @ rng.standard_normal((D_IN, D_OUT)) / 2


def predictions(limit, state, steps):
    x, y = (jnp.asarray(a) for a in data())
    state = jax.lax.fori_loop(0, steps, lambda _, s: limit.step(s, x, y)[0], state)
    return limit.predict(state, x)


def test_the_deviation_from_the_limit_falls_as_the_root_of_the_width_over_eight_decades(x64):
    exact = limits.linear_mup(D_IN, D_OUT, learning_rate=0.1)
    ours = predictions(exact, exact.init(), 20)

    def error(width, key):
        limit = limits.linear_gram(width, D_IN, D_OUT, learning_rate=0.1)
        return jnp.mean((predictions(limit, limit.init(key), 20) - ours) ** 2)

    powers = jnp.arange(6, 33)
    keys = jax.random.split(jax.random.key(1), 60)
    squares = jax.vmap(lambda w: jax.vmap(lambda k: error(w, k))(keys))
    errors = jnp.sqrt(jnp.mean(jax.jit(squares)(2.0**powers), axis=1))
    slope = np.polyfit(powers, np.log2(errors), 1)[0]
    assert abs(slope + 0.5) < 0.005


def test_drawn_gram_matrices_have_the_moments_of_wishart_matrices(x64):
    sigma = np.array([0.7] * D_IN + [1.3] * D_OUT)
    draws = 4000

    @jax.jit
    def frames(width):
        limit = limits.linear_gram(
            width, D_IN, D_OUT, learning_rate=0.1, sigma_u=sigma[0], sigma_v=sigma[-1]
        )
        return jax.vmap(limit.init)(jax.random.split(jax.random.key(2), draws)).params

    for width in (6.0, 9.0, 2.0**17, 2.0**40):
        many = frames(width)
        r = np.concatenate([np.asarray(many["u"]), np.asarray(many["v"]).swapaxes(1, 2)], axis=2)
        gram = np.einsum("dij,dik->djk", r, r)
        mean = np.diag(sigma**2)
        variance = (np.outer(sigma, sigma) ** 2 + mean**2) / width
        assert np.all(np.abs(gram.mean(0) - mean) < 4.5 * np.sqrt(variance / draws))
        spread = gram.var(0) / variance
        kurtosis = 3 + 12 / width + 6  # of a product of normals, or of chi squares, at most
        assert np.all(np.abs(spread - 1) < 4.5 * np.sqrt(kurtosis / draws))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_chi_variables_are_right_in_law_on_both_sides_of_the_change_of_method(x64, dtype):
    draws = 3000

    @jax.jit
    def chi(n):
        keys = jax.random.split(jax.random.key(7), draws)
        return jax.vmap(lambda k: _scaled_chi(k, n, 3, dtype))(keys)

    for n in (3.0, 50.0, 2.0**16 - 1, 2.0**16 + 1, 2.0**28):
        drawn = chi(jnp.asarray(n, dtype))
        assert drawn.dtype == dtype
        for column in range(3):
            squares = np.asarray(drawn[:, column], np.float64) ** 2 * n
            assert stats.kstest(squares, stats.chi2(n - column).cdf).pvalue > 1e-4


def test_networks_drawn_in_full_have_the_same_law_after_training(x64):
    width, seeds = 8, 3000
    limit = limits.linear_gram(
        width, D_IN, D_OUT, learning_rate=0.05, momentum=0.5, clip=1.0, bias=1.0, sigma_b=0.5
    )
    keys = jax.random.split(jax.random.key(3), seeds)
    ours = jax.jit(jax.vmap(lambda k: predictions(limit, limit.init(k), 5)))(keys)
    rng = np.random.default_rng(4)
    u = rng.standard_normal((seeds, width, D_IN)) / width**0.5
    b = 0.5 * rng.standard_normal((seeds, width)) / width**0.5
    v = rng.standard_normal((seeds, D_OUT, width)) / width**0.5
    start = limit.init(jax.random.key(0))
    dense = {"u": jnp.asarray(u), "b": jnp.asarray(b), "v": jnp.asarray(v)}

    def train(params):
        x, y = (jnp.asarray(a) for a in data())
        apply = limits.finite_width_like(limit, width, jax.random.key(0))[1]
        tx = limits.optimizer_like(limit)

        def step(_, carry):
            params, inner = carry
            g = jax.grad(lambda p: jnp.sum((apply(p, x) - y) ** 2) / 20)(params)
            updates, inner = tx.update(g, inner, params)
            return jax.tree.map(jnp.add, params, updates), inner

        return apply(jax.lax.fori_loop(0, 5, step, (params, tx.init(params)))[0], x)

    theirs = jax.jit(jax.vmap(train))(dense)
    for moment in (lambda f: f, lambda f: f**2):
        a, b = (np.asarray(moment(f)) for f in (ours, theirs))
        z = (a.mean(0) - b.mean(0)) / np.sqrt((a.var(0) + b.var(0)) / seeds)
        assert np.max(np.abs(z)) < 4
    assert start.params["u"].shape == (D_IN + D_OUT + 1, D_IN)


def test_the_wider_the_network_the_nearer_in_float32_too():
    exact = limits.linear_mup(D_IN, D_OUT, learning_rate=0.1)
    ours = predictions(exact, exact.init(), 20)

    @jax.jit
    def error(width):
        limit = limits.linear_gram(width, D_IN, D_OUT, learning_rate=0.1)
        return jnp.max(jnp.abs(predictions(limit, limit.init(jax.random.key(0)), 20) - ours))

    errors = [float(error(width)) for width in (2.0**10, 2.0**20, 2.0**100)]
    assert errors[0] > 10 * errors[1] > 100 * errors[2]
    assert errors[2] < 2e-6


@pytest.mark.parametrize("make", [limits.linear_gram, limits.deep_linear_mup])
def test_steps_keep_their_dtypes_under_strict_promotion(x64, strict_promotion, make):
    sizes = (64, D_IN, D_OUT) if make is limits.linear_gram else (D_IN, D_OUT, 2)
    limit = make(*sizes, learning_rate=jnp.float32(0.1), momentum=0.5, clip=1.0, weight_decay=0.1)
    x, y = (jnp.asarray(a, jnp.float32) for a in data())

    def run(key):
        state = limit.init(key, jnp.float32)
        later, info = limit.step(state, x, y)
        return state, later, info.loss, limit.predict(later, x)

    state, later, *rest = jax.eval_shape(run, jax.random.key(0))
    assert jax.tree.map(lambda a: a.dtype, state) == jax.tree.map(lambda a: a.dtype, later)
    assert {leaf.dtype for leaf in rest} == {jnp.dtype(jnp.float32)}


def test_a_traced_width_below_the_number_of_initial_vectors_is_no_number():
    x, y = (jnp.asarray(a, jnp.float32) for a in data())

    def run(width):
        limit = limits.linear_gram(width, D_IN, D_OUT, learning_rate=0.1)
        state = limit.init(jax.random.key(0), "float32")
        return limit.predict(state, x), limit.step(state, x, y)[1].status

    widths = jnp.array([D_IN + D_OUT - 1.0, D_IN + D_OUT])
    f, status = jax.jit(jax.vmap(run))(widths)
    assert jnp.isnan(f[0]).all() and jnp.isfinite(f[1]).all()
    assert status.tolist() == [limits.Status.DIVERGED, limits.Status.OK]
