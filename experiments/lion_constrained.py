r"""Lion's weight decay is a constraint: in the plane, on the way in, and on digits.

Lion-K, :math:`x^+ = x + \eta (\nabla K(u) - \lambda x)`, minimises
:math:`F(x) = f(x) + K^*(\lambda x) / \lambda`. Where K grows like a norm, :math:`K^*` is infinite
outside of a ball, and the decay confines x to a ball of radius :math:`1/\lambda`, in the dual norm.

*(a), (b) In the plane*, a bowl with waves (``_lion_constrained_plane``), six kappas from one start
inside. H is the Lyapunov function of ``optim.lyapunov``; for f with an L-Lipschitz gradient, and L
is known here, no step can raise it by more than its L-term less the dissipation. Claimed: no step
does (1e-12 of H is allowed for rounding), and no path leaves its constraint.

*(c) Phase I.* The step mixes :math:`\lambda x` with a point s of the domain of :math:`K^*`,
:math:`\lambda x^+ = (1 - \eta\lambda) \lambda x + \eta\lambda s`. A distance d that is convex and 0
on the domain obeys :math:`d^+ \le (1 - \eta\lambda) d`, whatever the gradients are. Claimed for
eight kappas that constrain (``power`` does not), with random gradients of all sizes.

It is no better where gradients push outwards. Let v be a subgradient of the gauge
:math:`\gamma` at :math:`\lambda x_0`, and every gradient be :math:`-M v`. Momenta are multiples of
v, and for a norm K, :math:`s = \nabla K(v)` has :math:`\langle v, s \rangle = K(v) = 1`, since the
gauge is the dual norm. With :math:`\langle v, y \rangle \le K(v)\, \gamma(y)`,

.. math::

    \gamma(\lambda x_n) \ge \langle v, \lambda x_n \rangle
    = (1 - \eta\lambda)^n \gamma(\lambda x_0) + 1 - (1 - \eta\lambda)^n ,

so that :math:`\gamma - 1` is multiplied by exactly :math:`1 - \eta\lambda`. Claimed for the six
norms among them: the slope of log d is :math:`\log(1 - \eta\lambda)`, to 1e-6 of it.

*(d) to (f) Digits* (``_lion_constrained_digits``): a small network trained with ``lion_k`` of the
l1 norm, that is Lion, for three decays; how its weights are distributed, and which share lies
outside of the box :math:`|w| \le 1/\lambda`. Claimed: at no step is the excess above
:math:`(1 - \eta\lambda)^n` times that of the start; the end lies in the box to 1e-6, a number that
the bound gives for the steps of the presets in which the claim binds. Test accuracies are shown
only. Exact identity: the same run with ``optax.lion`` ends in the same weights, to the bit.

Limits. One start and one f in the plane, one seed and one rate on digits: nothing is said about
which kappa or which decay is best.

Differs from the paper:
  1. Digits and a network of one hidden layer, for a ResNet on CIFAR-10.
  2. The claims about single steps are exact; the paper argues with exponentials of flow time.
  3. Phase I is looked at with gradients that come from no function.
"""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from experiments import Claim
from experiments import _lion_constrained_digits as digits
from experiments import _lion_constrained_plane as plane
from theorylab import data

TITLE = "Lion's weight decay is a constraint"
PAPER = "Chen, Liu, Liang and Liu (2024), Lion secretly solves constrained optimization"
BUDGET = 60
X64 = True


@dataclass(frozen=True)
class Config:
    """Rates, decays and sizes.

    ``rate``, ``decay``, ``steps`` of the paths in the plane; ``phase_rate``, ``phase_decay`` and
    ``phase_steps`` of phase I. ``weight_decays``: the three of the network with ``width`` hidden
    units, trained at ``weight_rate`` for ``weight_steps`` minibatches of ``batch``.
    """

    rate: float = 0.005
    decay: float = 1.0
    steps: int = 2000
    phase_rate: float = 0.02
    phase_decay: float = 2.0
    phase_steps: int = 150
    weight_decays: tuple[float, ...] = (1.0, 3.0, 10.0)
    weight_rate: float = 2e-3
    weight_steps: int = 4000
    width: int = 64
    batch: int = 64
    seed: int = 0


PRESETS = {
    "smoke": Config(steps=100, phase_steps=30, weight_steps=40, width=8, batch=8),
    "quick": Config(),  # some twenty seconds on 2 cores
    "paper": Config(steps=20000, weight_steps=40000, width=512, batch=256),
}


def datasets(config):
    """Return the fingerprint of the digits."""
    used = data.digits()
    return {used.name: used.fingerprint}


