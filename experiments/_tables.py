"""The tables that the command line prints."""

import textwrap
from collections.abc import Sequence
from typing import Any


def number(value: float | None, error: float | None = None) -> str:
    """Return a measured value with its standard error, for people.

    Examples
    --------
    >>> number(-0.49812, 0.0112), number(3.2e-9), number(None)
    ('-0.498 ± 0.011', '3.2e-09', 'nan')
    """
    if value is None:
        return "nan"
    if not error:
        return f"{value:.3g}"
    return f"{value:.3g} ± {error:.2g}"


def interval(low: float | None, high: float | None) -> str:
    """Return an accepted interval, for people.

    Examples
    --------
    >>> interval(-0.56, -0.44), interval(None, 1e-6), interval(0.5, None), interval(2.0, 2.0)
    ('[-0.56, -0.44]', '<= 1e-06', '>= 0.5', '= 2')
    """
    if low is None and high is None:
        return "any"
    if low is None:
        return f"<= {high:.4g}"
    if high is None:
        return f">= {low:.4g}"
    if low == high:
        return f"= {low:.4g}"
    return f"[{low:.4g}, {high:.4g}]"


def claims_table(records: Sequence[dict[str, Any]]) -> str:
    """Return the claims of some records beside the paper's number, with interval and source."""
    head = ("experiment", "claim", "measured", "accepted", "paper", "verdict", "source")
    rows = [head]
    for record in records:
        for claim in record["claims"]:
            rows.append(
                (
                    record["experiment"],
                    claim["name"],
                    number(claim["measured"], claim["error"]),
                    interval(claim["low"], claim["high"]),
                    claim["paper"] or "-",
                    claim["verdict"],
                    claim["source"],
                )
            )
    return aligned(rows, limits=(24, 44, 24, 24, 24, 12, 44))


def _wrapped(cell: str, limit: int) -> list[str]:
    return textwrap.wrap(cell, limit, break_on_hyphens=False) or [""]


def aligned(rows: Sequence[Sequence[str]], limits: Sequence[int] | None = None) -> str:
    """Return rows of text in columns, the first row underlined.

    Parameters
    ----------
    rows
        Cells, the same number in each row.
    limits
        The widest that each column may be; longer cells go on in the next line.

    Examples
    --------
    >>> print(aligned([("a", "b"), ("long", "x")]))
    a     b
    ----  -
    long  x
    """
    limits = limits or [10**6] * len(rows[0])
    blocks = [
        [_wrapped(cell, limit) for cell, limit in zip(row, limits, strict=True)] for row in rows
    ]
    widths = [max(len(line) for block in blocks for line in block[j]) for j in range(len(rows[0]))]
    lines = []
    for block in blocks:
        for k in range(max(map(len, block))):
            cells = [cell[k] if k < len(cell) else "" for cell in block]
            lines.append("  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)))
        if len(lines) == 1:
            lines.append("  ".join("-" * w for w in widths))
    return "\n".join(line.rstrip() for line in lines)
