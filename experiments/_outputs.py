"""Puts results where people look: paper_figures/NAME/, and published/NAME/ for what is tracked."""

import json
from pathlib import Path
from typing import Any

from experiments._lock import locked
from experiments._run import DATA, Result
from experiments._workspace import Workspace, copy_file, write_text

PUBLISHED = "published"

# What the pages read from a record.
_FIELDS = {
    *("experiment", "title", "paper", "preset", "changed", "config", "seeds", "x64", "data"),
    *("versions", "device", "machine", "system", "cores", "wall_time_seconds", "computed"),
    *("budget_seconds", "claims", "caption", "alt", "hashes", "modules"),
}


def deliver(space: Workspace, result: Result, *, publish: bool = False) -> dict[str, Path]:
    """Copy figure, data and record of a result to its folder; return {kind: path}.

    Parameters
    ----------
    space
        The workspace.
    result
        What `obtain` returned.
    publish
        Also copy thumbnail and record to the tracked folder.
    """
    name = result.target.request.name
    folder = space.figures / name
    record = json.dumps(result.record, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    # Two presets of one experiment share these names: without the lock a reader could find the
    # figure of one beside the record of the other.
    with locked(space.cache / f"{name}.outputs.lock", lambda _: None, name):
        copy_file(result.drawings / "figure.png", folder / "figure.png")
        copy_file(result.drawings / "figure.pdf", folder / "figure.pdf")
        copy_file(result.folder / DATA, folder / DATA)
        write_text(folder / "record.json", record)
        if publish:
            shown = space.figures / PUBLISHED / name
            copy_file(result.drawings / "thumbnail.png", shown / "figure.png")
            write_text(shown / "record.json", record)
    return {
        "figure": folder / "figure.png",
        "pdf": folder / "figure.pdf",
        "data": folder / DATA,
        "record": folder / "record.json",
    }


def records(folder: Path) -> list[dict[str, Any]]:
    """Return the records under a folder that have a figure beside them, in the order of names.

    A record that does not parse, or that another version wrote with other fields, is left out: the
    page shows what there is.
    """
    found = []
    for path in sorted(folder.glob("*/record.json")):
        if not (path.parent / "figure.png").is_file():
            continue
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(record, dict) and _FIELDS <= record.keys():
            found.append(record)
    return found


def shown_path(path: Path) -> str:
    """Return a path as a person in the current folder would type it."""
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(path)
