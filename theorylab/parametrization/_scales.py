r"""muP's tables: what a leaf's multiplier, initial value, rate and epsilon are, beside the base's.

Let i and o be the ratios of fan-in and fan-out to the base (1 where an axis does not grow), and
:math:`W = M w` the effective weight of a leaf w that the forward pass multiplies by M. In terms of
W the rule is one: a weight and its updates have the spectral norm
:math:`\sqrt{\text{fan-out} / \text{fan-in}}`,

.. math::

    \sigma = i^{-1/2} \min(1, \sqrt{o / i}), \qquad
    \eta = \frac{o}{i} \text{ (SGD)}, \quad
    \frac{1}{i} \text{ (entries of size 1: Adam, sign)}, \quad
    \sqrt{o / i} \text{ (spectral norm 1)} .

It gives all columns of Table 3 where hidden weights have o = i; the tables give hidden weights
:math:`\sigma = i^{-1/2}` and SGD's rate 1 in any case. A multiplier changes nothing of W if w
begins with :math:`\sigma / M` and has the rate :math:`\eta / M^2` (SGD) or :math:`\eta / M` (the
others). The tables differ in M alone:

============  =========================  ========  ==================
form          input weights and biases   hidden    output
============  =========================  ========  ==================
``table3``    1                          1         1
``table8``    1                          1         :math:`1 / i`
``table9``    :math:`\sqrt o`            1         :math:`1/\sqrt i`
``spectral``  1                          1         1
============  =========================  ========  ==================

*Epsilon.* Updates of the sizes above change the loss by O(1), so gradients of W have entries of the
size 1 / o, and those of w of M / o. Adam's epsilon has to follow them.

*Depth.* Branches of a residual network with N times more layers, each multiplied by
:math:`N^{-\alpha}`, add up to a change of O(1) if a step of each makes one of 1 / N, for which
rates are multiplied by :math:`N^{2\alpha - 1}` (SGD) or :math:`N^{\alpha - 1}` (the others), and
gradients are :math:`N^{-\alpha}` times as large.

*Attention.* Queries and keys that learn make logits that grow with the length h of a head, so that
they are divided by h. Where the model divides by its root, the query is multiplied by
:math:`h^{-1/2}`; this is a part of the network, and no rate follows it.

Sources: Yang et al. (2022), Tensor Programs V, arXiv:2203.03466 (tables); Yang, Simon and Bernstein
(2023), A spectral condition for feature learning, arXiv:2310.17813; Yang et al. (2023), Tensor
Programs VI, arXiv:2310.02244 (depth, 1/2); Dey et al. (2025), Don't be lazy: CompleteP enables
compute-efficient deep transformers, arXiv:2505.01618 (depth, 1).

Differs from the papers:
  1. Everything is relative to a base model, in which every scale is 1.
  2. The numbers follow from the one rule above, with M as a choice of gauge.
  3. ``depth_alpha=0`` leaves rates alone.
"""

import dataclasses
import math
import warnings
from typing import Any, Literal

import jax

from theorylab.parametrization._abc import ABC, Exponents
from theorylab.parametrization._leaves import flatten, named
from theorylab.parametrization._spec import Kind, LeafSpec

OPTIMIZERS = ("adam", "sgd", "sign", "orthogonal")
FORMS = ("table8", "table3", "table9", "spectral")
DEPTHS = (0, 0.5, 1)


@dataclasses.dataclass(frozen=True)
class LeafScale:
    """What muP multiplies, for one leaf. Static floats; all 1 where a model is its base.

    Parameters
    ----------
    multiplier
        Of the leaf in the forward pass: :func:`apply_multipliers`.
    init_std
        Of the leaf as the model draws it: :func:`rescale_init`.
    lr
        Of the learning rate: :func:`scale_by_parametrization`.
    wd
        Of the coefficient of a weight decay that is multiplied by the leaf's rate, if the decay is
        not to follow that rate: 1 / lr.
    eps
        The size of gradients: of Adam's epsilon (:func:`scale_gradients`).
    readout
        Of the logits, where an embedding is also the read-out; else 1.
    kind, shape
        Of the leaf.
    """

    multiplier: float = 1.0
    init_std: float = 1.0
    lr: float = 1.0
    wd: float = 1.0
    eps: float = 1.0
    readout: float = 1.0
    kind: Kind = "scalar"
    shape: tuple[int, ...] = ()


