"""What a step of our SOAP costs beside the products in it, and what its state weighs.

All in one process; calls take turns, and what is kept of each is its list of CPU-seconds.
"""

import time
from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
import optax

from benchmarks import _optim_problems as problems
from theorylab import optim

Record = dict[str, Any]
WARM = 12  # calls before a basis is refreshed for the clock
HIGHEST = jax.lax.Precision.HIGHEST


def in_turns(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """CPU-seconds of each call in each round; every call is made once before."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        jax.block_until_ready(call())
    for _ in range(rounds):
        for name, call in calls.items():
            begin = time.process_time()
            jax.block_until_ready(call())
            seconds[name].append(time.process_time() - begin)
    return seconds


@jax.jit
def products(g: jax.Array, u: jax.Array, left: jax.Array, right: jax.Array) -> list[jax.Array]:
    """The six products of a step, as one writes them: two turns and two squares."""
    into, out = multiplied(left.T, g, right), multiplied(left, u, right.T)
    return [into, out, multiplied(g, g.T), multiplied(g.T, g)]


@jax.jit
def plain_products(pairs: list[tuple[jax.Array, jax.Array]]) -> list[jax.Array]:
    """As many products a @ b of unrelated matrices, none of them transposed."""
    return [multiplied(a, b) for a, b in pairs]


def multiplied(*factors: jax.Array) -> jax.Array:
    """At the precision that SOAP asks for."""
    return reduce(partial(jnp.matmul, precision=HIGHEST), factors)


def stepping(tx: Any, params: Any, gradient: Any, state: Any) -> Callable[[], Any]:
    """A call of ``update``, its state donated and kept."""
    held = [state]

    @partial(jax.jit, donate_argnums=1)
    def step(g: Any, s: Any, p: Any) -> tuple[Any, Any]:
        return tx.update(g, s, p)

    def call() -> Any:
        updates, held[0] = step(gradient, held[0], params)
        return updates, held[0]

    return call


def steps(size: int, rounds: int) -> Record:
    """A step without a refresh, the products in it, and AdamW, for one matrix d x d."""
    case = f"{size} x {size}"
    params = jax.tree.map(jnp.asarray, problems.start(case))
    given = [g["w"] for g in problems.gradients(case, 12)]
    arrays = [jnp.asarray(g) for g in given]
    pairs = [(arrays[k], arrays[k + 6]) for k in range(6)]
    gradient = {"w": arrays[0]}
    # The call after `first` is t = 1; a refresh lies far beyond what is timed.
    whole = optim.soap(1e-3, precondition_frequency=10**6)
    _, state = jax.jit(whole.update)(gradient, whole.init(params), params)
    blocks = optim.soap_blocks(1e-3)
    _, block_state = jax.jit(blocks.first)(gradient, blocks.init(params), params)
    plain = optax.GradientTransformation(blocks.init, blocks.plain)
    adamw = optax.adamw(1e-3)
    return in_turns(
        {
            "products": lambda: products(*arrays[:4]),
            "plain products": lambda: plain_products(pairs),
            "update": stepping(whole, params, gradient, state),
            "plain": stepping(plain, params, gradient, block_state),
            "adamw": stepping(adamw, params, gradient, adamw.init(params)),
        },
        rounds,
    )


def refreshes(size: int, methods: list[str], rounds: int) -> Record:
    """A refresh by each method after a few calls, and a step without one."""
    case = f"{size} x {size}"
    blocks = {method: optim.soap_blocks(1e-3, refresh=method) for method in methods}
    any_of_them = blocks[methods[0]]
    params = jax.tree.map(jnp.asarray, problems.start(case))
    given = [jax.tree.map(jnp.asarray, g) for g in problems.gradients(case, WARM)]
    _, state = jax.jit(any_of_them.first)(given[0], any_of_them.init(params), params)
    plain = jax.jit(any_of_them.plain)
    for g in given[1:]:
        _, state = plain(g, state, params)
    calls: dict[str, Callable[[], Any]] = {
        method: partial(jax.jit(b.refresh), state) for method, b in blocks.items()
    }
    alone = optax.GradientTransformation(any_of_them.init, any_of_them.plain)
    calls["plain"] = stepping(alone, params, given[0], jax.tree.map(jnp.copy, state))
    return in_turns(calls, rounds)


def memory(case: str, options: Record) -> Record:
    """Bytes of the arrays of a state, and what ``soap_memory`` says."""
    params = jax.tree.map(jnp.asarray, problems.start(case))
    state = optim.scale_by_soap(**options).init(params)
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    adam = sum(leaf.nbytes for leaf in jax.tree.leaves(optax.scale_by_adam().init(params)))
    return {"held": held, "told": int(optim.soap_memory(params, **options).total), "adam": adam}


HANDLERS: dict[str, Callable[..., Record]] = {
    "steps": steps,
    "refreshes": refreshes,
    "memory": memory,
}
