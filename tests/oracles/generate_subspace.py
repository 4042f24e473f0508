"""Writes subspace.npz: what P theta is, for every kind of projection, version by version.

From the root of the checkout, with the environment of ``make test``:

    .venv/bin/python tests/oracles/generate_subspace.py

These numbers are ours: they hold a checkpoint's promise, that a seed means the same for ever. The
file is made again when a kind is added, or a kind's version is raised, and for nothing else; what
is already frozen for a version must come out the same within 2e-7, which is checked here.

* ``kinds``: their names, as JSON; ``theta``: the coordinates (6,);
* ``KIND_SCOPE``: P theta (1230,), ``b`` before ``w``; ``KIND_SCOPE_record``: what rebuilds P;
* ``versions``: of JAX and jaxlib that made it.
"""

# ruff: noqa: T201

import json
import sys
from pathlib import Path

import jax
import jaxlib
import numpy as np

here = Path(__file__).resolve().parent
sys.path[:0] = [str(here.parent.parent)]
from theorylab import subspace  # noqa: E402
from theorylab.subspace._record import KINDS  # noqa: E402

TARGET = here / "subspace.npz"
LIKE = {"w": jax.ShapeDtypeStruct((40, 30), "float32"), "b": jax.ShapeDtypeStruct((30,), "float32")}
# d must have factors for the Kronecker product.
D, SEED = 6, 20181


def main():
    """Draw, compare with what is frozen, write."""
    theta = np.linspace(-1, 1, D, dtype=np.float32)
    arrays = {"kinds": json.dumps(list(KINDS)), "theta": theta}
    arrays["versions"] = json.dumps({"jax": jax.__version__, "jaxlib": jaxlib.__version__})
    for kind in KINDS:
        for scope in ("global", "leaf"):
            make = getattr(subspace, kind)
            p = make(D, like=LIKE, key=jax.random.key(SEED), scope=scope)
            tree = p.apply(theta)
            arrays[f"{kind}_{scope}"] = np.concatenate([np.ravel(tree["b"]), np.ravel(tree["w"])])
            arrays[f"{kind}_{scope}_record"] = json.dumps(subspace.record(p))
    if TARGET.exists():
        with np.load(TARGET, allow_pickle=False) as old:
            for name in set(old.files) & set(arrays):
                if (
                    f"{name}_record" in old.files
                    and str(old[f"{name}_record"]) == arrays[f"{name}_record"]
                ):
                    np.testing.assert_allclose(arrays[name], old[name], rtol=0, atol=2e-7)
    np.savez_compressed(TARGET, **arrays)
    print(f"{TARGET.name}: {len(KINDS)} kinds, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main()
