"""What ``import theorylab`` costs over ``import jax``, in fresh processes.

Target: at most 0.5 s (median), measured in a process that has imported jax already.
"""

import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import jax

from benchmarks._process import ROOT, environment
from benchmarks._report import table, verdict, write

TARGET = 0.5
STATEMENTS = (
    "import theorylab",
    "from theorylab import kernels, layers, empirical, predict, data",
)
PROGRAM = """
import time
start = time.perf_counter()
import jax
middle = time.perf_counter()
{statement}
print(middle - start, time.perf_counter() - middle)
"""


def seconds(statement: str) -> tuple[float, float]:
    """Wall seconds of ``import jax`` and then of `statement`, in one fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(statement=statement)],
        env={**environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    jax_seconds, ours = (float(word) for word in done.stdout.split())
    return jax_seconds, ours


def main(
    rounds: int = 7, statements: Sequence[str] = STATEMENTS, folder: Path | None = None
) -> Path:
    """Run, print the table, write the JSON file; its path is returned."""
    # One unmeasured run each, so that files are in memory and byte code is written.
    measured = {s: [seconds(s) for _ in range(rounds + 1)][1:] for s in statements}
    rows = []
    for statement, pairs in measured.items():
        jax_seconds, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append([statement, f"{jax_seconds:.3f}", f"{ours:.3f}", verdict(ours, TARGET)])
    shown = table(["import", "jax, s", "over it, s", "target"], rows)
    print(shown)
    content = {
        "title": "Import time, beside JAX's",
        "tables": [shown],
        "versions": {"ours": {"jax": jax.__version__}},
        "target": TARGET,
        "seconds": measured,
    }
    return write("import_time", content, folder)
