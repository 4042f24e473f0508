"""How far two kernels are apart: the measure that every oracle test uses."""

import os

import numpy as np


def error(ours, theirs, diagonal1, diagonal2):
    """|difference| / sqrt(K_ii K_jj), entry by entry; the plain difference where a diagonal is 0.

    `diagonal1` and `diagonal2` hold K_ii and K_jj and broadcast against the kernels. The entry
    itself is no yardstick: kernels of odd activations change sign, and their entries cross zero.
    """
    scale = np.sqrt(np.asarray(diagonal1) * np.asarray(diagonal2))
    difference = np.abs(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64))
    return difference / np.where(scale > 0, scale, 1.0)


def parallel(x1, x2, angle=1e-3):
    """(n1, n2) booleans: inputs within `angle` of parallel or opposite, or a row of zeros."""
    norms1, norms2 = (np.linalg.norm(x, axis=1, keepdims=True) for x in (x1, x2))
    u1, u2 = x1 / np.where(norms1 > 0, norms1, 1.0), x2 / np.where(norms2 > 0, norms2, 1.0)
    chords = [np.linalg.norm(u1[:, None] + sign * u2[None], axis=-1) for sign in (1.0, -1.0)]
    return (np.minimum(*chords) <= angle) | (norms1 == 0) | (norms2 == 0).T


def own(kernel):
    """(n, *S) diagonal of a kernel (n, n) or (n, n, *S, *S): each point at its own positions."""
    spatial = kernel.shape[2 : 2 + (kernel.ndim - 2) // 2]
    size = int(np.prod(spatial))
    square = np.reshape(kernel, (*kernel.shape[:2], size, size))
    return np.einsum("iipp->ip", square).reshape(len(kernel), *spatial)


def spatial_error(ours, theirs, own1, own2):
    """`error` of kernels (n1, n2, *S, *S') from the diagonals (n1, *S) and (n2, *S')."""
    d1 = np.reshape(own1, (len(own1), 1, *own1.shape[1:], *(1 for _ in own2.shape[1:])))
    d2 = np.reshape(own2, (1, len(own2), *(1 for _ in own1.shape[1:]), *own2.shape[1:]))
    return error(ours, theirs, d1, d2)


def chosen(few, everything):
    """`few` of the parameters of a test; all of them where THEORYLAB_ORACLES=all is set.

    Each convolutional network takes two to eight seconds to compile, all of them six minutes.
    """
    return everything if os.environ.get("THEORYLAB_ORACLES") == "all" else few


def full(array, n):
    """A kernel as it was stored: a triangle, row by row, or an array with spatial axes."""
    if array.ndim > 1:
        return array
    matrix = np.zeros((n, n), array.dtype)
    matrix[np.triu_indices(n)] = array
    return np.where(np.tri(n, dtype=bool), matrix.T, matrix)


def assert_close(ours, theirs, owns, bounds, name):
    """Every entry within its bound; the message names the worst."""
    assert ours.shape == theirs.shape, f"{name}: shape {ours.shape}, expected {theirs.shape}"
    e = spatial_error(ours, theirs, *owns)
    bounds = np.broadcast_to(bounds, e.shape)
    excess = np.where(np.isnan(e), np.inf, e / bounds)
    worst = np.unravel_index(np.argmax(excess), e.shape)
    where = tuple(int(i) for i in worst)
    message = f"{name}: error {e[worst]:.2e} at {where}, bound {bounds[worst]:.0e}"
    assert excess[worst] <= 1, message
