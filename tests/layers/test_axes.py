"""Windows and axes: the amounts of padding are JAX's, and wrong shapes are named."""

import numpy as np
import pytest
from jax import lax

from theorylab.layers._axes import check_batch_and_channel, padding_amounts, split_axes


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
def test_padding_amounts_are_those_of_jax(padding):
    for n in range(1, 9):
        for window in range(1, 6):
            for stride in range(1, 5):
                low, high, out = padding_amounts(n, window, stride, padding)
                if n < window and padding == "VALID":
                    assert out == 0
                    continue
                assert [(low, high)] == lax.padtype_to_pads((n,), (window,), (stride,), padding)
                assert out == len(range(0, n + low + high - window + 1, stride))


def test_circular_windows_are_as_many_as_same_windows():
    for n in range(1, 9):
        for window in range(1, 6):
            for stride in range(1, 5):
                args = n, window, stride
                assert padding_amounts(*args, "CIRCULAR") == padding_amounts(*args, "SAME")


def test_axes_are_counted_from_the_front():
    assert split_axes("L", (2, 3, 4, 5), 0, -1) == (0, 3, (1, 2))
    assert split_axes("L", (2, 3, 4, 5), -1, 0) == (3, 0, (1, 2))
    assert split_axes("L", (2, 3, 4, 5), 2, 1) == (2, 1, (0, 3))
    assert split_axes("L", (0, 3), 0, 1).spatial == ()  # a batch of none is one
    assert split_axes("L", (np.int64(2), 3), 0, 1).channel == 1


@pytest.mark.parametrize(
    ("shape", "axes", "message"),
    [
        ((3,), (0, -1), r"^L: .* must have a batch axis and a channel axis, got \(3,\)"),
        ((3, 4), (2, -1), r"^L: batch_axis 2 must be an axis of the input, got shape \(3, 4\)"),
        ((3, 4), (0, -3), r"^L: channel_axis -3 must be an axis of the input, got shape \(3, 4\)"),
        ((3, 4), (1, -1), r"^L: batch_axis 1 and channel_axis -1 must differ, got shape \(3, 4\)"),
        ((3, 0, 4), (0, -1), r"^L: no axis but the batch may be empty, got shape \(3, 0, 4\)"),
        ((3, 4, 0), (0, -1), r"^L: no axis but the batch may be empty"),
        (((3, 4), (3, 4)), (0, -1), r"^L: the input shape must be a tuple of integers, got \(\(3"),
        ([3, 4], (0, -1), r"^L: the input shape must be a tuple of integers, got \[3, 4\]"),
        (3, (0, -1), r"^L: the input shape must be a tuple of integers, got 3"),
        ((3, 4.0), (0, -1), r"^L: the input shape must be a tuple of integers, got \(3, 4.0\)"),
    ],
)
def test_wrong_shapes_are_named(shape, axes, message):
    with pytest.raises(ValueError, match=message):
        split_axes("L", shape, *axes)


def test_axes_that_are_one_are_refused_before_there_is_an_input():
    with pytest.raises(ValueError, match="batch_axis and channel_axis must differ, got 1 twice"):
        check_batch_and_channel("L", 1, 1)
    with pytest.raises(TypeError, match="batch_axis must be an integer, got True"):
        check_batch_and_channel("L", True, 1)
    with pytest.raises(TypeError, match="channel_axis must be an integer, got 1.0"):
        check_batch_and_channel("L", 0, 1.0)
