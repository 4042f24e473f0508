"""Kernels of fully connected networks against neural-tangents 0.6.5 (generate_nt_dense.py)."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from theorylab import kernels as tk

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))
from architectures import ARCHITECTURES, build, digest, inputs  # noqa: E402
from kernel_errors import error, parallel  # noqa: E402

WHICH = ("nngp", "ntk")
AWAY, AT_PARALLEL = 1e-12, 1e-7

# Where the predecessor itself is farther than 1e-12 from 50-digit arithmetic (printed by
# compare_references.py): a sine without bias at a point scaled by 1e-3, whose kernel is the
# difference of two exponentials near 1.
PREDECESSOR = {"sin_1": 1e-10}


@pytest.fixture(scope="module")
def stored():
    with np.load(here / "nt_dense.npz", allow_pickle=False) as file:
        return dict(file)


def full(triangle):
    """A symmetric matrix from its upper triangle, row by row."""
    n = round((np.sqrt(8 * len(triangle) + 1) - 1) / 2)
    matrix = np.zeros((n, n))
    matrix[np.triu_indices(n)] = triangle
    return matrix + np.triu(matrix, 1).T


def rounded(value):
    """The nearest number that single precision holds."""
    return float(np.float32(value))


def assert_close(ours, theirs, diagonals, near, name):
    """Both tolerances at once; the message names the worst entry."""
    away = PREDECESSOR.get(name.split()[0], AWAY)
    e = error(ours, theirs, diagonals[0][:, None], diagonals[1][None])
    excess = e / np.where(near, AT_PARALLEL, away)
    worst = np.unravel_index(np.nanargmax(np.where(np.isnan(excess), np.inf, excess)), e.shape)
    assert excess[worst] <= 1, f"{name}: error {e[worst]:.2e} at {worst}, parallel: {near[worst]}"


def test_the_frozen_file_was_written_by_the_present_sources(stored):
    sources = digest(here / "generate_nt_dense.py", here / "architectures.py")
    assert str(stored["digest"]) == sources, "architectures changed: run `make oracles`"
    assert {name.split("/")[0] for name in stored} >= set(ARCHITECTURES)
    for name, x in inputs().items():
        assert np.array_equal(x, stored[f"inputs/{name}"])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_float64_kernel_of_a_set_equals_the_predecessors(stored, name):
    x = stored["inputs/set"]
    with jax.enable_x64(True):
        kernel = build(ARCHITECTURES[name], tk).kernel(x)
    for which in WHICH:
        ours, theirs = np.asarray(getattr(kernel, which)), full(stored[f"{name}/set/{which}"])
        assert ours.dtype == np.float64
        assert np.array_equal(ours, ours.T)
        diagonal = np.diag(theirs)
        assert_close(ours, theirs, (diagonal, diagonal), parallel(x, x), f"{name} {which}")


# The engine has one code for two sets, whatever the layers: one architecture of each kind.
PAIRS = ("linear_three_layers", "relu_3_standard", "mixed_6", "residual_nested", "three_branches")


@pytest.mark.parametrize("name", PAIRS)
def test_the_float64_kernel_of_two_sets_equals_the_predecessors(stored, name):
    x1, x2 = stored["inputs/left"], stored["inputs/right"]
    with jax.enable_x64(True):
        net = build(ARCHITECTURES[name], tk)
        kernel = net.kernel(x1, x2)
        # The diagonals for the measure, one point a time, all with one compiled program.
        own1, own2 = ([net.kernel(x[i : i + 1]) for i in range(len(x))] for x in (x1, x2))
    for which in WHICH:
        ours, theirs = getattr(kernel, which), stored[f"{name}/pair/{which}"]
        d1, d2 = (np.array([getattr(k, which)[0, 0] for k in own]) for own in (own1, own2))
        assert_close(ours, theirs, (d1, d2), parallel(x1, x2), f"{name} {which}")


# Every activation at its deepest, and branches.
SINGLE = (
    *("relu_10", "relu_10_bias", "relu_2_extreme_scales", "leaky_relu_4_negative_slope"),
    *("abs_10", "abrelu_4_negative_b", "erf_10_chaotic", "erf_4_general_signs", "gelu_10"),
    *("sin_5_chaotic", "cos_3_phase", "rbf_3", "mixed_6", "residual_standard"),
)


@pytest.mark.parametrize("name", SINGLE)
def test_the_float32_kernel_is_within_1e_6_and_stays_positive(stored, name):
    x = stored["inputs/set"].astype(np.float32)
    # A gap near 2 is known to eps, so the angle's distance from pi to less: a wider bound there.
    bound = np.where(parallel(x, x) & (x @ x.T < 0), 5e-6, 1e-6)
    ours = build(ARCHITECTURES[name], tk).kernel(x)
    with jax.enable_x64(True):
        exact = build(ARCHITECTURES[name], tk, rounded).kernel(x.astype(np.float64))
    for which in WHICH:
        k32, k64 = np.asarray(getattr(ours, which)), np.asarray(getattr(exact, which))
        assert k32.dtype == np.float32
        diagonal = np.diag(k64)
        e = error(k32, k64, diagonal[:, None], diagonal[None])
        excess = np.where(np.isnan(e), np.inf, e / bound)
        worst = np.unravel_index(np.argmax(excess), e.shape)
        assert excess[worst] <= 1, f"{which}: error {e[worst]:.2e} at {worst}"
        eigenvalues = np.linalg.eigvalsh(k32.astype(np.float64))
        assert eigenvalues[0] >= -1e-6 * eigenvalues[-1]
