"""What is built, what it says of itself, and what importing it costs."""

import os
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
CORE = {"diffrax", "jax", "jaxlib", "numpy", "scipy", "optax", "jaxtyping"}
EXTRAS = {"experiments", "notebooks", "docs", "interop", "dev", "gpu", "tpu"}
BROKEN = ("0.10.2", "0.11.0", "0.11.1")


def build(target: str, where: Path) -> Path:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(where)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = where.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    with zipfile.ZipFile(build("wheel", tmp_path_factory.mktemp("wheel"))) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel):
    (name,) = [n for n in wheel.namelist() if n.endswith(".dist-info/METADATA")]
    return Parser().parsestr(wheel.read(name).decode())


def test_the_wheel_holds_theorylab_alone(wheel):
    names = {Path(name).parts[0] for name in wheel.namelist()}
    assert names == {"theorylab", "theorylab-0.1.0.dist-info"}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "theorylab").rglob("*.py")}
    assert sources == {name for name in wheel.namelist() if name.endswith(".py")}


def test_the_wheel_carries_types_licence_and_notice(wheel):
    names = wheel.namelist()
    assert "theorylab/py.typed" in names
    for name in ("LICENSE", "NOTICE"):
        assert f"theorylab-0.1.0.dist-info/licenses/{name}" in names


def test_the_sdist_holds_everything_and_no_environment(tmp_path):
    with tarfile.open(build("sdist", tmp_path)) as archive:
        names = {Path(name).relative_to("theorylab-0.1.0") for name in archive.getnames()}
    tops = {path.parts[0] for path in names}
    expected = "theorylab experiments tests docs notebooks benchmarks tools .ci Makefile".split()
    expected += "constraints.txt LICENSE NOTICE CITATION.cff CHANGELOG.md README.md".split()
    assert set(expected) <= tops
    assert not {top for top in tops if top.startswith(".venv")} | (
        tops & {".oracles-venv", "build"}
    )
    assert not {path for path in names if "__pycache__" in path.parts}


def test_core_dependencies_and_extras_are_the_agreed_ones(metadata):
    requirements = [Requirement(line) for line in metadata.get_all("Requires-Dist")]
    assert {r.name for r in requirements if r.marker is None} == CORE
    assert set(metadata.get_all("Provides-Extra")) == EXTRAS
    assert "3.10" not in SpecifierSet(metadata["Requires-Python"])
    assert "3.11" in SpecifierSet(metadata["Requires-Python"])


@pytest.mark.parametrize("name", ["jax", "jaxlib"])
def test_broken_jax_releases_are_excluded_and_the_rest_is_not_capped(metadata, name):
    (bounds,) = [
        Requirement(line).specifier
        for line in metadata.get_all("Requires-Dist")
        if Requirement(line).name == name and Requirement(line).marker is None
    ]
    assert not [version for version in BROKEN if version in bounds]
    assert "0.10.0" not in bounds
    assert all(version in bounds for version in ("0.10.1", "0.11.2", "0.12.0.1", "9.0"))


IMPORT = """
import sys, time
import jax
started = time.process_time()
import theorylab
from theorylab import layers, kernels, empirical, predict, transport, optim
from theorylab import parametrization, limits, subspace, data
spent = time.process_time() - started
print(spent, *sorted({name.partition(".")[0] for name in sys.modules}))
"""


def import_everything(compiled: Path) -> tuple[float, set[str]]:
    # Installed packages have compiled bytecode, and so has this one in all runs but the first.
    left_out = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    environment = {k: v for k, v in os.environ.items() if k not in left_out}
    environment["PYTHONPYCACHEPREFIX"] = str(compiled)
    command = [sys.executable, "-W", "error", "-c", IMPORT]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    seconds, *modules = done.stdout.split()
    return float(seconds), set(modules)


def test_importing_the_library_is_cheap_and_brings_no_optional_package(tmp_path):
    # CPU seconds, the least of four: what other processes do must not decide.
    runs = [import_everything(tmp_path) for _ in range(4)]
    optional = {"matplotlib", "flax", "sklearn", "mlxtend", "pandas", "tyro", "rich", "experiments"}
    assert not runs[0][1] & optional
    assert min(seconds for seconds, _ in runs) <= 0.5
