r"""How far trained networks are from their own linearization, by width.

A network :math:`f_\theta` and its expansion to first order around its own start,

.. math::

    f_{lin}(\theta, x) = f_{\theta_0}(x) + \nabla_\theta f_{\theta_0}(x) \cdot (\theta - \theta_0) ,

start from the same parameters and take the same steps of gradient descent on
:math:`\tfrac{1}{2m} |f - y|^2`, each on its own loss. The targets of the two classes are +1 and -1.
The *distance* is the root mean square of :math:`f - f_{lin}` over test images after a fixed flow
time (rate times steps), in units of the targets, and is averaged over networks. Rates are slopes of
its logarithm in that of the width n, with an error by resampling the networks of each width.

Why -1 and -3/4. In training to a fixed time, preactivations z of a hidden layer move by
:math:`\Delta z = O(n^{-1/2})`, and so do single weights a of the readout. What the expansion
misses of one hidden layer is a sum over its units,

.. math::

    \frac{1}{\sqrt n} \sum_i \left\{
      a_i \left[ \phi(z_i + \Delta z_i) - \phi(z_i) - \phi'(z_i) \Delta z_i \right]
      + \Delta a_i \left[ \phi(z_i + \Delta z_i) - \phi(z_i) \right] \right\} .

:math:`\Delta z_i` is :math:`a_i` times something, so every term carries an odd power of
:math:`a_i` and hence a random sign; n of them sum to :math:`\sqrt n`.

1. *Smooth* :math:`\phi`: both brackets, times what is in front of them, are O(1/n), and so is the
   sum. The change of the kernel is of this order as well (Dyer and Gur-Ari 2020; Huang and Yau
   2020); Lee et al. (2019) prove :math:`O(n^{-1/2})`.
2. *ReLU*: the first bracket is zero unless the gate flips, that is, z changes its sign. A share of
   order :math:`n^{-1/2}` does, since the density of z at 0 is finite, and for them the bracket is
   at most :math:`|\Delta z|`. So :math:`\sqrt n` units contribute :math:`\pm 1/n` each:
   :math:`n^{1/4} / n = n^{-3/4}`. The second bracket adds O(1/n). The sum of both falls, at finite
   widths, with a slope between -3/4 and -1.

The network's own path departs from that of its linearization, through its residuals, by as much
again. This is an argument and no theorem; ``ntk_convergence`` sees the same two powers in the
change of the kernel.

*Networks as drawn* begin with an f of order 1 that differs from one to the next, and distances
differ with it, by half of their mean or more. Slopes over 8 networks of each width scatter by 0.04,
too much to decide by (the first 8 ReLU networks of each give -0.90 +- 0.03), so there are 32.
*Centred networks* have that beginning subtracted, :math:`f - f_{\theta_0}`, and so have their
linearizations (Chizat, Oyallon and Bach 2019). All start from the same residual, and 8 suffice.

Accepted intervals. Slopes of distances: the stated requirement around -1 and -3/4. Share of the
first layer's gates that flip on test images: -1/2 by the argument, +- 0.1 for corrections that are
larger where the networks are narrow.

Exact identities, in float64, in every preset (``_linearization_networks``): the linearization that
is stepped follows the closed form with the network's own kernel, and a network that is linear in
its parameters keeps distance zero.

Limits. One pair of digits, one training set, one time, at which the loss of centred networks has
fallen to about a quarter. Rate times the largest eigenvalue of the kernel, over m, is about 0.03
for erf and 0.06 for ReLU, so steps are close to flow. One hidden layer: ``--config.depth 2`` is
much slower where networks are wide.

Differs from the paper:
  1. Real images of two digits, in a basis of their span, which changes no law (``_networks``).
  2. Distances on test points at one time, where the paper takes the largest over time; fitted
     rates, where the paper proves a bound.
  3. No biases, W_std^2 = 2 in the hidden layer. Centred networks are added.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np

from experiments import Claim
from experiments._linearization_networks import ACTIVATIONS, STARTS, classes, identities, pair
from experiments._networks import coordinates, fingerprints, keys, mlp, source

TITLE = "Trained networks and their own linearizations, by width"
PAPER = "Lee, Xiao, Schoenholz et al. (2019), theorem 2.1 and equation 5"
BUDGET = 90
X64 = False

WORDS = {"erf": "erf", "relu": "ReLU", "drawn": "as drawn", "centred": "centred"}


@dataclass(frozen=True)
class Config:
    """Sizes and seeds.

    ``digits``: the two classes. ``widths`` of the ``depth`` hidden layers; ``seeds`` centred
    networks of each and ``drawn_seeds`` as drawn. ``n_train``, ``n_test``: images. ``flow_time``:
    rate times ``steps``; ``records``: times at which outputs are kept. ``per_stage``: networks
    between two savings.
    """

    digits: tuple[int, int] = (3, 8)
    widths: tuple[int, ...] = tuple(2**k for k in range(5, 12))
    depth: int = 1
    seeds: int = 8
    drawn_seeds: int = 32
    n_train: int = 64
    n_test: int = 64
    flow_time: float = 10.0
    steps: int = 100
    records: int = 10
    identity_width: int = 24
    seed: int = 0
    per_stage: int = 4


PRESETS = {
    "smoke": Config(
        widths=(16, 32), seeds=2, drawn_seeds=3, n_train=8, n_test=8, steps=20, records=4
    ),
    "quick": Config(),
    "paper": Config(
        widths=tuple(2**k for k in range(5, 14)), seeds=32, drawn_seeds=100, n_train=128, n_test=128
    ),
}


def datasets(config):
    """Return the fingerprint of the digits."""
    return fingerprints()


def run(config, progress):
    """Train all networks and linearizations; return distances, flipped gates, and an example."""
    x, y, x_test, labels = classes(config)
    inside = [jnp.asarray(part) for part in coordinates(x, x_test)]
    progress.plan(_costs(config))
    result = {
        **progress.stage("identities", partial(identities, x, y, x_test, config)),
        "widths": np.asarray(config.widths),
        "times": np.linspace(0.0, config.flow_time, config.records + 1),
        "digits": np.asarray(config.digits),
        "labels": labels,
        "n_train": np.asarray(config.n_train),
        "depth": np.asarray(config.depth),
        "data": np.asarray(source()),
    }
    for name in ACTIVATIONS:
        measured = [_measured(name, width, inside, y, config) for width in config.widths]
        for start in STARTS:
            rows = [
                _networks_of_width(name, start, width, measure, config, progress)
                for width, measure in zip(config.widths, measured, strict=True)
            ]
            for field in ("distance", "flipped"):
                result[f"{name}_{start}_{field}"] = np.stack([row[field] for row in rows])
            # The first network of the narrowest and of the widest, for the figure.
            for field in ("f", "linear"):
                result[f"{name}_{start}_{field}"] = np.stack([rows[i][field][0] for i in (0, -1)])
    return result


def _measured(name, width, inside, y, config):
    """Return (key, keep) -> what `pair` measures of the network of an activation and a width."""
    net = mlp(width, config.depth, ACTIVATIONS[name], 1)
    x, x_test = inside
    # Compiled in the first stage that is not restored: a resumed run compiles what it needs.
    measure = lru_cache(lambda: pair(net, x, y, x_test, config))
    return lambda key, keep: measure()(net.init(key, (1, x.shape[1])), keep)


def _networks_of_width(name, start, width, measure, config, progress):
    """Return what is measured of all networks of a family and a width, (networks, ...)."""

    def some(first, last):
        drawn = keys(config.seed, list(ACTIVATIONS).index(name), width, first, last)
        seen = [jax.tree.map(np.asarray, measure(key, STARTS[start])) for key in drawn]
        return {field: np.stack([one[field] for one in seen]) for field in seen[0]}

    parts = [
        progress.stage(label, partial(some, first, last))
        for label, first, last in _stages(name, start, width, config)
    ]
    return {field: np.concatenate([part[field] for part in parts]) for field in parts[0]}


def _stages(name, start, width, config):
    """Return (label, first network, last network) of each stage."""
    family = f"{WORDS[name]}, {WORDS[start]}"
    count = config.drawn_seeds if start == "drawn" else config.seeds
    group = config.per_stage * max(1, 512 // width)  # narrow networks take little time
    ends = [(i, min(i + group, count)) for i in range(0, count, group)]
    return [(f"{family}, width {width}, networks {i + 1} to {j}", i, j) for i, j in ends]


def _costs(config):
    """Return the rough seconds of every stage: compilation, and the work per unit and image."""
    costs = {"identities": 10.0}
    points = config.n_train + config.n_test
    for name, start in product(ACTIVATIONS, STARTS):
        for width in config.widths:
            weights = points * width + (config.depth - 1) * width**2
            each = (3e-11 if name == "erf" else 2e-11) * 5 * config.steps * points * weights
            for label, first, last in _stages(name, start, width, config):
                costs[label] = (last - first) * each + (
                    1.5 if first == 0 and start == "drawn" else 0.0
                )
    return costs


def claims(arrays):
    """Return the rates of the distances and of the flipped gates, and the exact identities."""
    from experiments import _rates

    tested, always = ("quick", "paper"), ("smoke", "quick", "paper")
    widths = arrays["widths"]

    def rate(samples):
        return _rates.slope(widths, [sample.mean() for sample in samples])

    found = []
    for name, low, high, power in (
        ("erf", -1.2, -0.85, "-1 for smooth activations"),
        ("relu", -0.9, -0.65, "-3/4 by flipped gates"),
    ):
        for start in STARTS:
            samples = list(arrays[f"{name}_{start}_distance"][:, :, -1])
            found.append(
                Claim(f"{WORDS[name]}, {WORDS[start]}: slope of the distance in the width",
                      rate(samples),
                      _rates.standard_error(rate, samples), low, high,
                      f"stated requirement; {power}, argued in the docstring", tested,
                      "O(n^-1/2) (theorem 2.1)"),
            )  # fmt: skip
    flipped = list(arrays["relu_drawn_flipped"])
    found.append(
        Claim("ReLU, as drawn: slope of the share of flipped gates", rate(flipped),
              _rates.standard_error(rate, flipped), -0.6, -0.4, "derived in the docstring", tested),
    )  # fmt: skip
    rounding = "exact in theory; 1e-10 allows float64 rounding"
    stepped = "stepped linearization = closed form with its kernel"
    for name, field, paper in (
        (f"erf: {stepped}", "erf", "equal (equation 10)"),
        (f"ReLU: {stepped}", "relu", "equal (equation 10)"),
        ("distance of a network that is linear in its parameters", "linear", "0 (equation 5)"),
    ):
        value = arrays[f"identity_{field}"]
        found.append(Claim(name, value, None, 0.0, 1e-10, rounding, always, paper))
    return found


def figure(arrays):
    """Draw a network beside its linearization, distances over time, and over the width."""
    from experiments import _linearization_figure

    return _linearization_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with data, sizes and numbers of networks."""
    from experiments import _linearization_figure

    return _linearization_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _linearization_figure

    return _linearization_figure.alt(arrays)
