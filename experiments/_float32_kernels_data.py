"""Near-duplicate digits: the inputs of `float32_kernels`, the same bits wherever they are made.

Rows are images, then copies of the first few at a relative distance of 1e-3, at 1e-5, exact copies
and copies times 2.5. Images are rounded to multiples of 1/256, so that no last bit of a mean or a
norm shows, and are moved along vectors of signs, whose length is that of an image.

``_float32_kernels_peer.npz`` holds what the predecessor library makes of them in float32; it runs
in an environment of its own (``tests/oracles/generate_nt_float32.py``).
"""

import hashlib
from pathlib import Path

import numpy as np

from experiments._networks import images

DISTANCES = (1e-3, 1e-5)
FACTOR = 2.5
PEER = Path(__file__).with_name("_float32_kernels_peer.npz")
FIELDS = ("error_nngp", "error_ntk", "smallest_nngp", "smallest_ntk")


def points(count: int, copies: int) -> np.ndarray:
    """Return (count + 4 copies, 784) inputs in float32.

    Examples
    --------
    >>> x = points(3, 1)
    >>> x.shape, bool((x[5] == x[0]).all()), bool((x[6] == 2.5 * x[0]).all())
    ((7, 784), True, True)
    """
    x = np.round(images(count).x_train.astype(np.float64) * 256) / 256
    signs = 1.0 - 2.0 * np.random.default_rng(0).integers(
        0, 2, (len(DISTANCES), copies, x.shape[1])
    )
    near = [x[:copies] + distance * s for distance, s in zip(DISTANCES, signs, strict=True)]
    return np.concatenate([x, *near, x[:copies], FACTOR * x[:copies]]).astype(np.float32)


def fingerprint(x: np.ndarray) -> str:
    """Return the start of the SHA-256 of inputs."""
    return hashlib.sha256(np.ascontiguousarray(x, "<f4").tobytes()).hexdigest()[:16]


def peer_digest() -> str:
    """Return the SHA-256 of the frozen file."""
    return hashlib.sha256(PEER.read_bytes()).hexdigest()


def peer(x: np.ndarray, network: str, depth: int) -> dict[str, np.ndarray]:
    """Return `FIELDS` of the predecessor for inputs, (depth,) each; NaN where none were frozen."""
    with np.load(PEER, allow_pickle=False) as stored:
        names = {field: f"{fingerprint(x)}/{network}/{field}" for field in FIELDS}
        return {
            field: stored[name][:depth] if name in stored else np.full(depth, np.nan)
            for field, name in names.items()
        }


def peer_versions() -> str:
    """Return the versions that made the frozen file, "neural-tangents 0.6.5, jax ..."."""
    with np.load(PEER, allow_pickle=False) as stored:
        return ", ".join(str(version) for version in stored["versions"])
