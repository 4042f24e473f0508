r"""A law of losses and learning rates, fitted to two schedules, predicts a third.

A small transformer (``_characters``) is trained by AdamW from the same start on the same batches
with three schedules of the same largest rate, after a warm-up: constant, cosine, and constant for
three quarters of the run, then falling on a line to 0 (warm-up, stable, decay). Held-out losses
along the constant and the cosine run fit

.. math::

    L(s) = L_0 + A\, S_1(s)^{-\alpha} - C\, S_2(s)

by ``schedules.fit_annealing_law``; the law then predicts the third run, of which it has seen
nothing. :math:`S_1` is the sum of the rates, :math:`S_2` what was taken from them, remembered with
a weight :math:`\lambda^k` after k steps. The paper's :math:`\lambda` is 0.999, a memory of 1,000
steps in runs of tens of thousands. The runs here are shorter than that memory, so others are shown
too, and the one that fits the two runs best.

What is claimed are identities, in float64, on the very rates and steps of these runs:

1. losses that follow the law exactly give its parameters back, and the third curve: 1e-6 is asked
   for, since the fit stops where rounding hides the minimum (its objective is flat to 1e-16 there,
   and parameters to the root of that times their coupling);
2. summing the recursion of :math:`S_2`: :math:`(1 - \lambda) S_2 = \eta_1 - \eta_s - \lambda M_s`.

How well the law predicts is not claimed: it is empirical, and nothing says that it holds for a
model this small. The errors are "shown only", beside that of taking the cosine run's last loss for
the third's.

Limits. One rate, one model, runs of hundreds of steps. Losses before ``first`` are left out: the
law does not describe the start. All curves of a seed share their batches, so the error over seeds
says nothing of another text.

Differs from the paper:
  1. Its models have 100 million parameters and more, its runs 20,000 steps and more.
  2. Fits take every measured loss after ``first`` with the same weight, and the memory is varied.
"""

import math
from dataclasses import dataclass
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import Claim
from experiments import _characters as characters
from theorylab.optim import schedules

TITLE = "A law of learning-rate annealing predicts a schedule it has not seen"
PAPER = "Tissue, Wang and Wang (2024), the law of loss and both areas"
BUDGET = 120
X64 = False

SHAPES = ("constant", "cosine", "wsd")
MADE_UP = (1.2, 1.0, 0.5, 0.1)  # L0, A, alpha, C of the first identity


@dataclass(frozen=True)
class Config:
    """Sizes and seeds.

    ``steps`` of AdamW from the rate ``peak``, of which ``warmup`` warm up; the third schedule falls
    in the last share ``decay_share``. Losses on ``held_out`` windows are recorded each ``every``
    steps and used from step ``first`` on. ``decays``: lambda of the annealing area. ``seeds``
    models of ``layers`` and ``width`` that see ``context`` characters, ``batch`` windows a step.
    """

    steps: int = 600
    warmup: int = 30
    decay_share: float = 0.25
    peak: float = 1e-2
    every: int = 20
    first: int = 100
    decays: tuple[float, ...] = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)
    seeds: int = 2
    batch: int = 32
    layers: int = 2
    width: int = 64
    context: int = 64
    held_out: int = 256
    seed: int = 0


PRESETS = {
    "smoke": Config(  # seconds on 2 cores
        steps=80, warmup=4, every=8, first=16, decays=(0.9, 0.999), batch=4, layers=1, width=16,
        context=16, held_out=32,
    ),
    "quick": Config(),  # a minute and a half on 2 cores
    "paper": Config(  # two hours on 2 cores
        steps=8000, warmup=200, every=100, first=500, seeds=5, held_out=2048,
    ),
}  # fmt: skip


def datasets(config):
    """Return the fingerprint of the text."""
    return characters.fingerprints()


