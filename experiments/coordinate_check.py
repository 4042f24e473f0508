r"""The coordinate check: what moves how far, by width, for five optimizers.

Two hidden ReLU layers on digits (``_mup_networks``), cross-entropy, minibatches of 64, a few steps.
Shown is the root mean square change since the start of both preactivations and of the output, on
the first minibatch, against the width. In muP it is to be flat: every layer moves by O(1). The
read-out begins at zero, so that the output has no transient of its own,
:math:`n^{-1/2}`; the slopes are fitted from the second width on, and from the second step on, since
with a zero read-out hidden layers do not move in the first.

In the standard parametrization entries of Adam's steps have the size of the rate, and their sum
over n coherent inputs grows like n: hidden preactivations and outputs explode. SGD's gradients
shrink with the width in the hidden layers, so that the first layer stands still while the output
explodes; the l1 size of the activations, which the usual check shows, is flat there (panels at the
right).

Optimizers: SGD; Adam; Lion (``"sign"``); Muon, that is Lion-K of the nuclear norm on matrices
(``"orthogonal"``) with Adam on biases; SOAP, whose steps have entries of the size of the rate in an
eigenbasis, with the rates of ``"adam"``, rotating the shorter side of each matrix. For SOAP this is
a rule that is tried here, not one of the papers'. (With both sides the output's slope came to -0.18
after five steps: gradients of the read-out have the rank of ten outputs, and in the rest of the
long side's basis there is nothing but noise.)

Claimed, from the stated requirement: muP's slopes are at most 0.1 in size for hidden layers, 0.15
for the output, at every step from the second on; in the standard parametrization with Adam
second layer and output have slopes of at least 0.4. Exact: at the base width both parametrizations
with the same read-out are one network, to the bit.

Limits. A handful of steps at one rate each, one architecture; muP's promise is for a number of
steps that does not grow with the width.

Differs from the paper:
  1. Changes are shown, not sizes alone.
  2. Digits and a small network, for a Transformer on text.
"""

from dataclasses import dataclass

import numpy as np
import optax
import scipy.linalg  # noqa: F401 - its BLAS must be there to be limited
from threadpoolctl import threadpool_limits

from experiments import Claim
from experiments import _mup_networks as networks
from theorylab import optim
from theorylab import parametrization as mup

TITLE = "Coordinate check of five optimizers"
PAPER = "Yang et al. (2022), Tensor Programs V: zero-shot hyperparameter transfer"
BUDGET = 240
X64 = False

OPTIMIZERS = ("SGD", "Adam", "Lion", "Muon", "SOAP")
RULES = {
    "SGD": "sgd",
    "Adam": "adam",
    "Lion": "sign",
    "Muon": ("orthogonal", "adam"),
    "SOAP": "adam",
}
RATES = {"SGD": 0.3, "Adam": 3e-3, "Lion": 1e-3, "Muon": 0.02, "SOAP": 3e-3}
SCHEMES = ("mup", "sp")


def make(name):
    """Return the optimizer in optax's terms."""
    rate = RATES[name]
    if name == "SGD":
        return optax.sgd(rate)
    if name == "Adam":
        return optax.adam(rate)
    if name == "Lion":
        return optax.lion(rate, weight_decay=0.0)
    if name == "Muon":
        return networks.muon(rate)
    return optim.soap(rate, weight_decay=0.0, first_step="adam", one_sided="auto")


@dataclass(frozen=True)
class Config:
    """``widths``, of which the first is left out of the fits; steps, minibatches, seeds, names."""

    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    steps: int = 5
    batch: int = 64
    seeds: int = 3
    optimizers: tuple[str, ...] = OPTIMIZERS


PRESETS = {
    "smoke": Config(widths=(64, 96, 128), steps=2, batch=16, seeds=1, optimizers=("SGD", "Adam")),
    "quick": Config(),  # some two minutes on 2 cores
    "paper": Config(widths=(64, 128, 256, 512, 1024, 2048, 4096), seeds=10),
}


def datasets(config):
    """Return the fingerprint of the digits."""
    return networks.fingerprint()


def table(config, name, scheme, widths, zero_readout):
    """Return one coordinate check as arrays."""
    x, y = networks.images()
    batches = [
        (x[k * config.batch : (k + 1) * config.batch], y[k * config.batch : (k + 1) * config.batch])
        for k in range(config.steps)
    ]
    found = mup.coord_check(
        networks.model(scheme, RULES[name], zero_readout),
        widths,
        lambda width: networks.chained(make(name), width, scheme, RULES[name]),
        batches,
        steps=config.steps,
        seeds=config.seeds,
    )
    return {"change": found.change, "mean_abs": found.mean_abs, "loss": found.loss}


