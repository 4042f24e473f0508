"""The intrinsic dimension at an accuracy of 0.90, and at 0.9 of the baseline."""

import warnings
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from theorylab.subspace._dint import Dint, Rule, found_and_missed, real_numbers, runs_of


class BothDints(NamedTuple):
    """The intrinsic dimension at both thresholds in use; of `dint_both`.

    Attributes
    ----------
    absolute
        At an accuracy of `fraction` itself (0.90): a baseline of 1. The papers' famous numbers.
    relative
        At `fraction` times the baseline.
    thresholds
        The two thresholds, absolute and relative.

    Examples
    --------
    >>> from theorylab import subspace
    >>> subspace.BothDints._fields
    ('absolute', 'relative', 'thresholds')
    """

    absolute: Dint
    relative: Dint
    thresholds: tuple[float, float]


def dint_both(
    ds: Any,
    accuracy: ArrayLike,
    baseline: ArrayLike,
    *,
    fraction: float = 0.9,
    rule: Rule = "first",
    bootstrap: int = 100,
    key: jax.Array | None = None,
) -> BothDints:
    r"""The intrinsic dimension at an accuracy of 0.90, and at 0.9 of the baseline.

    .. math::

        t_{\text{absolute}} = \text{fraction}, \qquad
        t_{\text{relative}} = \text{fraction} \times \text{baseline}

    Published numbers mix the two: the 750 of fully connected networks on MNIST is where accuracy
    passes 0.90, and at 0.9 of those networks' own baseline it would be 525 to 575. So a number
    should never be reported without its threshold.

    Parameters
    ----------
    ds, accuracy, baseline, rule, bootstrap, key
        As for :func:`dint`. `accuracy` must be a fraction of right answers, with 1 as its best.
    fraction
        The absolute threshold, and the factor of the relative one.

    Returns
    -------
    BothDints
        ``absolute``, ``relative`` (each a :class:`Dint`) and ``thresholds``.

    Raises
    ------
    TypeError, ValueError
        As :func:`dint`; and for an accuracy above 1, where 0.90 would mean nothing.

    Warns
    -----
    UserWarning
        Once, if no d of the grid reaches one threshold, or both.

    Notes
    -----
    NumPy on the host. The absolute threshold does not resample a baseline; the draws of the runs
    are the same for both.

    References
    ----------
    Li, Farkhoor, Liu & Yosinski (2018), "Measuring the intrinsic dimension of objective
    landscapes": the text's d_int90 is the relative one; figures with a global baseline of 1 show
    the absolute one.

    Examples
    --------
    >>> from theorylab import subspace
    >>> both = subspace.dint_both([100, 200, 400], [[0.70, 0.86, 0.91], [0.72, 0.87, 0.93]], 0.95)
    >>> both.absolute.value, both.relative.value, [round(t, 3) for t in both.thresholds]
    (400.0, 200.0, [0.9, 0.855])
    """
    values = real_numbers("accuracy", accuracy)
    if np.any(values > 1 + 1e-6):
        raise ValueError(
            f"accuracy must be at most 1 for an absolute threshold, got {np.nanmax(values)}"
        )
    (absolute, first), (relative, second) = (
        found_and_missed(ds, values, base, fraction, rule, bootstrap, key)
        for base in (1.0, baseline)
    )
    if first or second:
        warnings.warn("; ".join(filter(None, (first, second))), UserWarning, stacklevel=2)
    thresholds = (float(fraction), float(fraction * runs_of(baseline).mean()))
    return BothDints(absolute, relative, thresholds)
