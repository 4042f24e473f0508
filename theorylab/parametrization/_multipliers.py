r"""Two numbers that a model multiplies by where its own code is written for muP."""

import math


def attention_scale(head: int, base_head: int) -> float:
    r"""What attention logits :math:`\langle q, k \rangle` are multiplied by.

    .. math:: \frac{\sqrt{h_0}}{h}

    so that it is the usual :math:`h^{-1/2}` for heads of the base's length :math:`h_0`.

    Parameters
    ----------
    head, base_head
        Lengths of a head in this model and in the base model.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For lengths below 1.

    Notes
    -----
    :func:`leaf_scales` does this for flax's and equinox's attention, whose logits are divided by
    :math:`h^{1/2}`, by a multiplier of the query; use one of the two.

    References
    ----------
    Yang et al. (2022), arXiv:2203.03466.

    Examples
    --------
    >>> attention_scale(64, 16)
    0.0625
    """
    for name, value in (("head", head), ("base_head", base_head)):
        if not value >= 1:
            raise ValueError(f"{name} must be at least 1, got {value!r}")
    return math.sqrt(base_head) / head


def residual_multiplier(depth_ratio: float, depth_alpha: float) -> float:
    r"""What residual branches are multiplied by, :math:`x + N^{-\alpha} f(x)`.

    Parameters
    ----------
    depth_ratio
        How many times more branches this model has than the base model, N.
    depth_alpha
        0, 1/2 or 1; see :func:`leaf_scales`, which has the rates that go with it.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        For ratios that are not positive and finite, and other exponents.

    References
    ----------
    Yang et al. (2023), Tensor Programs VI, arXiv:2310.02244 (1/2); Dey et al. (2025),
    arXiv:2505.01618 (1).

    Examples
    --------
    >>> residual_multiplier(4, 0.5)
    0.5
    """
    if not (math.isfinite(depth_ratio) and depth_ratio > 0):
        raise ValueError(f"depth_ratio must be finite and positive, got {depth_ratio!r}")
    if isinstance(depth_alpha, bool) or depth_alpha not in (0, 0.5, 1):
        raise ValueError(f"depth_alpha must be 0, 0.5 or 1, got {depth_alpha!r}")
    return float(depth_ratio**-depth_alpha)
