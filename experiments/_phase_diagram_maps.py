r"""Correlations in deep networks, read off the library's own kernels and differentiated.

With :math:`K(q, \theta)` the kernel behind one layer (activation, weights, bias) between two
preactivations of variance q at the angle :math:`\theta`, the variance fixed point is
:math:`q^* = K(q^*, 0)`, the correlation map :math:`\cos\theta \mapsto K(q^*, \theta) / q^*`, and
its slope

.. math::

    \chi(c) = -\frac{\partial_\theta K(q^*, \theta)}{q^* \sin\theta} \quad (c = \cos\theta < 1),
    \qquad \chi(1) = -\frac{\partial_\theta^2 K(q^*, 0)}{q^*} ,

by l'Hopital's rule: in the angle everything is smooth, where the correlation would bring the
derivative of an arccosine at 1. Kinked activations have a term :math:`|\theta|^3`, which leaves two
derivatives.

Every function takes one network; callers map it over a network whose ``W_std`` and ``b_std`` are
arrays.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

import theorylab.kernels as tk

# Newton's method from above on a concave map: quadratic after a few halvings. 40 is plenty.
NEWTON_STEPS = 40
# Halvings of [0, pi/2] down to the spacing of float64.
HALVINGS = 60


class Phase(NamedTuple):
    """What theory says of a network in depth.

    Attributes
    ----------
    variance
        Fixed point q* of the variance; NaN where there is none.
    slope
        Slope of the correlation map at c = 1 and q*.
    correlation
        The correlation that two inputs approach.
    rate
        Slope of the correlation map there: deviations shrink by this factor per layer.
    """

    variance: Array
    slope: Array
    correlation: Array
    rate: Array


def network(activation: Any, W_std: Any, b_std: Any) -> Any:
    """Return the network of one layer, whose input variance is that of the inputs themselves."""
    return tk.serial(tk.Dense(1), activation, tk.Dense(1, W_std=W_std, b_std=b_std))


def networks(activation: Any, W_std: Any, b_std: Any) -> Any:
    """Return one network whose ``W_std`` and ``b_std`` are arrays: a grid to map over.

    Examples
    --------
    >>> net = networks(tk.Relu(), jnp.ones(5), jnp.zeros(5))
    >>> net.layers[2].W_std.shape
    (5,)
    """
    W_std, b_std = jnp.asarray(W_std, jnp.float64), jnp.asarray(b_std, jnp.float64)
    return jax.vmap(lambda W, b: network(activation, W, b))(W_std, b_std)


def covariance(net: Any, q: Array, angle: Array) -> Array:
    """Return K(q, angle), a scalar, of a `network`."""
    radius = jnp.sqrt(2 * q)  # in two dimensions the mean square of the entries is q
    x1 = radius * jnp.stack([jnp.ones_like(angle), jnp.zeros_like(angle)])
    x2 = radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    return net.kernel(x1[None], x2[None], ntk=False).nngp[0, 0]


def fixed_variance(net: Any) -> Array:
    """Return q*; NaN where the variance has no fixed point.

    Newton's method on the variance map minus its argument, from a value above every fixed point of
    a bounded activation. The map of ReLU is linear, so that one step finds the fixed point, or,
    where the map has slope 1 or more, a value that is no variance.
    """
    last = net.layers[-1]
    zero, one = jnp.zeros_like(last.W_std), jnp.ones_like(last.W_std)

    def step(_: int, q: Array) -> Array:
        value, slope = jax.jvp(lambda v: covariance(net, v, zero), (q,), (one,))
        new = (value - slope * q) / (1 - slope)
        return jnp.where((new > 0) & (new < jnp.inf), new, jnp.nan)

    return lax.fori_loop(0, NEWTON_STEPS, step, last.W_std**2 + last.b_std**2)


def crossing(net: Any, q: Array) -> Array:
    """Return the angle between 0 and pi/2 at which the correlation map crosses the diagonal.

    c = 1 is always a fixed point. Where it repels, the map lies below the diagonal next to it and,
    at c = 0, not below: the attracting fixed point is in between. Where it attracts, the angle
    found is 0.
    """

    def halve(_: int, interval: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = interval
        middle = (low + high) / 2
        below = covariance(net, q, middle) / q < jnp.cos(middle)
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    start = (jnp.zeros_like(q), jnp.full_like(q, jnp.pi / 2))
    return sum(lax.fori_loop(0, HALVINGS, halve, start)) / 2


def phase(net: Any) -> Phase:
    """Return the `Phase` of one network."""
    q = fixed_variance(net)
    angle = crossing(net, q)

    def first(a: Array) -> Array:
        return jax.jvp(lambda b: covariance(net, q, b), (a,), (jnp.ones_like(a),))[1]

    # First and second derivative in the angle, at 0 and where the map crosses the diagonal.
    at = jnp.stack([jnp.zeros_like(angle), angle])
    tangent, curvature = jax.vmap(lambda a: jax.jvp(first, (a,), (jnp.ones_like(a),)))(at)
    slope = -curvature[0] / q
    chaotic = slope > 1
    ordered = jnp.where(jnp.isnan(slope), jnp.nan, 1.0)
    sine = jnp.where(chaotic, jnp.sin(angle), 1.0)
    return Phase(
        variance=q,
        slope=slope,
        correlation=jnp.where(chaotic, jnp.cos(angle), ordered),
        rate=jnp.where(chaotic, -tangent[1] / (q * sine), slope),
    )


def gaps_in_depth(net: Any, q: Array, angle: Array, depth: int) -> Array:
    """Return 1 - c behind 1 .. depth layers, (depth,), from variance q and an angle.

    The layer is applied to the kernel of the two inputs again and again (``propagate``), as in a
    deep network. Variances are followed one layer at a time: where c = 1 repels, a rounding error
    between an input and itself would grow to order 1 in depth.
    """
    radius, zero = jnp.sqrt(2 * q), jnp.zeros_like(angle)
    x1 = radius * jnp.stack([jnp.ones_like(angle), zero])
    x2 = radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    first, layer = net.layers[0], tk.serial(*net.layers[1:])

    def step(carry: Any, _: None) -> tuple[Any, Array]:
        state, variance = carry
        state, variance = layer.propagate(state), covariance(net, variance, zero)
        return (state, variance), 1 - state.kernel().nngp[0, 0] / variance

    start = first.propagate(tk.input_state(x1[None], x2[None], ntk=False))
    return lax.scan(step, (start, q), None, length=depth)[1]
