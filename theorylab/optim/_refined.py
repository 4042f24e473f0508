r"""Learning rates from the gradient norms of an earlier run.

For steps :math:`x_{t+1} = x_t - \eta_t g_t`, t = 1 .. T, and any positive weights :math:`w_t`, the
rates

.. math::

    \eta_t \propto w_t \sum_{p > t} w_p

bound the loss of the *last* iterate as averaging with weights w would bound that of the average.
For convex losses the bound is least, among rates of this form, for :math:`w_t = |g_t|^{-2}`. Norms
that never change give linear decay; norms that fall at first give a warm-up, and norms that grow
towards the end an earlier fall.

Differs from the paper / reference:
  1. Padding: at both ends the norms are reflected, the end itself repeated, before medians.
  2. The largest rate is 1 (``peak_value``): the form fixes rates up to a factor.
  3. ``smoothing`` is the width of the window over the number of steps, 0.1 as in the authors'
     experiments: :math:`2 \lfloor 0.1\, T / 2 \rfloor + 1` norms. 0 leaves norms as they are.
  4. Known norms are refined in float64 by SciPy's running median; traced ones in their own dtype
     from sorted windows.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from theorylab._numerics import known
from theorylab.optim._schedule_arguments import number, recorded

BLOCK = 2**22  # entries of the windows that are sorted at once


class Refined(NamedTuple):
    """A learning rate for each step, which optax takes as a schedule.

    Attributes
    ----------
    values
        (steps,). The last is 0.

    Examples
    --------
    >>> import jax.numpy as jnp, optax
    >>> from theorylab.optim import schedules
    >>> rate = schedules.Refined(jnp.array([0.5, 1.0, 0.0]))
    >>> float(rate(1)), float(rate(7)), float(rate(-1))
    (1.0, 0.0, 0.5)
    >>> optimizer = optax.adamw(rate)
    """

    values: jax.Array

    def __call__(self, count: ArrayLike) -> jax.Array:
        """The rate of step ``count`` = 0, 1, ...; before and behind them those of the ends.

        Parameters
        ----------
        count
            An integer, or an array of any shape of them; may be traced.

        Returns
        -------
        jax.Array
            The rates, of ``count``'s shape.
        """
        return self.values[jnp.clip(jnp.asarray(count), 0, self.values.shape[0] - 1)]


def refined(
    gradient_norms: ArrayLike,
    *,
    power: float = 2,
    peak_value: ArrayLike = 1.0,
    smoothing: float = 0.1,
) -> Refined:
    r"""Refine a schedule: the rates that theory prefers, given a run's gradient norms.

    .. math::

        \eta_t = c\, w_t \sum_{p > t} w_p, \qquad w_t = G_t^{-\mathrm{power}},

    where :math:`G_t` is the median of the norms near step t and c makes the largest rate
    ``peak_value``.

    Parameters
    ----------
    gradient_norms
        (steps,): the norm of each step's gradient in an earlier run of as many steps. l2 norms for
        SGD, with ``power=2``; l1 norms for Adam and its kin, with ``power=1``.
    power
        Of the norms, in the weights; 0 or more. 0 gives linear decay.
    peak_value
        The largest rate, a scalar that may be traced.
    smoothing
        Width of the medians over the number of steps, in [0, 1]. 0 takes the norms as they are.

    Returns
    -------
    Refined
        Callable as optax calls schedules; ``.values``, (steps,), in the dtype of the norms.

    Raises
    ------
    TypeError
        If the norms are no floating-point array, or ``power`` or ``smoothing`` no number.
    ValueError
        If the norms are not one-dimensional, fewer than 2, not finite or not positive; if ``power``
        or ``smoothing`` is out of its range. Under ``jit`` norms are not looked at, and such ones
        give NaN.

    Notes
    -----
    Limits: the theory is for convex losses, and for norms of gradients along the refined run,
    which are not those that were recorded; the paper refines once. The rate of the last step is 0,
    so that step only measures. Refined rates follow the norms of one run of one length; a longer
    run needs norms of its own.

    Flat norms give :math:`1 - t / (T - 1)`, t = 0 .. T - 1, within one rounding, that is
    ``optax.linear_schedule(1, 0, T - 1)``. Rates do not change when all norms are multiplied by a
    number. float32 in, float32 out: known norms are refined in float64 and rounded at the end.
    Traced float32 norms give rates within about 1e-6 of those; weights of norms further apart than
    a factor 1e19 (``power`` 2) are 0 there. Medians of known norms take a time that grows like the
    number of steps; of traced ones like it times the width of the windows.

    References
    ----------
    Defazio, Cutkosky, Mehta & Mishchenko (2023), "When, why and how much? Adaptive learning rate
    scheduling by refinement", arXiv:2310.07831.

    Examples
    --------
    >>> import numpy as np
    >>> from theorylab.optim import schedules
    >>> schedules.refined(np.ones(5)).values.tolist()
    [1.0, 0.75, 0.5, 0.25, 0.0]
    >>> falling = np.concatenate([np.linspace(10, 1, 100), np.ones(900)])
    >>> rate = schedules.refined(falling, peak_value=0.01)
    >>> [round(float(rate(t)), 3) for t in (0, 100, 300, 999)]
    [0.0, 0.01, 0.008, 0.0]
    """
    norms = recorded("gradient_norms", gradient_norms, least=2, positive=True)
    power = number("power", power, 0)
    smoothing = number("smoothing", smoothing, 0, 1)
    if np.ndim(peak_value) != 0:
        raise ValueError(f"peak_value must be a scalar, got shape {np.shape(peak_value)}")
    half = int(smoothing * norms.shape[0] / 2)
    values = known(norms)
    if values is None:
        rates = _rates(jnp, _traced_medians(norms, half) if half else norms, power)
        # Under jit no norm is looked at: one that is none spoils all, as it would in a sum.
        fair = jnp.all(jnp.isfinite(norms) & (norms > 0))
        rates = jnp.where(fair, rates, jnp.nan)
    else:
        from scipy import ndimage  # here: a twentieth of a second that few need

        wide = values.astype(np.float64)
        smooth = ndimage.median_filter(wide, 2 * half + 1, mode="reflect") if half else wide
        rates = _rates(np, smooth, power)
    return Refined(jnp.asarray(rates, norms.dtype) * jnp.asarray(peak_value, norms.dtype))


def _rates(xp: Any, norms: Any, power: float) -> Any:
    """Rates whose largest is 1, by NumPy or JAX; the smallest norm has the weight 1."""
    w = (norms.min() / norms) ** power
    behind = xp.concatenate([xp.cumsum(w[:0:-1])[::-1], xp.zeros(1, w.dtype)])
    rates = w * behind
    return rates / rates.max()


def _traced_medians(norms: jax.Array, half: int) -> jax.Array:
    """Running medians over ``2 half + 1`` norms, by sorting every window."""
    steps, width = norms.shape[0], 2 * half + 1
    padded = jnp.pad(norms, half, mode="symmetric")
    return jax.lax.map(
        lambda t: jnp.sort(jax.lax.dynamic_slice(padded, (t,), (width,)))[half],
        jnp.arange(steps),
        batch_size=max(1, BLOCK // width),
    )
