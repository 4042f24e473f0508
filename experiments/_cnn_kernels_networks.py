r"""The three networks of `cnn_kernels`, their images, and what must hold exactly between kernels.

Images are MNIST digits cut to their central 24 x 24 pixels and averaged over 3 x 3, so 8 x 8; the
mean of the 4,000 training images is removed and each image scaled to norm 8.

Identities, in float64, for k hidden layers of *1 x 1* filters, which act on each pixel alone, as a
fully connected network F with one input does:

1. behind ``Flatten`` the kernel of two images is the mean over pixels p of
   :math:`K_F(x_p, x'_p)`;
2. behind ``GlobalAvgPool`` it is the mean over all pairs of pixels p, p' of
   :math:`K_F(x_p, x'_{p'})`;

both for NNGP and NTK, since readouts are linear in the kernel. With 3 x 3 filters and *circular*
padding,

3. the kernel behind ``GlobalAvgPool`` stays the same when one of the images is shifted
   cyclically.
"""

from typing import Any

import jax
import numpy as np

import theorylab.kernels as tk
from theorylab import data

SIDE = 8
W_STD, B_STD = 2**0.5, 0.1
NAMES = ("fc", "flatten", "gap")
# Images and hidden layers in the identities; any will do.
FEW, SHALLOW = 5, 2


def images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (count, 8, 8, 1) images in float32 and their labels.

    Raises
    ------
    ValueError
        More images are asked for than there are, or none.

    Examples
    --------
    >>> x, labels = images(3)
    >>> x.shape, [round(float(v)) for v in (x**2).sum((1, 2, 3))], labels.tolist()
    ((3, 8, 8, 1), [64, 64, 64], [0, 1, 2])
    """
    used = data.mnist(subset="5k")
    if not 1 <= count <= len(used.x_train):
        raise ValueError(f"count must be between 1 and {len(used.x_train)}, got {count}")
    cut = used.x_train[:, 2:26, 2:26].astype(np.float64)
    small = cut.reshape(-1, SIDE, 3, SIDE, 3).mean(axis=(2, 4))
    x = small[:count] - small.mean(axis=0)
    x *= SIDE / np.sqrt((x**2).sum(axis=(1, 2), keepdims=True))
    return x[..., None].astype(np.float32), used.y_train[:count]


def network(name: str, layers: int) -> Any:
    """Return one of `NAMES` with some hidden layers, ReLU behind each, and a readout.

    Examples
    --------
    >>> network("gap", 3).output_shape((2, 8, 8, 1))
    (2, 1)
    """
    if name == "fc":
        affine = tk.Dense(64, W_std=W_STD, b_std=B_STD)
        return tk.serial(tk.Flatten(), *[affine, tk.Relu()] * layers, tk.Dense(1))
    return convolutional((3, 3), "SAME", layers, {"flatten": tk.Flatten(), "gap": _pool()}[name])


def convolutional(filters: tuple[int, int], padding: Any, layers: int, end: Any) -> Any:
    """Return a network of convolutions with ReLU, an end that removes the pixels, and a readout."""
    affine = tk.Conv(64, filters, padding=padding, W_std=W_STD, b_std=B_STD)
    return tk.serial(*[affine, tk.Relu()] * layers, end, tk.Dense(1))


def identities(x: np.ndarray) -> dict[str, Any]:
    """Return {name: largest difference, relative to the largest entry} for images (n, 8, 8, 1)."""
    with jax.enable_x64(True):
        x = np.asarray(x[:FEW], np.float64)
        pixels = x.reshape(-1, 1)
        affine = tk.Dense(1, W_std=W_STD, b_std=B_STD)
        each = tk.serial(*[affine, tk.Relu()] * SHALLOW, tk.Dense(1)).kernel(pixels)
        flat, pooled = (
            convolutional((1, 1), "SAME", SHALLOW, end).kernel(x) for end in (tk.Flatten(), _pool())
        )
        circular = convolutional((3, 3), "CIRCULAR", SHALLOW, _pool())
        shifted = np.roll(x, (3, 1), axis=(1, 2))
        still, moved = circular.kernel(x, x), circular.kernel(x, shifted)
        found = {"flatten": 0.0, "gap": 0.0, "shift": 0.0}
        for field in ("nngp", "ntk"):
            blocks = np.asarray(getattr(each, field)).reshape(len(x), SIDE**2, len(x), SIDE**2)
            diagonal = np.einsum("ipjp->ij", blocks) / SIDE**2
            for name, value, wanted in (
                ("flatten", getattr(flat, field), diagonal),
                ("gap", getattr(pooled, field), blocks.mean(axis=(1, 3))),
                ("shift", getattr(moved, field), getattr(still, field)),
            ):
                gap = np.abs(np.asarray(value) - np.asarray(wanted)).max() / np.abs(wanted).max()
                found[name] = max(found[name], float(gap))
        return found


def _pool() -> Any:
    return tk.GlobalAvgPool()
