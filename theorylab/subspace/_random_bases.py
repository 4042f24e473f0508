"""A new random basis at every step, instead of one for the whole of training.

Gressmann, Eaton-Rosen and Luschi, "Improving neural network training in low dimensional random
bases" (NeurIPS 2020): the gradient is projected onto a subspace that is drawn again at every step.
A step has d degrees of freedom, where they lead has not.

Differs from the paper / reference:
  1. Bases are those of any kind of projection here; columns are normalised at each step.
  2. What is projected is the update that reaches the transformation: put first in a chain it is the
     gradient, as in the paper, put last it is an optimizer's step.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from theorylab.subspace._projection import Projection, from_seed
from theorylab.subspace._threefry import fold

# "step" in ASCII: the label under which steps are folded into the seed.
STEP_LABEL = 0x73746570


def redraw(projection: Projection, step: Any) -> Projection:
    """The projection of the same kind and size with another basis, one for each step.

    Parameters
    ----------
    projection : Projection
        Of any kind whose numbers come from a key.
    step : int or array () of integers
        May be traced: the basis is a function of the step inside of a compiled loop.

    Returns
    -------
    Projection
        Always the same for the same key and step, also in a fresh process.

    Raises
    ------
    ValueError
        If ``projection`` has a given basis (kind "orthogonal").
    TypeError
        If it is no ``Projection``, or ``step`` no integer.

    Notes
    -----
    Gressmann, Eaton-Rosen, Luschi, NeurIPS 2020, section 3.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import subspace
    >>> p = subspace.hadamard(3, like=jnp.zeros(50), key=jax.random.key(0))
    >>> a, b = subspace.redraw(p, 1), subspace.redraw(p, 2)
    >>> bool((a.apply(jnp.ones(3)) == b.apply(jnp.ones(3))).any())
    False
    """
    if not isinstance(projection, Projection):
        raise TypeError(f"projection must be a Projection, got {type(projection).__name__}")
    if not jnp.issubdtype(jnp.result_type(step), jnp.integer):
        raise TypeError(f"step must be an integer, got {step!r:.80}")
    if projection.kind == "orthogonal":
        raise ValueError("redraw needs a kind that is drawn from a key, got kind 'orthogonal'")
    seed = fold(projection.seed, jnp.asarray(step).astype("uint32"), STEP_LABEL)
    by_rows = {m.rows: m for m in projection.maps}
    return from_seed(
        projection.kind,
        lambda _, rows: by_rows[rows],
        projection.d,
        projection.layout,
        seed,
        scope=projection.scope,
        version=projection.version,
    )


class RandomBasesState(NamedTuple):
    """What the next step needs: how many there were, () of int32."""

    step: jax.Array


def random_bases(projection: Projection) -> optax.GradientTransformation:
    """Updates projected onto a random subspace that is drawn again at every step: P_t P_t^T g.

    Parameters
    ----------
    projection : Projection
        Its kind, size, key, scope and mask are used. Leaves that are not selected are not updated.

    Returns
    -------
    optax.GradientTransformation
        Of updates like the parameters, in their dtypes. Nothing of the size of P is stored.

    Raises
    ------
    ValueError
        If ``projection`` has a given basis (kind "orthogonal").

    Notes
    -----
    Gressmann, Eaton-Rosen, Luschi, NeurIPS 2020, section 3. In expectation over bases with unit
    columns P_t P_t^T = (d / D) I: rates are larger by D / d than those of plain gradient descent.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, optax
    >>> from theorylab import subspace
    >>> params = jnp.ones(50)
    >>> p = subspace.hadamard(3, like=params, key=jax.random.key(0))
    >>> tx = optax.chain(subspace.random_bases(p), optax.sgd(0.1))
    >>> updates, state = tx.update(params, tx.init(params), params)
    >>> updates.shape
    (50,)
    """
    redraw(projection, 0)

    def start(params: Any) -> RandomBasesState:
        projection.layout.check(params, "params")
        return RandomBasesState(jnp.zeros((), jnp.int32))

    def update(updates: Any, state: RandomBasesState, params: Any = None) -> Any:
        del params
        basis = redraw(projection, state.step)
        projected = basis.apply(basis.transpose(updates))
        cast = jax.tree.map(lambda new, old: new.astype(jnp.asarray(old).dtype), projected, updates)
        return cast, RandomBasesState(optax.safe_increment(state.step))

    return optax.GradientTransformation(start, update)
