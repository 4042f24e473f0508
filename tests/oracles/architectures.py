"""Fully connected architectures as plain data, and the points on which their kernels are frozen.

An architecture is a nested tuple ``(name, *arguments)``; a last argument that is a dict holds
keywords. `build` turns it into a network with whatever module has constructors of these names:
`theorylab.kernels` in our tests, `neural_tangents.stax` in the generator. So both sides read one
description.

This module runs under two environments and two generations of JAX; it imports NumPy alone.
"""

import hashlib
import math
from pathlib import Path

import numpy as np

ROOT2 = math.sqrt(2.0)


def dense(width, w=1.0, b=None, **options):
    """A dense layer as data."""
    return ("Dense", width, {"W_std": w, "b_std": b, **options})


def mlp(activation, depth, w=1.0, b=None, width=64):
    """`depth` hidden layers of one activation, all affine layers with the same constants."""
    return ("serial", *(dense(width, w, b), activation) * depth, dense(1, w, b))


def residual(*branch):
    """x + branch(x)."""
    branches = ("parallel", ("Identity",), ("serial", *branch))
    return ("serial", ("FanOut", 2), branches, ("FanInSum",))


def standard(width, w=1.0, b=None, s=(1, 1)):
    """A dense layer in the standard parameterization."""
    return dense(width, w, b, parameterization="standard", s=s)


RELU, ABS, GELU, ERF, SIN, COS = (("Relu",), ("Abs",), ("Gelu",), ("Erf",), ("Sin",), ("Cos",))
ERF_ABC, ERF_SIGNS = ("Erf", 1.3, 0.7, 0.4), ("Erf", -0.8, 1.9, -0.3)
SIN_ABC, COS_ABC = ("Sin", 1.2, 0.8, 0.5), ("Cos", 0.9, 1.4, -0.7)

ARCHITECTURES = {
    # affine layers alone
    "linear_one_layer": ("serial", dense(3, 1.3, 0.2)),
    "linear_three_layers": ("serial", dense(9, 0.8, 0.3), dense(5, 1.7), dense(2, 1.1, 0.0)),
    "linear_standard": ("serial", standard(11, 1.2, 0.4), standard(1, 0.9)),
    # piecewise-linear activations
    "relu_1": mlp(RELU, 1, ROOT2),
    "relu_1_ends_on_activation": ("serial", dense(8, 1.5, 0.3), RELU),
    "relu_3": mlp(RELU, 3, ROOT2),
    "relu_3_bias": mlp(RELU, 3, ROOT2, 0.1),
    "relu_5_large_bias": mlp(RELU, 5, 1.6, 0.9),
    "relu_10": mlp(RELU, 10, ROOT2),
    "relu_10_bias": mlp(RELU, 10, 1.5, 0.05),
    "relu_2_extreme_scales": (
        *("serial", dense(8, 0.01, 0.0), RELU, dense(8, 20.0, 0.001), RELU, dense(1, 3.0, 5.0)),
    ),
    "leaky_relu_3": mlp(("LeakyRelu", 0.1), 3, 1.4, 0.05),
    "leaky_relu_4_negative_slope": mlp(("LeakyRelu", -0.6), 4, 1.2),
    "abs_2": mlp(ABS, 2, 1.0),
    "abs_10": mlp(ABS, 10, 1.0, 0.1),
    "abrelu_3": mlp(("ABRelu", -0.5, 1.3), 3, 1.1, 0.2),
    "abrelu_4_negative_b": mlp(("ABRelu", 0.7, -0.2), 4, 1.8),
    "abrelu_2_linear": mlp(("ABRelu", 0.8, 0.8), 2, 1.3, 0.1),
    "abrelu_2_mirrored": mlp(("ABRelu", -1.0, 0.0), 2, ROOT2, 0.0),
    # smooth activations
    "erf_1": mlp(ERF, 1, 1.3),
    "erf_3_chaotic": mlp(ERF, 3, 1.5, 0.2),
    "erf_10_chaotic": mlp(ERF, 10, 1.5, 0.2),
    "erf_10_ordered": mlp(ERF, 10, 0.8, 0.2),
    "erf_2_general": mlp(ERF_ABC, 2, 1.2, 0.1),
    "erf_4_general_signs": mlp(ERF_SIGNS, 4, 1.1),
    "gelu_1": mlp(GELU, 1, 1.0),
    "gelu_3": mlp(GELU, 3, 1.3, 0.1),
    "gelu_10": mlp(GELU, 10, 1.4, 0.1),
    "sin_1": mlp(SIN, 1, 1.1),
    "sin_5_chaotic": mlp(SIN, 5, 1.5, 0.2),
    "sin_3_phase": mlp(SIN_ABC, 3, 1.2, 0.1),
    "cos_1": mlp(COS, 1, 0.9, 0.2),
    "cos_3_phase": mlp(COS_ABC, 3, 1.3),
    "rbf_1": mlp(("Rbf", 0.5), 1, 1.0),
    "rbf_3": mlp(("Rbf", 1.7), 3, 0.7, 0.3),
    # standard parameterization: widths and bias parameters enter the NTK
    "relu_3_standard": (
        *("serial", standard(32, 1.4, 0.1), RELU, standard(17, 1.3), RELU),
        *(standard(9, 1.5, 0.2), RELU, standard(1, 1.0, 0.3)),
    ),
    "erf_2_standard_scaled": (
        *("serial", standard(16, 1.4, 0.1, s=(1, 2)), ERF, standard(24, 1.2, 0.2, s=(2, 3)), ERF),
        standard(1, 1.1, None, s=(3, 1)),
    ),
    "gelu_2_both_parameterizations": (
        *("serial", dense(20, 1.2, 0.1), GELU, standard(12, 1.4, 0.2), GELU, dense(1, 0.9, 0.1)),
    ),
    # mixed activations
    "mixed_6": (
        *("serial", dense(30, 1.4, 0.1), RELU, dense(20, 1.2), ERF_ABC, dense(25, 1.5, 0.2), GELU),
        *(dense(10, 0.9, 0.3), SIN_ABC, dense(40, 1.1), ABS, dense(7, 1.3, 0.0), COS_ABC, dense(1)),
    ),
    # neighbours of equal structure and different kind: no repeating block may be seen here
    "alternating_4": (
        *("serial", dense(39, ROOT2, 0.2), ERF, dense(30, ROOT2, 0.4), COS_ABC),
        *(dense(39, 1.5, 0.5), RELU, dense(5, 1.2, 0.1), ABS, dense(1, 1.1, 0.3)),
    ),
    # branches
    "residual_relu": (
        *("serial", dense(16, 1.2, 0.1), residual(RELU, dense(16, 1.3, 0.2))),
        *(residual(RELU, dense(16, 0.7), RELU, dense(16, 1.1, 0.1)), RELU, dense(1, 1.0, 0.1)),
    ),
    "residual_nested": (
        *("serial", dense(8, 1.1)),
        residual(ERF, dense(8, 1.2), residual(GELU, dense(8, 0.8, 0.3))),
        *(("Identity",), residual(SIN, dense(8, 0.9)), ABS, dense(1, 1.4)),
    ),
    "three_branches": (
        *("serial", dense(12, 1.3, 0.1), ("FanOut", 3)),
        (
            *("parallel", ("serial", RELU, dense(12, 1.1), RELU, dense(12, 0.9, 0.2))),
            *(("serial", ERF, dense(12, 1.4, 0.3)), ("Identity",)),
        ),
        *(("FanInSum",), ("LeakyRelu", 0.2), dense(1, 1.2)),
    ),
    "branches_from_the_input": (
        *("serial", ("FanOut", 2)),
        ("parallel", dense(14, 1.2, 0.1), ("serial", dense(5, 0.9), RELU, dense(14, 1.5))),
        *(("FanInSum",), GELU, dense(1, 1.0, 0.2)),
    ),
    "residual_standard": (
        *("serial", standard(10, 1.2, 0.1), residual(RELU, standard(10, 1.1, 0.2))),
        *(RELU, standard(1, 0.8)),
    ),
}


