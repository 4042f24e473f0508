r"""The spectral condition: norms of weights and of their updates, over what they should be.

.. math::

    \|W\|_* = \Theta\big(\sqrt{d_{out} / d_{in}}\big), \qquad
    \|\Delta W\|_* = \Theta\big(\sqrt{d_{out} / d_{in}}\big)

with spectral norms. It says for any optimizer whether features are learned at every width.

Source: Yang, Simon and Bernstein (2023), A spectral condition for feature learning,
arXiv:2310.17813.

Differs from the paper:
  1. Tensors are matrices of fan-out by fan-in axes; windows of convolutions count as inputs.
  2. A vector of biases is a matrix with one input, a read-out kept as a vector one with one output.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from theorylab._batches import one_by_one
from theorylab.parametrization._leaves import is_weight, named
from theorylab.parametrization._spec import LeafSpec


class Spectral(NamedTuple):
    r"""One leaf's norms over :math:`\sqrt{d_{out} / d_{in}}`.

    Parameters
    ----------
    weight, update
        Scalars; of stacked layers the largest.
    """

    weight: Array
    update: Array


def spectral_check(params: Any, updates: Any, specs: Any) -> Any:
    r"""Spectral norms of weights and updates over :math:`\sqrt{d_{out} / d_{in}}`, leaf by leaf.

    Parameters
    ----------
    params, updates
        Effective weights (:func:`apply_multipliers`) and their changes, as trees of arrays. Leaves
        are matched by name.
    specs
        Tree of :class:`LeafSpec` for them.

    Returns
    -------
    dict from names of leaves to Spectral
        In the order of ``params``. Both ratios should neither grow nor vanish with the width.

    Raises
    ------
    ValueError
        If a leaf has no spec or no update, or another shape than those.

    Notes
    -----
    By singular values: :math:`O(d_{out} d_{in} \min(d_{out}, d_{in}))` operations a leaf. float32
    norms are right to 1e-6 of themselves. Works under ``jit``; on CPUs stacked layers are taken one
    by one.

    References
    ----------
    Yang, Simon and Bernstein (2023), arXiv:2310.17813.

    Examples
    --------
    >>> from theorylab.parametrization import AxisRoles
    >>> spec = LeafSpec("hidden", roles=AxisRoles((0,), (1,)), base_shape=(4, 9), shape=(4, 9))
    >>> w = {"w": jnp.ones((4, 9))}
    >>> float(spectral_check(w, w, {"w": spec})["w"].weight)
    4.0
    """
    by_name, changes = named(specs), named(updates)
    found = {}
    for name, leaf in named(params).items():
        if not is_weight(leaf):
            continue
        spec = by_name.get(name)
        if not isinstance(spec, LeafSpec):
            raise ValueError(f"no spec for the leaf {name!r} of shape {jnp.shape(leaf)}")
        if name not in changes:
            raise ValueError(f"no update for the leaf {name!r} of shape {jnp.shape(leaf)}")
        shapes = jnp.shape(leaf), jnp.shape(changes[name])
        if shapes != (tuple(spec.shape),) * 2:
            raise ValueError(
                f"{name!r} has shape {shapes[0]}, its update {shapes[1]}, its spec {spec.shape}"
            )
        found[name] = Spectral(_ratio(leaf, spec), _ratio(changes[name], spec))
    return found


def _ratio(x: Array, spec: LeafSpec) -> Array:
    """The norm over what it should be."""
    roles, shape = spec.roles, spec.shape
    rest = tuple(
        axis for axis in range(len(shape)) if axis not in roles.batch + roles.fan_in + roles.fan_out
    )
    order = (*roles.batch, *roles.fan_out, *rest, *roles.fan_in)
    rows = math.prod(shape[axis] for axis in roles.fan_out)
    columns = math.prod(shape[axis] for axis in (*rest, *roles.fan_in))
    x = jnp.asarray(x)
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    matrices = jnp.transpose(wide, order).reshape(-1, rows, columns)
    if 1 in (rows, columns):
        norms = jnp.sqrt(jnp.sum(matrices**2, (1, 2)))
    else:
        norms = jax.vmap(one_by_one(_norm))(matrices)
    return jnp.max(norms) / math.sqrt(rows / columns)


def _norm(matrix: Array) -> Array:
    """The largest singular value."""
    return jnp.linalg.svd(matrix, compute_uv=False)[..., 0]
