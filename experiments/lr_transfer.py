r"""Learning rates transfer: the best rate of a small network is that of a wide one, in muP.

Two hidden ReLU layers on digits (``_mup_networks``), trained from the same initial weights at many
rates: Adam under cross-entropy, and SGD under the squared loss

.. math:: \frac{1}{0.9} \sum_k (f_k - y_k)^2 ,

y being one-hot labels less 1/10, so that an output of zero has the loss 1. (Under cross-entropy SGD
in the standard parametrization shows no failure on such data: large rates diverge in a controlled
way. Hence the squared loss.) Runs whose loss at the end is that of an output of zero or worse count
as diverged. The best rate is refined by a parabola in the logarithms of three neighbours, where
neither has diverged.

Runs are short: with Adam, 150 steps fit these images, and the best rate is then decided by noise in
losses of 1e-4 (it was, in a first try with two seeds: 0.7 octaves in muP, 0.3 in the standard
parametrization).

Claimed, from the stated requirement: over a factor of 16 in width, muP's best rate moves by at most
half an octave, that of the standard parametrization by an octave or more; in muP the loss at a
width's best rate is not larger than at the base width. Exact: at the base width, 64, both
parametrizations are one, and so are their losses, to the bit.

Limits. A fixed number of steps, one architecture, small data that can be fitted; training losses.

Differs from the paper:
  1. Digits and a small network, for language models.
  2. Losses are averaged over the last steps, of minibatches that are the same at every width.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import Claim
from experiments import _mup_networks as networks
from theorylab import parametrization as mup

TITLE = "Learning rates transfer across width"
PAPER = "Yang et al. (2022), Tensor Programs V: zero-shot hyperparameter transfer"
BUDGET = 240
X64 = False

SCHEMES = ("sp", "mup")
SETTINGS = ("adam", "sgd")


@dataclass(frozen=True)
class Config:
    """Widths, the first being the base; rates as powers of two; steps, minibatches, seeds.

    Losses are means of the last ``adam_window`` and ``sgd_window`` steps.
    """

    widths: tuple[int, ...] = (64, 256, 1024)
    adam_rates: tuple[float, ...] = tuple(float(k) for k in range(-11, -3))
    adam_steps: int = 40
    adam_batch: int = 128
    sgd_rates: tuple[float, ...] = tuple(k / 2 for k in range(-11, -1))
    sgd_steps: int = 100
    sgd_batch: int = 64
    seeds: int = 4
    adam_window: int = 5
    sgd_window: int = 20


PRESETS = {
    "smoke": Config(widths=(64, 96), adam_rates=(-10.0, -7.0), adam_steps=5, adam_batch=16,
                    sgd_rates=(-6.0, -3.0), sgd_steps=5, sgd_batch=16, seeds=1, adam_window=2,
                    sgd_window=2),
    "quick": Config(),  # some three minutes on 2 cores
    "paper": Config(widths=(64, 128, 256, 512, 1024, 2048, 4096), seeds=8,
                    adam_rates=tuple(k / 2 for k in range(-24, -7))),
}  # fmt: skip


def datasets(config):
    """Return the fingerprint of the digits."""
    return networks.fingerprint()


def squared(output, labels):
    """Return the squared loss of centred one-hot labels, 1 for an output of zero."""
    y = jax.nn.one_hot(labels, networks.OUTPUTS) - 1 / networks.OUTPUTS
    return jnp.mean(jnp.sum((output - y) ** 2, 1)) / (1 - 1 / networks.OUTPUTS)


def sweep(config, setting, scheme, width):
    """Return one sweep of rates as arrays."""
    rates = [2.0**k for k in getattr(config, f"{setting}_rates")]
    chain = {"adam": optax.adam, "sgd": optax.sgd}[setting]
    found = mup.lr_sweep(
        networks.model(scheme, setting),
        (width,),
        lambda n, rate: networks.chained(chain(rate), n, scheme, setting),
        networks.images(),
        rates,
        steps=getattr(config, f"{setting}_steps"),
        batch_size=getattr(config, f"{setting}_batch"),
        seeds=config.seeds,
        window=getattr(config, f"{setting}_window"),
        loss=squared if setting == "sgd" else None,
    )
    return {"loss": found.loss[0], "diverged": found.diverged[0], "rate": found.best_rate[0],
            "best": found.best[0], "edge": found.at_edge[0]}  # fmt: skip


def run(config, progress):
    """Return losses, what diverged, and best rates, of both settings and parametrizations."""
    cells = [(setting, scheme, width) for setting in SETTINGS for scheme in SCHEMES
             for width in config.widths]  # fmt: skip
    labels = {cell: f"{cell[0]}, {cell[1]}, width {cell[2]}" for cell in cells}

    def work(setting, width):
        runs = config.seeds * len(getattr(config, f"{setting}_rates"))
        steps, batch = getattr(config, f"{setting}_steps"), getattr(config, f"{setting}_batch")
        return 2.0 + runs * steps * (1e-4 + 1e-10 * batch * width**2)

    progress.plan({label: work(cell[0], cell[2]) for cell, label in labels.items()})
    found = {
        cell: progress.stage(label, lambda c=cell: sweep(config, *c))
        for cell, label in labels.items()
    }
    result = {"widths": np.asarray(config.widths)}
    for setting in SETTINGS:
        result[f"{setting}_rates"] = 2.0 ** np.asarray(getattr(config, f"{setting}_rates"))
        for scheme in SCHEMES:
            rows = [found[setting, scheme, width] for width in config.widths]
            result |= {f"{setting}_{scheme}_{k}": np.stack([r[k] for r in rows]) for k in rows[0]}
    return result


def octaves(arrays, setting, scheme):
    """Return how far the best rates lie apart, in octaves."""
    return float(np.ptp(np.log2(arrays[f"{setting}_{scheme}_rate"])))


def least(arrays, setting, scheme):
    """Return mean losses at the grid's best rates and their standard errors over seeds, (W,)."""
    best = arrays[f"{setting}_{scheme}_best"]
    runs = np.stack(
        [row[k] for row, k in zip(arrays[f"{setting}_{scheme}_loss"], best, strict=True)]
    )
    seeds = runs.shape[1]
    return runs.mean(1), runs.std(1, ddof=1) / seeds**0.5 if seeds > 1 else np.full(
        len(runs), np.nan
    )


