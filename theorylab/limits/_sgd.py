r"""The optimizers that have a limit of this kind: those that commute with rotations.

With the gradient g of the loss by all parameters :math:`\theta` together,

.. math::

    g &\leftarrow g\, \min(1, c / \lVert g \rVert) && \text{(clip)}, \\
    g &\leftarrow g + \lambda \theta               && \text{(weight decay)}, \\
    m &\leftarrow \mu m + g                        && \text{(heavy ball)}, \\
    \theta &\leftarrow \theta - \eta m .

Let Q be an orthogonal matrix and rotate a hidden layer by it, :math:`(u, v) \to (Q u, v Q^\top)`.
The function stays, gradients rotate along, and so does every line above, of which the first has a
norm and the others are linear: the trained network is again the rotated one. That is why only inner
products of hidden vectors matter, which have a limit. A step that acts entry by entry (Adam, sign,
Lion, Adafactor, clipping by value) depends on the basis of the hidden layer. Such networks have
limits too, but not ones that a finite number of inner products determines.

What matters is the axis of the hidden layer. LAMB, whose norms are of whole layers, still divides
entry by entry; Adafactor in its factored form divides by means of rows, one for each hidden unit.
Muon (the polar factor of the momentum) and full Shampoo (inverse roots of :math:`\sum g g^\top` and
:math:`\sum g^\top g`) treat matrices as wholes: with Q g for g the step is Q times what it was.
SOAP runs Adam in the eigenbasis of Shampoo's factors, which is rotated along where eigenvalues
differ.
These may have a limit of this kind. How their steps scale with the width, and what the limit is, is
not worked out here: they are not implemented. Nor are steps entry by entry for the limit of single
neurons with one hidden layer, where nothing is rotated and they would have one.

Differs from the paper / reference:
  1. The order is that of ``optax.chain(clip_by_global_norm, add_decayed_weights, sgd)``: the decay
     is coupled, passes through the momentum, and is not clipped.
"""

from typing import Any

import optax

from theorylab.limits._arguments import as_dtype, scalar

COORDINATE_WISE = frozenset(
    "adabelief adadelta adafactor adagrad adam adamax adamaxw adamw adan amsgrad lamb lion nadam "
    "nadamw radam rmsprop rprop sign signsgd signum sm3 yogi".split()
)
MATRIX_WISE = frozenset("muon shampoo fullshampoo soap".split())


def check_optimizer(optimizer: Any, *, neurons: bool = False) -> None:
    """Refuse all but ``"sgd"``, with the reason; ``neurons``: a limit of single ones."""
    if isinstance(optimizer, str) and optimizer == "sgd":
        return
    if neurons:
        raise ValueError(
            f"optimizer must be 'sgd' for this limit (momentum, weight_decay, clip are options), "
            f"got {optimizer!r}. With one that acts on each coordinate a neuron still moves by its "
            f"own state and the outputs alone, so that there is a limit of this kind; but no other "
            f"optimizer is implemented"
        )
    name = optimizer.lower() if isinstance(optimizer, str) else ""
    name = name.replace("_", "").replace("-", "")
    if name in MATRIX_WISE:
        raise ValueError(
            f"optimizer must be 'sgd' for this limit, got {optimizer!r}, which is not implemented: "
            f"it commutes with rotations of the hidden layer, and so could have a limit of this "
            f"kind"
        )
    commutes = "with rotations of the hidden layer"
    follows = (
        "so that training does not follow from inner products of hidden vectors, and there is no "
        "limit of this kind"
    )
    if name in COORDINATE_WISE:
        raise ValueError(
            f"optimizer must be 'sgd' for this limit, got {optimizer!r}, which acts on each "
            f"coordinate by itself: it does not commute {commutes}, {follows}"
        )
    raise ValueError(
        f"optimizer must be 'sgd' for this limit (momentum, weight_decay and clip are options), "
        f"got {optimizer!r}. One that acts on each coordinate, as Adam does, does not commute "
        f"{commutes}, {follows}; others, as Muon, full Shampoo and SOAP, do commute, and are not "
        f"implemented"
    )


def check_options(learning_rate: Any, momentum: Any, weight_decay: Any, clip: Any) -> tuple:
    """The four options, numbers as floats; the rate may be a schedule of optax."""
    return (
        learning_rate if callable(learning_rate) else scalar("learning_rate", learning_rate),
        scalar("momentum", momentum, below=1.0),
        scalar("weight_decay", weight_decay),
        None if clip is None else scalar("clip", clip, positive=True),
    )


def sgd(options: tuple, dtype: Any = None) -> optax.GradientTransformation:
    """The chain at the head of this module, from ``check_options``; arrays cast to a dtype."""
    rate, momentum, decay, clip = (
        o if o is None or callable(o) else as_dtype(o, dtype) for o in options
    )
    links = [] if clip is None else [optax.clip_by_global_norm(clip)]
    if not (isinstance(decay, float) and decay == 0):
        links.append(optax.add_decayed_weights(decay))
    if isinstance(momentum, float) and momentum == 0:
        momentum = None
    return optax.chain(*links, optax.sgd(rate, momentum=momentum))
