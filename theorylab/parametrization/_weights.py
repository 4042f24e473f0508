r"""Weights by their scales: how they begin, and what the network is given in their place."""

import warnings
from typing import Any

import numpy as np

from theorylab._numerics import known
from theorylab.parametrization._leaves import map_leaves, scaled
from theorylab.parametrization._scales import LeafScale


def rescale_init(params: Any, scales: Any, *, zero_readout: bool = False) -> Any:
    r"""Initial weights as the parametrization wants them: each leaf times its ``init_std``.

    Parameters
    ----------
    params
        Freshly drawn by the model's own initializers, as a tree of arrays.
    scales
        Tree of :class:`LeafScale`, of :func:`leaf_scales`.
    zero_readout
        Begin with output weights of zero: outputs are then 0 at every width from the start, where
        else they shrink by :math:`n^{-1/2}`.

    Returns
    -------
    tree
        As ``params``, dtypes kept. Leaves whose factor is 1 are the same objects.

    Raises
    ------
    ValueError
        If a leaf has no scale, or one for another shape.

    Warns
    -----
    UserWarning
        If all entries of a leaf are the same nonzero number and its effective value would change:
        gains are constants and do not depend on the width. Not under ``jit``.

    Notes
    -----
    A pure function of what was drawn; calling it twice scales twice. Every dtype.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> rescale_init({"w": jnp.arange(2.0)}, {"w": LeafScale(init_std=0.5, shape=(2,))})
    {'w': Array([0. , 0.5], dtype=float32)}
    """

    def leaf(x: Any, scale: LeafScale, name: str) -> Any:
        if zero_readout and scale.kind == "output":
            return x * 0
        if scale.init_std != 1 and abs(scale.init_std * scale.multiplier - 1) > 1e-6:
            _warn_if_constant(x, scale, name)
        return scaled(x, scale.init_std)

    return map_leaves("rescale_init", params, scales, leaf)


def _warn_if_constant(x: Any, scale: LeafScale, name: str) -> None:
    """Say that a gain is about to be changed."""
    values = known(x)
    if values is None or values.size < 2 or np.ptp(values) or not values.flat[0]:
        return
    warnings.warn(
        f"all entries of {name!r} are {values.flat[0]}, and it is multiplied by "
        f"{scale.init_std:g}: a gain must not be; name it 'scale', or give a Rule",
        UserWarning,
        stacklevel=4,
    )


def apply_multipliers(params: Any, scales: Any) -> Any:
    r"""Effective weights :math:`W = M w`, to be given to any ``apply`` in the place of w.

    Derivatives with respect to w come right by themselves, since this is a part of the forward
    pass: ``loss(apply(apply_multipliers(params, scales), x), y)``.

    Parameters
    ----------
    params
        Tree of arrays.
    scales
        Tree of :class:`LeafScale`, of :func:`leaf_scales`.

    Returns
    -------
    tree
        As ``params``, dtypes kept. Leaves whose multiplier is 1 are the same objects.

    Raises
    ------
    ValueError
        If a leaf has no scale, or one for another shape.

    Notes
    -----
    Works under ``jit``, ``grad`` and ``shard_map``; under ``vmap`` leaves have the shapes that
    they have inside. Every dtype.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> apply_multipliers({"w": jnp.ones(2)}, {"w": LeafScale(multiplier=0.25, shape=(2,))})
    {'w': Array([0.25, 0.25], dtype=float32)}
    """
    return map_leaves(
        "apply_multipliers", params, scales, lambda x, scale, _: scaled(x, scale.multiplier)
    )
