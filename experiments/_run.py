"""From a request to a result: arrays computed once, then judged and drawn from what is stored.

Order matters. Arrays are on disk before anything is drawn, so a drawing that fails or changes costs
no computation. A result in the cache is two JSON files and the files whose hashes they hold; when
a hash does not fit, that part is made again, with a warning.
"""

import datetime
import json
import shutil
import time
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from experiments import _catalog, _claims, _environment, _keys
from experiments._display import Display
from experiments._hashing import arrays_digest, code_hashes, digest, file_digest
from experiments._lock import locked
from experiments._workspace import Workspace, write_text

DATA = "data.npz"


class Result(NamedTuple):
    """A stored result.

    `record` is what record.json will hold, `folder` has the arrays, `drawings` the figures;
    `computed` and `drawn` say what had to be done now, in `seconds` of this call.
    """

    target: _keys.Target
    record: dict[str, Any]
    folder: Path
    drawings: Path
    computed: bool
    drawn: bool
    seconds: float


def obtain(space: Workspace, request: _keys.Request, *, force: bool = False) -> Result:
    """Return the result of a request: from the cache, resumed, or computed.

    Parameters
    ----------
    space
        The workspace.
    request
        What is asked for.
    force
        Compute even if the result is stored.

    Raises
    ------
    UsageError
        The request names something that does not exist.
    TypeError, ValueError
        The experiment does not keep to the contract in README.md.
    """
    start = time.monotonic()
    with Display(request.name) as display:
        target = _keys.understand(space, request, display.phase)
        folder = target.folder(space)
        lock = folder.with_suffix(".lock")
        with locked(lock, display.phase, target.label()):
            _sweep(folder)
            if force:
                shutil.rmtree(folder, ignore_errors=True)
            stored = _intact(folder, "arrays.json", display)
            computed = stored is None
            if stored is None:
                stored = _compute(space, target, folder, display)
            view_id = _view_id(space, target, stored)
            drawings = folder / f"view-{view_id[:16]}"
            view = _intact(drawings, "view.json", display)
            drawn = view is None
            if view is None:
                view = _draw(space, target, folder, drawings, display)
            last = folder.parent / f"last-{request.preset}.json"
            write_text(last, json.dumps(target.parts, indent=1))
    record = _record(target, stored, view)
    seconds = time.monotonic() - start
    return Result(target, record, folder, drawings, computed, drawn, seconds)


def _sweep(folder: Path) -> None:
    """Remove the temporary files of a killed run; the caller holds the lock."""
    for stray in folder.rglob(".*"):
        stray.unlink(missing_ok=True)


def _intact(folder: Path, sidecar: str, display: Display) -> dict[str, Any] | None:
    """Return a sidecar's contents if every file that it names has the hash that it states."""
    path = folder / sidecar
    if not path.exists():
        return None
    try:
        contents: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        damaged = [
            name for name, sha in contents["files"].items() if file_digest(folder / name) != sha
        ]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        damaged = [f"{sidecar} ({type(error).__name__})"]
    if damaged:
        display.note(f"warning: damaged in the cache, made again: {', '.join(damaged)}")
        return None
    return contents


def _seal(folder: Path, sidecar: str, names: tuple[str, ...], contents: dict[str, Any]) -> None:
    """Write a sidecar with the hashes of files; it comes last, so it vouches for whole files."""
    files = {name: file_digest(folder / name) for name in names}
    write_text(folder / sidecar, json.dumps({**contents, "files": files}, indent=1))


