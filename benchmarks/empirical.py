"""The empirical NTK beside neural-tangents 0.6.5, in one run.

A ReLU network with 3 hidden layers of 512 on 64 inputs of 784, and a residual network of the size
of ResNet-18 on 8 images of 32x32x3, each with 10 outputs and the full kernel (n, n, 10, 10),
float32. Sides take turns call by call, each in a process of its own; the measure is CPU-seconds of
a steady compiled call (median of the rounds), the bytes of the compiler's temporaries, and the peak
growth of the process in its first call (its result, of 1.6 MB at most, included), which both
JAX lines tell.

Ours: structured derivatives (parameters passed, and closed over), and NTK-vector products column by
column. Plain: NTK-vector products for all pairs at once, ten lines of JAX. The peer's
implementations: 1 Jacobian contraction (its default), 2 NTK-vector products, 3 structured
derivatives, all with ``vmap_axes=0``, which is its fast setting.
"""

import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks._process import PEER_PYTHON, Worker, peer_exists
from benchmarks._report import table, verdict, write
from benchmarks.kernels import HOW

SCRIPT = Path(__file__).resolve().parent / "_empirical_worker.py"

MLP = ("ours-structured", "ours-closed", "ours-vector_product", "peer-1", "peer-2", "peer-3")
RESNET = ("ours-structured", "ours-vector_product", "plain-vector_product", "peer-2")
# Network, width, examples, sides.
CASES: Mapping[str, tuple[str, int, int, Sequence[str]]] = {
    "MLP 3 x 512, n = 64": ("mlp", 512, 64, MLP),
    "ResNet-18, n = 8": ("resnet", 64, 8, RESNET),
}
MIB = 2**20

Record = dict[str, Any]


def measure(
    sides: Sequence[str], network: str, width: int, n: int, rounds: int
) -> dict[str, Record]:
    """Alternate the sides over the rounds; a record for each."""
    workers: dict[str, Worker] = {}
    records: dict[str, Record] = {}
    try:
        for side in sides:
            python = PEER_PYTHON if side.startswith("peer") else sys.executable
            workers[side] = Worker(python, SCRIPT, side)
            what = {"network": network, "width": width, "n": n}
            records[side] = {**workers[side].ask(do="prepare", **what), "cpu": []}
        for _ in range(rounds):
            for side, worker in workers.items():
                repeats = 5 if network == "mlp" and side[-1] in "d3" else 1
                records[side]["cpu"].append(worker.ask(do="call", repeats=repeats)["cpu"])
        for side, worker in workers.items():
            records[side] |= worker.ask(do="status")
    finally:
        for worker in workers.values():
            worker.__exit__(None, None, None)
    means = [record["mean"] for record in records.values()]
    if max(means) - min(means) > 1e-4 * abs(means[0]):
        raise RuntimeError(f"the sides {list(records)} disagree about the kernel: {means}")
    return records


def sides_table(cases: Mapping[str, Mapping[str, Record]]) -> str:
    """A line for each case and side."""
    header = ["case", "side", "CPU s", "best", "temporaries MiB", "growth MiB", "compile CPU s"]
    rows = []
    for case, records in cases.items():
        for side, record in records.items():
            cpu, memory = record["cpu"], record["temporaries"]
            row = [case, side, f"{statistics.median(cpu):.4f}", f"{min(cpu):.4f}"]
            row.append(f"{memory / MIB:.1f}" if memory else "not told")  # old JAX says nothing or 0
            row.append(f"{record['growth'] / MIB:.0f}" if record["growth"] else "not told")
            rows.append([*row, f"{record['compile_cpu']:.1f}"])
    return table(header, rows)


def targets_table(cases: Mapping[str, Mapping[str, Record]]) -> str:
    """What was asked for, beside what was measured."""
    rows: list[list[str]] = []

    def row(what: str, value: float, target: float) -> None:
        rows.append([what, f"{value:.3g}", verdict(value, target)])

    def cpu(records: Mapping[str, Record], side: str) -> float:
        return statistics.median(records[side]["cpu"])

    for case, records in cases.items():
        peers = [side for side in records if side.startswith("peer")]
        own = cpu(records, "ours-structured")
        if case.startswith("MLP"):
            memory = max(records[s]["temporaries"] for s in ("ours-structured", "ours-closed"))
            row(f"{case}: temporaries, MiB", memory / MIB, 32)
            closed = cpu(records, "ours-closed") / own
            row(f"{case}: CPU closed over, of CPU passed", closed, 1.2)
            if peers:
                best = min(cpu(records, side) for side in peers)
                row(f"{case}: CPU, of the peer's best", own / best, 1.2)
                row(f"{case}: CPU, of the peer's default", own / cpu(records, "peer-1"), 0.01)
            continue
        temporaries, growth = (
            {side: record[what] for side, record in records.items()}
            for what in ("temporaries", "growth")
        )
        others = {"plain-vector_product": "vector products at once"}
        others["ours-vector_product"] = "our vector products by columns"
        for side, name in others.items():
            row(f"{case}: CPU, of {name}", own / cpu(records, side), 1 / 5)
            share = temporaries["ours-structured"] / temporaries[side]
            row(f"{case}: temporaries, of {name}", share, 1 / 4)
        if peers:
            name = "the peer's implementation 2"
            row(f"{case}: CPU, of {name}", own / cpu(records, "peer-2"), 1 / 5)
            if growth["peer-2"]:
                share = growth["ours-structured"] / growth["peer-2"]
                row(f"{case}: growth, of {name}", share, 1 / 4)
    return table(["what", "measured", "target"], rows)


def main(
    cases: Mapping[str, tuple[str, int, int, Sequence[str]]] = CASES,
    rounds: int = 3,
    with_peer: bool | None = None,
    folder: Path | None = None,
) -> Path:
    """Run, print the tables, write the JSON file; its path is returned."""
    with_peer = peer_exists() if with_peer is None else with_peer
    title = "Full empirical NTK of finite networks, 10 outputs, float32"
    print(f"{title}, {os.cpu_count()} cores")
    if not with_peer:
        print(f"OURS ALONE, no ratios to the peer: {HOW}")
    measured = {}
    for case, (network, width, n, sides) in cases.items():
        run = [side for side in sides if with_peer or not side.startswith("peer")]
        measured[case] = measure(run, network, width, n, rounds)
    tables = [sides_table(measured), targets_table(measured)]
    print("\n\n".join(tables))
    versions = {
        side: record["versions"]
        for records in measured.values()
        for side, record in records.items()
    }
    content = {"title": title, "rounds": rounds, "cases": measured}
    return write("empirical", content | {"tables": tables, "versions": versions}, folder)
