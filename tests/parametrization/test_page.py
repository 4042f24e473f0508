"""The page on muP: its code runs, from top to bottom."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "mup.md").read_text()


@pytest.mark.slow
def test_the_code_of_the_page_runs_and_the_first_block_is_short():
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {}
    for block in blocks:
        exec(compile(block, "docs/mup.md", "exec"), names)
    lines = [line for line in blocks[0].splitlines() if line.strip()]
    first = next(k for k, line in enumerate(lines) if line.startswith("class"))
    beside = [line for k, line in enumerate(lines) if k < first or k >= first + 7]
    assert beside[4].startswith("def shapes") and len(beside) <= 15  # beside the model
    assert names["params"]["params"]["Dense_1"]["kernel"].shape == (1024, 1024)
