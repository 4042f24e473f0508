"""Trajectories of SOAP's reference program, in PyTorch, by name (soap_torch.npz).

The arrays were made outside this repository by the authors' program, as the file's ``origin`` says;
compare_soap.py runs that program again and compares. For each CASE ``CASE/options`` (JSON, our
names), and for each of its tensors ``CASE/NAME/...``:

* ``init``, and ``grads``, one for each call (a closed loop has A, B, C: the gradient at X is
  A X B - C);
* ``float64``, ``float32``: the tensor before and after every call, in both precisions. float64 is
  the same program with its casts to single precision taken out;
* ``basisK``: that of axis K after call 1, in float64; ``factorK``, ``m``, ``v``: at the end, the
  moments in the last basis, whose columns have signs of their own.

In ARBITRARY cases the first factor is singular: the eigenvectors of its kernel are whatever LAPACK
returns, and a run can be repeated only from the stored basis.
"""

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

FILE = Path(__file__).resolve().parent / "soap_torch.npz"
STRICT = (
    *("square6", "square6_freq1", "square6_nobias", "onesided8x5", "tensor4x4x4"),
    "mlp_fixedgrads",
)
ARBITRARY = ("rect6x4_nullspace", "vector5_precondition1d")
CLOSED = "quadratic6_closedloop"


class Tensor(NamedTuple):
    """What is stored of one tensor."""

    init: np.ndarray
    grads: np.ndarray | None
    float64: np.ndarray
    float32: np.ndarray
    bases: list[np.ndarray | None]
    factors: list[np.ndarray | None]
    m: np.ndarray
    v: np.ndarray


@cache
def stored():
    """All arrays of the file."""
    with np.load(FILE, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def load(case):
    """The options and the tensors of a case, by name."""
    arrays = stored()
    names = {key.split("/")[1] for key in arrays if key.startswith(f"{case}/") and "init" in key}

    def tensor(name):
        at = f"{case}/{name}/"
        axes = range(arrays[at + "init"].ndim)
        sides = ([arrays.get(f"{at}{kind}{k}") for k in axes] for kind in ("basis", "factor"))
        plain = (arrays.get(at + kind) for kind in ("init", "grads", "float64", "float32"))
        return Tensor(*plain, *sides, arrays[at + "m"], arrays[at + "v"])

    return json.loads(str(arrays[f"{case}/options"])), {
        name: tensor(name) for name in sorted(names)
    }


def loop():
    """The gradient of the closed loop, as a function of X."""
    a, b, c = (np.asarray(stored()[f"{CLOSED}/{name}"], np.float64) for name in "ABC")
    return lambda x: a @ x @ b - c
