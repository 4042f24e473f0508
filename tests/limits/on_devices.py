"""Limits inside of shard_map, in a process of its own: writes JSON of distances from vmap."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, PartitionSpec

from theorylab import limits

MAKERS = {
    "linear_mup": lambda: limits.linear_mup(2, 1, learning_rate=0.2, momentum=0.5),
    "deep_linear_mup": lambda: limits.deep_linear_mup(2, 1, 2, learning_rate=0.2, capacity=8),
    "mean_field": lambda: limits.mean_field(2, 1, jnp.tanh, learning_rate=0.2, order=6),
}
STEPS = 3


def trained(limit, x, y):
    """What it predicts after one step from the initial state, and after some more in a loop."""
    state, _ = limit.step(limit.init(), x, y)
    early = limit.predict(state, x)
    state, info = jax.lax.scan(lambda s, _: limit.step(s, x, y), state, length=STEPS)
    return early, limit.predict(state, x), info.loss, info.status


def in_a_loop_from_the_start(limit, x, y):
    """The same, where the initial state is marked by the caller as the loop demands."""
    state = jax.lax.pcast(limit.init(), "d", to="varying")
    return jax.lax.scan(lambda s, _: limit.step(s, x, y), state, length=STEPS)[1].loss


def meta_trained(limit, x, y, first_order):
    """Losses and predictions of two steps of MAML."""
    pair, state, losses = (x[None], y[None]), limit.init(), []
    for _ in range(2):
        state, info = limits.maml_step(
            limit, state, pair, pair, inner_rate=0.1, first_order=first_order
        )
        losses.append(info.loss)
    return jnp.stack(losses), limit.predict(state, x)


def distance(function, mesh, x, y, other=None):
    """Largest difference between devices and vmap, and how far devices are from each other."""

    def inside(x, y):
        return jax.tree.map(lambda leaf: leaf[None], function(x[0], y[0]))

    along = PartitionSpec("d")
    spread = jax.jit(jax.shard_map(inside, mesh=mesh, in_specs=along, out_specs=along))(x, y)
    mapped = jax.jit(jax.vmap(other or function))(x, y)
    pairs = zip(jax.tree.leaves(spread), jax.tree.leaves(mapped), strict=True)
    first = np.asarray(jax.tree.leaves(spread)[0])
    return max(float(jnp.abs(a - b).max()) for a, b in pairs), float(np.ptp(first, axis=0).max())


if __name__ == "__main__":
    mesh = jax.make_mesh((jax.device_count(),), ("d",), axis_types=(AxisType.Auto,))
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(mesh.size, 4, 2)), jnp.float32)
    y = jnp.asarray(rng.normal(size=(mesh.size, 4, 1)), jnp.float32)
    found = {}
    for name, make in MAKERS.items():
        limit = make()
        found[name] = distance(lambda x, y, of=limit: trained(of, x, y), mesh, x, y)
        found[name + ", loop"] = distance(
            lambda x, y, of=limit: in_a_loop_from_the_start(of, x, y), mesh, x, y,
            lambda x, y, of=limit: jax.lax.scan(
                lambda s, _: of.step(s, x, y), of.init(), length=STEPS
            )[1].loss,
        )  # fmt: skip
    limit = MAKERS["linear_mup"]()
    for first_order in (True, False):
        found[f"maml, {first_order}"] = distance(
            lambda x, y, first=first_order: meta_trained(limit, x, y, first), mesh, x, y
        )
    sys.stdout.write(json.dumps(found) + "\n")
