r"""Which limit an abc-parametrization has: the exponent r, and the dynamical dichotomy.

Write :math:`n^{-m}` for the derivative of the output by a preactivation of the last hidden layer.
The read-out has entries of size :math:`n^{-a-b}` at the start and moves by :math:`n^{-2a-c}` (its
gradient is :math:`n^{-a}` times an activation), so with :math:`L + 1` for the read-out

.. math:: m = \min(a_{L+1} + b_{L+1},\; 2 a_{L+1} + c_{L+1}) .

A step of SGD moves the preactivations of layer l by
:math:`n^{-c_l} n^{-2 a_l} n^{-m} \sum_j x_j x'_j`, where the sum over the inputs of the layer has n
coherent terms, or, in the first layer, as many as the data has. So features move by :math:`n^{-r}`,

.. math:: r = \min_{1 \le l \le L} \left( m + c_l + 2 a_l - 1 + [l = 1] \right) .

With one c for all layers this is the paper's r.

For optimizers whose updates have entries of size 1, times :math:`n^{-c_l}` (Adam, Lion), gradients
do not count: layer l moves by :math:`n^{-a_l - c_l}` times the same sum, the output by
:math:`n^{1 - a_{L+1} - c_{L+1}}`, and

.. math:: r = \min_{1 \le l \le L} \left( a_l + c_l - 1 + [l = 1] \right) .

*Stable*: at the start :math:`a_1 + b_1 = 0`, :math:`a_l + b_l = 1/2` (hidden),
:math:`a_{L+1} + b_{L+1} \ge 1/2`; features do not blow up, :math:`r \ge 0`; nor does the output,
whose changes by the read-out's own step and by the features' under the initial read-out are
:math:`n^{1 - 2a - c}` and :math:`n^{1 - a - b - r}`: :math:`2 a_{L+1} + c_{L+1} \ge 1` (SGD) or
:math:`a_{L+1} + c_{L+1} \ge 1`, and :math:`a_{L+1} + b_{L+1} + r \ge 1`. *Nontrivial*: one of the
last two is an equality. Then either features are learned (r = 0), or training is that of a kernel
(r > 0), never both.

Sources: Yang and Hu (2021), Tensor Programs IV, arXiv:2011.14522 (SGD); Yang and Littwin (2023),
Tensor Programs IVb, arXiv:2308.01814 (the dichotomy for adaptive optimizers).

Differs from the papers:
  1. Rates may differ by layer, which keeps r and the regime under all gauge shifts.
  2. Conditions for adaptive optimizers are derived above, for entries of size 1.
  3. Exponents that differ by less than 1e-9 are equal: 1/3 is no float.
"""

from typing import NamedTuple

from theorylab.parametrization._abc import ABC, layers

OPTIMIZERS = ("sgd", "adam", "sign")
TOL = 1e-9


class Regime(NamedTuple):
    """What kind of limit a parametrization has.

    Parameters
    ----------
    stable
        Neither features nor outputs blow up with the width, at the start and in training.
    nontrivial
        It is stable, and the output moves.
    feature_learning, kernel
        It is stable and nontrivial, and features move (r = 0) or do not (r > 0).
    reasons
        Every condition in words, with its number and whether it holds.
    r
        Features move by width to the power -r.
    """

    stable: bool
    nontrivial: bool
    feature_learning: bool
    kernel: bool
    reasons: tuple[str, ...]
    r: float


