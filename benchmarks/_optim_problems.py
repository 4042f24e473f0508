"""Trees of parameters and a sequence of gradients, the same in every environment (NumPy alone)."""

from collections.abc import Iterator

import numpy as np

Shapes = dict[str, tuple[int, ...]]
Tree = dict[str, np.ndarray]


def transformer(width: int = 64, layers: int = 2, context: int = 64, symbols: int = 96) -> Shapes:
    """A small character transformer's tree, leaves by name."""
    shapes: Shapes = {"embedding": (symbols, width), "head": (width, symbols)}
    shapes |= {"positions": (context, width), "last.scale": (width,)}
    for k in range(layers):
        shapes |= {f"{k}.attention.in": (width, 3 * width), f"{k}.attention.out": (width, width)}
        shapes |= {f"{k}.mlp.in": (width, 4 * width), f"{k}.mlp.in.bias": (4 * width,)}
        shapes |= {f"{k}.mlp.out": (4 * width, width), f"{k}.mlp.out.bias": (width,)}
        shapes |= {f"{k}.scale.1": (width,), f"{k}.scale.2": (width,)}
    return dict(sorted(shapes.items()))


def shapes_of(case: str) -> Shapes:
    """``"512 x 2048"`` is one matrix, ``"transformer 64"`` the tree of that width."""
    if case.startswith("transformer"):
        return transformer(int(case.split()[1]))
    return {"w": tuple(int(size) for size in case.split(" x "))}


def start(case: str) -> Tree:
    """Parameters, float32."""
    random = np.random.default_rng(0)
    return {name: _normal(random, shape, 0.02) for name, shape in shapes_of(case).items()}


def gradients(case: str, calls: int) -> Iterator[Tree]:
    """One tree for each call, float32: noise whose rows and columns differ in size by 10."""
    for call in range(calls):
        random = np.random.default_rng([1, call])
        yield {name: _uneven(random, shape) for name, shape in shapes_of(case).items()}


def _normal(random: np.random.Generator, shape: tuple[int, ...], size: float) -> np.ndarray:
    return (size * random.standard_normal(shape)).astype(np.float32)


def _uneven(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    out = random.standard_normal(shape)
    for axis, size in enumerate(shape):
        sizes = np.geomspace(1.0, 0.1, size)
        out *= sizes.reshape([-1 if k == axis else 1 for k in range(len(shape))])
    return out.astype(np.float32)
