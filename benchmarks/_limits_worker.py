"""The measurements of :mod:`benchmarks.limits`: a process that answers JSON lines.

Every program is one compiled loop over all steps. ``first`` and ``first_cpu`` are the wall and the
CPU-seconds of the first call, with compilation.
"""

import time
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks._answering import Record, answer_requests, in_turns
from theorylab import limits


def timed(call: Callable[[], Any]) -> tuple[Any, Record]:
    """What a call returns, and its wall and CPU-seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    found = jax.block_until_ready(call())
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return found, {"first": wall, "first_cpu": cpu}


def scanned(step: Callable[..., Any], state: Any, x: jax.Array, y: jax.Array, steps: int) -> Any:
    """The last state, and what was told of every step."""
    return jax.lax.scan(lambda s, _: step(s, x, y), state, None, length=steps)


def data(points: int, d_in: int, d_out: int) -> tuple[jax.Array, jax.Array]:
    """Normal inputs and targets in float32."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((points, d_in)), rng.standard_normal((points, d_out))
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


def gram(least: int, most: int, draws: int, steps: int, d_in: int, d_out: int) -> Record:
    """All widths 2^least .. 2^most in one program: wall seconds of the first call and of others."""
    x, y = data(2 * d_in, d_in, d_out)
    x = x / d_in**0.5
    widths = jnp.asarray(2.0 ** np.arange(least, most + 1), jnp.float32)

    @jax.jit
    def trained(widths: jax.Array, keys: jax.Array) -> jax.Array:
        def one(width: jax.Array, key: jax.Array) -> jax.Array:
            limit = limits.linear_gram(width, d_in, d_out, learning_rate=0.3)
            state, _ = scanned(limit.step, limit.init(key, jnp.float32), x, y, steps)
            return limit.predict(state, x)

        draws = jax.vmap(one, in_axes=(None, 0))
        return jax.vmap(draws, in_axes=(0, None))(widths, keys)

    keys = jax.random.split(jax.random.key(0), draws)
    outputs, first = timed(partial(trained, widths, keys))
    times = in_turns({"call": partial(trained, widths, keys)}, 3)["call"]
    limit = limits.linear_mup(d_in, d_out, learning_rate=0.3)
    state, _ = scanned(limit.step, limit.init(dtype=jnp.float32), x, y, steps)
    away = np.asarray(outputs - limit.predict(state, x), np.float64)
    return {
        "widths": len(widths),
        "least": least,
        "most": most,
        "draws": draws,
        "steps": steps,
        **first,
        **times,
        "away": np.sqrt((away**2).mean((1, 2, 3))).tolist(),
    }


@lru_cache  # what is asked for twice is compiled once
def simulated(width: int, points: int, steps: int) -> tuple[Callable[[], Any], int]:
    """A call that draws and trains a network of two hidden layers; bytes of its state."""
    x, y = data(points, 3, 1)
    limit = limits.conditioned_mlp(
        width, 3, 1, 2, jnp.tanh, learning_rate=0.5, capacity=points * steps
    )

    @jax.jit
    def trained(key: jax.Array) -> Any:
        state, info = scanned(limit.step, limit.init(key, jnp.float32), x, y, steps)
        return info.loss, state.status

    key = jax.random.key(0)
    state = jax.eval_shape(lambda key: limit.init(key, jnp.float32), key)
    arrays = [leaf for leaf in jax.tree.leaves(state) if leaf.dtype == jnp.float32]
    return partial(trained, key), sum(4 * leaf.size for leaf in arrays)


def dense(width: int, points: int, steps: int) -> Callable[[], Any]:
    """The same for a dense network, which draws and holds its n x n matrix."""
    x, y = data(points, 3, 1)
    limit = limits.conditioned_mlp(
        width, 3, 1, 2, jnp.tanh, learning_rate=0.5, capacity=points * steps
    )
    transform = limits.optimizer_like(limit)

    @jax.jit
    def trained(key: jax.Array) -> Any:
        params, apply = limits.finite_width_like(limit, width, key, dtype=jnp.float32)

        def loss(params: Any) -> jax.Array:
            return 0.5 * jnp.mean(jnp.sum((apply(params, x) - y) ** 2, axis=1))

        def one(carry: Any, _: None) -> Any:
            params, state = carry
            value, gradient = jax.value_and_grad(loss)(params)
            updates, state = transform.update(gradient, state, params)
            return (jax.tree.map(jnp.add, params, updates), state), value

        carry, losses = jax.lax.scan(one, (params, transform.init(params)), None, length=steps)
        return losses, carry[0]["v"]

    return partial(trained, jax.random.key(0))


def conditioned(
    cases: Mapping[str, Mapping[str, int]], rounds: int, kind: str = "simulated"
) -> Record:
    """Wall and CPU-seconds of every case, in turns; first calls, bytes and statuses."""
    calls: dict[str, Callable[[], Any]] = {}
    found: dict[str, Record] = {}
    for name, case in cases.items():
        if kind == "dense":
            call, size = dense(**case), 4 * case["width"] ** 2
        else:
            call, size = simulated(**case)
        told, first = timed(call)
        found[name] = {**case, "bytes": size, **first}
        found[name]["loss"] = float(told[0][-1])
        found[name]["status"] = int(told[1]) if kind == "simulated" else 0
        calls[name] = call
    for name, times in in_turns(calls, rounds).items():
        found[name] |= times
    return found


HANDLERS: dict[str, Callable[..., Record]] = {
    "gram": gram,
    "conditioned": conditioned,
}


if __name__ == "__main__":
    answer_requests(HANDLERS)
