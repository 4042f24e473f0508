r"""The intrinsic dimension, read off a curve of accuracy against d.

With the threshold :math:`t = \text{fraction} \times \text{baseline}`,

.. math::

    d_{\text{int}} = \min \{ d \in \text{grid} : \bar a(d) \ge t \}, \qquad
    \bar a(d) = \text{mean over runs of the accuracy at } d .

Everything here is NumPy on the host, in float64, and looks at values: nothing is to be traced.

Differs from the paper / reference:
  1. The paper defines d_int90 as the least d at which at least 90 % of the baseline is reached; its
     code asks for more than that. Here it is "at least".
  2. A mean and a threshold that differ by rounding count as equal (see `_crossing.py`).
  3. Where no d of the grid reaches the threshold, the paper's code returns the last one. Here the
     value is NaN, ``censored`` is set, and a warning is given.
  4. The uncertainty is Li et al.'s: d_int of curves made of one run for each d, drawn at random
     among the runs (they report the standard deviation of 100 such draws). Here an interval is
     reported, the 2.5 % and 97.5 % quantiles (EDGES), since the draws sit on the grid and some may
     not reach the threshold.
  5. ``rule="interp"`` is not theirs; it is linear in d.
"""

import warnings
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from theorylab.subspace._crossing import crossings
from theorylab.subspace._grid import dimensions

EDGES = (0.025, 0.975)  # of a 95 % interval

Rule = Literal["first", "interp"]


class Dint(NamedTuple):
    """An intrinsic dimension; floats, so that they can be NaN.

    Attributes
    ----------
    value
        The intrinsic dimension; NaN if the mean curve does not reach the threshold.
    low, high
        The interval from the draws. `high` is inf where more than 2.5 % of the draws do not reach
        the threshold: the grid does not bound it. `low` is NaN where fewer than 2.5 % reach it.
        Both are NaN without draws: ``bootstrap=0``, or one run for each d, which says nothing about
        the scatter between runs.
    censored
        Whether the threshold is not reached: the intrinsic dimension is beyond the grid.

    Examples
    --------
    >>> from theorylab import subspace
    >>> subspace.Dint(750.0, 700.0, 850.0, False).value
    750.0
    """

    value: float
    low: float
    high: float
    censored: bool


def dint(
    ds: Any,
    accuracy: ArrayLike,
    baseline: ArrayLike,
    *,
    fraction: float = 0.9,
    rule: Rule = "first",
    bootstrap: int = 100,
    key: jax.Array | None = None,
) -> Dint:
    r"""The least dimension in which a fraction of the baseline is reached, with an interval.

    Parameters
    ----------
    ds
        (n_ds,) dimensions: whole numbers >= 1, strictly increasing.
    accuracy
        (n_seeds, n_ds), or (n_ds,) of one run: accuracy, or any performance that is better when
        larger. NaN stands for a run that failed: it never reaches anything, nor does the mean over
        runs of which one failed, so that its d is lost. Leave failed runs out to keep the d.
    baseline
        What direct training reaches, in the same units: a number, or (m,) of m runs, of which the
        mean is taken. Positive.
    fraction
        In (0, 1]: 0.9 for d_int90, 1.0 for d_int100.
    rule
        ``"first"``: the first d of the grid whose mean reaches the threshold. ``"interp"``: where
        the straight line (in d) between that point and the one before it crosses the threshold. If
        the first point of the grid reaches it, both rules return that point, an upper bound.
    bootstrap
        Number of draws for the interval; 0 for none.
    key
        Of the draws; None is ``jax.random.key(0)``.

    Returns
    -------
    Dint
        ``value``, ``low``, ``high`` (floats) and ``censored``.

    Raises
    ------
    TypeError
        If accuracy, baseline or fraction are not real numbers.
    ValueError
        For a grid that does not increase, shapes that do not fit, a baseline that is not positive
        and finite, accuracies that are infinite, and options out of range.

    Warns
    -----
    UserWarning
        If no d of the grid reaches the threshold; it names the threshold and the largest mean.

    Notes
    -----
    Each draw takes one run for each d, independently, and one run of the baseline where there are
    several. The first crossing of a single noisy curve tends to come earlier than that of the mean:
    the value may lie above the middle of its interval, or outside. Computed in float64, from
    whatever dtype; what is below the threshold by four roundings of float32 still reaches it. Not
    to be called on traced arrays.

    References
    ----------
    Li, Farkhoor, Liu & Yosinski (2018), "Measuring the intrinsic dimension of objective
    landscapes", section 2 (definition of d_int90).

    Examples
    --------
    >>> from theorylab import subspace
    >>> accuracy = [[0.4, 0.7, 0.93], [0.5, 0.8, 0.97]]
    >>> subspace.dint([10, 100, 200], accuracy, 0.95)
    Dint(value=200.0, low=200.0, high=200.0, censored=False)
    >>> round(subspace.dint([10, 100, 200], accuracy, 0.95, rule="interp").value, 6)
    152.5
    """
    found, missed = found_and_missed(ds, accuracy, baseline, fraction, rule, bootstrap, key)
    if missed:
        warnings.warn(missed, UserWarning, stacklevel=2)
    return found