def run(config, progress):
    """Return changes and sizes of every optimizer and parametrization."""
    # LAPACK's own threads compete with XLA's: Muon took ten times as long with them.
    with threadpool_limits(limits=1):
        return cells(config, progress)


def cells(config, progress):
    """Return what :func:`run` does."""
    work = 1e-9 * sum(w**2 for w in config.widths) * config.batch * config.steps * config.seeds
    pairs = [(name, scheme) for name in config.optimizers for scheme in SCHEMES]
    labels = {cell: f"{cell[0]}, {cell[1]}" for cell in pairs}
    progress.plan({label: 2.0 * len(config.widths) + work for label in labels.values()}
                  | {"base width": 10.0})  # fmt: skip
    result = {"widths": np.asarray(config.widths), "optimizers": np.asarray(config.optimizers)}
    for (name, scheme), label in labels.items():
        found = progress.stage(
            label,
            lambda n=name, s=scheme: table(config, n, s, config.widths, s == "mup"),
        )
        result |= {f"{name}_{scheme}_{what}": value for what, value in found.items()}

    def at_base():
        apart = 0.0
        for name in config.optimizers:
            ours = table(config, name, "mup", (networks.BASE,), False)
            theirs = {k: result[f"{name}_sp_{k}"][:1] for k in ours}
            apart = max(apart, *(np.abs(ours[k] - theirs[k]).max() for k in ours))
        return {"apart": np.asarray(apart)}

    return result | progress.stage("base width", at_base)


def slopes(arrays, name, scheme, what="change", step=-1):
    """Return slopes and their standard errors, (3,) each, from the second width on."""
    empty = np.empty(0)
    values = {w: arrays.get(f"{name}_{scheme}_{w}", empty) for w in ("change", "mean_abs")}
    made = mup.Table(
        arrays["widths"], networks.LAYERS, empty, values["mean_abs"], values["change"], empty, empty
    )
    made = made._replace(size=values["change"], update=values["change"])
    found = mup.slopes(made, what=what, step=step)
    return found.slope, found.stderr


def worst(arrays, name):
    """Return muP's largest slopes in size from step 2 on and their errors: hidden, output."""
    steps = arrays[f"{name}_mup_change"].shape[2] - 1
    found = [slopes(arrays, name, "mup", step=step) for step in range(2, steps + 1)]
    hidden = max(
        ((abs(slope[k]), error[k]) for slope, error in found for k in (0, 1)), key=lambda p: p[0]
    )
    output = max(((abs(slope[2]), error[2]) for slope, error in found), key=lambda p: p[0])
    return *hidden, *output


def claims(arrays):
    """Return muP's slopes, those of Adam in the standard parametrization, and the identity."""
    long = ("quick", "paper")
    stated = "stated requirement"
    found = []
    for name in arrays["optimizers"]:
        hidden, hidden_error, output, output_error = worst(arrays, name)
        found += [
            Claim(f"{name}, muP: largest slope of a hidden layer from step 2 on, in size", hidden,
                  hidden_error, 0.0, 0.1, stated, long, "0"),
            Claim(f"{name}, muP: largest slope of the output from step 2 on, in size", output,
                  output_error, 0.0, 0.15, stated, long, "0"),
        ]  # fmt: skip
    slope, error = slopes(arrays, "Adam", "sp")
    found += [
        Claim("Adam, standard: slope of the second layer at the end", slope[1], error[1], 0.4,
              np.inf, stated, long, "grows"),
        Claim("Adam, standard: slope of the output at the end", slope[2], error[2], 0.4, np.inf,
              stated, long, "grows"),
        Claim("largest difference of the parametrizations at the base width", arrays["apart"], None,
              0.0, 0.0, "exact: all scales are 1", ("smoke", "quick", "paper")),
    ]  # fmt: skip
    first = str(arrays["optimizers"][0])
    hidden = np.abs(slopes(arrays, first, "sp", "mean_abs")[0][:2]).max()
    found.append(
        Claim(f"{first}, standard: largest slope of a hidden layer's l1 size", hidden, None, 0.0,
              np.inf, "shown only", ())
    )  # fmt: skip
    return found


def figure(arrays):
    """Draw changes by width, five optimizers in two rows, and what the l1 size hides."""
    from experiments import _coordinate_check_figure

    return _coordinate_check_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with sizes."""
    from experiments import _coordinate_check_figure

    return _coordinate_check_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _coordinate_check_figure

    return _coordinate_check_figure.alt(arrays)