def claims(arrays):
    """Return how far best rates move, whether wider is better, and the identity."""
    long, stated = ("quick", "paper"), "stated requirement"
    words = {"adam": "Adam, cross-entropy", "sgd": "SGD, squared loss"}
    found = []
    for setting in SETTINGS:
        at, error = least(arrays, setting, "mup")
        found += [
            Claim(f"{words[setting]}, muP: movement of the best rate in octaves",
                  octaves(arrays, setting, "mup"), None, 0.0, 0.5, stated, long, "0"),
            Claim(f"{words[setting]}, standard: movement of the best rate in octaves",
                  octaves(arrays, setting, "sp"), None, 1.0, np.inf, stated, long, "moves"),
            Claim(f"{words[setting]}, muP: largest best loss over that of the base width",
                  (at / at[0]).max(), error[0] / at[0] if np.isfinite(error[0]) else None, 0.0, 1.0,
                  stated, long, "wider is better"),
        ]  # fmt: skip
    apart = max(
        np.abs(arrays[f"{s}_mup_loss"][0] - arrays[f"{s}_sp_loss"][0]).max() for s in SETTINGS
    )
    found.append(
        Claim("largest difference of the parametrizations at the base width", apart, None, 0.0, 0.0,
              "exact: all scales are 1", ("smoke", "quick", "paper"))
    )  # fmt: skip
    return found


def figure(arrays):
    """Draw losses against rates, one line for each width."""
    from experiments import _lr_transfer_figure

    return _lr_transfer_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with numbers."""
    from experiments import _lr_transfer_figure

    return _lr_transfer_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _lr_transfer_figure

    return _lr_transfer_figure.alt(arrays)
