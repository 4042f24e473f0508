"""The IDX format of the original MNIST files, plain or compressed with gzip.

A big-endian header (two zero bytes, the type of the entries, the number of axes, then the length of
each axis as a 32-bit integer) is followed by the entries. Only unsigned bytes with one axis
(labels, magic number 0x00000801) or three (images, 0x00000803) are read.

Differs from the paper / reference:
  1. The header is believed only after it agrees with the size of the file; the array is allocated
     then. The size of a compressed file's contents is unknown beforehand, so there the header is
     first held against the largest ratio that deflate can reach, and at most one byte more than
     announced is read.
  2. DEFLATE_LIMIT: 258 bytes, the longest match, can be coded in 2 bits, which gives 1032:1 (RFC
     1951).
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

IMAGES_MAGIC = 0x00000803
LABELS_MAGIC = 0x00000801
DEFLATE_LIMIT = 1032
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: Path, magic: int) -> np.ndarray:
    """Read one IDX file of unsigned bytes.

    Parameters
    ----------
    path
        The file; that it is compressed is seen from its first two bytes, not from its name.
    magic
        The magic number wanted, ``IMAGES_MAGIC`` or ``LABELS_MAGIC``.

    Returns
    -------
    numpy.ndarray
        uint8, with as many axes as the magic number says.

    Raises
    ------
    ValueError
        If the magic number is another one, an axis has length zero, the file is shorter or longer
        than its header says, or its compression is damaged.
    """
    on_disk = path.stat().st_size
    with path.open("rb") as raw:
        compressed = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        if not compressed:
            return _read(path, raw, magic, on_disk, exact=True)
        try:
            with gzip.GzipFile(fileobj=raw) as stream:
                largest = DEFLATE_LIMIT * on_disk
                return _read(path, cast(BinaryIO, stream), magic, largest, exact=False)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: the compressed file is damaged ({error})") from error


def _read(path: Path, stream: BinaryIO, magic: int, size: int, *, exact: bool) -> np.ndarray:
    num_axes = magic & 0xFF
    header_size = 4 * (1 + num_axes)
    header = stream.read(header_size)
    if len(header) >= 4 and (found := struct.unpack(">I", header[:4])[0]) != magic:
        raise ValueError(f"{path}: the magic number is 0x{found:08x}, wanted 0x{magic:08x}")
    if len(header) < header_size:
        raise ValueError(f"{path}: the file ends inside its header of {header_size} bytes")
    shape = struct.unpack(f">{num_axes}I", header[4:])
    if 0 in shape:
        raise ValueError(f"{path}: the header announces an empty array of shape {shape}")
    wanted = math.prod(shape)
    if (exact and header_size + wanted != size) or (not exact and header_size + wanted > size):
        relation = "holds" if exact else "can hold at most"
        raise ValueError(
            f"{path}: the header announces {wanted} bytes of shape {shape}, "
            f"but the file {relation} {max(size - header_size, 0)}"
        )
    data = stream.read(wanted + 1)
    if len(data) != wanted:
        found_bytes = "more" if len(data) > wanted else str(len(data))
        raise ValueError(
            f"{path}: the header announces {wanted} bytes of shape {shape}, "
            f"but the file holds {found_bytes}"
        )
    return np.frombuffer(data, dtype=np.uint8).reshape(shape)