def run(config, progress):
    """Return paths in the plane, distances in phase I, weights and their sizes on digits."""
    labels = {decay: f"digits, decay {decay:g}" for decay in config.weight_decays}
    work = 3e-9 * config.weight_steps * config.width * config.batch * 64
    progress.plan(
        {"in the plane": 4.0 + 1e-3 * config.steps, "phase I": 6.0, "optax": 1.0 + work}
        | {label: 1.0 + work for label in labels.values()}
    )
    result = {
        "rate": np.asarray(config.rate),
        "decay": np.asarray(config.decay),
        "phase": np.asarray([config.phase_rate, config.phase_decay]),
        "weight_decays": np.asarray(config.weight_decays),
        "weight_rate": np.asarray(config.weight_rate),
        "width": np.asarray(config.width),
    }
    paths = partial(plane.paths, config.rate, config.decay, config.steps)
    result |= {f"plane_{name}": v for name, v in progress.stage("in the plane", paths).items()}
    inwards = partial(
        plane.phase_one, config.phase_rate, config.phase_decay, config.phase_steps, config.seed
    )
    result |= {f"phase_{name}": v for name, v in progress.stage("phase I", inwards).items()}

    sizes = {
        "rate": config.weight_rate,
        "steps": config.weight_steps,
        "width": config.width,
        "batch": config.batch,
        "seed": config.seed,
    }
    rows = {
        decay: progress.stage(label, partial(digits.trained, digits.lion_k, decay, **sizes))
        for decay, label in labels.items()
    }
    for name in ("before", "after", "largest", "outside", "accuracy"):
        result[f"digits_{name}"] = np.stack([row[name] for row in rows.values()])
    middle = config.weight_decays[len(config.weight_decays) // 2]
    theirs = progress.stage("optax", partial(digits.trained, digits.lion, middle, **sizes))
    result["identity_optax"] = np.abs(rows[middle]["after"] - theirs["after"]).max()
    return result


def violations(arrays):
    """Return how many steps raise H by more than the bound allows, and how many there are."""
    h, lost = arrays["plane_H"], arrays["plane_lost"]
    excess = np.diff(h) + lost[:, :-1] - 1e-12 * np.abs(h[:, :-1])
    return int((excess > 0).sum() + (~np.isfinite(excess)).sum()), excess.size


def slopes(arrays):
    """Return the slopes of log distance by outward gradients over log(1 - rate decay)."""
    rows = [list(plane.CONSTRAINED).index(name) for name in plane.NORMS]
    logs = np.log(arrays["phase_outward"][rows])
    steps = np.arange(logs.shape[1])
    found = np.polyfit(steps, logs.T, 1)[0]
    return found / math.log1p(-float(arrays["phase"].prod()))


def excesses(arrays):
    """Return (in phase I, on digits): the largest distance over what the bound allows, less 1."""
    factor = 1 - arrays["phase"].prod()
    d = np.concatenate([arrays["phase_random"], arrays["phase_outward"]])
    in_phase = ((d[:, 1:] - factor * d[:, :-1]) / d[:, :1]).max()
    beyond = np.maximum(arrays["digits_largest"] - 1, 0)
    power = np.arange(beyond.shape[1])
    allowed = (
        beyond[:, :1] * (1 - arrays["weight_rate"] * arrays["weight_decays"][:, None]) ** power
    )
    return in_phase, (beyond - allowed).max()


def claims(arrays):
    """Return what holds at every step, the slope of phase I, and the identity with optax."""
    always, long = ("smoke", "quick", "paper"), ("quick", "paper")
    derived = "derived in the docstring"
    wrong, total = violations(arrays)
    in_phase, on_digits = excesses(arrays)
    ratio = slopes(arrays)
    found = [
        Claim(f"plane: steps of {total} that raise H by more than the bound", wrong, None, 0.0, 0.0,
              f"{derived}; rounding of 1e-12 of H is allowed", always, "H falls"),
        Claim("plane: largest gauge of the constraint on the paths", arrays["plane_gauge"].max(),
              None, 0.0, 1 + 1e-9, f"{derived}: the start is inside; 1e-9 for rounding", always),
        Claim("phase I: largest distance less (1 - rate decay) times the last one, over the start",
              in_phase, None, -math.inf, 1e-12, f"{derived}; 1e-12 for rounding", always,
              "exp(-decay t)"),
        Claim("phase I, outward gradients: smallest slope over log(1 - rate decay)", ratio.min(),
              None, 1 - 1e-6, 1 + 1e-6, f"{derived}: equality", always),
        Claim("phase I, outward gradients: largest slope over log(1 - rate decay)", ratio.max(),
              None, 1 - 1e-6, 1 + 1e-6, f"{derived}: equality", always),
        Claim("digits: largest excess over the box less what is left of that of the start",
              on_digits, None, -math.inf, 1e-9, f"{derived}; 1e-9 for rounding", always),
        Claim("digits: largest decay times |w| at the end", arrays["digits_largest"][:, -1].max(),
              None, 0.0, 1 + 1e-6, "stated requirement", long, "inside"),
        Claim("digits: largest difference of weights to optax.lion", arrays["identity_optax"],
              None, 0.0, 0.0, "exact: the same operations", always),
    ]  # fmt: skip
    for decay, right in zip(arrays["weight_decays"], arrays["digits_accuracy"], strict=True):
        found.append(
            Claim(f"digits, decay {decay:g}: test accuracy", right, None, -math.inf, math.inf,
                  "shown only", ()),
        )  # fmt: skip
    return found


def figure(arrays):
    """Draw paths, H and F, phase I, and the weights for three decays."""
    from experiments import _lion_constrained_figure

    return _lion_constrained_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with rates and sizes."""
    from experiments import _lion_constrained_figure

    return _lion_constrained_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _lion_constrained_figure

    return _lion_constrained_figure.alt(arrays)
