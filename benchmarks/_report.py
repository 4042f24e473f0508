"""What every benchmark needs to show its numbers: a table, a power law, a JSON file, a page."""

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
TABLES = Path(__file__).resolve().parent / "tables"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned, the first to the left, the others to the right."""
    lines = [list(header), *(list(row) for row in rows)]
    if any(len(line) != len(header) for line in lines):
        raise ValueError(f"every row must have {len(header)} columns, as the header has")
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(pairs))
        for pairs in (list(zip(line, widths, strict=True)) for line in [lines[0], rule, *lines[1:]])
    )


def growth_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Least-squares slope of log cost against log size: 2 where the cost is quadratic."""
    if len(sizes) < 2 or len(sizes) != len(costs):
        raise ValueError(f"needs two sizes at least, got {len(sizes)} and {len(costs)} costs")
    x, y = [math.log(s) for s in sizes], [math.log(c) for c in costs]
    mx, my = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
    return above / sum((a - mx) ** 2 for a in x)


def verdict(value: float, target: float) -> str:
    """In words, with the target beside it."""
    return f"{'met' if value <= target else 'MISSED'} (at most {target:g})"


def write(name: str, content: Mapping[str, Any], folder: Path | None = None) -> Path:
    """Write ``results/<name>.json`` with the machine and the time; the path is returned."""
    folder = RESULTS if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    where = {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"where": where, **content}, indent=1) + "\n", encoding="utf-8")
    return path


def publish(result: Path, folder: Path | None = None) -> Path:
    """Write the tables of a result to ``tables/<name>.md``, which is tracked; the path is returned.

    A result shows its tables as ``{"title": .., "tables": [..], "versions": {..}}``.
    """
    folder = TABLES if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    content = json.loads(result.read_text(encoding="utf-8"))
    where = content["where"]
    lines = [f"## {content['title']}", ""]
    lines += [f"Measured {where['time'][:10]} on {where['cores']} cores ({where['machine']}).", ""]
    for side, versions in content["versions"].items():
        lines += [f"- {side}: " + ", ".join(f"{k} {v}" for k, v in versions.items())]
    for one in content["tables"]:
        lines += ["", "```text", one, "```"]
    page = folder / f"{result.stem}.md"
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return page
