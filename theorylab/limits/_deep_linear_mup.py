r"""Deep linear networks in muP at infinite width: linear algebra on bases that grow.

In the gauge of ``_linear_mup``, with L hidden layers,

.. math::

    f(x) = v W_L \cdots W_2 u x, \qquad
    u_{ij} \sim N(0, \sigma_u^2 / n),\; (W_l)_{ij} \sim N(0, \sigma_w^2 / n),\;
    v_{ij} \sim N(0, \sigma_v^2 / n) ,

all trained by gradient descent at one rate: columns of :math:`F_1 = u`, :math:`F_l = W_l F_{l-1}`
and of :math:`E_L = v^\top`, :math:`E_{l-1} = W_l^\top E_l` have lengths of order 1, and with
:math:`\Delta = \frac1P \sum_p (f(x_p) - y_p)\, x_p^\top`

.. math::

    \partial_u = E_1 \Delta, \qquad \partial_{W_l} = E_l \Delta F_{l-1}^\top, \qquad
    \partial_v = \Delta F_L^\top

have Frobenius norms of order 1. No batch appears but in :math:`\Delta` (d_out, d_in).

*The rule.* With momentum and decay, which are linear, :math:`W_l = c\, W_l(0) / \sigma_w + M_l`:
a number and a sum of products of vectors of layer l with vectors of layer l - 1. Every vector is a
combination of columns of u(0), rows of v(0), and images of others under matrices :math:`W_l(0)` or
their transposes. ``_gaussian_matrix`` says what such images are as :math:`n \to \infty`: a part
that is known, and a new basis vector. So the limit is deterministic, all vectors are coordinates in
a basis of their layer, and :math:`M_l` is a matrix of such coordinates. Norms are those of
coordinates, which makes the norm that is clipped by right too. The initial function is 0.

*How bases grow.* Let r be the least of d_in, d_out and the batch, the largest rank of
:math:`\Delta`. After T steps the span of all F_1 has at most d_in + r T dimensions, and that of all
F_l at most r T more than that of all F_{l-1}: one for each F, and :math:`\sum_l E_l \Delta`, of
rank r at a time. Spans of the :math:`E_l` likewise from above. The basis of layer l has one vector
for each dimension of F_{l-1} and of E_{l+1}, which makes

.. math::

    d_{in} + d_{out} + (L - 1)\, r\, T

in every layer. In truth it is less, where gradients repeat their directions.

Differs from the paper / reference:
  1. Columns of u and v are carried forward and back rather than samples: bases do not grow with the
     batch.
  2. Bordelon and Pehlevan (2022), arXiv:2205.09653, solve the same limit by matrix equations for
     correlation and response functions; here it is gradient descent in discrete time, forward only.
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

from theorylab._devices import varying_as
from theorylab._numerics import floating
from theorylab.limits import _arguments as check
from theorylab.limits import _gaussian_matrix as gauss
from theorylab.limits._deep_linear_state import (
    DeepLinearInfo,
    DeepLinearState,
    deep_linear_capacity,
)
from theorylab.limits._gaussian_matrix import product
from theorylab.limits._limit import Limit, Status
from theorylab.limits._sgd import check_optimizer, check_options, sgd

STEPS = 16  # for which the default capacity is enough, whatever the data


@dataclasses.dataclass(frozen=True, eq=False)
class DeepLinearMup:
    """The description of :func:`deep_linear_mup`, whose arguments are its fields."""

    d_in: int
    d_out: int
    depth: int
    options: tuple[Any, ...]
    sigma_u: Any
    sigma_w: Any
    sigma_v: Any
    capacity: int
    tolerance: float

    def optimizer(self, dtype: Any = None) -> optax.GradientTransformation:
        """The chain of ``_sgd``, for the limit and for finite networks alike."""
        return sgd(self.options, dtype)

    def init(self, key: Array | None = None, dtype: Any = None) -> DeepLinearState:
        """Bases of u and v, and what they are sent to; the key is ignored."""
        del key
        return _start(self, check.state_dtype(dtype))

    def explored(
        self, params: dict[str, Array], inner: Any, matrices: Any, sizes: Array, status: Array
    ) -> DeepLinearState:
        """Carry u forward and v back through the present weights, as far as that is new."""
        known, full = list(matrices), jnp.bool_(False)
        forward, backward = [params["u"]], [params["v"].T]
        for i in range(self.depth - 1):
            image, known[i], size, more = gauss.apply(
                known[i], forward[-1], sizes[i + 1], self.tolerance
            )
            sizes, full = sizes.at[i + 1].set(size), full | more
            forward.append(params["c"][i] * image + product(params["m"][i], forward[-1]))
        for i in reversed(range(self.depth - 1)):
            transpose = gauss.transposed(known[i])
            image, transpose, size, more = gauss.apply(
                transpose, backward[-1], sizes[i], self.tolerance
            )
            known[i] = gauss.transposed(transpose)
            sizes, full = sizes.at[i].set(size), full | more
            backward.append(params["c"][i] * image + product(params["m"][i].T, backward[-1]))
        finite = jnp.isfinite(optax.tree.norm((params, forward, backward)))
        now = jnp.where(full, Status.CAPACITY, jnp.where(finite, Status.OK, Status.DIVERGED))
        status = jnp.where(status == Status.OK, now, status).astype(jnp.int32)
        layers = tuple(forward), tuple(reversed(backward))
        return DeepLinearState(params, inner, tuple(known), *layers, sizes, status)

    def function(self, state: DeepLinearState) -> Array:
        """The matrix (d_out, d_in) that the network is; NaN where the capacity was exceeded."""
        matrix = product(state.params["v"], state.forward[-1])
        return jnp.where(state.status == Status.CAPACITY, jnp.nan, matrix)

    def step(self, state: DeepLinearState, x: Array, y: Array) -> tuple[Any, DeepLinearInfo]:
        """One step of gradient descent."""
        x, y, out = check.batch(x, y, self.d_in, self.d_out, state.params["u"].dtype)
        state, info = _step(self, state, x, y)
        loss, norm = info.loss.astype(out), info.gradient_norm.astype(out)
        return state, info._replace(loss=loss, gradient_norm=norm)

    def predict(self, state: DeepLinearState, x: Array) -> Array:
        """Outputs (n, d_out)."""
        x, out = check.inputs("x", x, self.d_in, state.params["u"].dtype)
        return _outputs(self, state, x).astype(out)

    def finite(
        self, width: int, key: Array, *, dtype: Any = None
    ) -> tuple[dict[str, Array], Callable[[dict[str, Array], Array], Array]]:
        """Draw a network of a width."""
        dtype, keys = check.state_dtype(dtype), jax.random.split(key, 3)
        shapes = {
            "u": ((width, self.d_in), self.sigma_u),
            "hidden": ((self.depth - 1, width, width), self.sigma_w),
            "v": ((self.d_out, width), self.sigma_v),
        }
        params = {
            name: check.as_dtype(sigma, dtype) * jax.random.normal(k, shape, dtype) / width**0.5
            for k, (name, (shape, sigma)) in zip(keys, shapes.items(), strict=True)
        }

        def apply(params: dict[str, Array], x: Array) -> Array:
            h = product(jnp.asarray(floating("x", x)), params["u"].T)
            for w in params["hidden"]:
                h = product(h, w.T)
            return product(h, params["v"].T)

        return params, apply


# Compiled for those who call them with arrays; the description is static.


@functools.partial(jax.jit, static_argnums=(0, 1))
def _start(network: DeepLinearMup, dtype: Any) -> DeepLinearState:
    k, hidden, d_in, d_out = network.capacity, network.depth - 1, network.d_in, network.d_out
    sigma_u, sigma_w, sigma_v = (
        check.as_dtype(s, dtype) for s in (network.sigma_u, network.sigma_w, network.sigma_v)
    )
    before = 0 if hidden else d_in  # v's vectors stand after u's in one layer
    params = {
        "u": sigma_u * jnp.eye(k, d_in, dtype=dtype),
        "c": jnp.full((hidden,), sigma_w, dtype),
        "m": jnp.zeros((hidden, k, k), dtype),
        "v": sigma_v * jnp.eye(d_out, k, before, dtype=dtype),
    }
    sizes = np.zeros(network.depth, np.int32)
    sizes[0] += d_in
    sizes[-1] += d_out
    inner = network.optimizer(dtype).init(params)
    matrices = (gauss.unknown(k, dtype),) * hidden
    return network.explored(params, inner, matrices, jnp.asarray(sizes), jnp.int32(Status.OK))


@functools.partial(jax.jit, static_argnums=0)
def _outputs(network: DeepLinearMup, state: DeepLinearState, x: Array) -> Array:
    return product(x, network.function(state).T)


@functools.partial(jax.jit, static_argnums=0)
def _step(
    network: DeepLinearMup, state: DeepLinearState, x: Array, y: Array
) -> tuple[DeepLinearState, DeepLinearInfo]:
    state = varying_as((x, y), state)
    params = state.params
    residual = _outputs(network, state, x) - y
    loss = jnp.sum(residual**2) / (2 * len(x))
    delta = product(residual.T, x) / len(x)
    pairs = zip(state.backward[1:], state.forward[:-1], strict=True)
    moved = [product(product(e, delta), f.T) for e, f in pairs]
    gradient = {
        "u": product(state.backward[0], delta),
        "c": jnp.zeros_like(params["c"]),
        "m": jnp.stack(moved) if moved else jnp.zeros_like(params["m"]),
        "v": product(delta, state.forward[-1].T),
    }
    updates, inner = network.optimizer(x.dtype).update(gradient, state.optimizer, params)
    params = optax.apply_updates(params, updates)
    norm = optax.tree.norm(gradient)
    trouble = jnp.where(jnp.isfinite(loss) & jnp.isfinite(norm), Status.OK, Status.DIVERGED)
    status = jnp.where(state.status == Status.OK, trouble, state.status).astype(jnp.int32)
    state = network.explored(params, inner, state.matrices, state.sizes, status)
    return state, DeepLinearInfo(loss, norm, state.sizes, state.status)


def deep_linear_mup(
    d_in: int,
    d_out: int,
    depth: int,
    *,
    learning_rate: Any,
    capacity: int | None = None,
    tolerance: float = 0.0,
    sigma_u: Any = 1.0,
    sigma_w: Any = 1.0,
    sigma_v: Any = 1.0,
    momentum: Any = 0.0,
    weight_decay: Any = 0.0,
    clip: Any = None,
    optimizer: str = "sgd",
) -> Limit:
    r"""Feature learning at infinite width in a deep linear network, exactly.

    .. math::

        f(x) = v W_L \cdots W_2 u x, \qquad
        u_{ij} \sim N(0, \sigma_u^2 / n),\; (W_l)_{ij} \sim N(0, \sigma_w^2 / n),\;
        v_{ij} \sim N(0, \sigma_v^2 / n)

    as :math:`n \to \infty`, which is muP for gradient descent at one rate. Every vector in a hidden
    layer is held by its coordinates in a basis that grows as the initial matrices are applied to
    new directions; derived at the head of this module's source. Deterministic, and exact but for
    rounding.

    Parameters
    ----------
    d_in, d_out
        Numbers of inputs and outputs.
    depth
        L, the number of hidden layers; with 1 this is :func:`linear_mup`.
    learning_rate
        :math:`\eta \ge 0`, a scalar or a schedule of optax, the same for all layers and widths.
    capacity
        K, the largest size of a layer's basis. None: :func:`deep_linear_capacity` of 16 steps,
        enough for more where gradients repeat their directions.
    tolerance
        In [0, 1), static. What is left of a vector outside of the directions seen so far is dropped
        if it is shorter than this times the vector: an error of this relative size in a vector, and
        smaller bases. 256 units of rounding at least: 3e-5 in float32, 6e-14 in float64.
    sigma_u, sigma_w, sigma_v
        Scales of the initial weights; non-negative scalars.
    momentum, weight_decay, clip, optimizer
        As in :func:`linear_mup`; the norm that is clipped is that of the gradient by all weights.

    Returns
    -------
    Limit
        ``init(key=None, dtype=None) -> DeepLinearState`` (the key is ignored), ``step(state, x, y)
        -> (DeepLinearState, DeepLinearInfo)``, ``predict(state, x)``. The network of
        :func:`finite_width_like` is ``{"u": (n, d_in), "hidden": (L - 1, n, n), "v": (d_out, n)}``.

    Raises
    ------
    ValueError
        If a dimension is not a positive integer, an option is out of its range, capacity is below
        d_in + d_out (what the start needs), or ``optimizer`` is not ``"sgd"``; from the functions,
        if shapes do not fit.
    TypeError
        From the functions, if data are not real floating arrays, or are float64 where the state is
        float32.

    Notes
    -----
    *Capacity.* Where a basis is full, ``info.status`` becomes ``Status.CAPACITY`` and stays so,
    and predictions and losses are NaN from then on.

    *Cost.* A step takes :math:`O(L K^2 (d_{in} + d_{out}))` operations and the state :math:`5 L
    K^2` numbers (one more L K^2 with momentum), at any size of the batch. Late in training new
    directions are short: in float32, or with a tolerance, bases stop growing earlier.

    *Derivatives.* Not for differentiation: a new direction is what is left of a vector, normalised,
    whose derivative is that of rounding where nothing is left.

    *Validity.* The limit of wide networks at fixed depth and a fixed number of steps; finite ones
    are off by :math:`O(n^{-1/2})`. Biases of the first layer are one more input that is constant.

    References
    ----------
    Yang and Hu (2021), arXiv:2011.14522 (muP and its limit); Bordelon and Pehlevan (2022),
    arXiv:2205.09653 (the same limit by its kernels).

    Examples
    --------
    >>> from theorylab import limits
    >>> init, step, predict = limits.deep_linear_mup(2, 1, 2, learning_rate=0.3)
    >>> x, y = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([[1.0], [-1.0]])
    >>> run = jax.jit(lambda: jax.lax.scan(lambda s, _: step(s, x, y), init(), length=40))
    >>> state, info = run()
    >>> [round(float(f), 2) for f in predict(state, x)[:, 0]], int(info.status[-1])
    ([1.0, -1.0], 0)
    """
    check_optimizer(optimizer)
    bound = deep_linear_capacity(d_in, d_out, depth, STEPS)
    capacity = bound if capacity is None else check.positive_integer("capacity", capacity)
    if capacity < d_in + d_out:
        raise ValueError(
            f"capacity must be at least d_in + d_out = {d_in + d_out}, what the start needs, got "
            f"{capacity}"
        )
    tolerance = check.scalar("tolerance", tolerance, below=1.0)
    if not isinstance(tolerance, float):
        raise ValueError(f"tolerance must be a number that is not traced, got {tolerance!r}")
    network = DeepLinearMup(
        d_in=int(d_in),
        d_out=int(d_out),
        depth=int(depth),
        options=check_options(learning_rate, momentum, weight_decay, clip),
        sigma_u=check.scalar("sigma_u", sigma_u),
        sigma_w=check.scalar("sigma_w", sigma_w),
        sigma_v=check.scalar("sigma_v", sigma_v),
        capacity=capacity,
        tolerance=tolerance,
    )
    return Limit(network.init, network.step, network.predict)
