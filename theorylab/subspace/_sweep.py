r"""Every dimension and every seed in one compiled program.

A run in d dimensions is a run in :math:`d_{\max}` dimensions whose coordinates from d on are kept
at zero by a mask,

.. math::

    \theta = \theta_0 + P\,(m_d \odot \theta_d), \qquad (m_d)_j = [\, j < d \,],

so that all d have the same shapes, hence one program, and the subspaces of one seed are nested.
With gradients taken through the mask, what an optimizer does to the masked coordinates (from
gradients that are zero) cannot reach the parameters.

Differs from the paper / reference:
  1. Li et al. train every (d, seed) from scratch, each with its own projection. Here the
     projections of one seed share their columns, so that runs at neighbouring d are correlated: a
     smoother curve for each seed, and no less scatter between seeds.
  2. What the mask leaves must be a random subspace of d dimensions. `hadamard`'s first d columns
     are those of a smaller projection while the size m of a block is the same; columns of
     `fastfood`, `sparse` and dense kinds are alike in law. `rotation` and `sketch` are not to be
     used: a weight hears one coordinate only, and the mask freezes those of masked ones.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from theorylab.subspace._grid import dimensions


class Pieces(NamedTuple):
    """A sweep in pieces, which may be run, stored and joined one by one; of `sweep_pieces`.

    Attributes
    ----------
    n_pieces
        How many pieces there are.
    run
        ``run(i)`` runs piece i and returns its metrics, every leaf (runs of this piece, ...).
    join
        ``join(parts)`` takes what `run` returned for all pieces, in order (NumPy arrays that were
        stored in between will do), and returns leaves (seeds, dimensions, ...) as NumPy arrays.
    indices
        ``indices(i)`` is (runs of this piece, 2): which seed and which dimension each run has.

    Examples
    --------
    >>> from theorylab import subspace
    >>> subspace.Pieces._fields
    ('n_pieces', 'run', 'join', 'indices')
    """

    n_pieces: int
    run: Callable[[int], Any]
    join: Callable[[Sequence[Any]], Any]
    indices: Callable[[int], np.ndarray]


def sweep(
    train: Callable[[Array, Array], Any], ds: Any, seeds: Any, *, batch: int | None = None
) -> Any:
    r"""Run a training function for every seed and every dimension, compiled once.

    Parameters
    ----------
    train
        ``train(key, mask)`` returns metrics, any tree of arrays. `key` is a typed key and `mask`
        (max(ds),) float32, ones before zeros: its sum is d. The function makes its projection with
        ``d = max(ds)`` from the key, and multiplies ``theta_d`` by the mask wherever it uses it.
        It is traced once. Not with :func:`rotation` or :func:`sketch`, see the notes.
    ds
        (n_ds,) dimensions: known whole numbers >= 1, strictly increasing.
    seeds
        (n_seeds,) typed keys, or integers, which ``jax.random.key`` makes into keys.
    batch
        None runs all of them side by side (``vmap``): fast, and as much memory as all runs need.
        A number k runs at most k side by side, and such chunks one after the other (``lax.map``).

    Returns
    -------
    The tree of `train`, each leaf (n_seeds, n_ds, ...) of the dtype that `train` gave it.

    Raises
    ------
    ValueError
        For dimensions, seeds or a batch that make no sense.
    TypeError
        If `train` is not callable.

    Notes
    -----
    With ``batch=None`` the key is shared by all d of a seed, so that what depends on the key alone
    (signs of the projection, starting point, order of the data) is computed once for each seed.
    In chunks it is computed for each run. Chunks are of even size, to waste little: 14 runs with
    ``batch=8`` are two chunks of 7. Results with different `batch` agree up to rounding.

    Masking the tail of ``theta_d`` leaves a random subspace of d dimensions with ``hadamard`` (the
    very one of a smaller d with blocks of the same size m), and in law with ``fastfood``,
    ``sparse`` and the dense kinds; with ``kron`` one of other factors than its own. With
    ``rotation`` and ``sketch`` each weight hears one coordinate, so that a mask freezes all weights
    but a share of d / max(ds) outright: sweep those kinds by one projection for each d.

    A sweep compiles anew at each call; where it is called often, wrap it:
    ``jax.jit(lambda keys: sweep(train, ds, keys))``. For a sweep that reports its progress and can
    be resumed, see :func:`sweep_pieces`.

    References
    ----------
    Li, Farkhoor, Liu & Yosinski (2018), "Measuring the intrinsic dimension of objective
    landscapes", section 2 (the sweep over d).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import subspace
    >>> subspace.sweep(lambda key, mask: jnp.sum(mask), [1, 2, 5], seeds=[0, 1]).tolist()
    [[1.0, 2.0, 5.0], [1.0, 2.0, 5.0]]
    """
    grid, keys, run = _checked(train, ds, seeds)
    if batch is None:
        side_by_side = jax.vmap(jax.vmap(run, (None, 0)), (0, None))
        return jax.jit(side_by_side)(keys, jnp.asarray(grid, jnp.int32))
    seed_of, d_of, size = _chunks(len(keys), len(grid), batch)
    total = len(keys) * len(grid)

    def square(leaf: Array) -> Array:
        rest = leaf.shape[2:]
        return leaf.reshape(-1, *rest)[:total].reshape(len(keys), len(grid), *rest)

    def chunked(keys: Array, which: Array, ds: Array) -> Any:
        def chunk(pair: tuple[Array, Array]) -> Any:
            return jax.vmap(run)(keys[pair[0]], ds[pair[1]])

        rows = jax.lax.map(chunk, (which[0], which[1]))
        return jax.tree.map(square, rows)

    which = jnp.asarray(np.stack([seed_of, d_of]).reshape(2, -1, size))
    return jax.jit(chunked)(keys, which, jnp.asarray(grid, jnp.int32))


def sweep_pieces(
    train: Callable[[Array, Array], Any], ds: Any, seeds: Any, *, batch: int
) -> Pieces:
    r"""The same sweep in pieces of at most ``batch`` runs, one compiled program for all of them.

    Parameters
    ----------
    train, ds, seeds
        As for :func:`sweep`.
    batch
        At most how many runs a piece holds; they run side by side. Pieces are of even size, and
        the order is by seed, then by dimension: the first pieces complete the first seed's curve.

    Returns
    -------
    Pieces
        Its program is compiled at the first
        ``run``. Pieces do not depend on each other; run again, one gives the same numbers.

    Raises
    ------
    ValueError, TypeError
        As :func:`sweep`. ``run`` raises ValueError for an index that no piece has, and ``join``
        for parts that are not all there.

    Notes
    -----
    In an experiment, where ``progress.stage`` stores what a function returns and does not call it
    again after an interruption (`train` returning a flat dict)::

        pieces = subspace.sweep_pieces(train, ds, seeds, batch=8)
        parts = [progress.stage(f"runs {i}", functools.partial(pieces.run, i))
                 for i in range(pieces.n_pieces)]
        metrics = pieces.join(parts)

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import subspace
    >>> pieces = subspace.sweep_pieces(lambda key, mask: jnp.sum(mask), [1, 2, 5], [0, 1], batch=4)
    >>> pieces.n_pieces, pieces.run(1).tolist(), pieces.indices(1).tolist()
    (2, [1.0, 2.0, 5.0], [[1, 0], [1, 1], [1, 2]])
    >>> pieces.join([pieces.run(i) for i in range(pieces.n_pieces)]).tolist()
    [[1.0, 2.0, 5.0], [1.0, 2.0, 5.0]]
    """
    grid, keys, run = _checked(train, ds, seeds)
    n_seeds, n_ds = len(keys), len(grid)
    seed_of, d_of, size = _chunks(n_seeds, n_ds, batch)
    count, total = len(seed_of) // size, n_seeds * n_ds
    program = jax.jit(jax.vmap(run))

    def rows(i: int) -> slice:
        i = int(i)
        if not 0 <= i < count:
            raise ValueError(f"there are pieces 0 to {count - 1}, got {i}")
        return slice(i * size, (i + 1) * size)

    def run_piece(i: int) -> Any:
        at = rows(i)
        found = program(keys[seed_of[at]], jnp.asarray(grid[d_of[at]], jnp.int32))
        return jax.tree.map(lambda leaf: leaf[: min(size, total - at.start)], found)

    def indices(i: int) -> np.ndarray:
        at = rows(i)
        return np.stack([seed_of[at], d_of[at]], axis=1)[: total - at.start]

    def join(parts: Sequence[Any]) -> Any:
        if len(parts) != count:
            raise ValueError(f"parts must be those of all {count} pieces, got {len(parts)}")

        def joined(*leaves: Any) -> np.ndarray:
            rows = np.concatenate([np.asarray(leaf) for leaf in leaves])
            if len(rows) != total:
                raise ValueError(f"parts must hold {total} runs together, got {len(rows)}")
            return rows.reshape(n_seeds, n_ds, *rows.shape[1:])

        return jax.tree.map(joined, *parts)

    return Pieces(count, run_piece, join, indices)


def _checked(train: Any, ds: Any, seeds: Any) -> tuple[np.ndarray, Array, Callable[..., Any]]:
    """The grid, the keys, and one run as a function of a key and a (traced) dimension."""
    grid = dimensions(ds)
    keys = _keys(seeds)
    if not callable(train):
        raise TypeError(f"train must be a function of a key and a mask, got {type(train)}")
    largest = int(grid[-1])

    def run(key: Array, d: Array) -> Any:
        return train(key, (jnp.arange(largest) < d).astype(jnp.float32))

    return grid, keys, run


def _keys(seeds: Any) -> Array:
    """Typed keys (n,), from such keys or from integers."""
    if isinstance(seeds, list | tuple) and seeds and all(_is_key(seed) for seed in seeds):
        keys = jnp.stack(seeds)
    elif _is_key(seeds):
        keys = seeds
    else:
        entries = np.asarray(seeds)
        if entries.dtype.kind not in "iu" or entries.ndim != 1 or not entries.size:
            raise ValueError(
                "seeds must be a list of integers or an array of typed keys "
                f"(jax.random.split(jax.random.key(0), n)), got {entries.dtype}, "
                f"shape {entries.shape}"
            )
        keys = jnp.stack([jax.random.key(int(seed)) for seed in entries])
    if keys.ndim != 1 or not keys.size:
        raise ValueError(f"seeds must be one-dimensional and not empty, got shape {keys.shape}")
    return keys


def _is_key(seeds: Any) -> bool:
    return isinstance(seeds, jax.Array) and jnp.issubdtype(seeds.dtype, jax.dtypes.prng_key)


def _chunks(n_seeds: int, n_ds: int, batch: Any) -> tuple[np.ndarray, np.ndarray, int]:
    """Index of the seed and of the dimension of every run, padded to whole chunks; their size."""
    if isinstance(batch, bool) or not isinstance(batch, int | np.integer) or batch < 1:
        raise ValueError(f"batch must be a whole number >= 1, got {batch!r}")
    total = n_seeds * n_ds
    count = -(-total // int(batch))
    size = -(-total // count)
    runs = np.minimum(np.arange(count * size), total - 1)  # the last run again, to fill up
    return runs // n_ds, runs % n_ds, size
