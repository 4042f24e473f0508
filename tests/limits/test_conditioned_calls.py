"""What separate calls of a conditioned network have to do with one another."""

import jax
import jax.numpy as jnp
import numpy as np

from theorylab import limits
from theorylab.limits._conditioned_digest import digest


def test_one_call_and_remembered_points_are_correlated_as_in_a_dense_network_separate_calls_not():
    limit = limits.conditioned_mlp(16, 2, 1, 2, jnp.tanh, learning_rate=0.1, capacity=2)
    x = np.asarray([[1.0, 0.2], [0.9, 0.5]], np.float32)

    def outputs(key):
        state = limit.init(key)
        knowing, _ = limits.features(limit, state, x[:1])
        params, apply = limits.finite_width_like(limit, 16, key)
        apart, later = ([limit.predict(s, x[i : i + 1]) for i in (0, 1)] for s in (state, knowing))
        found = {"dense": apply(params, x), "one": limit.predict(state, x)}
        return found | {"apart": jnp.concatenate(apart), "later": jnp.concatenate(later)}

    seeds = 1000
    found = jax.jit(jax.vmap(outputs))(jax.random.split(jax.random.key(0), seeds))
    r = {way: np.corrcoef(np.asarray(f)[:, :, 0].T)[0, 1] for way, f in found.items()}
    # Given u and v outputs are odd in the matrix, so that independent ones are uncorrelated.
    assert abs(r["apart"]) < 4 / seeds**0.5, r
    # Fisher's transform of a sample correlation has the standard error 1 / sqrt(seeds - 3).
    near = 4 * (2 / (seeds - 3)) ** 0.5
    assert r["dense"] > 0.8, r
    assert all(abs(np.arctanh(r[way]) - np.arctanh(r["dense"])) < near for way in ("one", "later"))


def test_the_digest_tells_points_and_their_order_apart_and_knows_one_zero(x64):
    for dtype in (np.float32, np.float64):
        grid = np.stack(np.meshgrid(*3 * [np.arange(-4, 5)]), -1).reshape(-1, 1, 3).astype(dtype)
        found = np.asarray(jax.jit(jax.vmap(digest))(grid))
        assert found.dtype == np.uint32 and len(set(found.tolist())) == len(grid)
        a = jnp.asarray([[0.0, 1.0], [2.0, 3.0]], dtype)
        assert digest(a) == digest(a.at[0, 0].set(-0.0)) != digest(a[::-1])
    b = jnp.asarray([[1.0]])
    assert digest(b) != digest(b + 1e-15)
