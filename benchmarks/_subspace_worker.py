"""The measurements of :mod:`benchmarks.subspace`: a process that answers JSON lines.

Programs of one request take turns, round by round, so that a busy machine slows all of them. What
is kept of each is its list of wall seconds and of CPU-seconds (all threads), one of each a round.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks._answering import Record, answer_requests, in_turns
from theorylab import subspace

HIGHEST = jax.lax.Precision.HIGHEST
STORED = "dense, stored"  # the paper's own form, P as an array


@jax.jit
def one_pass(x: jax.Array, c: jax.Array) -> jax.Array:
    """Reads a vector and writes one: the unit."""
    return x * c


@jax.jit
def forward(projection: Any, theta: jax.Array) -> Any:
    """P theta."""
    return projection.apply(theta)


@jax.jit
def transpose(projection: Any, vector: Any) -> jax.Array:
    """P^T g."""
    return projection.transpose(vector)


@jax.jit
def stored_forward(p: jax.Array, theta: jax.Array) -> jax.Array:
    """The same with P in memory."""
    return jnp.dot(p, theta, precision=HIGHEST)


@jax.jit
def stored_transpose(p: jax.Array, vector: jax.Array) -> jax.Array:
    """The same with P in memory."""
    return jnp.dot(vector, p, precision=HIGHEST)


def drawn(seed: int, *shape: int) -> jax.Array:
    """Normal float32 numbers of NumPy's."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


