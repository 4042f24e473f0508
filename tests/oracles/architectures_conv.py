"""Convolutional and branched architectures as plain data, on the input sets of images.py.

The description of a network is that of architectures.py. A `Case` adds on which input set it runs
and in which order the axes of that set stand (None: batch first, channels last).

This module runs under two environments and two generations of JAX; it imports neither.
"""

from typing import NamedTuple

from architectures import (
    ABS,
    COS_ABC,
    ERF,
    ERF_ABC,
    GELU,
    RELU,
    ROOT2,
    SIN,
    SIN_ABC,
    dense,
    residual,
    standard,
)


class Case(NamedTuple):
    """A network, the name of its input set, and the order of that set's axes."""

    spec: tuple
    points: str = "image"
    layout: str | None = None


def conv(channels, window, w=1.0, b=None, strides=None, padding="VALID", **options):
    """A convolution as data."""
    options = {"W_std": w, "b_std": b, "strides": strides, "padding": padding, **options}
    return ("Conv", channels, window, options)


def same(channels, w=ROOT2, b=None, **options):
    """A 3 x 3 convolution with SAME padding, unless the options say otherwise."""
    return conv(channels, (3, 3), w, b, **{"padding": "SAME", **options})


def pool(name, window, **options):
    """AvgPool or SumPool as data."""
    return (name, window, options)


def branches(join, *nets):
    """Copies of one input, a network on each, and a layer that joins them."""
    return ("serial", ("FanOut", len(nets)), ("parallel", *nets), join)


FLATTEN, GAP, GSP = ("Flatten",), ("GlobalAvgPool",), ("GlobalSumPool",)
SUM, PRODUCT, IDENTITY = ("FanInSum",), ("FanInProd",), ("Identity",)
LEAKY, ABRELU = ("LeakyRelu", 0.1), ("ABRelu", -0.5, 1.3)
CHANNELS_FIRST = ("NCHW", "OIHW", "NCHW")
BATCH_LAST = ("CHWN", "IHWO", "CHWN")
BATCH_SECOND = ("HNWC", "HWIO", "HNWC")
HEAD = dense(1, 1.1, 0.2)


def stack(depth, activation, *constants, **options):
    """`depth` times a 3 x 3 convolution and an activation."""
    return (same(7, *constants, **options), activation) * depth


LINE = {
    "line_valid_flatten": ("serial", conv(8, (3,), ROOT2, 0.1), RELU, FLATTEN, HEAD),
    "line_even_filters_gap": (
        *("serial", conv(4, (4,), 1.3, 0.1, (2,), "SAME"), GELU),
        *(conv(5, (2,), 1.2, None, (1,), "SAME"), RELU, GAP, HEAD),
    ),
    "line_circular_stride_3": (
        *("serial", conv(4, (5,), 1.5, 0.3, padding="CIRCULAR"), ERF),
        *(conv(4, (3,), 1.2, None, (3,), "CIRCULAR"), ABS, FLATTEN, HEAD),
    ),
    # ends with a spatial axis
    "line_spatial": (
        *("serial", conv(4, (3,), ROOT2, 0.1, padding="SAME"), RELU),
        conv(2, (2,), 1.1, 0.3, (2,), "SAME"),
    ),
}

