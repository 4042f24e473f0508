"""SOAP: a step beside the products in it, refreshes, memory, and whole steps beside its peers.

Every process has one core, so that all libraries have one thread, and the measure is CPU-seconds:
of calls that take turns, the least of each. Single precision throughout.

* A step without a refresh for a matrix d x d, over the products that it contains: Q'GQ, QUQ', GG'
  and G'G, in one compiled program of their own, and over as many products a @ b of unrelated
  matrices, which are faster since none is transposed. ``update`` is the call that a person makes,
  with its condition; ``plain`` that of ``soap_blocks``.
* A refresh by each method, over such a step; spread over f = 10 calls.
* Bytes of the state's arrays beside what ``soap_memory`` says.
* Whole steps, optimizer and new parameters, of ours, AdamW of optax, the published port to JAX
  (haydn-jones/SOAP_JAX), the authors' program in PyTorch (nikhilvyas/SOAP) and the SOAP of
  pytorch-optimizer, f = 10: gradients are the same ones, random and given. A step is 9 calls
  without a refresh and one with it. After call 1 all go on from the same bases. Beside it the
  largest distance of any parameter from our transcription of the algorithm in NumPy, float64.

Peers live in an environment of their own (``make peers``); those which are missing are said to be.
"""

import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks._process import SOAP_PYTHON, Worker
from benchmarks._report import table, verdict, write

SCRIPT = Path(__file__).resolve().parent / "_optim_worker.py"
FREQUENCY = 10
IN_PRODUCTS, SHARE_OF_REFRESH = 1.3, 0.4  # asked for at 512 x 512
METHODS = ("qr", "eigh", "cholqr")
SIZES = (256, 512, 1024)
CASES = ("256 x 256", "512 x 512", "512 x 2048", "transformer 64")
NAMES = {
    "ours": "ours",
    "adamw": "optax.adamw",
    "port": "SOAP_JAX",
    "torch": "authors' PyTorch",
    "package": "pytorch-optimizer",
}
PEERS = ("port", "torch", "package")
MEMORY: tuple[tuple[str, dict[str, Any]], ...] = (
    ("512 x 512", {}),
    ("512 x 2048", {}),
    ("512 x 2048", {"one_sided": "auto"}),
    ("512 x 2048", {"mu_dtype": "bfloat16"}),
    ("transformer 64", {}),
    ("transformer 64", {"precondition_1d": True, "max_precond_dim": 200}),
)

Record = dict[str, Any]


def least(seconds: Sequence[float]) -> float:
    """The least of several measurements."""
    return min(seconds)


def of_turns(seconds: Sequence[float], others: Sequence[float]) -> float:
    """Median of the ratios of calls that followed one another."""
    return statistics.median(a / b for a, b in zip(seconds, others, strict=True))


def steps_table(steps: Mapping[int, Record]) -> str:
    """A line for each size and kind of step."""
    header = ["d x d, no refresh", "CPU ms", "/ its products", "of turns", "target"]
    header += ["/ plain products", "/ adamw"]
    rows = []
    for size, seconds in steps.items():
        for name in ("update", "plain", "adamw", "products", "plain products"):
            own = least(seconds[name])
            ratio = own / least(seconds["products"])
            row = [f"{size}, {name}", f"{1e3 * own:.2f}", f"{ratio:.2f}"]
            row.append(f"{of_turns(seconds[name], seconds['products']):.2f}")
            counts = size == 512 and name in ("update", "plain")
            row.append(verdict(ratio, IN_PRODUCTS) if counts else "")
            row.append(f"{own / least(seconds['plain products']):.2f}")
            rows.append([*row, f"{own / least(seconds['adamw']):.1f}"])
    return table(header, rows)


def refreshes_table(refreshes: Mapping[int, Record]) -> str:
    """A line for each size and method."""
    header = ["refresh of d x d", "CPU ms", "/ step", f"spread over f = {FREQUENCY}", "target"]
    rows = []
    for size, seconds in refreshes.items():
        step = least(seconds["plain"])
        for method in (name for name in seconds if name != "plain"):
            own = least(seconds[method])
            share = own / step / FREQUENCY
            row = [f"{size}, {method}", f"{1e3 * own:.2f}", f"{own / step:.2f}", f"{share:.0%}"]
            counts = size == 512 and method == "qr"
            rows.append([*row, verdict(share, SHARE_OF_REFRESH) if counts else ""])
    return table(header, rows)


def memory_table(memories: Mapping[str, Record]) -> str:
    """A line for each tree and options."""
    header = ["state", "bytes", "soap_memory", "equal", "/ Adam's"]
    rows = [
        [name, f"{m['held']}", f"{m['told']}", str(m["held"] == m["told"])]
        + [f"{m['held'] / m['adam']:.2f}"]
        for name, m in memories.items()
    ]
    return table(header, rows)


