"""Models of all libraries train in a subspace, and their gradients are those of the direct loss."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.subspace.models import MODELS, batch, plain
from theorylab import subspace

D = 40


def made(name, scope="global"):
    params, loss = MODELS[name]()
    projection = subspace.hadamard(D, like=params, key=jax.random.key(7), scope=scope)
    return params, loss, projection


@pytest.mark.parametrize(
    ("name", "scope"), [*((name, "global") for name in MODELS), ("plain", "leaf")]
)
def test_it_trains_and_the_gradient_is_the_transpose_of_the_direct_one(name, scope):
    params, loss, projection = made(name, scope)

    def with_params(params, x, y):
        return loss(params, x, y), params

    loss_d = subspace.wrap(with_params, projection, params)
    optimizer = optax.adam(0.02 * subspace.lr_scale(projection))

    @jax.jit
    def ten(theta, x, y):
        def step(carry, _):
            theta, state = carry
            (value, now), gradient = jax.value_and_grad(loss_d, has_aux=True)(theta, x, y)
            transposed = projection.transpose(jax.grad(loss)(now, x, y))
            updates, state = optimizer.update(gradient, state)
            carry = optax.apply_updates(theta, updates), state
            return carry, (value, now, gradient, transposed)

        return jax.lax.scan(step, (theta, optimizer.init(theta)), None, 10)

    start = subspace.init(projection)
    assert start.shape == (D,) and start.dtype == jnp.float32
    (theta, _), (values, seen, gradients, transposed) = ten(start, *batch())
    assert theta.dtype == gradients.dtype == transposed.dtype == jnp.float32
    assert float(values[-1]) < 0.9 * float(values[0])
    size = float(jnp.abs(transposed).max())
    assert size > 1e-3
    np.testing.assert_allclose(gradients, transposed, atol=1e-5 * size)
    assert jax.tree.structure(seen) == jax.tree.structure(params)
    for steps, old in zip(jax.tree.leaves(seen), jax.tree.leaves(params), strict=True):
        assert steps.shape[1:] == old.shape and steps.dtype == old.dtype
        assert bool((steps[0] == old).all())  # at theta = 0, to the bit
        assert old.size < 4 or float(jnp.abs(steps[-1] - old).max()) > 0


def test_the_gradient_is_that_of_finite_differences(x64):
    params, loss = plain("float64")
    projection = subspace.hadamard(D, like=params, key=jax.random.key(7))
    loss_d = jax.jit(subspace.wrap(loss, projection, params))
    rng = np.random.default_rng(3)
    theta, v = (jnp.asarray(rng.normal(size=D)) for _ in range(2))
    x, y = batch("float64")
    h = 1e-5
    difference = (loss_d(theta + h * v, x, y) - loss_d(theta - h * v, x, y)) / (2 * h)
    ours = jax.grad(loss_d)(theta, x, y)
    assert ours.dtype == jnp.float64
    np.testing.assert_allclose(ours @ v, difference, rtol=1e-8)
    _, forward = jax.jvp(lambda t: loss_d(t, x, y), (theta,), (v,))
    np.testing.assert_allclose(forward, ours @ v, rtol=1e-12)


def test_leaves_that_the_mask_leaves_out_do_not_move():
    params, loss = plain()
    mask = [{"w": False, "b": True}, {"w": True, "b": True, "scale": False}]
    projection = subspace.hadamard(D, like=params, key=jax.random.key(7), mask=mask)
    assert projection.size == 16 + 64 + 4
    loss_d = subspace.wrap(loss, projection, params)

    @jax.jit
    def both(theta, x, y):
        direct = jax.grad(loss)(params, x, y)
        only = jax.tree.map(lambda g, m: g if m else 100.0 + g, direct, mask)
        return jax.grad(loss_d)(theta, x, y), projection.transpose(only)

    moved = jax.jit(lambda theta: subspace.project(projection, params, theta))(jnp.ones(D))
    same = jax.tree.map(lambda a, b: bool((a == b).all()), moved, params)
    assert jax.tree.map(lambda m: not m, mask) == same
    np.testing.assert_allclose(*both(jnp.zeros(D), *batch()), atol=1e-6)
