"""Networks whose hidden matrices are drawn as they are used, against networks that have them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from theorylab import limits
from theorylab.limits import Status
from theorylab.limits._conditioning import Known, split, transposed


def data(points=4, d_in=3, d_out=2, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(points, d_in)), rng.normal(size=(points, d_out))
    return x.astype(dtype), y.astype(dtype)


@functools.partial(jax.jit, static_argnums=(0, 4))
def train(limit, state, x, y, steps):
    return jax.lax.scan(lambda s, _: limit.step(s, x, y), state, None, length=steps)


def a_matrix(known, layer, rng):
    """A hidden matrix with all the images that were drawn, and anything elsewhere."""
    x, wx, y, wty = (np.asarray(a[layer], np.float64) for a in known[:4])
    n = x.shape[1]
    off_x, off_y = np.eye(n) - x.T @ x, np.eye(n) - y.T @ y
    return wx.T @ x + y.T @ wty @ off_x + off_y @ rng.normal(size=(n, n)) @ off_x / n**0.5


def dense_twin(limit, start, known, sigma_w, rng):
    n = start.params["u"].shape[0]
    _, apply = limits.finite_width_like(limit, n, jax.random.key(0))
    w = [a_matrix(known, layer, rng) for layer in range(len(known.x))]
    dtype = start.params["u"].dtype
    params = {"u": start.params["u"], "w": jnp.asarray(sigma_w * np.stack(w), dtype)}
    return {**params, "v": start.params["v"]}, apply


def dense_steps(limit, params, apply, x, y, steps):
    """Params, losses and norms of gradients of a dense network under optax."""
    transform = limits.optimizer_like(limit)

    def one(carry, _):
        params, state = carry
        loss, gradient = jax.value_and_grad(
            lambda p: 0.5 * jnp.mean(jnp.sum((apply(p, x) - y) ** 2, axis=1))
        )(params)
        updates, state = transform.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), (loss, optax.tree.norm(gradient))

    start = (params, transform.init(params))
    (params, _), (loss, norm) = jax.jit(lambda start: jax.lax.scan(one, start, None, length=steps))(
        start
    )
    return params, loss, norm


def test_new_images_have_the_mean_and_covariance_of_a_gaussian_matrix_given_the_old_ones(x64):
    """Against conditioning of its n^2 entries, without the structure of the problem."""
    n, rng = 6, np.random.default_rng(0)
    x, y = (np.linalg.qr(rng.normal(size=(n, 2)))[0].T for _ in range(2))
    w = rng.normal(size=(n, n)) / n**0.5
    known = Known(*map(jnp.asarray, (x, x @ w.T, y, y @ w)), jnp.int32(2), jnp.int32(2))
    v = rng.normal(size=(3, n))
    # One pass back is not stored yet: its vector counts as known as well.
    back = split(jnp.asarray(rng.normal(size=(1, n))), transposed(known), jnp.zeros((1, n)))
    y, wty = np.concatenate([y, back.e]), np.concatenate([y @ w, back.image])

    def image(noise):
        parts = split(jnp.asarray(v), known, noise, back)
        return (parts.old @ known.wx + parts.new @ parts.image).ravel()

    basis = np.concatenate([np.zeros((1, 3, n)), np.eye(3 * n).reshape(-1, 3, n)])
    mean, *moved = np.asarray(jax.jit(jax.vmap(image))(basis))
    root = np.stack(moved) - mean
    eye = np.eye(n)  # entries of W are numbered by rows
    seen = np.concatenate([np.kron(eye, x), np.kron(y, eye)])
    values = np.concatenate([(w @ x.T).ravel(), wty.ravel()])
    asked = np.concatenate([np.kron(eye, row) for row in v])
    gain = asked @ seen.T @ np.linalg.pinv(seen @ seen.T, rcond=1e-9)
    np.testing.assert_allclose(mean, gain @ values, atol=1e-12)
    expected = (asked @ asked.T - gain @ seen @ asked.T) / n
    np.testing.assert_allclose(root.T @ root / n, expected, atol=1e-12)


OPTIONS = {
    "learning_rate": 0.3, "momentum": 0.5, "weight_decay": 0.05, "clip": 0.5, "bias": 0.7,
    "sigma_b": 0.5, "sigma_w": 1.2,
}  # fmt: skip


def test_a_dense_network_with_the_images_that_were_drawn_has_the_same_training_and_kernels(x64):
    x, y = data()
    limit = limits.conditioned_mlp(64, 3, 2, 3, jnp.tanh, capacity=41, **OPTIONS)
    start, before = limits.features(limit, limit.init(jax.random.key(1)), x[:3])
    state, info = train(limit, start, x, y, 8)
    state, after = limits.features(limit, state, x[:3])
    # Backwards, 2 outputs at 3 points, of which the first step needs combinations and a point more.
    assert int(info.slots[-1]) == 6 + 1 + 7 * 4 and int(after.status) == Status.OK
    first, apply = dense_twin(limit, start, state.known, 1.2, np.random.default_rng(2))
    params, loss, norm = dense_steps(limit, first, apply, x, y, 8)
    np.testing.assert_allclose(info.loss, loss, rtol=0, atol=1e-12)
    np.testing.assert_allclose(info.gradient_norm, norm, rtol=0, atol=1e-12)
    jacobian = jax.jit(jax.jacobian(lambda p: apply(p, x[:3])))
    earlier, later = (
        np.concatenate([j.reshape(3, 2, -1) for j in jax.tree.leaves(jacobian(p))], axis=2)
        for p in (first, params)
    )
    for a, b, left, right in ((after, after, later, later), (before, after, earlier, later)):
        expected = np.einsum("pcw,qdw->pqcd", left, right)
        np.testing.assert_allclose(limits.kernels(a, b).ntk, expected, atol=1e-12)


# One network of single precision for several tests, which has room for 10 steps of 4 points.
NARROW = limits.conditioned_mlp(128, 3, 2, 2, jnp.tanh, learning_rate=0.3, capacity=40)


def test_in_float32_a_dense_network_is_followed_until_a_step_does_not_fit_which_is_not_made():
    x, y = data(dtype=np.float32)
    start = NARROW.init(jax.random.key(1))
    state, info = train(NARROW, start, x, y, 12)
    assert state.params["core"].dtype == info.loss.dtype == jnp.float32
    np.testing.assert_array_equal(info.slots, [min(4 * t, 40) for t in range(1, 13)])
    np.testing.assert_array_equal(info.status, [Status.OK] * 10 + [Status.CAPACITY] * 2)
    basis = np.asarray(state.known.x[0], np.float64)
    basis = basis[: int(state.known.x_count[0])]
    np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-6)
    params, apply = dense_twin(NARROW, start, state.known, 1.0, np.random.default_rng(2))
    params, loss, _ = dense_steps(NARROW, params, apply, x, y, 10)
    np.testing.assert_allclose(info.loss[:10], loss, rtol=0, atol=1e-5)
    for name in "uv":
        np.testing.assert_allclose(state.params[name], params[name], rtol=0, atol=1e-5)
    # Predictions of the next batch are what the next step sees.
    loss = 0.5 * np.mean(np.sum((NARROW.predict(state, x) - y) ** 2, axis=1))
    np.testing.assert_allclose(info.loss[10:], loss, rtol=1e-5)


def bare(leaf):
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def test_a_loss_that_is_not_finite_is_told_and_stays_so():
    x, y = data(dtype=np.float32)
    start = NARROW.init(jax.random.key(1))
    state, info = train(NARROW, start, x, np.float32(1e30) * y, 12)
    assert info.status.tolist() == [Status.DIVERGED] * 12 and int(state.status) == Status.DIVERGED
    # Nothing else of the state has changed, nor what it predicts.
    for a, b in zip(jax.tree.leaves(state)[:-1], jax.tree.leaves(start)[:-1], strict=True):
        np.testing.assert_array_equal(*map(np.asarray, map(bare, (a, b))))
    np.testing.assert_array_equal(NARROW.predict(state, x), NARROW.predict(start, x))
    assert int(limits.features(NARROW, state, x)[1].status) == Status.DIVERGED


@pytest.mark.slow
def test_outputs_have_the_law_of_dense_networks_at_width_128(x64):
    seeds, x, y = 200, *data(d_out=1)
    limit = limits.conditioned_mlp(128, 3, 1, 2, jnp.tanh, learning_rate=0.5, capacity=32)

    def conditioned(key):
        state, _ = jax.lax.scan(lambda s, _: limit.step(s, x, y), limit.init(key), None, length=8)
        return limit.predict(state, x)[:, 0]

    def dense(key):
        params, apply = limits.finite_width_like(limit, 128, key)
        return apply(dense_steps(limit, params, apply, x, y, 8)[0], x)[:, 0]

    keys = jax.random.split(jax.random.key(3), (2, seeds))
    a, b = (
        np.asarray(jax.jit(jax.vmap(f))(k)) for f, k in zip((conditioned, dense), keys, strict=True)
    )
    variances = a.var(0, ddof=1), b.var(0, ddof=1)
    z = (a.mean(0) - b.mean(0)) / np.sqrt((variances[0] + variances[1]) / seeds)
    assert np.all(np.abs(z) < 4), z
    # The logarithm of a sample variance of m normal numbers has the standard error sqrt(2 / m).
    ratio = np.log(variances[0] / variances[1])
    assert np.all(np.abs(ratio) < 4 * np.sqrt(4 / seeds)), ratio
    assert np.all(variances[0] > 1e-6)


@pytest.mark.parametrize("width", [4096, pytest.param(2**17, marks=pytest.mark.slow)])
def test_a_linear_activation_at_large_width_is_the_deep_linear_limit(width):
    x, y = data(points=8, dtype=np.float32)
    options = {"learning_rate": 0.2, "momentum": 0.5, "weight_decay": 0.02}
    limit = limits.conditioned_mlp(width, 3, 2, 2, lambda h: 1.0 * h, capacity=16, **options)
    exact = limits.deep_linear_mup(3, 2, 2, **options)
    _, info = train(limit, limit.init(jax.random.key(1)), x, y, 4)
    _, told = train(exact, exact.init(), x, y, 4)
    # Inputs have 3 dimensions and gradients 2, so that 8 points take 3 slots at first, then at most
    # 2 each step.
    assert info.slots[:2].tolist() == [3, 5] and np.all(np.asarray(info.slots) <= [3, 5, 7, 9])
    assert int(info.status[-1]) == Status.OK
    near = 3 / width**0.5
    np.testing.assert_allclose(info.loss, told.loss, rtol=0, atol=near)
    np.testing.assert_allclose(info.gradient_norm, told.gradient_norm, rtol=0, atol=near)
    assert told.loss[0] - told.loss[-1] > near


def shapes_of(jaxpr):
    for equation in jaxpr.eqns:
        for variable in (*equation.invars, *equation.outvars):
            yield tuple(getattr(variable.aval, "shape", ()))
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from shapes_of(inner)


def test_no_array_of_a_step_has_two_axes_of_the_width():
    width = 4096
    x, y = data(dtype=np.float32)
    limit = limits.conditioned_mlp(width, 3, 2, 3, jnp.tanh, learning_rate=0.3, capacity=32)
    state = jax.eval_shape(limit.init, jax.random.key(0))
    found = list(shapes_of(jax.make_jaxpr(limit.step)(state, x, y).jaxpr))
    assert any(shape == (2, 32, width) for shape in found)
    assert max(np.prod(shape) for shape in found) == 2 * 32 * width
    assert not any(sum(axis >= width for axis in shape) > 1 for shape in found)


def test_one_hidden_layer_needs_no_slots_and_is_the_dense_network(x64):
    x, y = data()
    limit = limits.conditioned_mlp(16, 3, 2, 1, jnp.tanh, learning_rate=0.3, capacity=1)
    start = limit.init(jax.random.key(1))
    _, info = train(limit, start, x, y, 5)
    _, apply = limits.finite_width_like(limit, 16, jax.random.key(0))
    params = {name: start.params[name] for name in "uv"}
    _, loss, _ = dense_steps(limit, params, apply, x, y, 5)
    np.testing.assert_allclose(info.loss, loss, atol=1e-13)
    assert int(info.slots[-1]) == 0


@pytest.mark.slow
def test_a_width_of_131072_runs():
    x, y = data(dtype=np.float32)
    limit = limits.conditioned_mlp(131072, 3, 2, 2, jnp.tanh, learning_rate=0.3, capacity=32)
    _, info = train(limit, limit.init(jax.random.key(1)), x, y, 8)
    assert info.loss[-1] < 0.8 * info.loss[0] and int(info.status[-1]) == Status.OK
