r"""Kernels of a limit while it is trained: what dynamical mean-field theory calls order parameters.

For points x at time t and x' at time s, c and c' outputs, with
:math:`g^l_c = n\, \partial f_c / \partial h^l`,

.. math::

    \Phi^l(x, x') = \tfrac1n \phi(h^l(x)) \cdot \phi(h^l(x')), \qquad
    G^l_{cc'}(x, x') = \tfrac1n g^l_c(x) \cdot g^l_{c'}(x') ,

and :math:`\Phi^0(x, x') = \tilde x \cdot \tilde x'`. In the muP gauge, in which all layers have one
rate, the derivative of :math:`f_c` by the weights between the layers l - 1 and l is the outer
product of :math:`g^l_c` and :math:`\phi(h^{l-1})` over n, the one by those of the first layer
:math:`g^1_c \tilde x^\top / \sqrt n`, the one by the last :math:`\phi(h^L) / \sqrt n`, so that

.. math:: \Theta_{cc'} = \sum_{l=1}^L G^l_{cc'} \Phi^{l-1} + \delta_{cc'} \Phi^L ,

the NTK, by which f moves under gradient flow. As all of these are means over neurons, they have
limits, also at pairs of times.

Source: Bordelon and Pehlevan (2022), Self-consistent dynamical field theory of kernel evolution in
wide neural networks, arXiv:2205.09653.

Differs from the paper:
  1. The kernels are computed along training, not found as a fixed point.
  2. The readout is trained like all other layers.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from theorylab._numerics import HIGHEST
from theorylab.limits._activation import value_and_slope
from theorylab.limits._arguments import inputs
from theorylab.limits._conditioned_mlp import _ConditionedMlp
from theorylab.limits._dense_mlp import with_bias
from theorylab.limits._limit import Limit, Status
from theorylab.limits._mean_field import _MeanField
from theorylab.limits._passes import backward, forward, places, remember


class Features(NamedTuple):
    """What neurons do at p points.

    Attributes
    ----------
    inputs
        (p, d), with the constant coordinate of a bias.
    h, phi
        (L, p, n), preactivations and activations.
    g
        (L, p, d_out, n), n times the derivatives of outputs by h.
    weights
        (n,), of neurons in means: 1/n, or those of quadrature nodes.
    status
        int32 scalar: that of the state, or if it is OK, CAPACITY if the points could not be
        remembered.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import limits
    >>> limit = limits.mean_field(1, 1, jnp.tanh, learning_rate=0.1, order=8)
    >>> _, seen = limits.features(limit, limit.init(), jnp.ones((3, 1)))
    >>> seen.h.shape, seen.g.shape
    ((1, 3, 64), (1, 3, 1, 64))
    """

    inputs: Array
    h: Array
    phi: Array
    g: Array
    weights: Array
    status: Array


class Kernels(NamedTuple):
    """Order parameters between p and q points.

    Attributes
    ----------
    feature
        (L, p, q): Phi.
    gradient
        (L, p, q, d_out, d_out): G.
    ntk
        (p, q, d_out, d_out).

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import limits
    >>> limit = limits.mean_field(1, 1, jnp.tanh, learning_rate=0.1, order=8)
    >>> _, seen = limits.features(limit, limit.init(), jnp.ones((3, 1)))
    >>> limits.kernels(seen, seen).ntk.shape
    (3, 3, 1, 1)
    """

    feature: Array
    gradient: Array
    ntk: Array


def features(limit: Limit, state: Any, x: Array) -> tuple[Any, Features]:
    r"""What neurons of a nonlinear limit do at given points, and a state that remembers it.

    :math:`h^l`, :math:`\phi(h^l)` and :math:`g^l_c = n\, \partial f_c / \partial h^l`.

    Parameters
    ----------
    limit
        Of :func:`mean_field` or :func:`conditioned_mlp`.
    state
        Of its.
    x
        (p, d_in).

    Returns
    -------
    (state, Features)
        Under :func:`conditioned_mlp` hidden matrices are drawn as they are used: in the state that
        is returned they have been used on these points, which takes up to p and p d_out slots of
        two bases. Go on from it for features that belong to one network at several times; drop it
        for features that are exact in law by themselves. If they do not fit, the state is as it
        was, and the status of the features CAPACITY, unless the state has one that is not OK, which
        they carry.

    Raises
    ------
    TypeError
        If the limit is none of the two, or x is not floating.
    ValueError
        If x has another shape.

    Notes
    -----
    Costs one forward and d_out backward passes. Kernels of width n are off their limits by
    :math:`O(n^{-1/2})`.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from theorylab import limits
    >>> limit = limits.conditioned_mlp(128, 3, 1, 2, jnp.tanh, learning_rate=0.1, capacity=40)
    >>> state = limit.init(jax.random.key(0))
    >>> state, before = limits.features(limit, state, jnp.eye(3))
    >>> state, after = limits.features(limit, state, jnp.eye(3))  # after steps, say
    >>> limits.kernels(before, after).ntk.shape, state.known.x_count.tolist()
    ((3, 3, 1, 1), [3])
    """
    of = getattr(getattr(limit, "init", None), "__self__", None)
    if not isinstance(of, _MeanField | _ConditionedMlp):
        raise TypeError(f"limit must be one of mean_field or conditioned_mlp, got {limit!r}")
    x, out = inputs("x", x, of.d_in, state.params["u"].dtype)
    state, seen = (_of_nodes if isinstance(of, _MeanField) else _of_conditioned)(of, state, x)
    return state, jax.tree.map(lambda a: a if a.dtype == jnp.int32 else a.astype(out), seen)


@functools.partial(jax.jit, static_argnums=0)
def _of_nodes(of: _MeanField, state: Any, x: Array) -> tuple[Any, Features]:
    x, root = with_bias(x, of.bias), jnp.sqrt(state.weights)
    h = jnp.matmul(x, (state.params["u"] / root[:, None]).T, precision=HIGHEST)
    phi, slope = value_and_slope(of.activation, h)
    g = slope[:, None] * (state.params["v"] / root)
    return state, Features(x, h[None], phi[None], g[None], state.weights, state.status)


@functools.partial(jax.jit, static_argnums=0)
def _of_conditioned(of: _ConditionedMlp, state: Any, x: Array) -> tuple[Any, Features]:
    v = state.params["v"]
    ahead = forward(state, with_bias(x, of.bias), of.activation)
    d, back = backward(state, ahead, jnp.tile(v * of.width**0.5, (len(x), 1)))
    where = places(state.known, ahead.parts, back)
    known = remember(state.known, ahead.parts, back, where, where.fits)
    g = d.reshape(of.depth, len(x), of.d_out, of.width)
    weights = jnp.full(of.width, 1 / of.width, v.dtype)
    # Draws of a time are used up once they are remembered.
    state = state._replace(known=known, time=state.time + where.fits.astype(jnp.int32))
    status = jnp.where(where.fits, jnp.int32(Status.OK), jnp.int32(Status.CAPACITY))
    status = jnp.where(state.status == Status.OK, status, state.status)
    return state, Features(ahead.inputs, ahead.h, ahead.value, g, weights, status)


def kernels(a: Features, b: Features) -> Kernels:
    r"""Feature kernels, gradient kernels and NTK between points, at one time or at two.

    :math:`\Theta_{cc'} = \sum_l G^l_{cc'} \Phi^{l-1} + \delta_{cc'} \Phi^L`; see this module's
    source.

    Parameters
    ----------
    a, b
        Of :func:`features`, of one network: p and q points.

    Returns
    -------
    Kernels

    Raises
    ------
    ValueError
        If a and b are of networks of different shapes.

    Notes
    -----
    Means over n neurons, in the dtype of a and b.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import limits
    >>> limit = limits.mean_field(2, 1, lambda h: 1.0 * h, learning_rate=0.1, order=8)
    >>> _, seen = limits.features(limit, limit.init(), jnp.eye(2))
    >>> bool(jnp.allclose(limits.kernels(seen, seen).ntk[..., 0, 0], 2 * jnp.eye(2), atol=1e-4))
    True
    """
    if a.g.shape[::2] != b.g.shape[::2] or a.g.shape[3] != b.g.shape[3]:
        raise ValueError(
            f"a and b must be of one network, got g of the shapes {a.g.shape} and {b.g.shape}"
        )
    feature = jnp.einsum("lpn,lqn->lpq", a.phi * a.weights, b.phi, precision=HIGHEST)
    gradient = jnp.einsum("lpcn,lqdn->lpqcd", a.g * a.weights, b.g, precision=HIGHEST)
    below = jnp.concatenate([jnp.matmul(a.inputs, b.inputs.T, precision=HIGHEST)[None], feature])
    one = jnp.eye(a.g.shape[2], dtype=feature.dtype)
    ntk = (
        jnp.sum(gradient * below[:-1, ..., None, None], axis=0) + feature[-1][..., None, None] * one
    )
    return Kernels(feature, gradient, ntk)
