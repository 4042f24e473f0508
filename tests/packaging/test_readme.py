"""The README: its first code comes early, runs without any extra, and its links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
# What only extras install; the library's own dependencies are not in here.
EXTRAS = "flax,matplotlib,tyro,rich,mlxtend,sklearn,pandas,IPython,pytest"


def test_the_first_code_block_starts_before_line_30():
    lines = README.read_text().splitlines()
    assert lines.index("```python") + 1 < 30


def test_the_code_runs_as_pasted_without_any_extra_and_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "readme_blocks.py"), str(README)],
        env={**os.environ, "THEORYLAB_WITHOUT": EXTRAS, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "nan" not in done.stdout


def test_the_two_commands_are_there():
    text = README.read_text()
    assert re.search(r"```sh\nmake figures.*\nmake test.*\n```", text)


LINKS = re.findall(r"\]\((?!https?://|#)([^)#]+)", README.read_text())


@pytest.mark.parametrize("link", sorted(set(LINKS)))
def test_every_link_leads_to_a_file_of_the_repository(link):
    assert (ROOT / link).exists()
