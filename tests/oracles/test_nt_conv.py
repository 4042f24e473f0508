"""Convolutional and branched kernels against neural-tangents 0.6.5 (generate_nt_conv.py).

A few networks of every kind by default, all of them with THEORYLAB_ORACLES=all.
"""

import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from theorylab import kernels as tk

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))
from architectures import ROOT2, build, digest  # noqa: E402
from architectures_conv import CASES, PAIRS, RELU, conv, pool, same  # noqa: E402
from images import case_pair, case_points, points  # noqa: E402
from kernel_errors import assert_close, chosen, full, own  # noqa: E402
from textbook import kernels as textbook  # noqa: E402

WHICH = ("nngp", "ntk")
# Measured by compare_references_conv.py: the predecessor is within 2e-14 of 50-digit arithmetic but
# for the NTK in entries that average a nearly parallel pair of patches under a kinked activation;
# there it is off by 2e-12 to 3e-8. These entries are stored as "near". (test_mp_conv.py has the
# 50-digit values of some of them.)
AWAY, NEAR = 1e-12, 1e-7

# Every layer, padding and parameterization, in networks that compile quickly.
FEW = (
    *("line_circular_stride_3", "line_spatial", "relu_same_flatten", "relu_same_gap_bias"),
    *("spatial_axes_swapped", "batch_second", "channels_first_layer_norm", "standard_flatten"),
    *("sum_pool_same", "residual_conv_projected", "concat_rows_flatten", "volume_valid_flatten"),
    *("digits_relu_gap", "relu_10_same_flatten", "dense_product", "dense_concat", "dense_repeat"),
)


@pytest.fixture(scope="module")
def stored():
    with np.load(here / "nt_conv.npz", allow_pickle=False) as file:
        return dict(file)


def rounded(value):
    """The nearest number that single precision holds."""
    return float(np.float32(value))


def kernel64(spec, *x, number=float):
    """NNGP and NTK in double precision."""
    with jax.enable_x64(True):
        kernel = build(spec, tk, number).kernel(*x)
    assert kernel.nngp.dtype == kernel.ntk.dtype == np.float64
    return [np.asarray(getattr(kernel, which)) for which in WHICH]


def test_the_frozen_file_was_written_by_the_present_sources(stored):
    names = ("generate_nt_conv", "architectures", "architectures_conv", "images", "textbook")
    sources = digest(*(here / f"{name}.py" for name in names))
    assert str(stored["digest"]) == sources, "architectures changed: run `make oracles`"
    assert {name.split("/")[0] for name in stored} >= set(CASES)
    for name, x in points().items():
        assert np.array_equal(x, stored[f"inputs/{name}"])


@pytest.mark.parametrize("name", chosen(FEW, CASES))
def test_the_float64_kernel_of_a_set_equals_the_predecessors(stored, name):
    x, layout = case_points(name), CASES[name].layout
    n = x.shape[0 if layout is None else layout.index("N")]
    bounds = np.where(full(stored[f"{name}/set/near"], n), NEAR, AWAY)
    for which, ours in zip(WHICH, kernel64(CASES[name].spec, x), strict=True):
        theirs = full(stored[f"{name}/set/{which}"], n)
        assert_close(ours, theirs, (own(theirs), own(theirs)), bounds, which)


@pytest.mark.parametrize("name", chosen(PAIRS[:1], PAIRS))
def test_the_float64_kernel_of_two_sets_equals_the_predecessors(stored, name):
    bounds = np.where(stored[f"{name}/pair/near"], NEAR, AWAY)
    for which, ours in zip(WHICH, kernel64(CASES[name].spec, *case_pair(name)), strict=True):
        owns = [stored[f"{name}/pair/{which}{side}"] for side in (1, 2)]
        assert_close(ours, stored[f"{name}/pair/{which}"], owns, bounds, which)


def test_the_textbook_recursion_equals_the_predecessor_in_every_case(stored):
    for name, case in CASES.items():
        *values, near = textbook(case.spec, case_points(name), case.layout)
        assert np.array_equal(near, full(stored[f"{name}/set/near"], len(near)))
        # The recursion in float64 loses as many digits as the predecessor.
        bounds = np.where(near, NEAR, AWAY)
        for which, value in zip(WHICH, values, strict=True):
            theirs = full(stored[f"{name}/set/{which}"], len(near))
            assert_close(value, theirs, (own(theirs), own(theirs)), bounds, f"{name} {which}")


