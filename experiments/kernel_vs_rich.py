r"""How far the tangent kernel moves in training, by width: a little less each time, or as far.

One network, two parametrizations: the neural tangent one (NTP) and muP, two hidden tanh layers of
width n, points on a circle, full-batch gradient descent on half the mean square error. Measured
against n, at a fixed number of steps and in geometric means over networks:

1. *The relative change of the tangent kernel*, :math:`|\Theta_t - \Theta_0| / |\Theta_0|` in
   Frobenius norm. In NTP it is of order :math:`1/n`. It is not :math:`1/\sqrt n`, which is often
   said: that is the change of each single feature, and the kernel, a mean of products of features,
   averages it. The changes of features have the signs of initial read-out weights, which do not
   know of the features; what is left are squares of changes, and changes aligned with what the
   read-out has learned, a share :math:`n^{-1/2}` of it. In muP both are of order 1. (Exponents of
   all parametrizations: ``dynamical_dichotomy``, :math:`\kappa = r + 1 - \beta`.)
2. *The change of a feature*, the root mean square over units and points of that of the last
   preactivations: :math:`n^{-r}` with ``parametrization.r_exponent``, r = 1/2 in NTP, 0 in muP.

Accepted intervals: what was required of exponents, 0.2 for kernels and 0.1 for features, around 0
in muP and around -1 and -1/2 in NTP.

Both parametrizations have c = 0, so the tangent kernel is the one that drives training. Exact
identities, in float64, in every preset (``_abc_networks``): shifted along the gauge, layer by layer
at random, networks train to the same outputs, and layers' kernels weighted by their rates sum to
the same kernel.

The target, :math:`\cos(\varphi - 0.3) + \tfrac12 \cos 3\varphi` up to a factor that makes its mean
square 1, is odd on the circle, as all networks of tanh without biases are.

Limits. A fixed number of steps; errors are of networks alone. How large the change in muP is
depends on target and rate, and no claim is made about it; nor whether it helps.

Differs from the paper:
  1. It proves that limits differ; here are finite widths, and rates of approach.
"""

from dataclasses import dataclass

import numpy as np

from experiments import Claim
from experiments._abc_networks import DEPTH, gauge_gaps, kernel_change, measured
from experiments._rates import slope, standard_error
from theorylab.parametrization import MUP, NTP, r_exponent

TITLE = "The tangent kernel in training: still in NTP, moving in muP"
PAPER = "Yang and Hu (2021), Tensor Programs IV: feature learning in infinite-width neural networks"
BUDGET = 100
X64 = True

PARAMETRIZATIONS = {"NTP": NTP, "muP": MUP}


@dataclass(frozen=True)
class Config:
    """``widths``, ``seeds`` networks at each, from ``seed``; ``points`` on the circle.

    Looked at ``records`` times, every ``every`` steps of gradient descent at ``rate``.
    """

    widths: tuple[int, ...] = (128, 256, 512, 1024)
    seeds: int = 24
    seed: int = 0
    points: int = 16
    records: int = 10
    every: int = 5
    rate: float = 0.5


PRESETS = {
    "smoke": Config(widths=(16, 32), seeds=2, points=6, records=2, every=2),
    "quick": Config(),  # a minute and a half on 2 cores
    "paper": Config(widths=(128, 256, 512, 1024, 2048, 4096), seeds=60),  # hours on 2 cores
}


def datasets(config):
    """Return that no data are read."""
    return {}


def circle(points):
    """Return x (P, 2) at equal distances, and the target (P,), of mean square 1."""
    angle = 2 * np.pi * (np.arange(points) + 0.5) / points
    y = np.cos(angle - 0.3) + 0.5 * np.cos(3 * angle)
    return np.stack([np.cos(angle), np.sin(angle)], 1), y / np.sqrt((y**2).mean())


def run(config, progress):
    """Return changes (widths, seeds, parametrizations, records + 1), and some kernels."""
    x, y = circle(config.points)
    labels = {width: f"width {width}" for width in config.widths}
    steps = config.records * config.every
    progress.plan(
        {"gauge": 4.0}
        | {label: 3 + 1e-8 * steps * config.seeds * width**2 for width, label in labels.items()}
    )
    chosen = tuple(PARAMETRIZATIONS.values())
    options = {"rate": config.rate, "seed": config.seed}
    gaps = progress.stage(
        "gauge", lambda: gauge_gaps(chosen, config.widths[0], x, y, steps=config.every, **options)
    )

    def at(width):
        shown = measured(
            chosen, width, x, y, records=config.records, every=config.every, seeds=config.seeds,
            **options,
        )  # fmt: skip
        return {
            "features": shown["moved"][..., -1],
            "kernel": kernel_change(shown["kernel"]),
            "loss": ((shown["output"] - y) ** 2).mean(-1) / 2,
            "first": shown["kernel"][0][:, [0, -1]],
        }

    rows = [progress.stage(label, lambda width=width: at(width)) for width, label in labels.items()]
    return {
        "widths": np.asarray(config.widths),
        "steps": config.every * np.arange(config.records + 1),
        "points": np.asarray(config.points),
        "rate": np.asarray(config.rate),
        "features": np.stack([row["features"] for row in rows]),
        "kernel": np.stack([row["kernel"] for row in rows]),
        "loss": np.stack([row["loss"] for row in rows]),
        "matrices": rows[-1]["first"],
        "gauge_output": gaps["output"],
        "gauge_kernel": gaps["kernel"],
    }


def geometric(samples):
    """Return geometric means over networks, (widths, ...) of (widths, seeds, ...)."""
    return np.exp(np.log(samples).mean(1))


def claims(arrays):
    """Return four slopes at the end, and the two exact identities."""
    tested, always = ("quick", "paper"), ("smoke", "quick", "paper")
    widths, found = arrays["widths"], []

    def rate(samples):
        return slope(widths, [np.exp(np.log(one).mean()) for one in samples])

    for k, (name, abc) in enumerate(PARAMETRIZATIONS.items()):
        r = r_exponent(abc, DEPTH)
        for what, values, expected, tolerance in (
            ("relative change of the kernel", arrays["kernel"], -2 * r, 0.2),
            ("change of a feature", arrays["features"], -r, 0.1),
        ):
            end = list(values[:, :, k, -1])
            found.append(
                Claim(f"{name}: slope of the {what}", rate(end), standard_error(rate, end),
                      expected - tolerance, expected + tolerance,
                      f"stated requirement, {tolerance:g} around the exponent of the docstring",
                      tested, f"{expected:g}" if r else "of order 1"),
            )  # fmt: skip
    rounding = "exact in theory; 1e-10 allows rounding in float64"
    return [
        *found,
        Claim("outputs after training, in a random gauge", arrays["gauge_output"], None, 0.0,
              1e-10, rounding, always, "equal"),
        Claim("kernel, layers weighted by rates, in a random gauge", arrays["gauge_kernel"], None,
              0.0, 1e-10, rounding, always, "equal"),
    ]  # fmt: skip


def figure(arrays):
    """Draw the change over steps and by width, and a kernel before and after."""
    from experiments import _kernel_vs_rich_figure

    return _kernel_vs_rich_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with sizes."""
    from experiments import _kernel_vs_rich_figure

    return _kernel_vs_rich_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _kernel_vs_rich_figure

    return _kernel_vs_rich_figure.alt(arrays)
