"""The command line: ``python -m experiments list | run | all | verify | report | why``.

stdout holds results (tables, paths, JSON), stderr what is going on. Exit codes: 0 well, 1 a claim
that binds was missed (`verify`) or an experiment failed, 2 something that was typed is unknown.
"""

import argparse
import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import _arguments, _catalog, _keys, _known, _outputs, _report, _run, _tables, _why
from experiments._display import duration
from experiments._workspace import Workspace, workspace


def main(words: Sequence[str] | None = None, space: Workspace | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    words
        The command line without the program; ``sys.argv[1:]`` by default.
    space
        The workspace; that of this package by default.
    """
    space = space or workspace()
    try:
        return _dispatch(space, list(sys.argv[1:] if words is None else words))
    except _catalog.UsageError as error:
        print(f"experiments: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone
        sys.stderr.close()
        return 1


def _dispatch(space: Workspace, words: list[str]) -> int:
    words, overrides = _arguments.split_overrides(words)
    known_word = bool(words) and (words[0] in _arguments.COMMANDS or words[0].startswith("-"))
    if words and not known_word:
        hint = _catalog.suggest(words[0], _arguments.COMMANDS)
        raise _catalog.UsageError(f"unknown command {words[0]!r}{hint}")
    parser = _arguments.parser(space)
    options, strange = parser.parse_known_args(words or ["--help"])
    if strange:
        known = ("--preset", "--force", "--publish", "--json", f"{_arguments.PREFIX}FIELD")
        if not strange[0].startswith("-"):
            raise _catalog.UsageError(f"unexpected argument {strange[0]!r}")
        given = strange[0].partition("=")[0]
        if given in known:
            raise _catalog.UsageError(f"{options.command} takes no option {given!r}")
        hint = _catalog.suggest(given, known)
        raise _catalog.UsageError(f"unknown option {strange[0]!r}{hint}")
    if overrides and options.command not in ("run", "why"):
        raise _catalog.UsageError(
            f"{_arguments.PREFIX}FIELD goes with run and why, not {options.command}"
        )
    if hasattr(options, "preset"):
        _catalog.check_preset(options.preset)
    if options.command == "list":
        return _list(space)
    if options.command == "report":
        print(_outputs.shown_path(_written_report(space)))
        return 0
    if options.command == "all":
        return _all(space, options)
    if options.command == "verify":
        return _verify(space, options)
    request = _keys.Request(options.name, options.preset, overrides)
    if options.command == "why":
        return _print_why(space, request)
    return _run_one(space, request, options)


def _list(space: Workspace) -> int:
    rows = [("experiment", "figure", "paper", "budget", "stored")]
    for name in _catalog.names(space):
        card = _catalog.card(space, name)
        # A preset counts as stored once it was run; `why` says whether that still holds.
        stored = [
            preset
            for preset in card.presets
            if (space.cache / name / f"last-{preset}.json").is_file()
        ]
        row = (name, card.title, card.paper, duration(card.budget), ", ".join(stored) or "-")
        rows.append(row)
    print(_tables.aligned(rows, limits=(24, 48, 40, 12, 20)))
    return 0


def _run_one(space: Workspace, request: _keys.Request, options: argparse.Namespace) -> int:
    result = _run.obtain(space, request, force=options.force)
    paths = _outputs.deliver(space, result, publish=options.publish)
    paths["report"] = _written_report(space)
    print(_time_line(result))
    print(_tables.claims_table([result.record]))
    for kind, path in paths.items():
        print(f"{kind}: {_outputs.shown_path(path)}")
    return 0


def _all(space: Workspace, options: argparse.Namespace) -> int:
    names = _catalog.names(space)
    results: list[_run.Result] = []
    failed: list[str] = []
    for number, name in enumerate(names, start=1):
        try:
            _announce(f"[{number}/{len(names)}]", _catalog.card(space, name), options.preset)
            result = _run.obtain(space, _keys.Request(name, options.preset), force=options.force)
            _outputs.deliver(space, result, publish=options.publish)
        except Exception as error:  # the other figures are still wanted
            if isinstance(error, _catalog.UsageError):
                print(f"experiments: {error}", file=sys.stderr)
            else:
                traceback.print_exc()
            failed.append(name)
            continue
        print(_time_line(result), flush=True)
        results.append(result)
    report = _written_report(space)
    if results:
        print(f"\n{_tables.claims_table([result.record for result in results])}\n")
    for result in results:
        name = result.target.request.name
        print(f"figure: {_outputs.shown_path(space.figures / name / 'figure.png')}")
    print(f"index:  {_outputs.shown_path(space.figures / 'index.html')}")
    print(f"report: {_outputs.shown_path(report)}")
    if _missed([result.record for result in results]):
        print("A claim that binds was missed: see the table.", file=sys.stderr)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _announce(place: str, card: _catalog.Card, preset: str) -> None:
    budget = f", budget {duration(card.budget)}" if preset == "quick" else ""
    print(f"{place} {card.name}: {card.title}{budget}", file=sys.stderr, flush=True)


def _verify(space: Workspace, options: argparse.Namespace) -> int:
    names = options.names or _catalog.names(space)
    known = _known.read(space.folder)
    for name in [*names, *(entry.experiment for entry in known)]:
        _catalog.card(space, name)  # unknown names before hours of work
    records = []
    for name in names:
        request = _keys.Request(name, options.preset)
        result = _run.obtain(space, request, force=options.force)
        print(_time_line(result), file=sys.stderr, flush=True)
        records.append(result.record)
    excused, new = [], []
    for name, claim in _missed(records):
        entry = next((e for e in known if _known.covers(e, name, claim)), None)
        if entry is None:
            new.append(f"{name}: {claim['name']}")
        else:
            excused.append(f"{name}: {claim['name']}: {entry.reason}")
    if options.json:
        print(json.dumps([_fields(r, claim) for r in records for claim in r["claims"]], indent=1))
    else:
        print(_tables.claims_table(records))
    for line in excused:
        print(f"known miss, {line}", file=sys.stderr)
    for line in _outdated(known, records):
        print(line, file=sys.stderr)
    for line in new:
        print(f"MISS, {line}", file=sys.stderr)
    return 1 if new else 0


def _print_why(space: Workspace, request: _keys.Request) -> int:
    lines = _why.why(space, request)
    stored = _keys.understand(space, request).folder(space) / "arrays.json"
    if not lines:
        lines = ["nothing differs from the last run"]
    lines.append(
        "the stored result would be used" if stored.is_file() else "it would be computed again"
    )
    print("\n".join(lines))
    return 0


def _missed(records: Sequence[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """Return (experiment, claim) for every claim that binds and fails."""
    return [(r["experiment"], c) for r in records for c in r["claims"] if c["verdict"] == "MISS"]


def _outdated(known: Sequence[_known.KnownMiss], records: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each known miss that is none any more, or has another value."""
    lines = []
    for entry in known:
        for record in records:
            for claim in record["claims"]:
                same = (record["experiment"], claim["name"], claim["preset"]) == entry[:3]
                holds = claim["verdict"] == "MISS" and _known.covers(entry, entry[0], claim)
                if same and not holds:
                    value = _tables.number(claim["measured"], claim["error"])
                    lines.append(
                        f"{_known.FILE} is out of date: {entry.experiment}, {entry.claim}: "
                        f"listed {entry.measured:g}, now {value} ({claim['verdict']})"
                    )
    return lines


def _fields(record: dict[str, Any], claim: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a claim for other programs."""
    order = ("name", "preset", "measured", "error", "low", "high", "paper", "source", "verdict")
    return {"experiment": record["experiment"], **{field: claim[field] for field in order}}


def _written_report(space: Workspace) -> Path:
    report = _report.write_report(space)
    _report.write_index(space)
    return report


def _time_line(result: _run.Result) -> str:
    """Return what was done for a result and how long it took beside its budget."""
    record = result.record
    name, wall = record["experiment"], duration(record["wall_time_seconds"])
    if result.computed:
        text = f"{name}: computed in {wall}"
        if record["preset"] == "quick" and not record["changed"]:
            budget = record["budget_seconds"]
            over = " (OVER BUDGET)" if record["wall_time_seconds"] > budget else ""
            text += f" of a budget of {duration(budget)}{over}"
        return text
    drawn = "drawn again" if result.drawn else "unchanged"
    return f"{name}: from the cache, {drawn}, in {duration(result.seconds)} (computing took {wall})"
