"""Runs of ``soap_vs_adamw``: optimizers, schedules, the search for a rate, an identity.

A run is compiled before its clock starts. Its final loss is the mean over fixed windows of the held
out text, whose losses are kept, so that two runs are compared window by window.
"""

import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import _characters as characters
from theorylab import optim

WARM_UP = 0.05  # share of a run in which the rate rises
FINAL = 0.1  # rate in the end over its peak
BETA = 0.95  # SOAP's own value, for both moments
ADAMW = (0.9, 0.99)  # the better for AdamW here: with SOAP's it loses 0.09 nats at the best rate
DECAY = 0.01


def schedule(rate, steps):
    """Return the rates of a run: a linear rise, then a cosine to a tenth."""
    rise = max(1, round(WARM_UP * steps))
    made = optax.warmup_cosine_decay_schedule(rate / rise, rate, rise, steps, FINAL * rate)
    return np.asarray([made(count) for count in range(steps)], np.float32)


def optimizer(name, frequency):
    """Return schedule -> optimizer."""
    if name == "soap":
        return lambda rate: optim.soap(
            rate, BETA, BETA, weight_decay=DECAY, precondition_frequency=frequency
        )
    if name == "lion":
        return lambda rate: optim.lion_k(rate, optim.kappas.l1(), weight_decay=DECAY)
    if name == "muon":
        return _muon
    return lambda rate: optax.adamw(rate, *ADAMW, weight_decay=DECAY)


def _muon(rate):
    """Polar factors for the matrices within layers, AdamW at a tenth of the rate for the rest."""
    ours = optim.lion_k(rate, optim.kappas.nuclear(), BETA, BETA, weight_decay=DECAY)
    rest = optax.adamw(lambda count: 0.1 * rate(count), *ADAMW, weight_decay=DECAY)

    def labels(params):
        inner = {name: name[0].isdigit() and p.ndim == 2 for name, p in params.items()}
        return {name: "polar" if one else "rest" for name, one in inner.items()}

    return optax.multi_transform({"polar": ours, "rest": rest}, labels)


class Runs:
    """All runs of a configuration; programs are compiled once for a kind and a length."""

    def __init__(self, config, progress):
        self._config, self._progress = config, progress
        self._codes = jnp.asarray(characters.text().train)
        self._windows = characters.held_out(config.windows, config.context)
        self._compiled = {}

    def __call__(self, name, steps, rate, seed, frequency=None):
        """Return training losses, final losses of windows, seconds of wall clock and processor."""
        frequency = frequency or self._config.frequency
        label = f"{name}, {steps} steps, rate {rate:g}, seed {seed}"
        if name == "soap":
            label += f", frequency {frequency}"
        return self._progress.stage(label, partial(self._run, name, steps, rate, seed, frequency))

    def _run(self, name, steps, rate, seed, frequency):
        config = self._config
        start, batches = jax.random.split(jax.random.fold_in(jax.random.key(config.seed), seed))
        params = characters.init(start, width=config.width, context=config.context)
        given = (params, batches, jnp.asarray(schedule(rate, steps)), self._codes)
        program = self._compiled.get((name, steps, frequency))
        if program is None:
            run: Any = characters.trainer(optimizer(name, frequency), batch=config.batch)
            program = self._compiled[name, steps, frequency] = run.lower(*given).compile()
        wall, processor = time.perf_counter(), time.process_time()
        trained = jax.block_until_ready(program(*given))
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        return {
            "losses": np.asarray(trained.losses),
            "windows": np.asarray(characters.evaluate(trained.params, self._windows)),
            "wall": np.asarray(wall),
            "processor": np.asarray(processor),
        }


def searched(run, rates):
    """Return ({rate: result}, best rate): rates are added until the best has worse neighbours.

    A run that diverged counts as worse than any other.
    """
    found = {rate: run(rate) for rate in rates}

    def loss(rate):
        value = found[rate]["windows"].mean()
        return value if np.isfinite(value) else np.inf

    while True:
        best = min(found, key=loss)
        if not np.isfinite(loss(best)):
            raise FloatingPointError(f"every run diverged: rates {sorted(found)}")
        if best == max(found):
            found[2 * best] = run(2 * best)
        elif best == min(found):
            found[best / 2] = run(best / 2)
        else:
            return found, best


def identity(config):
    """SOAP without factors is Adam one call late: largest difference of parameters, in float64.

    Where no axis is short enough for a factor, bases are nothing and every leaf runs Adam, from the
    second batch on. Adam is written out here, with epsilon where SOAP has it. There must be one:
    some derivatives of this model are 0 but for round-off.
    """
    rate, eps, calls = 1e-3, 1e-8, 6
    with jax.enable_x64(True):
        start, batches = jax.random.split(jax.random.key(config.seed))
        params = characters.init(start, width=config.width, context=config.context)
        params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float64), params)
        codes = jnp.asarray(characters.text().train)
        tx = optim.soap(rate, BETA, BETA, eps, 0.0, max_precond_dim=1)
        gradient = jax.grad(characters.loss)

        def adam(here, m, v, g, t):
            m = BETA * m + (1 - BETA) * g
            v = BETA * v + (1 - BETA) * g**2
            size = rate * jnp.sqrt(1 - BETA**t) / (1 - BETA**t)
            return here - size * m / (jnp.sqrt(v) + eps), m, v

        @jax.jit
        def both(params):
            def step(carry, count):
                (ours, state), (theirs, m, v) = carry
                tokens = characters.windows(
                    jax.random.fold_in(batches, count), codes, config.batch, config.context
                )
                updates, state = tx.update(gradient(ours, tokens), state, ours)
                g = gradient(theirs, tokens)
                moved = {
                    name: adam(p, m[name], v[name], g[name], jnp.maximum(count, 1))
                    for name, p in theirs.items()
                }
                new = [{name: parts[i] for name, parts in moved.items()} for i in range(3)]
                # Adam's first call is not made.
                late = jax.tree.map(lambda a, b: jnp.where(count == 0, a, b), [theirs, m, v], new)
                return ((optax.apply_updates(ours, updates), state), tuple(late)), None

            zeros = jax.tree.map(jnp.zeros_like, params)
            carry = ((params, tx.init(params)), (params, zeros, zeros))
            (one, _), (two, *_) = jax.lax.scan(step, carry, jnp.arange(calls))[0]
            gaps = [jnp.max(jnp.abs(one[name] - two[name])) for name in params]
            moves = [jnp.max(jnp.abs(one[name] - params[name])) for name in params]
            return jnp.max(jnp.stack(gaps)), jnp.max(jnp.stack(moves))

        gap, move = both(params)
        return {"gap": np.asarray(gap), "move": np.asarray(move)}
