"""tools/find_python.sh believes no name on PATH: it runs what it finds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "find_python.sh"
TOOLS = ("sh", "cat", "cut", "grep", "head", "sort", "tail")


@pytest.fixture
def machine(tmp_path):
    """A PATH with a shell's tools and no Python, and a home with no pyenv; grown by `add`."""
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool))
    return tmp_path


def add(machine: Path, name: str, body: str) -> Path:
    path = machine / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def working(minor: int, micro: int) -> str:
    """Body of an interpreter that answers the question as Python 3.minor.micro would."""
    return f'echo "{minor} {micro} $0"'


def posing_as(version: tuple[int, int, int], executable: str = sys.executable) -> str:
    """Body of an interpreter that runs the question for real, believing to be another version."""
    return (
        f"shift 2; question=$1; shift\n"
        f'exec "{executable}" -I -c "import sys; sys.version_info = {(*version, "final", 0)}\n'
        f'$question" "$@"'
    )


def find(machine: Path, *args: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["sh", str(SCRIPT), *args],
        env={"PATH": str(machine / "bin"), "HOME": str(machine), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_shim_that_exits_with_an_error_does_not_count(machine):
    add(machine, "bin/python3.14", "echo 'python3.14: command not found' >&2; exit 127")
    good = add(machine, "bin/python3.12", working(12, 1))
    assert find(machine).stdout.strip() == str(good)


def test_a_shim_that_prints_and_then_fails_does_not_count(machine):
    add(machine, "bin/python3.14", "echo 'available elsewhere'; exit 1")
    good = add(machine, "bin/python3", working(11, 7))
    assert find(machine).stdout.strip() == str(good)


def test_the_newest_of_path_and_pyenv_is_taken_and_versions_are_compared_as_numbers(machine):
    add(machine, "bin/python3", working(11, 7))
    add(machine, ".pyenv/versions/3.13.9/bin/python", working(13, 9))
    newest = add(machine, ".pyenv/versions/3.13.10/bin/python", working(13, 10))
    assert find(machine).stdout.strip() == str(newest)


def test_pyenv_is_looked_for_where_its_variable_says(machine):
    elsewhere = add(machine, "opt/versions/3.12.0/bin/python", working(12, 0))
    assert find(machine, PYENV_ROOT=str(machine / "opt")).stdout.strip() == str(elsewhere)


def test_a_minor_version_can_be_asked_for(machine):
    oldest = add(machine, "bin/python3.11", working(11, 2))
    add(machine, "bin/python3.13", working(13, 0))
    assert find(machine, "3.11").stdout.strip() == str(oldest)
    missing = find(machine, "3.12")
    assert missing.returncode == 1
    assert "no usable Python 3.12" in missing.stderr


def test_an_old_python_is_passed_over(machine):
    add(machine, "bin/python3", posing_as((3, 10, 13)))
    found = find(machine)
    assert found.returncode == 1
    assert "no usable Python >= 3.11" in found.stderr


def test_a_forced_interpreter_beats_a_newer_one(machine):
    add(machine, "bin/python3.14", working(14, 0))
    forced = add(machine, "bin/mine", working(11, 0))
    assert find(machine, PYTHON="mine").stdout.strip() == str(forced)


def test_a_forced_interpreter_that_is_too_old_is_refused_by_name(machine):
    add(machine, "bin/python3.12", working(12, 0))
    add(machine, "bin/mine", posing_as((3, 10, 13)))
    found = find(machine, PYTHON="mine")
    assert (found.returncode, found.stdout) == (1, "")
    assert "PYTHON=mine cannot be used: it is Python 3.10; TheoryLab needs 3.11" in found.stderr


def test_a_forced_interpreter_that_does_not_run_is_refused_and_nothing_else_is_tried(machine):
    add(machine, "bin/python3.12", working(12, 0))
    found = find(machine, PYTHON="/no/such/python")
    assert (found.returncode, found.stdout) == (1, "")
    assert "PYTHON=/no/such/python cannot be used" in found.stderr


def test_an_environment_leads_to_the_interpreter_it_was_made_from(machine):
    found = find(machine, PYTHON=sys.executable)
    assert found.returncode == 0, found.stderr
    path = found.stdout.strip()
    assert os.access(path, os.X_OK)
    inside = "import sys; print(sys.prefix == sys.base_prefix, *sys.version_info[:2])"
    answer = subprocess.run([path, "-I", "-c", inside], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["True", *map(str, sys.version_info[:2])]
