"""SOAP over eight devices, in a process of its own: writes JSON of what it ended with, and how."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from theorylab import optim

CALLS, ROWS = 7, 16
# Eight factors of size 8, one for each device; the three of size 3 stay whole.
SHAPES = {f"w{i}": (8, 8) for i in range(4)} | {"v": (3, 8), "u": (3, 3), "b": (8,)}


def run(dtype, mesh=None):
    """Parameters after some calls, on one device or spread, and where the bases lie."""
    rng = np.random.default_rng(0)
    params = {k: jnp.asarray(rng.normal(size=s), dtype) for k, s in SHAPES.items()}
    data = {k: rng.normal(size=(CALLS, ROWS, *s)).astype(dtype) for k, s in SHAPES.items()}
    # One-sided: where a first factor has a kernel its vectors are arbitrary, and no two runs agree.
    tx = optim.soap(0.01, precondition_frequency=3, one_sided="auto")
    state = tx.init(params)

    def gradients(params, batch):
        return jax.tree.map(lambda p, x: jnp.mean(x, axis=0) + 0.1 * p, params, batch)

    def call(params, state, batch):
        if mesh is None:
            grads = gradients(params, batch)
        else:
            # Each device has its rows of the batch; gradients are their mean over devices.
            local = jax.shard_map(
                lambda p, x: jax.lax.pmean(gradients(p, x), "d"),
                mesh=mesh,
                in_specs=(PartitionSpec(), PartitionSpec("d")),
                out_specs=PartitionSpec(),
            )
            grads = local(params, batch)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    shardings = {}
    if mesh is not None:
        whole, rows = (NamedSharding(mesh, PartitionSpec(*axis)) for axis in ((), ("d",)))
        params = jax.device_put(params, whole)
        shardings = optim.soap_sharding(state, params, mesh, "d")
        state = jax.device_put(state, shardings)
        compiled = jax.jit(call, out_shardings=(whole, shardings))
    else:
        compiled = jax.jit(call)
    for index in range(CALLS):
        batch = {k: x[index] for k, x in data.items()}
        if mesh is not None:
            batch = jax.device_put(batch, rows)
        params, state = compiled(params, state, batch)
    kept = state[0]
    return {
        "params": {k: np.asarray(p).tolist() for k, p in params.items()},
        "specs": [str(tuple(basis.sharding.spec)) for basis in kept.bases] if mesh else [],
        "rows": [list(b.addressable_shards[0].data.shape) for b in kept.bases],
    }


def within_shard_map(mesh):
    """The same with the whole update inside of shard_map, every device doing all of it."""
    tx = optim.soap(0.01, precondition_frequency=3)
    rng = np.random.default_rng(0)
    params = jnp.asarray(rng.normal(size=(4, 4)), float)
    data = rng.normal(size=(CALLS, ROWS, 4, 4))

    def calls(params, data, mean):
        def call(carry, batch):
            params, state = carry
            updates, state = tx.update(mean(batch), state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(call, (params, tx.init(params)), data)[0][0]

    alone = jax.jit(lambda p, x: calls(p, x, lambda b: jnp.mean(b, axis=0)))(params, data)
    spread = jax.shard_map(
        lambda p, x: calls(p, x, lambda b: jax.lax.pmean(jnp.mean(b, axis=0), "d")),
        mesh=mesh,
        in_specs=(PartitionSpec(), PartitionSpec(None, "d")),
        out_specs=PartitionSpec(),
    )
    return np.abs(np.asarray(jax.jit(spread)(params, data) - alone)).max()


if __name__ == "__main__":
    # Gradients summed in another order differ by rounding, which the bases amplify: exact work is
    # compared in float64, where that is far below what an error would do.
    jax.config.update("jax_enable_x64", True)
    mesh = jax.make_mesh((jax.device_count(),), ("d",), axis_types=(AxisType.Auto,))
    found = {
        "devices": jax.device_count(),
        "float64": {"alone": run("float64"), "spread": run("float64", mesh)},
        "float32": {"alone": run("float32"), "spread": run("float32", mesh)},
        "inside": float(within_shard_map(mesh)),
    }
    sys.stdout.write(json.dumps(found) + "\n")
