"""Pieces that the report and the index share: one style sheet, escaped text, verdicts in words.

Pages hold no script, load nothing, and escape every text that comes from an experiment.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

from experiments._tables import interval, number

STYLE = """
:root { --ink: #1d2329; --soft: #5b6570; --line: #e1e5e9; --pass: #0b6b4b; --miss: #b3261e; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); line-height: 1.5;
  font: 16px/1.55 "Source Sans 3", "Segoe UI", "Helvetica Neue", "DejaVu Sans", Arial, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.35rem; line-height: 1.25; margin: 0 0 .2rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .4rem; }
p { margin: .4rem 0; }
a { color: #00518a; }
code { font: .85em "DejaVu Sans Mono", Consolas, monospace; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
section { border-top: 1px solid var(--line); margin-top: 2.4rem; padding-top: 1.8rem; }
figure { margin: 1.2rem 0 0; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
figcaption { margin-top: .8rem; color: var(--soft); font-size: .92rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; min-width: 46rem; font-size: .9rem; }
th { text-align: left; font-weight: 600; border-bottom: 2px solid var(--line); }
th, td { padding: .4rem .8rem .4rem 0; vertical-align: top; }
td { border-bottom: 1px solid var(--line); }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.verdict { font-weight: 600; min-width: 6.5rem; }
td:last-child { min-width: 12rem; }
.passes { color: var(--pass); }
.misses { color: var(--miss); }
.untested { color: var(--soft); font-weight: 400; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: .4rem 0;
  font-size: .9rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
details summary { cursor: pointer; font-size: .9rem; color: var(--soft); margin-top: .6rem; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); gap: 2rem; }
.grid article img { width: 100%; height: auto; border: 1px solid var(--line); }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
@media print { main { padding: 0; } section { break-inside: avoid; } }
"""

# Each verdict in words, with the class that colours it: colour alone tells some readers nothing.
_WORDS = {
    "pass": ("passes", "passes"),
    "MISS": ("MISS: outside the interval", "misses"),
    "not tested": ("not tested in this preset", "untested"),
}


def page(title: str, body: str) -> str:
    """Return a whole HTML page; `body` is HTML already."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def summary(records: Sequence[dict[str, Any]]) -> str:
    """Return one sentence on all claims of some records.

    Examples
    --------
    >>> summary([{"claims": [{"verdict": "pass"}, {"verdict": "not tested"}]}])
    '2 claims: 1 passes, 1 is not tested in this preset.'
    >>> summary([{"claims": [{"verdict": "pass"}, {"verdict": "pass"}, {"verdict": "MISS"}]}])
    '3 claims: 2 pass, 1 misses.'
    """
    verdicts = [claim["verdict"] for record in records for claim in record["claims"]]
    words = (
        ("pass", "passes", "pass"),
        ("MISS", "misses", "miss"),
        ("not tested", "is not tested in this preset", "are not tested in this preset"),
    )
    parts = []
    for verdict, one, many in words:
        count = verdicts.count(verdict)
        parts += [f"{count} {one if count == 1 else many}"] if count else []
    listed = f": {', '.join(parts)}" if parts else ""
    return f"{len(verdicts)} claim{'' if len(verdicts) == 1 else 's'}{listed}."


def claims_rows(record: dict[str, Any], reasons: dict[str, str]) -> str:
    """Return a table of a record's claims; `reasons` maps claims to why their miss is known."""
    head = "".join(
        f'<th scope="col">{text}</th>'
        for text in ("Claim", "Measured", "Accepted", "Paper", "Verdict", "Source")
    )
    rows = []
    for claim in record["claims"]:
        words, style = _WORDS.get(claim["verdict"], (str(claim["verdict"]), "untested"))
        reason = reasons.get(claim["name"])
        note = f'<p class="soft">Known: {escape(reason)}</p>' if reason else ""
        cells = (
            ("", claim["name"]),
            ("number", number(claim["measured"], claim["error"])),
            ("number", interval(claim["low"], claim["high"])),
            ("", claim["paper"] or "–"),
            (f"verdict {style}", words),
            ("soft", claim["source"]),
        )
        row = "".join(f'<td class="{style}">{escape(str(text))}</td>' for style, text in cells)
        rows.append(f"<tr>{row}</tr>" + (f'<tr><td colspan="6">{note}</td></tr>' if note else ""))
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Return a list of names and values."""
    items = (f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs)
    return f"<dl>{''.join(items)}</dl>"
