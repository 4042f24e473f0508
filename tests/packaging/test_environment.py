"""tools/environment.sh installs what is missing, once, and never removes what it did not make."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(tmp_path):
    """A virtual environment to the eye, and a uv that writes down how it was called."""
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "pyvenv.cfg").touch()
    (venv / "bin" / "python").symlink_to(sys.executable)
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(f'#!/bin/sh\necho "$@" >>"{tmp_path}/calls"\n')
    uv.chmod(0o755)
    return tmp_path


def run(where: Path, extras: str, venv: str = "venv", **variables: str):
    return subprocess.run(
        ["sh", str(ROOT / "tools" / "environment.sh"), str(where / venv), extras],
        env={"PATH": f"{where / 'bin'}:/usr/bin:/bin", "HOME": str(where), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def calls(where: Path) -> list[str]:
    path = where / "calls"
    return path.read_text().splitlines() if path.exists() else []


def test_what_is_missing_is_installed_with_the_constraints(environment):
    done = run(environment, "dev")
    assert done.returncode == 0, done.stderr
    assert len(calls(environment)) == 1
    assert calls(environment)[0].endswith("-c constraints.txt -e .[dev]")


def test_what_is_installed_is_not_installed_again_and_another_extra_alone_is_added(environment):
    run(environment, "dev")
    again = run(environment, "dev")
    assert (again.returncode, again.stdout) == (0, "")
    assert len(calls(environment)) == 1
    run(environment, "dev,docs")
    assert calls(environment)[1].endswith("-e .[docs]")


def test_a_stamp_of_other_files_or_of_another_place_installs_again(environment):
    run(environment, "dev")
    (environment / "venv" / "theorylab-installed" / "dev").write_text("0 0\n")
    run(environment, "dev")
    assert len(calls(environment)) == 2


def test_a_folder_that_is_no_environment_is_left_alone(environment):
    precious = environment / "precious"
    precious.mkdir()
    (precious / "thesis.tex").touch()
    done = run(environment, "dev", venv="precious")
    assert done.returncode == 1
    assert "no virtual environment" in done.stderr
    assert (precious / "thesis.tex").exists()


def test_an_environment_whose_interpreter_is_gone_is_made_anew(environment):
    python = environment / "venv" / "bin" / "python"
    python.unlink()
    python.symlink_to(environment / "gone")
    done = run(environment, "dev", PYTHON=sys.executable)
    assert "does not run" in done.stdout
    assert calls(environment)[0].startswith("venv --quiet --python /")
