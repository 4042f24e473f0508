"""The experiments there are: read from their syntax trees, imported only when they must run."""

import ast
import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType
from typing import Any, NamedTuple

from experiments._claims import PRESETS
from experiments._environment import version
from experiments._workspace import Workspace

FUNCTIONS = ("datasets", "run", "claims", "figure", "alt")
DEFAULT_BUDGET = 60.0
LARGEST_BUDGET = 240.0


class UsageError(Exception):
    """A request that cannot be met as it was typed: the command line prints it and exits 2."""


class Card(NamedTuple):
    """What an experiment says about itself in literals."""

    name: str
    title: str
    paper: str
    budget: float
    x64: bool
    fields: dict[str, str]
    presets: tuple[str, ...]


def suggest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for a near miss, and the list of what is known after it.

    Examples
    --------
    >>> suggest("quik", ["smoke", "quick"])
    "; did you mean 'quick'? Known: quick, smoke"
    """
    names = sorted(known)
    near = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.5)
    guess = f"; did you mean {near[0]!r}?" if near else "."
    return f"{guess} Known: {', '.join(names) or 'none'}"


def names(space: Workspace) -> list[str]:
    """Return the names of the experiments of a workspace, in alphabetical order."""
    files = space.folder.glob("*.py")
    return sorted(path.stem for path in files if not path.name.startswith("_"))


def card(space: Workspace, name: str) -> Card:
    """Read the card of an experiment without importing it.

    Raises
    ------
    UsageError
        There is no such experiment, or its file misses a part of the contract in README.md.
    """
    if name not in names(space):
        raise UsageError(f"unknown experiment {name!r}{suggest(name, names(space))}")
    path = space.folder / f"{name}.py"
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=path.name)
    except SyntaxError as error:
        raise UsageError(f"{path.name}, line {error.lineno}: {error.msg}") from error
    literals: dict[str, Any] = {}
    fields: dict[str, str] = {}
    presets: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == "Config":
            fields = {
                item.target.id: ast.unparse(item.value) if item.value else "(required)"
                for item in node.body
                if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
            }
        target, value = _assigned(node)
        if target == "PRESETS" and isinstance(value, ast.Dict):
            presets = [str(key.value) for key in value.keys if isinstance(key, ast.Constant)]
        elif target in ("TITLE", "PAPER", "BUDGET", "X64") and value is not None:
            try:
                literals[target] = ast.literal_eval(value)
            except ValueError as error:
                raise UsageError(f"{path.name}: {target} must be a literal") from error
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    missing = [part for part in ("TITLE", "PAPER") if not literals.get(part)]
    missing += [f"PRESETS[{preset!r}]" for preset in PRESETS if preset not in presets]
    missing += [f"{function}()" for function in FUNCTIONS if function not in functions]
    missing += [] if fields else ["Config with annotated fields"]
    if missing:
        raise UsageError(f"{path.name} misses {', '.join(missing)} (see README.md beside it)")
    budget = float(literals.get("BUDGET", DEFAULT_BUDGET))
    if not 0 < budget <= LARGEST_BUDGET:
        raise UsageError(
            f"{path.name}: BUDGET must be in (0, {LARGEST_BUDGET:g}] seconds, got {budget:g}"
        )
    return Card(
        name,
        literals["TITLE"],
        literals["PAPER"],
        budget,
        bool(literals.get("X64", False)),
        fields,
        tuple(presets),
    )


def load(space: Workspace, name: str) -> ModuleType:
    """Import the module of an experiment (and with it JAX).

    Raises UsageError where matplotlib is missing: better before a long computation than after.
    """
    if version("matplotlib") is None:
        raise UsageError("figures need matplotlib: pip install 'theorylab[experiments]'")
    return importlib.import_module(f"{space.package}.{name}")


def check_preset(preset: str) -> str:
    """Return a known preset, or raise `UsageError` with the nearest one."""
    if preset not in PRESETS:
        raise UsageError(f"unknown preset {preset!r}{suggest(preset, PRESETS)}")
    return preset


def check_field(described: Card, field: str) -> str:
    """Return a known field of an Config, or raise `UsageError` with the nearest one."""
    field = field.replace("-", "_")
    if field not in described.fields:
        raise UsageError(
            f"{described.name} has no config field {field!r}{suggest(field, described.fields)}"
        )
    return field


def _assigned(node: ast.stmt) -> tuple[str, ast.expr | None]:
    """Return (name, value) of a top-level assignment to one name, else ("", None)."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target: ast.expr = node.targets[0]
        value: ast.expr | None = node.value
    elif isinstance(node, ast.AnnAssign):
        target, value = node.target, node.value
    else:
        return "", None
    return (target.id, value) if isinstance(target, ast.Name) else ("", None)
