"""Arrays on disk: npz without pickle, written in one piece, with a checksum that is looked at.

A file that does not hold what was stored raises `CorruptFile`; whoever reads decides, and here
everybody decides alike: say so and compute again.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments._hashing import arrays_digest
from experiments._workspace import replacing

META = "__meta__"


class CorruptFile(Exception):
    """A stored file that is damaged, incomplete, or not what its checksum says."""


def as_arrays(owner: str, values: Any) -> dict[str, np.ndarray]:
    """Return a flat dict of NumPy arrays, checked for what an npz file can hold.

    Parameters
    ----------
    owner
        Who returned the values, for the messages.
    values
        A mapping from names to arrays (NumPy, JAX, or numbers).

    Raises
    ------
    TypeError
        Not a flat mapping of names to arrays of numbers, truth values or text. bfloat16 and other
        types that npz files do not keep are refused too.

    Examples
    --------
    >>> as_arrays("run", {"slope": 0.5})
    {'slope': array(0.5)}
    """
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise TypeError(f"{owner} must return a dict of named arrays, got {type(values).__name__}")
    arrays = {}
    for name, value in values.items():
        array = np.asarray(value)
        if array.dtype.kind not in "biufcU" or name == META:
            raise TypeError(
                f"{owner}: {name!r} must be an array of numbers, truth values or text, "
                f"got dtype {array.dtype}"
            )
        arrays[name] = array
    return arrays


def save(
    path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any] | None = None
) -> None:
    """Store arrays in one piece; with `meta`, it and their checksum go into the same file."""
    members = dict(arrays)
    if meta is not None:
        text = json.dumps({**meta, "sha256": arrays_digest(arrays)}, sort_keys=True)
        members[META] = np.asarray(text)
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **members)


def load(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an npz file.

    Raises
    ------
    CorruptFile
        The file cannot be read; a missing file is no corruption and raises FileNotFoundError.
    """
    try:
        # Opened here: np.load leaves a damaged archive that it opened itself open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as members:
            return {name: members[name] for name in members.files}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        # A bare .npy under this name loads as an array, which is no archive: the last two.
        raise CorruptFile(f"{path.name}: {error}") from error


def load_checked(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return (arrays, meta) of a file that `save` wrote with `meta`.

    Raises
    ------
    CorruptFile
        The file cannot be read, or its arrays are not those that were stored.
    """
    arrays = load(path)
    try:
        meta: dict[str, Any] = json.loads(str(arrays.pop(META)))
        stored = meta.pop("sha256")
    except (KeyError, ValueError, AttributeError) as error:
        raise CorruptFile(f"{path.name}: no checksum in it") from error
    if arrays_digest(arrays) != stored:
        raise CorruptFile(f"{path.name}: the arrays do not match their checksum")
    return arrays, meta
