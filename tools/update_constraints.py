"""Write constraints.txt: exact versions of everything the extras need, for both JAX lines at once.

Run it with `make constraints`. uv resolves for every Python from 3.11 up in one go (with markers
where the answers differ), from the bounds in pyproject.toml alone, so that a release excluded there
can never come out; the result is checked for that, and for addresses, before it is written.
The accelerators' extras are left out: their wheels pin themselves to the JAX that is chosen here.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = {"gpu", "tpu"}
HEADER = """\
# Exact versions for both JAX lines that CI runs: Python 3.11 stays on the oldest supported JAX,
# Python >= 3.12 takes the newest. Regenerate with `make constraints`, never by hand: it runs
# tools/update_constraints.py, which resolves pyproject.toml for every supported Python at once.
# The extras `gpu` and `tpu` are left out: JAX pins their wheels itself.
"""


def find_uv(scratch: Path) -> str:
    """Return the uv on PATH, or install one into a throw-away environment."""
    found = shutil.which("uv")
    if found:
        return found
    venv.create(scratch / "uv", with_pip=True)
    python = scratch / "uv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "uv"], check=True)
    return str(scratch / "uv" / "bin" / "uv")


def excluded_versions(pyproject: dict) -> dict[str, set[str]]:
    """Return {package: versions that pyproject.toml excludes with !=}."""
    return {
        re.split(r"[<>=!~\[; ]", line)[0]: set(re.findall(r"!=\s*([\w.]+)", line))
        for line in pyproject["project"]["dependencies"]
    }


def resolve() -> str:
    """Return uv's resolution, one `name==version ; marker` a line."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = sorted(set(pyproject["project"]["optional-dependencies"]) - LEFT_OUT)
    with tempfile.TemporaryDirectory() as scratch:
        command = [find_uv(Path(scratch)), "pip", "compile", "--universal", "--upgrade"]
        command += ["--python-version", "3.11", "--python", sys.executable]
        command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--quiet"]
        command += [f"--extra={extra}" for extra in extras]
        done = subprocess.run(
            [*command, "pyproject.toml"], cwd=ROOT, check=True, capture_output=True, text=True
        )
    for name, versions in excluded_versions(pyproject).items():
        for version in versions:
            if re.search(rf"^{name}=={re.escape(version)}\s*(;|$)", done.stdout, re.MULTILINE):
                raise SystemExit(f"the resolver chose the excluded {name} {version}")
    if "://" in done.stdout or "file:" in done.stdout:
        raise SystemExit("the resolution holds addresses; constraints.txt must not")
    return done.stdout


def main() -> None:
    """Resolve and write."""
    text = HEADER + resolve()
    (ROOT / "constraints.txt").write_text(text)
    chosen = re.findall(r"^jax==.*$", text, re.MULTILINE)
    print(f"constraints.txt: {len(text.splitlines())} lines; {'; '.join(chosen)}")


if __name__ == "__main__":
    main()
