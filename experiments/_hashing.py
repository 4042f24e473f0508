"""Which source files stand behind an experiment, and the hashes that name results.

Imports are followed in the syntax trees, so nothing is imported: asking whether a figure is up to
date costs milliseconds and never starts JAX. Followed are ``import a.b``, ``from a import b`` where
`b` is a module or a name, relative imports, imports inside functions, attributes that are
submodules (``theorylab.kernels`` after ``import theorylab``), and the ``__init__.py`` of every
package on the way. Only the packages given as roots are followed; libraries enter a key by version.

Not followed: modules named by strings (``importlib.import_module("...")``).
"""

import ast
import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# These functions see stored arrays and nothing else, so they cannot change what `run` returns.
VIEW_FUNCTIONS = ("claims", "figure", "alt", "caption")


def digest(value: Any) -> str:
    """Return the sha256 of the canonical JSON text of `value` (keys sorted, no spaces).

    Examples
    --------
    >>> digest({"a": 1, "b": (2, 3)}) == digest({"b": [2, 3], "a": 1})
    True
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def arrays_digest(arrays: Mapping[str, Any]) -> str:
    """Return the sha256 of named arrays: sorted names, dtypes, shapes and bytes."""
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        total.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def without_views(source: str) -> str:
    """Return an experiment's source without its docstring, `VIEW_FUNCTIONS` and blank lines."""
    lines = source.splitlines()
    for position, node in enumerate(ast.parse(source).body):
        is_view = isinstance(node, ast.FunctionDef) and node.name in VIEW_FUNCTIONS
        is_docstring = position == 0 and _is_text(node)
        if is_view or is_docstring:
            assert node.end_lineno is not None  # always set by ast.parse
            decorated = getattr(node, "decorator_list", [])
            first = min([node.lineno, *(item.lineno for item in decorated)])
            lines[first - 1 : node.end_lineno] = [""] * (node.end_lineno - first + 1)
    return "\n".join(line for line in lines if line.strip())


def code_hashes(module: str, roots: Mapping[str, Path], *, views: bool) -> dict[str, str]:
    """Return {module: sha256 of its source} for a module and all that it reaches.

    Parameters
    ----------
    module
        Dotted name of the experiment, ``experiments.ntk_convergence``.
    roots
        The packages to follow: {name: folder of the package}.
    views
        False leaves the functions that only draw or judge out of the experiment's own source, and
        what they alone import with them.

    Raises
    ------
    ValueError
        `module` is in none of the packages.
    SyntaxError
        A file on the way does not parse; the message has its path and line.
    """
    found: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _locate(name, roots)
        if path is None:
            if name == module:
                raise ValueError(f"module must be in one of {sorted(roots)}, got {module!r}")
            continue
        if name in found:
            continue
        source = path.read_text(encoding="utf-8")
        if name == module and not views:
            source = without_views(source)
        found[name] = hashlib.sha256(source.encode()).hexdigest()
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting.extend(_imports(source, package, str(path)))
    return dict(sorted(found.items()))


def _locate(name: str, roots: Mapping[str, Path]) -> Path | None:
    """Return the file of a module under the roots; None for a library or for a name in a module."""
    head, *rest = name.split(".")
    if head not in roots:
        return None
    place = roots[head].joinpath(*rest)
    if (place / "__init__.py").is_file():
        return place / "__init__.py"
    if rest and place.with_suffix(".py").is_file():
        return place.with_suffix(".py")
    return None


# Experiments share most modules, and a figure asks twice: with its views and without.
@functools.cache
def _imports(source: str, package: str, path: str) -> frozenset[str]:
    """Return every dotted name that a module may import, with the packages on the way to it."""
    names = set()
    for target in _targets(ast.parse(source, filename=path), package):
        # Importing a.b.c runs a/__init__.py and a/b/__init__.py first.
        parts = target.split(".")
        names |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
    return frozenset(names)


def _targets(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield every dotted name that the tree may import; names that are no modules are harmless."""
    bound: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
                first = alias.name.partition(".")[0]
                bound[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            yield base
            for alias in node.names:
                yield f"{base}.{alias.name}"
                bound[alias.asname or alias.name] = f"{base}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            chain = _chain(node)
            if chain and chain[0] in bound:
                yield ".".join([bound[chain[0]], *chain[1:]])


def _absolute(node: ast.ImportFrom, package: str) -> str:
    """Return the dotted name that ``from ... import`` starts from."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - (node.level - 1)]
    return ".".join([*base, node.module] if node.module else base)


def _chain(node: ast.Attribute) -> list[str] | None:
    """Return ["a", "b", "c"] for the expression ``a.b.c``; None for other expressions."""
    names: list[str] = []
    value: ast.expr = node
    while isinstance(value, ast.Attribute):
        names.append(value.attr)
        value = value.value
    if not isinstance(value, ast.Name):
        return None
    return [value.id, *reversed(names)]


def _is_text(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
