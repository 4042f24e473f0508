"""SOAP beside what it must equal: Adam, itself in other coordinates, itself without a condition."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.optim.jaxprs import equations
from theorylab import optim


def gradients(shape, calls, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(size=(calls, *shape)).astype(dtype)


def updates(tx, grads, params=None):
    """Updates of all calls, and the state in the end."""
    params = jax.tree.map(lambda g: jnp.zeros(g.shape[1:], g.dtype), grads)

    def call(state, g):
        u, state = tx.update(g, state, params)
        return state, u

    state, found = jax.jit(lambda s, g: jax.lax.scan(call, s, g))(tx.init(params), grads)
    return found, state


def test_on_diagonal_gradients_with_eigenvectors_at_every_call_it_is_adam_one_call_late(x64):
    diagonals = gradients((5,), 12)
    grads = np.stack([np.diag(g) for g in diagonals])
    tx = optim.scale_by_soap(0.9, 0.99, 1e-30, precondition_frequency=1, refresh="eigh")
    ours, _ = updates(tx, grads)
    adams, _ = updates(optax.scale_by_adam(0.9, 0.99, 1e-30), grads[1:])
    assert not ours[0].any()
    np.testing.assert_allclose(ours[1:], adams, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("refresh", ["qr", "eigh", "cholqr"])
def test_turned_gradients_give_turned_updates(x64, refresh):
    grads = gradients((5, 5), 12)
    a, b = (np.linalg.qr(x)[0] for x in gradients((5, 5), 2, seed=1))
    tx = optim.scale_by_soap(precondition_frequency=3, refresh=refresh)
    both, _ = updates(tx, {"as it is": grads, "turned": a @ grads @ b})
    np.testing.assert_allclose(both["turned"], a @ both["as it is"] @ b, atol=1e-10)


def test_cholesky_factors_give_householders_basis(x64):
    grads = gradients((6, 4), 20)
    one, two = (
        updates(optim.scale_by_soap(precondition_frequency=2, refresh=r), grads)[1]
        for r in ("qr", "cholqr")
    )
    # The first factor of the longer side has rank 4 and its basis is LAPACK's in both.
    for q, other in zip(one.bases, two.bases, strict=True):
        np.testing.assert_allclose(np.abs(np.sum(q * other, axis=-2)), 1, atol=1e-9)


@pytest.mark.parametrize("refresh", ["qr", "eigh", "cholqr"])
def test_bases_stay_orthogonal_for_a_thousand_calls_in_single_precision(refresh):
    rng = np.random.default_rng(0)
    scales = np.logspace(0, -4, 16, dtype=np.float32)
    full = rng.normal(size=(1000, 16, 12)).astype(np.float32) * scales[:, None]
    thin = rng.normal(size=(1000, 16, 1)) * rng.normal(size=(1000, 1, 12))
    same = np.broadcast_to(thin[:1], thin.shape)
    grads = {"full": full, "rank one": np.float32(thin), "one alone": np.float32(same)}
    tx = optim.scale_by_soap(precondition_frequency=5, refresh=refresh)
    found, state = updates(tx, grads)
    for basis in state.bases:
        basis = np.asarray(basis, np.float64)
        gram = np.swapaxes(basis, -1, -2) @ basis
        assert np.abs(gram - np.eye(basis.shape[-1])).max() <= 1e-5
    assert all(np.isfinite(u).all() for u in jax.tree.leaves(found))


def test_cholesky_factors_hold_where_columns_are_nearly_the_same(x64):
    # An old basis that has nothing to do with the factor, whose eigenvalues span seven decades.
    from theorylab.optim._soap_basis import refreshed

    rng = np.random.default_rng(0)
    vectors = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    factor = np.float32((vectors * np.logspace(0, -7, 12)) @ vectors.T)
    old = np.eye(12, dtype=np.float32)
    basis, order = jax.jit(refreshed, static_argnums=2)(factor[None], old[None], "cholqr")
    basis = np.asarray(basis[0], np.float64)
    assert np.abs(basis.T @ basis - np.eye(12)).max() < 1e-5
    # It is the step that was asked for, and not the old basis: columns span what those of S Q do.
    columns = factor.astype(np.float64)[:, order[0]]
    top = np.linalg.qr(columns)[0][:, :4]
    np.testing.assert_allclose(np.linalg.norm(top.T @ basis[:, :4], 2), 1, atol=1e-3)
    assert np.abs(np.abs(np.sum(top * basis[:, :4], axis=0)) - 1).max() < 1e-2


def test_dead_inputs_do_not_keep_cholesky_factors_from_following():
    # A row that is always zero gives the factor an exact kernel; half-way the others change.
    rng = np.random.default_rng(0)
    mixings = rng.normal(size=(2, 12, 12)).astype(np.float32)
    noise = rng.normal(size=(2, 60, 12, 8)).astype(np.float32)
    grads = np.concatenate([m @ n for m, n in zip(mixings, noise, strict=True)])
    grads[:, 0] = 0

    def off_diagonal(refresh):
        tx = optim.scale_by_soap(0.9, 0.8, precondition_frequency=1, refresh=refresh)
        _, state = updates(tx, grads)
        (factor, *_), (q, *_) = ((np.asarray(x[0], np.float64) for x in s) for s in state[-2:])
        turned = q.T @ factor @ q
        assert np.abs(q.T @ q - np.eye(12)).max() <= 1e-5
        return np.linalg.norm(turned - np.diag(np.diag(turned))) / np.linalg.norm(turned)

    assert abs(off_diagonal("cholqr") - off_diagonal("qr")) < 1e-3


def test_a_factor_of_nan_leaves_the_basis():
    from theorylab.optim._soap_basis import refreshed

    factor = np.full((1, 3, 3), np.nan, np.float32)
    basis, _ = refreshed(factor, np.eye(3, dtype=np.float32)[None], "cholqr")
    np.testing.assert_array_equal(np.sort(np.abs(basis[0]), axis=0)[-1], 1)


def test_forward_derivatives_in_the_rate_are_those_of_differences(x64):
    a = gradients((5, 4), 1)[0]

    def loss(rate):
        tx = optim.soap(rate, precondition_frequency=2, first_step="adam", one_sided="auto")

        def call(carry, _):
            w, state = carry
            g = jax.grad(lambda w: jnp.sum(jnp.tanh(w - a) ** 2) + jnp.sum(w**4))(w)
            u, state = tx.update(g, state, w)
            return (optax.apply_updates(w, u), state), None

        w = jnp.zeros((5, 4))
        (w, _), _ = jax.lax.scan(call, (w, tx.init(w)), length=6)
        return jnp.sum(w**2)

    value, slope = jax.jit(lambda r: jax.jvp(loss, (r,), (1.0,)))(0.03)
    ahead, behind = jax.jit(jax.vmap(loss))(jnp.array([0.03 + 1e-5, 0.03 - 1e-5]))
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-5)
    assert value > 0


@pytest.mark.parametrize("order", ["optax", "reference"])
def test_blocks_without_a_condition_are_the_same_optimizer(x64, order):
    grads = gradients((4, 3), 13)
    options = {"weight_decay": 0.3, "decay_order": order, "precondition_frequency": 4}
    rate = optax.linear_schedule(0.1, 0.01, 13)
    params = jnp.ones((4, 3))
    tx, blocks = optim.soap(rate, **options), optim.soap_blocks(rate, **options)

    def call(carry, g):
        params, state = carry
        u, state = tx.update(g, state, params)
        return (optax.apply_updates(params, u), state), None

    @jax.jit
    def both(grads):
        one = jax.lax.scan(call, (params, tx.init(params)), grads)[0]
        u, state = blocks.first(grads[0], blocks.init(params), params)
        after = optax.apply_updates(params, u)
        two = blocks.run(lambda p, g: (g, jnp.sum(p)), after, state, grads[1:])
        return one, two

    (p1, s1), (p2, s2, sums) = both(grads)
    assert jax.tree.structure(s1) == jax.tree.structure(s2)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-12), (p1, s1), (p2, s2))
    assert sums.shape == (12,)
    names = {e.primitive.name for e in equations(jax.make_jaxpr(both)(grads).jaxpr)}
    assert "cond" in names
    run = jax.make_jaxpr(lambda g: blocks.run(lambda p, g: (g, 0), params, s2, g))(grads[1:])
    assert "cond" not in {e.primitive.name for e in equations(run.jaxpr)}
    with pytest.raises(ValueError, match=r"precondition_frequency = 4 long, got .*13"):
        blocks.run(lambda p, g: (g, 0), params, s2, grads)
    with pytest.raises(ValueError, match="must have made 1 call, .* got 0"):
        blocks.run(lambda p, g: (g, 0), params, blocks.init(params), grads[1:])


def test_a_second_gradient_like_the_first_is_round_off_unless_adam_moves_first():
    # Deterministic training: float32 and float64 part ways at the second call, unless guarded.
    rng = np.random.default_rng(0)
    a, b, c = (rng.normal(size=(6, 6)) for _ in range(3))

    def second_move(first_step, dtype):
        with jax.enable_x64(dtype == np.float64):
            tx = optim.soap(0.03, weight_decay=0.0, first_step=first_step)
            x = jnp.zeros((6, 6), dtype)
            aa, bb, cc = (jnp.asarray(m, dtype) for m in (a, b, c))
            state = tx.init(x)
            call = jax.jit(tx.update)
            for _ in range(2):
                u, state = call(aa @ x @ bb - cc, state)
                x = optax.apply_updates(x, u)
            return np.asarray(u, np.float64)

    def gap(first_step):
        single, double = (second_move(first_step, d) for d in (np.float32, np.float64))
        return np.abs(single - double).max()

    assert gap("skip") > 1e-2
    assert gap("adam") < 1e-4


def test_batches_keep_the_condition_as_long_as_the_counter_has_no_axis():
    tx = optim.scale_by_soap()
    w = jnp.zeros((3, 4, 4))
    axes = optim.state_axes(jax.eval_shape(tx.init, w[0]))
    state = jax.vmap(tx.init, out_axes=axes)(w)
    good = jax.vmap(tx.update, in_axes=(0, axes), out_axes=(0, axes))
    names = [e.primitive.name for e in equations(jax.make_jaxpr(good)(w, state).jaxpr)]
    assert "cond" in names
    # What goes wrong otherwise, so that this test could tell.
    bad = jax.make_jaxpr(jax.vmap(tx.update))(w, jax.vmap(tx.init)(w))
    assert "cond" not in {e.primitive.name for e in equations(bad.jaxpr)}


def test_on_a_cpu_no_two_factorizations_wait_for_the_same_threads():
    # A batch of them is shared out to the pool that it runs in; two such batches wait for ever.
    p = {name: jnp.zeros((4, size, size)) for name, size in (("a", 5), ("b", 6))}
    for refresh in ("qr", "eigh", "cholqr"):
        tx = optim.scale_by_soap(refresh=refresh)
        axes = optim.state_axes(jax.eval_shape(tx.init, jax.tree.map(lambda x: x[0], p)))
        batched = jax.vmap(tx.update, in_axes=(0, axes), out_axes=(0, axes))
        state = jax.eval_shape(jax.vmap(tx.init, out_axes=axes), p)
        found = [
            e.invars[0].aval.ndim
            for e in equations(jax.make_jaxpr(batched)(p, state).jaxpr)
            if e.primitive.name in ("geqrf", "householder_product", "eigh", "cholesky")
        ]
        assert found and set(found) == {2}


def test_every_product_has_the_highest_precision():
    for refresh in ("qr", "eigh", "cholqr"):
        tx = optim.scale_by_soap(refresh=refresh)
        p = {"t": jnp.zeros((3, 2, 4)), "w": jnp.zeros((3, 2))}
        found = equations(jax.make_jaxpr(tx.update)(p, tx.init(p)).jaxpr)
        precisions = {e.params["precision"] for e in found if e.primitive.name == "dot_general"}
        assert precisions == {(jax.lax.Precision.HIGHEST,) * 2}
