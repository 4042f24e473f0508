"""Entropic optimal transport beside its peers, in one run and one process, float64.

Random assignments and Gaussian mixtures with 500 and 1000 points, pairs of MNIST digits (784
points) with squared L2 and with L1 distances; epsilon in {1e-2, 1e-3, 5e-4} of the largest cost.
Every solver is to meet both marginals within 1e-9 in L1, summed, which is measured in NumPy from
the plan that it returns. Peers: OTT-JAX in the log domain, plain and with momentum 1.5, compiled;
POT's Sinkhorn in the kernel domain and in the log domain; regot's sparse Newton. How their
thresholds and caps are chosen: :mod:`benchmarks._transport_worker`.

The measure is CPU-seconds of the process, all threads summed, of a steady call (median of five,
fewer where a call is slow: the table says how many); wall seconds stand beside it. Ours is the call
that a person makes, with its checks. A peer that stops at its cap is not converged: its time is a
lower bound, marked >, and its error is shown. POT's exact solver has no regularisation: another
problem, timed for comparison.
"""

import math
import os
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks._process import Worker
from benchmarks._report import table, verdict, write

SCRIPT = Path(__file__).resolve().parent / "_transport_worker.py"
PROBLEMS = (
    *("assignment 500", "assignment 1000", "mixtures 500", "mixtures 1000"),
    *("digits 2", "digits 1"),
)
EPSILONS = (1e-2, 1e-3, 5e-4)
PEERS = ("OTT", "OTT momentum 1.5", "POT kernel", "POT log", "regot SSNS")
EXACT, PASS = "exact (POT emd)", "one pass"
LIMIT = 6.0  # CPU-seconds of a call, after which a peer's iterations are cut off
# Epsilons, peer, least geometric mean of the peer's CPU-seconds over ours.
MEANS = (
    ((1e-3, 5e-4), "OTT", 10),
    ((1e-3, 5e-4), "OTT momentum 1.5", 3),
    ((1e-3,), "POT kernel", 1),
    ((5e-4,), "POT kernel", 2),
)
FASTER_THAN_REGOT, OF_THE_BEST = 0.9, 0.7
BATCH, BACKWARD = 1.2, 0.3

Record = dict[str, Any]
Cases = Mapping[tuple[str, float, int], Mapping[str, Record]]


def seconds(record: Record, clock: str = "cpu") -> float:
    """Median."""
    return statistics.median(record[clock])


def broken(record: Record) -> bool:
    """Whether a solver gave up, without having met the target or its cap."""
    return not record["converged"] and record["iterations"] < record["most"]


def ratio(records: Mapping[str, Record], peer: str, clock: str = "cpu") -> str:
    """A peer's time over ours, > where that is a lower bound."""
    if peer not in records:
        return ""
    if broken(records[peer]):
        return "fails"
    value = seconds(records[peer], clock) / seconds(records["ours"], clock)
    return f"{'' if records[peer]['converged'] else '>'}{value:.2f}"


def best_peer(records: Mapping[str, Record]) -> tuple[str, float] | None:
    """The fastest peer that converges, and its CPU-seconds over ours."""
    own = seconds(records["ours"])
    found = [(seconds(records[p]) / own, p) for p in PEERS if p in records]
    found = [(value, p) for value, p in found if records[p]["converged"]]
    return (min(found)[1], min(found)[0]) if found else None


def label(key: tuple[str, float, int]) -> str:
    """A case in words."""
    name, epsilon, seed = key
    return f"{name}, {epsilon:g}" + (f", seed {seed}" if seed else "")


def cases_table(cases: Cases) -> str:
    """A line for each case: what ours takes, and every peer's CPU-seconds over ours."""
    header = ["case, epsilon", "ours CPU s", "wall s", "lse passes", "products", "/ one pass"]
    header += [*PEERS, "fastest peer", "exact, CPU s"]
    rows = []
    for key, records in cases.items():
        own = records["ours"]
        worth = seconds(own) / max(seconds(records[PASS]), 1e-9)
        row = [label(key) + ("" if own["converged"] else " NOT CONVERGED")]
        row += [f"{seconds(own):.4f}", f"{seconds(own, 'wall'):.4f}"]
        row += [str(own["lse"]), str(own["products"]), f"{worth:.0f}"]
        row += [ratio(records, peer) for peer in PEERS]
        best = best_peer(records)
        row.append(f"{best[1]:.2f} ({best[0]})" if best else "")
        rows.append([*row, f"{seconds(records[EXACT]):.4f}" if EXACT in records else ""])
    return table(header, rows)


