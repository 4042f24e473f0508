r"""Schedules refined from a run's own gradient norms, beside the linear decay they started from.

A run with linearly decaying rates records the norm of every gradient; ``schedules.refined`` makes
of them the rates that theory prefers; a second run, with the same start and the same batches, takes
those. Two problems:

*Digits.* Logistic regression by SGD, convex, the theory's own ground: l2 norms, power 2.
*Characters.* A small transformer by Adam on SciPy's docstrings (``_characters``): l1 norms, power
1, as the paper has it for Adam.

Both schedules get the same grid of largest rates, each refined schedule from the norms of the run
with the same largest rate, and are compared at their own best. Cosine decay on digits is a third.

What is claimed are identities and a theorem, in float64:

1. flat norms refine to linear decay: two roundings, of a sum and of a quotient, are allowed;
2. the rates made of the recorded norms are the sums that define them: medians by sorting windows,
   then :math:`w_t \sum_{p>t} w_p` summed in the other order;
3. in whole-batch descent on the digits the excess of the last iterate is at most the bound from
   which the schedules come (``_schedule_refinement_digits``): a ratio in [0, 1].

Whether refinement helps is not claimed: no theorem says that it must, since the norms of the second
run are not those that were recorded. The paper reports improvements over linear decay. What comes
out here is "shown only", with its error over seeds.

Limits. Two small problems. Errors are over seeds, at the rates that are best on average, and those
over three seeds may be wrong by a factor of two or more.

Differs from the paper:
  1. The transformer is trained for a fraction of an epoch, in hundreds of steps.
  2. One refinement, no hand-made warm-up in the baseline.
  3. A ridge on the logistic regression, so that it has a minimum to be measured from.
"""

import math
from dataclasses import dataclass
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from threadpoolctl import threadpool_limits

from experiments import Claim
from experiments import _characters as characters
from experiments import _schedule_refinement_digits as digits
from theorylab import data
from theorylab.optim import schedules

TITLE = "Learning rates refined from gradient norms, beside linear decay"
PAPER = "Defazio, Cutkosky, Mehta and Mishchenko (2023), refined schedules for SGD and Adam"
BUDGET = 120
X64 = False

SMOOTHING = 0.1


@dataclass(frozen=True)
class Config:
    """Sizes and seeds.

    Digits: ``steps`` of SGD with ``batch`` images and largest rates ``peaks``, in ``seeds`` runs
    each; ``ridge``; ``bound_steps`` of whole-batch descent from the rate ``bound_peak``.
    Characters: ``char_steps`` of Adam with ``char_batch`` windows and largest rates ``char_peaks``,
    for ``char_seeds`` models of ``layers`` and ``width`` that see ``context`` characters, judged on
    ``held_out`` windows.
    """

    steps: int = 2000
    batch: int = 16
    peaks: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
    seeds: int = 8
    ridge: float = 1e-4
    bound_steps: int = 500
    bound_peak: float = 4.0
    char_steps: int = 400
    char_batch: int = 16
    char_peaks: tuple[float, ...] = (5e-3, 1e-2, 2e-2)
    char_seeds: int = 3
    layers: int = 2
    width: int = 64
    context: int = 64
    held_out: int = 512
    seed: int = 0


PRESETS = {
    "smoke": Config(  # seconds on 2 cores
        steps=80, peaks=(4.0, 16.0), seeds=2, bound_steps=40, char_steps=30, char_batch=4,
        char_peaks=(1e-2,), char_seeds=2, layers=1, width=16, context=16, held_out=32,
    ),
    "quick": Config(),  # a minute and a half on 2 cores
    "paper": Config(  # two hours on 2 cores
        steps=20_000, seeds=20, bound_steps=5000, char_steps=4000, char_batch=32, char_seeds=5,
        held_out=2048,
    ),
}  # fmt: skip


def datasets(config):
    """Return the fingerprints of the digits and of the text."""
    used = data.digits()
    return {used.name: used.fingerprint, **characters.fingerprints()}


