"""A trained network in a few hundred bytes: quantised coordinates, and what rebuilds the rest.

The bytes: eight that name the format, two lengths, the projection's record as JSON, the code of the
coordinates, and a checksum of all of it. Lengths and checksum are compared with the data before
anything is made of it.

Differs from the paper / reference:
  1. The starting point theta0 is not stored, no more than in a checkpoint: the receiver makes it
     from the same key, or has it (a pretrained network).
"""

import json
import struct
from typing import Any
from zlib import crc32

import numpy as np
from jax import Array
from jax.typing import ArrayLike

from theorylab.subspace._projection import Projection
from theorylab.subspace._quantise import Codebook, code_of, read_code
from theorylab.subspace._record import rebuild
from theorylab.subspace._record import record as record_of

MAGIC = b"TLsubsp1"
LENGTHS = struct.Struct(">II")
CHECKSUM = struct.Struct(">I")


def compress(
    projection: Projection | dict[str, Any],
    theta_d: ArrayLike,
    levels: int,
    *,
    codebook: Codebook = "kmeans",
) -> bytes:
    """Quantise a run's coordinates, and write them with what rebuilds its projection.

    Parameters
    ----------
    projection
        Of a kind that is drawn from a key, or its :func:`theorylab.subspace.record`.
    theta_d
        (d,) coordinates, finite.
    levels, codebook
        As for :func:`quantise`.

    Returns
    -------
    bytes
        :func:`decompress` reads them. About 140 bytes and 5 a leaf for the projection, and
        :func:`compressed_bits`, filled up to whole bytes, for the coordinates.

    Raises
    ------
    TypeError
        If `projection` is none (structure-aware ones are not supported), or `theta_d` no array.
    ValueError
        If `theta_d` does not fit the projection or is not finite; if the basis was given; if
        `levels` or `codebook` make no sense.

    Notes
    -----
    On the host; not to be traced. What comes back is the quantised theta_d: measure the loss of
    accuracy with ``quantise(theta_d, levels).values``.

    References
    ----------
    Li, Farkhoor, Liu & Yosinski (2018): a solution costs one seed and d floats. Lotfi et al. (2022)
    for quantising and coding them.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import subspace
    >>> params = {"w": jnp.zeros((1000, 100))}
    >>> p = subspace.hadamard(50, like=params, key=jax.random.key(0))
    >>> data = subspace.compress(p, jnp.sin(jnp.arange(50.0)), levels=8)
    >>> again, theta_d = subspace.decompress(data, params)
    >>> len(data) < 300, again.d, theta_d.shape  # 100000 parameters
    (True, 50, (50,))
    """
    if isinstance(projection, Projection):
        values = record_of(projection)
    elif isinstance(projection, dict):
        values = projection
    else:
        raise TypeError(
            f"projection must be a Projection or its record, got {type(projection).__name__}"
        )
    d = values.get("d")
    if np.shape(theta_d) != (d,):
        raise ValueError(f"theta_d must have shape ({d},), got {np.shape(theta_d)}")
    bits = code_of(theta_d, levels, codebook)
    code = np.packbits(np.array(bits, np.uint8)).tobytes()
    head = json.dumps(values, separators=(",", ":"), sort_keys=True).encode()
    data = MAGIC + LENGTHS.pack(len(head), len(code)) + head + code
    return data + CHECKSUM.pack(crc32(data))


def decompress(data: bytes, like: Any) -> tuple[Projection, Array]:
    """Read what :func:`compress` wrote: the projection, drawn again, and the coordinates.

    Parameters
    ----------
    data
        The bytes.
    like
        The parameters, as arrays or ``jax.ShapeDtypeStruct``, of the same leaves as then.

    Returns
    -------
    projection
        As :func:`theorylab.subspace.rebuild` makes it.
    theta_d
        (d,) the quantised coordinates, in the dtype that was compressed (float64 becomes float32
        where x64 is off).

    Raises
    ------
    TypeError
        If the data is not bytes.
    ValueError
        If the data is of another format, cut short, longer than it says or altered; if `like` has
        other leaves; if the projection is of another version.

    Examples
    --------
    See :func:`compress`.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"data must be bytes, got {type(data).__name__}")
    data = bytes(data)
    start = len(MAGIC) + LENGTHS.size
    if len(data) < start + CHECKSUM.size or not data.startswith(MAGIC):
        raise ValueError(f"data must be what subspace.compress wrote, got {len(data)} other bytes")
    head_size, code_size = LENGTHS.unpack_from(data, len(MAGIC))
    whole = start + head_size + code_size + CHECKSUM.size
    if len(data) != whole:
        raise ValueError(f"data was cut short or added to: {whole} bytes written, got {len(data)}")
    body, checksum = data[: -CHECKSUM.size], CHECKSUM.unpack_from(data, whole - CHECKSUM.size)[0]
    if crc32(body) != checksum:
        raise ValueError("data was altered: its checksum is not the one that was written")
    try:
        values = json.loads(body[start : start + head_size])
    except (ValueError, RecursionError) as error:  # the latter from deep nesting
        raise ValueError(f"data must hold a projection's record, got no JSON: {error}") from error
    projection = rebuild(values, like)
    return projection, read_code(body[start + head_size :], projection.d)
