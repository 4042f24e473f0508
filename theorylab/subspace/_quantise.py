r"""Coordinates on few levels, and their code.

A codebook of at most K levels replaces each coordinate by the nearest one; levels are found by
k-means in one dimension, started from equal steps,

.. math:: \min_{c_1 < \dots < c_K} \sum_j \min_k (\theta_j - c_k)^2 ,

and the better of the two is taken, so that the squared error is never above that of equal steps.
The code holds d, the dtype, the
number of levels in use, the codebook, and the symbols, arithmetic-coded; all parts are prefix-free,
hence the whole is, and its length is a description length in the sense of Occam's bound.

Differs from the paper / reference:
  1. Lotfi et al. train on with the codebook after k-means, through the network. Here the codebook
     is fitted to theta_d alone; what was trained on their way can be given as it is, since a vector
     of at most K distinct values keeps them, to the codebook's rounding.
  2. Codebook entries are float16, as theirs, but relative to a common power of two, of EXPONENT
     bits, so that vectors of any scale keep eleven bits. Where the largest level would be rounded
     up beyond the range of the dtype, it is rounded down.
  3. k-means stops where no coordinate changes its level, or after SWEEPS.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from theorylab.subspace._arithmetic_coder import (
    BitReader,
    decode,
    encode,
    natural_bits,
    number_bits,
    read_natural,
)

EXPONENT = 12  # bits of a signed exponent: float64 needs -1074 to 1024
SWEEPS = 300
DTYPES = (np.dtype("float32"), np.dtype("float64"))

Codebook = Literal["kmeans", "uniform"]


class Quantised(NamedTuple):
    """Coordinates on few levels; of `quantise`.

    Attributes
    ----------
    values
        (d,): the level of each coordinate, in the dtype of theta_d (half precision: float32).
    symbols
        (d,) int32: its index in the codebook.
    codebook
        (K,): the levels in use, increasing; K is at most what was asked for.

    Examples
    --------
    >>> from theorylab import subspace
    >>> subspace.Quantised._fields
    ('values', 'symbols', 'codebook')
    """

    values: Array
    symbols: Array
    codebook: Array


class _Fit(NamedTuple):
    symbols: np.ndarray  # (d,)
    halves: np.ndarray  # (K,) float16
    exponent: int
    dtype: np.dtype


def quantise(theta_d: ArrayLike, levels: int, *, codebook: Codebook = "kmeans") -> Quantised:
    r"""Replace each coordinate by the nearest of a few levels.

    .. math:: \theta_j \mapsto c_{k(j)}, \qquad k(j) = \arg\min_k |\theta_j - c_k|

    Parameters
    ----------
    theta_d
        (d,) floating array, finite.
    levels
        At most how many levels, 1 to 65536.
    codebook
        ``"kmeans"``, or ``"uniform"`` for the middles of equal steps from the least to the largest
        coordinate. A vector of at most `levels` distinct values keeps them, whichever is chosen,
        but for the rounding of the codebook.

    Returns
    -------
    Quantised
        ``values`` (d,), ``symbols`` (d,) and ``codebook`` (K,).

    Raises
    ------
    TypeError
        If ``theta_d`` is not a real floating array.
    ValueError
        If it has another shape or is not finite (in float32, where x64 is off), or ``levels`` or
        ``codebook`` make no sense.

    Notes
    -----
    NumPy on the host, in float64; not to be traced. Levels are float16 numbers times a power of
    two: off by 2^-11 of themselves at most, or by 2^-24 of the largest where that is more (small
    ones, below its 2^-13th part); levels that are closer may become one. With "kmeans" the squared
    error is at most that of "uniform". Quantising again with as many levels changes nothing.

    References
    ----------
    Lotfi, Finzi, Kapoor, Potapczynski, Goldblum & Wilson (2022), "PAC-Bayes compression bounds so
    tight that they can explain generalization" (learned codebook from k-means).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import subspace
    >>> q = subspace.quantise(jnp.array([-1.0, -0.75, 0.5, 1.0, 0.75]), 2)
    >>> q.codebook.tolist(), q.symbols.tolist()
    ([-0.875, 0.75], [0, 0, 1, 1, 1])
    """
    fit = _fit(theta_d, levels, codebook)
    levels_used = _levels(fit.halves, fit.exponent, fit.dtype)
    values = levels_used[fit.symbols]
    return Quantised(
        jnp.asarray(values), jnp.asarray(fit.symbols, jnp.int32), jnp.asarray(levels_used)
    )


def compressed_bits(theta_d: ArrayLike, levels: int, *, codebook: Codebook = "kmeans") -> int:
    """Length in bits of the code of the quantised coordinates: all that they cost.

    Parameters
    ----------
    theta_d, levels, codebook
        As for :func:`quantise`.

    Returns
    -------
    int
        Bits of the code that :func:`compress` writes (which fills the last byte up): d, dtype,
        levels and symbols. It is prefix-free: the `bits` of :func:`occam_bound`.

    Raises
    ------
    TypeError, ValueError
        As :func:`quantise`.

    Notes
    -----
    What the code does not hold is the projection: its kind, key and parameters' layout are known
    to the receiver, or chosen before the data was seen. Of S keys or kinds that were tried on the
    training data, naming the best costs log2 S bits more. d and the number of levels are in the
    code, however they were chosen; nor does a choice cost anything that the receiver has no need to
    know, such as the learning rate, or which of two codebooks was shorter. NumPy on the host.

    References
    ----------
    Lotfi et al. (2022), the same sum of a codebook and arithmetic-coded symbols.

    Examples
    --------
    >>> import numpy as np
    >>> from theorylab import subspace
    >>> theta_d = np.random.default_rng(0).standard_normal(1000)
    >>> [subspace.compressed_bits(theta_d, k) for k in (1, 7, 50)]  # 64000 bits as they are
    [48, 2720, 5691]
    """
    return len(code_of(theta_d, levels, codebook))


def code_of(theta_d: ArrayLike, levels: int, codebook: Codebook) -> list[int]:
    """The bits of the code."""
    fit = _fit(theta_d, levels, codebook)
    kinds = len(fit.halves)
    bits = natural_bits(len(fit.symbols)) + [DTYPES.index(fit.dtype)] + natural_bits(kinds)
    bits += number_bits(fit.exponent % 2**EXPONENT, EXPONENT)
    for half in fit.halves.view(np.uint16).tolist():
        bits += number_bits(half, 16)
    return bits + encode(fit.symbols.tolist(), kinds)


def read_code(data: bytes, d: int) -> Array:
    """The quantised coordinates of a code that must hold d of them; ValueError if it is none."""
    reader = BitReader(data)
    count = read_natural(reader)
    if count != d:
        raise ValueError(f"the code must hold d = {d} coordinates, got {count}")
    dtype = DTYPES[reader.number(1)]
    kinds = read_natural(reader)
    if kinds > count or 16 * kinds > reader.size - reader.position:
        raise ValueError(f"the code has no room for a codebook of {kinds} levels")
    exponent = reader.number(EXPONENT)
    exponent -= 2**EXPONENT if exponent >= 2 ** (EXPONENT - 1) else 0
    halves = np.array([reader.number(16) for _ in range(kinds)], np.uint16).view(np.float16)
    if not np.all(np.isfinite(halves)):
        raise ValueError("the code's levels must be finite")
    symbols = decode(reader, count, kinds)
    end, rest = reader.position, reader.size - reader.position
    if rest >= 8 or reader.number(rest):
        raise ValueError(f"the code must end after {end} bits, but {rest} more are not empty")
    with np.errstate(over="ignore"):
        levels = _levels(halves, exponent, dtype)
    if not np.all(np.isfinite(levels)):
        raise ValueError(f"the code's levels must be finite, got the exponent {exponent}")
    return jnp.asarray(levels[symbols])


def _levels(halves: np.ndarray, exponent: int, dtype: np.dtype) -> np.ndarray:
    canonical = jax.dtypes.canonicalize_dtype(dtype)
    return np.ldexp(halves.astype(np.float64), exponent).astype(canonical)


def _fit(theta_d: Any, levels: Any, codebook: Any) -> _Fit:
    """Check, find levels, round them, and give each coordinate its symbol."""
    theta = np.asarray(theta_d)
    if not jnp.issubdtype(theta.dtype, jnp.floating):
        raise TypeError(f"theta_d must be a real floating array, got {theta.dtype}")
    if theta.ndim != 1 or not theta.size:
        raise ValueError(f"theta_d must be (d,), got shape {theta.shape}")
    whole = isinstance(levels, int | np.integer) and not isinstance(levels, bool)
    if not whole or not 1 <= levels <= 2**16:
        raise ValueError(f"levels must be a whole number from 1 to 65536, got {levels!r}")
    if codebook not in ("kmeans", "uniform"):
        raise ValueError(f'codebook must be "kmeans" or "uniform", got {codebook!r}')
    dtype = np.dtype(np.float64 if theta.dtype == np.float64 else np.float32)
    canonical = jax.dtypes.canonicalize_dtype(dtype)
    with np.errstate(over="ignore"):
        finite = np.all(np.isfinite(theta.astype(canonical)))
    if not finite:
        raise ValueError(f"theta_d must be finite, in {canonical}")
    x = theta.astype(np.float64)
    scale = int(np.frexp(np.max(np.abs(x)))[1])
    top = int(np.finfo(canonical).maxexp) - scale  # numbers are below 2^top
    x = np.ldexp(x, -scale)  # in [-1, 1]
    found = np.unique(x)
    if len(found) <= levels:
        candidates = [found]
    else:
        steps = (found[-1] - found[0]) / int(levels) * (np.arange(levels) + 0.5)
        candidates = [found[0] + steps]
        if codebook == "kmeans":  # first, so that it is taken where both are as good
            candidates.insert(0, _kmeans(np.sort(x), candidates[0]))
    _, fit = min((_nearest(x, some, top) for some in candidates), key=lambda pair: pair[0])
    return fit._replace(exponent=fit.exponent + scale, dtype=dtype)


def _nearest(x: np.ndarray, levels: np.ndarray, top: int) -> tuple[float, _Fit]:
    """Round the levels and give each coordinate the nearest; with the squared error of that."""
    halves, exponent = _rounded(levels, top)
    rounded = np.ldexp(halves.astype(np.float64), exponent)
    nearest = np.searchsorted(_middles(rounded), x)
    used, symbols = np.unique(nearest, return_inverse=True)
    error = float(np.sum(np.square(x - rounded[nearest])))
    return error, _Fit(symbols, halves[used], exponent, x.dtype)


def _middles(levels: np.ndarray) -> np.ndarray:
    return levels[:-1] / 2 + levels[1:] / 2


def _kmeans(x: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Lloyd's iteration on sorted numbers; levels that lose all of theirs stay where they are."""
    sums = np.concatenate([[0.0], np.cumsum(x)])
    before = None
    for _ in range(SWEEPS):
        cuts = np.concatenate([[0], np.searchsorted(x, _middles(levels)), [len(x)]])
        if before is not None and np.array_equal(cuts, before):
            break
        count = np.diff(cuts)
        means = np.diff(sums[cuts]) / np.maximum(count, 1)
        levels = np.sort(np.where(count > 0, means, levels))
        before = cuts
    return levels


def _rounded(levels: np.ndarray, top: int) -> tuple[np.ndarray, int]:
    """Distinct float16 numbers, and an exponent: the levels, none rounded up to 2^top."""
    exponent = int(np.frexp(np.max(np.abs(levels)))[1])
    halves = np.ldexp(levels, -exponent).astype(np.float16)
    if np.max(np.abs(halves)) >= 1 and exponent == top:
        below = np.nextafter(np.float16(1), np.float16(0))
        halves = np.clip(halves, -below, below)
    elif np.max(np.abs(halves)) >= 1:  # rounded up to the next power
        exponent += 1
        halves = np.ldexp(levels, -exponent).astype(np.float16)
    return np.unique(halves + np.float16(0)), exponent  # the sum has no negative zero