def build(spec, layers, number=float):
    """The network of a description, with the constructors of the module `layers`.

    `number` is applied to every real constant: ``build(spec, tk, lambda v: float(np.float32(v)))``
    gives the network whose constants are exact in single precision.
    """

    def argument(value):
        # Other tuples of strings are options: the three axis orders of a convolution.
        if isinstance(value, tuple) and isinstance(value[0], str) and hasattr(layers, value[0]):
            return build(value, layers, number)
        return number(value) if isinstance(value, float) else value

    name, *arguments = spec
    keywords = {}
    if arguments and isinstance(arguments[-1], dict):
        *arguments, keywords = arguments
    positional = [argument(value) for value in arguments]
    return getattr(layers, name)(*positional, **{k: argument(v) for k, v in keywords.items()})


def inputs():
    """Input sets by name, float64.

    ``set`` (24, 9): 8 normal points; after them copies at distances 0, 0, 1e-3, 1e-3, 1e-5, 1e-6,
    1e-8, copies scaled by 1 + 1e-8, 2.5, 2.5, 1e-3, 1e-3, two points turned round, a row of zeros
    and one more normal point. ``left`` (9, 16) and ``right`` (7, 16): a rectangular pair that
    shares points.
    """
    rng = np.random.default_rng(20231211)
    base = rng.normal(size=(8, 9))
    distances = (0.0, 0.0, 1e-3, 1e-3, 1e-5, 1e-6, 1e-8)
    step = rng.normal(size=(len(distances), 9))
    step /= np.linalg.norm(step, axis=1, keepdims=True)
    moved = [base[i] + distance * step[i] for i, distance in enumerate(distances)]
    scaled = [s * base[i] for i, s in enumerate((1 + 1e-8, 2.5, 2.5, 1e-3, 1e-3, -1.0, -1.0))]
    whole = np.stack([*base, *moved, *scaled, np.zeros(9), rng.normal(size=9)])
    left = rng.normal(size=(9, 16))
    shared = [left[0], left[1] + 1e-3 * rng.normal(size=16), 2.5 * left[2], -left[3]]
    right = np.stack([*shared, *rng.normal(size=(3, 16))])
    return {"set": whole, "left": left, "right": right}


def digest(*paths):
    """SHA-256 of source files, one after another, whatever their line endings."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(Path(path).read_text(encoding="utf-8").encode())
    return whole.hexdigest()
