r"""The coordinate check: how large activations are, and how much they move, by width.

For each activation h and step t, root mean squares over batch and coordinates,

.. math::

    \text{size} = |h_t|, \qquad \text{change} = |h_t - h_0|, \qquad
    \text{update} = |h_t - h_{t-1}|,

and the mean of absolute values. In muP none of them depends on the width. The sizes alone hide
failures: in the standard parametrization with SGD they are flat in the first steps, dominated by
the initial weights, while what is learned grows or vanishes.

Source of the check: Yang et al. (2022), Tensor Programs V, arXiv:2203.03466.

Differs from the reference:
  1. Changes and updates are recorded, not sizes alone.
  2. Activations are measured on one batch, the first, also where training goes on with others.
"""

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
    is_transformation,
    model,
    outputs,
    recorded,
    scalar_loss,
    shapes_of,
)


class Table(NamedTuple):
    """Activations of every width W, seed S, step T (the start included) and name K.

    Parameters
    ----------
    widths
        (W,).
    names
        The K activations in the order in which the network returns them.
    size, mean_abs
        (W, S, T + 1, K): root mean square and mean absolute value.
    change, update
        (W, S, T + 1, K): root mean square of the difference to the start, and to the step before.
    loss
        (W, S, T): before each step, on that step's batch.
    """

    widths: np.ndarray
    names: tuple[str, ...]
    size: np.ndarray
    mean_abs: np.ndarray
    change: np.ndarray
    update: np.ndarray
    loss: np.ndarray


def coord_check(
    make: Callable[[int], Any],
    widths: Sequence[int],
    optimizer: Any,
    batch: Any,
    *,
    steps: int,
    seeds: int | Sequence[int],
    loss: Callable[[Array, Array], Array] | None = None,
) -> Table:
    r"""Train networks of several widths for a few steps, and record their activations.

    Parameters
    ----------
    make
        ``make(width) -> (init, apply)``: ``init(key) -> params`` and ``apply(params, x)``, which
        returns the output, or a mapping from names to activations whose last entry is the output.
        Axis 0 is the batch. ``jax.jit`` sorts the names of a ``dict``: leave it out, everything is
        compiled here, or return an ``OrderedDict``.
    widths
        Growing.
    optimizer
        An optax transformation; or a function of the width that returns one, since scales depend
        on it.
    batch
        A pair (x, y) for all steps, or a list of pairs, taken in turn. Activations are those of
        the first x.
    steps
        Number of steps T.
    seeds
        Their number, or the seeds themselves.
    loss
        ``loss(output, y)``, a scalar. By default of integer y, of the output's shape without its
        last axis, the mean cross-entropy; of floating-point y, of the output's shape, the mean over
        examples and outputs of squared errors (not halved).

    Returns
    -------
    Table
        NumPy arrays.

    Raises
    ------
    ValueError
        For widths that are not positive and growing, no steps, no seeds, a loss that is no scalar,
        an empty batch list, batches of different shapes, y of a shape that the default loss cannot
        take, empty activations, names that ``jit`` has sorted or that change with the width.
    TypeError
        If ``make`` returns no pair of functions, ``init`` or ``apply`` no floating-point arrays,
        ``optimizer`` no transformation, ``batch`` no pairs.

    Notes
    -----
    One program is compiled for each width; ``init`` is called as it is. Numbers that are not finite
    are kept. Means are formed in float32 at least, in units of the largest entry: their squares
    neither overflow nor vanish. Changes below 1e-7 of the size (float32) are rounding.

    References
    ----------
    Yang et al. (2022), arXiv:2203.03466.

    Examples
    --------
    >>> from theorylab import layers
    >>> def make(n):
    ...     net = layers.serial(layers.Dense(n), layers.Relu(), layers.Dense(1))
    ...     return lambda key: net.init(key, (4, 3)), net.apply
    >>> batch = jnp.ones((4, 3)), jnp.zeros((4, 1))
    >>> table = coord_check(make, (8, 16, 32), optax.sgd(0.1), batch, steps=2, seeds=1)
    >>> table.names, table.change.shape
    (('output',), (3, 1, 3, 1))
    """
    widths, steps, keys = check_widths(widths), check_count("steps", steps), check_seeds(seeds)
    batches = _batches(batch)
    if not is_transformation(optimizer):
        check_maker(optimizer)
    measure = scalar_loss(loss)
    rows = []
    names: tuple[str, ...] | None = None
    for width in widths:
        chain = check_transformation(
            optimizer if is_transformation(optimizer) else optimizer(width)
        )
        init, apply = model(make, width)
        found = recorded(apply, shapes_of(init), batches[0][0])
        if names is not None and found != names:
            raise ValueError(f"apply returns {found} at width {width}, and {names} at {widths[0]}")
        names = found
        run = jax.jit(_run(apply, chain, measure, steps))
        rows.append([jax.device_get(run(init(jax.random.key(s)), batches)) for s in keys])
    assert names is not None
    stacked = [np.stack([np.stack([run[i] for run in row]) for row in rows]) for i in range(5)]
    return Table(np.asarray(widths), names, *stacked)


