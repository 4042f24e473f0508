"""Scales at work: initial weights, effective weights, updates, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from theorylab.parametrization import (
    LeafScale,
    LeafSpec,
    apply_multipliers,
    infer_specs,
    leaf_scales,
    rescale_init,
    scale_by_parametrization,
    scale_gradients,
)


def mlp(n):
    def init(key):
        k = jax.random.split(key, 3)
        return {
            "first": {"kernel": jax.random.normal(k[0], (3, n)), "bias": jnp.zeros(n)},
            "hidden": {"kernel": jax.random.normal(k[1], (n, n)) * n**-0.5, "bias": jnp.zeros(n)},
            "last": {"kernel": jax.random.normal(k[2], (n, 2)) * n**-0.5, "bias": jnp.zeros(2)},
        }

    return init


def forward(w, x):
    for name in ("first", "hidden"):
        x = jnp.tanh(x @ w[name]["kernel"] + w[name]["bias"])
    return x @ w["last"]["kernel"] + w["last"]["bias"]


def scales_of(base, target, **options):
    shapes = [jax.eval_shape(mlp(n), jax.random.key(0)) for n in (base, base + 1, target)]
    return leaf_scales(infer_specs(*shapes), **options)


def trained(params, scales, optimizer, steps=5):
    """Outputs and losses along a run, and the last weights."""
    x = jax.random.normal(jax.random.key(7), (6, 3), params["last"]["bias"].dtype)
    y = jnp.sin(x[:, :2])

    def loss(params):
        out = forward(apply_multipliers(params, scales), x)
        return jnp.mean((out - y) ** 2), out

    def step(carry, _):
        params, state = carry
        (value, out), gradient = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), (value, out)

    (params, _), history = jax.jit(
        lambda p: jax.lax.scan(step, (p, optimizer.init(p)), None, length=steps)
    )(params)
    return history, params


OPTIMIZERS = {
    "sgd": lambda: optax.sgd(0.3, momentum=0.5),
    "adam": lambda: optax.adam(1e-2),
    "sign": lambda: optax.lion(1e-2, weight_decay=0.1),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_model_that_is_its_own_base_trains_to_the_bit_as_without(optimizer):
    scales = scales_of(8, 8, optimizer=optimizer)
    params = mlp(8)(jax.random.key(0))
    ours = optax.chain(
        scale_gradients(scales), OPTIMIZERS[optimizer](), scale_by_parametrization(scales)
    )
    a = trained(rescale_init(params, scales), scales, ours)
    b = trained(params, scales_of(8, 8, scheme="sp"), OPTIMIZERS[optimizer]())
    assert jax.tree.all(jax.tree.map(lambda u, v: bool((u == v).all()), a, b))


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("optimizer", "make", "tol"),
    [
        ("sgd", lambda: optax.sgd(0.3, momentum=0.9), 1e-10),
        ("adam", lambda: optax.adam(1e-2, eps=0.0), 1e-6),
    ],
)
def test_the_tables_give_one_trajectory(optimizer, make, tol):
    params = mlp(24)(jax.random.key(0))
    runs = []
    for form in ("table3", "table8", "table9"):
        scales = scales_of(8, 24, optimizer=optimizer, form=form)
        chain = optax.chain(make(), scale_by_parametrization(scales))
        runs.append(trained(rescale_init(params, scales), scales, chain, steps=20)[0])
    assert float(jnp.ptp(runs[0][0])) > 0.01  # losses have moved
    for run in runs[1:]:
        for ours, first in zip(run, runs[0], strict=True):
            np.testing.assert_allclose(ours, first, rtol=tol, atol=tol)


@pytest.mark.usefixtures("x64")
def test_scaled_gradients_are_adam_with_a_scaled_epsilon():
    """The step of one leaf, beside optax's own epsilon."""
    scale = {"w": LeafScale(eps=0.125, shape=(3,))}
    g = {"w": jnp.asarray([1e-3, -2e-4, 5e-6])}
    ours = optax.chain(scale_gradients(scale), optax.scale_by_adam(eps=1e-4))
    theirs = optax.scale_by_adam(eps=0.125 * 1e-4)
    a, b = ours.init(g), theirs.init(g)
    for _ in range(3):
        u, a = ours.update(g, a)
        v, b = theirs.update(g, b)
        np.testing.assert_allclose(u["w"], v["w"], rtol=1e-12)
    assert float(v["w"][2]) < 0.9  # epsilon counts


def test_both_decays_are_what_their_formulas_say():
    scales = {"w": LeafScale(lr=0.25, shape=(2,))}
    w, d = {"w": jnp.asarray([1.0, -2.0])}, {"w": jnp.asarray([0.5, 0.5])}
    rate, decay = 0.1, 0.01

    def step(*parts):
        chain = optax.chain(*parts)
        return chain.update(d, chain.init(w), w)[0]["w"]

    last = optax.scale_by_learning_rate(rate)
    add = optax.add_decayed_weights(decay)
    expected = {
        "scaled": -rate * 0.25 * (d["w"] + decay * w["w"]),
        "independent": -rate * (0.25 * d["w"] + decay * w["w"]),
    }
    for name, value in expected.items():
        here = scale_by_parametrization(scales, name, weight_decay=decay)
        np.testing.assert_allclose(step(here, last), value, rtol=1e-6)
    np.testing.assert_allclose(
        step(add, last, scale_by_parametrization(scales)), expected["scaled"], rtol=1e-6
    )
    np.testing.assert_allclose(
        step(scale_by_parametrization(scales, "independent"), add, last),
        expected["independent"],
        rtol=1e-6,
    )
    # the field wd does the same within an optimizer that multiplies decay by its rate
    own = optax.add_decayed_weights(
        decay * leaf_scales({"w": LeafSpec("hidden", 4.0, 4.0)})["w"].wd
    )
    np.testing.assert_allclose(
        step(own, last, scale_by_parametrization(scales)), expected["independent"], rtol=1e-6
    )


