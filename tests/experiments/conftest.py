"""A small package of experiments in a temporary folder, run here or in a process of its own."""

import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
_NUMBERS = itertools.count()

TOY = '''
"""A walk whose steps are drawn from keys of the absolute step."""

from dataclasses import dataclass

import jax
import numpy as np

from experiments import Claim
from {package} import _helper
from {package}.tools import scale as rescale

TITLE = "A <random> walk & its end"
PAPER = "Nobody (1900), figure 1"
BUDGET = 30
X64 = False


@dataclass(frozen=True)
class Config:
    """The walk."""

    walkers: int = 3
    chunks: int = 4
    widths: tuple[int, ...] = (1, 2)
    name: str | None = None
    seed: int = 0


PRESETS = {{
    "smoke": Config(),
    "quick": Config(chunks=6),
    "paper": Config(chunks=8),
}}


def datasets(config):
    return {{"toy-data": "0123456789abcdef"}}


def run(config, progress):
    key = jax.random.key(config.seed)
    progress.plan({{"walk": 2.0, "sum": 1.0}})

    @jax.jit
    def step(position, i):
        def one(position, k):
            draw = jax.random.normal(jax.random.fold_in(key, 5 * i + k), (config.walkers,))
            position = position + rescale.FACTOR * draw
            return position, position

        position, path = jax.lax.scan(one, position, jax.numpy.arange(5))
        return position, {{"path": path}}

    def chunk(position, i):
        _helper.before_chunk(i)
        return step(position, i)

    end, outputs = progress.chunks("walk", chunk, jax.numpy.zeros(config.walkers), config.chunks)
    total = progress.stage("sum", lambda: {{"total": outputs["path"][-1].sum()}})
    return {{"path": outputs["path"], "end": end, "total": total["total"]}}


def claims(arrays):
    gap = abs(float(arrays["end"].sum() - arrays["total"]))
    return [
        Claim("the end is the last step", gap, None, 0.0, 1e-5, "derived here", ("smoke", "quick")),
        Claim("<b>length</b> & more", arrays["path"].shape[0], 0.5, 100, 200, "a <paper>",
              ("quick",), "150"),
    ]


def figure(arrays):
    from experiments import _style

    fig, ax = _style.subplots(width="column", aspect=0.6)
    ax.plot(arrays["path"])
    ax.set_xlabel("step")
    return fig


def alt(arrays):
    return 'Lines that "wander" <about>.'
'''


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


class Toy:
    """A package of experiments: `main` runs a command here, `process` in a fresh interpreter."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.package = f"toy{next(_NUMBERS)}"
        self.root = folder
        self.folder = folder / self.package
        self._capsys = capsys
        self.write("__init__.py", "")
        self.write("walk.py", TOY.format(package=self.package))
        self.write("_helper.py", "def before_chunk(i):\n    pass\n")
        self.write("tools/__init__.py", "")
        self.write("tools/scale.py", "from ._factor import FACTOR as FACTOR\n")
        self.write("tools/_factor.py", "FACTOR = 0.5\n")
        self.write("_unrelated.py", "NOTHING = 0\n")

    @property
    def space(self):
        from experiments._workspace import workspace

        return workspace(self.folder, self.package)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.forget()
        return path

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        self.write(name, text.replace(old, new))

    def forget(self) -> None:
        """Make the next command import the package anew, as a new process would."""
        for name in [name for name in sys.modules if name.split(".")[0] == self.package]:
            del sys.modules[name]

    def main(self, *words: str) -> Outcome:
        from experiments._cli import main

        self._capsys.readouterr()
        code = main(words, self.space)
        return Outcome(code, *self._capsys.readouterr())

    def start(self, *words: str, program: str | None = None) -> subprocess.Popen:
        program = program or (
            "import sys, pathlib\n"
            "from experiments._cli import main\n"
            "from experiments._workspace import workspace\n"
            f"space = workspace(pathlib.Path({str(self.folder)!r}), {self.package!r})\n"
            "code = main(sys.argv[1:], space)\n"
            "print('jax imported:', 'jax' in sys.modules, file=sys.stderr)\n"
            "sys.exit(code)\n"
        )
        paths = os.pathsep.join([str(ROOT), str(self.root)])
        return subprocess.Popen(
            [sys.executable, "-c", program, *words],
            env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def process(self, *words: str) -> Outcome:
        running = self.start(*words)
        out, err = running.communicate(timeout=120)
        return Outcome(running.returncode, out, err)

    def bytes(self, *names: str) -> list[bytes]:
        """Return the contents of delivered files."""
        return [(self.root / "paper_figures" / "walk" / name).read_bytes() for name in names]

    def arrays(self):
        import numpy as np

        with np.load(self.root / "paper_figures" / "walk" / "data.npz") as members:
            return {name: members[name] for name in members.files}


@pytest.fixture
def toy(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("THEORYLAB_CACHE", raising=False)
    monkeypatch.setenv("THEORYLAB_DATA", str(tmp_path / "data"))
    monkeypatch.syspath_prepend(str(tmp_path))
    # Drawing is most of the time of these tests; a process of its own draws in full.
    monkeypatch.setattr("experiments._figures.PNG_DPI", 80)
    monkeypatch.setattr("experiments._figures.THUMBNAIL_DPI", 40)
    made = Toy(tmp_path, capsys)
    yield made
    made.forget()
