"""Writes mp_conv.npz: kernels of convolutional and branched networks in 50-digit arithmetic.

The textbook recursion (textbook.py) with mpmath's numbers, on the points of nt_conv.npz: copies at
relative distance 0, 1e-3 and 1e-5, a rescaled image, blank backgrounds. Here no digits are lost at
nearly parallel patches, where the predecessor's NTK has eight. For each NAME of `NETWORKS`
``NAME/nngp`` and ``NAME/ntk`` hold the kernels, rounded to float64: the upper triangle with the
diagonal, or (n, n, *S, *S') where the output has spatial axes. Takes about three minutes.
"""

# ruff: noqa: T201

import sys
from pathlib import Path

import numpy as np

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here))
from architectures import digest  # noqa: E402
from architectures_conv import CASES  # noqa: E402
from images import case_points, points  # noqa: E402
from textbook import exact, kernels  # noqa: E402

SOURCES = tuple(
    here / f"{name}.py"
    for name in (
        "generate_mpmath_conv",
        "architectures",
        "architectures_conv",
        "images",
        "textbook",
    )
)
DIGITS = 50

# Kinked activations at near pairs in every kind of layer, and some smooth ones.
NETWORKS = (
    *("line_circular_stride_3", "line_spatial", "relu_same_spatial", "relu_same_flatten"),
    *("relu_same_gap_bias", "abs_same_gap", "abrelu_circular_flatten", "erf_same_gap"),
    *("gelu_same_gap", "standard_scaled_gap", "avg_pool_normalized_edges", "sum_pool_same"),
    *("layer_norm_columns", "product_gap", "concat_rows_flatten", "residual_conv_projected"),
    *("volume_valid_flatten", "digits_relu_gap", "digits_relu_flatten_bias", "digits_one_pixel"),
    *("relu_10_same_flatten", "dense_layer_norm", "dense_product", "dense_concat", "dense_repeat"),
)


def main():
    """Compute every kernel and write the file."""
    import mpmath

    numbers = exact(DIGITS)
    arrays = {f"inputs/{name}": x for name, x in points().items()}
    for name in NETWORKS:
        case = CASES[name]
        *values, near = kernels(case.spec, case_points(name), case.layout, numbers)
        keep = np.triu_indices(len(near)) if near.ndim == 2 else ...
        for which, value in zip(("nngp", "ntk"), values, strict=True):
            arrays[f"{name}/{which}"] = value[keep].astype(np.float64)
    versions = (f"mpmath=={mpmath.__version__}", f"numpy=={np.__version__}")
    arrays["versions"] = np.array(versions)
    arrays["digest"] = np.array(digest(*SOURCES))
    target = here / "mp_conv.npz"
    np.savez_compressed(target, **arrays)
    print(f"{target.name}: {len(NETWORKS)} networks, {target.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
