r"""Lion-K: two moving averages of the gradient, and the subgradient of a convex function.

With the momentum m, gradients :math:`g_t = \nabla f(x_t)`, and a convex K,

.. math::

    u_{t+1} &= b_1 m_t - (1 - b_1) g_t , \\
    m_{t+1} &= b_2 m_t - (1 - b_2) g_t , \\
    x_{t+1} &= x_t + \eta\, (\nabla K(u_{t+1}) - \lambda x_t) .

optax averages :math:`+g`: the state holds :math:`\mu = -m`, with it :math:`c = -u`, and what is
subtracted from x is :math:`\eta (-\nabla K(-c) + \lambda x)`. For odd :math:`\nabla K`, all but
that of ``logsumexp``, this is :math:`\eta (\nabla K(c) + \lambda x)`.

Differs from the paper / reference:
  1. Chen, Liu, Liang and Liu (2024), "Lion secretly solves constrained optimization: as Lyapunov
     predicts", write the decay implicitly, :math:`x^+ = x + \epsilon (\nabla K(u) - \lambda x^+)`;
     this is the same step for :math:`\eta = \epsilon / (1 + \epsilon \lambda)`.
  2. Against ``optax.lion``: no counter in the state, which nothing needs; the momentum keeps its
     dtype also where gradients have a wider one than parameters and ``mu_dtype`` is None, so that
     a scan can carry it; injected b1 and b2 are brought to the dtype of each leaf.
  3. The defaults of b1, b2 and the decay are those of ``optax.lion``.
"""

import numbers
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike, DTypeLike

from theorylab._tree import leaves_with_names
from theorylab.optim import _arguments as check
from theorylab.optim._kappa import Kappa, checked_kappa


class ScaleByLionKState(NamedTuple):
    r"""State of :func:`scale_by_lion_k`.

    Attributes
    ----------
    mu
        The moving average of gradients, a tree like the parameters: :math:`-m` of the equations.
    """

    mu: Any


def scale_by_lion_k(
    kappa: Kappa,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.99,
    *,
    mu_dtype: DTypeLike | None = None,
) -> optax.GradientTransformationExtraArgs:
    r"""The direction of Lion-K, to be chained with a decay and a learning rate.

    .. math::

        c = (1 - b_1) g + b_1 \mu, \qquad g \leftarrow -\nabla K(-c), \qquad
        \mu \leftarrow (1 - b_2) g + b_2 \mu .

    Parameters
    ----------
    kappa
        The convex function, of :mod:`theorylab.optim.kappas`; it acts on every leaf by itself.
    b1, b2
        Rates in [0, 1); b1 mixes the gradient into the direction, b2 into the momentum. Scalars.
    mu_dtype
        Dtype of the momentum. None: that of the parameter.

    Returns
    -------
    optax.GradientTransformationExtraArgs
        Its state is a :class:`ScaleByLionKState` of arrays alone. Updates have the shape of the
        gradient, and its dtype, or the wider one of gradient and momentum.

    Raises
    ------
    TypeError
        If kappa is not a Kappa (``kappas.l1`` without parentheses, say), b1 or b2 no number,
        mu_dtype no floating dtype; in ``init`` and ``update``, if a leaf is not a real floating
        array (the message has its path).
    ValueError
        If b1 or b2 lies outside of [0, 1); in ``update``, if gradients do not fit the momentum.

    Notes
    -----
    Averages are formed in the dtype of gradient and momentum, as in ``optax.lion``; K is evaluated
    in float32 for half precision, except where its gradient is that of a mode of optax's Lion.
    float32 throughout is enough: the direction is bounded but for ``power``. A NaN in a gradient
    stays in the momentum; ``optax.apply_if_finite`` keeps it out.

    Examples
    --------
    >>> import jax.numpy as jnp, optax
    >>> from theorylab import optim
    >>> tx = optax.chain(optim.scale_by_lion_k(optim.kappas.l2()), optax.scale(-0.1))
    >>> params = {"w": jnp.zeros(2)}
    >>> updates, _ = tx.update({"w": jnp.array([3.0, -4.0])}, tx.init(params))
    >>> [round(float(v), 3) for v in updates["w"]]
    [-0.06, 0.08]
    """
    kappa = checked_kappa(kappa)
    check.decay_rate("b1", b1)
    check.decay_rate("b2", b2)
    moment_dtype = check.floating_dtype("mu_dtype", mu_dtype, check.MU_DTYPES)

    def init(params: Any) -> ScaleByLionKState:
        check.floating_leaves("params", params)
        for path, leaf in leaves_with_names("params", params):
            try:
                jax.eval_shape(kappa.grad, leaf)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
        return ScaleByLionKState(optax.tree.zeros_like(params, dtype=moment_dtype))

    def update(
        updates: Any, state: ScaleByLionKState, params: Any = None, **extra: Any
    ) -> tuple[Any, ScaleByLionKState]:
        del params, extra
        check.floating_leaves("updates", updates)
        check.same_tree("updates", updates, "the momentum of the state", state.mu)
        mixed = jax.tree.map(lambda g, mu: _average(g, mu, b1), updates, state.mu)
        mu = jax.tree.map(lambda g, mu: _average(g, mu, b2).astype(mu.dtype), updates, state.mu)
        return jax.tree.map(lambda c: _along(kappa, c), mixed), ScaleByLionKState(mu)

    return optax.GradientTransformationExtraArgs(init, update)


