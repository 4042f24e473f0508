"""Why a figure would be computed again: the parts of its key that differ from the last run."""

import json
from typing import Any

from experiments import _keys
from experiments._workspace import Workspace


def why(space: Workspace, request: _keys.Request) -> list[str]:
    """Return one line for each part of the key that differs from the last run of the preset.

    Parameters
    ----------
    space
        The workspace.
    request
        The experiment and preset.

    Returns
    -------
    list of str
        Empty if nothing differs; one line that says so if there was no run.
    """
    target = _keys.understand(space, request)
    last = space.cache / request.name / f"last-{request.preset}.json"
    try:
        old = json.loads(last.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        old = None
    if not isinstance(old, dict):
        return [f"no run of {request.name} with preset {request.preset} is stored here"]
    # Through JSON, so that tuples and lists compare equal.
    return differences(old, json.loads(json.dumps(target.parts)))


def differences(old: dict[str, Any], new: dict[str, Any], path: str = "") -> list[str]:
    """Return the differences of two nested dicts, one line each.

    Examples
    --------
    >>> differences({"config": {"width": 64}}, {"config": {"width": 128}, "x64": True})
    ['config.width: 64 -> 128', 'x64: new, true']
    """
    lines: list[str] = []
    for key in sorted(old.keys() | new.keys()):
        here = f"{path} {key}".strip() if path in _FLAT else f"{path}.{key}".strip(".")
        if key not in old:
            lines.append(f"{here}: new{_value(path, new[key])}")
        elif key not in new:
            lines.append(f"{here}: gone{_value(path, old[key])}")
        elif isinstance(old[key], dict) and isinstance(new[key], dict):
            lines += differences(old[key], new[key], here)
        elif old[key] != new[key]:
            changed = path in _HASHES
            values = "" if changed else f"{json.dumps(old[key])} -> {json.dumps(new[key])}"
            lines.append(f"{here}: {values or 'changed'}")
    return lines


# Under these names lie hashes, which tell a reader nothing, and names that hold dots themselves.
_HASHES = ("code", "data")
_FLAT = ("code", "data", "environment")


def _value(path: str, value: Any) -> str:
    return "" if path in _HASHES or isinstance(value, dict) else f", {json.dumps(value)}"
