r"""Deep linear networks in muP: how near they come to their limit, early in training.

Two and three hidden layers, gradient descent on all training digits in 8 principal components, ten
outputs. The limit is ``limits.deep_linear_mup``: linear algebra on bases that grow, without a
random number. Full batches of a linear network are as good as 8 points with the same moments
(``_limit_networks.compressed``).

*The slope.* Outputs at a fixed step are a smooth function of inner products of the initial vectors
and their images under the initial matrices, which are off their limits by :math:`n^{-1/2}` with
zero mean to leading order. So a single network is off by :math:`O(n^{-1/2})`, and the mean over all
networks by :math:`O(1/n)`. Deviations are root mean squares over test images and outputs, in units
of the limit's outputs, and over networks.

*The mean over S networks* is off by :math:`S^{-1/2}` of what a single one is, and by what the mean
of all is:

.. math::

    \frac{E |\bar f - f_\infty|^2}{E |f - f_\infty|^2}
    = \frac1S + O(1/n) .

That it is not farther than the root mean square of single ones holds always, by the triangle
inequality, and would be no test. Claimed at the largest width, which is more: at most twice
:math:`S^{-1/2}`.

Claimed, as was required: slopes in [-0.65, -0.40] at an early step. Exact, in float64 and in every
preset: with one hidden layer the rule of bases is ``limits.linear_mup``, which has none, at all
steps; and no basis outgrew its capacity.

Limits. One early step. Later the slope steepens, since networks of all widths approach the same
least squares: it is shown for every step.

Differs from the paper:
  1. Its experiments have one hidden layer; the rule for deep linear networks is derived in
     ``theorylab.limits``.
  2. Digits and exponents, for word vectors and few-shot images.
"""

from dataclasses import dataclass

import jax
import numpy as np

from experiments import Claim
from experiments import _limit_networks as networks
from theorylab import limits

TITLE = "Deep linear networks and their limit"
PAPER = "Yang and Hu (2021), Tensor Programs IV: feature learning in infinite-width neural networks"
BUDGET = 60
X64 = True


@dataclass(frozen=True)
class Config:
    """``seeds`` networks of each of ``widths`` and ``depths``, numbers of hidden layers.

    ``steps`` full-batch steps at ``rate`` in ``components`` dimensions; claims are for the step
    ``early``.
    """

    widths: tuple[int, ...] = (128, 256, 512, 1024)
    depths: tuple[int, ...] = (2, 3)
    seeds: int = 24
    seed: int = 0
    components: int = 8
    steps: int = 12
    early: int = 6
    rate: float = 0.2


PRESETS = {
    "smoke": Config(widths=(16, 32), depths=(2,), seeds=3, components=4, steps=3, early=2),
    "quick": Config(),  # half a minute on 2 cores
    "paper": Config(widths=(128, 256, 512, 1024, 2048), seeds=100),  # half an hour on 2 cores
}


def datasets(config):
    """Return the fingerprint of the digits."""
    return networks.fingerprint()


