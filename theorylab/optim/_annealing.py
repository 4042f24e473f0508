r"""The two areas of a learning-rate curve: how far a run went, and how much it was annealed.

With rates :math:`\eta_1, \dots, \eta_s` of the steps so far,

.. math::

    S_1 = \sum_{i \le s} \eta_i, \qquad S_2 = \sum_{i \le s} M_i, \qquad
    M_i = \lambda M_{i-1} + (\eta_{i-1} - \eta_i), \quad M_1 = 0.

:math:`S_2` is what has been taken from the rate, each piece counted at every later step with a
weight that fades as :math:`\lambda^k`. Summing the recursion gives
:math:`(1 - \lambda) S_2 = \eta_1 - \eta_s - \lambda M_s`.

Differs from the paper / reference:
  1. Warm-up is an argument. The authors' fits count its steps at the peak rate; so does ``warmup``,
     the number of steps to count at the rate of the step that follows them.
  2. ``decay`` = 0.999 is the paper's lambda.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from theorylab.optim._schedule_arguments import number, recorded, scalar, whole


def annealing_areas(
    rates: ArrayLike, decay: ArrayLike = 0.999, *, warmup: ArrayLike = 0
) -> tuple[jax.Array, jax.Array]:
    r"""The area under a curve of learning rates, and its annealing area, after every step.

    .. math::

        S_1(s) = \sum_{i=1}^s \eta_i, \qquad
        S_2(s) = \sum_{i=2}^s \sum_{k=2}^i (\eta_{k-1} - \eta_k)\, \lambda^{i-k}.

    Parameters
    ----------
    rates
        (..., steps): the learning rate of each step, 0 or more. Of an optax schedule:
        ``jax.vmap(schedule)(jnp.arange(steps))``.
    decay
        :math:`\lambda` in [0, 1], the memory of :math:`S_2`: about :math:`1/(1-\lambda)` steps.
    warmup
        Number of steps at the start whose rates are replaced by that of the step behind them.

    Returns
    -------
    (S1, S2)
        (..., steps) each, in the units of the rates: index ``s - 1`` holds the areas after s steps.
        Before any step both are 0, which is not among them.

    Raises
    ------
    TypeError
        If ``rates`` is no floating-point array, ``decay`` no number or ``warmup`` no integer.
    ValueError
        If ``rates`` holds no step, or a value that is negative or not finite (where values are
        known); if ``decay`` is outside [0, 1], or ``warmup`` outside 0 .. steps - 1.

    Notes
    -----
    Limits: a rate that rises again makes :math:`S_2` smaller, and perhaps negative. ``decay`` and
    ``warmup`` may be traced, and are then not checked. Linear in the rates and differentiable.
    float32 in, float32 out; half precision is computed in float32. Sums over n steps have a
    relative error of about 1e-7 times the square root of n there. Compiled here, once for each
    shape.

    References
    ----------
    Tissue, Wang & Wang (2024), "Scaling law with learning rate annealing", arXiv:2408.11029.

    Examples
    --------
    >>> import numpy as np
    >>> from theorylab.optim import schedules
    >>> s1, s2 = schedules.annealing_areas(np.array([2.0, 2.0, 1.0, 1.0]), 0.5)
    >>> s1.tolist(), s2.tolist()
    ([2.0, 4.0, 5.0, 6.0], [0.0, 0.0, 1.0, 1.5])
    """
    checked = recorded("rates", rates, least=1, positive=False, batch=True)
    memory, steps = scalar("decay", decay), scalar("warmup", warmup)
    if memory is not None:
        number("decay", memory, 0, 1)
    if steps is not None:
        whole("warmup", steps, checked.shape[-1])
    return areas(checked, decay, warmup)


@jax.jit
def areas(rates: Any, decay: Any, warmup: Any) -> tuple[jax.Array, jax.Array]:
    """Both areas of checked rates."""
    rates = jnp.asarray(rates)
    decay = jnp.asarray(decay, rates.dtype)
    first = jnp.take(rates, warmup, axis=-1)[..., None]
    rates = jnp.where(jnp.arange(rates.shape[-1]) < warmup, first, rates)
    falls = -jnp.diff(rates, axis=-1, prepend=rates[..., :1])

    def step(carry: Any, fall: jax.Array) -> tuple[Any, jax.Array]:
        memory, area = carry
        memory = decay * memory + fall
        return (memory, area + memory), area + memory

    zero = jnp.zeros_like(rates[..., 0])
    _, s2 = jax.lax.scan(step, (zero, zero), jnp.moveaxis(falls, -1, 0))
    return jnp.cumsum(rates, axis=-1), jnp.moveaxis(s2, 0, -1)
