"""Compares the two references: neural-tangents' frozen arrays against 50-digit arithmetic.

A tool, run by hand in the oracle environment after `make oracles`. It evaluates the textbook
recursion on nt_dense.npz's own points, for every architecture without branches in the NTK
parameterization, and prints the worst |difference| / sqrt(K_ii K_jj) of the predecessor, away from
parallel inputs and at them.
"""

# ruff: noqa: T201

import sys
from pathlib import Path

import mpmath as mp
import numpy as np

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))
from architectures import ARCHITECTURES  # noqa: E402
from generate_mpmath_dense import DIGITS, kernels  # noqa: E402
from kernel_errors import error, parallel  # noqa: E402


def plain(spec):
    """True for a network without branches in the NTK parameterization."""
    layers = spec[1:]
    return not any(
        layer[0] in {"serial", "parallel", "FanOut", "FanInSum"}
        or (isinstance(layer[-1], dict) and layer[-1].get("parameterization") == "standard")
        for layer in layers
    )


def main():
    """Print one line an architecture."""
    mp.mp.dps = DIGITS
    titles = ("nngp", "at parallel", "ntk", "at parallel")
    print(f"{'architecture':30}", *(f"{title:>12}" for title in titles))
    with np.load(here / "nt_dense.npz", allow_pickle=False) as stored:
        x = stored["inputs/set"]
        i, j = np.triu_indices(len(x))
        near = parallel(x, x)[i, j]
        for name, spec in ARCHITECTURES.items():
            if not plain(spec):
                continue
            worst = []
            for which, exact in zip(("nngp", "ntk"), kernels(spec, x), strict=True):
                diagonal = exact[i == j]
                e = error(stored[f"{name}/set/{which}"], exact, diagonal[i], diagonal[j])
                worst += [e[~near].max(), e[near].max()]
            print(f"{name:30}", *(f"{value:12.1e}" for value in worst))


if __name__ == "__main__":
    main()
