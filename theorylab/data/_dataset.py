"""What every loader returns: a NamedTuple of arrays and the fingerprint that identifies them.

Differs from the paper / reference:
  1. No paper. The fingerprint covers the arrays as they are returned (values, shapes, dtypes,
     split), not the file they came from, so that the same images read from a plain or a compressed
     file agree.
"""

import hashlib
from typing import NamedTuple

import numpy as np

LARGEST_BYTE = 255.0  # images are stored as unsigned bytes; pixels are divided by the largest


class Dataset(NamedTuple):
    """A data set for classification, already split.

    Attributes
    ----------
    x_train, x_test
        Images, float32 in [0, 1]: (n, height, width) when grey, (n, height, width, 3) in colour.
        Flatten them with ``x.reshape(len(x), -1)`` for fully connected networks.
    y_train, y_test
        Labels, int32, (n,), from 0.
    name
        What was really loaded and from which source, in words fit for a figure's caption.
    fingerprint
        SHA-256, in hexadecimal, of the four arrays with their shapes and dtypes.

    Examples
    --------
    >>> import numpy as np
    >>> from theorylab.data import Dataset
    >>> x, y = np.zeros((2, 4, 4), np.float32), np.zeros(2, np.int32)
    >>> Dataset(x, y, x, y, name="blank", fingerprint="").x_train.shape
    (2, 4, 4)
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    name: str
    fingerprint: str


def from_bytes(
    x_train: np.ndarray,
    y_train: np.ndarray,
    x_test: np.ndarray,
    y_test: np.ndarray,
    *,
    name: str,
    largest: float = LARGEST_BYTE,
) -> Dataset:
    """Scale integer pixels to [0, 1], fix the dtypes and fingerprint the result."""
    scale = np.float32(largest)
    images = [np.ascontiguousarray(x, dtype=np.float32) / scale for x in (x_train, x_test)]
    labels = [np.ascontiguousarray(y, dtype=np.int32) for y in (y_train, y_test)]
    arrays = (images[0], labels[0], images[1], labels[1])
    return Dataset(*arrays, name=name, fingerprint=fingerprint(*arrays))


def fingerprint(*arrays: np.ndarray) -> str:
    """SHA-256 of arrays: dtype, shape and little-endian bytes of each, in order."""
    digest = hashlib.sha256()
    for array in arrays:
        portable = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
        digest.update(f"{portable.dtype.str}{portable.shape}".encode())
        digest.update(portable.tobytes())
    return digest.hexdigest()
