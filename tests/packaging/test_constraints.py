"""constraints.txt: exact versions for both JAX lines, within pyproject.toml, and no address."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LINES = [
    line
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ACCELERATORS = {"gpu", "tpu"}
PYTHONS = ("3.11.2", "3.11.9", "3.12.1", "3.13.0", "3.14.0")


def chosen(python: str) -> dict[str, str]:
    """{name: version} that an installation on Linux with this Python gets."""
    here = {
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    found: dict[str, str] = {}
    for line in LINES:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(here):
            assert requirement.name not in found, f"two versions of {requirement.name} on {python}"
            found[requirement.name] = str(requirement.specifier).removeprefix("==")
    return found


def test_every_line_is_one_exact_version_and_nothing_else():
    form = re.compile(r"[a-z0-9-]+==[0-9][\w.]*( ; [^#]+)?")
    assert [line for line in LINES if not form.fullmatch(line)] == []


def test_there_is_no_address_and_no_option_anywhere_in_the_file():
    text = (ROOT / "constraints.txt").read_text()
    assert not re.search(r"://|@|^-|\bindex\b", text, re.MULTILINE)


def test_python_311_gets_the_oldest_jax_and_the_others_a_newer_one():
    (floor,) = [
        str(clause).removeprefix(">=")
        for line in PROJECT["dependencies"]
        for clause in Requirement(line).specifier
        if Requirement(line).name == "jax" and clause.operator == ">="
    ]
    assert chosen("3.11.9")["jax"] == chosen("3.11.9")["jaxlib"] == floor
    assert chosen("3.12.1")["jax"] == chosen("3.14.0")["jax"] != floor


@pytest.mark.parametrize("python", PYTHONS)
def test_every_bound_of_the_project_is_met_by_the_chosen_versions(python):
    versions = chosen(python)
    bounds = list(PROJECT["dependencies"])
    for extra, lines in PROJECT["optional-dependencies"].items():
        bounds += [] if extra in ACCELERATORS else lines
    for requirement in map(Requirement, bounds):
        if requirement.name != "theorylab":
            version = versions[canonicalize_name(requirement.name)]
            assert version in requirement.specifier, f"{requirement} on {python} gets {version}"


def test_the_exclusions_carry_their_reasons():
    text = (ROOT / "pyproject.toml").read_text()
    for version, reason in {"0.10.2": "39103", "0.11.0": "39257", "0.11.1": "flax"}.items():
        assert re.search(rf"#\s+{re.escape(version)}\b.*(\n\s*#.*)?{reason}", text), version
