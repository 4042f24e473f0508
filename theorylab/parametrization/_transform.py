r"""Scales as optax transformations: of updates, and of gradients on their way in."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import optax

from theorylab._numerics import known
from theorylab.parametrization._leaves import map_leaves, scaled

DECAYS = ("scaled", "independent")


def scale_by_parametrization(
    scales: Any,
    decay: Literal["scaled", "independent"] = "scaled",
    *,
    weight_decay: Any = 0.0,
) -> optax.GradientTransformationExtraArgs:
    r"""Multiply every leaf's update by its rate, :math:`u \mapsto r u`.

    Chained last, any optimizer becomes muP's: ``optax.chain(optax.adam(1e-3),
    scale_by_parametrization(scales))``. What the optimizer has put into its updates, such as the
    decay of ``optax.adamw``, is scaled along: with :math:`\lambda` its coefficient,

    .. math::

        \Delta w = -\eta r (d + \lambda w) \text{ ("scaled")}, \qquad
        \Delta w = -\eta (r d + \lambda w) \text{ ("independent")} .

    For the second, chain it before the decay, where updates are directions d only::

        optax.chain(optax.scale_by_adam(),
                    scale_by_parametrization(scales, "independent", weight_decay=1e-4),
                    optax.scale_by_learning_rate(1e-3))

    which is the same as ``scale_by_parametrization(scales)`` followed by
    ``optax.add_decayed_weights(1e-4)``. Chained last behind ``adamw`` it cannot tell the decay
    from the direction, and scales both.

    Parameters
    ----------
    scales
        Tree of :class:`LeafScale`, of :func:`leaf_scales`.
    decay
        What happens to the decay that is added here.
    weight_decay
        Coefficient of the decay to be added here, before the learning rate; 0 for none.

    Returns
    -------
    optax.GradientTransformationExtraArgs
        With an empty state.

    Raises
    ------
    ValueError
        For an unknown ``decay``, a negative ``weight_decay``; from ``init`` and ``update``, if a
        leaf has no scale or one for another shape; from ``update``, without ``params`` where decay
        is added.

    Notes
    -----
    Leaves whose rate is 1 pass untouched, so that a model that is its own base trains as it did,
    to the bit. Leaves that an optimizer masks may be missing. Weights of the tables differ under
    "scaled" decay, since their rates do; under "independent" they do not. Every dtype; ``jit``,
    ``vmap`` and ``shard_map`` as for the optimizer.

    References
    ----------
    Yang et al. (2022), arXiv:2203.03466, for the rates.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.parametrization import LeafScale
    >>> scales = {"w": LeafScale(lr=0.25, shape=(2,))}
    >>> optimizer = optax.chain(optax.sgd(1.0), scale_by_parametrization(scales))
    >>> w = {"w": jnp.ones(2)}
    >>> updates, _ = optimizer.update(w, optimizer.init(w), w)
    >>> updates["w"].tolist()
    [-0.25, -0.25]
    """
    if decay not in DECAYS:
        raise ValueError(f"decay must be one of {DECAYS}, got {decay!r}")
    value = known(weight_decay)
    if value is not None and not value >= 0:
        raise ValueError(f"weight_decay must not be negative, got {weight_decay!r}")
    decays = value is None or bool(value)

    def init(params: Any) -> optax.EmptyState:
        map_leaves("scale_by_parametrization", params, scales, lambda leaf, scale, _: leaf)
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None, **_: Any) -> tuple[Any, Any]:
        if decays and params is None:
            raise ValueError("update needs params, since weight decay is added here")
        if decays and decay == "scaled":
            updates = jax.tree.map(_decayed(weight_decay), updates, params)
        updates = map_leaves(
            "scale_by_parametrization", updates, scales, lambda u, scale, _: scaled(u, scale.lr)
        )
        if decays and decay == "independent":
            updates = jax.tree.map(_decayed(weight_decay), updates, params)
        return updates, state

    return optax.GradientTransformationExtraArgs(init, update)


def _decayed(weight_decay: Any) -> Callable[[Any, Any], Any]:
    """``u + weight_decay w`` in the dtype of u; the coefficient may be traced."""
    return lambda u, w: u + (weight_decay * w).astype(u.dtype)


def scale_gradients(scales: Any) -> optax.GradientTransformationExtraArgs:
    r"""Divide every leaf's gradient by its size over the base's: Adam's epsilon, followed.

    Chained first, ``optax.chain(scale_gradients(scales), optax.adam(1e-3),
    scale_by_parametrization(scales))``. Adam's step with gradients g / s is that with g and
    :math:`s \epsilon`,

    .. math:: \frac{m / s}{\sqrt v / s + \epsilon} = \frac{m}{\sqrt v + s \epsilon} .

    Parameters
    ----------
    scales
        Tree of :class:`LeafScale`, of :func:`leaf_scales`; ``eps`` is used.

    Returns
    -------
    optax.GradientTransformationExtraArgs
        With an empty state.

    Raises
    ------
    ValueError
        From ``init`` and ``update``, if a leaf has no scale or one for another shape.

    Notes
    -----
    For optimizers whose steps do not depend on the size of gradients but for an epsilon: Adam and
    its relatives, SOAP, Lion, Muon. Not for SGD. A norm that is clipped afterwards is one of
    gradients in the base's units. float32 and half precision gain by it: gradients no longer
    shrink with the width.

    References
    ----------
    Dey et al. (2025), arXiv:2505.01618, who scale epsilon itself.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.parametrization import LeafScale
    >>> first = scale_gradients({"w": LeafScale(eps=0.5, shape=(2,))})
    >>> updates, _ = first.update({"w": jnp.ones(2)}, first.init({"w": jnp.ones(2)}))
    >>> updates["w"].tolist()
    [2.0, 2.0]
    """

    def init(params: Any) -> optax.EmptyState:
        map_leaves("scale_gradients", params, scales, lambda leaf, scale, _: leaf)
        return optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None, **_: Any) -> tuple[Any, Any]:
        del params
        updates = map_leaves(
            "scale_gradients", updates, scales, lambda g, scale, _: scaled(g, 1 / scale.eps)
        )
        return updates, state

    return optax.GradientTransformationExtraArgs(init, update)
