r"""Sweeps of the learning rate over widths: where the best rate is, and whether it stays.

A run has diverged if its loss is not finite, or is not below that of the trivial predictor: a
network that dies after an explosion has a loss again, a worthless one. The best rate is refined
by the parabola through the logarithms of three losses, at the grid's best rate and its neighbours.
"""

import numbers
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from theorylab.parametrization._training import (
    check_count,
    check_maker,
    check_seeds,
    check_transformation,
    check_widths,
    model,
    outputs,
    recorded,
    scalar_loss,
    shapes_of,
)


class Sweep(NamedTuple):
    """Losses of every width W, rate R and seed S.

    Parameters
    ----------
    widths, rates
        (W,) and (R,).
    loss
        (W, R, S): mean training loss of the last steps.
    diverged
        (W, R, S): not finite, or not below the trivial predictor's loss on the same batches.
    trivial
        The trivial predictor's loss on all data.
    best
        (W,): index of the rate with the least mean loss among those at which no seed diverged;
        -1 where there is none.
    best_rate
        (W,): refined between the rates of the grid; NaN where there is none.
    at_edge
        (W,): whether the best rate is the smallest or largest of the grid, so that the best lies
        beyond it, perhaps.
    """

    widths: np.ndarray
    rates: np.ndarray
    loss: np.ndarray
    diverged: np.ndarray
    trivial: float
    best: np.ndarray
    best_rate: np.ndarray
    at_edge: np.ndarray


def lr_sweep(
    make: Callable[[int], Any],
    widths: Sequence[int],
    optimizer: Callable[[int, Any], Any],
    data: tuple[Any, Any],
    rates: Sequence[float],
    *,
    steps: int,
    seeds: int | Sequence[int],
    batch_size: int | None = None,
    loss: Callable[[Array, Array], Array] | None = None,
    trivial: float | None = None,
    window: int = 1,
) -> Sweep:
    r"""Train networks of several widths at several rates, and find the best rate of each width.

    Parameters
    ----------
    make
        ``make(width) -> (init, apply)``, as in :func:`coord_check`.
    widths
        Growing.
    optimizer
        ``optimizer(width, rate)`` returns an optax transformation; the rate is traced.
    data
        Pair (x, y), axis 0 being examples.
    rates
        Positive and growing.
    steps, seeds
        Number of steps of a run; number of seeds, or the seeds.
    batch_size
        Examples of a step, drawn with replacement; all of them by default. The draws depend on
        the seed alone, so that widths and rates see the same batches.
    loss
        As in :func:`coord_check`.
    trivial
        At or above which loss a run counts as diverged. By default that of the better of two
        constant outputs on the same batches: zero, and the mean target (of labels: the logarithms
        of their frequencies). The first is exactly the loss of a dead network without biases.
    window
        How many last steps' losses are averaged. Each is that of the step's own batch.

    Returns
    -------
    Sweep
        NumPy arrays.

    Raises
    ------
    ValueError
        For widths, rates, steps, seeds, batch sizes and windows that make no sense.
    TypeError
        As :func:`coord_check`.

    Notes
    -----
    One program is compiled for each width; ``init`` is called as it is. Runs go one after the
    other, so that memory is that of one.

    Examples
    --------
    >>> def make(n):
    ...     return lambda key: jnp.zeros(2), lambda w, x: x @ w
    >>> x = jnp.eye(2)
    >>> sweep = lr_sweep(make, (1,), lambda n, rate: optax.sgd(rate), (x, x[0]),
    ...                  [0.25, 0.5, 1.0, 2.0, 4.0], steps=3, seeds=1)
    >>> float(sweep.rates[sweep.best[0]]), sweep.diverged[0, :, 0].tolist()
    (1.0, [False, False, False, True, True])
    """
    widths, steps, keys = check_widths(widths), check_count("steps", steps), check_seeds(seeds)
    grid = _check_rates(rates)
    x, y = _check_data(data)
    check_maker(optimizer)
    _check_trivial(trivial)
    batch = len(y) if batch_size is None else check_count("batch_size", batch_size)
    if not 1 <= check_count("window", window) <= steps:
        raise ValueError(f"window must be at most the number of steps, {steps}, got {window}")
    measure = scalar_loss(loss)
    constant = _constant(y)
    losses = np.empty((2, len(widths), len(grid), len(keys)))
    level = trivial
    for i, width in enumerate(widths):
        init, apply = model(make, width)
        shapes = shapes_of(init)
        recorded(apply, shapes, x)
        if level is None:
            output = jax.eval_shape(lambda p, x, f=apply: outputs(f(p, x))[-1], shapes, x)
            level = float(_idle(measure, jnp.zeros(output.shape, output.dtype), constant, y))
        full = batch_size is None
        run = jax.jit(_run(width, apply, optimizer, measure, steps, batch, window, full, constant))
        for k, seed in enumerate(keys):
            draw, order = jax.random.split(jax.random.key(seed))
            params = init(draw)
            for j, rate in enumerate(grid):
                losses[:, i, j, k] = run(params, order, float(rate), x, y)
    assert level is not None
    found, idle = losses
    diverged = ~(found < (idle if trivial is None else trivial))
    best, best_rate, at_edge = _best(grid, found, diverged)
    return Sweep(np.asarray(widths), grid, found, diverged, float(level), best, best_rate, at_edge)