def _batches(batch: Any) -> list[tuple[Any, Any]]:
    """The batches as a list of pairs."""
    several = isinstance(batch, list) or (
        isinstance(batch, tuple) and len(batch) > 0 and all(isinstance(b, tuple) for b in batch)
    )
    pairs = list(batch) if several else [batch]
    if not pairs:
        raise ValueError("batch must be a pair (x, y) or a list of pairs, got an empty list")
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(f"batch must be a pair (x, y) or a list of pairs, got {type(pair)}")
    arrays = [(jax.tree.map(jnp.asarray, x), jnp.asarray(y)) for x, y in pairs]
    first, *others = (jax.tree.map(jnp.shape, pair) for pair in arrays)
    for i, shapes in enumerate(others, 1):
        if shapes != first:
            raise ValueError(f"batch[{i}] must have the shapes of batch[0], {first}, got {shapes}")
    return arrays


def _run(apply: Any, optimizer: Any, loss: Any, steps: int) -> Any:
    """One run: (size, mean_abs, change, update) of shape (T + 1, K), and the losses (T,)."""

    def run(params: Any, batches: list[tuple[Any, Any]]) -> Any:
        probe = batches[0][0]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)

        def activations(params: Any) -> list[Array]:
            return [_wide(h) for h in outputs(apply(params, probe))]

        def objective(params: Any, x: Any, y: Array) -> Array:
            return loss(outputs(apply(params, x))[-1], y)

        def measures(now: list[Array], before: list[Array]) -> Any:
            return (
                jnp.stack([_rms(h) for h in now]),
                jnp.stack([jnp.mean(jnp.abs(h)) for h in now]),
                jnp.stack([_rms(h - h0) for h, h0 in zip(now, start, strict=True)]),
                jnp.stack([_rms(h - h0) for h, h0 in zip(now, before, strict=True)]),
            )

        start = activations(params)

        def step(carry: Any, t: Array) -> Any:
            params, state, before = carry
            x, y = jax.tree.map(lambda leaf: leaf[t % len(batches)], stacked)
            value, gradient = jax.value_and_grad(objective)(params, x, y)
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
            now = activations(params)
            return (params, state, now), (measures(now, before), value)

        first = (params, optimizer.init(params), start)
        _, (found, losses) = jax.lax.scan(step, first, jnp.arange(steps))
        whole = jax.tree.map(
            lambda a, rest: jnp.concatenate([a[None], rest]), measures(start, start), found
        )
        return (*whole, losses)

    return run


def _wide(h: Array) -> Array:
    """Half precision as float32."""
    return h.astype(jnp.promote_types(h.dtype, jnp.float32))


def _rms(h: Array) -> Array:
    """The root mean square, in units of the largest entry."""
    largest = jnp.max(jnp.abs(h))
    unit = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)
    return unit * jnp.sqrt(jnp.mean((h / unit) ** 2))
