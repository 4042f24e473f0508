"""``python -m benchmarks``: all benchmarks; ``python -m benchmarks kernels``: one of them."""

import argparse
from collections.abc import Callable

from benchmarks import convolutions, import_time, kernels

BENCHMARKS: dict[str, Callable[[], object]] = {
    "kernels": kernels.main,
    "convolutions": convolutions.main,
    "import_time": import_time.main,
}

parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(BENCHMARKS)}")
chosen = parser.parse_args().names or list(BENCHMARKS)
unknown = [name for name in chosen if name not in BENCHMARKS]
if unknown:
    parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
for name in chosen:
    BENCHMARKS[name]()
