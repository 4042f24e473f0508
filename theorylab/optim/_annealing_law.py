r"""A law of the loss along a run, in the two areas of its learning rates.

.. math::

    L(s) = L_0 + A\, S_1(s)^{-\alpha} - C\, S_2(s), \qquad L_0, A, \alpha, C \ge 0.

The second term is what a long run gains, the last what annealing gains. Fitted to the losses of one
or two schedules, the law predicts those of others, whole curves and not ends alone. It is an
empirical law: no theory gives it.

Differs from the paper / reference:
  1. The result says whether its parameters are determined (:class:`Status`).
"""

import enum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from theorylab.optim._annealing import annealing_areas


class Status(enum.IntEnum):
    """Outcome of :func:`theorylab.optim.schedules.fit_annealing_law`; 0 is success.

    Attributes
    ----------
    SUCCESS
        A minimum was found, and all four parameters are determined by the losses.
    STALLED
        No start came to a minimum; the best parameters found are returned.
    UNDETERMINED
        A minimum was found, but others with other parameters are as good: no rate falls, losses
        come from too few steps that differ, or ``A`` is 0.

    Examples
    --------
    >>> from theorylab.optim import schedules
    >>> schedules.Status(2).name
    'UNDETERMINED'
    """

    SUCCESS = 0
    STALLED = 1
    UNDETERMINED = 2


class Curve(NamedTuple):
    """What was measured in one run.

    Attributes
    ----------
    rates
        (steps,): the learning rate of every step.
    steps
        (n,): after how many steps losses were measured, integers from 1 to the number of steps.
    losses
        (n,): the losses, positive.

    Examples
    --------
    >>> import numpy as np
    >>> from theorylab.optim import schedules
    >>> schedules.Curve(np.full(100, 0.1), np.array([50, 100]), np.array([2.0, 1.5])).steps.tolist()
    [50, 100]
    """

    rates: Any
    steps: Any
    losses: Any


class AnnealingLaw(NamedTuple):
    r"""The law :math:`L_0 + A S_1^{-\alpha} - C S_2`, and how well it fits.

    Attributes
    ----------
    L0, A, alpha, C
        Scalars, not negative: :math:`L_0` in units of the loss, A in those times the rate's to the
        power alpha, C in those of the loss over the rate.
    decay, warmup
        What the areas were computed with.
    residual
        Root mean square of :math:`\log L(s_i) - \log L_i`: about the typical relative error.
    status, converged
        A :class:`Status` (int32), and whether it is ``SUCCESS``.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.optim import schedules
    >>> law = schedules.AnnealingLaw(2.0, 1.0, 0.5, 0.0, 0.999, 0, 0.0, 0, True)
    >>> law.predict(jnp.full(4, 0.25)).tolist()[-1]
    3.0
    """

    L0: jax.Array
    A: jax.Array
    alpha: jax.Array
    C: jax.Array
    decay: jax.Array
    warmup: jax.Array
    residual: jax.Array
    status: jax.Array
    converged: jax.Array

    def predict(self, rates: ArrayLike) -> jax.Array:
        """The losses after every step of another schedule.

        Parameters
        ----------
        rates
            (..., steps): the learning rate of each step, the first of them positive.

        Returns
        -------
        jax.Array
            (..., steps): index ``s - 1`` is the loss after s steps. Of the dtype of the rates.

        Raises
        ------
        TypeError, ValueError
            As :func:`annealing_areas` does.

        Notes
        -----
        May be differentiated in the rates and in the law. It knows nothing of rates that are too
        large, and a long annealing may take it below 0.
        """
        s1, s2 = annealing_areas(rates, self.decay, warmup=self.warmup)
        leaves = self.L0, self.A, self.alpha, self.C
        l0, a, alpha, c = (jnp.asarray(leaf, s1.dtype) for leaf in leaves)
        return l0 + a * s1**-alpha - c * s2
