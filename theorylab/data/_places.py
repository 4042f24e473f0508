"""Where files are looked for, the user's own and those of packages, and what is said without them.

Differs from the paper / reference:
  1. No paper. The first place that is *set* decides: ``data_dir``, else the variable
     THEORYLAB_DATA, else ``~/.cache/theorylab``. A directory that was named is never passed over
     for another one.
"""

import importlib.util
import os
from pathlib import Path

ENVIRONMENT_VARIABLE = "THEORYLAB_DATA"


def package_folder(module: str) -> Path | None:
    """The folder of an installed package, which is not imported; None where it is not installed."""
    try:
        spec = importlib.util.find_spec(module)  # of a top-level name: locates it, imports nothing
    except ImportError:
        spec = None
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    return Path(folders[0]) if folders else None


def root(data_dir: str | os.PathLike[str] | None) -> tuple[Path, str]:
    """Choose the directory to look in, and say in words why that one."""
    if data_dir is not None:
        return Path(data_dir).expanduser(), "the argument data_dir"
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        return Path(named).expanduser(), f"the environment variable {ENVIRONMENT_VARIABLE}"
    return Path.home() / ".cache" / "theorylab", "the default place"


def find(
    names: tuple[str, ...],
    *,
    folders: tuple[str, ...],
    data_dir: str | os.PathLike[str] | None,
    dataset: str,
    stand_in: str,
) -> Path:
    """Find the first existing file among ``names`` in the root and its ``folders``.

    Raises
    ------
    FileNotFoundError
        Naming the file wanted, every directory looked in, how to name another, and the stand-in.
    """
    base, reason = root(data_dir)
    places = [base, *(base / folder for folder in folders)]
    for place in places:
        for name in names:
            if (place / name).is_file():
                return place / name
    raise FileNotFoundError(
        f"{dataset}: no file {' or '.join(repr(name) for name in names)} in "
        f"{', '.join(str(place) for place in places)} ({reason}). TheoryLab downloads nothing: put "
        f"the file there, or name its directory with data_dir=... or {ENVIRONMENT_VARIABLE}. "
        f"A stand-in that needs no file: {stand_in}."
    )
