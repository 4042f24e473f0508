"""A flax network whose weights lie in pieces on eight devices, in a process of its own.

Inside of ``shard_map`` scales see pieces; weights are gathered for the forward pass, gradients are
summed into pieces. Writes JSON of how far that ends from one device.
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, PartitionSpec

from tests.parametrization.models import CASES, specs_of, weights
from theorylab.parametrization import (
    apply_multipliers,
    leaf_scales,
    rescale_init,
    scale_by_parametrization,
)

WIDTH, STEPS = 16, 3
CASE = CASES["linen MLP"]
X = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)


def main():
    scales = leaf_scales(specs_of(CASE, 8, WIDTH), optimizer="sgd", form="table9")
    tx = optax.chain(optax.sgd(0.1), scale_by_parametrization(scales))
    start = weights(CASE.shapes(WIDTH), dtype=np.float32)
    mesh = jax.make_mesh((8,), ("d",), axis_types=(AxisType.Auto,))
    split = jax.tree.map(
        lambda w: PartitionSpec("d") if w.shape[0] % 8 == 0 else PartitionSpec(), start
    )

    def whole(w, spec):
        return jax.lax.all_gather(w, "d", tiled=True) if spec else w

    def run(params, x, spread):
        def loss(p):
            effective = apply_multipliers(p, scales)
            if spread:
                effective = jax.tree.map(whole, effective, split)
            return jnp.mean((CASE.apply(effective, x, WIDTH) - 1.0) ** 2)

        params, state = rescale_init(params, scales), tx.init(params)
        for _ in range(STEPS):
            g = jax.grad(lambda p: jax.lax.pmean(loss(p), "d") if spread else loss(p))(params)
            updates, state = tx.update(g, state, params)
            params = optax.apply_updates(params, updates)
        return params

    alone = jax.jit(lambda p: run(p, X, False))(start)
    spread = jax.jit(
        jax.shard_map(
            lambda p, x: run(p, x, True),
            mesh=mesh,
            in_specs=(split, PartitionSpec("d")),
            out_specs=split,
        )
    )(start, X)
    pairs = list(zip(*map(jax.tree.leaves, (alone, spread, start)), strict=True))
    piece = spread["params"]["Dense_0"]["bias"].addressable_shards[0].data
    found = {
        "devices": jax.device_count(),
        "pieces": [piece.size, WIDTH],
        "apart": max(float(np.abs(np.asarray(a) - b).max()) for a, b, _ in pairs),
        "moved": max(float(np.abs(a - c).max()) for a, _, c in pairs),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
