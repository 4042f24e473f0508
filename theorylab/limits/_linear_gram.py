r"""Linear networks of any width at the cost of a small one: a draw of their Gram matrix.

The network of ``_linear_mup`` at width n depends on its initial weights through the Gram matrix of
the frame :math:`F = (u_0, v_0^\top)` alone, n x k with :math:`k = d_{in} + d_{out}`. If F = Q R
with orthonormal Q, the network with the frame R, of k hidden units, is the same function at all
steps. So what has to be drawn is R, not F.

*The law of R* (Bartlett). Columns of F are independent, :math:`F_j = \sigma_j n^{-1/2} g_j` with
standard normal :math:`g_j`. Seen from the span of the columns before it, which is independent of
:math:`g_j`, the column has j standard normal coordinates inside (counting from j = 0), and outside
n - j more, of which R has only the length:

.. math::

    R_{ij} \sim \sigma_j n^{-1/2} N(0, 1) \quad (i < j), \qquad
    R_{jj} \sim \sigma_j n^{-1/2} \chi_{n - j},

all independent. This is exact for :math:`n \ge k`, and takes k (k + 1) / 2 numbers at any n.

*Chi at any width.* :math:`\chi_1` is a normal variable without its sign. For :math:`\nu \ge 2`,
:math:`\chi_\nu^2 = 2 G` with G of the gamma law of shape :math:`\nu / 2`. With
:math:`d = \nu/2 - 1/3`, :math:`c = (9 d)^{-1/2}`, normal z and :math:`t = c z`, put
:math:`G = d (1 + t)^3`: the gamma density in terms of z is proportional to

.. math::

    \exp\left(d (1 + 3 \log(1 + t) - (1 + t)^3)\right)
    = \exp\left(-\frac{z^2}{2} - \frac{z^4}{108\, d} + O(d^{-3/2}) \right)
    \le \exp(-z^2 / 2),

the proposal of Marsaglia and Tsang, accepted with the ratio of the two sides as its probability.
It is rejected with the probability :math:`E[z^4] / (108 d) = 1 / (36 d)` to leading order, and with
0.05 at most, that of :math:`\nu = 2`. Twelve proposals are drawn at once and the first accepted is
taken: with a probability of :math:`0.05^{12} < 3 \cdot 10^{-16}` there is none. The ratio is that
of numbers of size d, whose rounding spoils it at large d. So for :math:`\nu \ge 2^{16}` the first
proposal is taken as it is: the law of each chi is then wrong by at most
:math:`1 / (36 d) < 8.5 \cdot 10^{-7}` in total variation, and by :math:`2^{16} / \nu` times that at
larger widths. No integer of the size of n occurs.

Differs from the paper / reference:
  1. Bartlett (1933) decomposes the Wishart matrix of independent rows; the scales of columns are
     put in here.
  2. 2^16 is where the bound is below what a million draws could see, and where the rounding of
     the rejection, d times a unit of rounding, is still below 1e-2 in float32.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from theorylab._numerics import known
from theorylab.limits import _arguments as check
from theorylab.limits._limit import Limit
from theorylab.limits._linear_mup import LinearMup, described
from theorylab.limits._linear_state import LinearState
from theorylab.limits._sgd import check_optimizer, check_options

EXACT = 2.0**16  # degrees of freedom, from which on a proposal is taken as it is
PROPOSALS = 12


@dataclasses.dataclass(frozen=True, eq=False)
class LinearGram(LinearMup):
    """The description of :func:`linear_gram`, whose arguments are its fields."""

    width: Any

    def init(self, key: Array | None = None, dtype: Any = None) -> LinearState:
        """The triangular factor of a frame of the given width."""
        if key is None:
            raise ValueError("key must be given: initial weights of a finite width are random")
        return _drawn(self, key, check.state_dtype(dtype))


@functools.partial(jax.jit, static_argnums=(0, 2))
def _drawn(network: LinearGram, key: Array, dtype: Any) -> LinearState:
    """The state at the start; compiled for those who call it with a key."""
    k, n = network.frame, jnp.asarray(network.width, dtype)
    key_chi, key_normal = jax.random.split(key)
    chi = _scaled_chi(key_chi, n, k, dtype)
    normal = jax.random.normal(key_normal, (k, k), dtype) / jnp.sqrt(n)
    upper = np.triu(np.ones((k, k), bool), 1)
    frame = jnp.where(upper, normal, jnp.diag(chi)) * network.scales(dtype)[None, :]
    return network.start(jnp.where(n < k, jnp.nan, frame))  # no such network, if it was traced


def _scaled_chi(key: Array, n: Array, k: int, dtype: Any) -> Array:
    """Chi variables of n, n - 1, ..., n - k + 1 degrees of freedom, over the root of n."""
    key_normal, key_uniform = jax.random.split(key)
    z = jax.random.normal(key_normal, (PROPOSALS + 1, k), dtype)
    uniform = jax.random.uniform(key_uniform, (PROPOSALS, k), dtype)
    freedom = n - jnp.arange(k, dtype=dtype)
    d = jnp.maximum(freedom, 2) / 2 - 1 / 3
    cube = (1 + z[1:] / (3 * jnp.sqrt(d))[None, :]) ** 3
    less = 1 - cube + jnp.log(jnp.maximum(cube, float(jnp.finfo(dtype).tiny)))
    ratio = d[None, :] * less + z[1:] ** 2 / 2
    accepted = (cube > 0) & ((jnp.log(uniform) < ratio) | (freedom >= EXACT)[None, :])
    first = jnp.argmax(accepted, axis=0)
    cube = jnp.take_along_axis(cube, first[None, :], axis=0)[0]
    return jnp.where(freedom < 2, jnp.abs(z[0]) / jnp.sqrt(n), jnp.sqrt(2 * d / n * cube))


def linear_gram(
    width: Any,
    d_in: int,
    d_out: int,
    *,
    learning_rate: Any,
    sigma_u: Any = 1.0,
    sigma_v: Any = 1.0,
    momentum: Any = 0.0,
    weight_decay: Any = 0.0,
    clip: Any = None,
    bias: Any = None,
    sigma_b: Any = 0.0,
    output_bias: Any = None,
    optimizer: str = "sgd",
) -> Limit:
    r"""A linear network of one hidden layer in muP, of any finite width, at a cost without width.

    The network of :func:`linear_mup` at width n, equal in law at all steps together: initial
    weights enter through their Gram matrix alone, whose Cholesky factor
    (:math:`k = d_{in} + d_{out}` columns of scales :math:`\sigma_j`) is drawn,

    .. math::

        R_{ij} \sim \sigma_j n^{-1/2} N(0, 1) \quad (i < j), \qquad
        R_{jj} \sim \sigma_j n^{-1/2} \chi_{n - j}, \quad j = 0, \dots, k - 1 .

    Parameters
    ----------
    width
        n >= d_in + d_out (one more with a bias): a number of any size, or an array without axes,
        which may be traced, so that widths can be mapped over. A traced width that is too small
        gives a state of NaN, and ``Status.DIVERGED``.
    d_in, d_out, learning_rate, sigma_u, sigma_v
        As in :func:`linear_mup`.
    momentum, weight_decay, clip, bias, sigma_b, output_bias, optimizer
        As in :func:`linear_mup`.

    Returns
    -------
    Limit
        As of :func:`linear_mup`, but that ``init(key, dtype=None)`` needs the key.

    Raises
    ------
    ValueError
        As :func:`linear_mup`; if width, where it is known, is below the number of initial vectors,
        no whole number or not finite; from ``init``, without a key.
    TypeError
        As :func:`linear_mup`.

    Notes
    -----
    *Validity.* The law is exact below 65536 degrees of freedom; above, each chi variable is off by
    less than 1 / (18 n) in total variation. The same key at several widths gives networks that
    are alike (common random numbers): differences between widths are smooth, each is right in law.

    *float32.* The deviation from the limit is :math:`O(n^{-1/2})` and is held in numbers of order
    1: it is lost below :math:`6 \cdot 10^{-8}`, from about n = 2^46 on; at 2^32 it has a relative
    error of 1e-2. float64 does for any width.

    References
    ----------
    Bartlett (1933), "On the theory of statistical regression" (the decomposition); Marsaglia and
    Tsang (2000), "A simple method for generating gamma variables"; Yang and Hu (2021),
    arXiv:2011.14522 (the limit).

    Examples
    --------
    >>> import jax
    >>> from theorylab import limits
    >>> init, step, predict = limits.linear_gram(2**32, 2, 1, learning_rate=0.3)
    >>> gram = init(jax.random.key(0)).params["u"]
    >>> [round(float(r), 3) for r in gram[:, 0]]
    [1.0, 0.0, 0.0]
    """
    check_optimizer(optimizer)
    if isinstance(width, int | np.integer) and not isinstance(width, bool):
        width = _as_float(int(width))
    network = LinearGram(
        **described(d_in, d_out, sigma_u, sigma_v, sigma_b, bias, output_bias),
        options=check_options(learning_rate, momentum, weight_decay, clip),
        width=check.scalar("width", width),
    )
    number = known(network.width)
    if number is not None and number < network.frame:
        raise ValueError(
            f"width must be at least {network.frame}, the number of initial vectors, got "
            f"{float(number):g}"
        )
    if number is not None and not float(number).is_integer():
        raise ValueError(f"width must be a whole number, got {float(number):g}")
    return Limit(network.init, network.step, network.predict)


def _as_float(width: int) -> float:
    try:
        return float(width)
    except OverflowError:
        raise ValueError(f"width must be below 1e308, got {width.bit_length()} bits") from None
