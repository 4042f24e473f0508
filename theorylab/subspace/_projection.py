"""A random linear map from d coordinates to all parameters of a network; nothing is stored.

theta = theta0 + P theta_d (Li, Farkhoor, Liu and Yosinski, ICLR 2018, equation 2): P is (D, d),
random, fixed, with columns of unit norm over the whole vector of parameters. Here P is a seed, a
few numbers that normalise it, and two programs: P theta_d and P^T g. Each kind of projection has a
file of its own with its map; this one does what is common.

Differs from the paper / reference:
  1. Columns have unit norm exactly, counted from the numbers drawn, for every kind but Fastfood.
  2. ``scope="leaf"``: every leaf has a map of its own, all of the same theta_d; columns have unit
     norm over all leaves together.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np

from theorylab.subspace._layout import LARGEST, Layout, layout_of
from theorylab.subspace._linear import linear_map
from theorylab.subspace._threefry import fold


class Map(Protocol):
    """One linear map from R^d to R^rows, before columns are normalised; static and hashable."""

    @property
    def d(self) -> int:
        """Number of columns."""

    @property
    def rows(self) -> int:
        """Number of rows."""

    def draw(self, seed: jax.Array) -> Any:
        """The arrays that are kept, for a seed (2,) of uint32; the seed, if nothing need be."""

    def forward(self, state: Any, theta: jax.Array) -> jax.Array:
        """P theta, (rows,), in the dtype of ``theta`` (d,)."""

    def backward(self, state: Any, flat: jax.Array) -> jax.Array:
        """P^T flat, (d,), in the dtype of ``flat`` (rows,)."""

    def squared_norms(self, state: Any, dtype: Any) -> jax.Array:
        """Squared norms of the columns of P, (d,)."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("seed", "scale", "states"),
    meta_fields=("layout", "maps", "kind", "scope", "version"),
)
@dataclass(frozen=True)
class Projection:
    """A linear map P from d coordinates to a tree of parameters, and its transpose.

    Made by one function for each kind: ``hadamard``, ``dense_gaussian``, ``dense_rademacher``,
    ``fastfood``, ``sparse``, ``sketch``, ``rotation``, ``kron``, ``orthogonal``. A projection is a
    pytree: it can be an argument of compiled functions, and ``vmap`` over keys makes one for each.

    Attributes
    ----------
    d : int
        Number of coordinates.
    size : int
        D, the number of parameters that are moved.
    kind, scope : str
        As it was made.
    version : int
        Of what is drawn from a seed; a change of a kind's numbers raises it.
    seed : array (2,) of uint32
        The words of the key.
    scale : array (d,) of float32
        What columns are multiplied with so that they have unit norm.
    """

    seed: jax.Array
    scale: jax.Array
    states: tuple[Any, ...] = field(repr=False)
    layout: Layout = field(repr=False)
    maps: tuple[Map, ...] = field(repr=False)
    kind: str
    scope: str
    version: int

    @property
    def d(self) -> int:
        """Number of coordinates."""
        return self.maps[0].d

    @property
    def size(self) -> int:
        """D, the number of parameters that are moved."""
        return sum(self.layout.sizes)

    def apply(self, theta_d: jax.typing.ArrayLike) -> Any:
        """P theta_d, a tree like the parameters.

        Parameters
        ----------
        theta_d : array (d,)
            Coordinates, of real floating point. Below 32 bits they are computed with in float32.

        Returns
        -------
        tree
            Like the parameters, each leaf in its own dtype; zeros where ``mask`` selects nothing.

        Raises
        ------
        ValueError
            If ``theta_d`` has not the shape (d,).
        TypeError
            If it is not of real floating point.
        """
        return _apply(self, coordinates(theta_d, self.d))

    def transpose(self, tree: Any) -> jax.Array:
        """P^T g for a tree g like the parameters: the coordinates of a gradient.

        Parameters
        ----------
        tree
            Of the structure and shapes of the parameters; leaves that are not selected are ignored.

        Returns
        -------
        array (d,)
            float32, or float64 if one of the leaves is.

        Raises
        ------
        ValueError, TypeError
            If structure, shapes or dtypes do not fit; the message names the leaf.
        """
        return _transpose(self, self.layout.pieces(tree, "tree"))

    def leaves(self, theta: jax.Array) -> list[jax.Array]:
        """P theta as one vector for each selected leaf, in the dtype of ``theta`` (d,)."""
        sizes = self.layout.sizes
        theta = theta * self.scale.astype(theta.dtype)
        images = [
            linear_map(m.forward, m.backward, state, theta, m.rows)
            for m, state in zip(self.maps, self.states, strict=True)
        ]
        if self.scope == "leaf":
            return images
        out, start = [], 0
        for size in sizes:
            out.append(jax.lax.slice_in_dim(images[0], start, start + size))
            start += size
        return out


