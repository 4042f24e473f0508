"""Lion-K is Lion with l1, Muon with the nuclear norm, and composes like every optax optimizer."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.optim.kappa_family import FULL_DOMAIN, KAPPAS, SHAPE
from theorylab import optim
from theorylab.optim import kappas

ORACLE = Path(__file__).parents[1] / "oracles" / "lion_5x3.npz"


def gradients(steps, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    draw = {"w": rng.normal(size=(steps, *SHAPE)), "b": rng.normal(size=(steps, 3))}
    return jax.tree.map(lambda g: jnp.asarray(g * 10.0 ** rng.integers(-3, 3), dtype), draw)


def run(tx, params, grads):
    """Every parameter on the way."""

    def step(carry, g):
        params, state = carry
        updates, state = tx.update(g, state, params)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    return jax.lax.scan(step, (params, tx.init(params)), grads)


OPTIONS = {
    "float32": (np.float32, {"learning_rate": 0.01, "weight_decay": 0.1}),
    "float64": (np.float64, {"learning_rate": 0.01, "weight_decay": 0.1}),
    "bfloat16": (jnp.bfloat16, {"learning_rate": 0.01, "weight_decay": 0.1}),
    "all options": (
        np.float32,
        {
            "learning_rate": optax.cosine_decay_schedule(0.03, 8),
            "weight_decay": optax.linear_schedule(0.3, 0.1, 8),
            "b1": 0.85,
            "b2": 0.97,
            "mu_dtype": jnp.bfloat16,
            "mask": {"w": True, "b": False},
        },
    ),
    "wider momentum": (jnp.bfloat16, {"learning_rate": 0.01, "mu_dtype": jnp.float32}),
}


def dtypes(tree):
    return jax.tree.map(lambda leaf: leaf.dtype, tree)


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def test_with_l1_it_is_optax_lion_to_the_bit(x64):
    grads = {name: gradients(10, dtype) for name, (dtype, _) in OPTIONS.items()}

    def all_runs(make):
        makers = {name: make(**options) for name, (_, options) in OPTIONS.items()}
        params = {name: jax.tree.map(lambda g: g[0], g) for name, g in grads.items()}

        def program(params):
            return {name: run(makers[name], params[name], grads[name]) for name in OPTIONS}

        return jax.jit(program)(params)

    ours = all_runs(lambda **options: optim.lion_k(kappa=kappas.l1(), **options))
    theirs = all_runs(optax.lion)
    for name in OPTIONS:
        ((params, state), path), ((params_, state_), path_) = ours[name], theirs[name]
        assert bits((params, state[0].mu, path)) == bits((params_, state_[0].mu, path_)), name
        assert dtypes(params) == dtypes(params_)
        moved = optax.tree.norm(jax.tree.map(lambda g: (g[-1] - g[0]).astype(float), path))
        assert moved > 0.05, "a run that stands still compares nothing"


@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
def test_it_is_optax_lion_to_the_bit_without_jit_as_well(dtype):
    grads, results = gradients(2, dtype), []
    params = jax.tree.map(lambda g: g[0], grads)
    for tx in (optim.lion_k(0.01, kappas.l1()), optax.lion(0.01)):
        x, state = params, tx.init(params)
        for k in range(2):
            updates, state = tx.update(jax.tree.map(lambda g, k=k: g[k], grads), state, x)
            x = optax.apply_updates(x, updates)
        results.append(bits((updates, x, state[0].mu)))
    assert results[0] == results[1]


def test_huber_and_log_cosh_are_the_modes_of_optax_lion(x64):
    grads = {dtype: gradients(6, dtype) for dtype in ("float32", "float64", "bfloat16")}
    pairs = [
        (kappas.huber(1.0), {"mode": "refined"}),
        (kappas.logcosh(1.0), {"mode": "smooth"}),
        (kappas.logcosh(0.3), {"mode": "smooth", "smooth_beta": 0.3}),
    ]

    def directions(txs):
        def along(tx, grads):
            start = tx.init(jax.tree.map(lambda g: g[0], grads))
            return jax.lax.scan(lambda state, g: tx.update(g, state)[::-1], start, grads)[1]

        return jax.jit(lambda: [[along(tx, g) for g in grads.values()] for tx in txs])()

    ours = directions([optim.scale_by_lion_k(kappa) for kappa, _ in pairs])
    theirs = directions([optax.scale_by_lion(**mode) for _, mode in pairs])
    assert bits(ours) == bits(theirs)


def test_the_frozen_trajectory_of_optax_lion(x64):
    """Made with optax.lion 0.2.8 in float64: hyper = [rate, b1, b2, decay], params[t] after t."""
    with np.load(ORACLE, allow_pickle=False) as file:
        stored = dict(file)
    rate, b1, b2, decay = (float(v) for v in stored["hyper"])
    tx = optim.lion_k(rate, kappas.l1(), b1, b2, decay)
    (_, state), path = jax.jit(lambda x, g: run(tx, x, g))(stored["init"], stored["grads"])
    np.testing.assert_array_equal(stored["params"][0], stored["init"])
    np.testing.assert_allclose(path, stored["params"][1:], rtol=0, atol=1e-14)
    np.testing.assert_allclose(state[0].mu, stored["momentum_final"], rtol=0, atol=1e-14)


def test_with_the_nuclear_norm_it_is_muon(x64):
    # With coefficients that converge, optax's Muon ends at the polar factor too.
    beta, grads = 0.9, gradients(2, np.float64)["w"]
    muon = optax.contrib.scale_by_muon(
        ns_coeffs=(15 / 8, -10 / 8, 3 / 8), ns_steps=16, beta=beta, nesterov=False
    )
    ours = optim.scale_by_lion_k(kappas.nuclear(), b1=beta, b2=beta)

    def directions(tx):
        start = tx.init(grads[0])
        return jax.lax.scan(lambda state, g: tx.update(g, state, grads[0])[::-1], start, grads)[1]

    theirs = jax.jit(lambda: directions(muon))()
    size = np.linalg.norm(theirs, 2, axis=(1, 2))  # Muon multiplies by a factor of the shape
    found = jax.jit(lambda: directions(ours))()
    np.testing.assert_allclose(found, theirs / size[:, None, None], atol=1e-5)


def test_a_kappa_that_is_not_odd_moves_along_plus_its_gradient_at_minus_the_momentum():
    g = jnp.array([3.0, 0.0, -3.0])
    tx = optim.lion_k(0.5, kappas.logsumexp(), 0.9, 0.99, 0.2)
    x = jnp.array([1.0, 2.0, 3.0])
    updates, _ = tx.update(g, tx.init(x), x)
    np.testing.assert_allclose(updates, 0.5 * (jax.nn.softmax(-0.1 * g) - 0.2 * x), rtol=1e-6)
    assert updates[2] + 0.3 > updates[0] + 0.1, "up where the gradient is negative"


def test_the_family_battery():
    """One compiled, batched, donating program for all kappas, which is not traced again."""
    txs = {name: optim.lion_k(0.1, kappa) for name, kappa in KAPPAS.items()}
    batch = {"w": gradients(3)["w"].at[2].set(gradients(3)["w"][0]), "none": None}
    batch["half"] = batch["w"][:, 0].astype(jnp.bfloat16)
    traced = []

    def step(params, states, grads):
        traced.append(1)
        seen = {name: tx.update(grads, states[name], params) for name, tx in txs.items()}
        return tuple({name: pair[k] for name, pair in seen.items()} for k in (0, 1))

    compiled = jax.jit(jax.vmap(step), donate_argnums=(1,))
    states = {name: jax.vmap(tx.init)(batch) for name, tx in txs.items()}
    _, states = compiled(batch, states, batch)
    updates, states = compiled(batch, states, batch)
    assert len(traced) == 1
    for name in KAPPAS:
        assert isinstance(states[name][0], optim.ScaleByLionKState)
        assert dtypes(updates[name]) == dtypes(states[name][0].mu) == dtypes(batch), name
        for leaf in jax.tree.leaves(updates[name]):
            first, second, third = np.float32(leaf)
            assert np.isfinite(first).all() and (first == third).all()
            assert (first != second).any(), name


def test_it_composes_with_the_wrappers_of_optax():
    params = {"w": jnp.ones((4, 3)), "b": jnp.ones(3), "n": jnp.arange(3)}
    grads = {
        "w": jnp.full((4, 3), 2.0),
        "b": jnp.full(3, jnp.nan),
        "n": np.zeros(3, jax.dtypes.float0),
    }
    spectral = optim.lion_k(0.1, kappas.nuclear(), weight_decay=0.0)
    labels = {"w": "matrix", "b": "vector", "n": "none"}
    tx = optax.apply_if_finite(
        optax.multi_transform(
            {
                "matrix": spectral,
                "vector": optax.inject_hyperparams(optim.lion_k)(
                    learning_rate=optax.constant_schedule(0.5), kappa=kappas.l1(), b1=0.8
                ),
                "none": optax.set_to_zero(),
            },
            labels,
        ),
        max_consecutive_errors=3,
    )
    grads["n"] = jnp.zeros_like(params["n"])
    state = tx.init(params)
    updates, state = tx.update(grads, state, params)
    assert all((np.asarray(leaf) == 0).all() for leaf in jax.tree.leaves(updates))
    assert np.isfinite(
        state.inner_state.inner_states["vector"].inner_state.inner_state[0].mu["b"]
    ).all()
    updates, state = tx.update(grads | {"b": jnp.ones(3)}, state, params)
    np.testing.assert_allclose(updates["w"], -0.1 / 12**0.5, rtol=1e-5)  # rank one: all equal
    np.testing.assert_allclose(updates["b"], -0.5 * (1 + 1e-3), rtol=1e-6)


def test_injected_rates_keep_the_dtype_of_every_leaf():
    params = {"w": jnp.ones((4, 3), jnp.bfloat16), "b": jnp.ones(3)}
    tx = optax.inject_hyperparams(optim.scale_by_lion_k)(kappa=kappas.l1(), b1=0.9, b2=0.99)
    state = tx.init(params)
    assert set(state.hyperparams) == {"b1", "b2"}
    updates, state = tx.update(params, state, params)
    assert dtypes(updates) == dtypes(state.inner_state.mu) == dtypes(params)
    np.testing.assert_allclose(state.inner_state.mu["b"], 0.01, rtol=1e-6)
    np.testing.assert_allclose(np.float32(state.inner_state.mu["w"]), 0.01, rtol=4e-3)


def test_the_distance_to_the_constraint_contracts_at_every_step_whatever_the_gradients(x64):
    """Gradients that push outwards, and random ones of all sizes; float64, 300 steps."""
    eta, lam = 0.02, 2.0
    rng = np.random.default_rng(7)
    noise = rng.normal(size=(300, *SHAPE)) * 10.0 ** rng.integers(-3, 4, (300, 1, 1))
    start = 5 * rng.normal(size=SHAPE)
    txs = {name: optim.lion_k(eta, kappa, weight_decay=lam) for name, kappa in KAPPAS.items()}

    def step(carry, g):
        def one(name):
            x, state = carry[name]
            updates, state = txs[name].update(g - 3.0 * x, state, x)
            return x + updates, state

        carry = {name: one(name) for name in KAPPAS}
        return carry, {n: kappa.distance(lam * carry[n][0]) for n, kappa in KAPPAS.items()}

    carry = {name: (jnp.asarray(start), tx.init(start)) for name, tx in txs.items()}
    _, distances = jax.jit(lambda carry: jax.lax.scan(step, carry, noise))(carry)
    for name, kappa in KAPPAS.items():
        path = np.r_[float(kappa.distance(lam * start)), np.asarray(distances[name])]
        if name in FULL_DOMAIN:
            assert (path == 0).all()
            continue
        assert path[0] > 1
        assert (path[1:] <= (1 - eta * lam) * path[:-1] + 1e-14 * (1 + path[:-1])).all(), name
        assert path[-1] <= (1 - eta * lam) ** 300 * path[0] * (1 + 1e-9)
