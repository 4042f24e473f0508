"""Where things lie in SOAP's state: bases by leaf, batch axes, devices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from theorylab.optim._soap_options import Options
from theorylab.optim._soap_parts import ScaleBySoapState, plan_of

Bases = list[list[Any]]


def soap_bases(state: Any, **options: Any) -> Bases:
    """The eigenbases in a state, leaf by leaf and axis by axis.

    Parameters
    ----------
    state
        Of :func:`scale_by_soap`, or of an optimizer that has one such state within it.
    **options
        Those of :func:`scale_by_soap` at ``init``.

    Returns
    -------
    list of list
        For each leaf, in the tree's order, a list with one entry for each axis (merged, if so
        wished): the basis (d, d), columns are eigenvectors, largest eigenvalue first; None where
        the axis has no factor.

    Raises
    ------
    ValueError
        If there is not exactly one such state, or options do not fit it.

    Notes
    -----
    float32 bases are orthogonal to 1e-5. Holds in every dtype.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import optim
    >>> params = {"b": jnp.zeros(3), "w": jnp.zeros((3, 2))}
    >>> state = optim.soap(1e-3).init(params)
    >>> [[q if q is None else q.shape for q in leaf] for leaf in optim.soap_bases(state)]
    [[None], [(3, 3), (2, 2)]]
    """
    own = _own(state)
    plan = plan_of(own, Options(**options))
    return [
        [None if side is None else own.bases[side[0]][side[1]] for side in leaf.sides]
        for leaf in plan.leaves
    ]


def soap_with_bases(state: Any, bases: Bases, **options: Any) -> Any:
    """A state with other eigenbases, all else as it was.

    Parameters
    ----------
    state, **options
        As in :func:`soap_bases`.
    bases
        In the form that :func:`soap_bases` returns. Moments are not turned: they are read in the
        new bases.

    Returns
    -------
    The state, of the same kind.

    Raises
    ------
    ValueError
        As :func:`soap_bases`; if a basis is missing, superfluous, or of another shape.

    Notes
    -----
    What it is for: to go on from a run elsewhere, whose first basis is arbitrary where the first
    gradient had less than full rank. Bases are cast to the state's dtype.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab import optim
    >>> params, tx = jnp.zeros((2, 2)), optim.scale_by_soap()
    >>> turned = jnp.array([[0.0, 1.0], [1.0, 0.0]])
    >>> state = optim.soap_with_bases(tx.init(params), [[turned, jnp.eye(2)]])
    >>> state.bases[0][0].tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    own = _own(state)
    plan = plan_of(own, Options(**options))
    given = [len(leaf) for leaf in bases]
    wanted = [len(leaf.sides) for leaf in plan.leaves]
    if given != wanted:
        raise ValueError(f"bases must have {wanted} axes, leaf by leaf, got {given}")
    rows: list[list[Any]] = [[None] * stack.rows for stack in plan.stacks]
    for index, (leaf, matrices) in enumerate(zip(plan.leaves, bases, strict=True)):
        for axis, (side, matrix) in enumerate(zip(leaf.sides, matrices, strict=True)):
            want = None if side is None else (leaf.merged[axis], leaf.merged[axis])
            got = None if matrix is None else np.shape(matrix)
            if want != got:
                raise ValueError(f"bases[{index}][{axis}] must have the shape {want}, got {got}")
            if side is not None:
                rows[side[0]][side[1]] = jnp.asarray(matrix, plan.stacks[side[0]].dtype)
    new = own._replace(bases=tuple(jnp.stack(row) for row in rows))
    return jax.tree.map(lambda s: new if _is_own(s) else s, state, is_leaf=_is_own)