def drift(sweep: Sweep) -> float:
    r"""How far best rates lie apart, in octaves: the range of :math:`\log_2` of ``best_rate``.

    Parameters
    ----------
    sweep
        Of :func:`lr_sweep`.

    Returns
    -------
    float
        NaN if a width has no best rate.

    Examples
    --------
    >>> empty = np.zeros(0)
    >>> drift(Sweep(empty, empty, empty, empty, 1.0, empty, np.array([0.25, 1.0]), empty))
    2.0
    """
    return float(np.ptp(np.log2(np.asarray(sweep.best_rate))))


def _check_rates(rates: Any) -> np.ndarray:
    try:
        grid = np.asarray(rates, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"rates must be numbers, got {rates!r}") from error
    if grid.ndim != 1 or not grid.size or not (np.isfinite(grid).all() and (grid > 0).all()):
        raise ValueError(f"rates must be positive and finite, in one dimension, got {rates!r}")
    if (np.diff(grid) <= 0).any():
        raise ValueError(f"rates must grow, got {grid.tolist()}")
    return grid


def _check_trivial(trivial: Any) -> None:
    if trivial is None:
        return
    if isinstance(trivial, bool) or not isinstance(trivial, numbers.Real) or trivial != trivial:
        raise TypeError(f"trivial must be a number or None, got {trivial!r}")


def _check_data(data: Any) -> tuple[Any, Array]:
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(f"data must be a pair (x, y), got {type(data)}")
    x, y = jax.tree.map(jnp.asarray, data[0]), jnp.asarray(data[1])
    for leaf in jax.tree.leaves(x):
        if leaf.ndim < 1 or y.ndim < 1 or len(leaf) != len(y):
            raise ValueError(f"x and y must have as many examples, got {leaf.shape} and {y.shape}")
    return x, y


def _run(
    width: int, apply: Any, optimizer: Any, loss: Any, steps: int, batch: int,
    window: int, full: bool, constant: Array,
) -> Any:  # fmt: skip
    """One run: the mean loss of its last steps, and what a constant output would have had."""

    def run(params: Any, order: Array, rate: Array, x: Any, y: Array) -> Array:
        chain = check_transformation(optimizer(width, rate))

        def objective(params: Any, x: Any, y: Array) -> tuple[Array, Array]:
            output = outputs(apply(params, x))[-1]
            return loss(output, y), _idle(loss, output, constant, y)

        def step(carry: Any, key: Array) -> Any:
            params, state = carry
            some = (x, y)
            if not full:
                chosen = jax.random.randint(key, (batch,), 0, len(y))
                some = jax.tree.map(lambda leaf: leaf[chosen], some)
            both, gradient = jax.value_and_grad(objective, has_aux=True)(params, *some)
            updates, state = chain.update(gradient, state, params)
            # A schedule of the rate may be of another type; it must not change the parameters'.
            updates = jax.tree.map(lambda u, w: u.astype(w.dtype), updates, params)
            return (optax.apply_updates(params, updates), state), jnp.stack(both)

        carry = (params, chain.init(params))
        losses = jax.lax.scan(step, carry, jax.random.split(order, steps))[1]
        return jnp.mean(losses[-window:], 0)

    return run


def _constant(y: Array) -> Array:
    """The mean target, or the logits of the frequencies of labels up to the largest."""
    if not jnp.issubdtype(y.dtype, jnp.integer):
        return jnp.mean(y, 0)
    counts = jnp.asarray(np.bincount(np.asarray(y).ravel()) if y.size else [1])
    return jnp.log(jnp.maximum(counts, 1e-6) / y.size)


def _idle(loss: Any, output: Array, constant: Array, y: Array) -> Array:
    """The loss of the better of two constant outputs."""
    zero = jnp.zeros_like(output)
    shown = constant
    if jnp.issubdtype(y.dtype, jnp.integer):
        lacking = output.shape[-1] - len(constant) if output.ndim else -1
        if lacking < 0:
            return loss(zero, y)
        shown = jnp.pad(constant, (0, lacking), constant_values=-30.0)
    if jnp.broadcast_shapes(shown.shape, output.shape) != output.shape:
        return loss(zero, y)
    return jnp.minimum(loss(zero, y), loss(zero + shown.astype(zero.dtype), y))


def _best(
    grid: np.ndarray, losses: np.ndarray, diverged: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Index and refined value of each width's best rate, and whether it is at the grid's edge."""
    means = np.where(diverged.any(2), np.inf, losses.mean(2))
    best = np.where(np.isfinite(means).any(1), means.argmin(1), -1)
    rate = np.full(len(best), np.nan)
    for i, j in enumerate(best):
        if j >= 0:
            rate[i] = _refined(grid, means[i], int(j))
    edge = (best == 0) | (best == len(grid) - 1)
    return best, rate, edge


def _refined(grid: np.ndarray, means: np.ndarray, j: int) -> float:
    """The vertex of the parabola through three points, in log loss against log rate."""
    three = means[max(j - 1, 0) : j + 2]
    if len(three) < 3 or not np.isfinite(three).all() or not (three > 0).all():
        return float(grid[j])
    x, f = np.log2(grid[j - 1 : j + 2] / grid[j]), np.log(three)
    curvature, slope, _ = np.polyfit(x, f, 2)
    if not curvature > 0:
        return float(grid[j])
    return float(grid[j] * 2 ** min(max(-slope / (2 * curvature), x[0]), x[2]))
