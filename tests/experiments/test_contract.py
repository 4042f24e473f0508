"""What every experiment and every file of the runner must keep to."""

import ast
import doctest
import importlib

import pytest

from experiments import _catalog
from experiments._hashing import code_hashes
from experiments._workspace import workspace

SPACE = workspace()
# The runner is what the command line reaches; other private files are shared by experiments.
RUNNER = sorted(
    name.partition(".")[2]
    for name in code_hashes("experiments._cli", SPACE.roots, views=True)
    if name.startswith("experiments._")
)


def test_the_runner_is_all_there():
    assert {"_claims", "_keys", "_progress", "_report", "_run", "_style"} <= set(RUNNER)


@pytest.mark.parametrize("name", RUNNER)
def test_the_examples_in_the_runner_are_true(name):
    module = importlib.import_module(f"experiments.{name}")
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


@pytest.mark.parametrize("name", _catalog.names(SPACE))
def test_every_experiment_keeps_to_the_contract(name):
    card = _catalog.card(SPACE, name)
    assert card.presets == ("smoke", "quick", "paper")
    reached = code_hashes(f"experiments.{name}", SPACE.roots, views=False)
    # Whoever imports the runner is computed again whenever the runner changes.
    assert not {f"experiments.{module}" for module in RUNNER if module != "_claims"} & set(reached)


@pytest.mark.parametrize("name", _catalog.names(SPACE))
def test_experiments_use_public_names_of_theorylab_alone(name):
    tree = ast.parse((SPACE.folder / f"{name}.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("theorylab"):
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            ours = [alias.name for alias in node.names if alias.name.startswith("theorylab")]
            names = [part for name in ours for part in name.split(".")]
        else:
            continue
        assert not [part for part in names if part.startswith("_")]


def test_the_style_gives_papers_their_sizes():
    from experiments import _style

    figure, axes = _style.subplots(1, 2, width="column", aspect=0.5)
    assert tuple(figure.get_size_inches()) == (3.25, 1.625)
    assert len(axes) == 2
    with pytest.raises(ValueError, match="width must be one of .* got 'colum'"):
        _style.subplots(width="colum")
