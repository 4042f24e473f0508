"""Writes nt_dense.npz: kernels of the frozen architectures by neural-tangents 0.6.5, in float64.

Runs in the isolated environment that make.sh builds (``make oracles``). Arrays, for each
architecture NAME:

* ``NAME/set/nngp``, ``NAME/set/ntk``: kernel_fn(set), upper triangle and diagonal, row by row;
* ``NAME/pair/nngp``, ``NAME/pair/ntk``: kernel_fn(left, right), all entries.

Beside them the inputs (``inputs/set`` ...), ``digest`` of the sources that made the file, and
``versions``.
"""

# ruff: noqa: T201

import sys
import warnings
from pathlib import Path

import jax
import numpy as np

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))
from architectures import ARCHITECTURES, build, digest, inputs  # noqa: E402

SOURCES = (here / "generate_nt_dense.py", here / "architectures.py")


def main():
    """Compute every kernel and write the file."""
    jax.config.update("jax_enable_x64", True)
    import neural_tangents as nt

    # Said at every sum of branches; in these architectures they are independent.
    warnings.filterwarnings("ignore", "`FanIn` layers assume independent inputs")
    points = inputs()
    arrays = {f"inputs/{name}": x for name, x in points.items()}
    for name, spec in ARCHITECTURES.items():
        kernel_fn = jax.jit(build(spec, nt.stax)[2], static_argnames="get")
        for case, x1, x2 in (
            ("set", points["set"], None),
            ("pair", points["left"], points["right"]),
        ):
            kernel = kernel_fn(x1, x2, get=("nngp", "ntk"))
            for which, value in zip(("nngp", "ntk"), kernel, strict=True):
                value = np.asarray(value)
                assert value.dtype == np.float64, (name, case, which)
                assert np.isfinite(value).all(), (name, case, which)
                if x2 is None:
                    # Both triangles of the reference differ by rounding alone; one is kept.
                    value = value[np.triu_indices(len(value))]
                arrays[f"{name}/{case}/{which}"] = value
    versions = {m.__name__: m.__version__ for m in (nt, jax, np)}
    arrays["versions"] = np.array([f"{k}=={v}" for k, v in versions.items()])
    arrays["digest"] = np.array(digest(*SOURCES))
    target = here / "nt_dense.npz"
    np.savez_compressed(target, **arrays)
    size = target.stat().st_size / 1e3
    print(f"{target.name}: {len(ARCHITECTURES)} architectures, {size:.0f} kB")


if __name__ == "__main__":
    main()
