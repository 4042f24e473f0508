"""Checks of what :func:`theorylab.transport.solve` is given, made before anything is traced.

Differs from the paper / reference:
  1. No paper. Values are looked at where they are known; under ``jit``, ``vmap`` and ``grad`` the
     same rules end in ``Status.INVALID`` and NaN.
  2. BALANCE: masses count as equal within 1e-6 (1e-4 in float32) of each other; b is then brought
     to the sum of a.
"""

import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from theorylab._numerics import floating, known
from theorylab.transport._costs import PointCloud
from theorylab.transport._grid import Grid

BALANCE = {8: 1e-6, 4: 1e-4}

Cost = Any


def checked_cost(cost: Any, *masses: Any) -> tuple[Cost, tuple[int, ...]]:
    """A cost matrix (..., n, m), a cloud of points or a grid; also the shape of its matrix.

    Whether there is a batch of problems on a grid the ``masses`` say.
    """
    if isinstance(cost, PointCloud):
        return _checked_cloud(cost)
    if isinstance(cost, Grid):
        batches = [np.shape(m)[0] for m in masses if m is not None and _batched(cost, np.shape(m))]
        return cost, (*batches[:1], cost.size, cost.size)
    if hasattr(cost, "matrix"):
        raise TypeError(f"cost must be a matrix, a PointCloud or a Grid, got {type(cost).__name__}")
    matrix = floating("cost", cost)
    if matrix.ndim not in (2, 3) or 0 in matrix.shape:
        raise ValueError(
            "cost must be a non-empty matrix (n, m), or a batch (B, n, m) of them, "
            f"got shape {tuple(matrix.shape)}"
        )
    values = known(matrix)
    if values is not None:
        for what, bad in (("NaN", np.isnan(values)), ("-inf", np.isneginf(values))):
            if bad.any():
                place = tuple(int(k) for k in np.argwhere(bad)[0])
                raise ValueError(f"cost must not hold {what}, got one at index {place}")
    return matrix, tuple(matrix.shape)


def _batched(grid: Grid, shape: tuple[int, ...]) -> bool:
    """Whether masses of this shape have a leading axis beside those of the grid."""
    return shape != grid.shape and (len(shape) == 2 or shape[1:] == grid.shape)


def flat(grid: Grid, mass: Any) -> Any:
    """Masses on a grid, or a batch of them, as (n,) or (B, n)."""
    if mass is None:
        return None
    mass, size = floating("a and b", mass), grid.size
    if tuple(mass.shape[-1:]) != (size,) and tuple(mass.shape[-len(grid.shape) :]) != grid.shape:
        raise ValueError(
            f"masses on a grid of shape {grid.shape} must have that shape, or ({size},), or a "
            f"leading axis before it; got {tuple(mass.shape)}"
        )
    if tuple(mass.shape) == grid.shape:
        return mass.reshape(size)
    if tuple(mass.shape[1:]) == grid.shape:
        return mass.reshape(-1, size)
    return mass


def _checked_cloud(cloud: PointCloud) -> tuple[PointCloud, tuple[int, ...]]:
    x, y = floating("cost.x", cloud.x), floating("cost.y", cloud.y)
    if x.ndim not in (2, 3) or y.ndim != x.ndim or 0 in x.shape or 0 in y.shape:
        raise ValueError(
            "cost.x and cost.y must be non-empty, (n, d) and (m, d), or batches of them, "
            f"got shapes {tuple(x.shape)} and {tuple(y.shape)}"
        )
    if x.shape[-1] != y.shape[-1] or x.shape[:-2] != y.shape[:-2]:
        raise ValueError(
            "cost.x and cost.y must have points of the same dimension, in batches of the same "
            f"length, got shapes {tuple(x.shape)} and {tuple(y.shape)}"
        )
    if isinstance(cloud.cost, str) and cloud.cost not in ("sqeuclidean", "euclidean"):
        raise ValueError(
            "PointCloud's cost must be 'sqeuclidean', 'euclidean' or a function of two points, "
            f"got {cloud.cost!r}"
        )
    if not isinstance(cloud.cost, str) and not callable(cloud.cost):
        raise TypeError(
            "PointCloud's cost must be a name or a function of two points, "
            f"got {type(cloud.cost).__name__}"
        )
    for name, points in (("cost.x", x), ("cost.y", y)):
        values = known(points)
        if values is not None and not np.isfinite(values).all():
            place = tuple(int(k) for k in np.argwhere(~np.isfinite(values))[0])
            raise ValueError(f"{name} must be finite, got {values[place]} at index {place}")
    block = None if cloud.block is None else whole("PointCloud's block", cloud.block)
    cloud = PointCloud(jnp.asarray(x), jnp.asarray(y), cloud.cost, block)
    return cloud, cloud.shape


def checked_points(
    x: Any, y: Any, cost: Any, block: int | None = None
) -> tuple[PointCloud, tuple[int, ...]]:
    """The same of points that are arguments of their own, with their names in messages."""
    try:
        return _checked_cloud(PointCloud(x, y, cost, block))
    except (TypeError, ValueError) as error:
        words = str(error).replace("cost.x", "x").replace("cost.y", "y")
        raise type(error)(words.replace("PointCloud's ", "")) from None


