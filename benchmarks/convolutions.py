"""Time and memory of convolutional kernels beside neural-tangents 0.6.5, in one run.

Float32 normal images; filters 3 x 3, padding SAME, ReLU, W_std = sqrt 2. How the sides are run and
what is measured: :mod:`benchmarks.kernels`. The pooled networks need all pairs of positions; how
their cost is split between the kernel's own memory and the layers is shown by the last column, the
ratio of our CPU-seconds to one pass (a multiplication and an addition) over as many numbers as the
widest layer holds.
"""

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from benchmarks._process import peer_exists
from benchmarks._report import table, write
from benchmarks.kernels import HOW, cases_table, check_agreement, measure
from theorylab import kernels as tk

# Network, shape of the images, target for kernel(x), target for kernel(x1, x2); CPU-seconds over
# the peer's.
CASES: Mapping[str, tuple[str, tuple[int, ...], float, float]] = {
    "5 conv + Flatten, n = 32, 16x16x3": ("flat", (32, 16, 16, 3), 1 / 3, 1 / 3),
    "5 conv + GlobalAvgPool, n = 32, 8x8x3": ("pooled", (32, 8, 8, 3), 1 / 15, 1 / 10),
    "5 conv + GlobalAvgPool, n = 8, 16x16x3": ("pooled", (8, 16, 16, 3), 1 / 15, 1 / 10),
    "Myrtle-5, n = 2, 32x32x3": ("myrtle", (2, 32, 32, 3), 1 / 15, 1 / 10),
}


def seconds_of_one_pass(count: int) -> float:
    """CPU-seconds of a multiplication and an addition over ``count`` float32 numbers."""
    step = jax.jit(lambda a: a * 1.0001 + 0.5)
    numbers = jnp.ones(count, jnp.float32)
    jax.block_until_ready(step(numbers))
    times = []
    for _ in range(5):
        start = time.process_time()
        jax.block_until_ready(step(numbers))
        times.append(time.process_time() - start)
    return statistics.median(times)


def numbers_held(shape: Sequence[int], network: str, general: bool) -> int:
    """Numbers in the widest layer of all pairs of images, or of the upper triangle of them."""
    n, positions = shape[0], shape[1] * shape[2]
    pairs = n * n if general else n * (n + 1) // 2
    return pairs * (positions if network == "flat" else positions**2)


def main(
    cases: Mapping[str, tuple[str, tuple[int, ...], float, float]] = CASES,
    rounds: int = 5,
    with_peer: bool | None = None,
    folder: Path | None = None,
) -> Path:
    """Run, print the tables, write the JSON file; its path is returned."""
    with_peer = peer_exists() if with_peer is None else with_peer
    sides = ("ours", "peer-both", "peer-ntk") if with_peer else ("ours",)
    title = "NTK of convolutional ReLU networks, float32"
    print(f"{title}, {os.cpu_count()} cores")
    if not with_peer:
        print(f"OURS ALONE, no ratios: {HOW}")
    measured, targets, passes = {}, {}, []
    for case, (network, shape, symmetric, both) in cases.items():
        for general, call, target in (
            (False, "kernel(x)", symmetric),
            (True, "kernel(x1, x2)", both),
        ):
            name = f"{call},  {case}"
            measured[name] = measure(sides, network, shape, None, general, rounds)
            check_agreement(measured[name])
            targets[name] = target
            ours = statistics.median(measured[name]["ours"]["cpu"])
            one = seconds_of_one_pass(numbers_held(shape, network, general))
            passes.append([name, f"{ours:.4f}", f"{one:.4f}", f"{ours / max(one, 1e-9):.0f}"])
    header = ["ours beside one pass over its numbers", "CPU s", "one pass", "ratio"]
    tables = [cases_table(measured, targets), table(header, passes)]
    print("\n\n".join(tables))
    plans = {
        case: tk.plan(_network(network), shape)._asdict() | {"layers": None}
        for case, (network, shape, _, _) in cases.items()
    }
    content = {"rounds": rounds, "targets": targets, "cases": measured, "plans": plans}
    first = next(iter(measured.values()))
    versions = {side: record["versions"] for side, record in first.items()}
    content |= {"title": title, "tables": tables, "versions": versions}
    return write("convolutions", content, folder)


def _network(name: str) -> tk.Layer:
    from benchmarks._kernel_worker import NETWORKS

    return NETWORKS[name](tk, None)
