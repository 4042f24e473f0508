"""Run the Python blocks of a Markdown file as a reader would paste them: in order, in one session.

usage: python tools/readme_blocks.py README.md

Warnings are errors. Modules named in THEORYLAB_WITHOUT (separated by commas) are made impossible to
import first, so that a block which needs an extra fails even where the extra is installed.
"""

import os
import re
import sys
import warnings
from pathlib import Path

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str) -> list[tuple[int, str]]:
    r"""Return (line of the first statement, code) of every Python block.

    >>> blocks("a\n```python\nx = 1\n```\n```sh\nls\n```\n")
    [(3, 'x = 1\n')]
    """
    return [
        (text.count("\n", 0, match.start(1)) + 1, match.group(1)) for match in BLOCK.finditer(text)
    ]


def main(name: str) -> None:
    """Run all blocks of one file; an exception is shown with the file's own line numbers."""
    for module in filter(None, os.environ.get("THEORYLAB_WITHOUT", "").split(",")):
        sys.modules[module] = None  # type: ignore[assignment]
    warnings.simplefilter("error")
    found = blocks(Path(name).read_text())
    if not found:
        sys.exit(f"{name} has no Python block")
    namespace: dict[str, object] = {"__name__": "__main__"}
    for line, code in found:
        print(f"== {name}, line {line}", flush=True)
        exec(compile("\n" * (line - 1) + code, name, "exec"), namespace)


if __name__ == "__main__":
    main(*sys.argv[1:])
