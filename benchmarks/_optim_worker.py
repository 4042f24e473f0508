"""One side of the benchmark of optimizers: a process that answers JSON lines until its input ends.

``python _optim_worker.py SIDE``, with the interpreter of an environment, ours or that of the peers;
it imports only what both have and what the side asks for. The process has one core to itself, by
affinity, before anything is imported, so that every library has one thread.

Commands of a side that trains, one JSON object a line:

* ``{"do": "prepare", "case": .., "calls": n, "frequency": f, "reference": path}``: parameters,
  gradients, compiling;
* ``{"do": "call", "index": k}``: CPU-seconds and wall seconds of the k-th call, from 0, gradients
  being at hand: optimizer and new parameters. After call 0 the bases become the reference's, since
  those of a singular first factor are arbitrary;
* ``{"do": "finish"}``: the largest distance of any parameter from the reference's.

The side ``reference`` answers ``prepare`` by writing to ``path`` what our NumPy transcription of
the algorithm finds in float64. The side ``costs`` has commands of its own
(:mod:`benchmarks._optim_costs`). This one and the peers answer ``{"do": "status"}``: versions, or
what is missing.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

LEARNING_RATE, WEIGHT_DECAY = 3e-3, 0.01
# Side that answers "status": module that it needs, distributions whose versions it tells.
NEEDS = {
    "port": ("soap_jax", ("jax", "jaxlib", "optax")),
    "torch": ("soap_torch_reference", ("torch",)),
    "package": ("pytorch_optimizer", ("pytorch-optimizer", "torch")),
    "costs": ("theorylab", ("theorylab", "jax", "optax")),
}

Record = dict[str, Any]


def on_one_core() -> None:
    """Leave this process one core, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


class Side(NamedTuple):
    """``call(k)`` does one step, ``set_bases`` replaces bases, ``parameters()`` are NumPy's."""

    call: Callable[[int], None]
    set_bases: Callable[[list[list[Any]]], None]
    parameters: Callable[[], dict[str, Any]]


def with_optax(tx: Any, case: str, calls: int, replaced: Callable[[Any, Any, Any], Any]) -> Side:
    """A side whose optimizer is optax's kind; compiled here, state and parameters donated."""
    import jax
    import optax

    from benchmarks import _optim_problems as problems

    params = jax.tree.map(jax.numpy.asarray, problems.start(case))
    given = [jax.tree.map(jax.numpy.asarray, g) for g in problems.gradients(case, calls)]
    held = [tx.init(params), params]

    def step(g: Any, state: Any, params: Any) -> tuple[Any, Any]:
        updates, state = tx.update(g, state, params)
        return state, optax.apply_updates(params, updates)

    compiled = jax.jit(step, donate_argnums=(1, 2)).lower(given[0], *held).compile()

    def call(k: int) -> None:
        held[:] = jax.block_until_ready(compiled(given[k], *held))

    def set_bases(bases: list[list[Any]]) -> None:
        held[0] = replaced(held[0], held[1], bases)

    return Side(call, set_bases, lambda: jax.device_get(held[1]))


def ours(case: str, calls: int, frequency: int) -> Side:
    """Our SOAP, decay in the reference's order."""
    from theorylab import optim

    options: dict[str, Any] = {"precondition_frequency": frequency}
    own: dict[str, Any] = {"weight_decay": WEIGHT_DECAY, "decay_order": "reference"}
    tx = optim.soap(LEARNING_RATE, **own, **options)

    def replaced(state: Any, params: Any, bases: Any) -> Any:
        return optim.soap_with_bases(state, bases, **options)

    return with_optax(tx, case, calls, replaced)


def adamw(case: str, calls: int, frequency: int) -> Side:
    """What there is to lose: AdamW of optax."""
    import optax

    tx = optax.adamw(LEARNING_RATE, 0.95, 0.95, weight_decay=WEIGHT_DECAY)
    return with_optax(tx, case, calls, lambda state, params, bases: state)


def port(case: str, calls: int, frequency: int) -> Side:
    """The port to JAX (haydn-jones/SOAP_JAX)."""
    import jax
    from soap_jax import soap

    def replaced(state: Any, params: Any, bases: Any) -> Any:
        arrays = [jax.numpy.asarray(q) for leaf in bases for q in leaf if q is not None]
        tree = jax.tree.structure(state[0].Q)
        return (state[0]._replace(Q=jax.tree.unflatten(tree, arrays)), *state[1:])

    tx = soap(LEARNING_RATE, weight_decay=WEIGHT_DECAY, precondition_frequency=frequency)
    return with_optax(tx, case, calls, replaced)


