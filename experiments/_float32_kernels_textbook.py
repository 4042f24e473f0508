r"""The kernel recursion as it is printed in papers, in any NumPy precision, and its two measures.

With K and :math:`\Theta` the kernels before a layer and :math:`q_i = K_{ii}`,

* affine: :math:`K \to W^2 K + b^2`, :math:`\Theta \to W^2 \Theta + K`, the new K;
* activation: :math:`K \to E\,\phi(u)\phi(v)`, :math:`\Theta \to \Theta\, E\,\phi'(u)\phi'(v)`.

The expectations: ReLU by Cho and Saul (2009), erf by Williams (1997), gelu by Tsuchida, Pearce, van
der Heide, Roosta and Gallagher (2021). They hold only K, so that two nearly equal inputs, whose
covariance differs from their variance in the last digits, lose their angle: to the square root
of the precision.

NumPy alone: no part of the library takes part.
"""

from typing import Any, NamedTuple

import numpy as np


class Network(NamedTuple):
    """Hidden layers that repeat: activation, ``W_std``, ``b_std`` (float32 numbers, or None)."""

    activation: str
    W_std: float
    b_std: float | None


def rounded(value: float) -> float:
    """Return the nearest float32 number."""
    return float(np.float32(value))


NETWORKS = {
    "relu": Network("relu", rounded(2**0.5), None),
    "erf": Network("erf", rounded(1.5), rounded(0.2)),
    "gelu": Network("gelu", rounded(1.5), rounded(0.1)),
}


def kernels(network: Network, x: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the NNGP and the NTK behind 1 .. depth hidden layers, (depth, n, n) each.

    A readout without bias of ``W_std`` = 1 follows. All arithmetic is in the dtype of x (n, d).

    Examples
    --------
    >>> nngp, ntk = kernels(NETWORKS["relu"], np.eye(2) * 2**0.5, 1)
    >>> float(round(nngp[0, 0, 0], 6)), float(round(ntk[0, 0, 0], 6))
    (1.0, 2.0)
    """
    dual = {"relu": _relu, "erf": _erf, "gelu": _gelu}[network.activation]
    w2, b2 = x.dtype.type(network.W_std) ** 2, x.dtype.type(network.b_std or 0) ** 2
    k = np.matmul(x, x.T) / x.dtype.type(x.shape[1])
    t = np.zeros_like(k)
    found = []
    for _ in range(depth):
        k = w2 * k + b2
        t = w2 * t + k
        k, slope = dual(k)
        t = t * slope
        found.append((k, t + k))
    nngp, ntk = zip(*found, strict=True)
    return np.stack(nngp), np.stack(ntk)


def error(kernel: Any, reference: Any) -> np.ndarray:
    """Return the largest ``|K - R| / sqrt(R_ii R_jj)`` of each matrix in (..., n, n); NaN stays.

    Examples
    --------
    >>> float(error(np.array([[4.0, 1.0], [1.0, 1.0]]), np.array([[4.0, 2.0], [2.0, 1.0]])))
    0.5
    """
    root = np.sqrt(np.diagonal(reference, axis1=-2, axis2=-1))
    gap = np.abs(np.asarray(kernel, reference.dtype) - reference)
    return (gap / (root[..., :, None] * root[..., None, :])).max(axis=(-2, -1)).astype(float)


def smallest(kernel: Any) -> np.ndarray:
    """Return the smallest eigenvalue over the largest, for each matrix in (..., n, n).

    Eigenvalues of the matrix as it is, in float64; NaN where it has entries that are not finite.

    Examples
    --------
    >>> float(smallest(np.diag([4.0, 1.0])))
    0.25
    """
    kernel = np.asarray(kernel, np.float64)
    flat = kernel.reshape(-1, *kernel.shape[-2:])
    values = [
        np.linalg.eigvalsh(k) if np.isfinite(k).all() else np.full(len(k), np.nan) for k in flat
    ]
    return np.reshape([v[0] / v[-1] for v in values], kernel.shape[:-2])


def _pi(k: np.ndarray) -> Any:
    """Return pi in the dtype of k: the constant of NumPy is float64."""
    return 4 * np.arctan(k.dtype.type(1))


def _relu(k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    q = np.diagonal(k)
    scale = np.sqrt(q[:, None] * q[None, :])
    theta = np.arccos(np.clip(k / scale, -1, 1))
    rest = _pi(k) - theta
    return scale * (np.sin(theta) + rest * np.cos(theta)) / (2 * _pi(k)), rest / (2 * _pi(k))


def _erf(k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    row = 1 + 2 * np.diagonal(k)
    product = row[:, None] * row[None, :]
    sine = np.clip(2 * k / np.sqrt(product), -1, 1)
    return 2 / _pi(k) * np.arcsin(sine), 4 / _pi(k) / np.sqrt(product - 4 * k * k)


def _gelu(k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    q = np.diagonal(k)
    one, two = 1 + q[:, None], 1 + q[None, :]
    level = 0.25 + np.arcsin(np.clip(k / np.sqrt(one * two), -1, 1)) / (2 * _pi(k))
    det = one * two - k * k
    density = 1 / (2 * _pi(k) * np.sqrt(det))
    inverse = 1 / one + 1 / two
    value = k * level + density * (q[:, None] * q[None, :] - k * k + k * k * inverse)
    return value, level + k * density * (inverse + 1 / det)