def programs(kind: str, d: int, size: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Forward and transpose of a kind, as functions of their vector."""
    if kind == STORED:
        p = drawn(0, size, d)
        p = p / jnp.linalg.norm(p, axis=0)
        return partial(stored_forward, p), partial(stored_transpose, p)
    like = jax.ShapeDtypeStruct((size,), jnp.float32)
    made = getattr(subspace, kind)(d, like=like, key=jax.random.key(0))
    return partial(forward, made), partial(transpose, made)


def adjoint_error(x: jax.Array, y: jax.Array, vector: jax.Array, theta: jax.Array) -> float:
    """|<P theta, g> - <theta, P^T g>| over |P theta| |g|, the sums in float64."""
    px, g, ptg, t = (np.asarray(a, np.float64) for a in (x, vector, y, theta))
    return float(abs(px @ g - t @ ptg) / (np.linalg.norm(px) * np.linalg.norm(g)))


def maps(size: int, cases: Sequence[tuple[str, int]], rounds: int) -> Record:
    """Forward and transpose of every (kind, d) beside one pass over D numbers."""
    vector, factor = drawn(1, size), jnp.float32(1.5)
    calls: dict[str, Callable[[], Any]] = {"pass": partial(one_pass, vector, factor)}
    errors = {}
    for kind, d in cases:
        theta = drawn(2, d)
        apply, back = programs(kind, d, size)
        name = f"{kind} {d}"
        errors[name] = adjoint_error(apply(theta), back(vector), vector, theta)
        calls |= {f"{name} forward": partial(apply, theta), f"{name} back": partial(back, vector)}
    times = in_turns(calls, rounds)
    found = {
        f"{kind} {d}": {
            "kind": kind,
            "d": d,
            "forward": times[f"{kind} {d} forward"],
            "back": times[f"{kind} {d} back"],
            "adjoint": errors[f"{kind} {d}"],
        }
        for kind, d in cases
    }
    return {"size": size, "pass": times["pass"], "maps": found}


def isometry(kind: str, d: int, size: int, columns: int) -> Record:
    """Singular values of P from P^T P, which is made by some columns at a time."""
    like = jax.ShapeDtypeStruct((size,), jnp.float32)
    made = getattr(subspace, kind)(d, like=like, key=jax.random.key(0))

    @jax.jit
    def of(made: Any, basis: jax.Array) -> jax.Array:
        return jax.vmap(lambda e: made.transpose(made.apply(e)))(basis)

    basis = np.eye(d, dtype=np.float32)
    gram = np.concatenate([of(made, basis[k : k + columns]) for k in range(0, d, columns)])
    gram = np.asarray(gram, np.float64)
    values = np.sqrt(np.linalg.eigvalsh((gram + gram.T) / 2))
    norms = np.sqrt(np.diag(gram))
    return {
        "least": float(values[0]),
        "most": float(values[-1]),
        "norms": float(np.abs(norms - 1).max()),
    }


def network(widths: Sequence[int]) -> tuple[Any, Callable[..., jax.Array]]:
    """A ReLU network with Glorot's normal weights, and its cross-entropy."""
    rng = np.random.default_rng(0)
    pairs = list(zip(widths[:-1], widths[1:], strict=True))
    params = [
        {
            "w": jnp.asarray(rng.normal(size=p) * np.sqrt(2 / sum(p)), jnp.float32),
            "b": jnp.zeros(p[1]),
        }
        for p in pairs
    ]

    def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        for layer in params[:-1]:
            x = jax.nn.relu(jnp.dot(x, layer["w"], precision=HIGHEST) + layer["b"])
        logits = jnp.dot(x, params[-1]["w"], precision=HIGHEST) + params[-1]["b"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    return params, loss


def stepping(loss: Callable[..., Any], start: Any, data: Any, *before: Any) -> Callable[[], Any]:
    """A call of value_and_grad and Adam; what is trained and Adam's state are donated and kept."""
    optimizer = optax.adam(1e-3)
    held = [start, optimizer.init(start)]

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(trained: Any, state: Any, before: Any, x: jax.Array, y: jax.Array) -> Any:
        value, gradient = jax.value_and_grad(loss)(trained, *before, x, y)
        updates, state = optimizer.update(gradient, state, trained)
        return optax.apply_updates(trained, updates), state, value

    def call() -> Any:
        trained, state, value = step(*held, before, *data)
        held[:] = trained, state
        return value

    return call


def within(loss: Callable[..., Any]) -> Callable[..., Any]:
    """The loss as a function of theta_d, the projection and the frozen parameters."""

    def loss_d(theta: jax.Array, projection: Any, params0: Any, *data: Any) -> Any:
        return subspace.wrap(loss, projection, params0)(theta, *data)

    return loss_d


def steps(widths: list[int], batch: int, cases: Sequence[tuple[str, int]], rounds: int) -> Record:
    """A step in subspaces beside the direct one, and how far theirs are from the direct gradient.

    ``apart`` is the largest difference of a subspace's gradient from the direct gradient's
    transpose, over the latter's largest entry.
    """
    params, loss = network(widths)
    x = drawn(3, batch, widths[0])
    y = jnp.arange(batch, dtype=jnp.int32) % widths[-1]
    calls = {"direct": stepping(loss, jax.tree.map(jnp.copy, params), (x, y))}
    direct = jax.jit(jax.grad(loss))(params, x, y)
    apart = {}
    for kind, d in cases:
        projection = getattr(subspace, kind)(d, like=params, key=jax.random.key(0))
        theta = subspace.init(projection)
        name = f"{kind} {d}"
        own = jax.jit(jax.grad(within(loss)))(theta, projection, params, x, y)
        other = transpose(projection, direct)
        apart[name] = float(jnp.abs(own - other).max() / jnp.abs(other).max())
        calls[name] = stepping(within(loss), theta, (x, y), projection, params)
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    return {"size": size, "times": in_turns(calls, rounds), "apart": apart}


def halves(params: Any, target: jax.Array) -> jax.Array:
    """Mean squared distance: a loss that has no temporaries to speak of."""
    return sum((jnp.mean((leaf - target) ** 2) for leaf in jax.tree.leaves(params)), jnp.zeros(()))


def memory(widths: list[int], batch: int, kind: str, ds: Sequence[int]) -> Record:
    """Temporaries of value_and_grad by the compiler's account, for each d and of the loss alone.

    An empty list of widths is a tree of two matrices with 2^22 numbers, and the loss a quadratic.
    """

    def spec(*shape: int, dtype: Any = jnp.float32) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype)

    params: Any
    data: tuple[Any, ...]
    if widths:
        made, loss = network(widths)
        params = jax.tree.map(lambda p: spec(*p.shape), made)
        data = (spec(batch, widths[0]), spec(batch, dtype=jnp.int32))
    else:
        params, loss, data = {"a": spec(2048, 1024), "b": spec(1024, 2048)}, halves, (spec(),)

    def temporaries(f: Callable[..., Any], *args: Any) -> int:
        compiled = jax.jit(jax.value_and_grad(f)).lower(*args).compile()
        account: Any = compiled.memory_analysis()
        return int(account.temp_size_in_bytes)

    found = {}
    for d in ds:
        projection = getattr(subspace, kind)(d, like=params, key=jax.random.key(0))
        found[d] = temporaries(within(loss), spec(d), projection, params, *data)
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    return {"size": size, "own": temporaries(loss, params, *data), "temporaries": found}


HANDLERS: dict[str, Callable[..., Record]] = {
    "maps": maps,
    "isometry": isometry,
    "steps": steps,
    "memory": memory,
}


if __name__ == "__main__":
    answer_requests(HANDLERS)