def checked_masses(
    a: Any, b: Any, shape: tuple[int, ...], dtype: Any
) -> tuple[jax.Array | np.ndarray, jax.Array | np.ndarray]:
    """Masses (n,) and (m,), or batches; uniform and summing to 1 where None."""
    n, m = shape[-2:]
    made = []
    for name, given, size in (("a", a, n), ("b", b, m)):
        mass = np.full(size, 1 / size, dtype) if given is None else floating(name, given)
        allowed = [(size,), (*shape[:-2], size)]
        if tuple(mass.shape) not in allowed:
            wanted = " or ".join(str(s) for s in dict.fromkeys(allowed))
            raise ValueError(
                f"{name} must have shape {wanted} for a cost of shape {shape}, "
                f"got {tuple(mass.shape)}"
            )
        values = known(mass)
        if values is not None and not (np.isfinite(values).all() and (values >= 0).all()):
            place = tuple(int(k) for k in np.argwhere(~(values >= 0) | np.isinf(values))[0])
            raise ValueError(
                f"{name} must be finite and not negative, got {values[place]} at index {place}"
            )
        if values is not None and (values.sum(-1) <= 0).any():
            raise ValueError(f"{name} must have a positive sum, got {values.sum(-1)}")
        made.append(mass)
    first, second = (known(mass) for mass in made)
    if first is not None and second is not None:
        sums = [np.asarray(mass, np.float64).sum(-1) for mass in (first, second)]
        slack = BALANCE[np.dtype(dtype).itemsize]
        if (np.abs(sums[0] - sums[1]) > slack * np.maximum(*sums)).any():
            raise ValueError(
                f"a and b must have equal sums (within {slack:g}), got {sums[0]} and {sums[1]}"
            )
    return made[0], made[1]


def reachable(cost: Any, a: Any, b: Any) -> None:
    """Require that every point with mass has an open arc to a point with mass."""
    values = None if isinstance(cost, PointCloud | Grid) else known(cost)
    first, second = known(a), known(b)
    if values is None or first is None or second is None:
        return
    open_ = np.isfinite(values)
    rows = np.broadcast_to(first > 0, (*values.shape[:-2], first.shape[-1]))
    columns = np.broadcast_to(second > 0, (*values.shape[:-2], second.shape[-1]))
    for name, live, found in (
        ("a", rows, (open_ & columns[..., None, :]).any(-1)),
        ("b", columns, (open_ & rows[..., :, None]).any(-2)),
    ):
        cut = live & ~found
        if cut.any():
            place = tuple(int(k) for k in np.argwhere(cut)[0])
            raise ValueError(
                f"cost is infeasible: all arcs of {name}{list(place)}, which has mass, are "
                "forbidden (+inf) or lead to points without mass"
            )


def checked_mesh(mesh: Any, cost: Any, method: str, shape: tuple[int, ...]) -> Any:
    """A mesh with one (automatic) axis, and a problem that can be spread over it."""
    if not isinstance(mesh, jax.sharding.Mesh) or len(mesh.axis_names) != 1:
        raise TypeError(f"mesh must be a jax.sharding.Mesh with one axis, got {mesh!r}")
    if isinstance(cost, Grid) or len(shape) == 3 or method == "sns":
        raise ValueError(
            "mesh spreads a single problem with a matrix or a PointCloud, by method 'newton' or "
            f"'sinkhorn', got shape {shape}, a {type(cost).__name__} and method {method!r}"
        )
    return jax.sharding.Mesh(mesh.devices, mesh.axis_names)


def positive(name: str, value: Any, batch: int | None = None, dtype: Any = None) -> Any:
    """A positive real scalar, in a batch also one for each problem; positive in its dtype too."""
    if dtype is not None and isinstance(value, numbers.Real) and 0 < float(value):
        if np.dtype(dtype).type(value) == 0:
            raise ValueError(f"{name} must be positive and finite in {dtype}, got {value!r}")
    if isinstance(value, numbers.Real | np.bool_):
        if not math.isfinite(float(value)) or float(value) <= 0:
            raise ValueError(f"{name} must be positive and finite, got {value!r}")
        return value
    array = floating(name, value)
    if array.shape not in [()] + ([] if batch is None else [(batch,)]):
        many = "" if batch is None else f", or have shape ({batch},)"
        raise ValueError(f"{name} must be a scalar{many}, got shape {tuple(array.shape)}")
    values = known(array)
    if values is not None and not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError(f"{name} must be positive and finite, got {values}")
    return array


def whole(name: str, value: Any) -> int:
    """A positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a positive whole number, got {value!r}")
    return int(value)


def starting(init: Any, shape: tuple[int, ...]) -> tuple[Any, Any] | None:
    """Potentials (f, g) to start from: of a solution, or a pair."""
    if init is None:
        return None
    if hasattr(init, "f") and hasattr(init, "g"):
        init = (init.f, init.g)
    if not isinstance(init, tuple | list) or len(init) != 2:
        raise TypeError(
            f"init must be a Solution or a pair of potentials (f, g), got {type(init).__name__}"
        )
    n, m = shape[-2:]
    made = []
    for name, potential, size in (("init[0]", init[0], n), ("init[1]", init[1], m)):
        checked = floating(name, potential)
        if tuple(checked.shape) not in [(size,), (*shape[:-2], size)]:
            raise ValueError(
                f"{name} must have shape {(*shape[:-2], size)}, got {tuple(checked.shape)}"
            )
        made.append(jnp.asarray(checked))
    return made[0], made[1]