def calls_of(seconds: Sequence[float], frequency: int) -> dict[str, float]:
    """The least of the calls without a refresh and of those with one, and the step from both.

    Call 0 finds the bases; call k refreshes where k is a multiple of the frequency.
    """
    later = list(enumerate(seconds))[1:]
    plain = least([s for k, s in later if k % frequency])
    refresh = least([s for k, s in later if k % frequency == 0])
    step = ((frequency - 1) * plain + refresh) / frequency
    return {"plain": plain, "refresh": refresh, "step": step}


def training_table(cases: Mapping[str, Mapping[str, Record]], frequency: int) -> str:
    """A line for each case and side."""
    header = ["whole steps", "CPU ms a step", "/ ours", "without", "/ ours", "with a refresh"]
    header += ["/ ours", "from float64", "moved"]
    rows = []
    for case, sides in cases.items():
        own = calls_of(sides["ours"]["cpu"], frequency)
        for side, record in sides.items():
            found = calls_of(record["cpu"], frequency)
            row = [f"{case}, {NAMES[side]}"]
            for kind in ("step", "plain", "refresh"):
                row += [f"{1e3 * found[kind]:.2f}", f"{found[kind] / own[kind]:.2f}"]
            away = "" if side == "adamw" else f"{record['distance']:.1e}"
            rows.append([*row, away, f"{record['moved']:.1e}" if side == "ours" else ""])
    return table(header, rows)


def train(case: str, sides: Sequence[str], calls: int, frequency: int) -> dict[str, Record]:
    """All sides on one problem, in turns call by call; a record for each."""
    records: dict[str, Record] = {side: {"cpu": [], "wall": []} for side in sides}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        what = {"case": case, "calls": calls, "frequency": frequency}
        what["reference"] = str(Path(folder) / "reference.npz")
        with Worker(sys.executable, SCRIPT, "reference") as reference:
            moved = reference.ask(do="prepare", **what)["moved"]
        workers = {side: stack.enter_context(worker(side)) for side in sides}
        for side, one in workers.items():
            records[side] |= {**one.ask(do="prepare", **what), "moved": moved}
        for index in range(calls):
            for side, one in workers.items():
                answer = one.ask(do="call", index=index)
                for clock in ("cpu", "wall"):
                    records[side][clock].append(answer[clock])
        for side, one in workers.items():
            records[side] |= one.ask(do="finish")
    return records


def worker(side: str) -> Worker:
    """A process for a side, in the environment where it lives."""
    return Worker(SOAP_PYTHON if side in PEERS else sys.executable, SCRIPT, side)


def peers_here() -> tuple[list[str], dict[str, dict[str, str]]]:
    """The peers that are here, and their versions; says which ones are missing."""
    here, versions = [], {}
    for side in PEERS:
        if SOAP_PYTHON.exists():
            with worker(side) as one:
                status = one.ask(do="status")
            if status["missing"] is None:
                here.append(side)
                versions[NAMES[side]] = status["versions"]
                continue
        print(f"WITHOUT {NAMES[side]}: `make peers` says how to get it")
    return here, versions


def main(
    sizes: Sequence[int] = SIZES,
    refreshed: Sequence[int] = (128, 256, 512),
    methods: Sequence[str] = METHODS,
    memories: Sequence[tuple[str, dict[str, Any]]] = MEMORY,
    cases: Sequence[str] = CASES,
    rounds: int = 15,
    calls: int = 3 * FREQUENCY + 1,
    frequency: int = FREQUENCY,
    with_peers: bool = True,
    folder: Path | None = None,
) -> Path:
    """Run, print the tables, write the JSON file; its path is returned."""
    title = f"SOAP, float32, one thread, f = {frequency}"
    print(f"{title}, {os.cpu_count()} cores")
    here, others = peers_here() if with_peers else ([], {})
    if not with_peers:
        print("OURS ALONE, WITHOUT PEERS")
    with Worker(sys.executable, SCRIPT, "costs") as costs:
        versions = {"ours": costs.ask(do="status")["versions"], **others}
        steps = {d: costs.ask(do="steps", size=d, rounds=rounds) for d in sizes}
        print(steps_table(steps), flush=True)
        refreshes = {
            d: costs.ask(do="refreshes", size=d, methods=methods, rounds=max(rounds // 3, 1))
            for d in refreshed
        }
        print(refreshes_table(refreshes), flush=True)
        held = {
            ", ".join([case, *(f"{k}={v!r}" for k, v in options.items())]): costs.ask(
                do="memory", case=case, options=options
            )
            for case, options in memories
        }
    trained = {}
    for case in cases:
        trained[case] = train(case, ["ours", "adamw", *here], calls, frequency)
        print(training_table({case: trained[case]}, frequency), flush=True)
    tables = [steps_table(steps), refreshes_table(refreshes), memory_table(held)]
    tables += [training_table(trained, frequency)] if trained else []
    print("\n" + "\n\n".join(tables))
    content = {"title": title, "rounds": rounds, "calls": calls, "tables": tables}
    content |= {"versions": versions, "steps": steps, "refreshes": refreshes, "memory": held}
    return write("optim", {**content, "cases": trained}, folder)