def solvers_table(cases: Cases) -> str:
    """A line for each case and solver."""
    header = ["case, epsilon", "solver", "CPU s", "wall s", "calls", "iterations", "L1 error"]
    header += ["CPU / ours"]
    rows = []
    for key, records in cases.items():
        for name, record in records.items():
            if name in (EXACT, PASS):
                continue
            bound = "" if record["converged"] or broken(record) else ">"
            row = [label(key), name, f"{bound}{seconds(record):.4f}"]
            row += [f"{bound}{seconds(record, 'wall'):.4f}", str(len(record["cpu"]))]
            row += [f"{bound}{record['iterations']}", f"{record['error']:.1e}"]
            rows.append([*row, "" if name == "ours" else ratio(records, name)])
    return table(header, rows)


def geometric_mean(values: Sequence[float]) -> float:
    """Of positive numbers."""
    return math.exp(statistics.fmean(math.log(value) for value in values))


def at_least(value: float, target: float) -> str:
    """In words, with the target beside it."""
    return f"{'met' if value >= target else 'MISSED'} (at least {target:g})"


def targets_table(cases: Cases) -> str:
    """What was asked for, beside what was measured, in CPU-seconds and in wall seconds."""
    rows = []
    for epsilons, peer, target in MEANS:
        met = [r for (_, epsilon, _), r in cases.items() if epsilon in epsilons and peer in r]
        counted = [r for r in met if not broken(r[peer])]
        if not counted:
            continue
        means = [
            geometric_mean([seconds(r[peer], c) / seconds(r["ours"], c) for r in counted])
            for c in ("cpu", "wall")
        ]
        bounds = sum(not r[peer]["converged"] for r in counted)
        fails = len(met) - len(counted)
        what = f"{peer} / ours, geometric mean at {' and '.join(f'{e:g}' for e in epsilons)}"
        note = f"{bounds} of {len(counted)} at the cap" if bounds else ""
        note += f"{', ' if note else ''}{fails} failed, left out" if fails else ""
        shown = [f"{'>' if bounds else ''}{mean:.2f}" for mean in means]
        rows.append([what, *shown, at_least(means[0], target), note])
    raced = [r for r in cases.values() if "regot SSNS" in r]
    if raced:
        shares = [
            statistics.fmean(
                r["ours"]["converged"]
                and (broken(r["regot SSNS"]) or seconds(r["regot SSNS"], c) > seconds(r["ours"], c))
                for r in raced
            )
            for c in ("cpu", "wall")
        ]
        row = ["share of cases faster than regot SSNS", *(f"{share:.2f}" for share in shares)]
        rows.append([*row, at_least(shares[0], FASTER_THAN_REGOT), ""])
    best = [(found[1], label(k), found[0]) for k, r in cases.items() if (found := best_peer(r))]
    if best:
        worst = min(best)
        row = ["fastest peer that converges / ours, worst case", f"{worst[0]:.2f}", ""]
        rows.append([*row, at_least(worst[0], OF_THE_BEST), f"{worst[1]}: {worst[2]}"])
    away = [label(k) for k, r in cases.items() if not r["ours"]["converged"]]
    row = ["cases in which ours met 1e-9", f"{len(cases) - len(away)} of {len(cases)}", ""]
    rows.append([*row, "met (all)" if not away else "MISSED (all)", "; ".join(away)])
    return table(["what", "CPU", "wall", "target", "note"], rows)


