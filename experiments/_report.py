"""One page to send to a colleague: every figure, what it claims, and where it comes from.

The page is a single file. Figures are PNG at two pixels per point of the screen, embedded, so it
reads the same with no network; SVG is avoided because browsers draw matplotlib's hatching thin.
"""

import base64
import struct
from html import escape
from pathlib import Path
from typing import Any

from experiments import _known
from experiments._display import duration
from experiments._outputs import PUBLISHED, records
from experiments._page import claims_rows, facts, page, summary
from experiments._workspace import Workspace, write_text


def write_report(space: Workspace) -> Path:
    """Write report.html from the results in the figures folder, and return its path."""
    found = records(space.figures)
    known = _known.read(space.folder)
    body = [
        "<h1>TheoryLab: figures and what they claim</h1>",
        f'<p class="soft">{_figures_count(len(found))} regenerated from data. '
        f"{escape(summary(found))}</p>",
        _contents(found),
        *(_section(space.figures / record["experiment"], record, known) for record in found),
    ]
    if not found:
        body.append(f"<p>Nothing has been run yet: <code>python -m {space.package} all</code>.</p>")
    path = space.figures / "report.html"
    write_text(path, page("TheoryLab: figures and what they claim", "\n".join(body)))
    return path


def write_index(space: Workspace) -> Path:
    """Write index.html, which shows the figures made here and the published ones."""
    body = ["<h1>TheoryLab: figures</h1>"]
    if (space.figures / "report.html").is_file():
        body.append('<p><a href="report.html">The report</a> shows them with all their claims.</p>')
    groups = (("Made here", ""), ("Published", f"{PUBLISHED}/"))
    for title, folder in groups:
        found = records(space.figures / folder)
        if found:
            cards = "\n".join(_card(f"{folder}{record['experiment']}", record) for record in found)
            body.append(f'<section><h2>{title}</h2><div class="grid">{cards}</div></section>')
    path = space.figures / "index.html"
    write_text(path, page("TheoryLab: figures", "\n".join(body)))
    return path


def png_size(content: bytes) -> tuple[int, int]:
    """Return (width, height) in pixels from the header of a PNG file.

    Raises ValueError if the bytes are no PNG.
    """
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        raise ValueError("the file is no PNG")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def _figures_count(count: int) -> str:
    return f"{count} figure{'' if count == 1 else 's'}"


def _contents(found: list[dict[str, Any]]) -> str:
    items = (
        f'<li><a href="#{escape(r["experiment"], quote=True)}">{escape(r["title"])}</a> '
        f'<span class="soft">({escape(_preset(r))}; {escape(summary([r]).rstrip("."))})</span></li>'
        for r in found
    )
    return f"<ul>{''.join(items)}</ul>"


def _section(folder: Path, record: dict[str, Any], known: list[_known.KnownMiss]) -> str:
    content = (folder / "figure.png").read_bytes()
    width, height = png_size(content)
    image = base64.b64encode(content).decode()
    name = record["experiment"]
    reasons = {
        claim["name"]: entry.reason
        for claim in record["claims"]
        for entry in known
        if claim["verdict"] == "MISS" and _known.covers(entry, name, claim)
    }
    return "\n".join(
        (
            f'<section id="{escape(name, quote=True)}">',
            f"<h2>{escape(record['title'])}</h2>",
            f'<p class="soft">After {escape(record["paper"])}</p>',
            f'<figure><img src="data:image/png;base64,{image}" width="{width // 2}" '
            f'height="{height // 2}" alt="{escape(record["alt"], quote=True)}">',
            f"<figcaption>{escape(record['caption'])}</figcaption></figure>",
            "<h3>Claims</h3>",
            claims_rows(record, reasons),
            "<h3>Provenance</h3>",
            facts(_provenance(record)),
            "<details><summary>Configuration and modules</summary>",
            facts([(key, _plain(value)) for key, value in record["config"].items()]),
            facts([(key, value[:16]) for key, value in record["modules"].items()]),
            "</details>",
            "</section>",
        )
    )


def _provenance(record: dict[str, Any]) -> list[tuple[str, str]]:
    device = record["device"]
    data = [f"{name} (fingerprint {mark[:16]})" for name, mark in record["data"].items()]
    budget = ""
    if record["preset"] == "quick":
        budget = f" (budget {duration(record['budget_seconds'])})"
    return [
        ("Preset", _preset(record)),
        ("Data", "; ".join(data) or "generated"),
        ("Seeds", ", ".join(f"{k} = {_plain(v)}" for k, v in record["seeds"].items()) or "none"),
        ("Wall time", f"{duration(record['wall_time_seconds'])}{budget}"),
        ("Computed", f"{record['computed'].replace('T', ' ')[:16]} UTC, in {_precision(record)}"),
        (
            "Device",
            f"{device['count']} x {device['kind']}, {record['cores']} cores, "
            f"{record['system']} {record['machine']}",
        ),
        ("Versions", ", ".join(f"{k} {v}" for k, v in record["versions"].items())),
        ("Arrays", f"sha256 {record['hashes']['arrays'][:16]}"),
        ("Code", f"sha256 {record['hashes']['code'][:16]} over {len(record['modules'])} modules"),
        ("Again", f"python -m experiments run {record['experiment']} --preset {record['preset']}"),
    ]


def _preset(record: dict[str, Any]) -> str:
    changed = ", ".join(f"{field} = {text}" for field, text in record["changed"].items())
    return f"{record['preset']}{f' with {changed}' if changed else ''}"


def _precision(record: dict[str, Any]) -> str:
    return "float64" if record["x64"] else "float32"


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _card(folder: str, record: dict[str, Any]) -> str:
    place = escape(folder, quote=True)
    here = not folder.startswith(f"{PUBLISHED}/")
    files = ("figure.pdf", "data.npz", "record.json") if here else ("record.json",)
    links = ", ".join(f'<a href="{place}/{file}">{file}</a>' for file in files)
    return (
        f'<article><a href="{place}/figure.png"><img src="{place}/figure.png" '
        f'alt="{escape(record["alt"], quote=True)}"></a>'
        f"<h3>{escape(record['title'])}</h3>"
        f'<p class="soft">{escape(record["paper"])}. Preset {escape(_preset(record))}. '
        f"{escape(summary([record]))}</p><p>{links}</p></article>"
    )
