"""Projections of `theorylab.subspace`: passes over memory, steps, temporaries, isometry.

One process, float32. Programs take turns over many rounds; what counts is the least wall time of
each, the moment at which it had all cores, and the median of its CPU-seconds (all threads). The
unit is one pass: x * c over D numbers, which reads a vector and writes one. Targets are in wall
time; on a machine that is shared a process seldom has all cores, and a pass, which waits for
memory, loses less by that than products do: the passes in CPU-seconds stand beside.

* Forward P theta and transpose P^T g. Asked of `hadamard` at D = 2^22 and d <= 1024: forward within
  12 passes, transpose within 18. Dense kinds draw all of P in every call, D d numbers, and are
  measured at smaller D. No maintained peer in JAX is known; the peers are the paper's own forms: P
  stored as an array (D = 2^18, d = 256; it is drawn once, not timed), and Fastfood, which is ours
  as in the paper (D = 2^20; asked: forward and transpose of `hadamard` at least 4 times faster).
* The adjoint error is |<P theta, g> - <theta, P^T g>| / (|P theta| |g|), with sums in float64.
* A whole step, value_and_grad and Adam, in subspaces beside the direct one, and the largest
  difference of the gradient from the direct gradient's transpose, over its largest entry.
* Temporaries of value_and_grad by the compiler's account, in units of D floats, over those of the
  loss itself: at most 3, and the same at every d.
* Singular values of P, exact from P^T P.
"""

import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks._process import Worker
from benchmarks._report import growth_exponent, table, verdict, write

SCRIPT = Path(__file__).resolve().parent / "_subspace_worker.py"
STORED = "dense, stored"
FAST = ("rotation", "sketch", "kron")
DENSE = ("dense_rademacher", "dense_gaussian")
# log2 of D, rounds, and the kinds with their d that are timed there in turns.
MAPS: tuple[tuple[int, int, tuple[tuple[str, int], ...]], ...] = (
    (22, 400, (("hadamard", 100), ("hadamard", 1000))),
    (22, 60, (("hadamard", 1000), *((kind, 1000) for kind in FAST))),
    (22, 60, (("hadamard", 10_000), *((kind, 10_000) for kind in FAST))),
    (20, 100, (("hadamard", 1000), ("fastfood", 1000), ("sparse", 1000))),
    (18, 60, (("hadamard", 256), (STORED, 256), ("dense_rademacher", 256))),
    (16, 20, (("hadamard", 256), (STORED, 256), ("dense_gaussian", 256))),
)
FORWARD, BACK, LARGE, MOST_D = 12, 18, 60, 1024  # passes over D, at D = 2^22
FASTER = 4  # than Fastfood
FLOATS, SPREAD = 3, 1.05
STEP = 1.5  # over the direct step, asked for on GPUs
NETWORKS = ((784, 400, 400, 10), (1024, 2048, 1024, 10))
STEPS = (("hadamard", 100), ("hadamard", 750), ("hadamard", 10_000), ("rotation", 750))
ISOMETRY = (
    (17_610, 200, ("hadamard", "rotation", "sketch", "kron", *DENSE, "sparse", "fastfood")),
    (199_210, 750, ("hadamard", "rotation", "sketch", "kron", *DENSE, "sparse", "fastfood")),
)

Record = dict[str, Any]


def seconds(record: Record, clock: str = "wall") -> float:
    """Seconds: the least wall time of the rounds, the median of the CPU-seconds."""
    return float(min(record[clock]) if clock == "wall" else statistics.median(record[clock]))


def target_of(one: Record, size: int, unit: float) -> str:
    """What was asked of a line of the table, in passes."""
    if one["kind"] != "hadamard" or size != 2**22:
        return ""
    forward, back = seconds(one["forward"]) / unit, seconds(one["back"]) / unit
    if one["d"] > MOST_D:
        return f"sum {verdict(forward + back, LARGE)}"
    return f"forward {verdict(forward, FORWARD)}, transpose {verdict(back, BACK)}"


