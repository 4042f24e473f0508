"""Misses that are known: claims that fail, each with the value it had and the reason.

A known miss keeps `verify` at exit 0; every table still says MISS. The measured value is part of
the entry, so that an old excuse does not cover a new failure: a value further from the listed one
than `TOLERANCE` (relative) and three standard errors is a new miss.
"""

import math
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from experiments._catalog import UsageError

FILE = "known_misses.toml"

# Ours: wide enough for another machine's rounding and core count, too narrow for another effect.
TOLERANCE = 0.10


class KnownMiss(NamedTuple):
    """One entry of known_misses.toml."""

    experiment: str
    claim: str
    preset: str
    measured: float
    reason: str


def read(folder: Path) -> list[KnownMiss]:
    """Return the entries of known_misses.toml in a folder; none if there is no such file.

    Raises
    ------
    UsageError
        The file does not parse, or an entry lacks a field or a reason.
    """
    path = folder / FILE
    if not path.exists():
        return []
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("miss", [])
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{FILE}: {error}") from error
    return [_entry(number, entry) for number, entry in enumerate(entries, start=1)]


def covers(entry: KnownMiss, name: str, claim: dict[str, Any]) -> bool:
    """Return whether an entry excuses a missed claim of experiment `name`.

    Examples
    --------
    >>> entry = KnownMiss("toy", "slope", "quick", -0.30, "too few seeds")
    >>> claim = {"name": "slope", "preset": "quick", "measured": -0.31, "error": None}
    >>> covers(entry, "toy", claim), covers(entry, "toy", claim | {"measured": 0.4})
    (True, False)
    """
    if (entry.experiment, entry.claim, entry.preset) != (name, claim["name"], claim["preset"]):
        return False
    if claim["measured"] is None:
        return not math.isfinite(entry.measured)
    distance = abs(claim["measured"] - entry.measured)
    return bool(distance <= max(TOLERANCE * abs(entry.measured), 3 * (claim["error"] or 0.0)))


def _entry(number: int, entry: Any) -> KnownMiss:
    fields = KnownMiss._fields
    if not isinstance(entry, dict) or set(entry) != set(fields):
        raise UsageError(f"{FILE}, entry {number}: fields must be {', '.join(fields)}")
    texts = [entry[field] for field in fields if field != "measured"]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise UsageError(f"{FILE}, entry {number}: every text, the reason too, must be given")
    if isinstance(entry["measured"], bool) or not isinstance(entry["measured"], int | float):
        raise UsageError(f"{FILE}, entry {number}: measured must be a number (nan is one)")
    return KnownMiss(**{**entry, "measured": float(entry["measured"])})
