"""How far two kernels are apart: the measure that every oracle test uses."""

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
