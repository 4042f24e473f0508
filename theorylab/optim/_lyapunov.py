r"""What Lion-K minimises, and what falls along its path.

With :math:`F(x) = f(x) + K^*(\lambda x) / \lambda` and the gap of Fenchel and Young, which is not
negative, :math:`D(x, m) = K^*(\lambda x) + K(m) - \lambda \langle x, m \rangle`, let

.. math::

    H(x, m) = F(x) + c\, D(x, m) .

**The flow.** Let :math:`x' = v`, :math:`v = \nabla K(u) - \lambda x`, and
:math:`m' = -(1 - b_2)(g + m)`, with :math:`u = b_1 m - (1 - b_1) g` and :math:`g = \nabla f(x)`.
With :math:`\bar m \in \partial K^*(\lambda x)` the chain rule gives

.. math::

    H' = \langle v,\; g + (1 + c\lambda) \bar m - c \lambda m \rangle
         + c \langle \nabla K(m) - \lambda x, m' \rangle .

Put :math:`\nabla K(m) - \lambda x = v - (\nabla K(u) - \nabla K(m))` into the last term. What
multiplies v, besides :math:`\bar m`, is :math:`-(1 + c\lambda) u` if coefficients of g and of m
agree, and both ask for the same c:

.. math::

    c = \frac{b_1}{\lambda (1 - b_1) + 1 - b_2}, \qquad
    H' = -(1 + c\lambda) \langle v, u - \bar m \rangle
         - c \langle \nabla K(u) - \nabla K(m), m' \rangle .

:math:`m' = (1 - b_2) / (1 - b_1)\, (u - m)`, and v is the difference of the subgradients at u and
at :math:`\bar m`, so that both terms are :math:`\le 0` by monotony.

**The step.** :math:`x^+ = x + \eta (\nabla K(u) - \lambda x)` with
:math:`m^+ = b_2 m - (1 - b_2) g` is the implicit step :math:`x^+ = x + \epsilon v^+`,
:math:`v^+ = \nabla K(u) - \lambda x^+`, of size :math:`\epsilon = \eta / (1 - \eta\lambda)`. For f
with an L-Lipschitz gradient, and by convexity of K and :math:`K^*`, the same algebra gives

.. math::

    c = \frac{\epsilon b_1}{\epsilon\lambda (1 - b_1) + 1 - b_2}, \quad
    H^+ - H \le - \epsilon (1 + c\lambda) \langle v^+, u - \bar m^+ \rangle
            - c \langle \nabla K(u) - \nabla K(m^+), m^+ - m \rangle
            + \tfrac L2 \|x^+ - x\|^2 ,

:math:`\bar m^+ \in \partial K^*(\lambda x^+)`. Since
:math:`m^+ - m = (1 - b_2)/(b_2 - b_1)\, (u - m^+)`, the second term is :math:`\le 0` for
:math:`b_2 \ge b_1`.

Without decay (:math:`\lambda = 0`) F is f, :math:`H = f + c K(m)`, and :math:`\bar m` is 0.

Differs from the paper / reference:
  1. Chen, Liu, Liang and Liu (2024) have three constants of the flow, :math:`\alpha, \gamma` and
     :math:`\epsilon'`; here :math:`\alpha = \gamma = 1 - b_2`,
     :math:`\epsilon' = (1 - b_1) / (1 - b_2)`, that is time in units in which b1 and b2 are what
     Euler's step of size 1 has, and H is divided by :math:`\alpha`. Then the flow's c is the step's
     with :math:`\epsilon = 1`.
  2. Differences of momenta stand for the quotients by :math:`b_2 - b_1`: b2 = b1 is no exception.
"""

import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from theorylab.optim import _arguments as check
from theorylab.optim._kappa import Kappa, checked_kappa
from theorylab.optim._objective import checked_decay, times, total


class Lyapunov(NamedTuple):
    """What falls along the path of Lion-K, at one point of it.

    Attributes
    ----------
    H
        The Lyapunov function, a scalar in units of f; inf where x violates the constraint.
    F
        What is minimised, a scalar.
    dissipation
        What H loses from here, a scalar: per unit of time along the flow, or at least, in the step
        that begins here.
    """

    H: Array
    F: Array
    dissipation: Array


