r"""Features or a kernel: the exponent r, predicted and measured.

In an abc-parametrization the preactivations of the last hidden layer change by :math:`n^{-r}` in a
fixed number of steps (``parametrization.r_exponent``). r = 0 is feature learning; r > 0 is training
with a kernel that stands still in the limit. Measured is the slope of the change against the width
n, in logarithms, for networks with two hidden tanh layers after a few full-batch steps.

Parametrizations: the standard one with c = 1, the neural tangent one, muP, three on the straight
line between the last two (``between``), and two with features as quick but a read-out that begins
as small as in muP (``small_readout``). With one c, along the line,

.. math::

    a = (-\tfrac t2, \tfrac{1-t}2, \tfrac12), \quad b = (\tfrac t2, \tfrac t2, \tfrac t2), \qquad
    r = \tfrac{1-t}2 .

*First layer.* Its change is :math:`n^{-r_1}` with the term l = 1 of the minimum that r is, which is
``r_exponent`` of the network that keeps the input and the read-out exponents alone. For the
standard parametrization :math:`r_1 = 3/2`. Shown only.

*The tangent kernel*, relative to its size. Let :math:`\beta = a_{L+1} + b_{L+1}`, at most 1, and
the read-out's updates be maximal, :math:`2 a_{L+1} + c_{L+1} = 1`, which holds for all eight. The
read-out's own kernel is the mean of products of last features. Their change, :math:`n^{-r}` for
each unit, has the sign of its read-out weight. At the start that is independent of the features, so
that over n units it averages out; the part that training added is aligned with the features, and is
a share :math:`n^{-(1 - \beta)}` of the weight. So this kernel changes by

.. math:: n^{-\kappa}, \qquad \kappa = r + 1 - \beta ,

beside terms :math:`n^{-2r}` and :math:`n^{-r - 1/2}`, which are not larger since stability demands
:math:`1 - \beta \le r` and :math:`\beta \ge 1/2`. The kernels of other layers have the size
:math:`n^{-(r_l + \beta - 1)}`, and relative to it they change by the square of that share, since
they have the read-out squared: :math:`n^{-(r_l + 1 - \beta)}`, no more. Hence
:math:`\kappa = 2r` where moving features move the output, :math:`\beta + r = 1`: on the line, its
ends included, and for the standard parametrization. With a small read-out :math:`\kappa = r`.

Claimed, as was required: slopes of features are within 0.1 of -r, those of the kernel within 0.2 of
:math:`-2r` where :math:`\kappa = 2r`; and, with the same 0.2, of :math:`-\kappa` for the other two.

Exact identities, in float64, in every preset: ``abc_mlp`` trained with ``abc_rates`` after a random
shift of the gauge of every layer gives the outputs, and its kernel, layers weighted by their rates,
is the kernel, of the programs that measured (``_abc_networks``).

Limits. A few steps, one small set of data: nothing about late times. Errors are of networks alone;
corrections of higher order in 1/n stay.

Differs from the paper:
  1. It proves exponents in the limit; here they are slopes at finite widths.
  2. The exponent of the kernel's change is ours, derived above.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from experiments import Claim
from experiments._abc_networks import DEPTH, gauge_gaps, kernel_change, measured
from experiments._rates import standard_error
from theorylab.parametrization import ABC, MUP, NTP, SP, r_exponent

TITLE = "Features or a kernel: exponents of the width"
PAPER = "Yang and Hu (2021), Tensor Programs IV: feature learning in infinite-width neural networks"
BUDGET = 90
X64 = True


def between(t):
    """Return the parametrization at t on the line from NTP (0) to muP (1)."""
    a, b = ([(1 - t) * u + t * v for u, v in zip(*ends, strict=True)]
            for ends in ((NTP.a, MUP.a), (NTP.b, MUP.b)))  # fmt: skip
    return ABC(tuple(a), tuple(b), 0.0)


def small_readout(r):
    """Return a parametrization of exponent r whose read-out begins at 1 / n."""
    return ABC((r - 0.5, r / 2, 0.5), (0.5 - r, (1 - r) / 2, 0.5), 0.0)


PARAMETRIZATIONS = {
    "SP, c = 1": dataclasses.replace(SP, c=1.0),
    "NTP": NTP,
    "line, t = 1/4": between(0.25),
    "line, t = 1/2": between(0.5),
    "line, t = 3/4": between(0.75),
    "muP": MUP,
    "small read-out, r = 1/4": small_readout(0.25),
    "small read-out, r = 1/8": small_readout(0.125),
}

IN_TWO_GAUGES = ("SP, c = 1", "line, t = 1/2")


@dataclass(frozen=True)
class Config:
    """``widths``, ``seeds`` networks at each, from ``seed``; ``points`` in ``inputs`` dimensions.

    Trained for ``steps`` steps with the ``rate``, in units of the parametrization.
    """

    widths: tuple[int, ...] = (128, 256, 512, 1024)
    seeds: int = 24
    seed: int = 0
    points: int = 8
    inputs: int = 4
    steps: int = 5
    rate: float = 1.0


PRESETS = {
    "smoke": Config(widths=(16, 32), seeds=2, points=4, inputs=3),
    "quick": Config(),  # a minute on 2 cores
    "paper": Config(widths=(128, 256, 512, 1024, 2048, 4096), seeds=100),  # hours on 2 cores
}


def datasets(config):
    """Return that no data are read."""
    return {}


def points(config):
    """Return random x (P, inputs) of norm 1, and labels (P,) that alternate between 1 and -1."""
    x = np.random.default_rng(config.seed).normal(size=(config.points, config.inputs))
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return x, np.where(np.arange(config.points) % 2 == 0, 1.0, -1.0)


def run(config, progress):
    """Return changes of features (widths, seeds, parametrizations, layers) and of kernels."""
    x, y = points(config)
    labels = {width: f"width {width}" for width in config.widths}
    progress.plan(
        {"gauge": 8.0}
        | {label: 3 + 2e-7 * config.seeds * width**2 for width, label in labels.items()}
    )
    chosen = tuple(PARAMETRIZATIONS.values())
    gaps = progress.stage(
        "gauge",
        lambda: gauge_gaps(
            [PARAMETRIZATIONS[name] for name in IN_TWO_GAUGES],
            config.widths[0],
            x,
            y,
            rate=config.rate,
            steps=config.steps,
            seed=config.seed,
        ),
    )

    def at(width):
        shown = measured(
            chosen, width, x, y, rate=config.rate, records=1, every=config.steps,
            seeds=config.seeds, seed=config.seed,
        )  # fmt: skip
        change = kernel_change(shown["kernel"])[..., 1]
        return {"features": shown["moved"][:, :, 1], "kernel": change}

    rows = [progress.stage(label, lambda width=width: at(width)) for width, label in labels.items()]
    return {
        "widths": np.asarray(config.widths),
        "features": np.stack([row["features"] for row in rows]),
        "kernel": np.stack([row["kernel"] for row in rows]),
        "steps": np.asarray(config.steps),
        "points": np.asarray(config.points),
        "gauge_output": gaps["output"],
        "gauge_kernel": gaps["kernel"],
    }


def predicted():
    """Return (r, r of the first layer, exponent of the kernel), each for all parametrizations."""
    chosen = PARAMETRIZATIONS.values()
    r = np.array([r_exponent(abc, DEPTH) for abc in chosen])
    first = [
        r_exponent(ABC((abc.a[0], abc.a[-1]), (abc.b[0], abc.b[-1]), abc.c), 1) for abc in chosen
    ]
    beta = np.array([abc.a[-1] + abc.b[-1] for abc in chosen])
    return r, np.array(first), r + 1 - beta


def slopes(widths, samples):
    """Return slopes of the geometric means of ``samples``, widths by (seeds, parametrizations)."""
    means = np.array([np.log(one).mean(0) for one in samples])
    centred = np.log(widths) - np.log(widths).mean()
    return centred @ means / (centred @ centred)


def claims(arrays):
    """Return the largest errors of exponents, and the two exact identities."""
    r, _, kappa = predicted()
    twice = np.isclose(kappa, 2 * r)
    everyone = np.ones(len(r), bool)
    tested, always = ("quick", "paper"), ("smoke", "quick", "paper")
    found = []
    for name, values, expected, which, high, origin in (
        ("largest |slope + r|, change of the last features", arrays["features"][..., -1], r,
         everyone, 0.1, "stated requirement"),
        ("largest |slope + 2r|, change of the kernel: SP, NTP, muP, between", arrays["kernel"],
         2 * r, twice, 0.2, "stated requirement; exponent derived in the docstring"),
        ("largest |slope + r|, change of the kernel: small read-out", arrays["kernel"], kappa,
         ~twice, 0.2, "derived in the docstring; tolerance as that of the others"),
    ):  # fmt: skip

        def worst(samples, expected=expected, which=which):
            return float(np.abs(slopes(arrays["widths"], samples) + expected)[which].max())

        error = standard_error(worst, list(values))
        found.append(Claim(name, worst(list(values)), error, 0.0, high, origin, tested))
    rounding = "exact in theory; 1e-10 allows rounding in float64"
    return [
        *found,
        Claim("outputs after training, in a random gauge", arrays["gauge_output"], None, 0.0,
              1e-10, rounding, always, "equal"),
        Claim("kernel, layers weighted by rates, in a random gauge", arrays["gauge_kernel"], None,
              0.0, 1e-10, rounding, always, "equal"),
    ]  # fmt: skip


def figure(arrays):
    """Draw changes against the width, and measured against predicted exponents."""
    from experiments import _dynamical_dichotomy_figure

    return _dynamical_dichotomy_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with sizes."""
    from experiments import _dynamical_dichotomy_figure

    return _dynamical_dichotomy_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _dynamical_dichotomy_figure

    return _dynamical_dichotomy_figure.alt(arrays)