def run(config, progress):
    """Return rates, recorded losses and laws of all seeds, and the identities."""
    rates = {shape: learning_rates(shape, config) for shape in SHAPES}
    progress.plan(_costs(config))
    steps = np.arange(config.every, config.steps + 1, config.every)
    result = {
        "data": np.asarray(characters.source()),
        "steps": steps,
        "first": np.asarray(config.first),
        "decays": np.asarray(config.decays),
        **progress.stage("identities", partial(identities, rates, steps, config)),
        **{f"{shape}_rates": rates[shape] for shape in SHAPES},
    }
    train = lru_cache(lambda: _trainer(config))  # compiled in the first stage not restored
    for shape in SHAPES:
        curves = [
            progress.stage(_label(shape, seed), partial(_losses, train, rates[shape], seed, config))
            for seed in range(config.seeds)
        ]
        result[f"{shape}_losses"] = np.stack([curve["losses"] for curve in curves])
    return result | progress.stage("laws", partial(_laws, result, config))


def learning_rates(shape, config):
    """Return the rate of every step of a schedule, float64, (steps,)."""
    t, after = np.arange(config.steps), config.steps - config.warmup
    warm = np.minimum((t + 1) / config.warmup, 1)
    if shape == "constant":
        return config.peak * warm
    if shape == "cosine":
        gone = np.maximum(t - config.warmup, 0) / after
        return config.peak * warm * 0.5 * (1 + np.cos(np.pi * gone))
    left = (config.steps - t) / (config.decay_share * config.steps)
    return config.peak * warm * np.minimum(left, 1)


def _trainer(config):
    windows = characters.held_out(config.held_out, config.context)
    # The second moment's memory is 100 steps, since a run has hundreds.
    train = characters.trainer(
        lambda rate: optax.adamw(rate, b1=0.9, b2=0.99, weight_decay=1e-4),
        batch=config.batch,
        observe=lambda params: characters.evaluate(params, windows).mean(),
        every=config.every,
    )
    return train, jnp.asarray(characters.text().train)


def _losses(made, rates, seed, config):
    """Return the recorded held-out losses of one run."""
    train, text = made()
    key = jax.random.fold_in(jax.random.key(config.seed), seed)
    start = characters.init(
        jax.random.fold_in(key, 0), layers=config.layers, width=config.width, context=config.context
    )
    return {"losses": train(start, jax.random.fold_in(key, 1), rates, text).observed}


def _laws(arrays, config):
    """Return parameters, residuals and predictions of the laws, (seeds, memories, ...)."""
    used = arrays["steps"] >= config.first
    names = ("parameters", "residual", "status", "predicted")
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    with jax.enable_x64(True):
        for seed in range(config.seeds):
            curves = [
                (arrays[f"{shape}_rates"], arrays["steps"][used],
                 arrays[f"{shape}_losses"][seed, used].astype(np.float64))
                for shape in ("constant", "cosine")
            ]  # fmt: skip
            for decay in config.decays:
                law = schedules.fit_annealing_law(curves, decay=decay, warmup=config.warmup)
                losses = law.predict(arrays["wsd_rates"])[arrays["steps"] - 1]
                parts = np.array([law.L0, law.A, law.alpha, law.C]), law.residual, law.status
                for name, value in zip(names, (*parts, losses), strict=True):
                    found[name].append(np.asarray(value))
    shape = config.seeds, len(config.decays)
    stacked = {name: np.stack(values) for name, values in found.items()}
    return {name: values.reshape(*shape, *values.shape[1:]) for name, values in stacked.items()}


