"""docs/api-contract.md is kept true: what it says exists does, what is planned does not."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "api-contract.md").read_text()
EXISTS, PLANNED = TEXT.split("## What is planned")
NAMED = ("empirical", "predict", "transport", "optim", "parametrization", "limits")
NAMED += ("subspace", "data")
ROOMS = {"tk": "kernels", **{r: r for r in NAMED}}


def names(text: str) -> list[tuple[str, str]]:
    found = re.findall(rf"\b({'|'.join(ROOMS)})\.(\w+)\(", text)
    return sorted({(ROOMS[room], name) for room, name in found})


def has(room: str, name: str) -> bool:
    return hasattr(importlib.import_module(f"theorylab.{room}"), name)


@pytest.mark.parametrize(("room", "name"), names(EXISTS))
def test_a_name_that_the_contract_says_exists_does(room, name):
    assert has(room, name)


@pytest.mark.parametrize(("room", "name"), names(PLANNED))
def test_a_name_that_the_contract_calls_planned_does_not_exist_yet(room, name):
    assert not has(room, name), f"{room}.{name} exists: move it up in docs/api-contract.md"


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_no_page_links_to_a_file_that_is_missing(path):
    links = re.findall(r"\]\((?!https?://|#|_generated/)([^)#]+)", path.read_text())
    missing = [link for link in links if not list(path.parent.glob(f"{link}*"))]
    assert not missing
