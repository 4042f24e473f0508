r"""Two small sets of real regression data that come inside other packages.

They are read from the packages' folders without importing the packages, as ``theorylab.data`` does
and for the same reason: importing scikit-learn or mlxtend takes seconds.

Inputs are brought to mean 0 and standard deviation 1, column by column, over the whole set: they
are known before any target is. Targets are divided by their standard deviation over the whole set,
which is the unit of all that follows and nothing that a model sees. Both sets have `COLUMNS`
inputs: missing ones are filled up with zeros and the others scaled so that :math:`x \cdot x' / d`,
all that a network sees of them, stays as it is.
"""

import gzip
import hashlib
import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

COLUMNS = 10
# Name, package, what pip calls it, folder, and the files, whose columns stand side by side. The
# last column is the target. Read are all columns but the names of the cars.
_FILES: dict[str, tuple[str, str, tuple[str, ...], dict[str, Any], str | None]] = {
    "diabetes": (
        "sklearn",
        "scikit-learn",
        ("datasets", "data"),
        {"diabetes_data_raw.csv.gz": range(10), "diabetes_target.csv.gz": range(1)},
        None,
    ),
    "auto mpg": (
        "mlxtend",
        "mlxtend",
        ("data", "data"),
        {"autompg.csv.gz": (0, 1, 2, 3, 4, 5, 6, 8)},
        ",",
    ),
}
NAMES = tuple(_FILES)


class Table(NamedTuple):
    """Inputs (n, 10) and targets (n,), float64, a name for captions and the SHA-256 of both."""

    x: np.ndarray
    y: np.ndarray
    name: str
    fingerprint: str


def table(name: str) -> Table:
    """Return one of `NAMES`.

    ``diabetes`` (Efron, Hastie, Johnstone and Tibshirani 2004; with scikit-learn): 442 patients,
    10 inputs, progression of the disease. ``auto mpg`` (Quinlan 1993, UCI; with mlxtend): 392
    cars, 7 inputs, miles per gallon.

    Raises
    ------
    ImportError
        The package that holds the set is missing, or does not hold it.

    Examples
    --------
    >>> found = table("auto mpg")
    >>> found.x.shape, found.y.shape, round(float((found.x**2).sum() / found.x.size), 6)
    ((392, 10), (392,), 1.0)
    """
    module, distribution, folders, files, delimiter = _FILES[name]
    spec = importlib.util.find_spec(module)  # of a top-level name: locates it, imports nothing
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    columns = []
    for file, wanted in files.items():
        path = Path(places[0]).joinpath(*folders, file) if places else None
        if path is None or not path.is_file():
            raise ImportError(
                f"the data set {name!r} comes with {distribution}, where {file} was not found: "
                "pip install --upgrade 'theorylab[experiments]'"
            )
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            columns.append(np.loadtxt(stream, delimiter=delimiter, usecols=wanted, ndmin=2))
    whole = np.concatenate(columns, axis=1)
    x, y = whole[:, :-1], whole[:, -1]
    x = (x - x.mean(axis=0)) / x.std(axis=0) * np.sqrt(COLUMNS / x.shape[1])
    x = np.pad(x, ((0, 0), (0, COLUMNS - x.shape[1])))
    digest = hashlib.sha256(np.ascontiguousarray(whole, dtype="<f8").tobytes()).hexdigest()
    return Table(x, y / y.std(), f"{name} ({distribution})", digest)
