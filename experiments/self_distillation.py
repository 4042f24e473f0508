r"""A regression that learns from its own predictions: eleven points, then digits.

Self-distillation fits a ridge regression to targets, takes its predictions, blended with the true
targets, for targets of the next generation, and so on. Generation t is

.. math::

    y_t = K (K + \lambda)^{-1} \left( \alpha y + (1 - \alpha) y_{t-1} \right), \qquad y_0 = y,

with the weight :math:`\alpha` of the true targets. Each generation shrinks what the kernel finds
hard to fit further. Without true targets (:math:`\alpha = 0`) nothing is left in the end; with
them the limit is ridge regression with :math:`\lambda / \alpha`.

*Eleven points* (``_self_distillation_toy``). The authors' example: noisy points on a sinusoid, too
small a ridge. The first generations come closer to the sinusoid, then those without true targets
shrink too far. The losses that the authors published, to five decimals, are claims: half a unit of
the last decimal is allowed, and 1e-12 for rounding.

*Digits* (``_self_distillation_digits``). The same with the NTK of an infinitely wide network, with
true labels and with a share of the training labels replaced by random ones, at one ridge of a tenth
of the mean diagonal, not tuned. Weights are a few fixed ones, and those that are best on validation
images, generation by generation, in [0, 1]. They are chosen on validation images and shown on test
images too. Nothing about digits is claimed: what comes out is listed as "shown only".

The other claims are the exact identities in ``_self_distillation_digits``, in float64.

Limits. One split of the digits, whose train, validation and test images are partly by the same
writers; where labels are replaced, means and standard deviations are over draws of the labels
alone. The ridge decides what is seen: one large enough for the noise leaves nothing to distil.

Differs from the paper:
  1. The points are those of the authors' code, which takes another kernel than Mobahi et al.
  2. Digits with the NTK; the paper distils trained ResNets on CIFAR-10.
  3. Weights chosen anew for every generation, clipped to [0, 1].
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from experiments import Claim
from experiments import _self_distillation_digits as digits
from experiments import _self_distillation_toy as toy
from theorylab import data

TITLE = "Self-distillation: the published losses, and an NTK of digits"
PAPER = "Borup and Andersen (2021); Mobahi, Farajtabar and Bartlett (2020)"
BUDGET = 60
X64 = True

LEVELS = ("clean", "noisy")


@dataclass(frozen=True)
class Config:
    """Sizes, weights and seeds of the digits; the eleven points are what they are.

    ``train``, ``val``, ``test``: images. ``ridge``: over the mean diagonal of the kernel.
    ``steps``: generations. ``alphas``: fixed weights of the true targets. ``noise``: share of
    training labels replaced, in each of ``seeds`` draws. ``checked``: training images in the
    identities.
    """

    train: int = 600
    val: int = 437
    test: int = 360
    ridge: float = 0.1
    steps: int = 10
    alphas: tuple[float, ...] = (0.0, 0.2, 0.5, 1.0)
    noise: float = 0.3
    seeds: int = 5
    checked: int = 200


PRESETS = {
    "smoke": Config(train=40, val=20, test=20, steps=4, seeds=2, checked=30),  # seconds on 2 cores
    "quick": Config(),  # half a minute on 2 cores
    "paper": Config(train=1000, steps=30, seeds=20, checked=500),  # some minutes on 2 cores
}


def datasets(config):
    """Return the fingerprint of the digits."""
    used = data.digits()
    return {used.name: used.fingerprint}


def run(config, progress):
    """Return the curves and losses of the eleven points, and those of the digits."""
    # Threads bring little to eigenvectors of this size, and on cores that are busy otherwise they
    # wait for each other: three times as long. (Holds for libraries that are loaded by now, as
    # SciPy's is, which JAX calls too.)
    with threadpool_limits(limits=1):
        return _run(config, progress)


def _run(config, progress):
    each = 0.3 + 4e-9 * config.train**3 + 2e-8 * config.train**2 * config.steps
    progress.plan(
        {"eleven points": 3.0, "kernel": 3.0 + 1e-6 * config.train**2, "identities": 6.0}
        | {label: each * (len(config.alphas) + 1) for label, _, _ in _draws(config)}
    )
    used = digits.digits(config.train, config.val, config.test)
    found = progress.stage("kernel", lambda: digits.kernels(used)._asdict())
    k = digits.Kernels(**found)
    few = slice(config.checked)
    part = digits.Kernels(k.train[few, few], k.val[:, few], k.test[:, few])
    wrong = digits.replaced(used.y_train, config.noise, 0)
    exact = progress.stage("identities", partial(digits.identities, part, used, wrong[few], config))
    result = {f"identity_{name}": value for name, value in exact.items()}
    result |= progress.stage("eleven points", _points)
    result |= {
        "alphas": np.asarray(config.alphas),
        "noise": np.asarray(config.noise),
        "ridge": np.asarray(config.ridge),
        "images": np.asarray([config.train, config.val, config.test]),
    }
    curves: dict[str, list[Any]] = {level: [] for level in LEVELS}
    for label, level, seed in _draws(config):
        labels = digits.replaced(used.y_train, config.noise, seed)
        if level == "clean":
            labels = used.y_train
        measure = partial(digits.distilled, k, used, labels, config)
        curves[level].append(progress.stage(label, measure))
    for level, rows in curves.items():
        for name in rows[0]:
            result[f"{level}_{name}"] = np.stack([row[name] for row in rows])
    return result


def _draws(config):
    """Return (label of the stage, level, seed) of every distillation of digits."""
    wrong = [(f"noisy digits, draw {s + 1}", "noisy", s) for s in range(config.seeds)]
    return [("clean digits", "clean", 0), *wrong]


def _points():
    """Return generations and limit on the grid, and their losses, for the published weights."""
    curves = np.stack([toy.curves(alpha) for alpha in toy.ALPHAS])
    return {
        "toy_curves": curves,
        "toy_losses": ((curves - toy.truth()) ** 2).mean(axis=2),
        "toy_published": toy.PUBLISHED,
    }


def claims(arrays):
    """Return the published losses, the identities, and what came out for digits."""
    always = ("smoke", "quick", "paper")
    found = []
    for row, alpha in enumerate(toy.ALPHAS):
        apart = np.abs(arrays["toy_losses"][row] - toy.PUBLISHED[row]).max()
        found.append(
            Claim(
                f"eleven points, alpha = {alpha:g}: largest difference to 7 published losses",
                apart,
                None,
                0.0,
                5e-6 + 1e-12,
                "published to five decimals; half a unit of the last",
                always,
                "{} to {}; limit {}".format(*toy.PUBLISHED[row, [0, -2, -1]]),
            )
        )
    for words, field, paper in (
        ("digits: generations = their closed form in the eigenbasis", "generations", "equal"),
        ("digits: limit = ridge regression with lambda / alpha", "limit", "equal"),
        ("digits: chosen weights are the best in [0, 1]", "weights", ""),
    ):
        value = arrays[f"identity_{field}"]
        found.append(
            Claim(words, value, None, 0.0, 1e-10, "exact; 1e-10 allows rounding", always, paper)
        )
    for level, words in (("clean", "true labels"), ("noisy", "random labels")):
        losses = arrays[f"{level}_test"][:, -1]
        ratio = losses[:, -2] / losses[:, 0]
        error = ratio.std(ddof=1) / math.sqrt(len(ratio)) if len(ratio) > 1 else None
        found.append(
            Claim(
                f"digits, {words}: test error of the last generation, chosen weights, over that "
                "of the first",
                ratio.mean(),
                error,
                -math.inf,
                math.inf,
                "shown only: depends on the ridge",
                (),
            )
        )
    return found


def figure(arrays):
    """Draw the eleven points, their losses, and errors and weights on digits."""
    from experiments import _self_distillation_figure

    return _self_distillation_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with data and sizes."""
    from experiments import _self_distillation_figure

    return _self_distillation_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _self_distillation_figure

    return _self_distillation_figure.alt(arrays)
