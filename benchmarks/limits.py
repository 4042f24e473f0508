"""Limits of infinite width: what a width costs, or does not.

One process, float32. Programs take turns over several rounds; shown are the least wall time of each
and the median of its CPU-seconds (all threads), and both of the first call, compilation included.
Targets in seconds are held by the CPU-seconds of the first call, which other programs on a busy
machine hardly stretch. No public package computes these limits; beside ours stands the dense
network.

* `linear_gram`: widths 2^6 .. 2^32, 27 of them, 50 draws each, 100 steps on 16 inputs and 10
  outputs. Asked: all of it, first call included, under 5 s. Beside it the slope in the width of the
  root mean square distance of outputs to `linear_mup`, which is to be -1/2; it is fitted up to
  2^24, as float32 holds no distance below 1e-7.
* `conditioned_mlp`: 2 hidden tanh layers, 4 points, 8 steps. Asked at n = 131072: under 5 s, first
  call included. Its state beside the n x n matrix of a dense network, in float64 137 GB.
* Cost against n at 8 steps, of ours and of the dense network, and against the number of steps T at
  one n, with fitted exponents. Expected: n, and T^2, as each of T steps works with the slots of all
  of them, 4 T.
"""

import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks._process import Worker
from benchmarks._report import growth_exponent, table, verdict, write

SCRIPT = Path(__file__).resolve().parent / "_limits_worker.py"
SECONDS = 5.0
FITTED = 24  # log2 of the largest width in the fitted slope, in float32

Record = dict[str, Any]


def gram_table(found: Record) -> str:
    """One line for all widths."""
    header = ["linear_gram", "draws", "steps", "first call s", "CPU s", "later s", "slope"]
    header += ["target"]
    least = found["least"]
    kept = found["away"][: max(2, FITTED - least + 1)]
    slope = growth_exponent([2.0 ** (least + k) for k in range(len(kept))], kept)
    row = [f"{found['widths']} widths, 2^{least} .. 2^{found['most']}"]
    row += [str(found["draws"]), str(found["steps"]), f"{found['first']:.2f}"]
    row += [f"{found['first_cpu']:.2f}"]
    row += [f"{min(found['wall']):.2f}", f"{slope:.3f}", verdict(found["first_cpu"], SECONDS)]
    return table(header, [row])


def size_words(count: float) -> str:
    """Bytes in the unit that suits them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.3g} {unit}"


def large_table(found: Mapping[str, Record]) -> str:
    """The widest network: seconds, its state, the matrix that it does without."""
    header = ["conditioned_mlp", "steps", "first call s", "CPU s", "later s", "CPU s", "state"]
    header += ["matrix, float64", "target"]
    rows = []
    for one in found.values():
        row = [
            f"n = {one['width']}",
            str(one["steps"]),
            f"{one['first']:.2f}",
            f"{one['first_cpu']:.2f}",
        ]
        row += [f"{min(one['wall']):.2f}", f"{statistics.median(one['cpu']):.2f}"]
        row += [size_words(one["bytes"]), size_words(8.0 * one["width"] ** 2)]
        word = verdict(one["first_cpu"], SECONDS) if one["status"] == 0 else "MISSED (status)"
        rows.append([*row, word])
    return table(header, rows)


def growth_table(name: str, found: Mapping[str, Record], axis: str) -> str:
    """A line for each size, and the exponents in ``axis``, "width" or "steps"."""
    header = [name, "wall ms", "CPU ms", "held"]
    rows = [
        [
            f"n = {one['width']}, {one['steps']} steps",
            f"{1e3 * min(one['wall']):.2f}",
            f"{1e3 * statistics.median(one['cpu']):.2f}",
            size_words(one["bytes"]),
        ]
        for one in found.values()
    ]
    sizes = [one[axis] for one in found.values()]
    if len(sizes) > 1:
        costs = [
            [min(one["wall"]) for one in found.values()],
            [statistics.median(one["cpu"]) for one in found.values()],
            [one["bytes"] for one in found.values()],
        ]
        exponents = [f"{growth_exponent(sizes, cost):.2f}" for cost in costs]
        rows.append([f"exponent in the {'width' if axis == 'width' else 'steps'}", *exponents])
    return table(header, rows)


def main(
    gram: Mapping[str, int] | None = None,
    large: int = 131_072,
    widths: Sequence[int] = (2**13, 2**14, 2**15, 2**16, 2**17),
    dense: Sequence[int] = (512, 1024, 2048),
    steps: Sequence[int] = (8, 16, 32, 64),
    step_width: int = 8192,
    points: int = 4,
    rounds: int = 5,
    folder: Path | None = None,
) -> Path:
    """Run, print the tables, write the JSON file; its path is returned."""
    title = "Limits of infinite width, float32"
    print(f"{title}, {os.cpu_count()} cores")
    asked = gram or {"least": 6, "most": 32, "draws": 50, "steps": 100, "d_in": 16, "d_out": 10}
    few = {"points": points, "steps": min(steps)}
    with Worker(sys.executable, SCRIPT) as worker:
        versions = worker.ask(do="status")["versions"]
        linear = worker.ask(do="gram", **asked)
        tables = [gram_table(linear)]

        def timed(cases: Sequence[Record], kind: str = "simulated") -> Record:
            named = {f"{case['width']}, {case['steps']}": case for case in cases}
            return worker.ask(do="conditioned", cases=named, rounds=rounds, kind=kind)

        found = {
            "large": timed([{"width": large, **few}]),
            "widths": timed([{"width": n, **few} for n in widths]),
            "dense": timed([{"width": n, **few} for n in dense], "dense"),
            "steps": timed([{"width": step_width, "points": points, "steps": t} for t in steps]),
        }
    tables += [
        large_table(found["large"]),
        growth_table("conditioned_mlp, by width", found["widths"], "width"),
        growth_table("dense network, by width", found["dense"], "width"),
        growth_table("conditioned_mlp, by steps", found["steps"], "steps"),
    ]
    print("\n\n".join(tables))
    content = {"title": title, "rounds": rounds, "tables": tables, "versions": {"ours": versions}}
    return write("limits", content | {"gram": linear} | found, folder)
