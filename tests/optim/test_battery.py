"""What every optimizer of the room must stand: one list, many tests. A new one costs one line."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint
import pytest
from flax import nnx

from theorylab import optim

RATE = 0.05
# Each a function of the learning rate.
FAMILY = {
    # Adam's first step: gradients here are exact, so that skipping it would amplify round-off.
    "soap": lambda rate: optim.soap(rate, precondition_frequency=2, first_step="adam"),
    "lion_k, nuclear": lambda rate: optim.lion_k(rate, optim.kappas.nuclear()),
}
family = pytest.mark.parametrize("make", FAMILY.values(), ids=FAMILY)


def params():
    rng = np.random.default_rng(0)
    shapes = {"w": (3, 3), "b": (3,)}
    return {name: jnp.asarray(rng.normal(size=s), jnp.float32) for name, s in shapes.items()}


def loss(p):
    # Gradients of full rank: those of less would leave bases to round-off.
    curved = jnp.sum(jnp.square(p["w"] @ p["w"].T - 3 * jnp.eye(3)))
    return curved + jnp.sum(jnp.square(p["w"] @ p["b"] - 1))


def ran(tx, p, calls=7, loss=loss):
    """Parameters and state after some calls, within one scan."""

    def call(carry, _):
        p, state = carry
        updates, state = tx.update(jax.grad(loss)(p), state, p)
        return (optax.apply_updates(p, updates), state), None

    return jax.jit(lambda c: jax.lax.scan(call, c, length=calls)[0])((p, tx.init(p)))


def same(one, two, tolerance=0.0):
    def check(x, y):
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=tolerance, atol=tolerance / 9)

    jax.tree.map(check, one, two)


@family
def test_a_loop_is_a_scan_and_nothing_is_compiled_twice(make):
    tx, p = make(RATE), params()
    state = tx.init(p)
    types = jax.tree.map(lambda x: (x.shape, x.dtype), (p, state))

    @jax.jit
    def call(p, state):
        updates, state = tx.update(jax.grad(loss)(p), state, p)
        return optax.apply_updates(p, updates), state

    for _ in range(7):
        p, state = call(p, state)
    assert call._cache_size() == 1
    assert jax.tree.map(lambda x: (x.shape, x.dtype), (p, state)) == types
    same((p, state), ran(tx, params()), 1e-5)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state))
    assert loss(p) < loss(params())


@family
def test_it_composes_with_masks_labels_chains_and_clipping(make):
    p = params()
    alone = ran(make(RATE), {"w": p["w"]}, loss=lambda q: loss({"w": q["w"], "b": p["b"]}))[0]["w"]
    masked = optax.chain(
        optax.masked(make(RATE), {"w": True, "b": False}),
        optax.masked(optax.set_to_zero(), {"w": False, "b": True}),
        optax.clip(1e6),
    )
    labelled = optax.multi_transform(
        {"ours": make(RATE), "none": optax.set_to_zero()}, {"w": "ours", "b": "none"}
    )
    for tx in (masked, labelled):
        found = ran(tx, p)[0]
        same(found["w"], alone, 1e-6)
        same(found["b"], p["b"])


@family
def test_schedules_and_injected_rates_are_the_rate(make):
    p = params()
    constant = ran(make(RATE), p)[0]
    same(ran(make(optax.constant_schedule(RATE)), p)[0], constant, 1e-5)
    injected = optax.inject_hyperparams(lambda learning_rate: make(learning_rate))(RATE)
    found, state = ran(injected, p)
    same(found, constant, 1e-5)
    np.testing.assert_allclose(state.hyperparams["learning_rate"], RATE, rtol=1e-6)


def test_every_option_of_soap_can_be_injected():
    options = {"learning_rate": RATE, "precondition_frequency": 2, "first_step": "adam"}
    found, state = ran(optax.inject_hyperparams(optim.soap)(**options), params())
    same(found, ran(optim.soap(**options), params())[0], 1e-5)
    assert {"b1", "eps", "weight_decay", "precondition_frequency"} <= set(state.hyperparams)
    assert "max_precond_dim" not in state.hyperparams


@family
def test_gradients_gathered_over_calls_are_one_gradient(make):
    p = params()
    grads = jax.grad(loss)(p)
    several = optax.MultiSteps(make(RATE), 2)

    @jax.jit
    def both(p, grads):
        state, plain = several.init(p), make(RATE)
        for _ in range(4):
            updates, state = several.update(grads, state, p)
        other = plain.init(p)
        for _ in range(2):
            wanted, other = plain.update(grads, other, p)
        return updates, wanted

    same(*both(p, grads), 1e-4)


@family
def test_seeds_and_rates_in_a_batch_are_each_alone(make):
    p = params()
    stacked = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), p)
    rates = jnp.array([RATE, 2 * RATE])
    axes = optim.state_axes(jax.eval_shape(make(RATE).init, p))

    @jax.jit
    def together(stacked, rates):
        def call(rate, p, state):
            updates, state = make(rate).update(jax.grad(loss)(p), state, p)
            return optax.apply_updates(p, updates), state

        state = jax.vmap(make(RATE).init, out_axes=axes)(stacked)
        batched = jax.vmap(call, in_axes=(0, 0, axes), out_axes=(0, axes))
        step = lambda c, _: (batched(rates, *c), None)  # noqa: E731
        return jax.lax.scan(step, (stacked, state), length=5)[0][0]

    found = together(stacked, rates)
    for index in range(2):
        one = jax.tree.map(lambda x, index=index: x[index], stacked)
        alone = ran(make(float(rates[index])), one, calls=5)[0]
        same(jax.tree.map(lambda x, index=index: x[index], found), alone, 1e-4)


@family
def test_memory_given_away_is_used_again(make):
    tx, p = make(RATE), params()
    state = tx.init(p)
    call = jax.jit(lambda g, s, p: tx.update(g, s, p), donate_argnums=1)
    wanted, _ = jax.jit(tx.update)(p, tx.init(p), p)
    updates, new = call(p, state, p)
    same(updates, wanted, 1e-6)
    assert any(leaf.is_deleted() for leaf in jax.tree.leaves(state))
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(new))


@family
def test_within_shard_map_gradients_and_states_may_vary_over_devices(make):
    mesh = jax.make_mesh((1,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    tx, p = make(RATE), params()["w"]
    call = lambda g: tx.update(g, tx.init(g), g)[0]  # noqa: E731
    spread = jax.shard_map(call, mesh=mesh, in_specs=jax.P("d"), out_specs=jax.P("d"))
    same(jax.jit(spread)(p), jax.jit(call)(p), 1e-6)


@family
def test_half_precision_keeps_its_dtype_and_is_computed_in_single(make):
    p = params()
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), p)
    tx = make(RATE)
    updates, state = jax.jit(tx.update)(half, tx.init(half), half)
    updates, state = jax.jit(tx.update)(half, state, half)
    assert {x.dtype for x in jax.tree.leaves(updates)} == {jnp.dtype(jnp.bfloat16)}
    single = jax.tree.map(lambda x: x.astype(jnp.float32), half)
    _, other = jax.jit(tx.update)(single, tx.init(single), single)
    wanted, _ = jax.jit(tx.update)(single, other, single)
    # Rounded once, at the end: half a unit of bfloat16 relative to each update.
    same(jax.tree.map(lambda x: x.astype(jnp.float32), updates), wanted, 2.0**-8)


@family
def test_a_run_that_is_saved_goes_on_to_the_bit(make, tmp_path):
    tx = make(RATE)
    p, state = ran(tx, params(), calls=5)
    with orbax.checkpoint.StandardCheckpointer() as keeper:
        keeper.save(tmp_path / "run", {"params": p, "state": state})
        keeper.wait_until_finished()
        empty = jax.tree.map(jnp.zeros_like, {"params": p, "state": state})
        kept = keeper.restore(tmp_path / "run", empty)
    assert jax.tree.structure(kept["state"]) == jax.tree.structure(state)
    call = jax.jit(lambda p, s: tx.update(jax.grad(loss)(p), s, p))
    for _ in range(3):
        one, state = call(p, state)
        two, kept["state"] = call(kept["params"], kept["state"])
        same(one, two)


@family
def test_flax_modules_train_with_it(make):
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, make(RATE), wrt=nnx.Param)
    x = jnp.ones((4, 3)) * jnp.arange(4)[:, None]

    @nnx.jit
    def call(model, optimizer):
        value, grads = nnx.value_and_grad(lambda m: jnp.mean((m(x) - 1) ** 2))(model)
        optimizer.update(model, grads)
        return value

    values = [float(call(model, optimizer)) for _ in range(20)]
    assert values[-1] < 0.5 * values[0]


@family
def test_equinox_modules_train_with_it(make):
    model = eqx.nn.Linear(3, 2, key=jax.random.key(0))
    tx = make(RATE)
    state = tx.init(eqx.filter(model, eqx.is_inexact_array))
    x = jnp.ones((4, 3)) * jnp.arange(4)[:, None]

    @eqx.filter_jit
    def call(model, state):
        value = lambda m: jnp.mean((jax.vmap(m)(x) - 1) ** 2)  # noqa: E731
        value, grads = eqx.filter_value_and_grad(value)(model)
        updates, state = tx.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state, value

    values = []
    for _ in range(20):
        model, state, value = call(model, state)
        values.append(float(value))
    assert values[-1] < 0.5 * values[0]


def test_our_own_code_promotes_nothing_implicitly(x64, strict_promotion):
    p = {
        "half": jnp.ones((3, 2), jnp.bfloat16),
        "single": jnp.ones((2, 3, 2), jnp.float32),
        "double": jnp.ones((3, 2), jnp.float64),
    }
    for refresh in ("qr", "eigh", "cholqr"):
        tx = optim.scale_by_soap(refresh=refresh, normalize_grads=True, mu_dtype=jnp.bfloat16)
        state = jax.eval_shape(tx.init, p)
        updates, after = jax.eval_shape(tx.update, p, state)
        assert jax.tree.map(lambda x: x.dtype, updates) == jax.tree.map(lambda x: x.dtype, p)
        assert jax.tree.map(lambda x: x.dtype, after) == jax.tree.map(lambda x: x.dtype, state)
    assert {stack.dtype.name for stack in state.factors} == {"float32", "float64"}
