"""Rules on imports that no linter checks: private JAX, private rooms, and future annotations."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("theorylab", "experiments", "benchmarks", "notebooks", "tests", "tools", "docs")
PRIVATE_JAX = ("jax._src", "jax.core", "jax.interpreters", "jax.experimental", "jax.extend")

SOURCES = {
    str(path.relative_to(ROOT)): ast.parse(path.read_text())
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not {"_build", "_generated"} & set(path.parts)
}


def imported(tree: ast.Module) -> set[str]:
    """Every dotted name that an import statement could bring in."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def reached(tree: ast.Module) -> set[str]:
    """Every dotted name that is written out, as ``jax.numpy.sum``."""
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize("path", [p for p in SOURCES if not p.startswith("tests/")])
def test_no_module_imports_or_reaches_private_jax(path):
    private = {
        name
        for name in imported(SOURCES[path]) | reached(SOURCES[path])
        if any(name == module or name.startswith(module + ".") for module in PRIVATE_JAX)
    }
    assert not private


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if p.startswith(("experiments", "benchmarks", "notebooks"))]
)
def test_those_who_use_the_library_use_its_public_names(path):
    private = {
        name
        for name in imported(SOURCES[path])
        if name.startswith("theorylab.") and any(part.startswith("_") for part in name.split("."))
    }
    assert not private


def test_no_module_postpones_its_annotations():
    # jaxtyping reads them; postponed ones are strings to it.
    assert not [p for p, tree in SOURCES.items() if "__future__.annotations" in imported(tree)]


def test_no_notebook_with_outputs_lies_beside_the_scripts():
    assert not list((ROOT / "notebooks").glob("*.ipynb"))
