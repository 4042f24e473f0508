r"""The state that kernels are propagated in.

For inputs :math:`i` (rows) and :math:`j` (columns), a signal :math:`z` inside an infinitely wide
network has the covariance :math:`K_{ij} = E z_i z_j`; where it has spatial positions, an index
stands for an input and a position. What is carried is, with a positive scale :math:`\mu_i`,

.. math::

    q_i = \frac{E z_i^2}{\mu_i^2}, \qquad
    g_{ij} = \tfrac12 E \Big(\frac{z_i}{\mu_i} - \frac{z_j}{\mu_j}\Big)^2, \qquad
    t_{ij} = \frac{\Theta_{ij}}{\mu_i \mu_j},

so that :math:`K_{ij} = \mu_i \mu_j ((q_i + q_j)/2 - g_{ij})`. After every layer the scales are set
so that :math:`q = 1`: then :math:`g` is one minus the cosine, and rescaled copies of an input have
:math:`g = 0`.

What belongs to one input alone (:class:`Rows`) is settled before any pair is formed, and kept in
float64 where the hardware has it. Powers of two are taken out of the scales, and out of the NTK, as
soon as they grow large, so that nothing overflows before the result is formed.

The scales are *constants* for differentiation: the result does not depend on how they are chosen,
so derivatives flow through ``q`` and ``g`` alone, where they are smooth even at zero inputs.

Differs from the textbook recursion:

1. The gap is carried, not the covariance: near-duplicates keep their angle in float32.
2. Row quantities are kept in float64 where the hardware has it.
3. Where a variance is zero the scale is the smallest one of the same input (else 1), and the
   correlation is taken as 0.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from theorylab._numerics import wide_scope


class LogScale(NamedTuple):
    """Natural logarithms of the factors that ``nngp`` and ``ntk`` are to be multiplied by.

    Attributes
    ----------
    nngp, ntk
        Scalars; 0 unless the kernel itself would overflow or underflow its dtype. ``ntk`` is None
        where there is no NTK.
    """

    nngp: Any
    ntk: Any


NATURAL_UNITS = LogScale(0.0, 0.0)


class _NngpNtk(NamedTuple):
    nngp: Array
    ntk: Array | None


@jax.tree_util.register_pytree_node_class
class Kernel(_NngpNtk):
    """Kernels of an infinitely wide network: the pair ``nngp, ntk``, and their unit.

    Attributes
    ----------
    nngp
        Covariance of the outputs at initialisation, (n1, n2), or ``(n1, n2, *S, *S')`` where
        spatial axes remain at the output.
    ntk
        Neural tangent kernel, of the same shape, or None where it was not asked for.
    log_scale
        :class:`LogScale`, zeros as a rule. Where a kernel leaves the range of its dtype, it is
        given in units of ``exp(log_scale)``, in which it is of order one. A third child of the
        pytree, but no third entry of the pair.
    """

    log_scale: LogScale = NATURAL_UNITS

    def __new__(cls, nngp: Any, ntk: Any, log_scale: LogScale = NATURAL_UNITS) -> "Kernel":
        self = super().__new__(cls, nngp, ntk)
        self.log_scale = log_scale
        return self

    def _replace(self, **fields: Any) -> "Kernel":
        have = {"nngp": self.nngp, "ntk": self.ntk, "log_scale": self.log_scale}
        return Kernel(**{**have, **fields})

    def tree_flatten(self) -> tuple[tuple[Any, ...], None]:
        """Children for pytrees."""
        return (self.nngp, self.ntk, self.log_scale), None

    @classmethod
    def tree_unflatten(cls, _: None, children: Any) -> "Kernel":
        """The reverse of ``tree_flatten``."""
        return cls(*children)


@dataclasses.dataclass(frozen=True)
class Layout:
    """Static facts about a signal.

    Attributes
    ----------
    width
        Number of channels of the finite network at this point.
    gaussian
        Whether the signal is Gaussian in the limit: so behind an affine layer, not behind a
        nonlinearity or at the input.
    fresh
        For each ``FanOut`` that is still open above this point, outermost first: whether an affine
        layer, with weights of its own, stands between it and this point. Branches are independent
        given their common input when at most one of them is not fresh.
    spatial
        Sizes of the spatial axes, in the order in which the finite signal has them.
    axes
        Where the finite signal has its batch and its channel axis, counted from the front.
    full
        Whether kernels hold all pairs of positions or pairs of equal positions alone.
    """

    width: int
    gaussian: bool
    fresh: tuple[bool, ...] = ()
    spatial: tuple[int, ...] = ()
    axes: tuple[int, int] = (0, 1)
    full: bool = True

    @property
    def positions(self) -> int:
        """Number of spatial positions."""
        return math.prod(self.spatial)

    def shape(self, n: int = 1) -> tuple[int, ...]:
        """Shape of the finite signal for ``n`` inputs."""
        sizes = iter(self.spatial)
        special = {self.axes[0]: n, self.axes[1]: self.width}
        rank = 2 + len(self.spatial)
        return tuple(special[i] if i in special else next(sizes) for i in range(rank))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rows:
    """What belongs to one input alone; see the module docstring.

    Attributes
    ----------
    scale
        Scales ``(n, *S)``, wide dtype, constant under differentiation; in units of ``2**exponent``.
    q
        Variances in units of the squared scales, ``(n, *S)``, wide dtype; 1, or 0 where the signal
        is zero.
    half, root, inverse
        ``q / 2``, its root, and the inverse of that (0 where the signal is zero), ``(n, *S)``, in
        the dtype of the pairs.
    exponent
        Power of two taken out of the scales, an integer scalar.
    tangent
        Upper bound of the NTK of an input with itself, in units of the squared scales and of
        ``4**tangent_exponent``; a scalar, wide dtype, constant under differentiation.
    tangent_exponent
        Power of four taken out of the NTK, an integer scalar.
    own
        Gap between the positions of one input, (n, P, P'), or None where no layer above pools.
    layout
        Static facts.
    """

    scale: Array
    q: Array
    half: Array
    root: Array
    inverse: Array
    exponent: Array
    tangent: Array
    tangent_exponent: Array
    own: Array | None
    layout: Layout = dataclasses.field(metadata={"static": True})

    @property
    def dtype(self) -> Any:
        """Of the pairs that are formed of these rows."""
        return self.half.dtype

    def bare(self) -> "Rows":
        """Without the gaps between positions."""
        return dataclasses.replace(self, own=None)

    def relaid(self, **facts: Any) -> "Rows":
        """With other static facts."""
        return dataclasses.replace(self, layout=dataclasses.replace(self.layout, **facts))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Held:
    """A quantity of each input, made ready for pairs before any pair is formed.

    Were it left to the pairs, the compiler would form it again for each of them.

    Attributes
    ----------
    head
        The quantity, ``(..., n, *S)``.
    tail
        What rounding took from it, or None.
    rank
        Number of spatial axes.
    """

    head: Array
    tail: Array | None
    rank: int = dataclasses.field(metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class KernelState:
    """Everything a layer needs to propagate kernels; see the module docstring.

    Attributes
    ----------
    rows1, rows2
        :class:`Rows` of the two sets of inputs.
    gap
        Half the mean squared difference of the scaled signals, (n1, n2), or with the P positions
        in one axis (n1, n2, P) or (n1, n2, P, P').
    ntk
        NTK in units of the scales, of the same shape, or None when it is not wanted.
    paired
        Whether row i meets column i alone, so that (n1, n2) is (n,): an input with itself.
    """

    rows1: Rows
    rows2: Rows
    gap: Array
    ntk: Array | None
    paired: bool = dataclasses.field(default=False, metadata={"static": True})

    @property
    def layout(self) -> Layout:
        """Static facts about the signal."""
        return self.rows1.layout

    def column(self, row: Array) -> Array:
        """A quantity of the first inputs, ``(n1, *S)``, to broadcast against pairs."""
        row = self._flat(row)
        if not self.paired:
            row = jnp.expand_dims(row, 1)
        return jnp.expand_dims(row, -1) if self._full else row

    def line(self, row: Array) -> Array:
        """A quantity of the second inputs, ``(n2, *S)``, to broadcast against pairs."""
        row = self._flat(row)
        if not self.paired:
            row = jnp.expand_dims(row, 0)
        return jnp.expand_dims(row, -2) if self._full else row

    @property
    def _full(self) -> bool:
        return self.layout.full and bool(self.layout.spatial)

    def _flat(self, row: Array) -> Array:
        """Positions along one axis: the compiler's inner loops are as long as the last one."""
        return row.reshape(row.shape[0], -1) if self.layout.spatial else row

    def kernel(self) -> Kernel:
        """The covariance and the NTK in natural units, in the dtype of ``gap``."""
        from theorylab.kernels._units import kernel_of

        with wide_scope():
            return kernel_of(self)


def own_state(rows: Rows) -> KernelState:
    """The state of every input with itself, for all pairs of its positions."""
    assert rows.own is not None
    return KernelState(rows.bare(), rows.bare(), rows.own, None, paired=True)
