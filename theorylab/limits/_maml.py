r"""MAML through a limit: steps within each task, then one step for what the tasks share.

For tasks with support sets S and query sets Q, from weights :math:`\theta`,

.. math::

    \theta_0 = \theta, \qquad
    \theta_{s+1} = \theta_s - \alpha \nabla L_S(\theta_s), \qquad
    g = \frac{1}{T} \sum_{tasks} \frac{\partial}{\partial \theta} L_Q(\theta_K) ,

and g takes the place of the gradient in a step. Inner steps are gradient descent, and commute with
rotations of the hidden layer; so does the derivative through them. With it the whole has the limit
of its parts: the inner loop is run from the state of the limit itself. In the first-order form
:math:`\partial \theta_K / \partial \theta` is replaced by the identity.

Differs from the paper / reference:
  1. Finn, Abbeel and Levine (2017), arXiv:1703.03400, sum over tasks; here it is the mean.
  2. The outer step is the limit's: momentum, decay and clipping act on g, and not within tasks.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from theorylab._devices import varying_as
from theorylab.limits import _arguments as check
from theorylab.limits._limit import Limit
from theorylab.limits._linear_mup import LinearMup
from theorylab.limits._linear_state import LinearInfo, LinearState, told


def maml_step(
    limit: Limit,
    state: LinearState,
    support: tuple[jax.Array, jax.Array],
    query: tuple[jax.Array, jax.Array],
    *,
    inner_rate: Any,
    inner_steps: int = 1,
    first_order: bool = True,
) -> tuple[LinearState, LinearInfo]:
    r"""One step of model-agnostic meta-learning of a linear limit.

    The equations are those at the head of this module's source.

    Parameters
    ----------
    limit
        :func:`linear_mup` or :func:`linear_gram`.
    state
        Of the limit.
    support, query
        Pairs x (tasks, n, d_in), y (tasks, n, d_out); n may differ between the two.
    inner_rate
        :math:`\alpha \ge 0`, scalar.
    inner_steps
        K, a positive integer; all steps are on the whole support set.
    first_order
        Whether the derivative through the inner steps is left out.

    Returns
    -------
    (LinearState, LinearInfo)
        ``info.loss`` is the loss on the query sets after the inner steps, mean over tasks;
        ``info.gradient_norm`` is that of g.

    Raises
    ------
    TypeError
        If ``limit`` is another limit; for data as in ``step``.
    ValueError
        If shapes do not fit, or an option is out of its range.

    Notes
    -----
    Adapting to one task for predictions takes no more than ``step`` of a limit made with the rate
    ``inner_rate``, from ``state`` with a fresh optimizer. In float32 as ``step``.

    Examples
    --------
    >>> from theorylab import limits
    >>> limit = limits.linear_mup(2, 1, learning_rate=0.1)
    >>> x, y = jnp.ones((3, 4, 2)), jnp.ones((3, 4, 1))
    >>> state, info = limits.maml_step(limit, limit.init(), (x, y), (x, y), inner_rate=0.1)
    >>> round(float(info.loss), 4)  # (1 - f)^2 / 2, where f = 0.1 (|x|^2 + |x|^2) after a step
    0.18
    """
    network = getattr(getattr(limit, "init", None), "__self__", None)
    if not isinstance(network, LinearMup):
        raise TypeError(f"limit must be linear_mup or linear_gram, got {limit!r}")
    inner_steps = check.positive_integer("inner_steps", inner_steps)
    dtype = state.params["u"].dtype
    rate = check.as_dtype(check.scalar("inner_rate", inner_rate), dtype)
    x, y, out = _tasks("support", support, network, dtype)
    x_query, y_query, _ = _tasks("query", query, network, dtype)
    if len(x) != len(x_query):
        raise ValueError(f"support and query must have as many tasks, got {len(x)}, {len(x_query)}")

    state, info = _meta_step(
        network, bool(first_order), inner_steps, state, rate, (x, y, x_query, y_query)
    )
    return state, told(info, out)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _meta_step(
    network: LinearMup,
    first_order: bool,
    steps: int,
    state: LinearState,
    rate: Any,
    tasks: tuple[jax.Array, ...],
) -> tuple[LinearState, LinearInfo]:
    """Compiled for those who call it with arrays; the description is static."""
    state = varying_as((rate, tasks), state)

    def adapt(params: Any, x: jax.Array, y: jax.Array) -> Any:
        def inner(params: Any, _: None) -> tuple[Any, None]:
            gradient = jax.grad(network.loss)(params, x, y)
            return jax.tree.map(lambda p, g: p - rate * g, params, gradient), None

        return jax.lax.scan(inner, params, length=steps)[0]

    def query_loss(params: Any, *task: jax.Array) -> jax.Array:
        return network.loss(adapt(params, *task[:2]), *task[2:])

    def of_task(*task: jax.Array) -> Any:
        if first_order:
            return jax.value_and_grad(network.loss)(adapt(state.params, *task[:2]), *task[2:])
        return jax.value_and_grad(query_loss)(state.params, *task)

    loss, mean = jax.tree.map(lambda leaf: jnp.mean(leaf, axis=0), jax.vmap(of_task)(*tasks))
    return network.update(state, loss, mean)


def _tasks(name: str, data: Any, network: LinearMup, dtype: Any) -> tuple[Any, Any, Any]:
    """Data of tasks in the dtype of the state, checked as one batch."""
    x, y = data
    shapes = jnp.shape(x), jnp.shape(y)
    if [len(s) for s in shapes] != [3, 3] or shapes[0][:2] != shapes[1][:2]:
        raise ValueError(f"{name} must hold (tasks, n, d_in) and (tasks, n, d_out), got {shapes}")
    x, y = jnp.reshape(x, (-1, shapes[0][-1])), jnp.reshape(y, (-1, shapes[1][-1]))
    x, y, out = check.batch(x, y, network.d_in, network.d_out, dtype)
    return x.reshape(shapes[0]), y.reshape(shapes[1]), out
