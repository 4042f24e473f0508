"""A run of ``optim.soap`` on given gradients, compiled once, with all that the tests look at."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from theorylab import optim

# Options that only ``optim.soap`` has.
OUTER = ("learning_rate", "weight_decay", "decay_order")


class Run(NamedTuple):
    """After every call: parameters, moments in the basis, bases; the state at the end.

    Leaves have a leading axis of calls, and ``params`` one entry more, in front.
    """

    params: Any
    mu: Any
    nu: Any
    bases: Any
    end: Any


def _state(state):
    """SOAP's own state within that of the optimizer."""
    kind = optim.ScaleBySoapState
    found = jax.tree.leaves(state, is_leaf=lambda s: isinstance(s, kind))
    (own,) = (s for s in found if isinstance(s, kind))
    return own


@partial(jax.jit, static_argnames="static")
def _compiled(init, grads, given, numbers, static):
    options = {**dict(static), **numbers}
    inner = {name: value for name, value in options.items() if name not in OUTER}
    tx = optim.soap(**options)

    def call(carry, g):
        params, state = carry
        updates, state = tx.update(g, state, params)
        params = optax.apply_updates(params, updates)
        own, bases = _state(state), optim.soap_bases(state, **inner)
        first = own.count == 1
        if given is not None:
            bases = [
                [
                    theirs if theirs is None or mine is None else jnp.where(first, mine, theirs)
                    for mine, theirs in zip(*pair, strict=True)
                ]
                for pair in zip(given, bases, strict=True)
            ]
            state = optim.soap_with_bases(state, bases, **inner)
        return (params, state), (params, own.mu, own.nu, bases)

    (_, state), seen = jax.lax.scan(call, (init, tx.init(init)), grads)
    return Run(*seen, _state(state))


def run(init, grads, given=None, dtype=np.float64, **options):
    """Feed the gradients, one a call, to ``optim.soap``; ``given`` replaces bases after call 1.

    Numbers among the options are traced, so that runs which differ in them alone compile once.
    ``given``: a list for each leaf of a matrix or None (keep what was found) for each axis.
    """
    options = {"decay_order": "reference", **options}
    size = ("max_precond_dim",)
    numbers = {
        name: value
        for name, value in options.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name not in size
    }
    static = tuple(sorted((k, v) for k, v in options.items() if k not in numbers))
    init, grads, given = jax.tree.map(lambda x: jnp.asarray(x, dtype), (init, grads, given))
    found = jax.tree.map(np.asarray, _compiled(init, grads, given, numbers, static))
    path = jax.tree.map(lambda x, p: np.concatenate([x[None], p]), init, found.params)
    return found._replace(params=path)