def r_exponent(abc: ABC, depth: int, *, optimizer: str = "sgd") -> float:
    r"""The exponent r: in O(1) steps, features of the last hidden layer move by :math:`n^{-r}`.

    .. math:: r = \min_{1 \le l \le L} \left( m + c_l + 2 a_l - 1 + [l = 1] \right), \quad
       m = \min(a_{L+1} + b_{L+1}, 2 a_{L+1} + c_{L+1})

    for SGD; :math:`r = \min_l (a_l + c_l - 1 + [l = 1])` for Adam and Lion.

    Parameters
    ----------
    abc
        The parametrization.
    depth
        Number of hidden layers L, 1 or more.
    optimizer
        ``"sgd"``, ``"adam"`` or ``"sign"``.

    Returns
    -------
    float
        A power of the width; negative where features blow up.

    Raises
    ------
    TypeError, ValueError
        If ``abc`` is no :class:`ABC`, has numbers of exponents that do not go with ``depth``, or
        ``depth`` or ``optimizer`` make no sense.

    Notes
    -----
    Holds for parametrizations whose preactivations are O(1) at the start, a batch and a number of
    steps that do not grow with the width, and generic nonlinear activations.

    References
    ----------
    Yang and Hu (2021), arXiv:2011.14522.

    Examples
    --------
    >>> from theorylab.parametrization import MUP, NTP
    >>> r_exponent(NTP, 2), r_exponent(MUP, 2)
    (0.5, 0.0)
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {OPTIMIZERS}, got {optimizer!r}")
    a, b, c = layers(abc, depth)
    coherent = [0.0] + [1.0] * (len(a) - 2)
    if optimizer == "sgd":
        m = min(a[-1] + b[-1], 2 * a[-1] + c[-1])
        moves = [m + ci + 2 * ai - one for ai, ci, one in zip(a, c, coherent, strict=False)]
    else:
        moves = [ai + ci - one for ai, ci, one in zip(a, c, coherent, strict=False)]
    return min(moves)


def classify(abc: ABC, depth: int, *, optimizer: str = "sgd") -> Regime:
    r"""Stable or not, trivial or not, feature learning or kernel, with reasons.

    Parameters
    ----------
    abc, depth, optimizer
        As in :func:`r_exponent`.

    Returns
    -------
    Regime
        With every condition in ``reasons``.

    Raises
    ------
    TypeError, ValueError
        As :func:`r_exponent`.

    Notes
    -----
    A stable nontrivial parametrization is exactly one of feature learning and kernel (Yang and
    Hu's dynamical dichotomy). The words are about limits of O(1) steps at fixed data.

    References
    ----------
    Yang and Hu (2021), arXiv:2011.14522.

    Examples
    --------
    >>> from theorylab.parametrization import MUP, SP
    >>> classify(MUP, 3).feature_learning, classify(SP, 3).stable
    (True, False)
    >>> print(classify(SP, 3).reasons[3])
    features do not blow up: r = -1, at least 0: no
    """
    r = r_exponent(abc, depth, optimizer=optimizer)
    a, b, c = layers(abc, depth)
    reasons: list[str] = []

    def condition(what: str, value: float, least: float, *, equal: bool = False) -> bool:
        off = value - least
        holds = abs(off) <= TOL if equal else off >= -TOL
        word = "equal to" if equal else "at least"
        said = f"{what} = {value:g}, {word} {least:g}: {'yes' if holds else 'no'}"
        reasons.append(said)
        return holds

    start = "features are O(1) at the start: "
    stable = condition(f"{start}a + b of the input weights", a[0] + b[0], 0, equal=True)
    for ai, bi in sorted(set(zip(a[1:-1], b[1:-1], strict=True))):
        stable &= condition(f"{start}a + b of hidden weights", ai + bi, 0.5, equal=True)
    first = a[-1] + b[-1]
    stable &= condition("the output is O(1) at the start: a + b of the read-out", first, 0.5)
    stable &= condition("features do not blow up: r", r, 0)
    own = (2 if optimizer == "sgd" else 1) * a[-1] + c[-1]
    by = "2a + c" if optimizer == "sgd" else "a + c"
    stable &= condition(f"the output does not blow up: {by} of the read-out", own, 1)
    stable &= condition("the output does not blow up: a + b of the read-out, + r", first + r, 1)
    moves = abs(own - 1) <= TOL or abs(first + r - 1) <= TOL
    reasons.append(f"the output moves: one of the last two is an equality: {_word(moves)}")
    nontrivial = stable and moves
    return Regime(
        stable, nontrivial, nontrivial and r <= TOL, nontrivial and r > TOL, tuple(reasons), r
    )


def _word(holds: bool) -> str:
    return "yes" if holds else "no"
