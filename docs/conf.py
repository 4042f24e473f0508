"""Sphinx configuration. `make docs` builds with warnings as errors."""

import importlib
import importlib.util
import inspect
import shutil
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
GENERATED = HERE / "_generated"

project = "TheoryLab"
author = copyright = "The TheoryLab authors"  # noqa: A001
version = release = importlib.import_module("theorylab").__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "conf.py"]
html_theme = "furo"
html_title = "TheoryLab"

# Formulas must be readable with no network: MathJax comes from a package, not from the web.
_mathjax = importlib.util.find_spec("sphinx-mathjax-offline")
html_static_path = [str(Path(_mathjax.origin).parent / "static")]
mathjax_path = "mathjax/tex-chtml.js"

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# The notebook is executed while the site is built; its outputs live there and nowhere else.
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 120

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

ROOMS = (
    "layers",
    "kernels",
    "empirical",
    "predict",
    "transport",
    "optim",
    "optim.kappas",
    "optim.schedules",
    "parametrization",
    "parametrization.plots",
    "limits",
    "subspace",
    "data",
)


def public(room: str) -> list[tuple[str, object]]:
    """Public names that a room defines; what it takes from another room is documented there."""
    module = importlib.import_module(f"theorylab.{room}")
    home = ".".join(module.__name__.split(".")[:2])
    return [
        (name, thing)
        for name, thing in sorted(vars(module).items(), key=lambda item: item[0].lower())
        if not name.startswith("_")
        and not inspect.ismodule(thing)
        and getattr(thing, "__module__", "").startswith(home)
    ]


def write_room(room: str) -> None:
    """Write the page of one room: its docstring, then every public name."""
    module = f"theorylab.{room}"
    lines = [f"# {module}", "", "```{eval-rst}", f".. automodule:: {module}", "   :no-members:"]
    for name, thing in public(room):
        if inspect.isclass(thing):
            members = "" if issubclass(thing, tuple) else "   :members:"
            lines += ["", f".. autoclass:: {module}.{name}", members]
        else:
            kind = "autofunction" if callable(thing) else "autodata"
            lines += ["", f".. {kind}:: {module}.{name}"]
    (GENERATED / f"{room}.md").write_text("\n".join([*lines, "```", ""]))


def write_benchmarks() -> None:
    """Write the page of tables that the benchmarks left."""
    folder = ROOT / "benchmarks"
    parts = []
    for page in [folder / "README.md", *sorted((folder / "tables").glob("*.md"))]:
        parts += [f"```{{include}} {Path('../..') / page.relative_to(ROOT)}", "```", ""]
    (GENERATED / "benchmarks.md").write_text("\n".join(parts))


GENERATED.mkdir(exist_ok=True)
for _room in ROOMS:
    write_room(_room)
write_benchmarks()
for notebook in ("tour.py", "your_network.py", "intrinsic_dimension.py", "feature_limits.py"):
    shutil.copy(ROOT / "notebooks" / notebook, GENERATED / notebook)
