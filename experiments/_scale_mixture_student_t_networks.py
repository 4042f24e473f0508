r"""Outputs of finite networks with a random scale, drawn exactly in law layer by layer.

Given the features :math:`h` of a layer of n units, the preactivations of the next layer at one
input are independent :math:`N(0, \sigma_w^2 |h|^2 / n)`, whatever the width: rows of Gaussian
weights are independent. So a draw of

.. math::

    z^{l+1} \mid h^l \sim N\big(0, \sigma_w^2 |h^l|^2 / n\big), \qquad
    f \mid h^L, s \sim N\big(0, s |h^L|^2 / n\big), \qquad s \sim IG(a, b)

has the law of the network's output under its prior, at n normals for each layer in place of
:math:`n^2`. One input only: at several, rows are Gaussian vectors, with the Gram matrix of the
features as covariance.

No paper: this is the definition of the network, read forwards.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

import theorylab.kernels as tk

W_VAR = 2.0  # of hidden layers; keeps the second moment from layer to layer under ReLU
GROUP = 100  # draws at a time: a group of the widest layers fits into a processor's cache


def network(width: int, depth: int):
    """Return the network whose outputs `outputs` draws, with scale 1 in its last layer.

    Examples
    --------
    >>> network(16, 2).output_shape((3, 64))
    (3, 1)
    """
    hidden = [tk.Dense(width, W_std=W_VAR**0.5), tk.Relu()] * depth
    return tk.serial(*hidden, tk.Dense(1))


def outputs(
    key: Array, norm: float, a: float, b: float, *, width: int, depth: int, draws: int
) -> Array:
    """Return outputs of as many independent networks at one input, float32 (draws,).

    Parameters
    ----------
    key
        Typed key.
    norm
        Squared norm of the input over its number of entries.
    a, b
        Shape and scale of the inverse gamma prior on the variance of the last layer's weights.
    width, depth
        Units in each of the hidden ReLU layers, and their number.
    draws
        A multiple of `GROUP`.

    Raises
    ------
    ValueError
        `draws` is no multiple of `GROUP`.

    Examples
    --------
    >>> f = outputs(jax.random.key(0), 1.0, 2.0, 2.0, width=8, depth=1, draws=400)
    >>> f.shape, f.dtype.name
    ((400,), 'float32')
    """
    if draws <= 0 or draws % GROUP:
        raise ValueError(f"draws must be a positive multiple of {GROUP}, got {draws}")

    key_scale, key_network = jax.random.split(key)
    scale = b / _gamma(key_scale, a, draws)
    return jnp.sqrt(scale) * _unscaled(key_network, norm, width=width, depth=depth, draws=draws)


# By itself, because its compilation takes as long as that of the rest and is the same at any width.
@partial(jax.jit, static_argnames="draws")
def _gamma(key: Array, a: float, draws: int) -> Array:
    return jax.random.gamma(key, a, (draws,), jnp.float32)


@partial(jax.jit, static_argnames=("width", "depth", "draws"))
def _unscaled(key: Array, norm: float, *, width: int, depth: int, draws: int) -> Array:
    def group(_, key):
        key_layers, key_last = jax.random.split(key)
        second_moment = jnp.full((GROUP, 1), norm, jnp.float32)
        for layer in range(depth):
            drawn = jax.random.fold_in(key_layers, layer)
            z = jax.random.normal(drawn, (GROUP, width), jnp.float32)
            h = jax.nn.relu(jnp.sqrt(W_VAR * second_moment) * z)
            second_moment = jnp.mean(h * h, axis=1, keepdims=True)
        last = jax.random.normal(key_last, (GROUP, 1), jnp.float32)
        return None, jnp.sqrt(second_moment) * last

    found = jax.lax.scan(group, None, jax.random.split(key, draws // GROUP))[1]
    return found.reshape(draws)
