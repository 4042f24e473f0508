"""Scales of real models under vmap, in optax's wrappers, in half precision, and in pieces."""

import json
import os
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.parametrization.models import CASES, specs_of, weights
from theorylab.parametrization import (
    LeafScale,
    apply_multipliers,
    leaf_scales,
    rescale_init,
    scale_by_parametrization,
)

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", ["linen block", "equinox block"])
def test_half_precision_stays_half(name, dtype):
    scales = leaf_scales(specs_of(CASES[name], 8, 16), form="table9", optimizer="sgd")
    params = eqx.filter(weights(CASES[name].shapes(16), dtype=dtype), eqx.is_inexact_array)
    updates, _ = scale_by_parametrization(scales).update(
        rescale_init(params, scales), optax.EmptyState()
    )
    for x in jax.tree.leaves(apply_multipliers(updates, scales)):
        assert x.dtype == dtype


def test_an_ensemble_of_seeds_of_flax_is_mapped_over():
    """One compiled program for three seeds: the same weights as one by one."""
    case = CASES["nnx CNN"]
    scales = leaf_scales(specs_of(case, 8, 16), form="table9", optimizer="sgd")
    seeds = [weights(case.shapes(16), seed, np.float32) for seed in range(3)]
    stack = jax.tree.map(lambda *x: np.stack(x), *seeds)
    mapped = jax.jit(jax.vmap(lambda p: apply_multipliers(rescale_init(p, scales), scales)))(stack)
    alone = apply_multipliers(rescale_init(seeds[1], scales), scales)
    for a, b in zip(jax.tree.leaves(mapped), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(a[1], b, rtol=1e-6)


def test_optimizers_by_kind_of_leaf_see_their_own_leaves():
    """Hidden weights by one optimizer, all others by another, each with its own scales."""
    case = CASES["linen block"]
    found = specs_of(case, 8, 16)
    labels = jax.tree.map(lambda s: "sgd" if s.kind == "hidden" else "adam", found)
    scales = leaf_scales(found, optimizer=labels)
    inner = {
        "sgd": optax.chain(optax.sgd(1.0), scale_by_parametrization(scales)),
        "adam": optax.chain(optax.scale(-1.0), scale_by_parametrization(scales)),
    }
    chain = optax.multi_transform(inner, labels)
    ones = jax.tree.map(lambda s: np.ones(s.shape, np.float32), case.shapes(16))
    updates, _ = chain.update(ones, chain.init(ones), ones)
    for u, scale in zip(jax.tree.leaves(updates), jax.tree.leaves(scales), strict=True):
        assert isinstance(scale, LeafScale)
        np.testing.assert_allclose(u, -scale.lr)


def test_hyperparameters_masks_and_accumulation_of_optax_are_passed_through():
    """Wrapped in each of them, the update of a leaf is that of the chain alone."""
    case = CASES["nnx MLP"]
    scales = leaf_scales(specs_of(case, 8, 16), optimizer="sgd")
    ones = jax.tree.map(lambda s: np.ones(s.shape, np.float32), case.shapes(16))

    def make(rate):
        return optax.chain(optax.sgd(rate), scale_by_parametrization(scales))

    everything = jax.tree.map(lambda _: True, ones)
    wrapped = (
        optax.inject_hyperparams(make)(rate=0.5),
        optax.masked(make(0.5), everything),
        optax.MultiSteps(make(0.5), 1).gradient_transformation(),
    )
    alone = make(0.5).update(ones, make(0.5).init(ones), ones)[0]
    for chain in wrapped:
        updates, _ = jax.jit(chain.update)(ones, chain.init(ones), ones)
        for a, b in zip(jax.tree.leaves(updates), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


def test_weights_spread_over_eight_devices_train_as_on_one():
    flags = "--xla_force_host_platform_device_count=8"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": flags}
    command = [sys.executable, str(Path(__file__).with_name("on_devices.py"))]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["devices"] == 8
    assert found["pieces"] == [2, 16]
    assert found["moved"] > 1e-2
    assert found["apart"] <= 1e-5
