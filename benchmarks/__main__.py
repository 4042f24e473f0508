"""``python -m benchmarks``: all benchmarks; ``python -m benchmarks kernels``: one of them."""

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    convolutions,
    empirical,
    import_time,
    kernels,
    limits,
    optim,
    subspace,
    transport,
    transport_convergence,
)
from benchmarks._report import publish

BENCHMARKS: dict[str, Callable[[], Path]] = {
    "kernels": kernels.main,
    "convolutions": convolutions.main,
    "empirical": empirical.main,
    "transport": transport.main,
    "transport_convergence": transport_convergence.main,
    "optim": optim.main,
    "subspace": subspace.main,
    "limits": limits.main,
    "import_time": import_time.main,
}

parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}")
parser.add_argument("--publish", action="store_true", help="keep the tables for the docs")
arguments = parser.parse_args()
chosen = arguments.names or list(BENCHMARKS)
unknown = [name for name in chosen if name not in BENCHMARKS]
if unknown:
    parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
for name in chosen:
    result = BENCHMARKS[name]()
    if arguments.publish:
        print(f"published {publish(result)}")
