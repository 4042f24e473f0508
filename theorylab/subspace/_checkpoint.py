"""A run in a subspace on disk: its coordinates, and what rebuilds the projection.

One file: a line of JSON, then the bytes of the coordinates, little-endian. The line says how many
there are, and has a checksum of them and of itself; both are compared with the file before anything
is made of it.

Differs from the paper / reference:
  1. No paper.
"""

import json
from pathlib import Path
from typing import Any
from zlib import crc32

import jax.numpy as jnp
import numpy as np

from theorylab.subspace._projection import Projection, coordinates
from theorylab.subspace._record import rebuild
from theorylab.subspace._record import record as record_of
from theorylab.subspace._said import Said, check_coordinates, said

FORMAT = "theorylab subspace 1"
LONGEST_LINE = 2**24
DTYPES = ("float32", "float64")


def save(path: str | Path, projection: Projection | Said, theta_d: Any) -> None:
    """Write the coordinates of a run, and what rebuilds its projection, to one file.

    Parameters
    ----------
    path : path
        Of the file, which is overwritten.
    projection : Projection or Said
        Of a kind that is drawn from a key.
    theta_d : array (d,), or the dict of a ``said`` projection
        float32 or float64. The start theta0 is not stored: 4 d bytes and about 300 more.

    Raises
    ------
    ValueError, TypeError
        If ``theta_d`` does not fit the projection, or its basis was given.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, tempfile, pathlib
    >>> from theorylab import subspace
    >>> like = jnp.zeros(50)
    >>> p = subspace.hadamard(3, like=like, key=jax.random.key(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "run"
    ...     subspace.save(path, p, jnp.array([1.0, 2.0, 3.0]))
    ...     again, theta_d = subspace.load(path, like)
    >>> theta_d
    Array([1., 2., 3.], dtype=float32)
    """
    inner = projection.projection if isinstance(projection, Said) else projection
    head: dict[str, Any] = {"format": FORMAT, "projection": record_of(inner)}
    if isinstance(projection, Said):
        check_coordinates(theta_d)
        theta = coordinates(theta_d["theta"], projection.d - projection.count)
        lam = coordinates(theta_d["lam"], projection.count, "theta_d['lam']")
        vector = jnp.concatenate([theta.astype(jnp.result_type(theta, lam)), lam])
        head["groups"], head["labels"] = list(projection.groups), list(projection.labels)
    else:
        vector = coordinates(theta_d, projection.d)
    numbers = np.asarray(vector)
    data = numbers.astype(numbers.dtype.newbyteorder("<")).tobytes()
    head |= {"dtype": str(numbers.dtype), "bytes": len(data)}
    head["crc32"] = _checksum(head, data)
    Path(path).write_bytes(json.dumps(head).encode() + b"\n" + data)


def _checksum(head: dict[str, Any], data: bytes) -> int:
    """Of all that the line says but this number, and of the coordinates."""
    said = {name: value for name, value in head.items() if name != "crc32"}
    return crc32(json.dumps(said, sort_keys=True).encode() + data)


def load(path: str | Path, like: Any) -> tuple[Projection | Said, Any]:
    """Read what ``save`` has written: the projection, drawn again, and the coordinates.

    Parameters
    ----------
    path : path
        Of the file.
    like : tree
        The parameters, as arrays or ``jax.ShapeDtypeStruct``, of the same leaves as when saved.

    Returns
    -------
    projection : Projection or Said
        With theta0 it gives the parameters again: to the bit on the same backend.
    theta_d : array (d,) or dict
        In the dtype that was saved (float64 becomes float32 where x64 is off).

    Raises
    ------
    ValueError
        If the file is none of ``save``, cut short or altered; or ``like`` has other leaves, by
        name, shape, dtype or order; or it was written for another version of the kind.

    Examples
    --------
    See ``save``.
    """
    content = Path(path).read_bytes()
    line, found, data = content[:LONGEST_LINE].partition(b"\n")
    data = content[len(line) + 1 :]
    try:
        head = json.loads(line) if found else None
    except (ValueError, RecursionError):
        head = None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise ValueError(f"path must be a file that subspace.save wrote, got {str(path)!r}")
    dtype = head.get("dtype")
    if dtype not in DTYPES:
        raise ValueError(f"dtype in {str(path)!r} must be one of {DTYPES}, got {dtype!r}")
    if head.get("bytes") != len(data) or head.get("crc32") != _checksum(head, data):
        raise ValueError(
            f"{str(path)!r} was cut short or altered: it has {len(data)} bytes of coordinates, and "
            f"{head.get('bytes')} were written, or the checksum differs"
        )
    inner = rebuild(head.get("projection", {}), like)
    if len(data) != inner.d * np.dtype(dtype).itemsize:
        raise ValueError(
            f"{str(path)!r} must hold d = {inner.d} coordinates, got {len(data)} bytes"
        )
    vector = jnp.asarray(np.frombuffer(data, np.dtype(dtype).newbyteorder("<")).astype(dtype))
    if "groups" not in head:
        return inner, vector
    structured = _said(inner, head["groups"], head.get("labels"), str(path))
    cut = structured.d - structured.count
    return structured, {"theta": vector[:cut], "lam": vector[cut:]}


def _said(inner: Projection, groups: Any, labels: Any, path: str) -> Said:
    """The structured projection with these groups, which come from a file."""
    moved = len(inner.layout.sizes)
    numbers = isinstance(groups, list) and len(groups) == moved and isinstance(labels, list)
    if (
        not numbers
        or not all(type(g) is int and 0 <= g < len(labels) for g in groups)
        or not all(type(label) in (int, str) for label in labels)
        or len(set(labels)) < len(labels)
    ):
        raise ValueError(f"groups in {path!r} must name one label for each of {moved} leaves")
    rest = iter(groups)
    by_leaf = dict(
        zip(
            inner.layout.names,
            (labels[next(rest)] if use else None for use in inner.layout.selected),
            strict=True,
        )
    )
    return said(inner, lambda name: by_leaf[name])
