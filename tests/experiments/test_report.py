"""The report is one file that needs nothing else; whatever an experiment says is text in it."""

import json
from html.parser import HTMLParser

import pytest


class _Reader(HTMLParser):
    """Collects tags with their attributes, and the text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def attributes(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def report(toy):
    toy.write("known_misses.toml", KNOWN)
    outcome = toy.main("all")
    assert outcome.code == 0
    return _Reader((toy.root / "paper_figures" / "report.html").read_text())


KNOWN = """
[[miss]]
experiment = "walk"
claim = "<b>length</b> & more"
preset = "quick"
measured = 30
reason = "the walk is <short>"
"""


def test_the_page_loads_nothing(report):
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in report.tags}
    for _, attrs in report.tags:
        for name in ("src", "href"):
            assert attrs.get(name, "#").startswith(("data:image/png;base64,", "#"))
    assert "url(" not in "".join(report.text)


def test_the_figure_is_shown_at_half_its_pixels_with_its_alt_text(report, toy):
    from experiments._report import png_size

    (image,) = report.attributes("img")
    size = png_size((toy.root / "paper_figures" / "walk" / "figure.png").read_bytes())
    assert (int(image["width"]), int(image["height"])) == (size[0] // 2, size[1] // 2)
    assert image["alt"] == 'Lines that "wander" <about>.'


def test_texts_are_escaped_and_verdicts_are_words(report):
    assert not report.attributes("b")
    assert not report.attributes("random")
    text = " ".join(report.text)
    assert "A <random> walk & its end" in text
    assert "<b>length</b> & more" in text
    assert "MISS: outside the interval" in text
    assert "Known: the walk is <short>" in text
    assert "passes" in text
    assert "[100, 200]" in text
    assert "Data: toy-data. Preset quick." in text
    assert "budget 30 s" in text


def test_the_index_shows_what_was_made_and_what_is_published(toy):
    toy.main("run", "walk", "--preset", "smoke", "--publish")
    figures = toy.root / "paper_figures"
    assert sorted(p.name for p in (figures / "published" / "walk").iterdir()) == [
        "figure.png",
        "record.json",
    ]
    own = (figures / "walk" / "figure.png").stat().st_size
    assert (figures / "published" / "walk" / "figure.png").stat().st_size < own
    index = _Reader((figures / "index.html").read_text())
    shown = [image["src"] for image in index.attributes("img")]
    assert shown == ["walk/figure.png", "published/walk/figure.png"]
    for place in [*shown, *(a["href"] for a in index.attributes("a"))]:
        assert (figures / place).is_file()


@pytest.mark.parametrize("text", ['{"experiment": ', '{"experiment": "walk"}', "[]"])
def test_the_report_leaves_out_a_record_that_it_cannot_read(toy, text):
    toy.main("run", "walk", "--preset", "smoke")
    (toy.root / "paper_figures" / "walk" / "record.json").write_text(text)
    outcome = toy.main("report")
    assert outcome.code == 0
    page = (toy.root / "paper_figures" / "report.html").read_text()
    assert "0 figures" in page
    assert "Nothing has been run yet" in page


def test_published_records_are_json_without_nan(toy):
    toy.edit("walk.py", "gap = abs(", "gap = float('nan') * abs(")
    toy.main("run", "walk", "--preset", "smoke", "--publish")
    text = (toy.root / "paper_figures" / "published" / "walk" / "record.json").read_text()
    record = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert record["claims"][0]["measured"] is None
    assert record["claims"][0]["verdict"] == "MISS"