def run(config, progress):
    """Return norms, schedules and losses of both problems, and the identities."""
    progress.plan(_costs(config))
    result = {"ridge": np.asarray(config.ridge), "sources": np.asarray(_sources())}
    # Threads bring nothing to products this small, and on busy cores they wait for each other.
    with threadpool_limits(limits=1):
        found = progress.stage("the minimum", partial(digits.least, config.ridge))
        result |= progress.stage(
            "the bound", partial(digits.bounds, found["minimizer"], float(found["least"]), config)
        )
    result |= progress.stage("digits", partial(_digits, float(found["least"]), config))
    train = lru_cache(lambda: _trainer(config))  # compiled in the first stage not restored
    rows = [
        [
            progress.stage(_label(peak, seed), partial(_characters, train, peak, seed, config))
            for seed in range(config.char_seeds)
        ]
        for peak in config.char_peaks
    ]
    for field in rows[0][0]:
        result[f"char_{field}"] = np.stack([np.stack([one[field] for one in row]) for row in rows])
    result["char_peaks"] = np.asarray(config.char_peaks)
    exact = {f"identity_{name}": value for name, value in identities(result).items()}
    return result | progress.stage("identities", lambda: exact)


def _sources():
    used = data.digits()
    return [f"{used.name}, SHA-256 {used.fingerprint[:12]}", characters.source()]


def _linear(steps):
    return 1 - np.arange(steps) / (steps - 1)


def _digits(least, config):
    """Return what SGD with linear, cosine and refined rates gives, (peaks, seeds) and steps."""
    sgd = digits.sgd(config)
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(config.seed), i))(
        np.arange(config.seeds)
    )
    peaks, linear = np.asarray(config.peaks), _linear(config.steps)
    cosine = 0.5 * (1 + np.cos(np.pi * np.arange(config.steps) / config.steps))

    def losses(shape):
        rates = peaks[:, None, None] * np.broadcast_to(
            shape, (len(peaks), config.seeds, config.steps)
        )
        end, norms = sgd(jnp.asarray(rates, jnp.float32), keys)
        return np.asarray(end, float) - least, np.asarray(norms)

    excess, norms = losses(linear)
    refined = np.stack([np.stack([_refined(one, 2) for one in row]) for row in norms])
    return {
        "peaks": peaks,
        "norms": norms,
        "refined": refined,
        "linear_excess": excess,
        "cosine_excess": losses(cosine)[0],
        "refined_excess": losses(refined)[0],
    }


def _refined(norms, power):
    return np.asarray(schedules.refined(norms, power=power, smoothing=SMOOTHING).values)


def _trainer(config):
    """Return the transformer's training, its text and the windows that judge it."""

    def norm(params, gradients):
        return sum(jnp.sum(jnp.abs(leaf)) for leaf in jax.tree.leaves(gradients))

    # The second moment's memory is 100 steps, since a run has hundreds.
    train = characters.trainer(
        lambda rate: optax.adam(rate, b1=0.9, b2=0.99), batch=config.char_batch, watch=norm
    )
    text = jnp.asarray(characters.text().train)
    return train, text, characters.held_out(config.held_out, config.context)


def _characters(made, peak, seed, config):
    """Return norms, refined rates, and held-out losses of both runs of a rate and a seed."""
    train, text, windows = made()
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), 1), seed)
    start = characters.init(
        jax.random.fold_in(key, 0), layers=config.layers, width=config.width, context=config.context
    )
    batches = jax.random.fold_in(key, 1)

    def end(shape):
        found = train(start, batches, peak * shape, text)
        return np.asarray(found.watched), characters.evaluate(found.params, windows).mean()

    norms, linear = end(_linear(config.char_steps))
    refined = _refined(norms, 1)
    return {"norms": norms, "refined": refined, "linear": linear, "second": end(refined)[1]}


def _label(peak, seed):
    return f"characters, rate {peak:g}, seed {seed}"


