r"""Largest stable learning rate of full-batch descent on the squared loss.

Heavy-ball momentum steps in an eigendirection with eigenvalue :math:`w` are

.. math::

    e_{s+1} = (1 + m - \eta w / n)\, e_s - m\, e_{s-1},

whose characteristic roots lie inside the unit circle exactly for
:math:`0 < \eta w / n < 2 (1 + m)` (Jury's criterion, with :math:`0 \le m < 1`).

Differs from the paper / reference:
  1. Neural Tangents averages the loss over outputs as well, and adds 1e-12 to the eigenvalue; here
     n counts points, as everywhere in this room, and a zero kernel gives infinity.
  2. Kernels that have no such rate give NaN, a scalar having no status. NEGATIVE = 1/2: eigenvalues
     below ``-eps ** NEGATIVE`` of the largest are taken for real ones. That is wider than the 8 eps
     of ``_spectral``, since the largest eigenvalue does not suffer from small errors in the others.
"""

from typing import Any

import jax
import jax.numpy as jnp

from theorylab.predict._arguments import cast, fraction, ntk_of, scalar, shaped
from theorylab.predict._results import Status, asymmetry
from theorylab.predict._spectral import decompose, largest_eigenvalue

NEGATIVE = 1 / 2


def max_learning_rate(k_train: Any, *, momentum: Any = 0.0, ridge: Any = 0.0) -> jax.Array:
    r"""Largest learning rate at which descent on the squared loss is stable.

    .. math::

        \eta_\text{max} = \frac{2 (1 + m)\, n}{\lambda_\text{max}(\Theta) + \lambda}

    for full-batch steps :math:`f \leftarrow f - \tfrac{\eta}{n} [\Theta (f - y) + \lambda (f -
    f_0)]`, with momentum :math:`v \leftarrow m v - \tfrac{\eta}{n} [\dots]`,
    :math:`f \leftarrow f + v`. Below it descent converges; at it and above it does not.

    Parameters
    ----------
    k_train
        (n, n) NTK of the training points, or a pair, whose ``ntk`` is used.
    momentum
        m in [0, 1): heavy-ball momentum, not Nesterov's.
    ridge
        :math:`\lambda \ge 0`, as in :func:`gradient_steps`, in the units of the kernel.

    Returns
    -------
    jax.Array
        Scalar, in the units of ``learning_rate`` of :func:`gradient_steps`. Infinity for a kernel
        (plus ridge) of zero. NaN where no rate is stable or none can be told: NaN or infinity in
        the kernel, a kernel that is not symmetric beyond rounding (as ``Status.ASYMMETRIC``), or
        with an eigenvalue more negative than ``sqrt(eps)`` of the largest; or a momentum or ridge
        that turns out to be out of range under ``jit``.

    Raises
    ------
    TypeError
        If the kernel is of integers or complex numbers.
    ValueError
        If the kernel is not square or is empty, the NTK of a pair is None, ``momentum`` lies
        outside [0, 1), or ``ridge`` is negative.

    Notes
    -----
    Limits: the squared loss, averaged over points and summed over outputs; a linearised network.
    float32 in, float32 out, right to about ``eps``; float16 and bfloat16 are computed in float32.
    First derivatives everywhere (where the largest eigenvalue is repeated, that along one of its
    eigenvectors); second ones not in ``k_train``. Cost: one eigendecomposition.

    References
    ----------
    Polyak (1964), "Some methods of speeding up the convergence of iteration methods", for the
    method; the bound is derived in the module's docstring.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import predict
    >>> k = jnp.array([[2.0, 1.0], [1.0, 2.0]])  # largest eigenvalue 3
    >>> round(float(predict.max_learning_rate(k)), 4)
    1.3333
    >>> round(float(predict.max_learning_rate(k, momentum=0.5)), 4)
    2.0
    """
    kernel = ntk_of("k_train", k_train)
    n = kernel.shape[0]
    shaped("k_train", kernel, (n, n), "square, one row for each training point")
    m = fraction("momentum", momentum)
    ridge = scalar("ridge", ridge, positive=False)
    return _rate(*(cast(x, kernel.dtype) for x in (kernel, m, ridge)))


@jax.jit
def _rate(kernel: jax.Array, momentum: jax.Array, ridge: jax.Array) -> jax.Array:
    spectrum = decompose(kernel)
    largest = largest_eigenvalue(spectrum)
    slack = jnp.finfo(kernel.dtype).eps ** NEGATIVE * spectrum.values[-1]
    crooked = asymmetry(kernel) != Status.SUCCESS
    sensible = (momentum >= 0) & (momentum < 1) & (ridge >= 0)
    garbage = crooked | ~sensible | ~(spectrum.jitter <= slack)
    rate = 2 * (1 + momentum) * len(kernel) / (largest + ridge)
    return jnp.where(garbage, jnp.nan, rate)