def found_and_missed(
    ds: Any, accuracy: Any, baseline: Any, fraction: Any, rule: Any, bootstrap: Any, key: Any
) -> tuple[Dint, str]:
    """As `dint`, with what is to be said where the threshold is not reached, or nothing."""
    grid, curves = dimensions(ds), np.atleast_2d(real_numbers("accuracy", accuracy))
    if curves.ndim != 2 or curves.shape[1] != len(grid) or not len(curves):
        raise ValueError(
            f"accuracy must be (n_seeds, {len(grid)}) or ({len(grid)},) for the {len(grid)} "
            f"dimensions, got shape {np.shape(accuracy)}"
        )
    if np.any(np.isinf(curves)):
        raise ValueError("accuracy must be finite (NaN for a run that failed), got inf")
    base = runs_of(baseline)
    _check_options(fraction, rule, bootstrap)
    curves = np.where(np.isnan(curves), -np.inf, curves)
    threshold, mean = float(fraction * base.mean()), curves.mean(0)
    value = float(crossings(grid, mean[None], threshold, rule)[0])
    low, high = np.nan, np.nan
    if bootstrap and len(curves) > 1:
        generator = np.random.default_rng(_words(key))
        run = generator.integers(len(curves), size=(bootstrap, len(grid)))
        drawn = curves[run, np.arange(len(grid))]
        level = fraction * base[generator.integers(len(base), size=bootstrap)]
        found = crossings(grid, drawn, level, rule)
        low, high = np.quantile(found, EDGES, method="inverted_cdf")
        low = np.nan if np.isinf(low) else low
    if np.isfinite(value):
        return Dint(value, float(low), float(high), False), ""
    best = np.max(mean, initial=-np.inf, where=np.isfinite(mean))
    missed = (
        f"the grid ends at d = {grid[-1]} below the threshold of {threshold:.6g}: the largest mean "
        + (f"accuracy is {best:.6g}" if np.isfinite(best) else "accuracy is NaN at every d")
    )
    return Dint(np.nan, float(low), float(high), True), missed


def real_numbers(name: str, x: Any) -> np.ndarray:
    """Real numbers, in float64."""
    values = np.asarray(x)
    if values.dtype.kind not in "iubf" and not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(f"{name} must be real numbers, got {values.dtype}")
    return values.astype(np.float64)


def runs_of(baseline: Any) -> np.ndarray:
    """The runs of the baseline, (m,) float64."""
    base = np.atleast_1d(real_numbers("baseline", baseline))
    if base.ndim != 1 or not base.size:
        raise ValueError(f"baseline must be a number or (m,) runs, got shape {np.shape(baseline)}")
    if not np.all(np.isfinite(base)) or not base.mean() > 0:
        raise ValueError(f"baseline must be finite, and positive in the mean, got {base.tolist()}")
    return base


def _check_options(fraction: Any, rule: Any, bootstrap: Any) -> None:
    if np.ndim(fraction) or not 0 < real_numbers("fraction", fraction) <= 1:
        raise ValueError(f"fraction must lie in (0, 1], got {fraction!r}")
    if rule not in ("first", "interp"):
        raise ValueError(f'rule must be "first" or "interp", got {rule!r}')
    if isinstance(bootstrap, bool) or not isinstance(bootstrap, int | np.integer) or bootstrap < 0:
        raise ValueError(f"bootstrap must be a whole number >= 0, got {bootstrap!r}")


def _words(key: jax.Array | None) -> list[int]:
    """Seed of NumPy's generator: the words of the key; for None those of ``jax.random.key(0)``."""
    if key is None:
        return [0, 0]
    if not jax.numpy.issubdtype(getattr(key, "dtype", np.float64), jax.dtypes.prng_key):
        raise ValueError(f"key must be a typed key, jax.random.key(seed), got {type(key)}")
    return [int(word) for word in np.asarray(jax.random.key_data(key)).ravel()]
