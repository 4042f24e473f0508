r"""What SOAP will cost, before it does: memory of the state, operations of a step.

For a matrix m x n with two factors, numbers beside the parameters: :math:`2mn` for the moments and
:math:`2m^2 + 2n^2` for factors and bases. Operations of a step: :math:`2mn(m+n)` each for turning
the gradient in, turning the direction out, and the factors' products. A refresh adds, for each
factor of size d, :math:`2d^3` for the product and what the method takes, and :math:`4mn(m+n)` for
m.

Differs from the paper / reference:
  1. A product of p x q and q x r counts 2pqr operations, also where the result is symmetric.
     Elementwise work is not counted.
  2. Householder QR with its Q formed: :math:`\frac{8}{3} d^3`; symmetric eigenproblem with vectors:
     :math:`9 d^3` (Golub & Van Loan, Matrix Computations, 4th ed., sections 5.2 and 8.3); a pass of
     Cholesky QR: :math:`2d^3 + \frac{1}{3}d^3 + d^3`, of which two are counted, and a last Gram
     matrix.
"""

import math
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import numpy as np

from theorylab._numerics import known
from theorylab.optim._soap_options import Options
from theorylab.optim._soap_plan import Leaf, planned

# Operations over d^3 of the step of a basis, beside the product with the factor.
OF_METHOD = {"qr": Fraction(8, 3), "eigh": Fraction(9), "cholqr": 2 * Fraction(10, 3) + 2}


class SoapMemory(NamedTuple):
    """Bytes of SOAP's state; ``total`` has the counter's 4 as well."""

    mu: int
    nu: int
    factors: int
    bases: int
    total: int


class SoapFlops(NamedTuple):
    """Floating-point operations: a plain step, a refresh alone, and a step on average."""

    step: int
    refresh: int
    average: float


def soap_memory(params: Any, **options: Any) -> SoapMemory:
    """Bytes of the state of :func:`scale_by_soap`.

    Parameters
    ----------
    params
        The parameters: arrays, or ``jax.ShapeDtypeStruct`` where none shall be allocated.
    **options
        Those of :func:`scale_by_soap`.

    Returns
    -------
    SoapMemory
        Exact: the sum of ``nbytes`` of the state's arrays. :func:`soap` has beside it 4 bytes for
        each counter of decay and schedule. Temporary arrays of a step are not counted.

    Raises
    ------
    ValueError, TypeError
        As :func:`scale_by_soap`.

    Notes
    -----
    Source: the algorithm's state, Vyas et al. (2024), arXiv:2409.11321. Holds for every dtype.

    Examples
    --------
    >>> import jax
    >>> from theorylab import optim
    >>> w = jax.ShapeDtypeStruct((1024, 4096), "float32")
    >>> round(optim.soap_memory(w).total / 2**20)
    168
    >>> round(optim.soap_memory(w, one_sided="auto").total / 2**20)
    40
    """
    made = Options(**options)
    plan = planned(params, made.sides, made.precond_dtype)
    sizes = [(math.prod(leaf.shape), leaf.dtype) for leaf in plan.leaves]
    nu = sum(size * dtype.itemsize for size, dtype in sizes)
    mu = nu
    if made.mu_dtype is not None:
        mu = sum(size for size, _ in sizes) * jax.numpy.dtype(made.mu_dtype).itemsize
    factors = sum(s.rows * s.size**2 * s.dtype.itemsize for s in plan.stacks)
    count = np.dtype(np.int32).itemsize
    return SoapMemory(mu, nu, factors, factors, mu + nu + 2 * factors + count)


def soap_flops(params: Any, **options: Any) -> SoapFlops:
    """Floating-point operations of a step of :func:`scale_by_soap`.

    Parameters
    ----------
    params
        The parameters: arrays or ``jax.ShapeDtypeStruct``.
    **options
        Those of :func:`scale_by_soap`; ``precondition_frequency`` a number.

    Returns
    -------
    SoapFlops
        ``step``: turning the gradient in and the direction out, and the factors' products.
        ``refresh``: product with the factors, the method's own, m turned out and in.
        ``average``: step + refresh / precondition_frequency.

    Raises
    ------
    ValueError, TypeError
        As :func:`scale_by_soap`.

    Notes
    -----
    Limits: a count, not a time. LAPACK's QR and eigenproblem run far below the rate of products,
    and elementwise work (all there is for leaves without factors) is not counted. A training step
    of a dense layer m x n on T tokens costs about 6mnT: SOAP adds (m + n) / T of that. Holds for
    every dtype. Source: counts as in the module's docstring, from Vyas et al. (2024),
    arXiv:2409.11321.

    Examples
    --------
    >>> import jax
    >>> from theorylab import optim
    >>> optim.soap_flops(jax.ShapeDtypeStruct((512, 512), "float32")).step == 6 * 2 * 512**3
    True
    """
    made = Options(**options)
    if known(made.precondition_frequency) is None:
        raise ValueError("precondition_frequency must be a number here, got a traced array")
    plan = planned(params, made.sides, made.precond_dtype)
    turning = sum(_turning(leaf) for leaf in plan.leaves)
    own = OF_METHOD[made.refresh] + 2
    refresh = 2 * turning + int(sum(own * s.rows * s.size**3 for s in plan.stacks))
    return SoapFlops(3 * turning, refresh, 3 * turning + refresh / int(made.precondition_frequency))


def _turning(leaf: Leaf) -> int:
    """Operations of the products of a leaf with its bases, which those with itself cost too."""
    kept = [size for size, side in zip(leaf.merged, leaf.sides, strict=True) if side is not None]
    return 2 * math.prod(leaf.merged) * sum(kept)