def run(config, progress):
    """Return deviations (depths, widths, seeds, steps), those of means, and one output."""
    x, y, x_test, y_test = networks.digits(config.components)
    x, y = (np.broadcast_to(a, (config.steps, *a.shape)) for a in networks.compressed(x, y))
    shape, options = (config.components, networks.CLASSES), {"learning_rate": config.rate}
    place, seen = int(y_test[0].argmax()), x_test[0]

    def deep(depth):
        capacity = limits.deep_linear_capacity(*shape, depth, config.steps, batch=config.components)
        return limits.deep_linear_mup(*shape, depth, capacity=capacity, **options)

    def output(path):
        """Return the output of the first test image's class along a path."""
        return np.einsum("...i,i->...", path[..., place], seen)

    def in_the_limit(limit):
        path, status = jax.jit(networks.limit_path(limit, x, y))()
        return {"path": path, "status": status}

    def single():
        flat, deep_one = (in_the_limit(a) for a in (limits.linear_mup(*shape, **options), deep(1)))
        return {"apart": np.abs(flat["path"] - deep_one["path"]).max()}

    def at(depth, width, exact):
        network = networks.network_path(deep(depth), width, x, y)
        every = networks.keys(config.seed, width * 10 + depth, config.seeds)
        path = np.asarray(jax.jit(lambda keys: jax.lax.map(network, keys))(every))
        return {
            "single": networks.deviation(path[:, 1:], exact[1:], x_test),
            "mean": networks.deviation(path.mean(0)[1:], exact[1:], x_test),
            "output": output(path),
        }

    names = {depth: f"{depth} hidden layers" for depth in config.depths}
    cells = {(d, n): f"{names[d]}, width {n}" for d in config.depths for n in config.widths}
    work = 2e-9 * config.seeds * config.steps
    progress.plan(
        {"one hidden layer": 3.0}
        | {label: 3.0 for label in names.values()}
        | {label: 2.0 + work * (d - 1) * n**2 for (d, n), label in cells.items()}
    )
    one = progress.stage("one hidden layer", single)
    exact = {
        depth: progress.stage(label, lambda depth=depth: in_the_limit(deep(depth)))
        for depth, label in names.items()
    }
    found = {
        (d, n): progress.stage(label, lambda d=d, n=n: at(d, n, exact[d]["path"]))
        for (d, n), label in cells.items()
    }

    def gathered(name):
        return np.stack(
            [np.stack([found[d, n][name] for n in config.widths]) for d in config.depths]
        )

    return {name: gathered(name) for name in ("single", "mean", "output")} | {
        "widths": np.asarray(config.widths),
        "depths": np.asarray(config.depths),
        "early": np.asarray(config.early),
        "limit_output": np.stack([output(exact[d]["path"]) for d in config.depths]),
        "status": np.stack([exact[d]["status"] for d in config.depths]),
        "apart": one["apart"],
        "class": np.asarray(place),
    }


def slopes(arrays, place, step):
    """Return the slope of single networks of one depth after a step, and its standard error."""
    return networks.fitted(arrays["widths"], list(arrays["single"][place, :, :, step - 1]))


def ratios(arrays):
    """Return mean's deviation over that of single networks, at the early step (depths, widths)."""
    step = int(arrays["early"]) - 1
    single = networks.root_mean_square(arrays["single"][..., step], 2)
    return arrays["mean"][..., step] / single


def claims(arrays):
    """Return the slopes, the nearness of means, and the exact identity."""
    long, always = ("quick", "paper"), ("smoke", "quick", "paper")
    found = []
    for place, depth in enumerate(arrays["depths"]):
        slope, error = slopes(arrays, place, int(arrays["early"]))
        found.append(
            Claim(f"slope of the deviation, {depth} hidden layers", slope, error, -0.65, -0.40,
                  "stated requirement", long, "-1/2")
        )  # fmt: skip
    count = arrays["single"].shape[2]
    return [
        *found,
        Claim("deviation of the mean over that of single networks, largest width, times root S",
              ratios(arrays)[:, -1].max() * count**0.5, None, 0.0, 2.0,
              "1 to leading order, derived in the docstring; twice that is allowed", long),
        Claim("one hidden layer: bases against linear_mup, all steps", arrays["apart"], None, 0.0,
              1e-12, "exact; 1e-12 allows rounding in float64", always, "equal"),
        Claim("largest status of the limits", arrays["status"].max(), None, 0.0, 0.0,
              "exact: OK is 0", always),
    ]  # fmt: skip


def figure(arrays):
    """Draw one output along training, deviations against the width, and slopes by step."""
    from experiments import _deep_linear_limit_figure

    return _deep_linear_limit_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with sizes."""
    from experiments import _deep_linear_limit_figure

    return _deep_linear_limit_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _deep_linear_limit_figure

    return _deep_linear_limit_figure.alt(arrays)
