r"""Kernels of wide networks estimated from finite ones, for architectures without a closed form.

Draws follow one another in one compiled loop, so that memory is that of a single network. Mean and
squared deviation are updated draw by draw, which needs no second pass and subtracts no large
squares:

.. math::

    \delta_s = K_s - m_{s-1}, \quad m_s = m_{s-1} + \delta_s / s, \quad
    V_s = V_{s-1} + \delta_s (K_s - m_s), \quad
    \mathrm{se} = \sqrt{\frac{V_S}{S (S - 1)}}.

Differs from the paper / reference:
  1. Novak et al. (2019) average function kernels; the tangent kernel is averaged here beside them,
     and both come with the standard error of their mean.
  2. Welford (1962) adds in plain arithmetic. Here the rounding error of each addition is carried
     on to the next one (Kahan 1965), so that the error of a float32 mean does not grow with the
     number of draws: in plain arithmetic it meets the standard error of draws that scatter by a
     percent at about 100,000 of them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from theorylab._numerics import safe_sqrt
from theorylab.empirical._function import Keywords, batch, hashable, same_kind, split_keywords
from theorylab.empirical._nngp import nngp
from theorylab.empirical._ntk import ntk as tangent_kernel

Tree = Any


class Estimate(NamedTuple):
    """Kernels averaged over draws of the parameters, with the standard errors of those averages.

    Attributes
    ----------
    nngp
        (n1, n2), or ``(n1, n2, *S, *S')`` where outputs have the axes S between batch and channels:
        the axes of ``net.kernel(x1, x2).nngp``. A pytree of such arrays if ``apply`` returns one.
    ntk
        The same for the tangent kernel; None where it was not asked for.
    nngp_se, ntk_se
        Standard error of each entry, shapes as above.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from theorylab.empirical import Estimate
    >>> one = Estimate(nngp=jnp.ones((2, 2)), ntk=None, nngp_se=jnp.zeros((2, 2)), ntk_se=None)
    >>> one.nngp.shape
    (2, 2)
    """

    nngp: Tree
    ntk: Tree | None
    nngp_se: Tree
    ntk_se: Tree | None


class _Sum(NamedTuple):
    """A running sum, and what rounding has kept out of it so far."""

    total: jax.Array
    lost: jax.Array

    def plus(self, term: jax.Array) -> "_Sum":
        term = term + self.lost
        total = self.total + term
        return _Sum(total, term - (total - self.total))


def monte_carlo(
    init: Callable[[jax.Array, Tree], Tree],
    apply: Callable[..., Tree],
    key: jax.Array,
    n_samples: int,
    x1: Tree,
    x2: Tree | None = None,
    *,
    ntk: bool = True,
    **kwargs: Any,
) -> Estimate:
    r"""Average the function and tangent kernels of finite networks over their initialisations.

    .. math::

        \hat K_{ij} = \frac{1}{S} \sum_{s=1}^{S} \frac{1}{c} \sum_{o=1}^{c}
            f_o(x_i; \theta_s)\, f_o(x_j; \theta_s), \qquad
        \hat\Theta_{ij} = \frac{1}{S} \sum_{s=1}^{S} \frac{1}{c} \sum_{o=1}^{c}
            \nabla_\theta f_o(x_i; \theta_s) \cdot \nabla_\theta f_o(x_j; \theta_s)

    Parameters
    ----------
    init
        ``init(key, input_shape) -> params``, where ``input_shape`` is ``x1.shape`` (batch axis
        included), or a pytree of shapes if ``x1`` is a pytree of arrays. The first of ``init,
        apply, _ = net``; for a flax module ``lambda key, shape: module.init(key,
        jax.numpy.ones(shape))``.
    apply
        ``apply(params, x, **kwargs) -> y``, an array ``(n, *S, c)`` with the channels last, or
        (n,), or a pytree of them. Outputs of one example must not depend on the others of its
        batch.
    key
        Typed JAX key, ``jax.random.key(seed)``. Draw ``s`` has the key ``fold_in(key, s)``, the
        same whatever ``n_samples``.
    n_samples
        Number S of draws, at least 2: a single one has no standard error (:func:`nngp` and
        :func:`ntk` give its kernels). Static under ``jit``.
    x1, x2
        Inputs (n1, ...) and (n2, ...), or pytrees of them. ``x2=None`` means x1 and uses the
        symmetry.
    ntk
        Whether to estimate the tangent kernel as well, which costs far more than the other.
    **kwargs
        Passed on to ``apply``, the same in every draw; see :func:`ntk`.

    Returns
    -------
    Estimate
        ``nngp, ntk, nngp_se, ntk_se``.

    Raises
    ------
    TypeError
        If ``init`` or ``apply`` is no function, the key is no typed key, ``n_samples`` no whole
        number, ``ntk`` no bool, or as :func:`ntk` for leaves and outputs.
    ValueError
        If ``n_samples`` is below 2, batches are empty or do not fit, ``key`` is an array of keys,
        or as :func:`ntk` for parameters and outputs.

    Notes
    -----
    Two errors. The statistical one is the standard error, which falls as :math:`S^{-1/2}`; its own
    relative error is about :math:`(2 S)^{-1/2}`, more where outputs have heavy tails (narrow or
    deep networks), so that few draws bound little. The other is the bias of a finite width, which
    no number of draws removes: the mean over initialisations differs from the limit of infinite
    width by O(depth / width), and by nothing where the limit is exact at any width (both kernels of
    networks with a single hidden layer). Doubling the width shows it.

    Entries of one estimate are correlated, all being of the same draws. float32 in, float32 out,
    also where 64-bit types are enabled: parameters wider than the inputs are rounded to them. The
    loop is compiled here, once for each ``init``, ``apply``, ``n_samples`` and shapes: pass the
    same function objects again. Memory does not grow with ``n_samples``.

    References
    ----------
    Novak et al. (2019), "Bayesian deep convolutional networks with many channels are Gaussian
    processes", section 4; Yaida (2020), "Non-Gaussian processes and neural networks at finite
    widths" (the bias, of first order in 1 / width); Hanin & Nica (2020), "Finite depth and width
    corrections to the neural tangent kernel", theorem 1 (its fluctuation, for ReLU); Welford
    (1962).

    Examples
    --------
    >>> import jax
    >>> from theorylab import empirical
    >>> init = lambda key, shape: jax.random.normal(key, (shape[-1], 64))
    >>> apply = lambda w, x: x @ w  # linear: the kernels are x x^T, the second without noise
    >>> x = jax.numpy.array([[1.0, 2.0], [3.0, 4.0]])
    >>> estimate = empirical.monte_carlo(init, apply, jax.random.key(0), 200, x)
    >>> bool(abs(estimate.nngp - x @ x.T).max() < 5 * estimate.nngp_se.max())
    True
    >>> estimate.ntk.tolist(), float(estimate.ntk_se.max())
    ([[5.0, 11.0], [11.0, 25.0]], 0.0)
    """
    init, apply = _hashable("init", init), _hashable("apply", apply)
    _check_key(key)
    if isinstance(n_samples, bool) or not isinstance(n_samples, int | np.integer):
        raise TypeError(f"n_samples must be a whole number, got {n_samples!r}")
    if not 2 <= n_samples < 2**31:
        raise ValueError(
            "n_samples must be at least 2, since a single draw has no standard error, and below "
            f"2**31, got {n_samples}"
        )
    if not isinstance(ntk, bool | np.bool_):
        raise TypeError(f"ntk must be True or False, got {ntk!r}")
    x1, _ = batch("x1", x1)
    if x2 is not None:
        x2, _ = batch("x2", x2)
        same_kind(x1, x2)
    options, keywords = split_keywords(kwargs)
    return _monte_carlo(key, x1, x2, options, init, apply, int(n_samples), bool(ntk), keywords)


@partial(jax.jit, static_argnums=(4, 5, 6, 7, 8))
def _monte_carlo(
    key: jax.Array,
    x1: Tree,
    x2: Tree | None,
    options: list[Any],
    init: Callable[[jax.Array, Tree], Tree],
    apply: Callable[..., Tree],
    n_samples: int,
    ntk: bool,
    keywords: Keywords,
) -> Estimate:
    kwargs = keywords.join(options)
    shape = jax.tree.map(lambda a: a.shape, x1)

    def draw(s: jax.Array) -> tuple[Tree, Tree]:
        params = _narrowed(_initialised(init, jax.random.fold_in(key, s), shape), x1)
        tangent = tangent_kernel(apply, params, x1, x2, **kwargs) if ntk else None
        return jax.tree.map(_spatial_axes_apart, (nngp(apply, params, x1, x2, **kwargs), tangent))

    def step(held: tuple[jax.Array, list[_Sum], list[_Sum]], _: None) -> tuple[Any, None]:
        s, means, squares = held
        kernels = jax.tree.leaves(draw(s))
        new_means, new_squares = [], []
        for kernel, mean, square in zip(kernels, means, squares, strict=True):
            deviation = kernel - mean.total
            mean = mean.plus(deviation / (s + 1).astype(deviation.dtype))
            new_means.append(mean)
            new_squares.append(square.plus(deviation * (kernel - mean.total)))
        return (s + 1, new_means, new_squares), None

    shapes = jax.eval_shape(draw, jnp.uint32(0))
    zeros = [jnp.zeros(a.shape, a.dtype) for a in jax.tree.leaves(shapes)]
    start = [_Sum(zero, zero) for zero in zeros]
    (_, means, squares), _ = jax.lax.scan(
        step, (jnp.uint32(0), start, start), None, length=n_samples
    )
    structure = jax.tree.structure(shapes)
    scale = (n_samples * (n_samples - 1.0)) ** -0.5
    mean = jax.tree.unflatten(structure, [m.total for m in means])
    error = jax.tree.unflatten(structure, [safe_sqrt(v.total) * scale for v in squares])
    return Estimate(mean[0], mean[1], error[0], error[1])


def _spatial_axes_apart(kernel: jax.Array) -> jax.Array:
    """From (n1, n2, o1, o1', o2, o2', ...) to (n1, n2, o1, o2, ..., o1', o2', ...)."""
    axes = range(kernel.ndim)
    return kernel.transpose(0, 1, *axes[2::2], *axes[3::2])


def _initialised(init: Callable[[jax.Array, Tree], Tree], key: jax.Array, shape: Tree) -> Tree:
    """``init(key, shape)``; what it raises, often for want of an array, says how it was called."""
    try:
        return init(key, shape)
    except Exception as error:
        error.add_note(f"monte_carlo called init(key, input_shape) with input_shape = {shape}")
        raise


def _narrowed(params: Tree, x: Tree) -> Tree:
    """Floating parameters at the precision of the inputs, unless they have less."""
    inputs = [a.dtype for a in jax.tree.leaves(x) if jnp.issubdtype(a.dtype, jnp.floating)]
    if not inputs:
        return params
    dtype = jnp.result_type(*inputs)

    def narrowed(leaf: Any) -> Any:
        is_float = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)
        return leaf.astype(dtype) if is_float and leaf.dtype.itemsize > dtype.itemsize else leaf

    return jax.tree.map(narrowed, params)


def _hashable(name: str, f: Any) -> Callable[..., Any]:
    if not callable(f):
        raise TypeError(f"{name} must be a function, got {type(f).__name__}")
    return hashable(f)


def _check_key(key: Any) -> None:
    if not isinstance(key, jax.Array) or not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        got = f"an array of {key.dtype}" if hasattr(key, "dtype") else type(key).__name__
        raise TypeError(f"key must be a typed JAX key, jax.random.key(seed), got {got}")
    if key.shape != ():
        raise ValueError(f"key must be a single key, got an array of keys of shape {key.shape}")
