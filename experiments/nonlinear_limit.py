r"""Nonlinear networks that learn features, and their limits: one hidden layer and two, in muP.

1. *One hidden layer.* Neurons see each other through the residuals alone, so that the limit is a
   mean over the initial law of one neuron, carried by Gauss-Hermite nodes that move
   (``limits.mean_field``). Dense networks of width n, trained for the same steps, are
   :math:`n^{-1/2}` away: a network is a mean over n neurons that are independent at first, and
   the limit of training is a smooth function of such means.
2. *Two hidden layers.* Networks of any width are simulated in law with no n x n matrix in memory
   (``limits.conditioned_mlp``): the images of what the hidden matrix is applied to are drawn from
   their law given all earlier ones. The limit is taken from the widest, 2^17 in the quick preset,
   a mean of three. What is left of its own fluctuation adds :math:`n / (3 \cdot 2^{17})` to the
   mean square deviation at width n, 4 % at 2^14, which makes the slope larger by less than 0.004.
3. *The law.* At n = 128 outputs of simulated and of dense networks after training are compared as
   samples: means by their difference over its standard error, spreads by the logarithm of the ratio
   of standard deviations, which for m + m normal numbers has the standard error
   :math:`(m - 1)^{-1/2}`.

Accepted intervals: slopes in [-0.6, -0.4] around the -1/2 of the central limit theorem, and four
standard errors for every comparison of the law, both stated requirements; 1e-5 for the limit's
outputs under a refinement of its nodes, likewise. Exact identities, in float64 and in every
preset: with a linear activation the nodes give the exact linear limit (moments of second order,
which the rule has without error but for the mass of dropped nodes, 1e-9); losses of a simulated
network are those of a dense network whose matrix has the images that were drawn, 1e-12; no buffer
was too small.

The targets of the circle, sin(t) / 2, are odd, as all networks of tanh without biases are.

Limits. Fixed numbers of steps, full batches. How fast deviations grow with the steps is not shown.

Differs from the papers:
  1. Time is discrete; there is no fixed point to iterate for, as in dynamical mean-field theory.
"""

from dataclasses import dataclass
from functools import lru_cache

import jax.numpy as jnp
import numpy as np

from experiments import Claim
from experiments import _nonlinear_limit_networks as networks
from experiments._rates import slope, standard_error
from theorylab import limits

TITLE = "Nonlinear limits that learn features, and networks on the way to them"
PAPER = "Yang and Hu (2021), Tensor Programs IV; Mei, Montanari and Nguyen (2018)"
BUDGET = 120
X64 = True


@dataclass(frozen=True)
class Config:
    """Of one layer: ``widths``, ``seeds``, ``points``, ``records`` of ``every`` steps, ``rate``.

    Of two: ``deep_widths``, ``deep_seeds``, ``reference`` and its ``runs``, ``deep_points``,
    ``steps``, ``deep_rate``; of the law: ``law_width`` and ``law_seeds``.
    """

    widths: tuple[int, ...] = (64, 256, 1024, 4096)
    seeds: int = 48
    points: int = 5
    records: int = 20
    every: int = 10
    rate: float = 0.1
    orders: tuple[int, int] = (32, 40)
    deep_widths: tuple[int, ...] = (64, 256, 1024, 4096, 16384)
    deep_seeds: int = 24
    reference: int = 2**17
    runs: int = 3
    deep_points: int = 4
    steps: int = 8
    deep_rate: float = 0.5
    law_width: int = 128
    law_seeds: int = 200
    seed: int = 0


PRESETS = {
    "smoke": Config(
        widths=(32,), seeds=3, records=2, every=2, orders=(24, 32), deep_widths=(32,),
        deep_seeds=3, reference=32, runs=3, steps=3, law_width=32, law_seeds=3,
    ),
    "quick": Config(),  # a minute on 2 cores
    "paper": Config(
        widths=(64, 128, 256, 512, 1024, 2048, 4096, 8192), seeds=200,
        deep_widths=tuple(2**k for k in range(6, 15)), deep_seeds=100, runs=12, law_seeds=2000,
    ),  # some ten minutes on 2 cores
}  # fmt: skip


def datasets(config):
    """Return that no data are read."""
    return {}


@lru_cache  # programs are compiled once for each limit
def deep(config, width):
    """Return the simulator of two hidden layers."""
    return limits.conditioned_mlp(
        width, networks.CUBE, 1, 2, jnp.tanh, learning_rate=config.deep_rate,
        capacity=config.deep_points * config.steps,
    )  # fmt: skip