def coordinates(theta_d: Any, d: int, what: str = "theta_d") -> jax.Array:
    """``theta_d`` as an array (d,) of at least 32 bits."""
    theta = jnp.asarray(theta_d)
    if theta.shape != (d,):
        raise ValueError(f"{what} must have the shape ({d},), got {theta.shape}")
    if not jnp.issubdtype(theta.dtype, jnp.floating):
        raise TypeError(f"{what} must be of real floating point, got {theta.dtype}")
    return theta.astype(wide_dtype(theta))


def wide_dtype(*arrays: jax.Array) -> str:
    """What is computed in: float64 if one array has it. Strict promotion allows no mixing."""
    return "float64" if any(x.dtype == jnp.float64 for x in arrays) else "float32"


@jax.jit
def _apply(projection: Projection, theta: jax.Array) -> Any:
    return projection.layout.tree(projection.leaves(theta))


@jax.jit
def _transpose(projection: Projection, pieces: list[jax.Array]) -> jax.Array:
    wide = wide_dtype(*pieces)
    flat = [piece.astype(wide) for piece in pieces]
    if projection.scope == "global":
        flat = [jnp.concatenate(flat)]
    images = [
        linear_map(m.backward, m.forward, state, piece, m.d)
        for m, state, piece in zip(projection.maps, projection.states, flat, strict=True)
    ]
    return sum(images[1:], start=images[0]) * projection.scale.astype(wide)


def key_words(key: jax.Array) -> jax.Array:
    """Two words, (2,) of uint32, of a typed key."""
    if not (isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise TypeError(f"key must be a typed key, as of jax.random.key(0), got {key!r:.80}")
    if key.shape != ():
        raise ValueError(f"key must be one key, got an array of keys of shape {key.shape}")
    data = jax.random.key_data(key).reshape(-1)
    # Some generators of JAX have four words.
    return data if data.size == 2 else fold(data[:2], data[2], data[3])


@partial(jax.jit, static_argnames=("maps", "label"))
def _draw(
    seed: jax.Array, maps: tuple[Map, ...], label: tuple[int, int]
) -> tuple[tuple[Any, ...], jax.Array]:
    own = fold(seed, *label)
    states = tuple(m.draw(fold(own, index)) for index, m in enumerate(maps))
    squares = sum(
        (m.squared_norms(s, jnp.float32) for m, s in zip(maps, states, strict=True)),
        start=jnp.zeros((maps[0].d,), jnp.float32),
    )
    # A column may be empty in few kinds, at few rows: it then stays so.
    full = squares > 0
    return states, jnp.where(full, 1 / jnp.sqrt(jnp.where(full, squares, 1)), 0)


def from_seed(
    kind: str,
    make: Callable[[int, int], Map],
    d: int,
    layout: Layout,
    seed: jax.Array,
    *,
    scope: str,
    version: int = 1,
) -> Projection:
    """The projection of a kind with this seed, (2,) of uint32."""
    sizes = layout.sizes if scope == "leaf" else (sum(layout.sizes),)
    maps = tuple(make(d, rows) for rows in sizes)
    states, scale = _draw(seed, maps, (crc32(kind.encode()), version))
    return Projection(seed, scale, states, layout, maps, kind, scope, version)


def whole(name: str, x: Any) -> int:
    """``x`` as an int; NumPy's integers are taken too."""
    if isinstance(x, bool | np.bool_) or not isinstance(x, int | np.integer):
        raise TypeError(f"{name} must be an int, got {x!r}")
    return int(x)


def check_size(d: int, layout: Layout, scope: str) -> None:
    """Raises where no projection of ``d`` columns on this layout can be; warns where it is odd."""
    if scope not in ("global", "leaf"):
        raise ValueError(f"scope must be 'global' or 'leaf', got {scope!r}")
    size = sum(layout.sizes)
    if not 1 <= d <= size:
        raise ValueError(f"d must be from 1 to D = {size}, the number of parameters, got {d}")
    largest = max(layout.sizes)
    if scope == "leaf" and largest > LARGEST:
        name = layout.names[
            [i for i, use in enumerate(layout.selected) if use][layout.sizes.index(largest)]
        ]
        raise ValueError(
            f"a leaf must have at most 2**31 - 1 numbers, like{name} has {largest}: split it"
        )
    if scope == "global" and size > LARGEST:
        raise ValueError(
            f"scope='global' must have at most 2**31 - 1 parameters, got {size}: "
            "with scope='leaf' every leaf has a map of its own"
        )
    if 2 * d > size:
        warnings.warn(
            f"d = {d} is more than half of the D = {size} parameters: a random subspace of this "
            "size saves nothing",
            stacklevel=4,
        )


def build(
    kind: str,
    make: Callable[[int, int], Map],
    d: int,
    like: Any,
    key: jax.Array,
    *,
    scope: str = "global",
    mask: Any = None,
    version: int = 1,
) -> Projection:
    """The projection of a kind, its arguments checked; ``make(d, rows)`` gives its map."""
    d, layout = whole("d", d), layout_of(like, mask)
    check_size(d, layout, scope)
    return from_seed(kind, make, d, layout, key_words(key), scope=scope, version=version)
