"""The door: inputs are checked, the cost is planned, and one compiled program does the rest."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from theorylab._numerics import floating, wide_dtype, wide_scope
from theorylab._tree import leaf_name, leaves_with_names
from theorylab.kernels._plan import prepare
from theorylab.kernels._propagate import Signal
from theorylab.kernels._sides import side_of
from theorylab.kernels._state import Kernel, LogScale
from theorylab.kernels._tiles import Job, tile_of, tiled
from theorylab.kernels._units import kernel_exponents, log_scale, unfolded_pairs
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
        Inputs (n1, d) or with spatial axes ``(n1, *S, d)``, axes in the order that the first layer
        names; float32 or float64; a tuple of arrays for a network with several inputs.
    x2
        Further inputs, like ``x1``. ``None`` means ``x1``: half the work, an exactly symmetric
        result.
    ntk
        Whether the NTK is wanted; ``False`` leaves it None.
    memory_limit
        In bytes; the kernel is computed in tiles small enough to stay below it.
    **layer_inputs
        Inputs of layers that take any; none of the present ones does.

    Returns
    -------
    Kernel
        ``nngp`` and ``ntk``, (n1, n2), or ``(n1, n2, *S, *S')`` where spatial axes remain at the
        output, with a ``log_scale`` that is zero unless they leave the range of their dtype; in the
        dtype of the inputs as JAX holds them, whether 64-bit types are enabled or not; half
        precision is computed and returned in float32.

    Raises
    ------
    ValueError
        For inputs of wrong rank, unequal features or no points, for a layer that cannot stand where
        it does, for a ``memory_limit`` that no tile can meet.
    TypeError
        For integer or complex inputs, and for lists and dictionaries of inputs.
    NotImplementedError
        Where there is no closed form; the message names the layer.

    Notes
    -----
    *Validity.* The limit of infinite width at initialisation. A NaN in an input gives NaN in its
    rows and columns and nowhere else.

    *float32.* Hyperparameters are rounded to the dtype of the inputs; what is formed from them, and
    all quantities per input, is float64. The error of an entry, over the square root of the product
    of its diagonal entries, stays below 1e-6 to depth 10, on near-duplicates, duplicates and
    rescaled copies of inputs too. Known limit: points within about 1e-3 of *opposite*
    (``x2 = -x1``) under a kinked activation without bias, where a gap near 2 holds the angle only
    to the square root of ``eps``: there the NTK is off by up to 1e-4 in float32, 1e-9 in float64.
    Networks with a kinked activation above a pooling layer, or with another than ``Relu`` or
    ``Abs`` below it, have their pairs formed in float64, for twice the time and memory. On TPUs,
    which have no float64, the NTK of near-duplicates is off there by up to 1.2e-5 (as measured on
    CPUs). Behind a pool, points whose gap is rounding alone are taken to coincide.

    *Derivatives* of first and second order exist in both modes, in inputs and in hyperparameters
    (pass ``net`` itself as the argument). Where the NTK of a kinked activation has a cusp, at
    parallel inputs, the mean of the one-sided derivatives is returned. At a zero input under layers
    without bias the kernel is a cone: the derivative is finite and has no meaning.

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
    for name, x in (("x1", x1), ("x2", x2)):
        if isinstance(x, dict | list):
            raise TypeError(
                f"{name} must be an array, or a tuple of arrays for a network with several "
                f"inputs, got a {type(x).__name__}"
            )
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
    ready = prepare(net, *shapes, ntk=ntk, dtype=dtype, memory_limit=memory_limit)
    net = _cast(ready.net, dtype)
    how = _How(ready.layouts, ready.own, ready.wide, ready.counts, ntk, ready.plan.tile)
    with wide_scope():
        return _compiled(net, x1, x2, how)


class _How(NamedTuple):
    """All that is static about a call."""

    layouts: Signal
    own: bool
    wide: bool
    counts: tuple[int, int]
    ntk: bool
    tile: tuple[int, int]


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


@partial(jax.jit, static_argnames="how")
def _compiled(net: Layer, x1: Any, x2: Any, how: _How) -> Kernel:
    dtype = jax.tree.leaves(x1)[0].dtype
    pairs = wide_dtype(dtype) if how.wide else dtype
    rows = side_of(net, x1, how.layouts, how.own, pairs)
    columns = rows if x2 is None else side_of(net, x2, how.layouts, how.own, pairs)
    units = kernel_exponents(rows.final, columns.final, dtype)
    job = Job(net, rows, columns, units, dtype, how.ntk, x2 is None)
    if all(size >= n for size, n in zip(how.tile, how.counts, strict=True)):
        pair = tile_of(job, rows, columns, same=x2 is None)
    else:
        pair = tiled(job, how.counts, how.tile)
    ntk_log = log_scale(units[1], dtype) if how.ntk else None
    nngp, ntk = jax.tree.map(lambda k: unfolded_pairs(k, rows.final.layout), pair)
    return Kernel(nngp, ntk, LogScale(log_scale(units[0], dtype), ntk_log))
