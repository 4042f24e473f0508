r"""The linear network with one hidden layer in muP: the limit, and how near networks come to it.

Digits in 16 principal components, ten outputs, squared loss, 100 steps on minibatches that all
networks share. The limit (``limits.linear_mup``) is itself a network with 16 + 10 hidden units.
Networks of finite width are run in two ways: as they are, with width x 26 weights; and as draws of
the Gram matrix of their initial weights (``limits.linear_gram``), which has 26 x 26 entries at any
width.

*The slope.* Trained networks are one smooth function of this Gram matrix G, and the limit is its
value at the diagonal :math:`G_\infty`. With :math:`G - G_\infty = n^{-1/2} Z`, in which the law of
Z depends on n through terms of relative size :math:`n^{-1/2}` alone and to leading order is normal,

.. math::

    f_n - f_\infty = n^{-1/2} f' Z + \tfrac12 n^{-1} f'' Z Z + O(n^{-3/2}), \qquad
    E |f_n - f_\infty|^2 = n^{-1} (E |f' Z|^2 + O(n^{-1})) :

third moments of Z are :math:`O(n^{-1/2})`. So the root mean square over networks falls like
:math:`n^{-1/2} (1 + O(1/n))`: the slope is -1/2, but for the narrowest. Deviations are taken over
test images and outputs after the last step, in units of the limit's outputs. (The term 1/n has a
factor that grows with the 26 initial vectors: it is not small at the width 32.)

Claimed, as was required: the slope of networks lies in [-0.56, -0.44], that of drawn Gram matrices
within 0.005 of -1/2. Both ways have one law: at widths where there are both, means of the logarithm
of the deviation differ by at most 4 standard errors. Exact, in float64 and in every preset: a
network whose initial weights are orthonormal has the Gram matrix of the limit, and is the limit, at
every step and width.

Limits. A fixed time, at which the loss still falls. Later all widths come to the same least
squares, what they began with is forgotten, and the next orders remain: with a rate five times as
large the slope of networks, from 32 on, came to -0.62, that of Gram matrices to -0.508.

Differs from the paper:
  1. It trains on word vectors and few-shot images; here are digits, and the claims are of rates.
  2. Draws of Gram matrices are not in it.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from experiments import Claim
from experiments import _limit_networks as networks
from theorylab import limits

TITLE = "Linear networks of any width, and their limit"
PAPER = "Yang and Hu (2021), Tensor Programs IV: feature learning in infinite-width neural networks"
BUDGET = 30
X64 = True


@dataclass(frozen=True)
class Config:
    """Networks of ``widths``, ``seeds`` of each; draws at the widths 2**e for e in ``exponents``.

    ``steps`` steps on minibatches of ``batch`` images in ``components`` dimensions, at ``rate``.
    """

    widths: tuple[int, ...] = (32, 64, 128, 256, 512, 1024, 2048)
    seeds: int = 8
    exponents: tuple[int, ...] = tuple(range(6, 33, 2))
    draws: int = 64
    seed: int = 0
    components: int = 16
    steps: int = 100
    batch: int = 32
    rate: float = 0.1


PRESETS = {
    "smoke": Config(widths=(32, 64), seeds=2, exponents=(6, 32), draws=3, steps=20, batch=8),
    "quick": Config(),  # some fifteen seconds on 2 cores
    "paper": Config(
        widths=(32, 64, 128, 256, 512, 1024, 2048, 4096, 8192),
        seeds=64,
        exponents=tuple(range(6, 33)),
        draws=1000,
    ),  # a quarter of an hour on 2 cores
}


def datasets(config):
    """Return the fingerprint of the digits."""
    return networks.fingerprint()


def minibatches(config):
    """Return x (steps, batch, components) and y (steps, batch, 10)."""
    x, y, *_ = networks.digits(config.components)
    rows = np.random.default_rng(config.seed).integers(len(x), size=(config.steps, config.batch))
    return x[rows], y[rows]


def run(config, progress):
    """Return deviations after training, and one output at every step."""
    x, y = minibatches(config)
    *_, x_test, y_test = networks.digits(config.components)
    shape, options = (config.components, networks.CLASSES), {"learning_rate": config.rate}
    limit = limits.linear_mup(*shape, **options)
    work = 1e-5 * config.seeds * config.steps
    labels = {width: f"width {width}" for width in config.widths}
    progress.plan(
        {"limit": 2.0, "orthonormal": 4.0}
        | {label: 2.0 + 1e-3 * work * width for width, label in labels.items()}
        | {"Gram matrices": 3.0 + 1e-4 * config.draws * len(config.exponents)}
    )
    shown = x_test[0], int(y_test[0].argmax())

    def output(path):
        """Return the output of the first test image's class along a path."""
        return np.einsum("...i,i->...", path[..., shown[1]], shown[0])

    def in_the_limit():
        path, status = jax.jit(networks.limit_path(limit, x, y))()
        return {"path": path, "status": status}

    exact = progress.stage("limit", in_the_limit)
    end = exact["path"][-1]

    def orthonormal():
        apart = []
        for width in sorted({config.widths[0], config.widths[-1]}):
            network = networks.network_path(limit, width, x, y, orthonormal=True)
            path = jax.jit(network)(jax.random.key(config.seed))
            apart.append(np.abs(np.asarray(path) - exact["path"]).max())
        return {"apart": np.max(apart)}

    same = progress.stage("orthonormal", orthonormal)

    def at(width):
        network = jax.jit(jax.vmap(networks.network_path(limit, width, x, y)))
        path = np.asarray(network(networks.keys(config.seed, width, config.seeds)))
        return {
            "deviation": networks.deviation(path[:, -1], end, x_test),
            "output": output(path),
        }

    rows = [progress.stage(label, lambda width=width: at(width)) for width, label in labels.items()]

    def drawn():
        def one(exponent):
            gram = limits.linear_gram(2.0**exponent, *shape, **options)
            path = jax.vmap(lambda key: networks.limit_path(gram, x, y)(key)[0][-1])
            return path(networks.keys(config.seed + 1, exponent, config.draws))

        ends = jax.jit(lambda e: jax.lax.map(one, e))(jnp.asarray(config.exponents))
        return {"deviation": networks.deviation(np.asarray(ends), end, x_test)}

    gram = progress.stage("Gram matrices", drawn)
    return {
        "widths": np.asarray(config.widths),
        "deviation": np.stack([row["deviation"] for row in rows]),
        "output": np.stack([row["output"] for row in rows]),
        "limit_output": output(exact["path"]),
        "status": exact["status"],
        "apart": same["apart"],
        "exponents": np.asarray(config.exponents),
        "gram_deviation": gram["deviation"],
        "class": np.asarray(shown[1]),
    }


