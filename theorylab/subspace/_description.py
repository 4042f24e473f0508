r"""Description length: what a network and the labels that it does not predict cost, in bits.

A receiver who has the inputs is sent the labels, either as they are,

.. math:: n \hat H = - \sum_c n_c \log_2 \frac{n_c}{n} ,

or as a model and what is left to say when the model is known (a two-part code),

.. math:: L = L(\text{model}) - \sum_i \log_2 p(y_i | x_i) .

A model that has found a rule in the labels makes the second shorter. Labels without a rule, drawn
evenly from C classes, come out k bits below :math:`n \log_2 C` with probability at most
:math:`2^{-k}`, whatever the model (Kraft's inequality).

Differs from the paper / reference:
  1. Li et al. compare models by L(model) alone, one seed and d floats, where all fit the data
     equally well. The second part makes models comparable that do not.
  2. Labels alone are charged without their frequencies (which a real code would send, or learn, for
     about :math:`\tfrac{C-1}{2} \log_2 n` bits): the comparison leans against the model.
  3. Where only the predicted class is known, the code names how many predictions are wrong, which,
     and by which of the other classes to replace each.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike


class DescriptionLength(NamedTuple):
    """Bits of labels sent through a model; of `description_length`. Floats.

    Attributes
    ----------
    model
        Bits of the model, as given.
    residual
        Bits of the labels, once the model is known.
    total
        Their sum.
    per_label
        The sum for each label.
    labels_alone
        Bits of the labels without a model.

    Examples
    --------
    >>> from theorylab import subspace
    >>> subspace.DescriptionLength._fields
    ('model', 'residual', 'total', 'per_label', 'labels_alone')
    """

    model: float
    residual: float
    total: float
    per_label: float
    labels_alone: float


def solution_bits(d: int, *, float_bits: int = 32, seed_bits: int = 64) -> int:
    """Bits of a solution as it comes out of training in a random subspace: a seed and d floats.

    Parameters
    ----------
    d
        Dimension, >= 1.
    float_bits, seed_bits
        Bits of a coordinate, and of the key.

    Returns
    -------
    int
        ``seed_bits + d * float_bits``. :func:`compressed_bits` is a much shorter code.

    Raises
    ------
    ValueError
        For numbers that are not whole, or too small.

    References
    ----------
    Li, Farkhoor, Liu & Yosinski (2018), on minimum description length.

    Examples
    --------
    >>> from theorylab import subspace
    >>> 32 * 199_210 / subspace.solution_bits(750) > 260  # a network on MNIST, and its d_int90
    True
    """
    for name, value, least in (
        ("d", d, 1),
        ("float_bits", float_bits, 1),
        ("seed_bits", seed_bits, 0),
    ):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
            raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")
    return int(seed_bits) + int(d) * int(float_bits)


def description_length(bits: float, labels: ArrayLike, predictions: ArrayLike) -> DescriptionLength:
    r"""Bits of labels when a model's predictions are known, and what the model itself costs.

    .. math:: L = b - \sum_i \log_2 p(y_i | x_i)

    or, of predicted classes of which e among n are wrong, among C classes,

    .. math:: L = b + \log_2 (n + 1) + \log_2 \binom{n}{e} + e \log_2 (C - 1) .

    Parameters
    ----------
    bits
        Bits b >= 0 of the model: :func:`compressed_bits` or :func:`solution_bits`.
    labels
        (n,) integers in 0 .. C - 1.
    predictions
        (n, C) logits, from which p is the softmax; or (n,) predicted classes, integers, where C is
        one more than the largest label or prediction.

    Returns
    -------
    DescriptionLength
        ``model``, ``residual``, ``total``, ``per_label`` and ``labels_alone``: the model is worth
        its bits where ``total < labels_alone``.

    Raises
    ------
    ValueError
        For shapes and dtypes that do not fit, labels out of range, logits that are not finite.

    Notes
    -----
    NumPy on the host, in float64; not to be traced. Use the labels that were trained on: it is the
    model's cost that stands against fitting them by heart. Logits that are too sure of themselves
    pay for it.

    References
    ----------
    Li, Farkhoor, Liu & Yosinski (2018), on minimum description length; Rissanen (1978) for
    two-part codes.

    Examples
    --------
    >>> import numpy as np
    >>> from theorylab import subspace
    >>> labels = np.arange(1000) % 10
    >>> wrong_once = np.where(np.arange(1000) == 7, 3, labels)
    >>> found = subspace.description_length(2000, labels, wrong_once)
    >>> [round(x, 1) for x in found]  # each label alone: log2(10) = 3.32 bits
    [2000.0, 23.1, 2023.1, 2.0, 3321.9]
    """
    y, given = np.asarray(labels), np.asarray(predictions)
    if y.ndim != 1 or not y.size or y.dtype.kind not in "iu" or y.min() < 0:
        raise ValueError(f"labels must be (n,) integers >= 0, got {y.dtype}, shape {y.shape}")
    if not bits >= 0:
        raise ValueError(f"bits must be >= 0, got {bits!r}")
    n = len(y)
    if given.shape == (n,) and given.dtype.kind in "iu":
        residual = _classes(y, given)
    elif given.ndim == 2 and len(given) == n and jnp.issubdtype(given.dtype, jnp.floating):
        residual = _softmax(y, given.astype(np.float64))
    else:
        raise ValueError(
            f"predictions must be ({n}, C) floating logits or ({n},) integer classes, "
            f"got {given.dtype}, shape {given.shape}"
        )
    share = np.bincount(y) / n
    share = share[share > 0]
    alone = float(-n * np.sum(share * np.log2(share)))
    total = float(bits) + residual
    return DescriptionLength(float(bits), residual, total, total / n, abs(alone))


def _classes(y: np.ndarray, predicted: np.ndarray) -> float:
    """Bits to correct predicted classes."""
    if predicted.min() < 0:
        raise ValueError(f"predictions must be classes >= 0, got {predicted.min()}")
    n, wrong = len(y), int(np.sum(y != predicted))
    others = int(max(y.max(), predicted.max()))  # C - 1
    which = math.lgamma(n + 1) - math.lgamma(wrong + 1) - math.lgamma(n - wrong + 1)
    return math.log2(n + 1) + which / math.log(2) + (wrong * math.log2(others) if wrong else 0.0)


def _softmax(y: np.ndarray, logits: np.ndarray) -> float:
    """Bits of labels under the softmax of logits."""
    if y.max() >= logits.shape[1]:
        raise ValueError(f"labels must be below {logits.shape[1]}, got {y.max()}")
    if not np.all(np.isfinite(logits)):
        raise ValueError("predictions must be finite logits")
    shifted = logits - logits.max(1, keepdims=True)
    nats: Any = np.log(np.sum(np.exp(shifted), 1)) - shifted[np.arange(len(y)), y]
    return float(np.sum(nats) / np.log(2))
