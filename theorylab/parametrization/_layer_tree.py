r"""Specs of our own layer tree, which knows its axes and its own multipliers.

A ``Dense`` or ``Conv`` in the ``"ntk"`` parameterization multiplies standard normal weights by
:math:`\text{fan-in}^{-1/2}`, one in the ``"standard"`` parameterization with the width multiplier
:math:`s_0` draws them with :math:`\sqrt{s_0 / \text{fan-in}}` and multiplies by
:math:`s_0^{-1/2}`. Scales are what is missing from there to the parametrization that is asked for.
"""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from theorylab import layers
from theorylab.layers import Layer
from theorylab.parametrization._infer import infer_specs
from theorylab.parametrization._leaves import named
from theorylab.parametrization._rules import Rule, check_rules
from theorylab.parametrization._spec import LeafSpec

Affine = layers.Dense | layers.Conv


def layer_specs(
    base: Layer, delta: Layer, target: Layer, input_shape: Any, *, rules: Sequence[Rule] = ()
) -> Any:
    r"""As :func:`infer_specs`, for networks of :mod:`theorylab.layers`.

    Parameters
    ----------
    base, delta, target
        Networks of the same layers with other widths; see :func:`infer_specs`. Copies in a
        ``repeat`` may differ in number, from two on.
    input_shape
        ``x.shape``, batch axis included, as for ``init``.
    rules
        :class:`Rule` objects for what the layers do not know, such as the depth of residual
        branches.

    Returns
    -------
    tree of LeafSpec
        As the parameters of ``target``. Own multipliers and initial values of the two
        parameterizations of layers are in it; ``W_std`` and ``b_std`` are the user's business.

    Raises
    ------
    TypeError
        If a network is no layer.
    ValueError
        As :func:`infer_specs`; if a layer's parameterization differs between base and target.

    Notes
    -----
    In the ``"ntk"`` parameterization ``leaf_scales(specs, scheme=NTP)`` is 1 everywhere. Nothing is
    allocated.

    Examples
    --------
    >>> from theorylab.layers import Dense, Relu, serial
    >>> from theorylab.parametrization import leaf_scales
    >>> def net(n):
    ...     return serial(Dense(n), Relu(), Dense(n), Relu(), Dense(1))
    >>> specs = layer_specs(net(8), net(16), net(32), (5, 3))
    >>> [leaf_scales(specs, optimizer="sgd")[i]["W"].lr for i in (0, 2, 4)]
    [4.0, 1.0, 4.0]
    """
    for name, net in (("base", base), ("delta", delta), ("target", target)):
        if not isinstance(net, Layer):
            raise TypeError(f"{name} must be a layer of theorylab.layers, got {net!r}")
    affine, before = dict(_affine("", target, False)), dict(_affine("", base, False))
    specs = infer_specs(
        *(_shapes(net, input_shape) for net in (base, delta, target)),
        rules=[*check_rules(rules), *(_rule(name, *found) for name, found in affine.items())],
    )
    own = {}
    for name, spec in named(specs).items():
        layer = name.rpartition("/")[0]
        own[name] = _own(name, spec, before[layer][0], affine[layer][0])
    structure = jax.tree_util.tree_structure(specs)
    return jax.tree_util.tree_unflatten(structure, list(own.values()))


def _shapes(net: Layer, input_shape: Any) -> Any:
    """The shapes of a network's parameters."""
    return jax.eval_shape(lambda: net.init(jax.random.key(0), input_shape))


def _affine(name: str, layer: Layer, stacked: bool) -> Iterator[tuple[str, tuple[Affine, bool]]]:
    """The layers with parameters by the name of their dictionaries; whether they are stacked."""
    inner: list[tuple[str, Layer, bool]] = []
    if isinstance(layer, Affine):
        yield name.removesuffix("/"), (layer, stacked)
    elif isinstance(layer, layers.Repeat):
        inner = [("0/", layer.layer, stacked), ("1/", layer.layer, True)]
    elif isinstance(layer, layers.Serial | layers.Parallel):
        inner = [(f"{i}/", sub, stacked) for i, sub in enumerate(layer.layers)]
    for step, sub, also in inner:
        yield from _affine(name + step, sub, also)


def _rule(name: str, layer: Affine, stacked: bool) -> Rule:
    """The axes of a layer's weights; its bias follows the convention."""
    order = "IO" if isinstance(layer, layers.Dense) else layer.dimension_numbers[1]
    skip = int(stacked)
    out = order.index("O") + skip
    return Rule(
        f"^{re.escape(name)}{'/' if name else ''}W$",
        fan_in=tuple(i + skip for i in range(len(order)) if i + skip != out),
        fan_out=(out,),
        batch=(0,) if stacked else (),
    )


def _own(name: str, spec: LeafSpec, before: Affine, layer: Affine) -> LeafSpec:
    """The spec of a weight with what its layer does by itself."""
    if layer.parameterization != before.parameterization:
        raise ValueError(
            f"{name!r} has parameterization {before.parameterization!r} in base and "
            f"{layer.parameterization!r} in target: they must agree"
        )
    if not spec.roles.fan_in:
        return spec
    root = spec.fan_in_ratio**-0.5
    if layer.parameterization == "ntk":
        return dataclasses.replace(spec, init_ratio=1.0, own_multiplier=root)
    s = (layer.s[0] / before.s[0]) ** 0.5
    return dataclasses.replace(spec, init_ratio=s * root, own_multiplier=1 / s)
