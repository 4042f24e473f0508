"""Kernels of plain networks against 50-digit arithmetic, frozen (generate_mpmath_dense.py)."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from theorylab import kernels as tk

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))
from architectures import build, digest, inputs  # noqa: E402
from generate_mpmath_dense import NETWORKS  # noqa: E402
from kernel_errors import error, parallel  # noqa: E402

WHICH = ("nngp", "ntk")
ANYWHERE = 1e-12
# A gap near 2 knows the angle's distance from pi to sqrt(eps) only: the NTK of kinked activations.
NEARLY_OPPOSITE = 1e-8


@pytest.fixture(scope="module")
def stored():
    with np.load(here / "mp_dense.npz", allow_pickle=False) as file:
        return dict(file)


def test_the_frozen_file_was_written_by_the_present_sources(stored):
    sources = digest(here / "generate_mpmath_dense.py", here / "architectures.py")
    assert str(stored["digest"]) == sources, "the generator changed: run `make oracles`"
    assert np.array_equal(stored["inputs/set"], inputs()["set"])


@pytest.mark.parametrize("name", NETWORKS)
def test_the_float64_kernel_has_twelve_digits_however_close_the_points_lie(stored, name):
    x = stored["inputs/set"]
    i, j = np.triu_indices(len(x))
    opposite = parallel(x, x)[i, j] & (np.sum(x[i] * x[j], axis=1) < 0)
    with jax.enable_x64(True):
        kernel = build(NETWORKS[name], tk).kernel(x)
    for which in WHICH:
        exact = stored[f"{name}/{which}"]
        diagonal = exact[i == j]
        e = error(np.asarray(getattr(kernel, which))[i, j], exact, diagonal[i], diagonal[j])
        excess = e / np.where(opposite, NEARLY_OPPOSITE, ANYWHERE)
        worst = np.argmax(np.where(np.isnan(e), np.inf, excess))
        assert excess[worst] <= 1, f"{which}: error {e[worst]:.2e} at {i[worst], j[worst]}"
