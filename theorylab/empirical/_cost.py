r"""What each method would cost, from shapes alone, and the tile that fits in memory.

With P parameters, O outputs of which a pair of examples keeps O_k, traced size O_t, a forward pass
of F operations per example and N pairs of examples to combine:

- Jacobian contraction: :math:`F (1 + 2 O) + \beta P O` for each prepared example,
  :math:`2 P O_t O_k N`;
- NTK-vector products: :math:`F (1 + 2 O) + \beta P O` for each column of each tile of rows,
  :math:`2 F O N`.

Differs from the paper / reference:
  1. Novak et al. (2022), table 1, give orders of growth; here the forward pass is counted in its
     jaxpr, two operations per multiply-add of a product or convolution and one per entry of
     anything else. A pass backwards, or one linearised, is taken for twice a pass forwards.
  2. BYTE_PRICE = 40 is the term in beta: a Jacobian is memory-bound. An MLP 784-512-512-512-10 took
     1 ns for each byte of Jacobians and did 72 operations in that time on 2 CPU cores;
     accelerators' ratios of speed to bandwidth are about 20.
  3. BUDGET = 512 MiB: two tiles of Jacobians, the linearised pass of one tile, or the vectors
     pulled back together should each stay inside it. ROWS = 128: fewer rows than that serve matrix
     products badly, more would forgo the symmetry.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from theorylab.empirical._axes import Axes
from theorylab.empirical._methods import Example

BUDGET = 512 * 2**20
BYTE_PRICE = 40
ROWS = 128


class Choice(NamedTuple):
    """A method, its tile (examples), vectors pulled back at a time, predicted operations."""

    method: str
    tile: int
    pulled: int
    flops: float


class Work(NamedTuple):
    """Operations, and bytes of all intermediate results, of one example's forward pass."""

    flops: float
    bytes: float


def choose(
    method: str,
    g: Example,
    floats: Any,
    x: Any,
    axes: list[Axes],
    n1: int,
    n2: int | None,
    batch_size: int | None,
) -> Choice:
    """Choose the cheapest method by predicted operations, or size the one asked for."""
    forward = count(g, floats, jax.tree.map(lambda a: a[0], x))
    sizes = [math.prod(leaf.shape) for leaf in floats]
    itemsize = max(np.dtype(leaf.dtype).itemsize for leaf in floats)
    parameters = sum(sizes)
    outputs = sum(out.outputs for out in axes)
    symmetric = n2 is None
    columns = n1 if n2 is None else n2
    pairs = n1 * columns

    def fitted(bytes_each: float, most: int) -> int:
        if batch_size is not None:
            return batch_size
        return int(np.clip(BUDGET / max(bytes_each, 1), 1, most))

    def visits(tile: int) -> tuple[float, float]:
        """Examples prepared as columns, and pairs of examples combined."""
        rounds = -(-n1 // tile)
        if not symmetric:
            return (columns * (rounds if columns > tile else 1), pairs)
        return (n1 * (rounds // 2), pairs * (1 + rounds // 2) / rounds)

    backward = forward.flops * (1 + 2 * outputs)
    size = parameters * outputs
    tile = fitted(2 * itemsize * size, max(n1, columns))
    prepared, combined = visits(tile)
    per_pair = 2 * parameters * sum(out.traced_size * out.kept for out in axes)
    flops = (n1 + prepared) * (backward + BYTE_PRICE * itemsize * size) + combined * per_pair
    jacobian = Choice("jacobian", tile, 1, flops)

    most = min(n1, ROWS) if symmetric else max(n1, columns)
    tile = fitted(forward.bytes * (1 + outputs), most)
    combined = visits(tile)[1]
    pulls = combined / min(tile, n1)
    flops = pulls * (backward + BYTE_PRICE * itemsize * size)
    flops += 2 * forward.flops * (n1 + combined * outputs)
    pulled = int(np.clip(BUDGET / max(itemsize * parameters, 1), 1, max(outputs, 1)))
    vector = Choice("vector_product", tile, pulled, flops)

    choices = {c.method: c for c in (jacobian, vector)}
    return choices[method] if method != "auto" else min(choices.values(), key=lambda c: c.flops)


def count(g: Callable[..., Any], *args: Any) -> Work:
    """Operations and intermediate bytes of ``g(*args)``, from its jaxpr."""
    return _jaxpr(jax.make_jaxpr(g)(*args).jaxpr)


def _jaxpr(jaxpr: Any) -> Work:
    flops = stored = 0.0
    for equation in jaxpr.eqns:
        inner = [_jaxpr(sub) for value in equation.params.values() for sub in _subjaxprs(value)]
        repeats = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        if inner:
            flops += repeats * sum(work.flops for work in inner)
            stored += repeats * sum(work.bytes for work in inner)
            continue
        out = [v.aval for v in equation.outvars if hasattr(v.aval, "shape")]
        flops += _operations(equation, out)
        stored += sum(math.prod(a.shape) * getattr(a.dtype, "itemsize", 4) for a in out)
    return Work(flops, stored)


def _subjaxprs(value: Any) -> list[Any]:
    if hasattr(value, "eqns"):
        return [value]
    if hasattr(value, "jaxpr"):
        return _subjaxprs(value.jaxpr)
    if isinstance(value, tuple | list):
        return [sub for item in value for sub in _subjaxprs(item)]
    return []


def _operations(equation: Any, out: list[Any]) -> float:
    entries = sum(math.prod(a.shape) for a in out)
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        return 2.0 * entries * math.prod(left[axis] for axis in contracted)
    if equation.primitive.name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        out_channels = kernel[equation.params["dimension_numbers"].rhs_spec[0]]
        return 2.0 * entries * math.prod(kernel) / out_channels
    return float(entries)
