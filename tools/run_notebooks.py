"""Execute every notebook as a reader's Jupyter would, and keep to the time each one may take.

The notebooks are percent scripts (notebooks/*.py); outputs are never saved beside them. The
executed copies go to build/notebooks/*.ipynb, so that they can be looked at.
"""

import os
import resource
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 60
STRICT = "import warnings; warnings.simplefilter('error')"
LENIENT = "warnings.simplefilter('default')"

# A kernel that the user registered elsewhere under the same name must not run instead of ours.
os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
os.environ.setdefault("JAX_PLATFORMS", "cpu")


def cpu_seconds() -> float:
    """CPU time of all processes that were started from here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def execute(source: Path, target: Path) -> tuple[float, float]:
    """Run one notebook, write the executed copy, return wall-clock and CPU seconds."""
    import jupytext
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell

    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    # In cells of their own: the kernel itself warns while it starts, and ends, on Python 3.13.
    notebook.cells = [new_code_cell(STRICT), *notebook.cells, new_code_cell(LENIENT)]
    started, used = time.monotonic(), cpu_seconds()
    client = NotebookClient(
        notebook,
        timeout=2 * SECONDS,
        kernel_name="python3",
        # Silences a start-up note that loopback is not encrypted.
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(source.parent)}},
    )
    client.execute()
    notebook.cells = notebook.cells[1:-1]
    taken = time.monotonic() - started, cpu_seconds() - used
    target.parent.mkdir(parents=True, exist_ok=True)
    jupytext.write(notebook, target)
    return taken


def main() -> None:
    """Execute all; exit 1 on an error (nbclient shows the cell) or on one that is too slow."""
    slow = []
    for source in sorted((ROOT / "notebooks").glob("*.py")):
        print(f"== {source.relative_to(ROOT)}", flush=True)
        target = ROOT / "build" / "notebooks" / f"{source.stem}.ipynb"
        wall, cpu = execute(source, target)
        print(f"   {wall:.0f} s, {cpu:.0f} CPU-seconds; executed copy: {target.relative_to(ROOT)}")
        # On a busy machine the clock on the wall measures the others.
        if min(wall, cpu) > SECONDS:
            slow.append(f"{source.name} took {wall:.0f} s; a notebook may take {SECONDS} s")
    if slow:
        sys.exit("\n".join(slow))


if __name__ == "__main__":
    main()
