r"""The linear network with one hidden layer in muP, at infinite width: a network of finite width.

Write the network so that plain gradient descent at one rate is muP (the gauge in which no weight
has a multiplier),

.. math::

    f(x) = v u x, \qquad u \in R^{n \times d_{in}},\; u_{ij} \sim N(0, \sigma_u^2 / n), \qquad
    v \in R^{d_{out} \times n},\; v_{ij} \sim N(0, \sigma_v^2 / n) .

*The rule.* With the residuals summed up in
:math:`\Delta = \frac1P \sum_p (f(x_p) - y_p)\, x_p^\top` the gradients are

.. math::

    \partial_u = v^\top \Delta, \qquad \partial_v = \Delta u^\top .

So columns of u and rows of v stay in the span of the initial ones at all steps,

.. math::

    u_t = u_0 A_t + v_0^\top B_t, \qquad v_t = C_t u_0^\top + D_t v_0, \qquad
    A_0 = I,\; B_0 = 0,\; C_0 = 0,\; D_0 = I,

and since f enters through :math:`v_t u_t` alone, what the four matrices become depends on nothing
but the Gram matrix of the frame :math:`(u_0, v_0^\top)`. That tends to
:math:`diag(\sigma_u^2 I, \sigma_v^2 I)` as :math:`n \to \infty`, off by :math:`O(n^{-1/2})`, and at
any fixed step the network is a continuous function of it: the limit is what the recursion gives for
the diagonal matrix itself. Any frame with this Gram matrix gives it, in particular the shortest,

.. math::

    u_0 = \begin{pmatrix} \sigma_u I \\ 0 \end{pmatrix}, \quad
    v_0 = \begin{pmatrix} 0 & \sigma_v I \end{pmatrix}, \qquad
    u_t = \begin{pmatrix} \sigma_u A_t \\ \sigma_v B_t \end{pmatrix}, \quad
    v_t = \begin{pmatrix} \sigma_u C_t & \sigma_v D_t \end{pmatrix},

a network with :math:`d_{in} + d_{out}` hidden units. The state here is that network: it holds the
four matrices, times the scales. Momentum and decay are linear in (u, v) and stay in the span. So
does clipping, if its norm has a limit: that of the gradient by all weights together is

.. math::

    \lVert \partial_u \rVert_F^2 + \lVert \partial_v \rVert_F^2
    = tr(\Delta^\top v v^\top \Delta) + tr(\Delta u^\top u \Delta^\top) ,

again a function of the Gram matrix, and in the gauge above equal to the norm in the small network,
whose frame is orthogonal. In another gauge the two terms have other weights.

*Biases.* :math:`f(x) = v (u x + \alpha b) + \beta c`: b is one more column of u, belonging to an
input coordinate that is always :math:`\alpha`, with its own initial scale :math:`\sigma_b`; c has
as many entries at any width, begins at 0 and passes through.

Differs from the paper / reference:
  1. Yang and Hu (2021), arXiv:2011.14522, write the limit as the four matrices in units in which
     entries are of order 1; here the weights carry :math:`n^{-1/2}`, so that there is one rate.
  2. Their experiments train the limit, as here, as a network of :math:`d_{in} + d_{out}` units.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from theorylab._devices import varying_as
from theorylab._numerics import HIGHEST, floating
from theorylab.limits import _arguments as check
from theorylab.limits._limit import Limit, Status
from theorylab.limits._linear_state import LinearInfo, LinearState, told
from theorylab.limits._sgd import check_optimizer, check_options, sgd


@dataclasses.dataclass(frozen=True, eq=False)
class LinearMup:
    """The description of :func:`linear_mup`, whose arguments are its fields."""

    d_in: int
    d_out: int
    options: tuple[Any, ...]
    sigma_u: Any
    sigma_v: Any
    sigma_b: Any
    bias: Any
    output_bias: Any

    @property
    def frame(self) -> int:
        """Number of initial vectors in the hidden layer."""
        return self.d_in + self.d_out + (self.bias is not None)

    def scales(self, dtype: Any) -> Array:
        """(k,) lengths of the initial vectors in the limit."""
        sizes = (
            (self.sigma_u, self.d_in),
            (self.sigma_b, int(self.bias is not None)),
            (self.sigma_v, self.d_out),
        )
        return jnp.concatenate([jnp.full((k,), check.as_dtype(s, dtype), dtype) for s, k in sizes])

    def weights(self, frame: Array) -> dict[str, Array]:
        """Weights whose initial vectors are the columns of a frame (n, k)."""
        params = {"u": frame[:, : self.d_in], "v": frame[:, -self.d_out :].T}
        if self.bias is not None:
            params["b"] = frame[:, self.d_in]
        if self.output_bias is not None:
            params["c"] = jnp.zeros((self.d_out,), frame.dtype)
        return params

    def optimizer(self, dtype: Any = None) -> optax.GradientTransformation:
        """The chain of ``_sgd``, for the limit and for finite networks alike."""
        return sgd(self.options, dtype)

    def apply(self, params: dict[str, Array], x: Array) -> Array:
        """The network, of whatever width."""
        x = jnp.asarray(floating("x", x))
        h = jnp.matmul(x, params["u"].T, precision=HIGHEST)
        if "b" in params:
            h = h + check.as_dtype(self.bias, h.dtype) * params["b"][None, :]
        f = jnp.matmul(h, params["v"].T, precision=HIGHEST)
        if "c" in params:
            f = f + check.as_dtype(self.output_bias, f.dtype) * params["c"][None, :]
        return f

    def loss(self, params: dict[str, Array], x: Array, y: Array) -> Array:
        """Half the squared distance, mean over the batch."""
        return jnp.sum((self.apply(params, x) - y) ** 2) / (2 * len(x))

    def start(self, frame: Array) -> LinearState:
        """State that begins with a frame."""
        params = self.weights(frame)
        return LinearState(params, self.optimizer(frame.dtype).init(params))

    def init(self, key: Array | None = None, dtype: Any = None) -> LinearState:
        """The diagonal frame; the key is ignored."""
        del key
        return self.start(jnp.diag(self.scales(check.state_dtype(dtype))))

    def step(self, state: LinearState, x: Array, y: Array) -> tuple[LinearState, LinearInfo]:
        """One step of gradient descent."""
        x, y, out = check.batch(x, y, self.d_in, self.d_out, state.params["u"].dtype)
        state, info = _step(self, state, x, y)
        return state, told(info, out)

    def update(
        self, state: LinearState, loss: Array, gradient: dict[str, Array]
    ) -> tuple[LinearState, LinearInfo]:
        """Move along a gradient."""
        tx = self.optimizer(loss.dtype)
        updates, inner = tx.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        norm = optax.tree.norm(gradient)
        finite = jnp.isfinite(loss) & jnp.isfinite(norm) & jnp.isfinite(optax.tree.norm(params))
        status = jnp.where(finite, Status.OK, Status.DIVERGED).astype(jnp.int32)
        # NaN is the memory of it: so the loss, and with it the status, stays what it is.
        params = jax.tree.map(lambda p: jnp.where(finite, p, jnp.nan), params)
        return LinearState(params, inner), LinearInfo(loss, norm, status)

    def predict(self, state: LinearState, x: Array) -> Array:
        """Outputs (n, d_out)."""
        x, out = check.inputs("x", x, self.d_in, state.params["u"].dtype)
        return _outputs(self, state.params, x).astype(out)

    def finite(
        self, width: int, key: Array, *, orthonormal: bool = False, dtype: Any = None
    ) -> tuple[dict[str, Array], Callable[[dict[str, Array], Array], Array]]:
        """Draw a network of a width; orthonormal: with the Gram matrix of the limit."""
        dtype, k = check.state_dtype(dtype), self.frame
        if orthonormal and width < k:
            raise ValueError(
                f"width must be at least {k}, the number of initial vectors, for orthonormal=True, "
                f"got {width}"
            )
        frame = jax.random.normal(key, (width, k), dtype)
        frame = jnp.linalg.qr(frame)[0] if orthonormal else frame / jnp.sqrt(width).astype(dtype)
        return self.weights(frame * self.scales(dtype)[None, :]), self.apply


# Compiled for those who call them with arrays; the description is static.


@functools.partial(jax.jit, static_argnums=0)
def _outputs(network: LinearMup, params: dict[str, Array], x: Array) -> Array:
    return network.apply(params, x)


@functools.partial(jax.jit, static_argnums=0)
def _step(
    network: LinearMup, state: LinearState, x: Array, y: Array
) -> tuple[LinearState, LinearInfo]:
    state = varying_as((x, y), state)
    return network.update(state, *jax.value_and_grad(network.loss)(state.params, x, y))


def linear_mup(
    d_in: int,
    d_out: int,
    *,
    learning_rate: Any,
    sigma_u: Any = 1.0,
    sigma_v: Any = 1.0,
    momentum: Any = 0.0,
    weight_decay: Any = 0.0,
    clip: Any = None,
    bias: Any = None,
    sigma_b: Any = 0.0,
    output_bias: Any = None,
    optimizer: str = "sgd",
) -> Limit:
    r"""Feature learning at infinite width, exactly: a linear network with one hidden layer in muP.

    .. math::

        f(x) = v (u x + \alpha b) + \beta c, \qquad
        u_{ij} \sim N(0, \sigma_u^2 / n),\; b_i \sim N(0, \sigma_b^2 / n),\;
        v_{ij} \sim N(0, \sigma_v^2 / n),\; c = 0,

    as :math:`n \to \infty`, trained by gradient descent at one rate. The limit is the same network
    with :math:`d_{in} + d_{out}` hidden units (one more with a bias), begun from
    :math:`u = [\sigma_u I; 0]`, :math:`v = [0, \sigma_v I]`; derived at the head of this module's
    source. Nothing in it is random or approximate.

    Parameters
    ----------
    d_in, d_out
        Numbers of inputs and outputs.
    learning_rate
        :math:`\eta \ge 0`, a scalar or a schedule of optax, per step and not per width.
    sigma_u, sigma_v, sigma_b
        Scales of the initial weights, of u, v and b. Non-negative scalars.
    momentum
        Of the heavy ball, in [0, 1), as in ``optax.sgd``.
    weight_decay
        :math:`\lambda \ge 0`, of all weights and biases; coupled: added to the gradient after
        clipping and before momentum.
    clip
        Largest norm of the gradient by all weights and biases together, > 0; None: no clipping.
    bias, output_bias
        The multipliers :math:`\alpha, \beta` of the hidden and the output bias, scalars; None: no
        such bias. A multiplier m acts on what is learned as m**2 in the rate.
    optimizer
        ``"sgd"``. Others are refused: coordinate-wise ones have no such limit, and Muon, full
        Shampoo and SOAP, which may have one, are not implemented.

    Returns
    -------
    Limit
        ``init(key=None, dtype=None) -> LinearState`` (the key is ignored), ``step(state, x, y) ->
        (LinearState, LinearInfo)``, ``predict(state, x)``. The network of
        :func:`finite_width_like` is ``{"u": (n, d_in), "v": (d_out, n)}``, with ``"b"`` (n,) and
        ``"c"`` (d_out,) where there are biases, and :func:`optimizer_like` is the chain of clip,
        decay and ``optax.sgd`` at the same rate.

    Raises
    ------
    ValueError
        If a dimension is not a positive integer, an option is out of its range, or ``optimizer`` is
        not ``"sgd"``; from the functions, if shapes do not fit. Values that are traced go
        unchecked.
    TypeError
        From the functions, if data are not real floating arrays, or are float64 where the state is
        float32.

    Notes
    -----
    *Validity.* The limit is that of wide networks at a fixed number of steps; finite ones are off
    by :math:`O(n^{-1/2})` (in the output at the start, and so in all that follows). It is a limit
    for every optimizer that commutes with rotations of the hidden layer, of which those above are
    at hand. Adam, Lion and the like do not: ``_sgd`` has the reason.

    *MAML.* :func:`maml_step` trains the limit through inner loops of gradient descent; ``step``
    itself is differentiable in state and options, for anything else.

    *float32.* Steps are those of a small network: rounding is that of a float32 network of width
    :math:`d_{in} + d_{out}`. Half precision is computed in float32.

    References
    ----------
    Yang and Hu (2021), "Tensor programs IV: feature learning in infinite-width neural networks",
    arXiv:2011.14522.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import limits
    >>> init, step, predict = limits.linear_mup(2, 1, learning_rate=0.3)
    >>> x, y = jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.array([[1.0], [-1.0]])
    >>> state, _ = jax.lax.scan(lambda s, _: step(s, x, y), init(), length=100)
    >>> [round(float(f), 3) for f in predict(state, x)[:, 0]]
    [1.0, -1.0]
    """
    check_optimizer(optimizer)
    network = LinearMup(
        **described(d_in, d_out, sigma_u, sigma_v, sigma_b, bias, output_bias),
        options=check_options(learning_rate, momentum, weight_decay, clip),
    )
    return Limit(network.init, network.step, network.predict)


def described(
    d_in: Any, d_out: Any, sigma_u: Any, sigma_v: Any, sigma_b: Any, bias: Any, output_bias: Any
) -> dict[str, Any]:
    """The checked fields of a description, without the optimizer's."""
    anything: dict[str, Any] = {"least": -jnp.inf}
    return {
        "d_in": check.positive_integer("d_in", d_in),
        "d_out": check.positive_integer("d_out", d_out),
        "sigma_u": check.scalar("sigma_u", sigma_u),
        "sigma_v": check.scalar("sigma_v", sigma_v),
        "sigma_b": check.scalar("sigma_b", sigma_b),
        "bias": None if bias is None else check.scalar("bias", bias, **anything),
        "output_bias": (
            None if output_bias is None else check.scalar("output_bias", output_bias, **anything)
        ),
    }
