r"""The law of annealing, fitted to measured losses.

The fit minimises

.. math::

    \sum_i h_\delta\left(\log L(s_i) - \log L_i\right), \qquad
    h_\delta(r) = \begin{cases} r^2/2 & |r| \le \delta \\ \delta (|r| - \delta/2) & \text{else}
    \end{cases}

over all measured losses :math:`L_i` after :math:`s_i` steps, with Huber's :math:`h_\delta`.

Differs from the paper / reference:
  1. The objective is the authors', with their DELTA. They minimise it by L-BFGS-B from a grid of 54
     starts; here SciPy's trust-region method for sums of losses does. From the same starts both
     find the same minima (compared on made-up curves, to nine digits), this one in a fourth of the
     time.
  2. Starts: for each alpha of STARTS the law is linear in the other three, and non-negative least
     squares gives them. Areas and losses are scaled to 1 before, so that nothing depends on units.
  3. The losses say nothing of C when no rate falls, and nothing of alpha when A is 0: the rank of
     the Jacobian decides (RANK, relative, columns of unit length), and ``status`` tells.
  4. A minimum is one at which a further step of least squares, with Huber's weights, would lower
     the objective, in units of delta squared, by less than SLACK of itself, or of 1.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from theorylab._numerics import known
from theorylab.optim._annealing_law import AnnealingLaw, Curve, Status
from theorylab.optim._schedule_arguments import number, recorded, whole

DELTA = 1e-3
STARTS = (0.1, 0.2, 0.4, 0.8, 1.6)
RANK = 1e-8
SLACK = 1e-6
LEAST = 1e-12  # of the law, in typical losses, where its logarithm is taken
EVALUATIONS = 2000  # of one start, at most


def fit_annealing_law(
    curves: Sequence[Curve | tuple[ArrayLike, ArrayLike, ArrayLike]],
    *,
    decay: float = 0.999,
    warmup: int = 0,
    delta: float = DELTA,
) -> AnnealingLaw:
    r"""Fit the law of loss and learning rates to curves of losses, measured with known rates.

    .. math::

        \min_{L_0, A, \alpha, C \ge 0} \sum_i h_\delta\left(
        \log\left[L_0 + A\, S_1(s_i)^{-\alpha} - C\, S_2(s_i)\right] - \log L_i \right)

    Parameters
    ----------
    curves
        One or more (rates, steps, losses), see :class:`Curve`. At least one should anneal.
    decay
        The memory of the annealing area, in [0, 1].
    warmup
        Steps at the start of every curve that count at the rate behind them; the losses measured in
        them are best left out.
    delta
        Where Huber's function turns from squares to absolute values, in relative error of the loss.

    Returns
    -------
    AnnealingLaw
        Parameters, ``.predict(rates)``, the residual, and a status. Scalars in the dtype of the
        losses, the widest if they differ.

    Raises
    ------
    TypeError
        If rates or losses are no floating-point arrays, steps no integers, ``warmup`` no integer,
        ``decay`` or ``delta`` no numbers, or a curve not three arrays.
    ValueError
        If there is no curve, fewer than four losses in all, rates that are negative, not finite or
        0 from the start on, steps out of range, losses that are not positive and finite, or shapes
        that do not fit; if ``decay``, ``warmup`` or ``delta`` is out of its range.

    Notes
    -----
    Limits: the law is empirical, and holds in the range of areas that it was fitted in; the paper
    fits it to language models after their warm-up. Losses early in training, and rates near the
    largest stable one, do not follow it. A solution by SciPy, which needs values: no ``jit``.
    Computed in float64 whatever the dtypes; float32 losses limit parameters to about 1e-6 of
    themselves at best, and more where they are strongly coupled.

    References
    ----------
    Tissue, Wang & Wang (2024), "Scaling law with learning rate annealing", arXiv:2408.11029. Huber
    (1964), "Robust estimation of a location parameter".

    Examples
    --------
    >>> import numpy as np
    >>> from theorylab.optim import schedules
    >>> steps = np.arange(50, 2001, 50)
    >>> rates = 0.005 * (1 + np.cos(np.pi * np.arange(2000) / 2000))
    >>> truth = schedules.AnnealingLaw(2.0, 1.0, 0.5, 0.05, 0.999, 0, 0.0, 0, True)
    >>> losses = np.asarray(truth.predict(rates))[steps - 1]
    >>> law = schedules.fit_annealing_law([(rates, steps, losses)])
    >>> bool(law.converged), round(float(law.alpha), 2), round(float(law.C), 3)
    (True, 0.5, 0.05)
    """
    decay, delta = number("decay", decay, 0, 1), number("delta", delta, 0)
    if delta == 0:
        raise ValueError(f"delta must be positive, got {delta}")
    checked = _checked(curves, warmup)
    parts = [_points(*curve[:3], decay, warmup) for curve in checked]
    x, y, losses = (np.concatenate(part) for part in zip(*parts, strict=True))
    if len(losses) < 4:
        raise ValueError(f"curves must hold at least 4 losses in all, got {len(losses)}")
    # Scaled: S1 by its geometric mean, S2 by its largest size, losses by their median.
    units = np.exp(np.log(x).mean()), np.abs(y).max() or 1.0, np.median(losses)
    points = x / units[0], y / units[1], losses / units[2]
    found = [_minimum(points, alpha, delta) for alpha in STARTS]
    p = min(found, key=lambda one: _objective(one, points, delta))
    status = _status(p, points, delta)
    l0, a, alpha, c = p
    residual = np.sqrt(np.mean(_residuals(p, points) ** 2))
    dtype = np.result_type(*(dtype for *_, dtype in checked))
    return AnnealingLaw(
        L0=jnp.asarray(l0 * units[2], dtype),
        A=jnp.asarray(a * units[2] * units[0] ** alpha, dtype),
        alpha=jnp.asarray(alpha, dtype),
        C=jnp.asarray(c * units[2] / units[1], dtype),
        decay=jnp.asarray(decay, dtype),
        warmup=jnp.asarray(warmup, jnp.int32),
        residual=jnp.asarray(residual, dtype),
        status=jnp.asarray(status, jnp.int32),
        converged=jnp.asarray(status == Status.SUCCESS),
    )


def _checked(curves: Any, warmup: Any) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, Any]]:
    """Rates and losses, float64, and steps of each curve, with the dtype of its losses."""
    if isinstance(curves, Curve) or not isinstance(curves, Sequence) or len(curves) == 0:
        raise ValueError(f"curves must be a list of one or more curves, got {curves!r}")
    made = []
    for i, curve in enumerate(curves):
        if not isinstance(curve, Sequence) or len(curve) != 3:
            raise TypeError(f"curves[{i}] must be (rates, steps, losses), got {curve!r}")
        for field, values in zip(Curve._fields, curve, strict=True):
            if known(values) is None:
                raise TypeError(
                    f"curves[{i}].{field} must have known values: the fit does not run under jit"
                )
        rates = recorded(f"curves[{i}].rates", curve[0], least=1, positive=False)
        losses = recorded(f"curves[{i}].losses", curve[2], least=1, positive=True)
        steps, count = np.asarray(curve[1]), rates.shape[0]
        if not np.issubdtype(steps.dtype, np.integer):
            raise TypeError(f"curves[{i}].steps must be integers, got the dtype {steps.dtype}")
        if steps.shape != losses.shape:
            raise ValueError(
                f"curves[{i}].steps and .losses must have the same shape, "
                f"got {steps.shape} and {losses.shape}"
            )
        if steps.min() < 1 or steps.max() > count:
            raise ValueError(
                f"curves[{i}].steps must be from 1 to {count}, the number of rates, "
                f"got {steps.min()} to {steps.max()}"
            )
        first = whole("warmup", warmup, count)
        if not np.asarray(rates)[first] > 0:
            raise ValueError(f"curves[{i}].rates must be positive at first, got 0 at index {first}")
        # As they were given: JAX may know no float64.
        wide = (np.array(values, np.float64) for values in (curve[0], curve[2]))
        made.append((*wide, steps, losses.dtype))
    return made


Points = tuple[np.ndarray, np.ndarray, np.ndarray]  # S1, S2 and losses


def _points(
    rates: np.ndarray, losses: np.ndarray, steps: np.ndarray, decay: float, warmup: int
) -> Points:
    """Both areas where losses were measured, and the losses; as ``annealing_areas``, in float64."""
    rates[:warmup] = rates[warmup]
    falls = -np.diff(rates, prepend=rates[0])
    memory = np.fromiter(accumulate(falls, lambda m, fall: decay * m + fall), np.float64)
    return np.cumsum(rates)[steps - 1], np.cumsum(memory)[steps - 1], losses


def _law(p: np.ndarray, points: Points) -> np.ndarray:
    u, v, _ = points
    return p[0] + p[1] * u ** -p[2] - p[3] * v


def _residuals(p: np.ndarray, points: Points) -> np.ndarray:
    """Logarithms of the law over the losses."""
    return np.log(np.maximum(_law(p, points), LEAST) / points[2])


def _jacobian(p: np.ndarray, points: Points) -> np.ndarray:
    """Derivatives of the residuals, (n, 4)."""
    u, v, _ = points
    law, power = _law(p, points), u ** -p[2]
    columns = np.stack([np.ones_like(u), power, -p[1] * np.log(u) * power, -v], 1)
    return np.where(law > LEAST, 1 / np.maximum(law, LEAST), 0)[:, None] * columns


def _objective(p: np.ndarray, points: Points, delta: float) -> float:
    """Sum of Huber's function, over delta squared."""
    size = np.abs(_residuals(p, points)) / delta
    return float(np.sum(np.where(size <= 1, size**2 / 2, size - 0.5)))


