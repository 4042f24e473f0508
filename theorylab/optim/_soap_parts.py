"""SOAP in pieces: the first call, a plain call, the refresh, and the update that chooses.

Whoever knows which call it is (a loop over blocks of calls) takes the pieces, and no condition is
compiled; ``update`` asks the counter.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from theorylab.optim import _arguments as check
from theorylab.optim._soap_options import Options
from theorylab.optim._soap_plan import Plan, planned
from theorylab.optim._soap_step import (
    Arrays,
    Moments,
    first_bases,
    refreshed_state,
    scaled,
    stepped,
    with_gradients,
)


class ScaleBySoapState(NamedTuple):
    """State of SOAP: arrays only.

    Attributes
    ----------
    count
        () int32: calls so far. One for all leaves; under ``vmap`` it must have no batch axis
        (:func:`theorylab.optim.state_axes`), or every call refreshes.
    mu, nu
        Trees like the parameters: first and second moment in the eigenbases.
    factors, bases
        Tuples of stacks (N, d, d), one for each distinct size d (and dtype) in the order of first
        appearance; rows in the order of leaves and axes (:func:`theorylab.optim.soap_bases` sorts
        them out). Columns of a basis are eigenvectors, largest eigenvalue first; before the first
        call the identity's.
    """

    count: jax.Array  # type: ignore[assignment]
    mu: Any
    nu: Any
    factors: tuple[jax.Array, ...]
    bases: tuple[jax.Array, ...]


Called = tuple[Any, ScaleBySoapState]


class Parts(NamedTuple):
    """Pure functions of (gradients, state), or of the state."""

    init: Callable[[Any], ScaleBySoapState]
    first: Callable[[Any, ScaleBySoapState], Called]
    plain: Callable[[Any, ScaleBySoapState], Called]
    refresh: Callable[[ScaleBySoapState], ScaleBySoapState]
    update: Callable[[Any, ScaleBySoapState], Called]


def parts(options: Options) -> Parts:
    """The pieces for checked options."""

    def init(params: Any) -> ScaleBySoapState:
        plan = planned(params, options.sides, options.precond_dtype)
        tree: Any = jax.tree.structure(params)
        leaves = jax.tree.leaves(params)
        nu = [jnp.zeros_like(p, leaf.dtype) for p, leaf in zip(leaves, plan.leaves, strict=True)]
        mu = [jnp.zeros_like(x, options.mu_dtype or x.dtype) for x in nu]
        return ScaleBySoapState(
            jnp.zeros((), jnp.int32),
            tree.unflatten(mu),
            tree.unflatten(nu),
            tuple(jnp.zeros((s.rows, s.size, s.size), s.dtype) for s in plan.stacks),
            tuple(jnp.tile(jnp.eye(s.size, dtype=s.dtype), (s.rows, 1, 1)) for s in plan.stacks),
        )

    def first(updates: Any, state: ScaleBySoapState) -> Called:
        plan, gradients = _read(updates, state, options)
        if options.first_step == "adam":
            one = jnp.ones((), jnp.int32)
            directions = _stepped(plan, gradients, state, one, options)[1]
        else:
            directions = [jnp.zeros_like(g) for g in gradients]
        state = _followed(plan, gradients, state, options)
        return _like(updates, directions), state._replace(bases=first_bases(state.factors))

    def plain(updates: Any, state: ScaleBySoapState) -> Called:
        plan, gradients = _read(updates, state, options)
        step = jnp.maximum(state.count, 1)
        moments, directions = _stepped(plan, gradients, state, step, options)
        state = _followed(plan, gradients, _with(state, moments), options)
        return _like(updates, directions), state

    def refresh(state: ScaleBySoapState) -> ScaleBySoapState:
        return _refreshed(plan_of(state, options), state, options)

    def update(updates: Any, state: ScaleBySoapState) -> Called:
        plan, gradients = _read(updates, state, options)
        step = state.count
        is_first = step == 0
        moments, directions = _stepped(plan, gradients, state, jnp.maximum(step, 1), options)
        moments = [Moments(*(jnp.where(is_first, 0, x) for x in kept)) for kept in moments]
        if options.first_step == "skip":
            directions = [jnp.where(is_first, 0, d) for d in directions]
        state = _followed(plan, gradients, _with(state, moments), options)
        if plan.stacks:
            due = jnp.where(step % options.precondition_frequency == 0, 1, 0)
            case = jnp.where(is_first, 2, due)
            state = jax.lax.switch(case, (_as_it_is, refresh, _with_first_bases), state)
        return _like(updates, directions), state

    return Parts(init, first, plain, refresh, update)


def _as_it_is(state: ScaleBySoapState) -> ScaleBySoapState:
    # Nothing changes, but that within shard_map bases vary over devices as the factors do, which
    # the branches of a condition must agree on.
    pairs = zip(state.factors, state.bases, strict=True)
    return state._replace(bases=tuple(jnp.where(f[:, :1, :1] > 0, q, q) for f, q in pairs))


def _with_first_bases(state: ScaleBySoapState) -> ScaleBySoapState:
    return state._replace(bases=first_bases(state.factors))


def plan_of(state: ScaleBySoapState, options: Options) -> Plan:
    """The plan of a state, which must come from these options."""
    plan = planned(state.nu, options.sides, options.precond_dtype)
    wanted = [(stack.rows, stack.size, stack.size) for stack in plan.stacks]
    given = [tuple(basis.shape) for basis in state.bases]
    if wanted != given:
        raise ValueError(
            "the state must come from an init with the same options: "
            f"these want stacks of factors {wanted}, the state has {given}"
        )
    return plan


def _read(updates: Any, state: ScaleBySoapState, options: Options) -> tuple[Plan, list[jax.Array]]:
    """The plan, and the gradients in the dtypes that it asks for."""
    check.same_tree("updates", updates, "the parameters of init", state.nu)
    check.floating_leaves("updates", updates)
    plan = plan_of(state, options)
    pairs = zip(jax.tree.leaves(updates), plan.leaves, strict=True)
    return plan, [jnp.asarray(gradient, leaf.dtype) for gradient, leaf in pairs]


def _moments(state: ScaleBySoapState) -> list[Moments]:
    pairs = zip(jax.tree.leaves(state.mu), jax.tree.leaves(state.nu), strict=True)
    return [Moments(mu, nu) for mu, nu in pairs]


def _with(state: ScaleBySoapState, moments: list[Moments]) -> ScaleBySoapState:
    tree: Any = jax.tree.structure(state.nu)
    pairs = zip(moments, jax.tree.leaves(state.mu), strict=True)
    mu = tree.unflatten([kept.mu.astype(old.dtype) for kept, old in pairs])
    return state._replace(mu=mu, nu=tree.unflatten([kept.nu for kept in moments]))


def _stepped(
    plan: Plan,
    gradients: list[jax.Array],
    state: ScaleBySoapState,
    step: jax.Array,
    options: Options,
) -> tuple[list[Moments], list[jax.Array]]:
    """The moments after a step, and the directions; ``step`` counts from 1."""
    rates, normalize, correct = options.rates, options.normalize_grads, options.correct_bias
    moments, directions = [], []
    for leaf, kept, gradient in zip(plan.leaves, _moments(state), gradients, strict=True):
        kept, direction = stepped(leaf, kept, gradient, state.bases, rates)
        moments.append(kept)
        directions.append(scaled(leaf, direction, step, rates, normalize, correct))
    return moments, directions


def _followed(
    plan: Plan, gradients: list[jax.Array], state: ScaleBySoapState, options: Options
) -> ScaleBySoapState:
    """The state one call on, its factors with one more gradient."""
    rate = options.rates.shampoo_beta
    factors: Arrays = with_gradients(plan, state.factors, gradients, rate)
    return state._replace(factors=factors, count=optax.safe_increment(state.count))


def _refreshed(plan: Plan, state: ScaleBySoapState, options: Options) -> ScaleBySoapState:
    bases, moments = refreshed_state(
        plan, state.factors, state.bases, _moments(state), options.refresh
    )
    return _with(state._replace(bases=bases), moments)


def _like(updates: Any, directions: list[jax.Array]) -> Any:
    """The directions as a tree, in the dtypes of the gradients."""
    tree: Any = jax.tree.structure(updates)
    pairs = zip(directions, jax.tree.leaves(updates), strict=True)
    return tree.unflatten([d.astype(jnp.result_type(g)) for d, g in pairs])
