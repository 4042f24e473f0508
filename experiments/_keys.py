"""What was asked for, and the key under which its result is stored.

The key of a result is the hash of its configuration, the source of every module that it reaches,
the fingerprints of its data, the float64 flag, versions and platform. Configuration and data
fingerprints need the module, and that imports JAX. So the answer to a *request* (name, preset,
overrides as typed, code, versions) is remembered, together with a witness of the data files; while
both stand, the key is known without any import.
"""

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

from experiments import _catalog, _environment
from experiments._hashing import code_hashes, digest
from experiments._workspace import Workspace, write_text

_PLAIN = (bool, int, float, str, type(None))


class Request(NamedTuple):
    """An experiment as a person asks for it; `overrides` holds (field, words as typed)."""

    name: str
    preset: str = "quick"
    overrides: tuple[tuple[str, tuple[str, ...]], ...] = ()


class Target(NamedTuple):
    """A request that has been understood.

    `parts` is what the key is the hash of. `preset` is None where the configuration differs from
    that of the preset, because then no claim binds.
    """

    request: Request
    card: _catalog.Card
    parts: dict[str, Any]
    preset: str | None

    @property
    def key(self) -> str:
        return digest(self.parts)

    def folder(self, space: Workspace) -> Path:
        """Return the folder of the stored result."""
        return space.cache / self.request.name / self.key[:24]

    def label(self) -> str:
        """Return "preset quick", with what was changed."""
        changed = ", ".join(f"{field}={' '.join(text)}" for field, text in self.request.overrides)
        note = f" with {changed}" if self.preset is None else ""
        return f"preset {self.request.preset}{note}"


def understand(space: Workspace, request: Request, say: Any = None) -> Target:
    """Find the key of a request, without importing anything heavy if it was asked before.

    Parameters
    ----------
    space
        The workspace.
    request
        What is asked for.
    say
        Called with a few words before slow work begins.

    Raises
    ------
    UsageError
        Unknown experiment, preset or field; SystemExit(2) for a value that does not parse.
    """
    card = _catalog.card(space, request.name)
    _catalog.check_preset(request.preset)
    for field, _ in request.overrides:
        _catalog.check_field(card, field)
    module = f"{space.package}.{request.name}"
    known = {
        "experiment": request.name,
        "x64": card.x64,
        "code": code_hashes(module, space.roots, views=False),
        "environment": _environment.key_part(),
    }
    asked = digest([request, known, os.environ.get("THEORYLAB_DATA")])
    pointer = space.cache / request.name / "requests" / f"{asked[:24]}.json"
    answer = _remembered(pointer)
    if answer is None:
        say = say or (lambda _: None)
        answer = _find_out(space, request, card, say)
        write_text(pointer, json.dumps(answer, indent=1))
    parts = {**known, "config": answer["config"], "data": answer["data"]}
    return Target(request, card, parts, answer["preset"])


def resolve(space: Workspace, request: Request) -> Any:
    """Return the Config of a request. Imports the module; tyro parses the overrides."""
    module = _catalog.load(space, request.name)
    config = module.PRESETS[request.preset]
    if not request.overrides:
        return config
    try:
        import tyro
    except ImportError as error:
        message = "--config.FIELD needs tyro: pip install 'theorylab[experiments]'"
        raise _catalog.UsageError(message) from error
    words = []
    for field, text in request.overrides:
        words += [f"--config.{field.replace('_', '-')}", *text]
    # One field around the Config, so that tyro's messages say --config.FIELD.
    options = dataclasses.make_dataclass("Options", [("config", type(config))])
    chosen = tyro.cli(
        options,
        args=words,
        default=options(config),
        prog=f"run {request.name}",
        config=(tyro.conf.FlagConversionOff,),
    )
    return chosen.config


def _find_out(space: Workspace, request: Request, card: _catalog.Card, say: Any) -> dict[str, Any]:
    """Import the module and return its configuration, data fingerprints and the data's witness."""
    say("importing")
    import jax

    module = _catalog.load(space, request.name)
    config = resolve(space, request)
    directory = _environment.data_directory(getattr(config, "data_dir", None))
    # Taken before the data are read: a file that changes meanwhile is noticed next time.
    witness = _environment.data_witness(directory)
    say("reading the data")
    with jax.enable_x64(card.x64):
        data = {str(name): str(print_) for name, print_ in module.datasets(config).items()}
    return {
        "config": _plain(request.name, config),
        "preset": request.preset if config == module.PRESETS[request.preset] else None,
        "data": data,
        "directory": str(directory),
        "witness": witness,
    }


def _remembered(pointer: Path) -> dict[str, Any] | None:
    """Return a stored answer whose data are still as they were; None if there is none to trust."""
    try:
        answer: dict[str, Any] = json.loads(pointer.read_text(encoding="utf-8"))
        unchanged = answer["witness"] == _environment.data_witness(Path(answer["directory"]))
        return answer if unchanged and {"config", "preset", "data"} <= answer.keys() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _plain(name: str, config: Any) -> dict[str, Any]:
    """Return a Config as a dict that JSON holds without loss."""

    def check(field: str, value: Any) -> Any:
        if isinstance(value, tuple):
            return [check(field, item) for item in value]
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)  # JSON has no infinity
        if not isinstance(value, _PLAIN):
            raise TypeError(
                f"{name}: Config.{field} must be int, float, bool, str, None or a tuple of these, "
                f"got {type(value).__name__}"
            )
        return value

    return {
        field.name: check(field.name, getattr(config, field.name))
        for field in dataclasses.fields(config)
    }
