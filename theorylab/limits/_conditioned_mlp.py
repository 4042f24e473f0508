r"""Deep nonlinear muP networks of any width, exact in law, without a hidden matrix.

*Network.* :math:`h^1 = u \tilde x`, :math:`h^{l+1} = W^l \phi(h^l)`,
:math:`f = \frac1n v \phi(h^L)` as in ``_dense_mlp``, with entries of
:math:`W^l(0)` independent, from :math:`N(0, \sigma_w^2 / n)`.
Backwards, with :math:`d^L_b = (v^\top \delta_b) \odot \phi'(h^L_b)` and
:math:`d^l_b = (W^{l\top} d^{l+1}_b) \odot \phi'(h^l_b)`, n times the derivative of the loss of the
point b by its h, the gradient of a hidden matrix is

.. math:: \frac{\partial L}{\partial W^l} = \frac{1}{n B} \sum_b d^{l+1}_b \phi(h^l_b)^\top .

*Rule.* Training only ever applies :math:`W^l(0)` to vectors :math:`\phi(h^l)` and its transpose to
vectors :math:`d^{l+1}`. So it suffices to keep what it was applied to, orthonormalised, with the
images, and to draw the images of new vectors from their conditional law, ``_conditioning``. And as
every gradient has its columns in the span of the stored Y and its rows in that of the stored X,

.. math:: W^l(t) = a_t\, \frac{W^l(0)}{\sigma_w} + Y C_t X^\top ,

where decay shrinks a (which starts at :math:`\sigma_w`) and all else moves the small matrix C, of
the gradient :math:`\frac{1}{nB} q^\top p` with the coordinates q of d and p of
:math:`\phi`. Bases are orthonormal, so that its Frobenius norm is that of the gradient of W.

With m slots and batches of B points a step costs O(n m B + n B^2) per layer, T steps of the same B
points O(n (BT)^2); memory is 4 n m numbers per hidden matrix.

Source: Bolthausen (2014); Yang and Hu (2021), Tensor Programs IV, arXiv:2011.14522; Bordelon and
Pehlevan (2022), Self-consistent dynamical field theory of kernel evolution in wide neural networks,
arXiv:2205.09653 (the limit, by its order parameters).

Differs from the papers:
  1. The width is finite and the law exact; the limit is that of large n, here within reach.
  2. A step that needs more slots than there are is not made: from then on all of the state but its
     status stays as it is, an exact one, and the status is CAPACITY; likewise DIVERGED where the
     loss, the gradient or the new weights are not finite. Predictions stay the same as well.
  3. Draws depend on the key, on how often something was remembered, and on the points of the call:
     ``predict`` of the points that the next step is going to see returns what that step sees. Calls
     for different points, also for parts of one batch, are each exact in law, but independent given
     the state, as outputs of one network are not: only points of one call, and points with what
     steps or :func:`features` remembered, have the joint law of a network.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from theorylab._numerics import HIGHEST
from theorylab.limits._activation import checked_activation
from theorylab.limits._arguments import (
    as_dtype,
    batch,
    inputs,
    positive_integer,
    scalar,
    state_dtype,
)
from theorylab.limits._conditioned_state import ConditionedInfo, ConditionedState
from theorylab.limits._conditioning import coordinates, dot, nothing_known
from theorylab.limits._dense_mlp import dense_mlp, input_scales, with_bias
from theorylab.limits._limit import Limit, Status
from theorylab.limits._passes import backward, forward, places, remember
from theorylab.limits._sgd import check_optimizer, check_options, sgd


def conditioned_mlp(
    width: int,
    d_in: int,
    d_out: int,
    depth: int,
    activation: Callable[[Array], Array],
    *,
    learning_rate: Any,
    capacity: int,
    sigma_u: Any = 1.0,
    sigma_w: Any = 1.0,
    sigma_v: Any = 1.0,
    bias: Any = None,
    sigma_b: Any = 0.0,
    momentum: Any = 0.0,
    weight_decay: Any = 0.0,
    clip: Any = None,
    optimizer: str = "sgd",
) -> Limit:
    r"""A deep muP network of any width, simulated exactly in law in O(n) memory.

    :math:`W(t) = a_t W(0) / \sigma_w + Y C_t X^\top`, of which only the images of X and of Y are
    drawn; the derivation stands at the head of this module's source.

    Parameters
    ----------
    width
        n, of each hidden layer; at least ``capacity``. Deviations from the limit are
        :math:`O(n^{-1/2})`.
    d_in, d_out, depth
        Dimensions of inputs and outputs, and the number L of hidden layers, of which 1 has no
        hidden matrix.
    activation
        :math:`\phi`, entry by entry, with a derivative, such as ``jnp.tanh``.
    learning_rate
        :math:`\eta` of muP, the same for all layers (see ``finite_width_like``). A number, a
        scalar, or a schedule of optax.
    capacity
        Slots m per basis: at most points times steps are needed (points of all batches; those of
        :func:`features` count d_out times), fewer where vectors are dependent. There is no default,
        as the number of steps is not known here, and slots are what memory goes to.
    sigma_u, sigma_w, sigma_v
        Standard deviations at the start, of entries of u, of :math:`\sqrt n\, W`, of v.
    bias, sigma_b
        The multiplier of a bias of the first layer, which is a weight of one more input that is
        constant, and the standard deviation of that weight at the start; None: no bias.
    momentum, weight_decay, clip
        Heavy ball as in ``optax.sgd``; decay, coupled to the gradient, of all weights; the largest
        norm of the gradient.
    optimizer
        ``"sgd"``; others do not keep updates in the span of what is stored.

    Returns
    -------
    Limit
        ``init(key, dtype=None)`` needs a key; ``step`` returns a :class:`ConditionedInfo`.

    Raises
    ------
    TypeError
        If the activation is not callable, or data are not floating.
    ValueError
        For sizes and numbers out of range, a width below the capacity, an activation that is not
        finite or has no derivative, another optimizer; in ``init`` without a key.

    Notes
    -----
    Exact in law, up to rounding and to remainders below 256 eps of a vector, which are left out.
    float32: losses and weights agree with those of a dense network, in which all images are as they
    were drawn, to 1e-5 over 10 steps (measured; to 1e-15 in float64).
    The status is CAPACITY from the first step that does not fit on, which is not made.

    ``predict`` remembers nothing. Outputs at the points of one call have the joint law of one
    network, given all that the state remembers; separate calls for different points (also for the
    same ones in another order) are independent given the state, and agree on what follows from it
    alone. A call with b points costs O(n b^2). Where outputs of several calls are compared with one
    another, or there are too many points for one, hand them to :func:`features` first, in pieces,
    with slots for all of them: it returns a state that remembers each piece. Derivatives of
    ``predict`` by x hold draws fixed; they are not those of one network. For a scan over steps in
    ``jax.shard_map`` the key must vary over the devices over which x or y do.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> from theorylab import limits
    >>> x, y = jnp.eye(3), jnp.array([[1.0], [-1.0], [0.5]])
    >>> init, step, predict = limits.conditioned_mlp(
    ...     256, 3, 1, 2, jnp.tanh, learning_rate=0.5, capacity=60
    ... )
    >>> state, info = jax.lax.scan(
    ...     lambda state, _: step(state, x, y), init(jax.random.key(0)), None, length=20
    ... )
    >>> bool(info.loss[-1] < 0.01), int(info.slots[0]), int(info.status[-1])
    (True, 3, 0)
    """
    check_optimizer(optimizer)
    bias = None if bias is None else scalar("bias", bias, least=-np.inf)
    width, capacity = positive_integer("width", width), positive_integer("capacity", capacity)
    depth = positive_integer("depth", depth)
    if width < capacity and depth > 1:
        raise ValueError(
            f"width must be at least capacity, as a basis has no more vectors, got {width} < "
            f"{capacity}; below it the dense network of finite_width_like is the cheaper one"
        )
    description = _ConditionedMlp(
        width, positive_integer("d_in", d_in), positive_integer("d_out", d_out), depth,
        checked_activation(activation), capacity,
        check_options(learning_rate, momentum, weight_decay, clip),
        scalar("sigma_u", sigma_u), scalar("sigma_w", sigma_w), scalar("sigma_v", sigma_v), bias,
        scalar("sigma_b", sigma_b),
    )  # fmt: skip
    return Limit(description.init, description.step, description.predict)


@dataclasses.dataclass(frozen=True, eq=False)
class _ConditionedMlp:
    width: int
    d_in: int
    d_out: int
    depth: int
    activation: Callable[[Array], Array]
    capacity: int
    options: tuple
    sigma_u: Any
    sigma_w: Any
    sigma_v: Any
    bias: Any
    sigma_b: Any

    def init(self, key: Array | None = None, dtype: Any = None) -> ConditionedState:
        """Weights u and v; nothing is known of the hidden matrices."""
        if key is None:
            raise ValueError("init needs a key: a network of finite width is random")
        dtype = state_dtype(dtype)
        n, m, hidden = self.width, self.capacity, self.depth - 1
        k_u, k_v, key = jax.random.split(key, 3)
        scales = self._scales(dtype)
        params = {
            "u": scales / n**0.5 * jax.random.normal(k_u, (n, len(scales)), dtype),
            "scale": jnp.full(hidden, self.sigma_w, dtype),
            "core": jnp.zeros((hidden, m, m), dtype),
            "v": as_dtype(self.sigma_v, dtype) / n**0.5
            * jax.random.normal(k_v, (self.d_out, n), dtype),
        }  # fmt: skip
        one = nothing_known(m, n, dtype)
        known = jax.tree.map(lambda a: jnp.zeros((hidden, *a.shape), a.dtype), one)
        optimizer = sgd(self.options, dtype).init(params)
        state = ConditionedState(params, known, optimizer, key, jnp.int32(0), jnp.int32(Status.OK))
        # In shard_map what starts at zero must vary over devices as the key does, for scans.
        zero = jnp.where(jnp.isnan(params["v"][0, 0]), 0, 0)
        rest = jax.tree.map(lambda a: a + zero.astype(a.dtype), state._replace(key=zero))
        return rest._replace(key=key)

    def step(
        self, state: ConditionedState, x: Array, y: Array
    ) -> tuple[ConditionedState, ConditionedInfo]:
        """One step of gradient descent."""
        x, y, out = batch(x, y, self.d_in, self.d_out, state.params["u"].dtype)
        state, info = _step(self, state, x, y)
        return state, info._replace(
            loss=info.loss.astype(out), gradient_norm=info.gradient_norm.astype(out)
        )

    def predict(self, state: ConditionedState, x: Array) -> Array:
        """Outputs (n, d_out)."""
        x, out = inputs("x", x, self.d_in, state.params["u"].dtype)
        return _outputs(self, state, x).astype(out)

    def finite(self, width: int, key: Array, *, dtype: Any = None) -> tuple[Any, Any]:
        """A dense network, as ``finite_width_like`` returns it."""
        dtype = state_dtype(dtype)
        sigmas = (self._scales(dtype), self.sigma_w, self.sigma_v)
        return dense_mlp(
            key, width, self.d_in, self.d_out, self.depth - 1, self.activation, sigmas, self.bias,
            dtype,
        )  # fmt: skip

    def _scales(self, dtype: Any) -> Array:
        return input_scales(self.d_in, self.sigma_u, self.bias, self.sigma_b, dtype)

    def optimizer(self) -> optax.GradientTransformation:
        """What trains the dense network."""
        return sgd(self.options)


# Compiled for people who call them with arrays; the description is static.


@functools.partial(jax.jit, static_argnums=0)
def _outputs(of: _ConditionedMlp, state: ConditionedState, x: Array) -> Array:
    return forward(state, with_bias(x, of.bias), of.activation).f


@functools.partial(jax.jit, static_argnums=0)
def _step(
    of: _ConditionedMlp, state: ConditionedState, x: Array, y: Array
) -> tuple[ConditionedState, ConditionedInfo]:
    params, n = state.params, of.width
    ahead = forward(state, with_bias(x, of.bias), of.activation)
    delta = (ahead.f - y) / len(x)
    d, back = backward(state, ahead, dot(delta, params["v"]) * n**0.5)
    where = places(state.known, ahead.parts, back)
    p = jax.vmap(coordinates)(ahead.parts, where.x)
    q = jax.vmap(coordinates)(back, where.y)
    gradient = {
        "u": dot(d[0].T, ahead.inputs) / n**0.5,
        "scale": jnp.zeros_like(params["scale"]),
        "core": jnp.einsum("lbi,lbj->lij", q, p, precision=HIGHEST) / n,
        "v": dot(delta.T, ahead.value[-1]) / n**0.5,
    }
    updates, optimizer = sgd(of.options, x.dtype).update(gradient, state.optimizer, params)
    params = optax.apply_updates(params, updates)
    loss = 0.5 * jnp.mean(jnp.sum((ahead.f - y) ** 2, axis=1))
    norm = optax.tree.norm(gradient)
    fine = jnp.isfinite(loss) & jnp.isfinite(norm) & jnp.isfinite(optax.tree.norm(params))
    trouble = jnp.where(fine, jnp.int32(Status.OK), jnp.int32(Status.DIVERGED))
    trouble = jnp.where(where.fits, trouble, jnp.int32(Status.CAPACITY))
    status = jnp.where(state.status == Status.OK, trouble, state.status)
    made = status == Status.OK
    params, optimizer = jax.tree.map(
        lambda new, old: jnp.where(made, new, old),
        (params, optimizer), (state.params, state.optimizer),
    )  # fmt: skip
    known = remember(state.known, ahead.parts, back, where, made)
    most = jnp.max(jnp.concatenate([known.x_count, known.y_count]), initial=0)
    time = state.time + made.astype(jnp.int32)  # draws are used up once they are remembered
    state = ConditionedState(params, known, optimizer, state.key, time, status)
    return state, ConditionedInfo(loss, norm, most, status)
