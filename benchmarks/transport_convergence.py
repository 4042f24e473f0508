"""Does Newton's method get there, with no tuning between cases: every family, size, epsilon, seed.

Families are those of tests/transport/families.py, costs scaled to a maximum of 1: random
assignment and mixtures of Gaussians at n = 500 and 1000, pairs of MNIST digits (784 points, a
random pair for each seed, 0.01 added to every pixel before masses are normalised) with squared
Euclidean and with Manhattan costs. The error is that of both marginals, L1, summed, of the plan
that NumPy makes of the potentials in float64. Budgets are on passes and products (steps of
conjugate gradients and sweeps in the kernel domain, a pair of products each).
"""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks._report import table, write
from tests.transport import families
from theorylab import transport

FAMILIES = (
    "assignment 500",
    "assignment 1000",
    "mixtures 500",
    "mixtures 1000",
    "digits 2",
    "digits 1",
)
EPSILONS = (1e-2, 1e-3, 5e-4, 1e-4)
BOUND = {"float64": 1e-9, "float32": 2e-5}


def budget(name: str, epsilon: float) -> tuple[int, int] | None:
    """Passes and products; none is set at 1e-4, and for Manhattan costs at 1e-2."""
    if epsilon < 5e-4 or (name == "digits 1" and epsilon == 1e-2):
        return None
    if name == "digits 1":
        return (200, 1500) if epsilon == 1e-3 else (300, 2500)
    return 80, 300


def bound(dtype: str, epsilon: float) -> float:
    """The largest error asked for; float32 is let to 5e-5 at 5e-4 and below."""
    return 5e-5 if dtype == "float32" and epsilon <= 5e-4 else BOUND[dtype]


def solved(name: str, epsilon: float, seed: int, dtype: str) -> dict[str, Any]:
    """One problem: counts, status, error by NumPy, and CPU-seconds of a second call."""
    cost, a, b = families.problem(name, seed)
    given = tuple(np.asarray(v, dtype) for v in (cost, a, b))
    options: dict[str, Any] = {"epsilon": epsilon, "tol": bound(dtype, epsilon)}
    s = jax.block_until_ready(transport.solve(*given, **options))
    start = time.process_time()
    jax.block_until_ready(transport.solve(*given, **options).f)
    seconds = time.process_time() - start
    f, g, rows, columns, costs = (np.asarray(v, np.float64) for v in (s.f, s.g, s.a, s.b, given[0]))
    plan = (
        rows[:, None]
        * columns
        * np.exp((f[:, None] + g - costs) / np.float64(given[0].dtype.type(epsilon)))
    )
    error = np.abs(plan.sum(1) - rows).sum() + np.abs(plan.sum(0) - columns).sum()
    return {
        "passes": int(s.num_lse_passes),
        "products": int(s.num_matvec_passes),
        "steps": int(s.num_steps),
        "status": transport.Status(int(s.status)).name,
        "error": float(error),
        "cpu": seconds,
    }


def main(
    names: Sequence[str] = FAMILIES,
    epsilons: Sequence[float] = EPSILONS,
    seeds: int = 5,
    folder: Path | None = None,
) -> Path:
    """Run, print medians and the worst seeds, write the JSON file; its path is returned."""
    rows, runs, missed = [], [], 0
    for dtype in ("float64", "float32"):
        with jax.enable_x64(dtype == "float64"):
            for name in names:
                for epsilon in epsilons:
                    every = [solved(name, epsilon, seed, dtype) for seed in range(seeds)]
                    runs += [
                        {"dtype": dtype, "family": name, "epsilon": epsilon, "seed": k} | one
                        for k, one in enumerate(every)
                    ]
                    rows.append(row := _row(dtype, name, epsilon, every))
                    missed += row[-1].startswith("MISSED")
                jax.clear_caches()
    header = [
        "family, epsilon",
        "dtype",
        "converged",
        "passes: median",
        "worst",
        "products: median",
        "worst",
        "worst error",
        "median CPU s",
        "budget",
    ]
    shown = table(header, rows)
    print(shown)
    print(f"{missed} of {len(rows)} rows missed")
    content = {
        "title": f"Convergence of Newton's method, {seeds} seeds",
        "tables": [shown],
        "versions": {"ours": {"jax": jax.__version__}},
        "runs": runs,
    }
    return write("transport_convergence", content, folder)


def _row(dtype: str, name: str, epsilon: float, every: list[dict[str, Any]]) -> list[str]:
    passes, products = ([one[k] for one in every] for k in ("passes", "products"))
    good = [one for one in every if one["status"] == "SUCCESS"]
    # What is called converged must be, up to what evaluation in another precision changes.
    slack = 1.5 if dtype == "float32" else 1.01
    wrong = [one for one in good if one["error"] > slack * bound(dtype, epsilon)]
    limits = budget(name, epsilon) if dtype == "float64" else None
    said = "none"
    if limits is not None:
        met = len(good) == len(every) and max(passes) <= limits[0] and max(products) <= limits[1]
        said = f"{'met' if met else 'MISSED'} ({limits[0]} / {limits[1]})"
    if wrong:
        said = f"MISSED: {len(wrong)} wrongly converged"
    return [
        f"{name}, {epsilon:g}",
        dtype,
        f"{len(good)} of {len(every)}",
        f"{statistics.median(passes):g}",
        f"{max(passes)}",
        f"{statistics.median(products):g}",
        f"{max(products)}",
        f"{max(one['error'] for one in every):.1e}",
        f"{statistics.median(one['cpu'] for one in every):.3f}",
        said,
    ]
