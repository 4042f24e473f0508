"""Layers that people look for and that have no kernel here: each says why when it is made.

Where layers share weights, limits are known for some architectures (Yang 2019, "Wide feedforward or
recurrent neural networks of any architecture are Gaussian processes"; Alemohammad et al. 2020, "The
recurrent neural tangent kernel"), but they are no recursion over independent layers.

A finite network may contain anything; :func:`theorylab.empirical.monte_carlo` estimates its kernels
from ``init`` and ``apply`` by drawing finite networks.
"""

from typing import Any, NoReturn

_REMEDY = (
    "theorylab.empirical.monte_carlo(init, apply, ...) estimates the kernels of finite networks "
    "of any kind"
)

_RECURRENT = (
    "its steps share their weights, whereas the recursion over layers draws the weights of each "
    "afresh (repeat chains copies with independent weights)"
)


def _refuse(name: str, reason: str) -> NoReturn:
    raise NotImplementedError(f"{name} has no infinite-width kernel here: {reason}. {_REMEDY}.")


def BatchNorm(*args: Any, **options: Any) -> NoReturn:
    """Raise: batch normalisation makes the output at one input depend on all others of its batch.

    Raises
    ------
    NotImplementedError
        Always.

    Examples
    --------
    >>> from theorylab.layers import BatchNorm
    >>> BatchNorm()
    Traceback (most recent call last):
    NotImplementedError: BatchNorm has no infinite-width kernel here: ...
    """
    _refuse(
        "BatchNorm",
        "its output at one input depends on the whole batch, so the kernel is no function of two "
        "inputs (LayerNorm normalises every input by itself, and has one)",
    )


def MaxPool(*args: Any, **options: Any) -> NoReturn:
    """Raise: the maximum over a window has no closed covariance.

    Raises
    ------
    NotImplementedError
        Always.

    Examples
    --------
    >>> from theorylab.layers import MaxPool
    >>> MaxPool()
    Traceback (most recent call last):
    NotImplementedError: MaxPool has no infinite-width kernel here: ...
    """
    _refuse(
        "MaxPool",
        "the covariance of two maxima over windows of correlated Gaussians is an integral of "
        "as many dimensions as both windows have positions (AvgPool and SumPool have one)",
    )


def GlobalMaxPool(*args: Any, **options: Any) -> NoReturn:
    """Raise: the maximum over an image has no closed covariance.

    Raises
    ------
    NotImplementedError
        Always.

    Examples
    --------
    >>> from theorylab.layers import GlobalMaxPool
    >>> GlobalMaxPool()
    Traceback (most recent call last):
    NotImplementedError: GlobalMaxPool has no infinite-width kernel here: ...
    """
    _refuse(
        "GlobalMaxPool",
        "the covariance of two maxima over images of correlated Gaussians is an integral of "
        "as many dimensions as both images have positions (GlobalAvgPool and GlobalSumPool "
        "have one)",
    )


def Softmax(*args: Any, **options: Any) -> NoReturn:
    """Raise: the softmax over finitely many entries has no closed covariance.

    Raises
    ------
    NotImplementedError
        Always.

    Examples
    --------
    >>> from theorylab.layers import Softmax
    >>> Softmax()
    Traceback (most recent call last):
    NotImplementedError: Softmax has no infinite-width kernel here: ...
    """
    _refuse(
        "Softmax",
        "on a finite axis the covariance of ratios of exponentials of correlated Gaussians is an "
        "integral of twice as many dimensions as the axis has entries",
    )


def LogSoftmax(*args: Any, **options: Any) -> NoReturn:
    """Raise: the logarithm of a softmax over finitely many entries has no closed covariance.

    Raises
    ------
    NotImplementedError
        Always.

    Examples
    --------
    >>> from theorylab.layers import LogSoftmax
    >>> LogSoftmax()
    Traceback (most recent call last):
    NotImplementedError: LogSoftmax has no infinite-width kernel here: ...
    """
    _refuse(
        "LogSoftmax",
        "on a finite axis the covariance of logarithms of sums of exponentials of correlated "
        "Gaussians is an integral of twice as many dimensions as the axis has entries",
    )


def RNN(*args: Any, **options: Any) -> NoReturn:
    """Raise: a recurrent network uses the same weights at every step.

    Raises
    ------
    NotImplementedError
        Always.

    Examples
    --------
    >>> from theorylab.layers import RNN
    >>> RNN()
    Traceback (most recent call last):
    NotImplementedError: RNN has no infinite-width kernel here: ...
    """
    _refuse("RNN", _RECURRENT)


def GRU(*args: Any, **options: Any) -> NoReturn:
    """Raise: a recurrent network uses the same weights at every step.

    Raises
    ------
    NotImplementedError
        Always.

    Examples
    --------
    >>> from theorylab.layers import GRU
    >>> GRU()
    Traceback (most recent call last):
    NotImplementedError: GRU has no infinite-width kernel here: ...
    """
    _refuse("GRU", _RECURRENT)


def LSTM(*args: Any, **options: Any) -> NoReturn:
    """Raise: a recurrent network uses the same weights at every step.

    Raises
    ------
    NotImplementedError
        Always.

    Examples
    --------
    >>> from theorylab.layers import LSTM
    >>> LSTM()
    Traceback (most recent call last):
    NotImplementedError: LSTM has no infinite-width kernel here: ...
    """
    _refuse("LSTM", _RECURRENT)


def SharedWeights(*args: Any, **options: Any) -> NoReturn:
    """Raise: layers that use the same weights are not independent given their inputs.

    Raises
    ------
    NotImplementedError
        Always.

    Examples
    --------
    >>> from theorylab.layers import SharedWeights
    >>> SharedWeights()
    Traceback (most recent call last):
    NotImplementedError: SharedWeights has no infinite-width kernel here: ...
    """
    _refuse(
        "SharedWeights",
        "layers that share weights are not independent of each other, whereas the recursion "
        "over layers draws the weights of each afresh (repeat chains copies with independent "
        "weights)",
    )
