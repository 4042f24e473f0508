"""Gradient descent on the squared loss in discrete steps, in closed form after any number of them.

Differs from the paper / reference:
  1. Lee et al. (2019) give continuous time and take discrete steps numerically. The steps have the
     same closed form with (1 - rate x eigenvalue)^steps in place of the exponential, and it is
     exact.
  2. Everything else as in ``_gradient_flow``.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from theorylab.predict._arguments import times
from theorylab.predict._dynamics import Query, Trained, predict, query, train
from theorylab.predict._results import Prediction, Status, code, first_trouble


@jax.jit
def _steps(trained: Trained, asked: Query, steps: jax.Array) -> Prediction:
    steps = jax.lax.stop_gradient(steps).astype(trained.y.dtype)
    mean, cov, status, jitter = predict(trained, asked, steps, discrete=True)
    fastest = trained.rate * (trained.spectrum.values[-1] + trained.ridge)
    diverges = code(jnp.any(jnp.isinf(steps)) & (fastest >= 2), Status.DIVERGES)
    return Prediction(mean, cov, first_trouble(diverges, status), jitter)


class GradientSteps(NamedTuple):
    """Predictor made by :func:`gradient_steps`; call it with a number of steps.

    It is a pytree of arrays: it passes through ``jit``, ``vmap`` and ``grad``.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import predict
    >>> steps = predict.gradient_steps(2 * jnp.eye(2), jnp.array([1.0, -1.0]), learning_rate=0.5)
    >>> steps(1).mean.tolist()
    [0.5, -0.5]
    """

    trained: Trained

    def __call__(
        self,
        steps: ArrayLike,
        k_test_train: Any = None,
        k_test_test: Any = None,
        f0_train: ArrayLike | None = None,
        f0_test: ArrayLike | None = None,
    ) -> Prediction:
        """Prediction after ``steps`` steps; see :func:`gradient_steps`."""
        steps = times("steps", steps, whole=True)
        asked = query(self.trained, k_test_train, k_test_test, f0_train, f0_test)
        return _steps(self.trained, asked, steps)


def gradient_steps(
    k_train: Any, y: ArrayLike, *, learning_rate: Any, ridge: Any = 0.0
) -> GradientSteps:
    r"""Train a (linearised) network by full-batch gradient descent, in closed form.

    .. math::

        f_{s+1} = f_s - \frac{\eta}{n} \left[ \Theta (f_s - y) + \lambda (f_s - f_0) \right]

    at the n training points: descent with the learning rate :math:`\eta` on the parameters' loss
    :math:`\tfrac{1}{2n} \|f - y\|^2 + \tfrac{\lambda}{2n} \|\theta - \theta_0\|^2`. At test points

    .. math::

        f_s(*) = f_0(*) + A_s (y - f_0), \qquad
        A_s = \Theta_* (\Theta + \lambda)^{-1}
              \left( I - (I - \eta (\Theta + \lambda) / n)^s \right).

    Parameters
    ----------
    k_train
        (n, n) NTK of the training points, an array; or a pair with fields ``nngp`` and ``ntk``.
    y
        Targets, (n,) or (n, ...). Outputs share the kernel; n counts points, not outputs.
    learning_rate
        :math:`\eta > 0`. Descent converges when ``learning_rate * (largest eigenvalue + ridge) /
        n`` is below 2.
    ridge
        :math:`\lambda \ge 0`, in the units of the kernel.

    Returns
    -------
    GradientSteps
        ``predictor(steps, k_test_train=None, k_test_test=None, f0_train=None, f0_test=None)``,
        which returns :class:`Prediction`. ``steps`` is a whole number, infinity, or a vector of
        them (a leading axis of the results); all else as for :func:`gradient_flow`.

    Raises
    ------
    TypeError
        If an array is of integers or complex numbers.
    ValueError
        As for :func:`gradient_flow`, and for a number of steps that is not whole.

    Notes
    -----
    Limits: after finitely many steps the result is exact also where descent diverges; after
    infinitely many it is then NaN with ``Status.DIVERGES``. In float32, counts above 2^24 are
    rounded. Eigenvalues, NaN, dtypes and derivatives as for :func:`gradient_flow` (none in
    ``steps``).

    References
    ----------
    Lee et al. (2019), section 2.2, in discrete steps; the derivation is the geometric sum
    :math:`\sum_{j<s} (1 - cw)^j = (1 - (1 - cw)^s) / (cw)` in each eigendirection.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import predict
    >>> k = jnp.array([[2.0, 1.0], [1.0, 2.0]])
    >>> steps = predict.gradient_steps(k, jnp.array([1.0, -1.0]), learning_rate=1.0)
    >>> [round(float(v), 4) for v in steps([0, 1, 2]).mean[:, 0]]  # eigenvalue 1, rate 1/2
    [0.0, 0.5, 0.75]
    """
    return GradientSteps(train(k_train, y, learning_rate, ridge))