def lyapunov(
    f: Callable[[Any], Array],
    kappa: Kappa,
    *,
    b1: ArrayLike,
    b2: ArrayLike,
    weight_decay: ArrayLike,
    learning_rate: ArrayLike | None = None,
    smoothness: ArrayLike | None = None,
) -> Callable[[Any, Any], Lyapunov]:
    r"""The Lyapunov function of Lion-K and its dissipation, along the flow or a run.

    .. math::

        F(x) = f(x) + \tfrac{1}{\lambda} K^*(\lambda x), \qquad
        H(x, m) = F(x) + c\, [K^*(\lambda x) + K(m) - \lambda \langle x, m \rangle] .

    *Without a learning rate, the flow* :math:`x' = \nabla K(u) - \lambda x`,
    :math:`m' = -(1 - b_2)(\nabla f(x) + m)`, :math:`u = b_1 m - (1 - b_1) \nabla f(x)`, with
    :math:`c = b_1 / (\lambda (1 - b_1) + 1 - b_2)`: then :math:`dH/dt` is minus ``dissipation``.

    *With one, the step of* :func:`lion_k`, :math:`x^+ = x + \eta (\nabla K(u) - \lambda x)`, with
    :math:`\epsilon = \eta / (1 - \eta\lambda)` and
    :math:`c = \epsilon b_1 / (\epsilon\lambda (1 - b_1) + 1 - b_2)`. For f with an L-Lipschitz
    gradient

    .. math::

        H(x^+, m^+) - H(x, m) \le -\text{dissipation} + \tfrac L2 \|x^+ - x\|^2 ,

    and with ``smoothness=L`` the last term is taken off the dissipation, so that H falls by it at
    least.

    Parameters
    ----------
    f
        x -> a scalar, differentiable, for an array or a tree x.
    kappa
        The convex function, of :mod:`theorylab.optim.kappas`.
    b1, b2
        Rates of the moving averages in [0, 1). Theory asks for b2 >= b1 in steps.
    weight_decay
        :math:`\lambda \ge 0`. With the number 0 there is no constraint, F is f and
        :math:`H = f + c K(m)`; an array must hold a positive number.
    learning_rate
        :math:`\eta` of a run, with :math:`\eta\lambda < 1`. None: the flow.
    smoothness
        L, in steps only. None: the term is left out.

    Returns
    -------
    (x, m) -> Lyapunov
        m is the momentum with the sign of the equations, minus that of optax:
        ``jax.tree.map(jnp.negative, state.mu)``. H and F are inf while x violates the constraint
        (phase I), and the dissipation means nothing there.

    Raises
    ------
    TypeError, ValueError
        If f is not a function, kappa not a Kappa, a rate outside of [0, 1), the decay negative,
        :math:`\eta\lambda \ge 1`, smoothness negative or given without a learning rate; in the
        call, if m does not fit x.

    Notes
    -----
    Both parts of the dissipation are :math:`\ge 0`, with one exception: for ``logsumexp`` without
    decay the inequality holds, but 0 does not minimise K. Every leaf is taken to decay at the rate
    given. The gradient is that of f itself: with gradients of minibatches H may rise. In float32
    differences of H below 1e-7 of it are rounding; count violations in float64.

    References
    ----------
    Chen, Liu, Liang and Liu (2024), "Lion secretly solves constrained optimization: as Lyapunov
    predicts", arXiv:2310.05898; constants as derived in the module's docstring.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import optim
    >>> f = lambda x: jnp.sum(jnp.cos(3 * x) + x**2)
    >>> kappa, rates = optim.kappas.l1(), dict(b1=0.9, b2=0.99, weight_decay=1.0)
    >>> at = optim.lyapunov(f, kappa, **rates, learning_rate=0.01, smoothness=11.0)
    >>> tx = optim.lion_k(0.01, kappa, **rates)
    >>> x = jnp.array([0.9, -0.2])
    >>> state = tx.init(x)
    >>> before = at(x, -state[0].mu)
    >>> updates, state = tx.update(jax.grad(f)(x), state, x)
    >>> bool(at(x + updates, -state[0].mu).H <= before.H - before.dissipation)
    True
    """
    kappa = checked_kappa(kappa)
    decay = checked_decay(f, weight_decay)
    check.decay_rate("b1", b1)
    check.decay_rate("b2", b2)
    _check_step(learning_rate, weight_decay, smoothness)
    lam: Any = 0.0 if decay is None else decay
    # The flow has the constant of the step with epsilon = 1.
    epsilon: Any = 1.0 if learning_rate is None else learning_rate / (1 - learning_rate * lam)
    c: Any = epsilon * b1 / (epsilon * lam * (1 - b1) + (1 - b2))

    def at(x: Any, m: Any) -> Lyapunov:
        check.floating_leaves("x", x)
        check.same_tree("m", m, "x", x)
        value, g = jax.value_and_grad(f)(x)
        bound = 0.0 if decay is None else total(kappa.conjugate, times(lam, x))
        F = value if decay is None else value + bound / lam
        H = F + c * (bound + total(kappa.value, m) - lam * _inner(x, m))
        return Lyapunov(H, F, dissipation(x, m, g))

    def dissipation(x: Any, m: Any, g: Any) -> Array:
        u = jax.tree.map(lambda m, g: b1 * m - (1 - b1) * g, m, g)
        along = jax.tree.map(kappa.grad, u)
        moved = jax.tree.map(lambda m, g: -(1 - b2) * (g + m), m, g)  # m', or m+ - m
        if learning_rate is None:
            ahead, twin = x, m
        else:
            ahead = jax.tree.map(lambda x, k: x + learning_rate * (k - lam * x), x, along)
            twin = jax.tree.map(jnp.add, m, moved)
        v = jax.tree.map(lambda k, x: k - lam * x, along, ahead)
        bar = jax.tree.map(
            jnp.zeros_like if decay is None else kappa.conjugate_grad, times(lam, ahead)
        )
        beyond = jax.tree.map(jnp.subtract, u, bar)
        bent = jax.tree.map(lambda k, t: k - kappa.grad(t), along, twin)
        lost = epsilon * (1 + c * lam) * _inner(v, beyond) + c * _inner(bent, moved)
        if smoothness is not None:
            lost = lost - smoothness / 2 * epsilon**2 * _inner(v, v)
        return lost

    return at


def _check_step(learning_rate: Any, decay: Any, smoothness: Any) -> None:
    """What concerns steps: a rate that is short enough, and L only with a rate."""
    if smoothness is not None:
        check.not_negative("smoothness", smoothness)
        if learning_rate is None:
            raise ValueError("smoothness needs a learning_rate: the flow has no such term")
    if learning_rate is None:
        return
    check.not_negative("learning_rate", learning_rate)
    known = isinstance(learning_rate, numbers.Real) and isinstance(decay, numbers.Real)
    if known and float(learning_rate) * float(decay) >= 1:
        raise ValueError(
            f"learning_rate times weight_decay must be below 1, got {learning_rate!r} and {decay!r}"
        )


def _inner(first: Any, second: Any) -> Any:
    return sum(jax.tree.leaves(jax.tree.map(lambda a, b: jnp.sum(a * b), first, second)))