def identities(arrays):
    """Return {name: largest difference} of the first two identities of the docstring."""
    worst = {"flat": 0.0, "digits": 0.0, "characters": 0.0}
    with jax.enable_x64(True):
        for steps in {2, 100, arrays["norms"].shape[-1], arrays["char_norms"].shape[-1]}:
            flat = schedules.refined(np.full(steps, 0.3)).values
            worst["flat"] = max(worst["flat"], float(np.abs(flat - _linear(steps)).max()))
        for name, norms, power in (
            ("digits", arrays["norms"], 2),
            ("characters", arrays["char_norms"], 1),
        ):
            norms = np.asarray(norms[-1, 0], np.float64)
            found = schedules.refined(norms, power=power, smoothing=SMOOTHING).values
            half = int(SMOOTHING * len(norms) / 2)
            padded = np.pad(norms, half, mode="symmetric")
            spans = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1)
            w = np.sort(spans, axis=1)[:, half] ** float(-power)
            wanted = w * (w.sum() - np.cumsum(w))
            worst[name] = float(np.abs(found - wanted / wanted.max()).max())
    return worst


def _costs(config):
    """Return the rough seconds of every stage."""
    size = config.layers * config.width**2 * config.context * config.char_batch
    each = 0.3 + config.char_steps * (5e-4 + 2.4e-9 * size)
    costs = {"the minimum": 1.0, "the bound": 1e-3 * config.bound_steps, "identities": 0.5}
    costs["digits"] = 4.0 + 5e-6 * config.steps * len(config.peaks) * config.seeds
    for peak in config.char_peaks:
        for seed in range(config.char_seeds):
            costs[_label(peak, seed)] = 2 * each
    return costs


def claims(arrays):
    """Return the identities, the bound, and what refinement brought, which binds nowhere."""
    from experiments._schedule_refinement_figure import best

    always = ("smoke", "quick", "paper")
    found = [
        Claim("flat norms: rates less linear decay", arrays["identity_flat"], None, 0.0, 2.3e-16,
              "exact; two roundings of numbers up to 1", always, "linear decay"),
    ]  # fmt: skip
    for name in ("digits", "characters"):
        found.append(
            Claim(f"{name}: rates less the sums that define them", arrays[f"identity_{name}"],
                  None, 0.0, 1e-12, "exact; rounding of sums in float64", always,
                  "equal"),
        )  # fmt: skip
    for i, name in enumerate(("linear decay", "refined")):
        ratio = arrays["bound_excess"][i] / arrays["bound"][i]
        found.append(
            Claim(f"whole batch, {name}: excess over its bound", ratio, None, 0.0, 1.0,
                  "theorem, for convex losses", always, "at most 1"),
        )  # fmt: skip
    shown = "shown only: no theorem says that refinement must help"
    for schedule, paper in (("refined", "improves on linear decay"), ("cosine", "")):
        linear, other = arrays["linear_excess"], arrays[f"{schedule}_excess"]
        logs = np.log(other[best(other)] / linear[best(linear)])
        ratio, error = np.exp(logs.mean()), _error(logs)
        found.append(
            Claim(f"digits: excess, {schedule} over linear", ratio,
                  None if error is None else error * ratio, 0.0, math.inf, shown, (), paper),
        )  # fmt: skip
    linear, refined = arrays["char_linear"], arrays["char_second"]
    gains = refined[best(refined)] - linear[best(linear)]
    found.append(
        Claim("characters: held-out nats, refined less linear", gains.mean(), _error(gains),
              -math.inf, math.inf, shown, (), "improves on linear decay"),
    )  # fmt: skip
    return found


def _error(values):
    """Return the standard error of a mean; None for a single value."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def figure(arrays):
    """Draw norms, schedules and losses over rates, one row for each problem."""
    from experiments import _schedule_refinement_figure

    return _schedule_refinement_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with data and sizes."""
    from experiments import _schedule_refinement_figure

    return _schedule_refinement_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _schedule_refinement_figure

    return _schedule_refinement_figure.alt(arrays)
