"""Conditioned networks, one on each device, in a process of its own: writes JSON of the losses."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, PartitionSpec

from theorylab import limits


def losses(mesh):
    """Of a scan over steps with a key for each device: in shard_map, and one after the other."""
    rates = {"learning_rate": optax.constant_schedule(0.2), "momentum": 0.5, "clip": 1.0}
    limit = limits.conditioned_mlp(16, 3, 1, 2, jnp.tanh, capacity=8, **rates)
    x, y = (jnp.asarray(np.random.default_rng(0).normal(size=(2, n)), np.float32) for n in (3, 1))

    def train(key):
        state = limit.init(key)
        return jax.lax.scan(lambda s, _: limit.step(s, x, y), state, None, length=3)[1].loss

    keys = jax.random.split(jax.random.key(0, impl="rbg"), mesh.size)  # quick to compile
    along = PartitionSpec("d")
    spread = jax.shard_map(
        lambda keys: train(keys[0])[None], mesh=mesh, in_specs=along, out_specs=along
    )
    alone = jax.jit(train)
    return jax.jit(spread)(keys).tolist(), [alone(key).tolist() for key in keys]


if __name__ == "__main__":
    mesh = jax.make_mesh((jax.device_count(),), ("d",), axis_types=(AxisType.Auto,))
    sys.stdout.write(json.dumps(losses(mesh)) + "\n")
