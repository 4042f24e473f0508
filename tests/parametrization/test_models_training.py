"""Real models in training: forms of muP are one network, and a model that is its own base is plain.

The gradient of a loss by the effective weights is compiled once for each model, over a stack of all
runs; what differs between runs is what the transformations do, which is outside of it.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.parametrization.models import CASES, named_specs, specs_of, weights
from theorylab import layers
from theorylab.parametrization import (
    apply_multipliers,
    layer_specs,
    leaf_scales,
    rescale_init,
    scale_by_parametrization,
    scale_gradients,
)

pytestmark = pytest.mark.slow

STEPS = 4
TABLES = ("table3", "table8", "table9")


def sgd(scales):
    """With momentum, and with weight decay that does not follow the rates."""
    return optax.chain(
        optax.trace(0.5),
        scale_by_parametrization(scales, "independent", weight_decay=0.1),
        optax.scale_by_learning_rate(0.05),
    )


def adam(scales):
    """Epsilon counts only where a gradient is 0: attention does not see the bias of its keys."""
    return optax.chain(optax.adam(1e-2, eps=1e-200), scale_by_parametrization(scales))


OPTIMIZERS = {"sgd": (sgd, 1e-10), "adam": (adam, 1e-6)}


def histories(specs, params, apply):
    """Outputs along a run for every optimizer and table, each starting from the same draw."""
    names = [(kind, form) for kind in OPTIMIZERS for form in TABLES]
    scales = [leaf_scales(specs, optimizer=kind, form=form) for kind, form in names]
    chains = [OPTIMIZERS[kind][0](s) for (kind, _), s in zip(names, scales, strict=True)]
    start = [rescale_init(params, s) for s in scales]
    readout = min(s.readout for s in jax.tree.leaves(scales[0]))

    def loss(w):
        out = apply(w) * readout
        return jnp.mean((out - jnp.sin(jnp.arange(out.size)).reshape(out.shape)) ** 2), out

    def step(carry, _):
        params, states = carry
        effective = [apply_multipliers(p, s) for p, s in zip(params, scales, strict=True)]
        stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), *effective)
        gradients, out = jax.vmap(jax.grad(loss, has_aux=True))(stack)
        moved = []
        for i, (w, state, s, chain) in enumerate(zip(params, states, scales, chains, strict=True)):
            by_effective = jax.tree.map(lambda g, i=i: g[i], gradients)
            (g,) = jax.vjp(lambda w, s=s: apply_multipliers(w, s), w)[1](by_effective)
            updates, state = chain.update(g, state, w)
            moved.append((optax.apply_updates(w, updates), state))
        return tuple(map(list, zip(*moved, strict=True))), out

    def run(start):
        states = [chain.init(p) for chain, p in zip(chains, start, strict=True)]
        return jax.lax.scan(step, (start, states), None, length=STEPS)[1]

    out = jax.jit(run)(start)
    return {name: np.asarray(out[:, i]) for i, name in enumerate(names)}


def check_one_trajectory(found):
    for kind, (_, tolerance) in OPTIMIZERS.items():
        first, *others = (found[kind, form] for form in TABLES)
        assert np.abs(first[-1] - first[0]).max() > 1e-3  # the network has moved
        for other in others:
            np.testing.assert_allclose(other, first, rtol=tolerance, atol=tolerance)


def one_of_each(names, fast):
    """All names; those that are not in ``fast`` are slow, since each takes seconds to compile."""
    return [name if name in fast else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("name", one_of_each(CASES, ("linen block", "nnx CNN", "equinox block")))
def test_the_tables_give_one_trajectory(name):
    case = CASES[name]
    params = weights(case.shapes(8))
    params = eqx.filter(params, eqx.is_inexact_array) if "equinox" in name else params
    found = histories(specs_of(case, 4, 8), params, lambda w: case.apply(w, case.x, 8))
    check_one_trajectory(found)


# Our layers -------------------------------------------------------------------------------------


def ours(n, kind):
    """Convolutions, copies, and two branches that are added; a read-out at the end."""

    def conv():
        return layers.Conv(n, (3, 3), padding="SAME", b_std=0.1, parameterization=kind)

    def dense(m):
        return layers.Dense(m, b_std=0.1, parameterization=kind)

    branches = layers.serial(
        layers.FanOut(2),
        layers.parallel(layers.serial(layers.Erf(), conv()), layers.Identity()),
        layers.FanInSum(),
    )
    return layers.serial(
        conv(), branches, layers.repeat(layers.serial(layers.Erf(), conv()), 3),
        layers.GlobalAvgPool(), layers.Erf(), dense(2 * n), layers.Erf(), dense(2),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["ntk", "standard"])
def test_leaves_of_our_layers_are_what_the_theory_says_of_them(kind):
    specs = layer_specs(*(ours(n, kind) for n in (4, 5, 16)), (2, 4, 4, 3))
    found = {
        name: (s.kind, s.fan_in_ratio, s.fan_out_ratio, s.own_multiplier, s.init_ratio)
        for name, s in named_specs(specs).items()
    }
    of_width = (0.5, 1.0) if kind == "ntk" else (1.0, 0.5)  # by itself fan-in to the power -1/2
    hidden, output = ("hidden", 4, 4, *of_width), ("output", 4, 1, *of_width)
    first, bias = ("input", 1, 4, 1, 1), ("input", 1, 4, 1, 1)
    assert found == {
        "0/W": first, "0/b": bias,
        "1/1/0/1/W": hidden, "1/1/0/1/b": bias,
        "2/0/1/W": hidden, "2/0/1/b": bias,
        "2/1/1/W": hidden, "2/1/1/b": bias,
        "5/W": hidden, "5/b": bias,
        "7/W": output, "7/b": ("scalar", 1, 1, 1, 1),
    }  # fmt: skip
    assert named_specs(specs)["2/1/1/W"].roles.batch == (0,)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("kind", one_of_each(("ntk", "standard"), ("standard",)))
def test_the_tables_give_one_trajectory_of_our_layers(kind):
    specs = layer_specs(*(ours(n, kind) for n in (4, 5, 8)), (2, 4, 4, 3))
    net = ours(8, kind)
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), (2, 4, 4, 3)))
    x = np.random.default_rng(3).normal(size=(2, 4, 4, 3))
    params = weights(shapes)
    check_one_trajectory(histories(specs, params, lambda w: net.apply(w, x)))


# A model that is its own base -------------------------------------------------------------------

PLAIN = {
    "sgd": lambda: optax.sgd(0.3, momentum=0.9),
    "adam": lambda: optax.adam(1e-2),
    "adamw": lambda: optax.adamw(1e-2, weight_decay=0.1),
    "sign": lambda: optax.lion(1e-2, weight_decay=0.1),
}


@pytest.mark.parametrize("name", CASES)
def test_a_model_that_is_its_own_base_keeps_its_very_arrays(name):
    """Nothing is computed: weights, effective weights and updates are the objects given."""
    case = CASES[name]
    specs = specs_of(case, 8, 8)
    params = weights(case.shapes(8), dtype=np.float32)
    for form in (*TABLES, "spectral"):
        scales = leaf_scales(specs, optimizer="sgd", form=form)
        ours = scale_by_parametrization(scales)
        same = (
            rescale_init(params, scales),
            apply_multipliers(params, scales),
            ours.update(params, optax.EmptyState(), params)[0],
            scale_gradients(scales).update(params, optax.EmptyState())[0],
        )
        for tree in same:
            pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(params), strict=True)
            assert all(a is b for a, b in pairs)


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [("linen MLP", "sgd"), ("nnx MLP", "adam"), ("linen MLP", "adamw"), ("nnx MLP", "sign")],
)
def test_a_model_that_is_its_own_base_trains_to_the_bit_as_without(name, optimizer):
    case = CASES[name]
    scales = leaf_scales(specs_of(case, 8, 8), optimizer=optimizer.removesuffix("w"), form="table9")
    params = jax.tree.map(jnp.asarray, weights(case.shapes(8), dtype=np.float32))
    x = jnp.asarray(case.x, jnp.float32)

    def run(chain, effective, params):
        def step(carry, _):
            p, state = carry
            g = jax.grad(lambda p: jnp.mean((case.apply(effective(p), x, 8) - 1) ** 2))(p)
            updates, state = chain.update(g, state, p)
            return (optax.apply_updates(p, updates), state), None

        carry = (params, chain.init(params))
        return jax.jit(lambda c: jax.lax.scan(step, c, None, length=3)[0][0])(carry)

    chain = PLAIN[optimizer]()
    plain = run(chain, lambda p: p, params)
    parts = (scale_by_parametrization(scales),)
    if optimizer != "sgd":
        parts = (scale_gradients(scales), chain, *parts)
    else:
        parts = (chain, *parts)
    ours = run(
        optax.chain(*parts), lambda p: apply_multipliers(p, scales), rescale_init(params, scales)
    )
    for a, b, c in zip(*map(jax.tree.leaves, (ours, plain, params)), strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(b, c)
