"""The door: inputs are checked, the cost is planned, and one compiled program does the rest."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from theorylab._numerics import floating, wide_scope
from theorylab._tree import leaf_name, leaves_with_names
from theorylab.kernels._input import input_state
from theorylab.kernels._plan import plan
from theorylab.kernels._propagate import State, rule
from theorylab.kernels._state import Kernel, KernelState
from theorylab.layers import Layer


def kernel(
    net: Layer,
    x1: Any,
    x2: Any = None,
    *,
    ntk: bool = True,
    memory_limit: int | None = None,
    **layer_inputs: Any,
) -> Kernel:
    r"""NNGP and NTK of an infinitely wide network; usually called as ``net.kernel(x1, x2)``.

    .. math::

        K(x, x') = \lim_{n\to\infty} E f(x) f(x'), \qquad
        \Theta(x, x') = \lim_{n\to\infty} E \nabla_\theta f(x) \cdot \nabla_\theta f(x'),

    per output channel, for hidden widths :math:`n` and parameters :math:`\theta` as drawn.

    Parameters
    ----------
    net
        Network.
    x1
        Inputs (n1, d), float32 or float64; a tuple of arrays for a network with several inputs.
    x2
        Inputs (n2, d). ``None`` means ``x1``: half the work, an exactly symmetric result.
    ntk
        Whether the NTK is wanted; ``False`` leaves it None.
    memory_limit
        In bytes; the kernel is computed in tiles small enough to stay below it.
    **layer_inputs
        Inputs of layers that take any; none of the present ones does.

    Returns
    -------
    Kernel
        ``nngp`` and ``ntk``, (n1, n2), in the dtype of the inputs as JAX holds them, whether
        64-bit types are enabled or not; half precision is computed and returned in float32.

    Raises
    ------
    ValueError
        For inputs of wrong rank, unequal features or no points, for a layer that cannot stand where
        it does, for a ``memory_limit`` that no tile can meet.
    TypeError
        For integer or complex inputs.
    NotImplementedError
        Where there is no closed form; the message names the layer.

    Notes
    -----
    *Validity.* The limit of infinite width at initialisation. A NaN in an input gives NaN in its
    rows and columns and nowhere else.

    *float32.* Hyperparameters are rounded to the dtype of the inputs; what is formed from them, and
    all quantities per input, is float64. The error of an entry, over the square root of the product
    of its diagonal entries, stays below 1e-6 to depth 10, on near-duplicates, duplicates and
    rescaled copies of inputs too.

    *Derivatives* exist in both modes, in inputs and in hyperparameters (pass ``net`` itself as the
    argument). Where the NTK of a kinked activation has a cusp, at parallel inputs, the mean of the
    one-sided derivatives is returned. At a zero input under layers without bias the kernel is a
    cone: the derivative is finite and has no meaning.

    References
    ----------
    Lee, Bahri, Novak, Schoenholz, Pennington and Sohl-Dickstein, "Deep neural networks as Gaussian
    processes", 2018, eq. 5. Jacot, Gabriel and Hongler, "Neural tangent kernel", 2018, theorem 1.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import theorylab.kernels as tk
    >>> net = tk.serial(tk.Dense(512, W_std=2**0.5), tk.Relu(), tk.Dense(1))
    >>> k = net.kernel(jnp.eye(2))
    >>> k.nngp.shape, bool(jnp.allclose(jnp.diag(k.ntk), 1.0))
    ((2, 2), True)
    """
    if layer_inputs:
        names = ", ".join(sorted(layer_inputs))
        raise TypeError(f"kernel: no layer of this network takes the input {names}")
    named1 = leaves_with_names("x1", x1)
    named2 = [] if x2 is None else leaves_with_names("x2", x2)
    leaves = [floating(name, leaf) for name, leaf in named1 + named2]
    if not named1:
        raise ValueError("x1: no input given")
    structure1, structure2 = (str(jax.tree.structure(x)) for x in (x1, x2))
    if x2 is not None and structure1 != structure2:
        raise ValueError(
            f"x1 and x2 must have the same structure, got {structure1} and {structure2}"
        )
    dtype = jnp.result_type(*leaves)
    arrays = [jnp.asarray(leaf, dtype) for leaf in leaves]
    x1 = jax.tree.unflatten(jax.tree.structure(x1), arrays[: len(named1)])
    if x2 is not None:
        x2 = jax.tree.unflatten(jax.tree.structure(x2), arrays[len(named1) :])
    shapes = jax.tree.map(jnp.shape, (x1, x2))
    tile = plan(net, *shapes, ntk=ntk, dtype=dtype, memory_limit=memory_limit).tile
    net = _cast(net, dtype)
    with wide_scope():
        return _compiled(net, x1, x2, ntk, tile)


def _cast(net: Layer, dtype: Any) -> Layer:
    """Hyperparameters as scalars of the inputs' dtype."""

    def leaf(path: Any, value: Any) -> Array:
        if jnp.ndim(value) != 0:
            raise ValueError(
                f"{leaf_name('net', path)} must be a scalar, got shape {jnp.shape(value)}; "
                "to evaluate several values at once use jax.vmap over the network"
            )
        return jnp.asarray(value, dtype)

    return jax.tree_util.tree_map_with_path(leaf, net)


