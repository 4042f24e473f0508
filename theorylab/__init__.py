"""TheoryLab: the theory of deep learning as a pure-functional JAX library.

Each subpackage is one subject and is imported on first use, so that ``import theorylab`` costs
little more than ``import jax``:

``layers``      the record tree of a network: constructors, ``init``, ``apply``
``kernels``     the NNGP and NTK kernels of its infinite-width limit
``empirical``   kernels and linearization of finite networks
``predict``     from kernels to predictions: gradient flow, posteriors
``data``        real data sets that installed packages or the user's disk hold
"""

import importlib

__version__ = "0.1.0"

_ROOMS = ("data", "empirical", "kernels", "layers", "predict")

__all__ = ["__version__", *_ROOMS]  # noqa: PLE0604 - the rooms are loaded by __getattr__


def __getattr__(name: str) -> object:
    if name in _ROOMS:
        return importlib.import_module(f"theorylab.{name}")
    raise AttributeError(f"module 'theorylab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