# A convolution in three dimensions whose output axes are permuted. The predecessor keeps the pairs
# of spatial axes of the kernel in reversed order after an odd number of convolutions, and permutes
# them as if they were not: its kernel of the first of these has the shape (n1, n2, 2, 3, 1, ...)
# where its network's output is (n, 3, 1, 2, channels). The second is a cyclic permutation, of
# which it takes the inverse. So the textbook recursion, which follows the network, is the
# reference.
PERMUTED = {
    "after_one": (
        "serial",
        conv(
            *(4, (3, 2, 1), 1.3, 0.1, (2, 1, 1), "SAME"),
            dimension_numbers=("NHWDC", "DHWIO", "NHDWC"),
        ),
        *(RELU, conv(3, (2, 2, 2), 1.1)),
    ),
    "cyclic": (
        *("serial", conv(4, (1, 1, 1), 1.2), RELU),
        conv(
            *(4, (2, 2, 1), 1.3, 0.1, (1, 1, 3)),
            dimension_numbers=("NHWDC", "HWDIO", "NDHWC"),
        ),
        *(RELU, conv(3, (1, 1, 1), 1.1)),
    ),
}


@pytest.mark.parametrize("name", chosen(("after_one",), PERMUTED))
def test_permuted_output_axes_in_three_dimensions_follow_the_network(name):
    x, spec = points()["volume"][[0, 4, 3]], PERMUTED[name]
    *expected, near = textbook(spec, x)
    net = build(spec, tk)
    shape = jax.eval_shape(
        lambda x: net.apply(net.init(jax.random.key(0), x.shape), x),
        jax.ShapeDtypeStruct(x.shape, np.float32),
    ).shape
    for which, ours, value in zip(WHICH, kernel64(spec, x), expected, strict=True):
        assert ours.shape == (3, 3, *shape[1:-1], *shape[1:-1])
        assert_close(ours, value, (own(value), own(value)), np.where(near, NEAR, AWAY), which)


def test_a_gap_of_pure_rounding_noise_leaves_the_ntk_intact():
    # Behind pooling the gap of equal or parallel points is noise about 0. The compiler evaluates it
    # more than once, with different contractions, so a guard and what it guards may disagree.
    spec = ("serial", same(6, ROOT2), pool("AvgPool", (2, 2), strides=(2, 2)), RELU)
    spec = (*spec, same(5, 1.3, 0.1))
    x = points()["image"][[1, 6]]
    *expected, near = textbook(spec, x)
    for which, ours, value in zip(WHICH, kernel64(spec, x), expected, strict=True):
        assert_close(ours, value, (own(value), own(value)), np.where(near, NEAR, AWAY), which)


# Every activation and kind of layer, the deepest ones, blank backgrounds.
SINGLE = (
    *("relu_10_same_flatten", "relu_10_same_gap_bias", "erf_10_circular_gap", "mixed_7"),
    *("relu_same_gap", "gelu_same_gap", "sin_circular_flatten", "digits_relu_gap"),
    *("residual_conv_gap", "avg_pool_normalized_edges", "layer_norm_columns", "product_gap"),
    *("sum_pool_same", "gap_then_activation"),
)


@pytest.mark.parametrize("name", chosen(("relu_10_same_flatten", "digits_relu_gap"), SINGLE))
def test_the_float32_kernel_is_within_1e_6_and_stays_positive(name):
    spec = CASES[name].spec
    x = case_points(name).astype(np.float32)
    ours = build(spec, tk).kernel(x)
    exact = kernel64(spec, x.astype(np.float64), number=rounded)
    for which, k64 in zip(WHICH, exact, strict=True):
        k32 = np.asarray(getattr(ours, which))
        assert k32.dtype == np.float32
        assert_close(k32, k64, (own(k64), own(k64)), 1e-6, which)
        eigenvalues = np.linalg.eigvalsh(k32.astype(np.float64))
        assert eigenvalues[0] >= -1e-6 * eigenvalues[-1]
