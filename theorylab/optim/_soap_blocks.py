r"""SOAP without a condition: blocks of f plain calls, then one refresh.

Whether a call refreshes is known beforehand, so a loop over blocks need not ask. ``update`` of
:func:`soap` asks its counter: that is one branch of a conditional as long as the counter has no
batch axis, and becomes "do both, select one" where it has. Here there is nothing to get wrong.

The states are those of :func:`soap` with the same options, and go on there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from theorylab._numerics import known
from theorylab.optim import _arguments as check
from theorylab.optim._soap import tail
from theorylab.optim._soap_options import Options
from theorylab.optim._soap_parts import parts

Step = Callable[[Any, Any, Any], tuple[Any, Any]]


class SoapBlocks(NamedTuple):
    """SOAP's three kinds of calls, and a loop over blocks of them.

    Attributes
    ----------
    init
        ``init(params) -> state``, the state of :func:`soap`.
    first
        ``first(gradients, state, params) -> (updates, state)``: the first call, never to be left
        out: bases come from it.
    plain
        The same for any later call, without its refresh.
    refresh
        ``refresh(state) -> state``, due after every f-th plain call.
    run
        ``run(gradient, params, state, batches) -> (params, state, auxiliary)``: for each batch a
        plain call with the gradient there, after every f-th the refresh. For states of 1, f + 1,
        2f + 1, ... calls.
        ``gradient(params, batch) -> (gradients, auxiliary)``; the leading axis of ``batches`` is a
        multiple of f; auxiliary is stacked along it. Loops within ``lax.scan``: compile the call.
    """

    init: Callable[[Any], Any]
    first: Step
    plain: Step
    refresh: Callable[[Any], Any]
    run: Callable[..., tuple[Any, Any, Any]]


def soap_blocks(
    learning_rate: Any,
    b1: Any = 0.95,
    b2: Any = 0.95,
    eps: Any = 1e-8,
    weight_decay: Any = 0.01,
    *,
    precondition_frequency: int = 10,
    decay_order: str = "optax",
    mask: Any = None,
    **options: Any,
) -> SoapBlocks:
    r"""SOAP as f plain calls and one refresh, for loops that know where they are.

    Parameters
    ----------
    learning_rate, b1, b2, eps, weight_decay, decay_order, mask
        As in :func:`soap`.
    precondition_frequency
        f, a Python integer here: it is the length of a loop.
    **options
        The other options of :func:`soap`.

    Returns
    -------
    SoapBlocks
        Pure functions. After ``first`` and k calls of ``plain`` with their refreshes the state is
        that of :func:`soap` after k + 1 calls, to rounding.

    Raises
    ------
    ValueError, TypeError
        As :func:`soap`; from ``run`` if the number of batches is not a multiple of f.

    Notes
    -----
    Under ``vmap`` over seeds or learning rates everything may have a batch axis, counters too:
    there is no condition (the loop that ``refresh="cholqr"`` repeats its passes in goes on until
    the last problem has finished). float32, limits and source as in :func:`soap`.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> from theorylab import optim
    >>> blocks = optim.soap_blocks(0.05, weight_decay=0.0, precondition_frequency=5)
    >>> w, a = jnp.ones((4, 3)), jax.random.normal(jax.random.key(0), (101, 8, 4))
    >>> value_and_grad = jax.value_and_grad(lambda w, a: jnp.mean((a @ w) ** 2))
    >>> gradient = lambda w, a: value_and_grad(w, a)[::-1]
    >>> _, state = blocks.first(gradient(w, a[0])[0], blocks.init(w), w)
    >>> w, state, losses = jax.jit(blocks.run, static_argnums=0)(gradient, w, state, a[1:])
    >>> losses.shape, bool(losses[-1] < 0.1 * losses[0])
    ((100,), True)
    """
    frequency = check.static_size("precondition_frequency", precondition_frequency)
    check.not_negative("learning_rate", learning_rate, schedule=True)
    check.not_negative("weight_decay", weight_decay, schedule=True)
    check.one_of("decay_order", decay_order, ("optax", "reference"))
    check.weights_mask("mask", mask)
    made = Options(b1=b1, b2=b2, eps=eps, precondition_frequency=frequency, **options)
    scale = parts(made)
    after = optax.chain(
        *tail(learning_rate, weight_decay, decay_order, mask, skip_first=made.first_step == "skip")
    )

    def init(params: Any) -> Any:
        return (scale.init(params), *after.init(params))

    def called(step: Callable[[Any, Any], tuple[Any, Any]]) -> Step:
        def call(gradients: Any, state: Any, params: Any) -> tuple[Any, Any]:
            updates, own = step(gradients, state[0])
            updates, rest = after.update(updates, state[1:], params)
            return updates, (own, *rest)

        return call

    first, plain = called(scale.first), called(scale.plain)

    def refresh(state: Any) -> Any:
        return (scale.refresh(state[0]), *state[1:])

    def run(
        gradient: Callable[[Any, Any], tuple[Any, Any]], params: Any, state: Any, batches: Any
    ) -> tuple[Any, Any, Any]:
        _check_calls(state[0].count, frequency)
        length = _length(batches, frequency)

        def one(carry: tuple[Any, Any], batch: Any) -> tuple[tuple[Any, Any], Any]:
            params, state = carry
            gradients, auxiliary = gradient(params, batch)
            updates, state = plain(gradients, state, params)
            return (optax.apply_updates(params, updates), state), auxiliary

        def block(carry: tuple[Any, Any], batch: Any) -> tuple[tuple[Any, Any], Any]:
            (params, state), auxiliary = jax.lax.scan(one, carry, batch)
            return (params, refresh(state)), auxiliary

        def blocked(x: Any) -> Any:
            return x.reshape(length // frequency, frequency, *x.shape[1:])

        blocks = jax.tree.map(blocked, batches)
        (params, state), auxiliary = jax.lax.scan(block, (params, state), blocks)
        flat = jax.tree.map(lambda x: x.reshape(length, *x.shape[2:]), auxiliary)
        return params, state, flat

    return SoapBlocks(init, first, plain, refresh, run)


def _check_calls(count: Any, frequency: int) -> None:
    calls = known(count)
    if calls is not None and (calls < 1 or (calls - 1) % frequency):
        raise ValueError(
            "run goes on after `first` and whole blocks: the state must have made 1 call, or 1 "
            f"more than a multiple of precondition_frequency = {frequency}, got {calls}"
        )


def _length(batches: Any, frequency: int) -> int:
    lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(batches)}
    if len(lengths) == 1:
        (length,) = lengths
        if length and length[0] % frequency == 0:
            return int(length[0])
    raise ValueError(
        "batches must be arrays with one leading axis, a multiple of precondition_frequency = "
        f"{frequency} long, got leading axes {sorted(lengths)}"
    )
