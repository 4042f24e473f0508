r"""A given basis as a projection: orthonormalised, and kept.

.. math:: P = Q, \qquad [b_1, \ldots, b_d] = Q R, \qquad Q^\top Q = I ,

with R upper triangular and positive on its diagonal: the first k columns span what the first k
directions do. Two subspaces of Larsen et al. are made so, or need no more than is there already:

- *Lottery subspace*: the d leading directions of a training trajectory, :func:`lottery`.
- *Burn-in subspace*: any random projection with ``params0`` the parameters after t steps of direct
  training instead of the initial ones. It needs no function of its own.

Differs from the paper / reference:
  1. Larsen, Fort, Becker and Ganguli (2022), "How many degrees of freedom do we need to train deep
     networks: a loss landscape perspective", ICLR. As in their published code, the trajectory's
     directions are the left singular vectors of the moves between successive saved points, not of
     the points themselves, and training in the subspace starts at the initial parameters.
  2. Singular vectors have a sign: the one along which the trajectory ends ahead of its start.
  3. A basis is refused if, once its directions have unit length, R has a condition number above
     :math:`1 / (10\, d\, \varepsilon)`: about what the rounding of a QR factorisation in this dtype
     leaves undecided.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike

from theorylab._numerics import known
from theorylab._tree import leaves_with_names
from theorylab.subspace._layout import Layout, layout_of
from theorylab.subspace._projection import Projection


@dataclasses.dataclass(frozen=True)
class BasisMap:
    """A stored matrix, ``rows`` by ``d``, which is the state."""

    d: int
    rows: int

    def draw(self, seed: Array) -> Array:
        """Nothing can be drawn: the basis is given."""
        raise ValueError("a projection of kind 'orthogonal' has a given basis and no seed")

    def forward(self, state: Array, theta: Array) -> Array:
        """(rows,)."""
        return jnp.matmul(state.astype(theta.dtype), theta, precision=lax.Precision.HIGHEST)

    def backward(self, state: Array, flat: Array) -> Array:
        """(d,)."""
        return jnp.matmul(flat, state.astype(flat.dtype), precision=lax.Precision.HIGHEST)

    def squared_norms(self, state: Array, dtype: DTypeLike) -> Array:
        """(d,)."""
        return jnp.sum(state.astype(dtype) ** 2, axis=0)


def orthogonal(basis: Any, like: Any = None, *, mask: Any = None) -> Projection:
    r"""The subspace that given directions span, with an orthonormal basis.

    .. math:: P = Q, \qquad [b_1, \ldots, b_d] = Q R .

    Parameters
    ----------
    basis : tree, or list of trees
        The directions: a tree like the parameters with one more axis of length d in front of every
        leaf, or a list of d trees. Without ``like`` a list is a list of trees.
    like : tree, optional
        The parameters, as arrays or ``jax.ShapeDtypeStruct``, for their structure and dtypes. By
        default those of a direction. Needed where the tree of parameters is itself a list.
    mask : tree of bools or function of ``like``, optional
        Which leaves are moved; a prefix of ``like``. By default all. Of other leaves the directions
        are ignored.

    Returns
    -------
    Projection
        Of the kind "orthogonal", which keeps the basis: D d numbers, in float32 or, if a direction
        is, in float64.

    Raises
    ------
    ValueError
        If leaves have not the same number of directions, not the shapes of ``like``, or more
        directions than parameters; if directions are not finite, or not linearly independent to the
        precision of their dtype. The last two are found only on concrete values: under ``jit`` and
        ``vmap`` such directions give columns that mean nothing.
    TypeError
        If a leaf is not of real floating point.

    Notes
    -----
    *Burn-in* (Larsen et al., 2022) needs no basis: train directly for t steps, and take any random
    projection with ``params0`` the parameters reached. A basis has no key, so that it cannot be
    redrawn.

    References
    ----------
    Larsen, Fort, Becker and Ganguli (2022), "How many degrees of freedom do we need to train deep
    networks: a loss landscape perspective", ICLR.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import subspace
    >>> basis = {"w": jnp.array([[3.0, 0.0, 0.0], [1.0, 1.0, 0.0]])}
    >>> p = subspace.orthogonal(basis)
    >>> p.d, p.size, p.apply(jnp.array([1.0, 2.0]))["w"].tolist()
    (2, 3, [1.0, 2.0, 0.0])
    """
    columns, layout = _columns("basis", basis, like, mask)
    size, d = columns.shape
    if d > size:
        raise ValueError(
            f"basis must have at most D = {size} directions, the number of parameters, got {d}"
        )
    norms = jnp.linalg.norm(columns, axis=0)
    q, r = jnp.linalg.qr(columns / jnp.where(norms > 0, norms, 1)[None])
    triangle = known(r)
    if triangle is not None:
        finite = np.isfinite(triangle).all()
        values = np.linalg.svd(triangle, compute_uv=False) if finite else triangle
        _check_rank("directions of basis", values, d)
    turned = jnp.where(jnp.diagonal(r) < 0, -1, 1).astype(q.dtype)
    return _given(q * turned[None], layout)


def lottery(trajectory: Any, d: int, like: Any = None, *, mask: Any = None) -> Projection:
    r"""The d directions in which a training run moved most: Larsen et al.'s lottery subspace.

    .. math:: P = [u_1, \ldots, u_d], \qquad
              [\theta_1 - \theta_0, \ldots, \theta_T - \theta_{T-1}] = U \Sigma V^\top .

    Parameters
    ----------
    trajectory : tree, or list of trees
        Parameters at T + 1 times of a run, the first one at the start: a tree like the parameters
        with one more axis of length T + 1 in front of every leaf (as ``jax.lax.scan`` stacks them),
        or a list of trees.
    d : int
        Number of directions, from 1 to T.
    like, mask
        As :func:`orthogonal`.

    Returns
    -------
    Projection
        Of the kind "orthogonal"; its first k columns are those of the projection with d = k.

    Raises
    ------
    ValueError
        If d is not from 1 to T; if the moves are not finite, or fewer than d of them are linearly
        independent (on concrete values); else as :func:`orthogonal`.
    TypeError
        If d is not an int, or a leaf not of real floating point.

    Notes
    -----
    Train in it from the start of the run, ``params0`` being the first point. Memory is that of the
    trajectory, D (T + 1) numbers, a few times over: save points sparsely.

    References
    ----------
    Larsen, Fort, Becker and Ganguli (2022), "How many degrees of freedom do we need to train deep
    networks: a loss landscape perspective", ICLR, and their code.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import subspace
    >>> run = {"w": jnp.array([[0.0, 0.0, 5.0], [2.0, 0.0, 5.0], [2.0, 1.0, 5.0]])}
    >>> p = subspace.lottery(run, 1)
    >>> p.apply(jnp.ones(1))["w"].round(3).tolist()
    [1.0, 0.0, 0.0]
    """
    if isinstance(d, bool) or not isinstance(d, int):
        raise TypeError(f"d must be an int, got {d!r}")
    points, layout = _columns("trajectory", trajectory, like, mask)
    moves = points.shape[1] - 1
    if not 1 <= d <= moves:
        raise ValueError(f"d must be from 1 to T = {moves}, the moves of trajectory, got {d}")
    u, sigma, _ = jnp.linalg.svd(jnp.diff(points, axis=1), full_matrices=False)
    if d > sigma.size:
        raise ValueError(f"d must be at most D = {sigma.size}, the number of parameters, got {d}")
    values = known(sigma)
    if values is not None:
        _check_rank("moves of trajectory", values, d)
    u = u[:, :d]
    ahead = jnp.matmul(points[:, -1] - points[:, 0], u, precision=lax.Precision.HIGHEST)
    return _given(u * jnp.where(ahead < 0, -1, 1).astype(u.dtype)[None], layout)


def _given(q: Array, layout: Layout) -> Projection:
    """The projection of an orthonormal basis."""
    rows, d = q.shape
    return Projection(
        seed=jnp.zeros(2, jnp.uint32),
        scale=jnp.ones(d, jnp.float32),
        states=(q,),
        layout=layout,
        maps=(BasisMap(d, rows),),
        kind="orthogonal",
        scope="global",
        version=1,
    )


def _columns(name: str, basis: Any, like: Any, mask: Any) -> tuple[Array, Layout]:
    """(D, number): each tree as a column, and how one lies in it."""
    structure: Any = jax.tree.structure(basis)
    if isinstance(basis, list) and (like is None or structure != jax.tree.structure(like)):
        basis = _stack(name, basis)
    leaves = leaves_with_names(name, basis)
    for path, leaf in leaves:
        if not hasattr(leaf, "shape") or not hasattr(leaf, "dtype"):
            raise TypeError(f"{path} must be an array, got {type(leaf).__name__}")
        number = leaves[0][1].shape[0] if leaves[0][1].shape else 0
        if leaf.shape[:1] != (number,) or number == 0:
            raise ValueError(
                f"{path} must have the number of trees, the same for all leaves, as its first "
                f"axis, got shape {leaf.shape}"
            )
    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), basis)
    layout = layout_of(one if like is None else like, mask)
    layout.check(one, name)
    kept = [(path, x) for (path, x), use in zip(leaves, layout.selected, strict=True) if use]
    for path, leaf in kept:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise TypeError(f"{path} must be of real floating point, got {leaf.dtype}")
    wide = any(leaf.dtype == jnp.float64 for _, leaf in kept)
    dtype = jnp.dtype("float64" if wide else "float32")
    flat = [jnp.asarray(leaf, dtype).reshape(leaf.shape[0], -1) for _, leaf in kept]
    return jnp.concatenate(flat, axis=1).T, layout


def _stack(name: str, trees: list[Any]) -> Any:
    """A list of trees as one, with an axis in front of every leaf."""
    if not trees:
        raise ValueError(f"{name} must hold at least one tree, got an empty list")
    wanted: Any = jax.tree.structure(trees[0])
    first = leaves_with_names(name, trees[0])
    for index, tree in enumerate(trees):
        if jax.tree.structure(tree) != wanted:
            raise ValueError(
                f"{name}[{index}] must have the structure of {name}[0], {wanted}, got "
                f"{jax.tree.structure(tree)}; where the parameters are a list, give `like`"
            )
        for (path, leaf), (_, other) in zip(
            leaves_with_names(f"{name}[{index}]", tree), first, strict=True
        ):
            if jnp.shape(leaf) != jnp.shape(other):
                raise ValueError(
                    f"{path} must have the shape {jnp.shape(other)} that it has in {name}[0], got "
                    f"{jnp.shape(leaf)}"
                )
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _check_rank(what: str, values: np.ndarray, wanted: int) -> None:
    """Raises where fewer than ``wanted`` of falling singular values are above rounding."""
    if not np.isfinite(values).all():
        raise ValueError(f"{what} must be finite, but there are NaN or infinite entries")
    rank = int(np.sum(values > 10 * values.size * np.finfo(values.dtype).eps * values[0]))
    if rank < wanted:
        raise ValueError(
            f"{what} must be linearly independent, at least {wanted} of them, got rank {rank} to "
            f"the precision of {values.dtype}"
        )