def leaf_scales(
    specs: Any,
    *,
    scheme: str | ABC = "mup",
    optimizer: Any = "adam",
    form: Literal["table8", "table3", "table9", "spectral"] = "table8",
    depth_alpha: float = 0,
    attention: bool = True,
) -> Any:
    r"""Multiplier, initial value, rate and epsilon of every leaf, over those of the base model.

    The formulas are those at the head of this module's source: with i and o the ratios of fan-in
    and fan-out, effective weights have standard deviations :math:`i^{-1/2}\min(1, \sqrt{o/i})` and
    rates o / i (SGD), 1 / i (Adam), :math:`\sqrt{o / i}` (orthogonal); a multiplier M makes
    :math:`\sigma / M` and :math:`\eta / M^2` or :math:`\eta / M` of them.

    Parameters
    ----------
    specs
        Tree of :class:`LeafSpec`, of :func:`infer_specs` or :func:`layer_specs`.
    scheme
        ``"mup"``; ``"sp"``, which leaves everything alone; or an :class:`ABC`, whose exponents are
        applied to the ratio of widths (fan-out for input weights, else fan-in). The c of an ABC
        is that of the optimizer in use, so ``form`` says nothing then, ``optimizer`` nothing but
        for depth, and ``eps`` is left at 1. Tied read-outs have no ABC.
    optimizer
        ``"sgd"``, with or without momentum; ``"adam"``, and others whose updates have entries of
        size 1; ``"sign"``: Lion; ``"orthogonal"``: updates of spectral norm 1, such as Muon
        without its own factor for shapes (:func:`theorylab.optim.lion_k` of the nuclear norm). Or
        a tree of these by leaf, as the labels of ``optax.multi_transform``.
    form
        Which table; see above. ``"spectral"`` is the one for widths that grow unequally.
    depth_alpha
        Exponent of depth, 0, 1/2 or 1, for leaves with a ``depth_ratio``. The branches themselves
        are to be multiplied by :func:`residual_multiplier`, unless a rule names their last maps
        (``branch_output``), whose multipliers then take it.
    attention
        Whether queries are multiplied so that attention is divided by the length of a head.

    Returns
    -------
    tree of LeafScale
        As ``specs``.

    Raises
    ------
    ValueError
        For unknown schemes, optimizers, forms, depth exponents; for trees of optimizers that lack
        a leaf; for an ABC that has no exponent for a leaf's kind, or with a tied read-out.
    TypeError
        If ``specs`` holds something else than specs.

    Warns
    -----
    UserWarning
        If a hidden weight's fan-in and fan-out grow unequally and the form is a table.

    Notes
    -----
    The tables give the same effective weights at every step, but for rounding, with SGD and with
    Adam if its epsilon follows. Weight decay makes a difference if it follows rates. Holds for
    fixed numbers of steps and data while the width grows.

    Examples
    --------
    >>> leaf_scales({"w": LeafSpec("hidden", 4.0, 4.0)})["w"].lr
    0.25
    >>> leaf_scales({"w": LeafSpec("output", 4.0, 1.0)})["w"].multiplier
    0.25
    """
    if isinstance(scheme, str):
        if scheme not in ("mup", "sp"):
            raise ValueError(f"scheme must be 'mup', 'sp' or an ABC, got {scheme!r}")
    elif not isinstance(scheme, ABC):
        raise TypeError(f"scheme must be 'mup', 'sp' or an ABC, got {scheme!r}")
    if form not in FORMS:
        raise ValueError(f"form must be one of {FORMS}, got {form!r}")
    if isinstance(depth_alpha, bool) or depth_alpha not in DEPTHS:
        raise ValueError(f"depth_alpha must be 0, 0.5 or 1, got {depth_alpha!r}")
    flat, treedef = flatten(specs)
    labels = None if isinstance(optimizer, str) else named(optimizer)
    scales, unequal = [], []
    for keys, spec in flat:
        name = "/".join(keys)
        if not isinstance(spec, LeafSpec):
            raise TypeError(f"specs must hold a LeafSpec at {name!r}, got {spec!r}")
        label = optimizer if labels is None else labels.get(name)
        if label not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {OPTIMIZERS}, got {label!r} for {name!r}")
        if scheme == "mup" and spec.kind == "hidden" and spec.fan_in_ratio != spec.fan_out_ratio:
            unequal.append((name, spec))
        scales.append(_scale(name, spec, scheme, label, form, float(depth_alpha), attention))
    if unequal and form != "spectral":
        name, spec = unequal[0]
        warnings.warn(
            f"{name!r} grows from {spec.base_shape} to {spec.shape}, by {spec.fan_in_ratio:g} in "
            f"and {spec.fan_out_ratio:g} out: {form} holds for equal ratios only; use "
            f"form='spectral'",
            UserWarning,
            stacklevel=2,
        )
    return jax.tree_util.tree_unflatten(treedef, scales)