@partial(jax.jit, static_argnames=("ntk", "tile"))
def _compiled(net: Layer, x1: Any, x2: Any, ntk: bool, tile: tuple[int, int]) -> Kernel:
    n1 = jax.tree.leaves(x1)[0].shape[0]
    if x2 is None:
        if tile[0] >= n1:
            return _tile(net, x1, x1, ntk, same=True)
        return _tiled(net, x1, x1, ntk, tile, symmetric=True)
    n2 = jax.tree.leaves(x2)[0].shape[0]
    if tile[0] >= n1 and tile[1] >= n2:
        return _tile(net, x1, x2, ntk, same=False)
    return _tiled(net, x1, x2, ntk, tile, symmetric=False)


def _tile(net: Layer, x1: Any, x2: Any, ntk: bool, same: bool | Array) -> Kernel:
    """One tile; where ``same``, its points are the same in rows and columns."""
    state = jax.tree.map(lambda a, b: _input(a, b, ntk, same), x1, x2)
    kernels = rule(net, state).kernel()
    if same is False:
        return kernels
    if same is True:
        # A condition that the compiler cannot decide: see _mirrored.
        same = jnp.logical_not(jnp.isnan(kernels.nngp[0, 0]))
    return lax.cond(same, _mirrored, lambda k: k, kernels)


def _mirrored(kernels: Kernel) -> Kernel:
    """The upper triangle, mirrored.

    Rounding differs between (i, j) and (j, i): in products of matrices, and in elementwise code
    wherever the compiler contracts a multiplication and an addition. Called under a condition, so
    that it works on finished entries; fused with what makes them, they would be made twice, and
    perhaps differently.
    """
    rows = lax.broadcasted_iota(jnp.int32, kernels.nngp.shape, 0)
    columns = lax.broadcasted_iota(jnp.int32, kernels.nngp.shape, 1)
    return jax.tree.map(lambda k: jnp.where(rows > columns, k.T, k), kernels)


def _input(x1: Array, x2: Array, ntk: bool, same: bool | Array) -> State:
    state = input_state(x1, x2, ntk=ntk)
    if same is False or x1.shape[0] != x2.shape[0]:
        return state
    diagonal = jnp.logical_and(same, jnp.eye(x1.shape[0], dtype=bool))
    own = jnp.where(jnp.isnan(state.q1), state.q1, 0).astype(state.gap.dtype)
    gap = jnp.where(diagonal, own[:, None], state.gap)
    return KernelState(state.scale1, state.scale2, state.q1, state.q2, gap, state.ntk, state.layout)


def _tiled(
    net: Layer, x1: Any, x2: Any, ntk: bool, tile: tuple[int, int], symmetric: bool
) -> Kernel:
    """All tiles in one loop; of a symmetric kernel the upper ones, each written twice."""
    n1, n2 = jax.tree.leaves(x1)[0].shape[0], jax.tree.leaves(x2)[0].shape[0]
    dtype = jax.tree.leaves(x1)[0].dtype
    count1, count2 = -(-n1 // tile[0]), -(-n2 // tile[1])
    padded1, padded2 = count1 * tile[0], count2 * tile[1]
    x1 = jax.tree.map(lambda x: jnp.pad(x, ((0, padded1 - n1), (0, 0))), x1)
    x2 = jax.tree.map(lambda x: jnp.pad(x, ((0, padded2 - n2), (0, 0))), x2)
    pairs = [(i, j) for i in range(count1) for j in range(count2) if i <= j or not symmetric]

    def body(out: Kernel, pair: Array) -> tuple[Kernel, None]:
        i, j = pair[0] * tile[0], pair[1] * tile[1]
        rows = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, i, tile[0]), x1)
        columns = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, j, tile[1]), x2)
        result = _tile(net, rows, columns, ntk, same=(i == j) if symmetric else False)
        out = jax.tree.map(lambda a, k: lax.dynamic_update_slice(a, k, (i, j)), out, result)
        if symmetric:
            out = jax.tree.map(lambda a, k: lax.dynamic_update_slice(a, k.T, (j, i)), out, result)
        return out, None

    empty = jnp.zeros((padded1, padded2), dtype)
    start = Kernel(nngp=empty, ntk=empty if ntk else None)
    kernels, _ = lax.scan(body, start, jnp.asarray(pairs, jnp.int32))
    return jax.tree.map(lambda k: k[:n1, :n2], kernels)
