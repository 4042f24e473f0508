"""Structure-aware intrinsic dimension: a scale for every layer beside the coordinates.

Aghajanyan, Zettlemoyer and Gupta, "Intrinsic dimensionality explains the effectiveness of language
model fine-tuning" (2020): layer i gets theta_i = theta0_i + lambda_i (P theta_{d-m})_i. The m
scales are trained too and counted in d.

Differs from the paper / reference:
  1. lambda starts at 1 and theta at 0, so that training starts at theta0 (in a public code by one
     of the authors; the paper is silent).
  2. Groups are the leaves, as in that code, unless others are given.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from theorylab.subspace._layout import Layout
from theorylab.subspace._projection import Projection, coordinates, wide_dtype


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("projection",),
    meta_fields=("groups", "labels"),
)
@dataclass(frozen=True)
class Said:
    """A projection with a trained scale for every group of leaves; made by ``said``.

    Attributes
    ----------
    projection : Projection
        Of d columns; the first d - m act.
    labels : tuple
        One for each of the m groups, in the order of lambda.
    groups : tuple of int
        The group of each leaf that is moved.
    """

    projection: Projection
    groups: tuple[int, ...] = field(repr=False)
    labels: tuple[Any, ...]

    @property
    def d(self) -> int:
        """Number of coordinates, scales included."""
        return self.projection.d

    @property
    def size(self) -> int:
        """D, the number of parameters that are moved."""
        return self.projection.size

    @property
    def count(self) -> int:
        """m, the number of groups."""
        return len(self.labels)

    @property
    def layout(self) -> Layout:
        """Where parameters lie."""
        return self.projection.layout

    def apply(self, theta_d: dict[str, Any]) -> Any:
        """lambda_i (P theta)_i for every leaf i, a tree like the parameters.

        It is not linear in both together and has no transpose; ``wrap`` derives it.

        Parameters
        ----------
        theta_d : {"theta": array (d - m,), "lam": array (m,)}

        Returns
        -------
        tree

        Raises
        ------
        ValueError, TypeError
            If ``theta_d`` is not such a dict.
        """
        return self.layout.tree(_said_leaves(self, theta_d))


def moved(projection: "Projection | Said", theta_d: Any) -> list[jax.Array]:
    """What is added to each selected leaf, as vectors of at least 32 bits."""
    if isinstance(projection, Said):
        return _said_leaves(projection, theta_d)
    return projection.leaves(coordinates(theta_d, projection.d))


def check_coordinates(theta_d: Any) -> None:
    """Raises unless ``theta_d`` is a dict of a ``said`` projection's two arrays."""
    if not isinstance(theta_d, dict) or set(theta_d) != {"theta", "lam"}:
        got = sorted(theta_d) if isinstance(theta_d, dict) else type(theta_d).__name__
        raise TypeError(f"theta_d of a said projection must be {{'theta', 'lam'}}, got {got}")


def _said_leaves(said: Said, theta_d: Any) -> list[jax.Array]:
    check_coordinates(theta_d)
    theta = coordinates(theta_d["theta"], said.d - said.count, "theta_d['theta']")
    lam = coordinates(theta_d["lam"], said.count, "theta_d['lam']")
    wide = wide_dtype(theta, lam)
    theta, lam = theta.astype(wide), lam.astype(wide)
    images = said.projection.leaves(jnp.pad(theta, (0, said.count)))
    return [lam[group] * image for group, image in zip(said.groups, images, strict=True)]


def said(projection: Projection, groups: Any = None) -> Said:
    """A projection with one trained scale for every leaf or group of leaves.

    theta_i = theta0_i + lambda_i (P theta)_i for group i, where theta has d - m entries and the
    m scales lambda are taken out of the budget of d.

    Parameters
    ----------
    projection : Projection
        Of d > m columns; its first d - m are used.
    groups : tree or function, optional
        A prefix of the parameters' tree whose leaves are labels (integers or strings): leaves with
        the same label share a scale. Or a function of a leaf's path, as a string like
        ``"['dense']['kernel']"``, that returns its label. By default every leaf has its own scale.

    Returns
    -------
    Said
        For ``wrap``, ``project``, ``init`` and ``lr_scale``; its coordinates are the dict
        ``{"theta": (d - m,), "lam": (m,)}``.

    Raises
    ------
    ValueError
        If there are d groups or more, or ``groups`` is no prefix of the parameters' tree.
    TypeError
        If ``projection`` is no ``Projection``.

    Notes
    -----
    Aghajanyan, Zettlemoyer, Gupta, "Intrinsic dimensionality explains the effectiveness of language
    model fine-tuning", 2020, section 3 (SAID); with m = 0 it is DID, plain ``project``. At the
    start the derivative with respect to lambda is 0, as theta is.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import subspace
    >>> params = {"w": jnp.zeros((20, 5)), "b": jnp.zeros(5)}
    >>> p = subspace.said(subspace.hadamard(10, like=params, key=jax.random.key(0)))
    >>> {name: x.shape for name, x in subspace.init(p).items()}
    {'theta': (8,), 'lam': (2,)}
    """
    if not isinstance(projection, Projection):
        raise TypeError(f"projection must be a Projection, got {type(projection).__name__}")
    labels = _labels(projection.layout, groups)
    distinct = tuple(dict.fromkeys(labels))
    if len(distinct) >= projection.d:
        raise ValueError(
            f"said must have fewer groups than coordinates, got {len(distinct)} groups and "
            f"d = {projection.d}: give `groups`, or a larger d"
        )
    return Said(projection, tuple(distinct.index(label) for label in labels), distinct)


def _labels(layout: Layout, groups: Any | Callable[[str], Any]) -> list[Any]:
    """The label of every leaf that is moved."""
    if groups is None:
        found: list[Any] = list(layout.names)
    elif callable(groups) and jax.tree_util.all_leaves([groups]):
        found = [groups(name) for name in layout.names]
    else:
        leaves = jax.tree_util.tree_unflatten(layout.treedef, layout.names)

        def spread(label: Any, below: Any) -> Any:
            return jax.tree.map(lambda _: label, below)

        try:
            found = jax.tree.leaves(jax.tree.map(spread, groups, leaves))
        except ValueError as error:
            raise ValueError(f"groups must be a prefix of the parameters' tree: {error}") from None
    for name, label, use in zip(layout.names, found, layout.selected, strict=True):
        if use and not isinstance(label, int | str | np.integer):
            raise TypeError(f"groups must give an int or a str for params{name}, got {label!r}")
    used = [label for label, use in zip(found, layout.selected, strict=True) if use]
    return [int(label) if isinstance(label, np.integer) else label for label in used]