def _average(g: Array, mu: Array, rate: ArrayLike) -> Array:
    """``(1 - rate) g + rate mu``, with the operations of optax's Lion."""
    return _like(1.0 - rate, g) * g + _like(rate, mu) * mu


def _like(rate: Any, x: Array) -> Any:
    """A number as a weak one, an array in the dtype of x."""
    return float(rate) if isinstance(rate, numbers.Real) else jnp.asarray(rate, x.dtype)


def _along(kappa: Kappa, c: Array) -> Array:
    return kappa.grad(c) if kappa.odd else -kappa.grad(-c)


def lion_k(
    learning_rate: optax.ScalarOrSchedule,
    kappa: Kappa,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.99,
    weight_decay: optax.ScalarOrSchedule = 1e-3,
    *,
    mu_dtype: DTypeLike | None = None,
    mask: Any = None,
) -> optax.GradientTransformationExtraArgs:
    r"""Lion-K with decoupled weight decay: Lion, Muon, and all between.

    .. math::

        x \leftarrow x - \eta\, (-\nabla K(-c) + \lambda x), \quad
        c = (1 - b_1) g + b_1 \mu, \qquad \mu \leftarrow (1 - b_2) g + b_2 \mu ,

    which minimises :math:`f(x) + K^*(\lambda x) / \lambda`: with norms, f in a ball of radius
    :math:`1/\lambda`, so that **the weight decay is a constraint** and its size a radius. The table
    is in :mod:`theorylab.optim.kappas`; :func:`theorylab.optim.objective` evaluates it.

    - ``lion_k(rate, kappas.l1())`` is ``optax.lion``, to the bit.
    - ``lion_k(rate, kappas.nuclear())`` is Muon with weight decay.

    Parameters
    ----------
    learning_rate
        :math:`\eta`, a number or a schedule. With l1 every entry moves by it in a step.
    kappa
        The convex function, of :mod:`theorylab.optim.kappas`; it acts on every leaf by itself.
    b1, b2
        Rates in [0, 1), scalars. Theory asks for b2 > b1.
    weight_decay
        :math:`\lambda \ge 0`, a number or a schedule, multiplied by the learning rate. With 0
        there is no constraint.
    mu_dtype
        Dtype of the momentum. None: that of the parameter.
    mask
        A tree of booleans (or a function of the parameters that returns one): what decays. Leaves
        that do not decay are not constrained.

    Returns
    -------
    optax.GradientTransformationExtraArgs
        ``update`` needs the parameters.

    Raises
    ------
    TypeError, ValueError
        As :func:`scale_by_lion_k`; if weight_decay is negative, or the learning rate is.

    Notes
    -----
    *Two phases.* Whatever the gradients are, the distance of :math:`\lambda x` to the constraint
    is multiplied by at most :math:`1 - \eta\lambda` in every step (phase I: ``kappa.distance``);
    inside, :func:`theorylab.optim.lyapunov` falls, up to terms of order :math:`\eta` (phase II).

    *Limits.* Needs :math:`\eta\lambda < 1`. With a constant rate the iterate ends in a
    neighbourhood of size :math:`O(\eta)`, where subgradients jump (l1, say) by moving to and fro.
    A kappa that is not odd moves along :math:`+\nabla K` of minus the averaged gradient.

    *float32 and half precision.* A step of :math:`\eta` is lost where it is below half a unit of
    rounding of x: from :math:`|x| = 256 \eta` on in bfloat16. Updates are formed as in
    ``optax.lion``.

    References
    ----------
    Chen et al. (2023), "Symbolic discovery of optimization algorithms", arXiv:2302.06675 (Lion);
    Chen, Liu, Liang and Liu (2024), "Lion secretly solves constrained optimization: as Lyapunov
    predicts", arXiv:2310.05898 (Lion-K).

    Examples
    --------
    >>> import jax, jax.numpy as jnp, optax
    >>> from theorylab import optim
    >>> tx = optim.lion_k(0.01, optim.kappas.l1(), weight_decay=2.0)
    >>> x = jnp.array([10.0, -5.0])
    >>> def step(carry, _):
    ...     x, state = carry
    ...     updates, state = tx.update(x - jnp.array([3.0, 0.3]), state, x)  # nearest to (3, 0.3)
    ...     return (optax.apply_updates(x, updates), state), None
    >>> (x, _), _ = jax.lax.scan(step, (x, tx.init(x)), length=2000)
    >>> [round(float(v), 1) for v in x]  # in the box of half-width 1 / 2
    [0.5, 0.3]
    """
    check.not_negative("learning_rate", learning_rate, schedule=True)
    check.not_negative("weight_decay", weight_decay, schedule=True)
    check.weights_mask("mask", mask)
    return optax.chain(
        scale_by_lion_k(kappa, b1, b2, mu_dtype=mu_dtype),
        optax.add_decayed_weights(weight_decay, mask),
        optax.scale_by_learning_rate(learning_rate),
    )