def in_standard_errors(arrays):
    """Return how far both ways are apart at the widths that they share; NaN without one."""
    apart = [np.nan]
    for exponent, drawn in zip(arrays["exponents"], arrays["gram_deviation"], strict=True):
        for width, direct in zip(arrays["widths"], arrays["deviation"], strict=True):
            if width == 2**exponent:
                pair = [np.log(drawn), np.log(direct)]
                error = np.sqrt(sum(values.var(ddof=1) / len(values) for values in pair))
                apart.append(abs(pair[0].mean() - pair[1].mean()) / error)
    return float(np.fmax.reduce(apart))


def claims(arrays):
    """Return both slopes, that the laws are one, and the exact identity."""
    long, always = ("quick", "paper"), ("smoke", "quick", "paper")
    dense, dense_error = networks.fitted(arrays["widths"], list(arrays["deviation"]))
    drawn, drawn_error = networks.fitted(2.0 ** arrays["exponents"], list(arrays["gram_deviation"]))
    stated = "stated requirement"
    return [
        Claim("slope of the deviation, networks", dense, dense_error, -0.56, -0.44, stated, long,
              "-1/2"),
        Claim("slope of the deviation, drawn Gram matrices", drawn, drawn_error, -0.505, -0.495,
              stated, long, "-1/2"),
        Claim("networks against Gram matrices at one width, in standard errors",
              in_standard_errors(arrays), None, 0.0, 4.0, "equal in law; 4 standard errors", long,
              "equal"),
        Claim("orthonormal initial weights against the limit, all steps", arrays["apart"], None,
              0.0, 1e-12, "exact; stated requirement", always, "equal"),
        Claim("largest status of the limit", arrays["status"], None, 0.0, 0.0, "exact: OK is 0",
              always),
    ]  # fmt: skip


def figure(arrays):
    """Draw one output along training, and deviations against the width."""
    from experiments import _linear_limit_figure

    return _linear_limit_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with sizes."""
    from experiments import _linear_limit_figure

    return _linear_limit_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _linear_limit_figure

    return _linear_limit_figure.alt(arrays)