def state_axes(state: Any) -> Any:
    """Batch axes of an optimizer's state for ``vmap``: none for counters, 0 for the rest.

    Parameters
    ----------
    state
        Any optimizer's state; shapes do (``jax.eval_shape(tx.init, params)``), batched or not.

    Returns
    -------
    A tree like it of 0, and None where a leaf is an integer: what ``in_axes`` and ``out_axes``
    take.

    Notes
    -----
    Not for ``optax.apply_if_finite`` within the batch, whose counters differ from run to run: put
    it around the batch, or take :func:`soap_blocks`.

    A counter with a batch axis turns SOAP's condition into "do both, select one", and every call
    pays for a refresh. All problems of a batch are at the same call, so one counter will do. Holds
    for every dtype.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import optim
    >>> tx, w = optim.scale_by_soap(), jnp.zeros((5, 3, 2))    # five seeds
    >>> axes = optim.state_axes(jax.eval_shape(tx.init, w[0]))
    >>> state = jax.vmap(tx.init, out_axes=axes)(w)
    >>> step = jax.vmap(tx.update, in_axes=(0, axes), out_axes=(0, axes))
    >>> updates, state = step(jnp.ones_like(w), state)
    >>> updates.shape, state.count.shape
    ((5, 3, 2), ())
    """
    return jax.tree.map(lambda x: None if jnp.issubdtype(x.dtype, jnp.integer) else 0, state)


def soap_sharding(state: Any, params: Any, mesh: Mesh, axis: str) -> Any:
    """Shardings of a state: factors and bases by rows of stacks, moments like the parameters.

    Parameters
    ----------
    state
        An optimizer's state with one of :func:`scale_by_soap` within it; shapes do.
    params
        The parameters, or ``jax.ShapeDtypeStruct``, each with its ``sharding``.
    mesh, axis
        A mesh, and the name of the axis to spread stacks over.

    Returns
    -------
    A tree like the state of ``NamedSharding``: for ``jax.device_put``, or ``out_shardings`` of a
    compiled ``init``. A stack whose rows the axis does not divide is held by every device, as are
    counters and whatever else there is.

    Raises
    ------
    ValueError
        If the mesh has no such axis, there is not exactly one such state, or a parameter is missing
        or has no sharding.

    Notes
    -----
    Refreshes then run on each device's own rows; a step gathers the bases that its leaves need.
    Results are those of one device to rounding. Holds for every dtype.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import optim
    >>> mesh = jax.make_mesh((1,), ("d",), axis_types=(jax.sharding.AxisType.Auto,))
    >>> everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    >>> params = jax.device_put(jnp.zeros((4, 4)), everywhere)
    >>> state = optim.scale_by_soap().init(params)
    >>> optim.soap_sharding(state, params, mesh, "d").bases[0].spec == jax.P("d")
    True
    """
    if axis not in mesh.shape:
        raise ValueError(f"axis must be one of {tuple(mesh.shape)}, got {axis!r}")
    own: Any = _own(state)
    by_path = {path: leaf for path, leaf in jax.tree_util.tree_leaves_with_path(params)}
    for path, leaf in by_path.items():
        if getattr(leaf, "sharding", None) is None:
            name = "params" + jax.tree_util.keystr(path)
            raise ValueError(f"{name} must have a sharding, got {type(leaf).__name__} without one")
    everywhere = NamedSharding(mesh, PartitionSpec())

    def moment(path: Any, _: Any) -> Any:
        if path not in by_path:
            name = "params" + jax.tree_util.keystr(path)
            raise ValueError(f"params must be those of init: the state knows {name}, they do not")
        return by_path[path].sharding

    def stack(x: Any) -> NamedSharding:
        divides = x.shape[0] % mesh.shape[axis] == 0
        return NamedSharding(mesh, PartitionSpec(axis)) if divides else everywhere

    new = own._replace(
        count=everywhere,
        mu=jax.tree_util.tree_map_with_path(moment, own.mu),
        nu=jax.tree_util.tree_map_with_path(moment, own.nu),
        factors=jax.tree.map(stack, own.factors),
        bases=jax.tree.map(stack, own.bases),
    )
    return jax.tree.map(lambda s: new if _is_own(s) else everywhere, state, is_leaf=_is_own)


def _is_own(x: Any) -> bool:
    return isinstance(x, ScaleBySoapState)


def _own(state: Any) -> ScaleBySoapState:
    found = [s for s in jax.tree.leaves(state, is_leaf=_is_own) if _is_own(s)]
    if len(found) != 1:
        raise ValueError(
            f"state must hold one state of optim.scale_by_soap, got {len(found)} of them"
        )
    return found[0]
