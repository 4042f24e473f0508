"""Subspace training over eight devices, in a process of its own: writes JSON of where it ended."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from tests.subspace.models import batch, plain
from theorylab import subspace

D, CALLS = 40, 5


def run(dtype, way, mesh=None):
    """theta_d after some steps: on one device, with a batch that is spread, or in shard_map."""
    params, loss = plain(dtype)
    projection = subspace.hadamard(D, like=params, key=jax.random.key(7))
    x, y = batch(dtype)
    optimizer = optax.sgd(0.5, momentum=0.9)

    def gradient(projection, params, theta, x, y):
        return jax.grad(subspace.wrap(loss, projection, params))(theta, x, y)

    if way == "shard_map":  # each device has its rows; the loss is its mean over devices
        each, whole = PartitionSpec("d"), PartitionSpec()

        def mean(params, x, y):
            return jax.lax.pmean(loss(params, x, y), "d")

        def spread_gradient(projection, params, theta, x, y):
            return jax.grad(subspace.wrap(mean, projection, params))(theta, x, y)

        gradient = jax.shard_map(
            spread_gradient,
            mesh=mesh,
            in_specs=(whole, whole, whole, each, each),
            out_specs=whole,
        )

    def step(projection, params, theta, state, x, y):
        updates, state = optimizer.update(gradient(projection, params, theta, x, y), state)
        return optax.apply_updates(theta, updates), state

    theta = subspace.init(projection).astype(dtype)
    state = optimizer.init(theta)
    if mesh is not None:
        rows, same = (NamedSharding(mesh, PartitionSpec(*axis)) for axis in (("d",), ()))
        x, y = jax.device_put((x, y), rows)
        projection, theta, state = jax.device_put((projection, theta, state), same)
        spread = {(12, 16): (None, "d"), (16, 4): ("d", None)} if way == "parameters" else {}
        params = jax.tree.map(
            lambda p: jax.device_put(
                p, NamedSharding(mesh, PartitionSpec(*spread.get(p.shape, ())))
            ),
            params,
        )
    compiled = jax.jit(step)
    for _ in range(CALLS):
        theta, state = compiled(projection, params, theta, state, x, y)
    return {
        "theta": np.asarray(theta).tolist(),
        "moved": float(jnp.abs(theta).max()),
        "replicated": theta.sharding.is_fully_replicated,
        "devices": len(theta.sharding.device_set),
    }


def each_its_own(kind, mesh):
    """Largest error of P theta, P^T g and a derivative where each device has its own theta."""
    p = getattr(subspace, kind)(4, like=jnp.zeros(300), key=jax.random.key(0))
    rng = np.random.default_rng(1)
    thetas, g = (jnp.asarray(rng.normal(size=(mesh.size, n)), jnp.float32) for n in (4, 300))

    def all_of_it(theta, g):
        cubes = jax.grad(lambda t: jnp.sum(p.apply(t) ** 3))
        return p.apply(theta), p.transpose(g), cubes(theta)

    def inside(theta, g):
        return jax.tree.map(lambda x: x[None], all_of_it(theta[0], g[0]))

    along = PartitionSpec("d")
    spread = jax.shard_map(inside, mesh=mesh, in_specs=along, out_specs=along)
    pairs = zip(jax.jit(spread)(thetas, g), jax.vmap(all_of_it)(thetas, g), strict=True)
    return max(float(jnp.abs(a - b).max()) for a, b in pairs)


if __name__ == "__main__":
    mesh = jax.make_mesh((jax.device_count(),), ("d",), axis_types=(AxisType.Auto,))
    found = {}
    for dtype in ("float32", "float64"):
        with jax.enable_x64(dtype == "float64"):
            found[dtype] = {"alone": run(dtype, "alone")} | {
                way: run(dtype, way, mesh) for way in ("batch", "shard_map", "parameters")
            }
    kinds = ("hadamard", "dense_rademacher", "fastfood", "sparse", "sketch", "rotation", "kron")
    found["kinds"] = {kind: each_its_own(kind, mesh) for kind in kinds}
    sys.stdout.write(json.dumps(found) + "\n")
