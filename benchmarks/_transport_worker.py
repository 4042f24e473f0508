"""All solvers of the transport benchmark in one process, which answers JSON lines until input ends.

Commands, one JSON object a line:

* ``{"do": "case", "name": .., "epsilon": .., "seed": .., "rounds": r, "limit": s, "peers": bool}``:
  a record for each solver. A peer's iterations are capped where they would take ``limit``
  CPU-seconds; its threshold is tightened until the plan, made in NumPy, meets the target, and
  loosened where that is cheap. Then the solvers take turns call by call, ``rounds`` times, three
  times where a call takes more than 1 CPU-second; the call that was checked is the only one where
  it takes more than SLOW or ended at the cap;
* ``{"do": "batch", "family": .., "n": .., "count": .., "epsilon": .., "rounds": r}``: a batch, and
  a loop over its problems;
* ``{"do": "backward", "name": .., "epsilon": .., "seed": .., "rounds": r}``: derivatives;
* ``{"do": "status"}``: versions, and the peers that are missing.

NumPy's BLAS has one thread here: two that wait for one another on a busy machine took up to 70
times the CPU-seconds for POT's products, which would flatter us. JAX and regot choose their own.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import _transport_peers as peers
from benchmarks._transport_peers import TARGET, Answer, Problem, Solver
from tests.transport import families
from theorylab import transport

SLOW = 5.0
TRIES = 5

Record = dict[str, Any]
_caps: dict[tuple[str, tuple[int, ...], float], int] = {}


def timed(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """CPU-seconds, wall seconds and result of one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = call()
    return time.process_time() - cpu, time.perf_counter() - wall, result


def largest_count(name: str, solver: Solver, p: Problem, limit: float) -> int:
    """Iterations that take about ``limit`` CPU-seconds, by a run of a few; in tens."""
    if not solver.probe:
        return solver.most
    key = (name, p.cost.shape, 0.0 if solver.compiled else p.epsilon)
    if key not in _caps:
        if solver.compiled:
            solver.call(p, 0.0, solver.probe)
        cpu, _, answer = timed(lambda: solver.call(p, 0.0, solver.probe))
        each = cpu / max(answer.iterations, 1)
        _caps[key] = max(10 * round(limit / each / 10), 10)
    return _caps[key]


def prepared(name: str, solver: Solver, p: Problem, limit: float) -> Record:
    """Find the threshold, by calls that are checked; the record of the best one."""
    most = largest_count(name, solver, p, limit)
    threshold = TARGET if solver.start is None else solver.start(sum(p.cost.shape))
    solver.call(p, threshold if solver.start is None else np.inf, most)  # compiles
    best: Record | None = None
    record: Record = {}
    loosened = False
    for _ in range(TRIES):
        cpu, wall, answer = timed(lambda: solver.call(p, threshold, most))  # noqa: B023
        record = described(cpu, wall, answer, p) | {"threshold": threshold, "most": most}
        error = record["error"]
        if solver.start is None:
            return record
        if error <= TARGET:
            if best is None or record["iterations"] < best["iterations"]:
                best = record
            if loosened or cpu > 1 or error > TARGET / 2:
                break
            threshold, loosened = threshold * 0.95 * TARGET / max(error, 1e-16), True
        elif best is not None or not np.isfinite(error) or record["iterations"] >= most:
            break
        else:
            threshold *= 0.9 * TARGET / error
    return record if best is None else best


def described(cpu: float, wall: float, answer: Answer, p: Problem) -> Record:
    """A record of one call."""
    error = peers.error_of(answer.plan(), p)
    record = {"cpu": [cpu], "wall": [wall], "iterations": answer.iterations, **answer.counts}
    return record | {"error": error, "converged": bool(error <= TARGET)}


def case(request: Record) -> dict[str, Record]:
    """Every solver on one problem."""
    p = peers.problem(families.problem(request["name"], request["seed"]), request["epsilon"])
    own = ("ours", "one pass")
    chosen = {k: s for k, s in peers.solvers().items() if request["peers"] or k in own}
    records = {k: prepared(k, s, p, request["limit"]) for k, s in chosen.items()}
    calls = {}
    for name, record in records.items():
        once, capped = record["cpu"][0], record["iterations"] >= record["most"]
        calls[name] = request["rounds"] if once <= 1 else min(3, request["rounds"])
        if once > SLOW or capped:
            calls[name] = 0
        else:
            record["cpu"], record["wall"] = [], []
    for turn in range(request["rounds"]):
        for name, solver in chosen.items():
            if turn >= calls[name]:
                continue
            record = records[name]
            arguments = (p, record["threshold"], record["most"])
            cpu, wall, _ = timed(lambda: solver.call(*arguments))  # noqa: B023
            record["cpu"].append(cpu)
            record["wall"].append(wall)
    return records


