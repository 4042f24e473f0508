"""Training in a subspace: any loss of parameters becomes a loss of d coordinates."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from theorylab.subspace._projection import Projection, wide_dtype
from theorylab.subspace._said import Said, moved


def project(projection: Projection | Said, params0: Any, theta_d: Any) -> Any:
    """theta0 + P theta_d: the parameters at the coordinates theta_d.

    Parameters
    ----------
    projection : Projection or Said
        From d coordinates to trees like ``params0``.
    params0 : tree
        The start theta0, of the structure and shapes that the projection was made for. After t
        steps of ordinary training it is a burn-in subspace (Larsen et al., ICLR 2022).
    theta_d : array (d,), or {"theta": (d - m,), "lam": (m,)} of a ``said`` projection
        Coordinates.

    Returns
    -------
    tree
        Like ``params0``, each leaf in its dtype: bfloat16 and float16 are added to in float32 and
        rounded once. Leaves that are not selected are those of ``params0``, the same objects.

    Raises
    ------
    ValueError, TypeError
        If structure, shapes or dtypes do not fit; the message names the leaf.

    Notes
    -----
    Li et al., ICLR 2018, equation 2.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import subspace
    >>> params0 = {"w": jnp.ones((20, 5))}
    >>> p = subspace.hadamard(3, like=params0, key=jax.random.key(0))
    >>> bool((subspace.project(p, params0, subspace.init(p))["w"] == 1).all())
    True
    """
    layout = projection.layout
    leaves = layout.check(params0, "params0")
    rest = iter(moved(projection, theta_d))
    out = []
    for leaf, use in zip(leaves, layout.selected, strict=True):
        if not use:
            out.append(leaf)
            continue
        start, delta = jnp.asarray(leaf), next(rest)
        # float32 at least, float64 if one of both is: rounded once, at the end.
        wide = wide_dtype(start, delta)
        there = start.astype(wide) + delta.astype(wide).reshape(start.shape)
        out.append(there.astype(start.dtype))
    return jax.tree_util.tree_unflatten(layout.treedef, out)


def wrap(
    loss: Callable[..., Any], projection: Projection | Said, params0: Any
) -> Callable[..., Any]:
    """A function of parameters as a function of coordinates.

    ``wrap(loss, p, params0)(theta_d, *args) = loss(params0 + P theta_d, *args)``.

    Parameters
    ----------
    loss : callable
        ``loss(params, *args, **kwargs)``; a loss, an accuracy, the network itself.
    projection : Projection or Said
        From d coordinates to trees like ``params0``.
    params0 : tree
        The start.

    Returns
    -------
    callable
        Of ``theta_d`` and the same further arguments. Its derivatives are those of ``loss`` through
        the projection: the gradient is P^T of the direct gradient. theta_d is an ordinary array, so
        every optax transformation and every JAX transformation may be used.

    Raises
    ------
    ValueError, TypeError
        As ``project`` does, when it is called.

    Notes
    -----
    Decoupled weight decay of optax acts on theta_d and pulls towards theta0. The paper's L2 penalty
    acts on the parameters: write it into ``loss``.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import subspace
    >>> params0 = {"w": jnp.ones((20, 5))}
    >>> p = subspace.hadamard(3, like=params0, key=jax.random.key(0))
    >>> loss = subspace.wrap(lambda params, x: jnp.sum((x @ params["w"]) ** 2), p, params0)
    >>> jax.grad(loss)(subspace.init(p), jnp.ones((1, 20))).shape
    (3,)
    """
    projection.layout.check(params0, "params0")

    def inside(theta_d: Any, *args: Any, **kwargs: Any) -> Any:
        return loss(project(projection, params0, theta_d), *args, **kwargs)

    return inside


def init(projection: Projection | Said) -> Any:
    """The coordinates at which training starts: the parameters are then theta0 exactly.

    Parameters
    ----------
    projection : Projection or Said

    Returns
    -------
    array (d,) of zeros, float32; or {"theta": zeros (d - m,), "lam": ones (m,)} of ``said``

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import subspace
    >>> subspace.init(subspace.hadamard(2, like=jnp.zeros(50), key=jax.random.key(0)))
    Array([0., 0.], dtype=float32)
    """
    if isinstance(projection, Said):
        return {
            "theta": jnp.zeros((projection.d - projection.count,), jnp.float32),
            "lam": jnp.ones((projection.count,), jnp.float32),
        }
    return jnp.zeros((projection.d,), jnp.float32)


def lr_scale(projection: Projection | Said) -> float:
    """sqrt(D / d): the learning rate in the subspace, over that of direct training.

    A step by eta in every coordinate, as of Adam, moves all parameters together by eta sqrt(d),
    since columns have unit norm; a parameter by eta sqrt(d / D) in the root mean square. With the
    rate eta sqrt(D / d) parameters move as far as they do under a direct step of eta.

    Parameters
    ----------
    projection : Projection or Said
        For ``said``, d is the number of its coordinates that P acts on.

    Returns
    -------
    float
        At least 1.

    Notes
    -----
    For optimizers whose steps do not depend on the size of gradients (Adam, Lion, SOAP). Gradient
    descent in the subspace is gradient descent on the parameters with the gradient projected: its
    stable rates are at least those of direct training. Derived here; the paper trains with one rate
    in both, which is too small for few steps.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import subspace
    >>> p = subspace.hadamard(25, like=jnp.zeros(10_000), key=jax.random.key(0))
    >>> subspace.lr_scale(p)
    20.0
    """
    acting = projection.d - (projection.count if isinstance(projection, Said) else 0)
    return float(np.sqrt(projection.size / acting))
