"""A projection as a few plain values, and back: what a checkpoint needs besides theta_d.

Differs from the paper / reference:
  1. Li et al. note that a solution costs one seed and d numbers. It also costs what the seed means:
     the kind, its version, the order and the shapes of leaves. All are recorded and compared.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from theorylab.subspace._dense import DenseMap, rademacher_map
from theorylab.subspace._fastfood import FastfoodMap
from theorylab.subspace._hadamard import HadamardMap
from theorylab.subspace._kron import KronMap
from theorylab.subspace._layout import layout_of
from theorylab.subspace._projection import Map, Projection, check_size, from_seed
from theorylab.subspace._rotation import RotationMap
from theorylab.subspace._sketch import SketchMap
from theorylab.subspace._sparse import SparseMap

# What every kind makes its maps with, and the version of its numbers.
KINDS: dict[str, tuple[Callable[[int, int], Map], int]] = {
    "hadamard": (HadamardMap, 1),
    "dense_gaussian": (DenseMap, 1),
    "dense_rademacher": (rademacher_map, 1),
    "fastfood": (FastfoodMap, 1),
    "sparse": (SparseMap, 1),
    "sketch": (SketchMap, 1),
    "rotation": (RotationMap, 1),
    "kron": (KronMap, 1),
}
FIELDS = ("kind", "version", "seed", "d", "size", "scope", "selected", "layout")


def record(projection: Projection) -> dict[str, Any]:
    """What rebuilds ``projection``, as plain values that JSON takes.

    Parameters
    ----------
    projection : Projection
        Of a kind that is drawn from a key; concrete, not traced.

    Returns
    -------
    dict
        kind, version, seed (two integers), d, size, scope, selected (one bool for each leaf), and
        layout: a checksum of the names, shapes and dtypes of the leaves.

    Raises
    ------
    ValueError
        If its basis was given: it is then not a matter of a seed.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import subspace
    >>> p = subspace.hadamard(3, like=jnp.zeros(50), key=jax.random.key(7))
    >>> subspace.record(p)["seed"]
    [0, 7]
    """
    if projection.kind not in KINDS:
        raise ValueError(
            f"projection must be drawn from a key, got kind {projection.kind!r}: its basis has to "
            "be stored itself"
        )
    return {
        "kind": projection.kind,
        "version": projection.version,
        "seed": [int(word) for word in np.asarray(projection.seed)],
        "d": projection.d,
        "size": projection.size,
        "scope": projection.scope,
        "selected": list(projection.layout.selected),
        "layout": projection.layout.fingerprint,
    }


def rebuild(values: dict[str, Any], like: Any) -> Projection:
    """The projection that ``values`` describe, for parameters like ``like``.

    Parameters
    ----------
    values : dict
        As ``record`` returns them.
    like : tree
        The parameters, as arrays or ``jax.ShapeDtypeStruct``.

    Returns
    -------
    Projection
        To the bit on the same backend and JAX; within 1e-6 on others, which add in another order.

    Raises
    ------
    ValueError
        If a field is missing or of another type, the kind or its version is not known, or ``like``
        has other leaves than the projection was made for.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import subspace
    >>> p = subspace.hadamard(3, like=jnp.zeros(50), key=jax.random.key(7))
    >>> again = subspace.rebuild(subspace.record(p), jnp.zeros(50))
    >>> bool((again.apply(jnp.ones(3)) == p.apply(jnp.ones(3))).all())
    True
    """
    _check(values)
    kind, version = values["kind"], values["version"]
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    make, known = KINDS[kind]
    if version != known:
        raise ValueError(
            f"version must be {known}, that of {kind!r} here, got {version}: it was made by "
            "another release, whose numbers differ"
        )
    leaves, treedef = jax.tree.flatten(like)
    selected = values["selected"]
    if len(selected) != len(leaves):
        raise ValueError(
            f"like must have the {len(selected)} leaves that the projection was made for, got "
            f"{len(leaves)}"
        )
    layout = layout_of(like, jax.tree.unflatten(treedef, selected))
    if layout.fingerprint != values["layout"]:
        raise ValueError(
            "like must have the leaves that the projection was made for, by name, shape, dtype and "
            f"order: their checksum is {layout.fingerprint}, recorded is {values['layout']}"
        )
    check_size(values["d"], layout, values["scope"])
    seed = jnp.asarray(values["seed"], jnp.uint32)
    return from_seed(kind, make, values["d"], layout, seed, scope=values["scope"], version=version)


def _check(values: Any) -> None:
    if not isinstance(values, dict):
        raise ValueError(f"values must be a dict, got {type(values).__name__}")
    for name in FIELDS:
        if name not in values:
            raise ValueError(f"values must hold {name!r}: this is not the record of a projection")

    def whole(x: Any, below: int) -> bool:
        return isinstance(x, int) and not isinstance(x, bool) and 0 <= x < below

    seed, selected = values["seed"], values["selected"]
    right = {
        "kind": isinstance(values["kind"], str),
        "version": whole(values["version"], 2**31),
        "seed": isinstance(seed, list) and len(seed) == 2 and all(whole(x, 2**32) for x in seed),
        "d": whole(values["d"], 2**31),
        "size": whole(values["size"], 2**63),
        "scope": values["scope"] in ("global", "leaf"),
        "selected": isinstance(selected, list) and all(isinstance(x, bool) for x in selected),
        "layout": isinstance(values["layout"], str),
    }
    for name, fits in right.items():
        if not fits:
            raise ValueError(
                f"values[{name!r}] is not what a record holds, got {values[name]!r:.80}"
            )
