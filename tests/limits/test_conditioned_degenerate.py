"""Conditioned networks of points that are repeated, zero or tiny."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import limits
from theorylab.limits._conditioning import remainder


def test_new_directions_have_derivatives_where_rows_are_repeated_or_zero(x64):
    rng = np.random.default_rng(0)
    v, moved = rng.normal(size=(2, 4, 8))
    for rows in (v, moved):
        rows[2], rows[3] = rows[1], 0
    basis = np.linalg.qr(rng.normal(size=(8, 2)))[0].T
    weights = rng.normal(size=(4, 8))
    of = jax.jit(jax.value_and_grad(lambda t: jnp.sum(weights * remainder(v + t * moved, basis))))
    slope, before, after = of(0.0)[1], of(-1e-5)[0], of(1e-5)[0]
    np.testing.assert_allclose(slope, (after - before) / 2e-5, rtol=1e-7)


@pytest.mark.slow
def test_derivatives_by_the_rate_are_finite_differences_also_of_repeated_points_and_zeros(x64):
    x = np.asarray([[1.0, 0.5], [1.0, 0.5], [0.0, 0.0], [-0.3, 1.0]])
    y = np.asarray([[1.0], [0.5], [0.2], [-1.0]])

    def network(rate):
        return limits.conditioned_mlp(16, 2, 1, 2, jnp.tanh, learning_rate=rate, capacity=12)

    state = network(1.0).init(jax.random.key(0, impl="rbg"))  # quick to compile

    def last_loss(rate):
        limit = network(rate)
        return jax.lax.scan(lambda s, _: limit.step(s, x, y), state, None, length=3)[1].loss[-1]

    at = jax.jit(jax.value_and_grad(last_loss))
    slope, before, after = at(0.3)[1], at(0.3 - 1e-5)[0], at(0.3 + 1e-5)[0]
    np.testing.assert_allclose(slope, (after - before) / 2e-5, rtol=1e-6)
    assert abs(slope) > 1e-2


def test_in_float32_inputs_may_be_as_small_as_numbers_are():
    """Under a linear activation outputs are in proportion, if draws are: at one point."""
    limit = limits.conditioned_mlp(32, 2, 1, 2, lambda h: 1.0 * h, learning_rate=0.1, capacity=4)
    x = np.asarray([[1.0, -0.5]], np.float32)
    outputs = jax.jit(lambda key, x: limit.predict(limit.init(key), x)[0, 0])
    tiny, plain = (
        np.asarray([outputs(jax.random.key(k), scale * x) for k in range(50)], np.float64) / scale
        for scale in (np.float32(2.0**-70), np.float32(1))
    )
    assert np.all(tiny != 0)
    # Of one law: variances of 50 draws each, whose logarithms have a standard error of 0.2.
    assert abs(np.log(tiny.var() / plain.var())) < 4 * (4 / 50) ** 0.5


def test_a_step_promotes_nothing_and_returns_what_it_was_compiled_for():
    limit = limits.conditioned_mlp(
        8, 3, 1, 2, jnp.tanh, learning_rate=0.1, capacity=6, momentum=0.5, bias=1.0
    )
    x, y = np.ones((2, 3), np.float32), np.ones((2, 1), np.float32)
    with jax.numpy_dtype_promotion("strict"):
        start = jax.eval_shape(limit.init, jax.random.key(0))
        stepped, _ = jax.eval_shape(limit.step, start, x, y)
        seen, _ = jax.eval_shape(lambda state: limits.features(limit, state, x), stepped)
        assert jax.eval_shape(limit.predict, seen, x).dtype == jnp.float32
    types = [
        [(a.shape, a.dtype, a.weak_type) for a in jax.tree.leaves(state)]
        for state in (start, stepped, seen)
    ]
    assert types[0] == types[1] == types[2]
    assert len(jax.tree.leaves(start)) > 12