IMAGE = {
    # affine layers alone, and outputs with spatial axes
    "linear_valid_spatial": ("serial", conv(4, (3, 2), 1.3, 0.2, (2, 1))),
    "linear_same_gap": ("serial", same(4, 1.3), same(5, 0.8, 0.2), GAP, dense(1, 1.2)),
    "relu_same_spatial": (
        *("serial", same(8, ROOT2, 0.1), RELU, same(6, 1.2, None, strides=(2, 2))),
    ),
    "relu_spatial_ends_on_activation": (
        *("serial", conv(5, (2, 3), 1.3, 0.2, (2, 2), "CIRCULAR"), RELU),
    ),
    "erf_spatial_ends_on_pooling": (
        *("serial", same(5, 1.4, 0.1), ERF),
        pool("AvgPool", (2, 3), strides=(3, 2), padding="SAME"),
    ),
    "dense_spatial": (
        *("serial", conv(5, (2, 3), 1.3, 0.1, (1, 2)), RELU, dense(4, 1.2, 0.3), ABS),
        *(pool("AvgPool", (2, 2)), dense(3, 1.1)),
    ),
    # paddings, strides and filters, with piecewise-linear activations
    "relu_valid_flatten": (
        *("serial", conv(8, (3, 3), ROOT2), RELU, conv(8, (2, 3), ROOT2), RELU, FLATTEN, HEAD),
    ),
    "relu_same_flatten": ("serial", *stack(3, RELU, ROOT2, 0.1), FLATTEN, HEAD),
    "relu_same_gap": ("serial", *stack(3, RELU), GAP, dense(1, 1.1)),
    "relu_same_gap_bias": ("serial", *stack(2, RELU, 1.5, 0.2), GAP, HEAD),
    "relu_circular_gap": ("serial", *stack(2, RELU, ROOT2, 0.1, padding="CIRCULAR"), GAP, HEAD),
    "relu_strides_even_filters": (
        *("serial", conv(6, (2, 4), 1.4, 0.1, (1, 3), "SAME"), RELU),
        *(conv(5, (4, 2), 1.3, None, (3, 1), "CIRCULAR"), RELU, conv(3, (1, 2), 1.2), RELU),
        *(FLATTEN, HEAD),
    ),
    "relu_strides_beyond_the_filter": (
        *("serial", conv(6, (1, 2), 1.4, 0.1, (2, 3), "SAME"), RELU, GAP, HEAD),
    ),
    "abs_same_gap": ("serial", *stack(2, ABS, 1.0, 0.1), GAP, HEAD),
    "leaky_valid_gap": (
        *("serial", conv(6, (3, 3), 1.4, 0.05), LEAKY, conv(6, (2, 1), 1.3), LEAKY, GAP, HEAD),
    ),
    "abrelu_circular_flatten": (
        *("serial", *stack(2, ABRELU, 1.1, 0.2, padding="CIRCULAR"), FLATTEN, HEAD),
    ),
    # smooth activations
    "erf_same_gap": ("serial", *stack(3, ERF, 1.5, 0.2), GAP, HEAD),
    "erf_general_valid_flatten": ("serial", conv(6, (3, 3), 1.2, 0.1), ERF_ABC, FLATTEN, HEAD),
    "gelu_same_gap": ("serial", *stack(2, GELU, 1.4), GAP, HEAD),
    "sin_circular_flatten": (
        *("serial", *stack(2, SIN, 1.3, 0.1, padding="CIRCULAR"), FLATTEN, HEAD),
    ),
    "sin_phase_strided_gap": ("serial", same(5, 1.2, strides=(2, 1)), SIN_ABC, GAP, HEAD),
    "cos_phase_gap": ("serial", *stack(2, COS_ABC, 0.9, 0.2), GAP, HEAD),
    "rbf_same_flatten": ("serial", *stack(2, ("Rbf", 0.7), 0.8, 0.1), FLATTEN, HEAD),
    # parameterizations
    "standard_flatten": (
        *("serial", same(6, 1.4, 0.1, parameterization="standard"), RELU),
        *(conv(5, (2, 3), 1.3, parameterization="standard"), RELU, FLATTEN),
        standard(1, 1.2, 0.3),
    ),
    "standard_scaled_gap": (
        *("serial", same(6, 1.4, 0.1, parameterization="standard", s=(1, 2)), ERF),
        *(same(4, 1.3, 0.2, parameterization="standard", s=(2, 3)), RELU, GAP),
        standard(1, 1.2, 0.3, s=(3, 1)),
    ),
    "both_parameterizations": (
        *("serial", same(6, 1.4, 0.1), RELU, same(4, 1.3, 0.0, parameterization="standard")),
        *(GELU, pool("SumPool", (2, 2), strides=(2, 2)), FLATTEN, dense(1, 1.2)),
    ),
    # pooling: of of Gaussian and of other signals, in windows and twice
    "avg_pool_valid_flatten": (
        *("serial", same(6, ROOT2, 0.1), RELU, pool("AvgPool", (2, 3)), FLATTEN, HEAD),
    ),
    "avg_pool_same_conv": (
        *("serial", same(6), RELU, pool("AvgPool", (3, 2), strides=(2, 2), padding="SAME")),
        *(conv(5, (2, 2), 1.3, 0.1), RELU, FLATTEN, HEAD),
    ),
    "avg_pool_normalized_edges": (
        *("serial", same(6, 1.3, 0.2), RELU),
        pool("AvgPool", (3, 2), strides=(2, 1), padding="SAME", normalize_edges=True),
        *(same(4, 1.2), GELU, GAP, HEAD),
    ),
    "avg_pool_circular_dense": (
        *("serial", same(6, ROOT2), RELU),
        pool("AvgPool", (2, 3), strides=(2, 2), padding="CIRCULAR"),
        *(dense(6, 1.2, 0.1), RELU, FLATTEN, HEAD),
    ),
    "sum_pool_same": (
        *("serial", same(6, 1.2, 0.1), ERF),
        pool("SumPool", (2, 2), strides=(2, 2), padding="SAME"),
        *(same(5, 0.7), RELU, FLATTEN, HEAD),
    ),
    "sum_pool_circular_gap": (
        *("serial", same(6, 1.2, 0.1), RELU, pool("SumPool", (3, 3), padding="CIRCULAR"), GAP),
        HEAD,
    ),
    "pool_of_the_input": (
        *("serial", pool("AvgPool", (2, 2)), same(6, ROOT2, 0.1), RELU, GSP, dense(1, 0.2, 0.1)),
    ),
    "pool_of_a_gaussian_signal": (
        *("serial", same(6, ROOT2), pool("AvgPool", (2, 2), strides=(2, 2)), RELU),
        *(same(5, 1.3, 0.1), pool("SumPool", (2, 1), padding="SAME"), ERF, FLATTEN, HEAD),
    ),
    "pool_twice": (
        *("serial", same(6, ROOT2, 0.1), RELU, pool("AvgPool", (2, 2), padding="SAME")),
        *(pool("SumPool", (2, 3), strides=(1, 2)), same(5, 1.2), RELU, GAP, HEAD),
    ),
    "gap_then_activation": ("serial", same(6, 1.4, 0.1), GAP, RELU, dense(5, 1.3), ERF, HEAD),
    "myrtle": (
        *("serial", same(8, ROOT2, 0.1), RELU, same(8, ROOT2, 0.1), RELU),
        *(pool("AvgPool", (2, 2), strides=(2, 2)), same(8, ROOT2, 0.1), RELU),
        *(pool("AvgPool", (2, 2), strides=(2, 2), padding="SAME"), GAP, HEAD),
    ),
    # axes anywhere
    "filter_axes_swapped": (
        *("serial", conv(5, (2, 3), 1.3, 0.1, (1, 2), dimension_numbers=("NHWC", "WHIO", "NHWC"))),
        *(RELU, FLATTEN, HEAD),
    ),
    "spatial_axes_swapped": (
        "serial",
        conv(5, (3, 2), 1.3, 0.1, (2, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NWHC")),
        *(RELU, conv(4, (2, 1), 1.2, 0.2)),
    ),
    # normalization
    "layer_norm_channels_gap": ("serial", same(6, 1.3, 0.1), ("LayerNorm",), RELU, GAP, HEAD),
    "layer_norm_image": (
        *("serial", same(6, 1.3, 0.1), ("LayerNorm", (1, 2, 3)), GELU),
        *(same(5, 1.2), ("LayerNorm", (3, 1, 2), {"eps": 0.1}), RELU, FLATTEN, HEAD),
    ),
    "layer_norm_columns": (
        *("serial", same(6, 1.3), ("LayerNorm", (1, -1)), ERF),
        *(same(5, 1.2, 0.3), ("LayerNorm", (2, 3), {"eps": 1e-3}), RELU, GAP, HEAD),
    ),
    # branches
    "residual_conv_gap": (
        *("serial", same(6, 1.2, 0.1), residual(RELU, same(6, 1.3, 0.2))),
        *(residual(RELU, same(6, 0.7), RELU, same(6, 1.1, 0.1)), RELU, GAP, HEAD),
    ),
    "residual_conv_projected": (
        *("serial", same(6, 1.2)),
        branches(
            SUM,
            ("serial", RELU, same(5, 1.3, strides=(2, 2)), RELU, same(5, 1.1, 0.1)),
            conv(5, (1, 1), 0.9, None, (2, 2)),
        ),
        *(RELU, FLATTEN, HEAD),
    ),
    "product_conv": (
        "serial",
        branches(PRODUCT, ("serial", same(5, 1.3, 0.1), RELU), ("serial", same(5, 1.1, 0.2), ERF)),
        *(same(4, 1.2), RELU, FLATTEN, HEAD),
    ),
    "product_gap": (
        *("serial", same(5, 1.3, 0.1)),
        branches(PRODUCT, ("serial", GELU, same(6, 1.1)), ("serial", RELU, same(6, 1.2, 0.2))),
        *(GAP, HEAD),
    ),
    "concat_channels": (
        *("serial", same(6, 1.3, 0.1), RELU),
        branches(("FanInConcat",), same(3, 1.4), ("serial", same(5, 0.8, 0.2), RELU)),
        *(same(4, 1.2, parameterization="standard"), RELU, GAP, HEAD),
    ),
    "concat_rows_flatten": (
        "serial",
        branches(("FanInConcat", 1), conv(5, (2, 1), 1.3, 0.1), conv(5, (1, 1), 1.1)),
        *(RELU, same(4, 1.2), RELU, FLATTEN, HEAD),
    ),
    "concat_columns_gap": (
        "serial",
        *(same(5, 1.2), RELU),
        branches(("FanInConcat", -2), conv(5, (1, 2), 1.3, 0.1), conv(5, (1, 3), 1.1, 0.3)),
        *(ERF, GAP, HEAD),
    ),
    # one layer many times, depth
    "repeat_conv": (
        *("serial", same(6, 1.2)),
        ("repeat", ("serial", RELU, same(6, 1.3, 0.1), GELU, same(6, 1.2)), 2),
        *(RELU, GAP, HEAD),
    ),
    "relu_10_same_flatten": ("serial", *stack(10, RELU), FLATTEN, HEAD),
    "relu_10_same_gap_bias": ("serial", *stack(10, RELU, ROOT2, 0.1), GAP, HEAD),
    "erf_10_circular_gap": (*("serial", *stack(10, ERF, 1.3, 0.1, padding="CIRCULAR"), GAP, HEAD),),
    "mixed_7": (
        *("serial", same(6, 1.4, 0.1), RELU, same(5, 1.2, padding="CIRCULAR"), ERF_ABC),
        *(same(4, 1.5, 0.2), GELU, same(6, 0.9, 0.3), SIN_ABC, same(5, 1.1), ABS),
        *(same(6, 1.3, 0.0), COS_ABC, same(4, 1.2, 0.1, strides=(2, 2)), LEAKY, GAP, HEAD),
    ),
}

OTHERS = {
    # axes anywhere
    "channels_first": Case(
        (
            *("serial", same(6, 1.3, 0.1, dimension_numbers=CHANNELS_FIRST), RELU),
            pool("AvgPool", (2, 1), strides=(2, 1), channel_axis=1),
            *(("GlobalAvgPool", {"channel_axis": 1}), HEAD),
        ),
        layout="NCHW",
    ),
    "channels_first_layer_norm": Case(
        (
            *("serial", same(6, 1.3, 0.1, dimension_numbers=CHANNELS_FIRST)),
            *(("LayerNorm", (1, 2), {"channel_axis": 1}), RELU, FLATTEN, HEAD),
        ),
        layout="NCHW",
    ),
    "batch_last": Case(
        (
            *("serial", same(6, 1.3, 0.1, strides=(1, 2), dimension_numbers=BATCH_LAST), RELU),
            dense(5, 1.2, 0.2, batch_axis=3, channel_axis=0),
            *(RELU, pool("SumPool", (3, 1), strides=(2, 1), batch_axis=3, channel_axis=0)),
            ("GlobalAvgPool", {"batch_axis": 3, "channel_axis": 0}),
            dense(1, 1.1, 0.2, batch_axis=1, channel_axis=0),
        ),
        layout="CHWN",
    ),
    "batch_second": Case(
        (
            *("serial", same(6, 1.3, 0.1, dimension_numbers=BATCH_SECOND), GELU),
            ("Flatten", {"batch_axis": 1, "batch_axis_out": 1}),
            dense(1, 1.1, 0.2, batch_axis=1, channel_axis=0, parameterization="standard"),
        ),
        layout="HNWC",
    ),
    # three dimensions
    "volume_valid_flatten": Case(
        ("serial", conv(4, (2, 2, 2), ROOT2, 0.1), RELU, FLATTEN, HEAD), "volume"
    ),
    "volume_same_pool_gap": Case(
        (
            *("serial", conv(4, (3, 2, 1), 1.3, 0.1, (1, 2, 1), "SAME"), RELU),
            pool("AvgPool", (2, 1, 2), strides=(2, 1, 1), padding="SAME", normalize_edges=True),
            *(conv(3, (2, 2, 3), 1.2, None, padding="CIRCULAR"), ERF, GAP, HEAD),
        ),
        "volume",
    ),
    "volume_axes_swapped": Case(
        (
            *("serial", conv(4, (2, 2, 1), 1.2), RELU),
            conv(
                *(4, (3, 2, 1), 1.3, 0.1, (2, 1, 1), "SAME"),
                dimension_numbers=("NHWDC", "DHWIO", "NHDWC"),
            ),
            *(RELU, conv(3, (1, 1, 2), 1.1, 0.2)),
        ),
        "volume",
    ),
    # one channel, blank background: patches of one pixel are parallel but for the bias
    "digits_relu_gap": Case(("serial", *stack(2, RELU), GAP, HEAD), "digits"),
    "digits_relu_flatten_bias": Case(
        ("serial", *stack(3, RELU, 1.4, 0.1), FLATTEN, HEAD), "digits"
    ),
    "digits_one_pixel": Case(
        ("serial", conv(6, (1, 1), 1.3, 0.2), RELU, same(5, 1.2), RELU, GAP, HEAD), "digits"
    ),
    # fully connected: the layers that came with the convolutions
    "dense_layer_norm": Case(
        (
            *("serial", dense(8, 1.3, 0.1), ("LayerNorm",), RELU, dense(7, 1.2, 0.2)),
            *(("LayerNorm", 1, {"eps": 0.01}), ERF, HEAD),
        ),
        "vectors",
    ),
    "dense_product": Case(
        (
            *("serial", dense(8, 1.3, 0.1)),
            branches(PRODUCT, ("serial", RELU, dense(6, 1.2)), ("serial", ERF, dense(6, 1.1, 0.3))),
            *(dense(5, 1.2, 0.1), RELU, HEAD),
        ),
        "vectors",
    ),
    "dense_concat": Case(
        (
            *("serial", dense(8, 1.3, 0.1), RELU),
            branches(
                ("FanInConcat",), dense(6, 1.2), ("serial", dense(3, 1.1, 0.3), ERF), dense(2)
            ),
            *(standard(5, 1.2, 0.1), RELU, HEAD),
        ),
        "vectors",
    ),
    "dense_repeat": Case(
        ("serial", dense(8, 1.3), ("repeat", ("serial", RELU, dense(8, 1.4, 0.1)), 7), HEAD),
        "vectors",
    ),
    "dense_repeat_residual": Case(
        ("serial", dense(8), ("repeat", residual(ERF, dense(8, 0.5, 0.1)), 4), RELU, HEAD),
        "vectors",
    ),
}

CASES = {name: Case(spec, "line") for name, spec in LINE.items()}
CASES |= {name: Case(spec) for name, spec in IMAGE.items()} | OTHERS

# These run on two sets as well: one architecture of each kind of layer.
PAIRS = (
    *("relu_same_spatial", "relu_same_gap_bias", "standard_flatten", "myrtle", "batch_last"),
    *("residual_conv_gap", "concat_columns_gap", "layer_norm_columns", "volume_axes_swapped"),
)
# Their outputs have spatial axes.
SPATIAL = (
    *("line_spatial", "linear_valid_spatial", "relu_same_spatial", "spatial_axes_swapped"),
    *("relu_spatial_ends_on_activation", "erf_spatial_ends_on_pooling", "dense_spatial"),
    "volume_axes_swapped",
)