def with_torch(kind: Any, case: str, calls: int, frequency: int) -> Side:
    """A side in PyTorch."""
    import torch

    from benchmarks import _optim_problems as problems

    torch.set_num_threads(1)
    params = {k: torch.nn.Parameter(torch.tensor(p)) for k, p in problems.start(case).items()}
    given = [{k: torch.tensor(x) for k, x in g.items()} for g in problems.gradients(case, calls)]
    options = {"weight_decay": WEIGHT_DECAY, "precondition_frequency": frequency}
    soap = kind(list(params.values()), lr=LEARNING_RATE, **options)

    def call(k: int) -> None:
        for name, p in params.items():
            p.grad = given[k][name]
        soap.step()

    def set_bases(bases: list[list[Any]]) -> None:
        for p, leaf in zip(params.values(), bases, strict=True):
            soap.state[p]["Q"] = [[] if q is None else torch.tensor(q) for q in leaf]

    return Side(call, set_bases, lambda: {k: p.detach().numpy() for k, p in params.items()})


def torch_reference(case: str, calls: int, frequency: int) -> Side:
    """The authors' program (nikhilvyas/SOAP, its file soap.py under another name)."""
    from soap_torch_reference import SOAP

    return with_torch(SOAP, case, calls, frequency)


def package(case: str, calls: int, frequency: int) -> Side:
    """SOAP of pytorch-optimizer."""
    from pytorch_optimizer import SOAP

    return with_torch(SOAP, case, calls, frequency)


SIDES: dict[str, Callable[[str, int, int], Side]] = {
    "ours": ours,
    "adamw": adamw,
    "port": port,
    "torch": torch_reference,
    "package": package,
}


def write_reference(case: str, calls: int, frequency: int, path: str) -> Record:
    """Bases after call 1 and last parameters of our transcription, in float64, into an npz file."""
    import numpy as np

    from benchmarks import _optim_problems as problems
    from tests.oracles import soap_reference

    init = problems.start(case)
    given = list(problems.gradients(case, calls))
    options: dict[str, Any] = {"learning_rate": LEARNING_RATE, "weight_decay": WEIGHT_DECAY}
    options |= {"precondition_frequency": frequency}
    arrays: dict[str, Any] = {}
    moved = 0.0
    for name, p in init.items():
        first = soap_reference.run(p, [given[0][name]], 1, **options)[1].bases
        trajectory, _ = soap_reference.run(p, [g[name] for g in given], calls, first, **options)
        arrays[f"last/{name}"] = trajectory[-1]
        moved = max(moved, float(np.abs(trajectory[-1] - trajectory[0]).max()))
        for axis, q in enumerate(first):
            if q is not None:
                arrays[f"basis/{name}/{axis}"] = q
    np.savez(path, **arrays)
    return {"moved": moved}


class Trained:
    """The answers of a side that trains."""

    def __init__(self, side: str):
        self.side = side

    def prepare(self, case: str, calls: int, frequency: int, reference: str) -> Record:
        """Make the problem and compile."""
        if self.side == "reference":
            return write_reference(case, calls, frequency, reference)
        import numpy as np

        from benchmarks import _optim_problems as problems

        with np.load(reference, allow_pickle=False) as file:
            self.stored = dict(file)
        self.shapes = problems.shapes_of(case)
        begin = time.process_time()
        self.run = SIDES[self.side](case, calls, frequency)
        return {"prepare_cpu": time.process_time() - begin}

    def call(self, index: int) -> Record:
        """One timed call."""
        cpu, wall = time.process_time(), time.perf_counter()
        self.run.call(index)
        answer = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        if index == 0:
            self.run.set_bases([[*self.bases(name)] for name in self.shapes])
        return answer

    def bases(self, name: str) -> Iterator[Any]:
        """Those of a leaf after call 1, float32, None for an axis without one."""
        for axis in range(len(self.shapes[name])):
            q = self.stored.get(f"basis/{name}/{axis}")
            yield None if q is None else q.astype("float32")

    def finish(self) -> Record:
        """How far the parameters are from the reference's."""
        import numpy as np

        last = self.run.parameters()
        gaps = [np.abs(last[name] - self.stored[f"last/{name}"]).max() for name in self.shapes]
        return {"distance": float(max(gaps))}


def status(side: str) -> Record:
    """Versions, or the module that is missing."""
    module, distributions = NEEDS[side]
    try:
        importlib.import_module(module)
    except (ImportError, OSError):  # OSError: a PyTorch without the libraries it was built for
        return {"missing": module, "versions": {}}
    return {"missing": None, "versions": {name: version(name) for name in distributions}}


def main() -> None:
    """Answer requests until the input ends."""
    # Whatever a library prints must not get between the answers.
    out, sys.stdout = sys.stdout, sys.stderr
    side = sys.argv[1]
    on_one_core()
    # The peers' environment has no more of the checkout than this folder needs.
    sys.path.append(str(Path(__file__).resolve().parent.parent))
    handlers: dict[str, Callable[..., Record]] = {"status": lambda: status(side)}
    if side == "costs":
        from benchmarks import _optim_costs

        handlers |= _optim_costs.HANDLERS
    else:
        made = Trained(side)
        handlers |= {"prepare": made.prepare, "call": made.call, "finish": made.finish}
    for line in sys.stdin:
        request = json.loads(line)
        answer = handlers[request.pop("do")](**request)
        out.write(json.dumps(answer) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
