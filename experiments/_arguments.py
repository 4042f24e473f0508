"""What can be typed: the commands with their options, and ``--config.FIELD VALUE``."""

import argparse
from typing import NoReturn

from experiments import _catalog, _claims, _outputs
from experiments._workspace import Workspace

COMMANDS = {
    "list": "name the experiments",
    "run": "regenerate one figure",
    "all": "regenerate every figure, then the report",
    "verify": "print every claim beside the paper's number; exit 1 on a miss that is not known",
    "report": "write paper_figures/report.html from what was run",
    "why": "say which part of the key differs from the last run",
}
PREFIX = "--config."


class _Parser(argparse.ArgumentParser):
    """argparse, with its errors in our one form."""

    def error(self, message: str) -> NoReturn:
        raise _catalog.UsageError(message)


def parser(space: Workspace) -> argparse.ArgumentParser:
    """Return the parser of the commands and their options."""
    made = _Parser(
        prog=f"python -m {space.package}",
        description="Regenerate the figures of the papers and check what they claim.",
        epilog="What a module holds and where results lie: README.md in the experiments folder.",
        allow_abbrev=False,
    )
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        if name in ("run", "why"):
            sub.add_argument("name", metavar="NAME", help="an experiment, as `list` names it")
            sub.epilog = "--config.FIELD VALUE changes a field of the experiment's Config."
        if name == "verify":
            sub.add_argument("names", metavar="NAME", nargs="*", help="all experiments by default")
            sub.add_argument("--json", action="store_true", help="print the claims as JSON")
        if name in ("run", "all", "verify", "why"):
            presets = " | ".join(_claims.PRESETS)
            sub.add_argument("--preset", default="quick", metavar="P", help=f"{presets} (quick)")
        if name in ("run", "all", "verify"):
            sub.add_argument("--force", action="store_true", help="compute even what is stored")
        if name in ("run", "all"):
            help_ = f"also copy thumbnail and record to {_outputs.PUBLISHED}/"
            sub.add_argument("--publish", action="store_true", help=help_)
    return made


def split_overrides(
    words: list[str],
) -> tuple[list[str], tuple[tuple[str, tuple[str, ...]], ...]]:
    """Take ``--config.FIELD value ...`` and ``--config.FIELD=value`` out of a command line."""
    rest: list[str] = []
    taken: list[tuple[str, list[str]]] = []
    open_field = False
    for word in words:
        if word.startswith(PREFIX):
            field, equals, value = word.removeprefix(PREFIX).partition("=")
            taken.append((field.replace("-", "_"), [value] if equals else []))
            open_field = True
        elif word.startswith("--"):
            rest.append(word)
            open_field = False
        elif open_field:
            taken[-1][1].append(word)
        else:
            rest.append(word)
    for field, values in taken:
        if not values:
            raise _catalog.UsageError(f"{PREFIX}{field} needs a value")
    return rest, tuple((field, tuple(values)) for field, values in taken)