def extras_table(batches: Mapping[str, Record], gradients: Mapping[str, Record]) -> str:
    """Batches beside loops, and backward beside forward."""
    header = ["what", "CPU s", "of", "CPU s", "share, CPU", "share, wall", "target", "note"]
    rows = []
    for name, record in batches.items():
        cpu, wall = record["cpu"], record["wall"]
        share = cpu["batch"] / cpu["loop"]
        apart = ", ".join(f"{key} {value:.0e}" for key, value in record["apart"].items())
        note = f"apart by: {apart}; lse passes {min(record['passes'])} to "
        note += f"{max(record['passes'])}" + ("" if record["converged"] else "; NOT CONVERGED")
        row = [f"batch of {name}", f"{cpu['batch']:.4f}", "loop", f"{cpu['loop']:.4f}"]
        row += [f"{share:.2f}", f"{wall['batch'] / wall['loop']:.2f}"]
        rows.append([*row, verdict(share, BATCH), note])
    for name, record in gradients.items():
        for kind in ("value", "plan"):
            back, forward = {}, {}
            for clock in ("cpu", "wall"):
                forward[clock] = record[clock][kind]
                back[clock] = record[clock][f"{kind} and gradient"] - forward[clock]
            share = back["cpu"] / forward["cpu"]
            row = [f"backward of {kind}, {name}", f"{back['cpu']:.4f}", "forward"]
            row += [f"{forward['cpu']:.4f}", f"{share:.2f}"]
            rows.append([*row, f"{back['wall'] / forward['wall']:.2f}", verdict(share, BACKWARD)])
            rows[-1].append("")
    return table(header, rows)


def main(
    problems: Sequence[str] = PROBLEMS,
    epsilons: Sequence[float] = EPSILONS,
    seeds: Iterable[int] = (0,),
    rounds: int = 5,
    limit: float = LIMIT,
    batches: Sequence[tuple[str, int, int, float]] = (
        ("assignment", 128, 16, 1e-2),
        ("assignment", 128, 16, 1e-3),
        ("mixtures", 128, 16, 1e-2),
        ("mixtures", 128, 16, 1e-3),
    ),
    gradients: Sequence[tuple[str, float]] = (
        ("assignment 500", 1e-3),
        ("mixtures 500", 1e-3),
        ("digits 2", 1e-3),
        ("digits 1", 1e-3),
    ),
    with_peers: bool = True,
    folder: Path | None = None,
) -> Path:
    """Run, print the tables, write the JSON file; its path is returned."""
    title = "Entropic optimal transport to an L1 error of 1e-9, float64"
    print(f"{title}, {os.cpu_count()} cores")
    cases: dict[tuple[str, float, int], dict[str, Record]] = {}
    with Worker(sys.executable, SCRIPT) as worker:
        status = worker.ask(do="status")
        away = status["missing"]
        if not with_peers or away:
            without = ", ".join(away) if with_peers else "all peers"
            print(f"WITHOUT {without}: {status['how']}")
        for name in problems:
            for seed in seeds:
                for epsilon in epsilons:
                    what = {"name": name, "epsilon": epsilon, "seed": seed, "rounds": rounds}
                    records = worker.ask(do="case", limit=limit, peers=with_peers, **what)
                    cases[name, epsilon, seed] = records
                    print(solvers_table({(name, epsilon, seed): records}), flush=True)
        batched = {
            f"{count} {family}, n = {n}, {epsilon:g}": worker.ask(
                do="batch", family=family, n=n, count=count, epsilon=epsilon, rounds=rounds
            )
            for family, n, count, epsilon in batches
        }
        back = {
            f"{name}, {epsilon:g}": worker.ask(
                do="backward", name=name, epsilon=epsilon, seed=0, rounds=rounds
            )
            for name, epsilon in gradients
        }
    tables = [cases_table(cases), targets_table(cases), extras_table(batched, back)]
    tables.append(solvers_table(cases))
    print("\n" + "\n\n".join(tables))
    content = {"title": title, "rounds": rounds, "limit": limit, "tables": tables}
    content |= {"versions": status["versions"], "batches": batched, "gradients": back}
    content |= {"cases": {label(key): records for key, records in cases.items()}}
    return write("transport", content, folder)
