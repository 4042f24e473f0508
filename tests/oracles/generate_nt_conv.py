"""Writes nt_conv.npz: kernels of architectures_conv.py by neural-tangents 0.6.5, in float64.

Runs in the isolated environment that make.sh builds (``make oracles``). Arrays, for each case NAME:

* ``NAME/set/nngp``, ``NAME/set/ntk``: the kernel of its points; upper triangle and diagonal, row by
  row, or (n, n, *S, *S') where the output has spatial axes;
* ``NAME/set/near``: entries that average a pair of patches which a kinked activation met within
  1e-3 of parallel (by textbook.py, which knows every pair on the way);
* for the names in `PAIRS` ``NAME/pair/...``: the kernel of two sets, all entries, and
  ``NAME/pair/nngp1`` ... ``ntk2``: its diagonals E z z of the first and the second set.

The predecessor keeps spatial axes zipped, (n1, n2, H, H', W, W'), and a convolution of a full
covariance reverses the order of the pairs; `unzip` gives ours. Every array is compared with the
textbook recursion before it is written, so a wrong order cannot pass.
"""

# ruff: noqa: T201

import sys
import warnings
from pathlib import Path

import jax
import numpy as np

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))
from architectures import build, digest  # noqa: E402
from architectures_conv import CASES, PAIRS  # noqa: E402
from images import case_pair, case_points, points  # noqa: E402
from kernel_errors import own, spatial_error  # noqa: E402
from textbook import kernels as textbook  # noqa: E402

SOURCES = tuple(
    here / f"{name}.py"
    for name in ("generate_nt_conv", "architectures", "architectures_conv", "images", "textbook")
)
WHICH = ("nngp", "ntk")
# The textbook recursion in float64 loses half the digits of nearly parallel pairs.
SAME_QUANTITY = 1e-6


def unzip(array, reverse):
    """(n1, n2, *S, *S') from zipped and perhaps reversed pairs of spatial axes."""
    firsts = list(range(2, array.ndim, 2))
    if reverse:
        firsts = firsts[::-1]
    return np.transpose(array, (0, 1, *firsts, *(axis + 1 for axis in firsts)))


def stack_points(x1, x2, layout):
    """Both sets along the batch axis, and the number of points in the first."""
    axis = 0 if layout is None else layout.index("N")
    return np.concatenate([x1, x2], axis=axis), x1.shape[axis]


def kernel_arrays(name, kernel_fn, x1, x2):
    """The two kernels in our axis order, near entries and diagonals, checked."""
    case = CASES[name]
    kernel = kernel_fn(x1, x2)
    ours = [unzip(np.asarray(getattr(kernel, w)), kernel.is_reversed) for w in WHICH]
    together, n = (x1, None) if x2 is None else stack_points(x1, x2, case.layout)
    *expected, near = textbook(case.spec, together, case.layout)
    rows, columns = slice(None, n), slice(n, None)
    diagonals = {}
    for which, value, reference in zip(WHICH, ours, expected, strict=True):
        assert value.dtype == np.float64, (name, which)
        assert np.isfinite(value).all(), (name, which)
        d = own(reference)
        diagonals |= {f"{which}1": d[rows], f"{which}2": d[columns] if n else d}
        reference = reference[rows, columns] if n else reference
        assert value.shape == reference.shape, (name, value.shape, reference.shape)
        e = spatial_error(value, reference, diagonals[f"{which}1"], diagonals[f"{which}2"])
        assert e.max() < SAME_QUANTITY, (name, which, e.max())
    return dict(zip(WHICH, ours, strict=True)), near[rows, columns] if n else near, diagonals


def main():
    """Compute every kernel and write the file."""
    jax.config.update("jax_enable_x64", True)
    import neural_tangents as nt

    # Said at every sum of branches; in these architectures they are independent.
    warnings.filterwarnings("ignore", "`FanIn` layers assume independent inputs")
    # Said of its own batching, which is not used here.
    warnings.filterwarnings("ignore", "!!! Non-leading")
    arrays = {f"inputs/{name}": x for name, x in points().items()}
    for name, case in CASES.items():
        kernel_fn = jax.jit(build(case.spec, nt.stax)[2])
        values, near, _ = kernel_arrays(name, kernel_fn, case_points(name), None)
        n = len(near)
        keep = np.triu_indices(n) if near.ndim == 2 else ...
        for which, value in (*values.items(), ("near", near)):
            # Both triangles of the reference differ by rounding alone; one is kept.
            arrays[f"{name}/set/{which}"] = value[keep]
        if name in PAIRS:
            values, near, diagonals = kernel_arrays(name, kernel_fn, *case_pair(name))
            for which, value in (*values.items(), ("near", near), *diagonals.items()):
                arrays[f"{name}/pair/{which}"] = value
    versions = {m.__name__: m.__version__ for m in (nt, jax, np)}
    arrays["versions"] = np.array([f"{k}=={v}" for k, v in versions.items()])
    arrays["digest"] = np.array(digest(*SOURCES))
    target = here / "nt_conv.npz"
    np.savez_compressed(target, **arrays)
    size = target.stat().st_size / 1e3
    print(f"{target.name}: {len(CASES)} architectures, {size:.0f} kB")


if __name__ == "__main__":
    main()