def _scale(
    name: str, spec: LeafSpec, scheme: str | ABC, optimizer: str, form: str, alpha: float,
    attention: bool,
) -> LeafScale:  # fmt: skip
    """One leaf."""
    fixed: dict[str, Any] = {"kind": spec.kind, "shape": spec.shape}
    if scheme == "sp":
        return LeafScale(**fixed)
    i, o = spec.fan_in_ratio, spec.fan_out_ratio
    if isinstance(scheme, ABC):
        if spec.tied:
            raise ValueError(f"{name!r} is a tied read-out, for which an ABC has no exponents")
        m, std, lr = _powers(name, spec, scheme)
        eps = readout = 1.0
    else:
        spectral = form == "spectral" or spec.kind != "hidden"
        m = _gauge(spec, form)
        std = _deviation(spec.kind, i, o, form) / m
        if optimizer == "sgd":
            lr = (o / i if spectral else 1.0) / m**2
        else:
            lr = (math.sqrt(o / i) if optimizer == "orthogonal" else 1 / i) / m
        eps = m / o
        readout = 1 / o if spec.tied else 1.0
    # What is a part of the network, and neither its weights' gauge nor its optimizer's.
    part = spec.head_ratio**-0.5 if attention else 1.0
    if alpha:
        lr *= spec.depth_ratio ** (2 * alpha - 1 if optimizer == "sgd" else alpha - 1)
        eps *= spec.depth_ratio**-alpha
        part *= spec.depth_ratio**-alpha if spec.branch_output else 1.0
    multiplier, std = part * m / spec.own_multiplier, std / spec.init_ratio
    return LeafScale(multiplier, std, lr, 1 / lr, eps, readout, **fixed)


def _deviation(kind: str, i: float, o: float, form: str) -> float:
    """The initial standard deviation of the effective weight."""
    if kind == "output":
        return 1 / i
    return i**-0.5 * (min(1.0, math.sqrt(o / i)) if (kind, form) == ("hidden", "spectral") else 1.0)


def _gauge(spec: LeafSpec, form: str) -> float:
    """What the effective weight is of the leaf, M."""
    if form == "table8" and spec.kind == "output":
        return 1 / spec.fan_in_ratio
    if form == "table9" and spec.kind == "output":
        return spec.fan_in_ratio**-0.5
    if form == "table9" and spec.kind == "input":
        return math.sqrt(spec.fan_out_ratio)
    return 1.0


def _powers(name: str, spec: LeafSpec, abc: ABC) -> tuple[float, float, float]:
    """Multiplier, standard deviation and rate by the exponents of an ABC."""
    if spec.kind == "scalar":
        return 1.0, 1.0, 1.0
    n = spec.fan_out_ratio if spec.kind == "input" else spec.fan_in_ratio

    def power(which: str, exponents: float | Exponents) -> float:
        if isinstance(exponents, float):
            return n**-exponents
        kinds = {2: ("input", "output"), 3: ("input", "hidden", "output")}.get(len(exponents), ())
        if spec.kind not in kinds:
            raise ValueError(
                f"{name!r} is {spec.kind}; {which} of the ABC has {len(exponents)} exponents, and "
                f"needs 3: input, hidden, output"
            )
        return n ** -exponents[kinds.index(spec.kind)]

    return power("a", abc.a), power("b", abc.b), power("c", abc.c)
