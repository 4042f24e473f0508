"""The linear limit is a network of d_in + d_out units, and any orthonormal network equals it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from theorylab import limits

D_IN, D_OUT, POINTS, STEPS = 5, 3, 12, 100
OPTIONS = {
    "plain": {},
    "momentum and decay": {"momentum": 0.8, "weight_decay": 0.05, "learning_rate": 0.03},
    "clip": {"clip": 0.5},
    "all": {
        "momentum": 0.7, "weight_decay": 0.02, "clip": 0.8, "sigma_u": 0.7, "sigma_v": 1.3,
        "bias": 1.5, "sigma_b": 0.6, "output_bias": 0.5, "learning_rate": 0.05,
    },
}  # fmt: skip


def data(dtype, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((POINTS, D_IN))
    y = x @ rng.standard_normal((D_IN, D_OUT)) / 2 + 0.3
    return jnp.asarray(x, dtype), jnp.asarray(y, dtype)


def chain(learning_rate, momentum=None, weight_decay=0.0, clip=None, **_):
    """Written out here: what users would train a network with."""
    clipping = optax.identity() if clip is None else optax.clip_by_global_norm(clip)
    decay = optax.add_decayed_weights(weight_decay)
    return optax.chain(clipping, decay, optax.sgd(learning_rate, momentum=momentum))


def train(apply, params, tx, x, y):
    """A plain loop, with the predictions after every step."""

    def loss(params):
        return 0.5 * jnp.mean(jnp.sum((apply(params, x) - y) ** 2, axis=1))

    def step(carry, _):
        params, inner = carry
        updates, inner = tx.update(jax.grad(loss)(params), inner, params)
        params = optax.apply_updates(params, updates)
        return (params, inner), apply(params, x)

    return jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), length=STEPS)[1])(params)


def follow(limit, x, y, key=None, dtype=None):
    def step(state, _):
        state, info = limit.step(state, x, y)
        return state, (limit.predict(state, x), info)

    run = jax.jit(lambda: jax.lax.scan(step, limit.init(key, dtype), length=STEPS)[1])
    return run()


@pytest.mark.parametrize("name", OPTIONS)
def test_a_finite_network_with_an_orthonormal_start_equals_the_limit_for_a_hundred_steps(x64, name):
    options = {"learning_rate": 0.1} | OPTIONS[name]
    limit = limits.linear_mup(D_IN, D_OUT, **options)
    params, apply = limits.finite_width_like(limit, 64, jax.random.key(1), orthonormal=True)
    x, y = data(jnp.float64)
    finite = train(apply, params, chain(**options), x, y)
    ours, info = follow(limit, x, y)
    assert jnp.max(jnp.abs(ours - finite)) < 1e-12
    assert jnp.max(jnp.abs(ours[-1] - ours[0])) > 0.1  # it trains
    if "clip" in options:  # and is clipped at first
        assert info.gradient_norm[0] > options["clip"] > info.gradient_norm[-1]


def test_the_optimizer_of_a_limit_is_the_chain_of_clipping_decay_and_descent(x64):
    options = OPTIONS["all"]
    limit = limits.linear_mup(D_IN, D_OUT, **options)
    params, apply = limits.finite_width_like(limit, 20, jax.random.key(1))
    x, y = data(jnp.float64)
    theirs = train(apply, params, chain(**options), x, y)
    ours = train(apply, params, limits.optimizer_like(limit), x, y)
    np.testing.assert_array_equal(ours, theirs)


def test_the_blocks_of_the_state_are_the_four_matrices_of_the_recursion(x64):
    x, y = (np.asarray(a) for a in data(jnp.float64))
    su, sv, rate = 0.7, 1.3, 0.1
    a, b = np.eye(D_IN), np.zeros((D_OUT, D_IN))
    c, d = np.zeros((D_OUT, D_IN)), np.eye(D_OUT)
    limit = limits.linear_mup(D_IN, D_OUT, learning_rate=rate, sigma_u=su, sigma_v=sv)
    state = limit.init()
    step = jax.jit(limit.step)
    for _ in range(10):
        residuals = x @ (su**2 * c @ a + sv**2 * d @ b).T - y
        delta = residuals.T @ x / POINTS
        a, b, c, d = (
            a - rate * c.T @ delta,
            b - rate * d.T @ delta,
            c - rate * delta @ a.T,
            d - rate * delta @ b.T,
        )
        state, _ = step(state, x, y)
    u, v = state.params["u"], state.params["v"]
    np.testing.assert_allclose(u, np.vstack([su * a, sv * b]), rtol=0, atol=1e-14)
    np.testing.assert_allclose(v, np.hstack([su * c, sv * d]), rtol=0, atol=1e-14)


def test_wide_gaussian_networks_approach_the_limit_as_one_over_the_root_of_their_width(x64):
    limit = limits.linear_mup(D_IN, D_OUT, learning_rate=0.1)
    x, y = data(jnp.float64)
    ours = follow(limit, x, y)[0][4]
    rng, tx = np.random.default_rng(3), limits.optimizer_like(limit)
    apply = limits.finite_width_like(limit, 8, jax.random.key(0))[1]
    widths, errors = (64, 1024), []
    for n in widths:  # drawn here by the law that is documented
        u, v = rng.standard_normal((2, 30, n, max(D_IN, D_OUT))) / n**0.5
        many = {"u": jnp.asarray(u[..., :D_IN]), "v": jnp.asarray(v[..., :D_OUT].swapaxes(1, 2))}
        finite = jax.vmap(lambda p: train(apply, p, tx, x, y)[4])(many)
        errors.append(float(jnp.sqrt(jnp.mean((finite - ours) ** 2))))
    assert -0.6 < np.log(errors[1] / errors[0]) / np.log(widths[1] / widths[0]) < -0.4


def test_the_drawn_networks_have_the_documented_scales():
    options = OPTIONS["all"]
    limit = limits.linear_mup(D_IN, D_OUT, **options)
    n = 40_000
    params, _ = limits.finite_width_like(limit, n, jax.random.key(2))
    for name, scale in (("u", 0.7), ("v", 1.3), ("b", 0.6)):
        size = float(jnp.mean(params[name] ** 2) * n)
        assert abs(size / scale**2 - 1) < 4 * (2 / n) ** 0.5
    assert params["c"].shape == (D_OUT,) and not params["c"].any()


def test_adam_is_refused_for_a_reason_since_it_tells_rotated_networks_apart(x64):
    limit = limits.linear_mup(D_IN, D_OUT, learning_rate=0.01)
    x, y = data(jnp.float64)
    drawn = [
        limits.finite_width_like(limit, 16, jax.random.key(k), orthonormal=True) for k in (1, 2)
    ]
    for tx, differ in ((optax.sgd(0.01), False), (optax.adam(0.01), True)):
        first, second = (train(apply, params, tx, x, y) for params, apply in drawn)
        assert (jnp.max(jnp.abs(first - second)) > 1e-3) == differ


@pytest.mark.parametrize("first_order", [True, False])
def test_maml_of_the_limit_is_that_of_a_finite_orthonormal_network(x64, first_order):
    options = {"learning_rate": 0.2, "momentum": 0.5, "clip": 1.0}
    limit = limits.linear_mup(D_IN, D_OUT, **options)
    rng = np.random.default_rng(5)
    tasks = 4
    x = jnp.asarray(rng.standard_normal((2, tasks, POINTS, D_IN)))
    y = jnp.einsum("tij,atnj->atni", jnp.asarray(rng.standard_normal((tasks, D_OUT, D_IN))), x)
    kwargs = {"inner_rate": 0.05, "inner_steps": 3, "first_order": first_order}
    step = jax.jit(lambda s: limits.maml_step(limit, s, (x[0], y[0]), (x[1], y[1]), **kwargs))
    state = limit.init()
    params, apply = limits.finite_width_like(limit, 32, jax.random.key(1), orthonormal=True)
    tx = chain(**options)
    inner = tx.init(params)

    def loss(params, x, y):
        return 0.5 * jnp.mean(jnp.sum((apply(params, x) - y) ** 2, axis=1))

    def adapted(params, task):
        for _ in range(3):
            g = jax.grad(loss)(params, x[0, task], y[0, task])
            params = jax.tree.map(lambda p, g: p - 0.05 * g, params, g)
        return params

    def of_task(params, task):
        if first_order:
            return jax.grad(loss)(adapted(params, task), x[1, task], y[1, task])
        return jax.grad(lambda p: loss(adapted(p, task), x[1, task], y[1, task]))(params)

    @jax.jit
    def finite_step(params, inner):
        total = [of_task(params, task) for task in range(tasks)]
        mean = jax.tree.map(lambda *g: sum(g) / tasks, *total)
        updates, inner = tx.update(mean, inner, params)
        return optax.apply_updates(params, updates), inner

    before = limit.predict(state, x[0, 0])
    for _ in range(5):
        state, info = step(state)
        params, inner = finite_step(params, inner)
    after = limit.predict(state, x[0, 0])
    np.testing.assert_allclose(after, apply(params, x[0, 0]), rtol=0, atol=1e-12)
    assert jnp.max(jnp.abs(after - before)) > 0.1 and info.status == limits.Status.OK


def test_options_may_be_traced_and_the_rate_a_schedule(x64):
    x, y = data(jnp.float64)

    def last(rate, momentum, clip):
        limit = limits.linear_mup(D_IN, D_OUT, learning_rate=rate, momentum=momentum, clip=clip)
        return follow(limit, x, y)[0][-1]

    many = jax.vmap(last)(jnp.array([0.02, 0.1]), jnp.array([0.0, 0.5]), jnp.array([0.3, 1.0]))
    np.testing.assert_allclose(many[1], last(0.1, 0.5, 1.0), rtol=0, atol=1e-13)
    np.testing.assert_allclose(many[0], last(0.02, 0.0, 0.3), rtol=0, atol=1e-13)
    halved = optax.piecewise_constant_schedule(0.1, {50: 0.5})
    state = limits.linear_mup(D_IN, D_OUT, learning_rate=0.1).init()
    for rate in (0.1, 0.05):
        step = limits.linear_mup(D_IN, D_OUT, learning_rate=rate).step
        state = jax.jit(lambda s, f=step: jax.lax.fori_loop(0, 50, lambda _, s: f(s, x, y)[0], s))(
            state
        )
    scheduled = limits.linear_mup(D_IN, D_OUT, learning_rate=halved)
    np.testing.assert_allclose(
        follow(scheduled, x, y)[0][-1],
        limits.linear_mup(D_IN, D_OUT, learning_rate=0.1).predict(state, x),
        rtol=0,
        atol=1e-12,
    )


def test_float32_stays_float32_and_agrees_with_float64(x64):
    options = OPTIONS["all"]
    limit = limits.linear_mup(D_IN, D_OUT, **options)
    x, y = data(jnp.float32)
    narrow, info = follow(limit, x, y, dtype=jnp.float32)
    assert {narrow.dtype, info.loss.dtype, info.gradient_norm.dtype} == {jnp.dtype(jnp.float32)}
    wide, _ = follow(limit, x.astype(jnp.float64), y.astype(jnp.float64))
    assert 0 < jnp.max(jnp.abs(narrow - wide)) < 2e-5
    half = limit.predict(limit.init(), x.astype(jnp.bfloat16))
    assert half.dtype == jnp.float32


def test_a_rate_too_large_is_told_as_divergence():
    x, y = data(jnp.float32)
    _, info = follow(limits.linear_mup(D_IN, D_OUT, learning_rate=30.0), x, y)
    assert info.status[0] == limits.Status.OK and info.status[-1] == limits.Status.DIVERGED


def test_divergence_stays_when_data_become_harmless_again():
    x, y = data(jnp.float32)
    limit = limits.linear_mup(D_IN, D_OUT, learning_rate=0.1, clip=1.0)
    state, first = limit.step(limit.init(), x, y)
    state, lost = limit.step(state, x, jnp.full_like(y, 1e30))  # the squares overflow
    _, later = limit.step(state, x, y)
    assert [int(i.status) for i in (first, lost, later)] == [0, 2, 2]
    tasks = (x[None], y[None])
    _, meta = limits.maml_step(limit, state, tasks, tasks, inner_rate=0.1)
    assert jnp.isnan(limit.predict(state, x)).all() and meta.status == limits.Status.DIVERGED