def run(config, progress):
    """Return outputs of limits and of networks, and gaps of the identities."""
    labels = {n: f"one layer, width {n}" for n in config.widths}
    deep_labels = {n: f"two layers, width {n}" for n in config.deep_widths}
    cost = config.seeds * config.records * config.every * config.points / 1e7
    deep_cost = config.steps**2 * config.deep_points**2 / 2e7
    progress.plan(
        {"identities": 8.0, "nodes": 4.0}
        | {label: 2 + cost * n for n, label in labels.items()}
        | {label: 3 + deep_cost * n * config.deep_seeds for n, label in deep_labels.items()}
        | {"reference": 3 + deep_cost * config.reference * config.runs, "law": 8.0}
    )
    x, y = networks.circle(config.points)
    deep_x, deep_y = networks.cloud(config.deep_points)
    found = {
        "widths": np.asarray(config.widths),
        "deep_widths": np.asarray(config.deep_widths),
        "reference_width": np.asarray(config.reference),
        "law_width": np.asarray(config.law_width),
        "times": config.every * np.arange(config.records + 1),
        "deep_steps": np.asarray(config.steps),
        "target": y[:, 0],
    }

    def identities():
        width = 2 * config.deep_points * config.steps
        key = networks.keys(config.seed, 0, count=1)[0]
        gap = networks.image_gap(
            deep(config, width), deep_x, deep_y, config.steps, key, config.seed
        )
        return {"linear_gap": np.asarray(networks.linear_gap(x, y, 20)), "image_gap": gap}

    def nodes():
        coarse, fine = (
            networks.path(
                limits.mean_field(2, 1, jnp.tanh, learning_rate=config.rate, order=order),
                x, y, config.records, config.every,
            )
            for order in config.orders
        )  # fmt: skip
        return {"limit": fine[..., 0], "refined": jnp.abs(fine - coarse).max()}

    def one_layer(width):
        limit = limits.mean_field(2, 1, jnp.tanh, learning_rate=config.rate, order=4)
        keys = networks.keys(config.seed, 1, width, count=config.seeds)
        return {
            "outputs": networks.dense_paths(limit, width, x, y, config.records, config.every, keys)
        }

    def two_layers(width, count, label):
        keys = networks.keys(config.seed, label, width, count=count)
        f, status = networks.simulated(deep(config, width), deep_x, deep_y, config.steps, keys)
        return {"outputs": f, "status": status}

    def law():
        width, count = config.law_width, config.law_seeds
        ours = two_layers(width, count, 3)
        keys = networks.keys(config.seed, 4, width, count=count)
        dense = networks.dense_paths(
            deep(config, width), width, deep_x, deep_y, 1, config.steps, keys
        )
        return {
            "law_ours": ours["outputs"], "law_status": ours["status"], "law_dense": dense[:, -1]
        }  # fmt: skip

    found |= progress.stage("identities", identities) | progress.stage("nodes", nodes)
    rows = [progress.stage(label, lambda n=n: one_layer(n)) for n, label in labels.items()]
    found["outputs"] = np.stack([row["outputs"] for row in rows])
    rows = [
        progress.stage(label, lambda n=n: two_layers(n, config.deep_seeds, 2))
        for n, label in deep_labels.items()
    ]
    found["deep_outputs"] = np.stack([row["outputs"] for row in rows])
    widest = progress.stage("reference", lambda: two_layers(config.reference, config.runs, 5))
    found["reference"] = widest["outputs"]
    found |= progress.stage("law", law)
    statuses = [row["status"].max() for row in (*rows, widest)] + [found.pop("law_status").max()]
    return found | {"status": np.asarray(statuses)}


def squares(arrays, when=None):
    """Return mean square deviations (widths, networks): of one layer at a record, or of two."""
    if when is None:
        away = arrays["deep_outputs"] - arrays["reference"].mean(0)
    else:
        away = arrays["outputs"][:, :, when] - arrays["limit"][when]
    return (away**2).mean(-1)


def rate(widths, values):
    """Return the slope of the root mean square deviation in the width, and its error."""

    def fit(samples):
        return slope(widths, [np.sqrt(sample.mean()) for sample in samples])

    return fit(list(values)), standard_error(fit, list(values))


def law(arrays):
    """Return differences of means and of log spreads, (P,) each, in standard errors."""
    ours, dense = arrays["law_ours"], arrays["law_dense"]
    m = len(ours)
    spread = ours.std(0, ddof=1), dense.std(0, ddof=1)
    means = (ours.mean(0) - dense.mean(0)) / np.sqrt((spread[0] ** 2 + spread[1] ** 2) / m)
    return means, np.log(spread[0] / spread[1]) * (m - 1) ** 0.5


def claims(arrays):
    """Return slopes, the law, and the identities."""
    long, every = ("quick", "paper"), ("smoke", "quick", "paper")
    stated = "central limit theorem; width of the interval: stated requirement"
    found = []
    times = arrays["times"]
    for when, words in ((1, f"after {times[1]} steps"), (-1, f"after {times[-1]} steps")):
        value, error = rate(arrays["widths"], squares(arrays, when))
        found.append(
            Claim(f"one hidden layer: slope of the deviation {words}", value, error, -0.6, -0.4,
                  stated, long, "-1/2")
        )  # fmt: skip
    value, error = rate(arrays["deep_widths"], squares(arrays))
    means, spreads = law(arrays)
    found += [
        Claim("two hidden layers: slope of the deviation", value, error, -0.6, -0.4, stated, long,
              "-1/2"),
        Claim("largest difference of mean outputs, simulated and dense, in standard errors",
              np.abs(means).max(), 1.0, 0.0, 4.0, "stated requirement", long),
        Claim("largest difference of log spreads, simulated and dense, in standard errors",
              np.abs(spreads).max(), 1.0, 0.0, 4.0, "stated requirement", long),
        Claim("largest change of the limit's outputs under refinement", arrays["refined"], None,
              0.0, 1e-5, "stated requirement", every),
        Claim("linear activation: largest difference to the linear limit", arrays["linear_gap"],
              None, 0.0, 1e-9, "exact but for dropped nodes", every),
        Claim("losses of simulated networks and of dense ones with their images: difference",
              arrays["image_gap"], None, 0.0, 1e-12, "exact", every),
        Claim("largest status of a simulation", arrays["status"].max(), None, 0.0, 0.0,
              "exact: buffers hold all points of all steps", every),
    ]  # fmt: skip
    return found


def figure(arrays):
    """Draw outputs over steps, deviations by width, and quantiles."""
    from experiments import _nonlinear_limit_figure

    return _nonlinear_limit_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with sizes."""
    from experiments import _nonlinear_limit_figure

    return _nonlinear_limit_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _nonlinear_limit_figure

    return _nonlinear_limit_figure.alt(arrays)