def in_turns(calls: dict[str, Callable[[], Any]], rounds: int) -> tuple[Record, Record]:
    """Median CPU-seconds and wall seconds of calls that were made once before."""
    for call in calls.values():
        jax.block_until_ready(call())
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            made = timed(lambda: jax.block_until_ready(call()))  # noqa: B023
            seconds[name].append(made[:2])
    medians = [
        {name: statistics.median(pair[clock] for pair in pairs) for name, pairs in seconds.items()}
        for clock in (0, 1)
    ]
    return medians[0], medians[1]


def batch(request: Record) -> Record:
    """A batch of problems and a loop over them, both through the door; where they differ most."""
    kind = f"{request['family']} {request['n']}"
    made = [families.problem(kind, seed)[0] for seed in range(request["count"])]
    costs = jax.device_put(np.stack(made))
    each = [jax.device_put(cost) for cost in made]
    epsilon = request["epsilon"]
    together = lambda: transport.solve(costs, epsilon=epsilon)  # noqa: E731
    loop = lambda: [transport.solve(cost, epsilon=epsilon) for cost in each]  # noqa: E731
    cpu, wall = in_turns({"batch": together, "loop": loop}, request["rounds"])
    one, many = together(), loop()
    apart = {
        "f": max(float(jnp.abs(one.f[i] - s.f).max()) for i, s in enumerate(many)),
        "value": max(float(jnp.abs(one.value[i] - s.value)) for i, s in enumerate(many)),
    }
    passes = [int(s.num_lse_passes) for s in many]
    converged = bool(one.converged.all()) and all(bool(s.converged) for s in many)
    return {"cpu": cpu, "wall": wall, "apart": apart, "passes": passes, "converged": converged}


@jax.jit
def _value(cost: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array) -> jax.Array:
    return transport.solve(cost, a, b, epsilon=epsilon).value


@jax.jit
def _of_plan(cost: jax.Array, a: jax.Array, b: jax.Array, epsilon: jax.Array) -> jax.Array:
    plan = transport.solve(cost, a, b, epsilon=epsilon).plan()
    return jnp.sum(jnp.cos(jnp.arange(plan.size)).reshape(plan.shape) * plan)


_with_gradient = {
    "value": jax.jit(jax.value_and_grad(_value)),
    "plan": jax.jit(jax.value_and_grad(_of_plan)),
}


def backward(request: Record) -> Record:
    """Forward, and forward with the gradient in the costs, of the value and of the plan."""
    p = peers.problem(families.problem(request["name"], request["seed"]), request["epsilon"])
    arguments = (*p.device, jnp.asarray(p.epsilon))
    calls: dict[str, Callable[[], Any]] = {
        "value": lambda: _value(*arguments),
        "value and gradient": lambda: _with_gradient["value"](*arguments),
        "plan": lambda: _of_plan(*arguments),
        "plan and gradient": lambda: _with_gradient["plan"](*arguments),
    }
    cpu, wall = in_turns(calls, request["rounds"])
    return {"cpu": cpu, "wall": wall}


def status(request: Record) -> Record:
    """Versions of ours and of the peers that are here, which ones are not, and how to get them."""
    away = peers.missing()
    found = {"ours": {name: version(name) for name in ("jax", "theorylab")}}
    here = [name for name in peers.MODULES.values() if name not in away]
    found |= {"peers": {name: version(name) for name in here}} if here else {}
    return {"versions": found, "missing": away, "how": peers.HOW}


def serve(requests: Iterable[Record], answer: Callable[[Record], None]) -> None:
    """Answer every request."""
    jax.config.update("jax_enable_x64", True)
    threadpool_limits(1, user_api="blas")
    kinds = {"case": case, "batch": batch, "backward": backward, "status": status}
    for request in requests:
        answer(kinds[request["do"]](request))


def main() -> None:
    """Read requests from standard input until it ends."""
    # Whatever a library prints must not get between the answers.
    out, sys.stdout = sys.stdout, sys.stderr

    def answer(content: Record) -> None:
        out.write(json.dumps(content) + "\n")
        out.flush()

    serve((json.loads(line) for line in sys.stdin), answer)


if __name__ == "__main__":
    main()
