"""The page on intrinsic dimension: its code runs, from top to bottom."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "intrinsic-dimension.md").read_text()
NOTEBOOK = (ROOT / "notebooks" / "intrinsic_dimension.py").read_text()


@pytest.mark.slow
def test_the_code_of_the_page_runs_and_the_measurement_is_ten_lines():
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {}
    for block in blocks:
        exec(compile(block, "docs/intrinsic-dimension.md", "exec"), names)
    lines = [line for line in blocks[1].splitlines() if line.strip()]
    assert lines[0].startswith("ds =") and len(lines) <= 10
    assert names["direct"] > 0.9 and names["reached"].shape == (2, 4)


def test_the_notebook_measures_in_ten_lines():
    cell = re.search(r"And from here, ten lines:\n\n# %%\n(.*?)\n# %%", NOTEBOOK, re.DOTALL)
    lines = [line for line in cell[1].splitlines() if line.strip()]
    assert len(lines) <= 10
    assert lines[-1].startswith("print(subspace.dint_both(")  # both thresholds
