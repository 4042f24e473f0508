"""Where experiments, results and figures lie, and how a file reaches its place in one piece."""

import importlib.util
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Workspace:
    """The folders of one collection of experiments.

    Parameters
    ----------
    package
        Import name of the package that holds the experiments.
    folder
        Its folder.
    cache
        Where arrays, drawings and unfinished runs are stored; safe to delete at any time.
    figures
        Where figures, records, the report and the index go.
    roots
        {package: folder} of the sources that enter the key of a result.
    """

    package: str
    folder: Path
    cache: Path
    figures: Path
    roots: dict[str, Path]


def workspace(folder: Path | None = None, package: str = "experiments") -> Workspace:
    """Return the workspace of a package of experiments; by default this one.

    The cache is ``$THEORYLAB_CACHE/experiments``, else ``.cache/experiments`` beside the package: a
    fresh clone has none, so that its first run computes.
    """
    folder = (folder or Path(__file__).parent).resolve()
    home = os.environ.get("THEORYLAB_CACHE")
    cache = Path(home).expanduser().resolve() if home else folder.parent / ".cache"
    # This package is followed too where another one holds the experiments: they import `Claim`.
    roots = {"experiments": Path(__file__).resolve().parent, package: folder}
    # find_spec looks a top-level package up without importing it.
    spec = importlib.util.find_spec("theorylab")
    if spec is not None and spec.submodule_search_locations:
        roots["theorylab"] = Path(next(iter(spec.submodule_search_locations)))
    return Workspace(package, folder, cache / package, folder.parent / "paper_figures", roots)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`, and move it there when the block ends well.

    A reader sees the old file or the new one, never a part, whatever kills the writer. What a power
    cut may still lose is found out by the checksums.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = pathlib.Path(folder) / "a" / "numbers.txt"
    ...     with replacing(target) as temporary:
    ...         _ = temporary.write_text("1 2 3")
    ...     print(target.read_text(), len(list(target.parent.iterdir())))
    1 2 3 1
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files that only their owner can read; results are for everybody.
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in one piece; an equal file is left as it is."""
    if path.is_file() and path.read_bytes() == text.encode():
        return
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def copy_file(source: Path, target: Path) -> None:
    """Copy a file in one piece; an equal file is left as it is."""
    content = source.read_bytes()
    if target.is_file() and target.read_bytes() == content:
        return
    with replacing(target) as temporary:
        temporary.write_bytes(content)