def _minimum(points: Points, alpha: float, delta: float) -> np.ndarray:
    """The minimum (L0, A, alpha, C) that is reached from one alpha."""
    from scipy import optimize  # here: it takes longer to import than the whole library

    u, v, w = points
    columns = np.stack([np.ones_like(u), u**-alpha, -v], 1) / w[:, None]
    l0, a, c = optimize.nnls(columns, np.ones_like(w))[0]
    tight = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": EVALUATIONS}
    found = optimize.least_squares(
        _residuals, [l0, a, alpha, c], _jacobian, bounds=(0, np.inf), loss="huber",
        f_scale=delta, kwargs={"points": points}, **tight,
    )  # fmt: skip
    return found.x


def _status(p: np.ndarray, points: Points, delta: float) -> Status:
    """Whether a minimum was found, and whether it is the only one nearby."""
    residuals, jacobian = _residuals(p, points) / delta, _jacobian(p, points) / delta
    slope = np.clip(residuals, -1, 1)
    gradient = jacobian.T @ slope
    lengths = np.linalg.norm(jacobian, axis=0)
    dead = lengths <= RANK * lengths.max()
    scaled = jacobian / np.where(dead, 1, lengths)
    # Parameters that lie on their bound, and would leave the range, are not free.
    free = ~dead & ~((p <= 0) & (gradient >= 0))
    kept = scaled[:, free]
    weights = 1 / np.maximum(np.abs(residuals), 1)
    down = gradient[free] / lengths[free]
    step = np.linalg.lstsq(kept.T @ (weights[:, None] * kept), down, rcond=RANK)[0]
    gain = float(step @ down) / 2
    if not gain <= SLACK * max(1.0, _objective(p, points, delta)):
        return Status.STALLED
    singular = np.linalg.svd(kept, compute_uv=False)
    if dead.any() or singular[-1] <= RANK * singular[0]:
        return Status.UNDETERMINED
    return Status.SUCCESS
