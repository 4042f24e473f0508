"""A text for models of language that every installation holds: SciPy's own docstrings.

Its modules are parsed and not imported. What counts as a docstring is what the language says: the
string that is the first statement of a module, class or function. Compiled modules have none.

Differs from the paper / reference:
  1. No paper. The rules below (what is kept, how it is cleaned, its order, the split) are ours.
     They use the strings as they stand in the syntax tree, not what ``__doc__`` would give, because
     Python 3.13 began to remove indentation when it compiles.
  2. SHORTEST and HELD_OUT_EVERY are ours: SciPy 1.17 gives 4.4 million characters for training and
     half a million held out.
"""

import ast
import importlib.metadata
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from theorylab.data._dataset import fingerprint
from theorylab.data._places import package_folder

SHORTEST = 200  # docstrings of this many characters or fewer are left out
HELD_OUT_EVERY = 10

END, OTHER = "\f", "\ufffd"
ALPHABET = "\n" + END + "".join(map(chr, range(32, 127))) + OTHER

_BODIES = ("body", "handlers", "orelse", "finalbody", "cases")  # in the order of the source
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class Text(NamedTuple):
    """A text in numbered characters, already split.

    Attributes
    ----------
    train, held_out
        Codes of the characters, uint8, (n,): ``alphabet[code]`` is the character.
    alphabet
        All characters there can be, in the order of their codes.
    name
        What was really read, in words fit for a figure's caption.
    fingerprint
        SHA-256, in hexadecimal, of the two arrays with their shapes and dtypes.

    Examples
    --------
    >>> import numpy as np
    >>> from theorylab.data import Text
    >>> text = Text(np.array([1, 0], np.uint8), np.zeros(1, np.uint8), "ab", "made up", "")
    >>> "".join(text.alphabet[code] for code in text.train)
    'ba'
    """

    train: np.ndarray
    held_out: np.ndarray
    alphabet: str
    name: str
    fingerprint: str


def scipy_docstrings() -> Text:
    r"""Read the docstrings of the installed SciPy: about five megabytes of technical English.

    Docstrings are taken from the package's ``.py`` files, outside folders named ``tests``, in the
    order of their paths and, in a file, of their places. Each is cleaned: tabs become spaces up to
    the next multiple of eight; blanks at the ends of lines, blank lines at both ends and the common
    indentation of all lines but the first go, and so does that of the first. Of equal ones the
    first is kept, and those of more than 200 characters.

    Returns
    -------
    Text
        98 characters: the line feed, the form feed, which ends every docstring and is found nowhere
        else, the printable characters of ASCII in their order, and U+FFFD, which stands for any
        other. Held out: every tenth of the docstrings that are kept, starting with the first. Both
        parts are in the order given above.

    Raises
    ------
    ImportError
        If SciPy is missing, or its folder holds no docstrings.
    SyntaxError
        If a file of it is no Python, or is for a newer one than the running.

    Notes
    -----
    Limits: the text is that of the installed version, which ``name`` holds; with another version
    come another text and another fingerprint. With the same version both are the same on every
    machine and with every Python. Many docstrings share paragraphs word for word (parameters,
    references), so that some lines which are held out also occur in training. Takes two seconds:
    parsing eight megabytes is most of it.

    Examples
    --------
    >>> from theorylab import data
    >>> text = data.scipy_docstrings()
    >>> len(text.alphabet), text.train.dtype, len(text.train) > 7 * len(text.held_out)
    (98, dtype('uint8'), True)
    >>> docstrings = "".join(text.alphabet[code] for code in text.held_out).split("\f")
    >>> len(docstrings) > 250, min(len(one) for one in docstrings[:-1]) > 200
    (True, True)
    """
    folder = package_folder("scipy")
    if folder is None:
        raise ImportError("this text comes with SciPy, which is not installed: pip install scipy")
    kept = [doc for doc in dict.fromkeys(_docstrings(folder)) if len(doc) > SHORTEST]
    if not kept:
        raise ImportError(f"the installed SciPy holds no docstrings in {folder}")
    train = [doc for i, doc in enumerate(kept) if i % HELD_OUT_EVERY]
    arrays = _codes(train), _codes(kept[::HELD_OUT_EVERY])
    name = f"docstrings of SciPy {importlib.metadata.version('scipy')}"
    return Text(*arrays, ALPHABET, name, fingerprint(*arrays))


def _docstrings(folder: Path) -> Iterator[str]:
    """All docstrings of a package, cleaned, in their order."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")}
    for place in sorted(paths):
        if "tests" in place.split("/")[:-1]:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that are none, which a docstring may hold
            tree = ast.parse(paths[place].read_bytes(), place)
        for found in _within(tree):
            yield cleaned(found)


def _within(node: ast.AST) -> Iterator[str]:
    """Docstrings of a node and of what its blocks hold; expressions, most of a tree, have none."""
    if isinstance(node, _DOCUMENTED) and node.body:
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            if isinstance(first.value.value, str):
                yield first.value.value
    for block in _BODIES:
        # The body of a lambda or of a conditional expression is no list, and is never reached.
        for inner in getattr(node, block, ()):
            yield from _within(inner)


def cleaned(docstring: str) -> str:
    r"""Remove what indentation and the end of the quotes add to a docstring.

    Examples
    --------
    >>> cleaned("  One line. \n\n    Indented.\n      More.\n    ")
    'One line.\n\nIndented.\n  More.'
    """
    first, *others = (line.rstrip() for line in docstring.expandtabs(8).split("\n"))
    margin = min((len(line) - len(line.lstrip()) for line in others if line), default=0)
    lines = [first.lstrip(), *(line[margin:] for line in others)]
    return "\n".join(lines).strip("\n")


def _codes(docstrings: list[str]) -> np.ndarray:
    """Codes of docstrings, each with its end."""
    inside = "".join(doc.replace(END, OTHER) + END for doc in docstrings)
    points = np.frombuffer(inside.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    table = np.full(128, len(ALPHABET) - 1, np.uint8)
    table[[ord(character) for character in ALPHABET[:-1]]] = np.arange(len(ALPHABET) - 1)
    return np.where(points < 128, table[np.minimum(points, 127)], table[127]).astype(np.uint8)