def _compute(
    space: Workspace, target: _keys.Target, folder: Path, display: Display
) -> dict[str, Any]:
    """Run the experiment and store its arrays; return the contents of arrays.json."""
    display.phase("computing")
    import jax

    from experiments._progress import Progress
    from experiments._store import as_arrays, save

    module = _catalog.load(space, target.request.name)
    config = _keys.resolve(space, target.request)
    parts = folder / "parts"
    progress = Progress(parts, display)
    start = time.monotonic()
    with jax.enable_x64(target.card.x64):
        arrays = as_arrays("run", module.run(config, progress))
        wall = time.monotonic() - start + progress.restored_seconds
        environment = _environment.description()
    save(folder / DATA, arrays)
    contents = {
        "arrays": arrays_digest(arrays),
        "wall_time_seconds": round(wall, 2),
        "computed": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        **environment,
    }
    _seal(folder, "arrays.json", (DATA,), contents)
    shutil.rmtree(parts, ignore_errors=True)
    stored = _intact(folder, "arrays.json", display)
    if stored is None:
        raise OSError(f"{folder.name}: what was just written does not read back; is the disk full?")
    return stored


def _view_id(space: Workspace, target: _keys.Target, stored: dict[str, Any]) -> str:
    """Return the hash of all that claims, figure and captions depend on."""
    here = Path(__file__).parent
    return digest(
        {
            "arrays": stored["arrays"],
            "code": code_hashes(f"{space.package}.{target.request.name}", space.roots, views=True),
            "drawing": [file_digest(here / name) for name in ("_figures.py", "_style.py")],
            "matplotlib": _environment.version("matplotlib"),
            "label": target.label(),
            "binds": target.preset,
            "data": target.parts["data"],
        }
    )


def _draw(
    space: Workspace, target: _keys.Target, folder: Path, drawings: Path, display: Display
) -> dict[str, Any]:
    """Judge and draw the stored arrays; return the contents of view.json."""
    display.phase("drawing")
    from experiments import _figures
    from experiments._store import load

    module = _catalog.load(space, target.request.name)
    arrays = load(folder / DATA)
    claims = _checked_claims(module, target, arrays)
    drawings.mkdir(parents=True, exist_ok=True)
    data = "; ".join(target.parts["data"]) or "generated"
    _figures.draw(module, arrays, f"Data: {data}. {target.label().capitalize()}.", drawings)
    explain = getattr(module, "caption", None)
    caption = str(explain(arrays)) if explain else f"{target.card.title}."
    contents = {
        "claims": [_claims.to_json(claim, target.preset) for claim in claims],
        "alt": str(module.alt(arrays)),
        "caption": f"{caption} Data: {data}. {target.label().capitalize()}.",
    }
    _seal(drawings, "view.json", _figures.FILES, contents)
    return contents


def _checked_claims(
    module: ModuleType, target: _keys.Target, arrays: dict[str, Any]
) -> list[_claims.Claim]:
    """Return the claims, checked for unique names and an identity that binds in smoke."""
    claims = list(module.claims(arrays))
    names = [claim.name for claim in claims]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{target.request.name}: claims need unique names, got {twice} twice")
    if not any("smoke" in claim.binds for claim in claims):
        raise ValueError(
            f"{target.request.name}: at least one claim must bind in smoke (an exact identity)"
        )
    return claims


def _record(target: _keys.Target, stored: dict[str, Any], view: dict[str, Any]) -> dict[str, Any]:
    """Return what record.json holds: everything a reader needs to judge or repeat the figure."""
    config = target.parts["config"]
    return {
        "experiment": target.request.name,
        "title": target.card.title,
        "paper": target.card.paper,
        "preset": target.request.preset,
        "changed": {field: " ".join(text) for field, text in target.request.overrides},
        "config": config,
        "seeds": {field: value for field, value in config.items() if "seed" in field},
        "x64": target.card.x64,
        "data": target.parts["data"],
        **{k: v for k, v in stored.items() if k not in ("arrays", "files")},
        "budget_seconds": target.card.budget,
        "claims": view["claims"],
        "caption": view["caption"],
        "alt": view["alt"],
        "hashes": {
            "key": target.key,
            "arrays": stored["arrays"],
            "code": digest(target.parts["code"]),
        },
        "modules": target.parts["code"],
    }
