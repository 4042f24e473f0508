r"""Couplings of finite samples, and flows along pairs that are drawn from them.

A draw is n points of the source N(0, I) and n of the target, both in the plane, coupled by
``transport.coupling`` at every epsilon, in one batch.

The flow of pairs :math:`(x_s, y_s)` is the exact minimiser of the flow-matching loss on them with
bridges of width sigma, a network of unlimited size trained for ever:

.. math::

    v(z, t) = \frac{\sum_s N(z; (1 - t) x_s + t y_s, \sigma^2)\, (y_s - x_s)}
                   {\sum_s N(z; (1 - t) x_s + t y_s, \sigma^2)} .

It carries the law of the x_s, widened by sigma, into that of the y_s, widened by sigma. Points
start from N(0, (1 + sigma^2) I), the source so widened.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments import _weighted_flow_matching_theory as theory
from theorylab import transport


def clouds(target: theory.Target, n: int, seed: int) -> tuple[jax.Array, jax.Array]:
    """Return n points of the source and n of the target, (n, 2) each.

    Examples
    --------
    >>> x, y = clouds(theory.shifted(2.0), 5, 0)
    >>> x.shape, y.shape
    ((5, 2), (5, 2))
    """
    spread = np.sqrt(target.variance)
    return _clouds(jax.random.key(seed), jnp.asarray(target.centres), spread, n)


@partial(jax.jit, static_argnums=3)
def _clouds(key, centres, spread, n):
    keys = jax.random.split(key, 3)
    which = jax.random.randint(keys[0], (n,), 0, len(centres))
    x, noise = (jax.random.normal(key, (n, 2)) for key in keys[1:])
    return x, centres[which] + spread * noise


def draw(target: theory.Target, config, seed: int, flows: bool) -> dict[str, np.ndarray]:
    """Return total variations and means of one draw, and where its flows end.

    Parameters
    ----------
    target, seed
        What is drawn, and the key.
    config
        ``points`` n in each cloud, ``epsilons``; for flows also ``every``, of which epsilons there
        are flows, ``pairs`` that are drawn from each plan, ``particles`` that follow, ``sigma`` and
        ``steps``.
    flows
        Whether flows are followed.

    Returns
    -------
    dict
        ``gibbs``, ``independent``: total variation to the entropic plan. ``source``, ``target``: of
        the Gibbs plan's marginals to the sample. ``x``, ``y``: means of the first coordinates in
        the Gibbs plan. ``converged``: whether the Gibbs coupling says so. (E,) each. With flows
        ``start`` (particles, 2), ``ends_gibbs`` and ``ends_newton`` (F, particles, 2).

    Raises
    ------
    ArithmeticError
        An entropic plan did not converge.
    """
    n = config.points
    x, y = clouds(target, n, seed)
    batch = [jnp.broadcast_to(points, (len(config.epsilons), n, 2)) for points in (x, y)]
    gibbs, newton = (
        transport.coupling(*batch, kind=kind, epsilon=jnp.asarray(config.epsilons))
        for kind in ("gibbs", "newton")
    )
    if not bool(newton.converged.all()):
        raise ArithmeticError(f"entropic plans report {newton.status.tolist()}")
    weighted, plan = np.asarray(gibbs.plan), np.asarray(newton.plan)
    rows, columns = weighted.sum(2), weighted.sum(1)
    found = {
        "gibbs": 0.5 * np.abs(weighted - plan).sum((1, 2)),
        "independent": 0.5 * np.abs(1 / n**2 - plan).sum((1, 2)),
        "source": 0.5 * np.abs(rows - 1 / n).sum(1),
        "target": 0.5 * np.abs(columns - 1 / n).sum(1),
        "x": rows @ np.asarray(x[:, 0]),
        "y": columns @ np.asarray(y[:, 0]),
        "converged": gibbs.converged,
    }
    if flows:
        keys = jax.random.split(jax.random.fold_in(jax.random.key(seed), 1))
        start = jax.random.normal(keys[0], (config.particles, 2)) * np.sqrt(1 + config.sigma**2)
        found["start"] = start
        for kind, coupling in (("gibbs", gibbs), ("newton", newton)):
            i, j = (index[:: config.every] for index in coupling.sample(keys[1], config.pairs))
            found[f"ends_{kind}"] = jnp.stack(
                [
                    theory.flow(pair_velocity, (*pairs, config.sigma), start, config.steps)
                    for pairs in zip(x[i], y[j], strict=True)
                ]
            )
    return {name: np.asarray(value) for name, value in found.items()}


def pair_velocity(pairs: tuple[jax.Array, jax.Array, float], z: jax.Array, t: jax.Array):
    """Return the velocity (p, 2) at points z (p, 2) and time t; pairs are x, y (s, 2) and sigma."""
    x, y, sigma = pairs
    middle = (1 - t) * x + t * y
    # Up to what all pairs share: differences of squares as products of matrices.
    highest = jax.lax.Precision.HIGHEST
    logits = (jnp.matmul(z, middle.T, precision=highest) - jnp.sum(middle**2, 1) / 2) / sigma**2
    return jnp.matmul(jax.nn.softmax(logits, axis=1), y - x, precision=highest)
