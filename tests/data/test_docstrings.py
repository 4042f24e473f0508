"""SciPy's docstrings: the rules by which they are read, on made-up packages and on the real one."""

import hashlib
import inspect
import subprocess
import sys

import numpy as np
import pytest

from theorylab import data
from theorylab.data import _docstrings


@pytest.fixture(scope="module")
def text():
    return data.scipy_docstrings()


@pytest.fixture(scope="module")
def parts(text):
    """The docstrings of both sides."""
    return [spelled(codes).split("\f")[:-1] for codes in (text.train, text.held_out)]


def spelled(codes):
    return "".join(map(_docstrings.ALPHABET.__getitem__, codes.tolist()))


def made_up(folder, monkeypatch, **files):
    """Read a package of these files (their names with / as __), every docstring kept."""
    for name, source in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
    monkeypatch.setattr(_docstrings, "package_folder", lambda module: folder)
    monkeypatch.setattr(_docstrings, "SHORTEST", 0)
    monkeypatch.setattr(_docstrings, "HELD_OUT_EVERY", 2)
    text = data.scipy_docstrings()
    parts = [spelled(codes).split("\f") for codes in (text.held_out, text.train)]
    assert [part.pop() for part in parts] == ["", ""]  # every docstring has its end
    return parts


def test_the_text_has_the_documented_size_alphabet_and_split(text, parts):
    assert text.train.dtype == text.held_out.dtype == np.uint8
    assert 4e6 < len(text.train) < 6e6
    assert len(text.alphabet) == 98 == len(set(text.alphabet))
    assert text.alphabet[:3] == "\n\f "
    train, held_out = parts
    assert len(held_out) == -(-(len(train) + len(held_out)) // 10)
    assert not set(train) & set(held_out)
    assert len(set(train)) == len(train)
    assert min(map(len, train + held_out)) > 200
    others = np.bincount(np.concatenate([text.train, text.held_out]), minlength=98)[97]
    assert 0 < others < 1e-4 * len(text.train)


def test_a_function_that_is_imported_has_the_docstring_that_was_read(parts):
    from scipy.optimize import brentq, minimize

    for function in (brentq, minimize):
        lines = [line.rstrip() for line in inspect.cleandoc(function.__doc__).split("\n")]
        assert "\n".join(lines) in parts[0] + parts[1]


def test_the_fingerprint_is_that_of_the_arrays(text):
    digest = hashlib.sha256()
    for array in (text.train, text.held_out):
        digest.update(f"{array.dtype.str}{array.shape}".encode() + array.tobytes())
    assert text.fingerprint == digest.hexdigest()


def test_docstrings_are_those_of_modules_classes_and_functions_in_their_order(
    tmp_path, monkeypatch
):
    held_out, train = made_up(
        tmp_path, monkeypatch,
        b='"""b."""\nx = """no"""\ndef f():\n    "f."\n    return lambda: "no"\nf"""no"""\n',
        a__c='class C:\n    "C."\n    "no"\n    async def g(self):\n        "g."\n',
        a__tests__t='"""A test."""\n',
        tests='"""Of a file with this name."""\n',
        z='if 1:\n    def h():\n        "h."\nelse:\n    try:\n        pass\n'
          '    except A:\n        def i():\n            "i."\n    finally:\n        def j(): "j."\n'
          'def k():\n    b"no"\ndef l():\n    "f."\n',
    )  # fmt: skip
    found = [None] * (len(held_out) + len(train))
    found[::2], found[1::2] = held_out, train
    assert found == ["C.", "g.", "b.", "f.", "Of a file with this name.", "h.", "i.", "j."]


def test_docstrings_are_cleaned_by_the_documented_rules(tmp_path, monkeypatch):
    held_out, train = made_up(
        tmp_path, monkeypatch,
        a=b'def f():\r\n    """  First. \r\n\r\n\tTab, and \\d.\t\r\n'
          b'          deeper\r\n\r\n    """\r\n'
          b'def g():\n    """\n    First.\n\n        Tab, and \\d.\n          deeper"""\n'
          b'def h():\n    "\xc3\xa9 \\f \\x00 \xe2\x94\x82 ~"\n',
    )  # fmt: skip
    assert held_out == ["First.\n\nTab, and \\d.\n  deeper", "\ufffd \ufffd \ufffd \ufffd ~"]
    assert train == ["First.\n\n    Tab, and \\d.\n      deeper"]


def test_equal_docstrings_count_once_and_short_ones_not_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(_docstrings, "package_folder", lambda module: tmp_path)
    monkeypatch.setattr(_docstrings, "SHORTEST", 3)
    (tmp_path / "a.py").write_text("".join(f'def f(): "{d}"\n' for d in ("abc", "abcd", "abcd ")))
    text = data.scipy_docstrings()
    assert (spelled(text.held_out), spelled(text.train)) == ("abcd\f", "")


def test_reading_imports_neither_scipy_nor_jax():
    program = (
        "import sys, theorylab.data as data\n"
        "from theorylab.data import _docstrings\n"
        "parse = _docstrings.ast.parse\n"  # of one short text: the real ones take seconds
        "_docstrings.ast.parse = lambda *a: parse(repr(300 * 'a'))\n"
        "assert len(data.scipy_docstrings().held_out) == 301\n"
        "found = {'jax', 'scipy'} & set(sys.modules)\n"
        "assert not found, found\n"
    )
    environment = {"PYTHONPATH": ":".join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_missing_scipy_and_one_without_docstrings_are_import_errors(tmp_path, monkeypatch):
    monkeypatch.setattr(_docstrings, "package_folder", lambda module: None)
    with pytest.raises(ImportError, match="comes with SciPy.*pip install scipy"):
        data.scipy_docstrings()
    monkeypatch.setattr(_docstrings, "package_folder", lambda module: tmp_path)
    with pytest.raises(ImportError, match="holds no docstrings in"):
        data.scipy_docstrings()