def test_masked_leaves_and_labels_of_optax_are_left_out():
    scales = scales_of(8, 16)
    params = mlp(16)(jax.random.key(0))
    labels = jax.tree.map_with_path(lambda path, _: path[-1].key, params)
    inner = optax.chain(optax.adam(1e-2), scale_by_parametrization(scales))
    both = optax.multi_transform({"kernel": inner, "bias": optax.sgd(0.1)}, labels)
    masked = optax.masked(inner, jax.tree.map(lambda label: label == "kernel", labels))
    g = jax.tree.map(jnp.ones_like, params)
    for chain in (both, masked, optax.MultiSteps(inner, 1).gradient_transformation()):
        updates, _ = jax.jit(chain.update)(g, chain.init(params), params)
        np.testing.assert_allclose(updates["hidden"]["kernel"], -1e-2 / 2, rtol=1e-5)

    injected = optax.inject_hyperparams(
        lambda rate: optax.chain(optax.adam(rate), scale_by_parametrization(scales))
    )(rate=optax.linear_schedule(1e-2, 0.0, 10))
    updates, _ = jax.jit(injected.update)(g, injected.init(params), params)
    np.testing.assert_allclose(updates["hidden"]["kernel"], -1e-2 / 2, rtol=1e-5)


def test_seeds_may_be_mapped_over_and_dtypes_stay():
    scales = scales_of(8, 16)
    keys = jax.random.split(jax.random.key(0), 3)
    optimizer = optax.chain(optax.sgd(1.0), scale_by_parametrization(scales))

    def first_step(key, dtype):
        params = jax.tree.map(lambda p: p.astype(dtype), rescale_init(mlp(16)(key), scales))
        updates, _ = optimizer.update(params, optimizer.init(params), params)
        return apply_multipliers(updates, scales)

    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16):
        mapped = jax.vmap(lambda key, dtype=dtype: first_step(key, dtype))(keys)
        alone = first_step(keys[1], dtype)
        for a, b in zip(jax.tree.leaves(mapped), jax.tree.leaves(alone), strict=True):
            assert a.dtype == b.dtype == dtype
            np.testing.assert_array_equal(a[1], b)


def test_a_traced_weight_decay_is_added_as_a_known_one_is():
    scales = {"w": LeafScale(lr=0.25, shape=(2,))}
    w = {"w": jnp.asarray([1.0, -2.0])}

    def step(coefficient):
        chain = scale_by_parametrization(scales, "independent", weight_decay=coefficient)
        return chain.update(w, chain.init(w), w)[0]["w"]

    found = jax.jit(jax.vmap(step))(jnp.asarray([0.0, 0.1]))
    np.testing.assert_allclose(found, [[0.25, -0.5], [0.35, -0.7]], rtol=1e-6)
    injected = optax.inject_hyperparams(
        lambda decay: scale_by_parametrization(scales, weight_decay=decay)
    )(decay=0.1)
    updates, _ = jax.jit(injected.update)(w, injected.init(w), w)
    np.testing.assert_allclose(updates["w"], [0.275, -0.55], rtol=1e-6)


def test_strict_promotion_is_kept(strict_promotion):
    scales = scales_of(8, 16)
    params = mlp(16)(jax.random.key(0))
    out = scale_by_parametrization(scales).update(params, optax.EmptyState())[0]
    apply_multipliers(rescale_init(out, scales), scales)


def test_a_read_out_may_begin_at_zero():
    scales = scales_of(8, 16)
    params = rescale_init(mlp(16)(jax.random.key(0)), scales, zero_readout=True)
    assert not params["last"]["kernel"].any()
    assert params["hidden"]["kernel"].all()


# Bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda p, s: rescale_init(p, s),
        lambda p, s: apply_multipliers(p, s),
        lambda p, s: scale_by_parametrization(s).init(p),
        lambda p, s: scale_by_parametrization(s).update(p, optax.EmptyState()),
        lambda p, s: scale_gradients(s).init(p),
    ],
)
def test_parameters_of_another_model_are_refused_by_name_and_shape(use):
    scales = scales_of(8, 16)
    with pytest.raises(
        ValueError, match=r"'first/bias' has shape \(8,\), its scale is for \(16,\)"
    ):
        use(mlp(8)(jax.random.key(0)), scales)
    with pytest.raises(ValueError, match=r"no scale for the leaf 'extra' of shape \(2,\)"):
        use({"extra": jnp.ones(2)}, scales)


def test_gains_that_would_be_rescaled_are_warned_of():
    scales = {"gain": LeafScale(init_std=0.5, shape=(4,))}
    with pytest.warns(UserWarning, match="all entries of 'gain' are 1.0.*by 0.5"):
        rescale_init({"gain": jnp.ones(4)}, scales)
    # not where the multiplier takes it back, as Table 9 does, and not for zeros
    rescale_init({"gain": jnp.ones(4)}, {"gain": LeafScale(2.0, 0.5, shape=(4,))})
    rescale_init({"gain": jnp.zeros(4)}, scales)


def test_decays_are_checked():
    with pytest.raises(ValueError, match="decay must be one of .*'decoupled'"):
        scale_by_parametrization({}, "decoupled")
    with pytest.raises(ValueError, match="weight_decay must not be negative, got -1"):
        scale_by_parametrization({}, weight_decay=-1)
    w = {"w": jnp.ones(2)}
    chain = scale_by_parametrization({"w": LeafScale(shape=(2,))}, weight_decay=0.1)
    with pytest.raises(ValueError, match="update needs params"):
        chain.update(w, chain.init(w))
