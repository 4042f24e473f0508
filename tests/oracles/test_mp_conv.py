"""Convolutional and branched kernels against 50-digit arithmetic (generate_mpmath_conv.py)."""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from theorylab import kernels as tk

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))
from architectures import build, digest  # noqa: E402
from architectures_conv import CASES  # noqa: E402
from generate_mpmath_conv import NETWORKS, SOURCES  # noqa: E402
from images import case_points, points  # noqa: E402
from kernel_errors import assert_close, chosen, full, own, spatial_error  # noqa: E402

WHICH = ("nngp", "ntk")
ANYWHERE = 1e-12
# The gap behind a pool is known to eps of the variance (kernels/_pool.py), so the angle of
# near-duplicates under a kinked activation above it to the root of that.
BEHIND_A_POOL = {"sum_pool_same": 1e-8}

# How far the predecessor's NTK is off, at worst, in |error| / sqrt(K_ii K_jj): its angles come from
# a rounded cosine, which knows an angle theta to eps / theta. All these entries average a pair of
# patches within 1e-3 of parallel: copies, near-copies, rescaled copies and common background.
PREDECESSOR = {
    **{"line_circular_stride_3": 4e-9, "line_spatial": 1e-9, "relu_same_spatial": 1e-9},
    **{"relu_same_flatten": 4e-9, "relu_same_gap_bias": 2e-10, "abs_same_gap": 3e-10},
    **{"abrelu_circular_flatten": 4e-9, "standard_scaled_gap": 4e-10, "sum_pool_same": 8e-10},
    **{"avg_pool_normalized_edges": 7e-11, "layer_norm_columns": 2e-10, "product_gap": 1e-10},
    **{"concat_rows_flatten": 2e-9, "residual_conv_projected": 2e-9, "volume_valid_flatten": 6e-10},
    **{"digits_relu_gap": 2e-10, "digits_relu_flatten_bias": 4e-9, "digits_one_pixel": 2e-10},
    **{"relu_10_same_flatten": 1e-8, "dense_layer_norm": 3e-9, "dense_product": 9e-9},
    **{"dense_concat": 7e-9, "dense_repeat": 3e-8},
}
FEW = (
    *("line_circular_stride_3", "line_spatial", "relu_same_gap_bias", "concat_rows_flatten"),
    *("volume_valid_flatten", "digits_relu_gap", "relu_10_same_flatten", "dense_product"),
)


@pytest.fixture(scope="module")
def stored():
    with np.load(here / "mp_conv.npz", allow_pickle=False) as file:
        return dict(file)


def count(name):
    """The number of points of a case."""
    layout = CASES[name].layout
    return case_points(name).shape[0 if layout is None else layout.index("N")]


def test_the_frozen_file_was_written_by_the_present_sources(stored):
    assert str(stored["digest"]) == digest(*SOURCES), "the generator changed: run `make oracles`"
    for name, x in points().items():
        assert np.array_equal(x, stored[f"inputs/{name}"])


@pytest.mark.parametrize("name", chosen(FEW, NETWORKS))
def test_the_float64_kernel_has_twelve_digits_however_close_the_patches_lie(stored, name):
    with jax.enable_x64(True):
        kernel = build(CASES[name].spec, tk).kernel(case_points(name))
    for which in WHICH:
        true = full(stored[f"{name}/{which}"], count(name))
        bound = BEHIND_A_POOL.get(name, ANYWHERE) if which == "ntk" else ANYWHERE
        ours = np.asarray(getattr(kernel, which))
        assert_close(ours, true, (own(true), own(true)), bound, which)


def test_the_predecessor_is_off_in_the_ntk_of_nearly_parallel_patches_alone(stored):
    with np.load(here / "nt_conv.npz", allow_pickle=False) as file:
        predecessor = dict(file)
    for name in NETWORKS:
        n = count(name)
        near = full(predecessor[f"{name}/set/near"], n)
        for which in WHICH:
            true = full(stored[f"{name}/{which}"], n)
            theirs = full(predecessor[f"{name}/set/{which}"], n)
            e = spatial_error(theirs, true, own(true), own(true))
            off = e > ANYWHERE
            listed = PREDECESSOR.get(name, ANYWHERE) if which == "ntk" else ANYWHERE
            assert e.max() <= listed, f"{name} {which}: off by {e.max():.1e}, listed {listed:.0e}"
            assert not (off & ~near).any(), f"{name} {which}"
            assert off.any() == (which == "ntk" and name in PREDECESSOR), f"{name} {which}"