def maps_table(found: Sequence[Record]) -> str:
    """A line for each D, kind and d."""
    header = ["log2 D, kind, d", "forward ms", "passes", "CPU ms", "passes", "transpose ms"]
    header += ["passes", "CPU ms", "passes", "adjoint error", "target"]
    rows, judged = [], set()  # by the first group that has a case, which has most rounds
    for group in found:
        size, unit = group["size"], seconds(group["pass"])
        bits = size.bit_length() - 1
        cpu_unit = seconds(group["pass"], "cpu")
        rows.append([f"{bits}, one pass x * c", f"{1e3 * unit:.2f}", "1.0"])
        rows[-1] += [f"{1e3 * cpu_unit:.2f}", "1.0", *[""] * 6]
        for one in group["maps"].values():
            row = [f"{bits}, {one['kind']}, {one['d']}"]
            for way in ("forward", "back"):
                wall, cpu = seconds(one[way]), seconds(one[way], "cpu")
                row += [f"{1e3 * wall:.2f}", f"{wall / unit:.1f}"]
                row += [f"{1e3 * cpu:.2f}", f"{cpu / cpu_unit:.1f}"]
            case = (size, one["kind"], one["d"])
            target = target_of(one, size, unit) if case not in judged else ""
            judged.add(case)
            rows.append([*row, f"{one['adjoint']:.0e}", target])
    return table(header, rows)


def both(one: Record, clock: str = "wall") -> float:
    """Forward and transpose."""
    return seconds(one["forward"], clock) + seconds(one["back"], clock)


def peers_table(found: Sequence[Record]) -> str:
    """Forward and transpose of `hadamard` beside the paper's forms, from the same rounds."""
    header = ["log2 D, d", "beside hadamard", "wall ratio", "CPU ratio", "target"]
    rows = []
    for group in found:
        for one in group["maps"].values():
            own = group["maps"].get(f"hadamard {one['d']}")
            if own is None or own is one:
                continue
            ratios = [both(one, clock) / both(own, clock) for clock in ("wall", "cpu")]
            row = [f"{group['size'].bit_length() - 1}, {one['d']}", one["kind"]]
            row += [f"{ratio:.2f}" for ratio in ratios]
            met = "met" if ratios[0] >= FASTER else "MISSED"
            wanted = f"{met} (at least {FASTER})" if one["kind"] == "fastfood" else ""
            rows.append([*row, wanted])
    return table(header, rows)


def growth_table(found: Sequence[Record]) -> str:
    """A line for each D at one d, and the exponents of growth."""
    header = ["growth", "one pass ms", "forward ms", "passes", "transpose ms", "passes"]
    header += ["CPU / wall"]
    rows = []
    for group in found:
        unit = seconds(group["pass"])
        (one,) = group["maps"].values()
        row = [f"D = 2^{group['size'].bit_length() - 1}, d = {one['d']}", f"{1e3 * unit:.3f}"]
        for way in ("forward", "back"):
            row += [f"{1e3 * seconds(one[way]):.2f}", f"{seconds(one[way]) / unit:.1f}"]
        rows.append([*row, f"{both(one, 'cpu') / both(one):.2f}"])
    sizes = [group["size"] for group in found]
    if len(sizes) > 1:
        ones = [next(iter(group["maps"].values())) for group in found]
        slopes = [
            growth_exponent(sizes, [seconds(record) for record in records])
            for records in (
                [group["pass"] for group in found],
                [one["forward"] for one in ones],
                [one["back"] for one in ones],
            )
        ]
        row = ["exponent", f"{slopes[0]:.2f}", f"{slopes[1]:.2f}", "", f"{slopes[2]:.2f}", "", ""]
        rows.append(row)
    return table(header, rows)


def steps_table(found: Mapping[str, Record]) -> str:
    """A line for each network and subspace."""
    header = ["whole step", "wall ms", "/ direct", "CPU ms", "/ direct", "gradient off by"]
    rows = []
    for name, record in found.items():
        direct = record["times"]["direct"]
        for case, times in record["times"].items():
            row = [f"{name}: {case}"]
            for clock in ("wall", "cpu"):
                own = seconds(times, clock)
                row += [f"{1e3 * own:.2f}", f"{own / seconds(direct, clock):.2f}"]
            rows.append([*row, f"{record['apart'][case]:.0e}" if case != "direct" else ""])
    return table(header, rows)