def identities(rates, steps, config):
    """Return {identity_name: largest relative difference} of the identities of the docstring."""
    worst = {"parameters": 0.0, "prediction": 0.0, "areas": 0.0}
    l0, a, alpha, c = MADE_UP
    with jax.enable_x64(True):
        for decay in config.decays:
            area = {
                shape: schedules.annealing_areas(rates[shape], decay, warmup=config.warmup)
                for shape in SHAPES
            }
            # In units in which both areas are of order 1, so that no term is lost beside others.
            u, v = float(area["constant"][0][-1]), float(area["cosine"][1][-1])
            truth = np.array([l0, a * u**alpha, alpha, c / v])
            exact = {
                shape: np.asarray(l0 + a * (s1 / u) ** -alpha - c * s2 / v)
                for shape, (s1, s2) in area.items()
            }
            law = schedules.fit_annealing_law(
                [(rates[shape], steps, exact[shape][steps - 1]) for shape in SHAPES[:2]],
                decay=decay,
                warmup=config.warmup,
            )
            off = np.array([law.L0, law.A, law.alpha, law.C]) / truth - 1
            worst["parameters"] = max(worst["parameters"], np.abs(off).max())
            off = np.asarray(law.predict(rates["wsd"])) / exact["wsd"] - 1
            worst["prediction"] = max(worst["prediction"], np.abs(off).max())
            for shape, (_, s2) in area.items():
                level = rates[shape].copy()
                level[: config.warmup] = level[config.warmup]
                memory = np.diff(np.asarray(s2), prepend=0.0)
                off = (1 - decay) * np.asarray(s2) + decay * memory - (level[0] - level)
                worst["areas"] = max(worst["areas"], np.abs(off).max() / config.peak)
    return {f"identity_{name}": np.asarray(value) for name, value in worst.items()}


def _label(shape, seed):
    return f"{shape}, seed {seed}"


def _costs(config):
    """Return the rough seconds of every stage."""
    size = config.layers * config.width**2 * config.context
    train = config.steps * (5e-4 + 1.2e-9 * size * config.batch)
    judge = config.steps / config.every * 4e-10 * size * config.held_out
    laws = 0.3 * len(config.decays)
    costs = {"identities": 1.0 + laws, "laws": 0.5 + laws * config.seeds}
    return costs | {
        _label(shape, seed): 0.5 + train + judge for shape in SHAPES for seed in range(config.seeds)
    }


def claims(arrays):
    """Return the identities, and the errors of the prediction, which bind nowhere."""
    from experiments import _annealing_law_figure as errors

    always = ("smoke", "quick", "paper")
    found = [
        Claim("made-up losses: parameters of the law, relative error",
              arrays["identity_parameters"], None, 0.0, 1e-6, "derived in the docstring", always),
        Claim("made-up losses: third curve, relative error", arrays["identity_prediction"], None,
              0.0, 1e-6, "derived in the docstring", always),
        Claim("annealing area = sum of its recursion, over the peak", arrays["identity_areas"],
              None, 0.0, 1e-12, "exact; rounding of sums in float64", always),
    ]  # fmt: skip
    shown = "shown only: the law is empirical"
    for row, words in (
        (errors.paper_row(arrays), "lambda 0.999"),
        (errors.fitted_row(arrays), "lambda fitted"),
    ):
        mean, end = errors.mean_error(arrays, row), errors.end_error(arrays, row)
        found += [
            Claim(f"{words}: mean relative error of the prediction", mean.mean(), _error(mean),
                  0.0, math.inf, shown, ()),
            Claim(f"{words}: relative error at the end", end.mean(), _error(end), -math.inf,
                  math.inf, shown, ()),
        ]  # fmt: skip
    cosine = arrays["cosine_losses"][:, -1] / arrays["wsd_losses"][:, -1] - 1
    found.append(
        Claim("cosine's last loss for the third's, relative error", cosine.mean(), _error(cosine),
              -math.inf, math.inf, "shown only: the same without a law", ()),
    )  # fmt: skip
    return found


def _error(values):
    """Return the standard error of a mean; None for a single value."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def figure(arrays):
    """Draw schedules, losses with predictions, and errors over the memory."""
    from experiments import _annealing_law_figure

    return _annealing_law_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with data and sizes."""
    from experiments import _annealing_law_figure

    return _annealing_law_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _annealing_law_figure

    return _annealing_law_figure.alt(arrays)
