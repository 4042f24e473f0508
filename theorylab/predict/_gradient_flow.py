"""Gradient flow on the squared loss, in closed form at any time.

Differs from the paper / reference:
  1. Lee et al. (2019) sum the loss over training points; here it is averaged, so time is measured
     in units of n / (learning rate x kernel). n counts training points, not outputs.
  2. ``ridge`` penalises the distance of the parameters from their start, which is what makes the
     limit kernel ridge regression at test and at training points alike.
  3. What is done about rounding is said in ``_spectral``, ``_filters``, ``_digits`` and ``_units``.
"""

from typing import Any, NamedTuple

import jax
from jax.typing import ArrayLike

from theorylab.predict._arguments import times
from theorylab.predict._dynamics import Query, Trained, predict, query, train
from theorylab.predict._results import Prediction


@jax.jit
def _flow(trained: Trained, asked: Query, t: jax.Array) -> Prediction:
    return predict(trained, asked, t.astype(trained.y.dtype), discrete=False)


class GradientFlow(NamedTuple):
    """Predictor made by :func:`gradient_flow`; call it with a time.

    It is a pytree of arrays: it passes through ``jit``, ``vmap`` and ``grad``.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import predict
    >>> flow = predict.gradient_flow(2 * jnp.eye(2), jnp.array([1.0, -1.0]))
    >>> flow(jnp.inf).mean.tolist()
    [1.0, -1.0]
    """

    trained: Trained

    def __call__(
        self,
        t: ArrayLike,
        k_test_train: Any = None,
        k_test_test: Any = None,
        f0_train: ArrayLike | None = None,
        f0_test: ArrayLike | None = None,
    ) -> Prediction:
        """Prediction after time ``t``; see :func:`gradient_flow`."""
        t = times("t", t, whole=False)
        return _flow(
            self.trained, query(self.trained, k_test_train, k_test_test, f0_train, f0_test), t
        )


def gradient_flow(
    k_train: Any, y: ArrayLike, *, learning_rate: Any = 1.0, ridge: Any = 0.0
) -> GradientFlow:
    r"""Train a (linearised) network by gradient flow on the squared loss, in closed form.

    .. math::

        \frac{d f_t}{dt} = -\frac{\eta}{n} \left[ \Theta (f_t - y) + \lambda (f_t - f_0) \right]

    at the n training points, :math:`\lambda` being ``ridge``; with :math:`\lambda = 0` this is
    :math:`-\eta\,\Theta (f_t - y) / n`. It is the flow of the parameters on
    :math:`\tfrac{1}{2n} \|f - y\|^2 + \tfrac{\lambda}{2n} \|\theta - \theta_0\|^2`. At test points

    .. math::

        f_t(*) = f_0(*) + A_t (y - f_0), \qquad
        A_t = \Theta_* (\Theta + \lambda)^{-1}
              \left( I - e^{-\eta (\Theta + \lambda) t / n} \right),

    and at t = infinity kernel ridge regression (for singular kernels, with the pseudo-inverse:
    null directions do not move).

    Parameters
    ----------
    k_train
        (n, n) NTK of the training points, an array; or a pair with fields ``nngp`` and ``ntk``,
        both (n, n), which also gives the covariance of an ensemble of networks. Where only the last
        layer is trained, the NTK is the NNGP: pass pairs that hold it twice.
    y
        Targets, (n,) or (n, ...). Outputs share the kernel; n counts points, not outputs.
    learning_rate
        :math:`\eta > 0`. Time is in units of ``n / (learning_rate * kernel)``.
    ridge
        :math:`\lambda \ge 0`, in the units of the kernel (not relative to its trace).

    Returns
    -------
    GradientFlow
        ``flow(t, k_test_train=None, k_test_test=None, f0_train=None, f0_test=None)``, which returns
        :class:`Prediction` (mean, cov, status, jitter).

        - ``t``: scalar, infinity, or (T,), then a leading axis T of ``mean`` and ``cov``.
        - ``k_test_train``: (m, n) NTK, or a pair. Without it: prediction at the training points.
        - ``k_test_test``: (m, m) NNGP, or a pair, whose ``nngp`` is used.
        - ``f0_train`` (shape of y), ``f0_test`` (m, ...): a given start, both or (at training
          points) the first. Default: networks drawn at random, whose mean start is 0.

        ``cov`` is that of the random start carried along by the dynamics, Lee et al. equation 16;
        it needs pairs for ``k_train`` and ``k_test_train``, and ``k_test_test``. Otherwise, and
        from a given start, about which nothing is random, it is None.

    Raises
    ------
    TypeError
        If an array is of integers or complex numbers.
    ValueError
        If shapes do not fit, a batch is empty, the NTK of a pair is None, a plain number has the
        wrong sign, or a start is incomplete.

    Notes
    -----
    Limits: one kernel for all outputs. Where the kernel has eigenvalues below ``-8 eps`` of its
    largest, ``status`` is ``Status.INDEFINITE``; ``jitter`` is the size of the most negative one
    (set to zero). A kernel that differs from its transpose by more than ``sqrt(eps)`` of its
    largest entry has ``Status.ASYMMETRIC``; the result is that of its symmetric part. Eigenvalues
    below ``8 eps`` of the largest count as null. NaN in, or a time or ridge that turns out negative
    under ``jit``, or a rate that turns out not positive, gives NaN out with ``Status.NONFINITE``; a
    mean that is a difference of huge terms, as where test and training kernels do not belong
    together, or a mean or covariance of which rounding in the kernel leaves less than a third of
    the digits (5e-3 of the largest target or prior variance in float32, 6e-6 in float64), has
    ``Status.ILL_CONDITIONED``: late in training without a ridge that is common on smooth kernels.
    The estimate is of first order and on the safe side; of float32 predictions right to 1e-4 it
    reported 1 in 60. It also reports targets with a part in the null directions, once that could
    have moved, unless the kernel plainly has at most half its full rank: then use a ridge or
    float64. Kernels and targets of any size are computed in units of their own; where the result
    itself leaves the range of the dtype it is 0 or infinite. float32 in, float32 out; float16 and
    bfloat16 are computed in float32. First derivatives with respect to everything, t included;
    second ones not in ``k_train``. Cost: one eigendecomposition here, products only in the call.

    References
    ----------
    Lee et al. (2019), "Wide neural networks of any depth evolve as linear models under gradient
    descent", equations 9 to 11 (dynamics), 15 and 16 (ensemble); Jacot et al. (2018), section 5.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import predict
    >>> k = jnp.array([[2.0, 1.0], [1.0, 2.0]])
    >>> flow = predict.gradient_flow(k, jnp.array([1.0, -1.0]))
    >>> [round(float(v), 4) for v in flow(2.0).mean]  # eigenvalue 1: 1 - exp(-1)
    [0.6321, -0.6321]
    """
    return GradientFlow(train(k_train, y, learning_rate, ridge))
