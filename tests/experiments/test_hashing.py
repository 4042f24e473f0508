"""The hash of an experiment covers every module that it reaches, and nothing else."""

import pytest

from experiments._hashing import code_hashes, digest, without_views


def _reached(toy, name="walk", views=True):
    return code_hashes(f"{toy.package}.{name}", toy.space.roots, views=views)


def test_modules_are_followed_through_packages_and_relative_imports(toy):
    reached = {name.removeprefix(f"{toy.package}.") for name in _reached(toy)}
    assert {"walk", "_helper", "tools", "tools.scale", "tools._factor"} <= reached
    assert toy.package in reached  # the __init__ of the package
    assert {"experiments", "experiments._claims"} <= reached
    assert "_unrelated" not in reached
    assert "experiments._run" not in reached


@pytest.mark.parametrize(
    "statement",
    [
        "import {p}._unrelated",
        "import {p}._unrelated as u",
        "from {p} import _unrelated",
        "from {p}._unrelated import NOTHING as nothing",
        "from . import _unrelated",
        "from ._unrelated import NOTHING",
        "def f():\n    from {p} import _unrelated",
        "import {p}\nx = {p}._unrelated.NOTHING",
        "import {p} as q\nx = q._unrelated.NOTHING",
    ],
)
def test_every_way_to_import_a_module_is_noticed(toy, statement):
    toy.write("fresh.py", statement.format(p=toy.package))
    assert f"{toy.package}._unrelated" in _reached(toy, "fresh")


def test_a_change_far_down_changes_the_hash_and_an_unrelated_one_does_not(toy):
    before = _reached(toy)
    toy.write("_unrelated.py", "NOTHING = 1\n")
    assert _reached(toy) == before
    toy.write("tools/_factor.py", "FACTOR = 0.25\n")
    after = _reached(toy)
    assert [name for name in after if after[name] != before[name]] == [
        f"{toy.package}.tools._factor"
    ]


def test_theorylab_is_followed_from_its_public_names(toy):
    toy.write("fresh.py", "from theorylab import data\nfrom theorylab.kernels import Dense as D\n")
    reached = _reached(toy, "fresh")
    assert {"theorylab", "theorylab.data", "theorylab.kernels"} <= reached.keys()
    # theorylab's __init__ files import private modules by name.
    assert any(name.startswith("theorylab.kernels._") for name in reached)


def test_functions_that_only_draw_do_not_count_for_the_arrays(toy):
    arrays, everything = _reached(toy, views=False), _reached(toy)
    toy.edit("walk.py", 'ax.set_xlabel("step")', 'ax.set_xlabel("time")')
    assert _reached(toy, views=False) == arrays
    assert _reached(toy) != everything
    toy.edit("walk.py", "jax.numpy.arange(5)", "jax.numpy.arange(6)")
    assert _reached(toy, views=False) != arrays


def test_a_decorated_figure_is_left_out_with_its_decorator():
    source = "import a\n@a.wraps\ndef figure(x):\n    return x\n\ndef run():\n    return 1\n"
    assert without_views(source) == "import a\ndef run():\n    return 1"


def test_a_module_outside_the_packages_is_refused_by_name(toy):
    with pytest.raises(ValueError, match=r"module must be in one of .* got 'numpy.linalg'"):
        code_hashes("numpy.linalg", toy.space.roots, views=True)


def test_the_digest_tells_values_apart_and_refuses_nan():
    assert digest({"a": 1}) != digest({"a": "1"})
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"a": float("nan")})
