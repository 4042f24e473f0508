"""Time and memory of a dense NTK beside neural-tangents 0.6.5, in one run.

The network has 3 hidden ReLU layers, W_std = sqrt 2, no bias or b_std = 0.1; the data are float32
normals, d = 784. Each side lives in a process of its own, ours in this environment and the peer in
the oracle environment, and they take turns call by call, so that a busy machine slows both. The
measure is CPU-seconds of a steady jitted call (all threads summed), the median of the rounds with
the best beside it.

Our ``net.kernel`` returns NNGP and NTK; the peer is timed returning both and returning the NTK
alone, which is less work than we do. The targets hold against the second.
"""

import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks._process import PEER_PYTHON, Worker, peer_exists
from benchmarks._report import growth_exponent, table, verdict, write

SCRIPT = Path(__file__).resolve().parent / "_kernel_worker.py"
# CPU-seconds over the peer's, stated requirement for the first engine.
TARGETS = {"kernel(x)": 0.33, "kernel(x1, x2)": 0.5}
HOW = "the peer is not installed: `make oracles` (or `bash tests/oracles/make.sh env`) makes it"

Measured = dict[str, Any]


def measure(
    sides: Sequence[str],
    network: str,
    shape: Sequence[int],
    bias: float | None,
    general: bool,
    rounds: int,
) -> dict[str, Measured]:
    """Alternate the sides over `rounds` rounds in fresh processes; a record for each."""
    workers = {
        side: Worker(sys.executable if side == "ours" else PEER_PYTHON, SCRIPT, side)
        for side in sides
    }
    try:
        records: dict[str, Measured] = {}
        repeats = 1 if network != "dense" or shape[0] >= 1000 else 10
        for side, worker in workers.items():
            what = {"network": network, "shape": list(shape), "bias": bias, "general": general}
            records[side] = {**worker.ask(do="prepare", **what), "cpu": [], "wall": []}
        for _ in range(rounds):
            for side, worker in workers.items():
                answer = worker.ask(do="call", repeats=repeats)
                for clock in ("cpu", "wall"):
                    records[side][clock].append(answer[clock])
        for side, worker in workers.items():
            records[side] |= worker.ask(do="status")
    finally:
        for worker in workers.values():
            worker.__exit__(None, None, None)
    return records


def check_agreement(records: Mapping[str, Measured]) -> None:
    """Raise when the sides did not compute the same kernel: their times would mean nothing."""
    means = [record["ntk_mean"] for record in records.values()]
    if max(means) - min(means) > 1e-4 * abs(means[0]):
        raise RuntimeError(f"the sides {list(records)} disagree about the mean NTK: {means}")


def cases_table(
    cases: Mapping[str, Mapping[str, Measured]], targets: Mapping[str, float] | None = None
) -> str:
    """Show a line for each case and side; the ratios stand in our line.

    ``targets`` are by case; without them they are those of the calls on dense networks.
    """
    header = ["case", "side", "CPU s", "/ peer, both", "/ peer, NTK", "target"]
    header += ["best", "wall s", "compile CPU s", "peak MiB"]
    rows = []
    for case, records in cases.items():
        cpu = {side: statistics.median(record["cpu"]) for side, record in records.items()}
        for side, record in records.items():
            row = [case, side, f"{cpu[side]:.4f}"]
            if side == "ours" and "peer-ntk" in records:
                ratio = cpu["ours"] / cpu["peer-ntk"]
                target = (targets or TARGETS)[case if targets else case.split(",  ")[0]]
                row += [f"{cpu['ours'] / cpu['peer-both']:.3f}", f"{ratio:.3f}"]
                row += [verdict(ratio, target)]
            else:
                row += ["", "", ""]
            others = min(record["cpu"]), statistics.median(record["wall"])
            row += [*(f"{v:.4f}" for v in others), f"{record['first_cpu']:.2f}"]
            rows.append([*row, f"{record['peak_mib']:.0f}"])
    return table(header, rows)


def growth_table(sizes: Sequence[int], costs: Mapping[str, Sequence[float]]) -> str:
    """Show CPU-seconds against n, and the exponent of the power law through them."""
    header = ["kernel(x), CPU s", *(f"n = {n}" for n in sizes), "exponent"]
    rows = [
        [side, *(f"{c:.4f}" for c in values), f"{growth_exponent(sizes, values):.2f}"]
        for side, values in costs.items()
    ]
    return table(header, rows)


def main(
    n: int = 2000,
    d: int = 784,
    biases: Sequence[float | None] = (None, 0.1),
    sizes: Sequence[int] = (500, 1000, 2000, 4000),
    rounds: int = 7,
    with_peer: bool | None = None,
    folder: Path | None = None,
) -> Path:
    """Run, print the tables, write the JSON file; its path is returned."""
    with_peer = peer_exists() if with_peer is None else with_peer
    sides = ("ours", "peer-both", "peer-ntk") if with_peer else ("ours",)
    title = f"NTK of 3 hidden ReLU layers, n = {n}, d = {d}, float32"
    print(f"{title}, {os.cpu_count()} cores")
    if not with_peer:
        print(f"OURS ALONE, no ratios: {HOW}")
    cases = {}
    for general, call in ((False, "kernel(x)"), (True, "kernel(x1, x2)")):
        for bias in biases:
            name = f"{call},  {'no bias' if bias is None else f'bias {bias}'}"
            cases[name] = measure(sides, "dense", (n, d), bias, general, rounds)
            check_agreement(cases[name])
    tables = [cases_table(cases)]
    print(tables[0] + "\n")
    few = max(3, rounds // 2)
    runs = {size: measure(sides, "dense", (size, d), None, False, few) for size in sizes}
    costs = {s: [statistics.median(runs[size][s]["cpu"]) for size in sizes] for s in sides}
    tables.append(growth_table(sizes, costs))
    print(tables[1])
    first = next(iter(cases.values()))
    versions = {side: record["versions"] for side, record in first.items()}
    content = {"n": n, "d": d, "rounds": rounds, "targets": TARGETS, "versions": versions}
    content |= {"cases": cases, "sizes": list(sizes), "growth": costs}
    content |= {"title": title, "tables": tables}
    path = write("kernels", content, folder)
    print("\n" + "; ".join(f"{side}: {v}" for side, v in versions.items()))
    return path
