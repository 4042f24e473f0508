"""Compares the two references of the convolutional cases: neural-tangents and 50 digits.

A tool, run by hand in the oracle environment after `make oracles` (about ten minutes; names as
arguments restrict it). It evaluates textbook.py in 50-digit numbers on the points of nt_conv.npz
and prints the worst |difference| / sqrt(K_ii K_jj) of the predecessor, in entries without and with
a nearly parallel pair of patches.
"""

# ruff: noqa: T201

import sys
from pathlib import Path

import numpy as np

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))
from architectures_conv import CASES  # noqa: E402
from images import case_points  # noqa: E402
from kernel_errors import own, spatial_error  # noqa: E402
from textbook import exact, kernels  # noqa: E402


def main():
    """Print one line a case."""
    digits = exact(50)
    titles = ("nngp", "at near", "ntk", "at near")
    print(f"{'architecture':34}", *(f"{title:>10}" for title in titles))
    with np.load(here / "nt_conv.npz", allow_pickle=False) as stored:
        for name in sys.argv[1:] or CASES:
            case = CASES[name]
            *true, near = kernels(case.spec, case_points(name), case.layout, digits)
            keep = np.triu_indices(len(near)) if near.ndim == 2 else ...
            worst = []
            for which, value in zip(("nngp", "ntk"), true, strict=True):
                value = value.astype(float)
                theirs = np.array(value)
                theirs[keep] = stored[f"{name}/set/{which}"]
                e = spatial_error(theirs, value, own(value), own(value))
                worst += [e[~near].max(initial=0.0), e[near].max(initial=0.0)]
            print(f"{name:34}", *(f"{value:10.1e}" for value in worst), flush=True)


if __name__ == "__main__":
    main()