def memory_table(found: Mapping[str, Record]) -> str:
    """A line for each loss and kind: temporaries over the loss's own, in D floats."""
    header = ["temporaries, in D floats", "the loss's own", "d", "over its own", "target"]
    rows = []
    for name, record in found.items():
        unit = 4 * record["size"]
        over = {d: (t - record["own"]) / unit for d, t in record["temporaries"].items()}
        first = next(iter(over.values()))
        for d, more in over.items():
            row = [name, f"{record['own'] / unit:.2f}", str(d), f"{more:.2f}"]
            spread = max(more / first, first / more) if min(more, first) > 0 else 1.0
            word = f"{verdict(more, FLOATS)}, / first {verdict(spread, SPREAD)}"
            rows.append([*row, word if "hadamard" in name else ""])
    return table(header, rows)


def isometry_table(found: Mapping[str, Record]) -> str:
    """A line for each D, d and kind."""
    header = ["D, d, kind", "least singular value", "largest", "column norms off 1 by"]
    rows = [
        [name, f"{one['least']:.4f}", f"{one['most']:.4f}", f"{one['norms']:.0e}"]
        for name, one in found.items()
    ]
    return table(header, rows)


def main(
    maps: Sequence[tuple[int, int, Sequence[tuple[str, int]]]] = MAPS,
    growth: Sequence[int] = (18, 20, 22, 24),
    growth_d: int = 1000,
    networks: Sequence[Sequence[int]] = NETWORKS,
    batch: int = 128,
    steps: Sequence[tuple[str, int]] = STEPS,
    memory_ds: Sequence[int] = (100, 1000, 10_000),
    isometry: Sequence[tuple[int, int, Sequence[str]]] = ISOMETRY,
    rounds: int = 40,
    folder: Path | None = None,
) -> Path:
    """Run, print the tables, write the JSON file; its path is returned."""
    title = "Random subspaces, float32"
    print(f"{title}, {os.cpu_count()} cores")
    with Worker(sys.executable, SCRIPT) as worker:
        versions = worker.ask(do="status")["versions"]
        mapped = []
        for bits, turns, cases in maps:
            mapped.append(worker.ask(do="maps", size=2**bits, cases=cases, rounds=turns))
            print(maps_table(mapped[-1:]), flush=True)
        grown = [
            worker.ask(do="maps", size=2**bits, cases=[("hadamard", growth_d)], rounds=rounds)
            for bits in growth
        ]
        print(growth_table(grown), flush=True)
        shapes: dict[str, Record] = {
            "-".join(map(str, widths)): {"widths": widths, "batch": batch} for widths in networks
        }
        stepped = {
            f"{shape}, batch {batch}": worker.ask(do="steps", **what, cases=steps, rounds=rounds)
            for shape, what in shapes.items()
        }
        print(steps_table(stepped), flush=True)
        shapes["quadratic, D = 2^22"] = {"widths": [], "batch": 1}
        held = {
            f"{name}, hadamard": worker.ask(do="memory", **what, kind="hadamard", ds=memory_ds)
            for name, what in shapes.items()
        }
        print(memory_table(held), flush=True)
        spread = {
            f"{size}, {d}, {kind}": worker.ask(
                do="isometry", kind=kind, d=d, size=size, columns=250
            )
            for size, d, kinds in isometry
            for kind in kinds
        }
    tables = [maps_table(mapped), peers_table(mapped), growth_table(grown), steps_table(stepped)]
    tables += [memory_table(held), isometry_table(spread)]
    print("\n" + "\n\n".join(tables))
    content = {"title": title, "rounds": rounds, "tables": tables, "versions": {"ours": versions}}
    content |= {"maps": mapped, "growth": grown, "steps": stepped, "memory": held}
    return write("subspace", content | {"isometry": spread}, folder)
