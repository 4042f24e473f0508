r"""Kernels of the muP limit in training, beside the NTK limit, whose kernel stands still.

Two hidden erf layers on digits of two classes, a few images of each on their leading principal
axes, every input of norm 1, targets 1 and -1, full-batch gradient descent of half the mean square
error. The muP limit is shown by ``limits.conditioned_mlp`` at two large widths, without a hidden
matrix: feature kernels :math:`\Phi^l`, the mean of products of activations over neurons, and the
NTK :math:`\Theta = G^1 \Phi^0 + G^2 \Phi^1 + \Phi^2`, before every step. At time 0 it is the NTK
limit of ``theorylab.kernels``, which networks in the neural tangent parametrization (NTP) keep in
training, so that there the outputs follow :math:`f \leftarrow f - \frac{\eta}{P} \Theta (f - y)`.

*Alignment* is that of a kernel K with the targets,
:math:`y^\top K y / (|y|^2\, |K|)`, in Frobenius norm. It grows. With outputs still near 0 the
residuals are -y. Within the time s the last hidden layer moves by
:math:`\Delta h_p = s\, v\, (M y)_p + \dots`, with M the kernel :math:`\Phi^1` weighted by slopes.
As v is independent of all before it, with mean 0, kernels do not move to first order in s: it is
to second order that :math:`\Phi^2` gains, by :math:`s^2 (M y)_p (M y)_q`, weighted by slopes, which
is large between points of a class and negative between classes where M y has the signs of y. The
other terms of second order are no larger; that they do not reverse it is what is tested.

Accepted intervals. *Growth*: the sign, in every network. *Change of the NTK*, :math:`|\Theta_t -
\Theta_0| / |\Theta_0|`: its exponent in the width is 0 in muP and -1 in NTP (-2 r, with r of
``parametrization.r_exponent``), within 0.2, a stated requirement; at two widths the means are
within four standard errors, where what the width itself does, O(1/n), is far below the fluctuation,
O(n^{-1/2}). It must exceed the relative fluctuation of the initial NTK from network to network:
in a kernel limit it would be O(1/n) against that :math:`O(n^{-1/2})`. *Start*: the mean over
networks is the NTK limit up to four times its standard error, in Frobenius norm.

Exact identities, in float64 and every preset: all kernels are symmetric and positive
semidefinite; with one hidden layer, where nothing is left to be drawn, the NTK is that of whole
Jacobians; no buffer was too small.

Limits. The number of steps is fixed. A few images say nothing on generalization.

Differs from the papers:
  1. Kernels are averages over a width that is large, not the solution of a fixed point; the
     readout is trained as well.
"""

from dataclasses import dataclass

import numpy as np

from experiments import Claim
from experiments import _kernel_evolution_networks as networks
from experiments._rates import slope, standard_error

TITLE = "Kernels of the muP limit move towards the targets; the NTK limit's stand still"
PAPER = "Bordelon and Pehlevan (2022), Self-consistent dynamical field theory of kernel evolution"
BUDGET = 120
X64 = True


@dataclass(frozen=True)
class Config:
    """``widths`` and ``seeds`` of the muP limit, ``tangent_widths``, ``tangent_seeds`` of NTP.

    ``per_class`` images of each of ``classes`` on ``axes`` principal axes; ``records`` times
    ``every`` steps at ``rate``.
    """

    widths: tuple[int, ...] = (2048, 8192)
    seeds: int = 8
    tangent_widths: tuple[int, ...] = (128, 512)
    tangent_seeds: int = 24
    classes: tuple[int, int] = (3, 8)
    per_class: int = 6
    axes: int = 8
    records: int = 5
    every: int = 4
    rate: float = 1.0
    seed: int = 0


PRESETS = {
    "smoke": Config(
        widths=(64,), seeds=2, tangent_widths=(16,), tangent_seeds=2, per_class=2, axes=3,
        records=2, every=2,
    ),
    "quick": Config(),  # a minute on 2 cores
    "paper": Config(
        widths=(4096, 32768), seeds=24, tangent_widths=(128, 1024), tangent_seeds=60, per_class=10,
        records=8,
    ),  # half an hour on 2 cores
}  # fmt: skip


def datasets(config):
    """Return the fingerprint of the digits."""
    return networks.fingerprint()


def run(config, progress):
    """Return kernels of both limits and of networks in NTP."""
    x, y = networks.images(config.classes, config.per_class, config.axes)
    steps = config.records * config.every
    square = (len(x) * steps) ** 2
    labels = {n: f"muP, width {n}" for n in config.widths}
    tangent = {n: f"NTP, width {n}" for n in config.tangent_widths}
    progress.plan(
        {"exact": 6.0}
        | {label: 4 + 3e-9 * n * config.seeds * square for n, label in labels.items()}
        | {label: 3 + 1e-8 * n**2 * config.tangent_seeds * steps for n, label in tangent.items()}
    )
    found = progress.stage("exact", lambda: networks.exact(x, config.seed)) | {
        "widths": np.asarray(config.widths),
        "tangent_widths": np.asarray(config.tangent_widths),
        "times": np.arange(steps + 1),
        "tangent_times": config.every * np.arange(config.records + 1),
        "classes": np.asarray(config.classes),
        "axes": np.asarray(config.axes),
        "rate": np.asarray(config.rate),
        "target": y,
    }
    rows = [
        progress.stage(
            label,
            lambda n=n: networks.rich(n, x, y, config.rate, steps, config.seeds, config.seed),
        )
        for n, label in labels.items()
    ]
    found |= {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    rows = [
        progress.stage(
            label,
            lambda n=n: networks.tangent(
                n, x, y, config.rate, config.records, config.every, config.tangent_seeds,
                config.seed,
            ),
        )
        for n, label in tangent.items()
    ]  # fmt: skip
    found["tangent"] = np.stack([row["ntk"] for row in rows])
    found["frozen"] = networks.frozen(found["limit"], y, config.rate, steps)
    return found


def alignment(kernel, y):
    """Return the alignment (...) of kernels (..., P, P) with targets (P,)."""
    inside = np.einsum("p,...pq,q->...", y, kernel, y)
    return inside / ((y @ y) * np.linalg.norm(kernel, axis=(-2, -1)))


def change(kernel):
    """Return |K_t - K_0| / |K_0| over the times (..., T) of kernels (..., T, P, P)."""
    apart = np.linalg.norm(kernel - kernel[..., :1, :, :], axis=(-2, -1))
    return apart / np.linalg.norm(kernel[..., :1, :, :], axis=(-2, -1))


def grown(arrays, name):
    """Return by how much the alignment grew, (widths, networks); of features, in the last layer."""
    kernel = arrays[name] if name == "ntk" else arrays[name][..., -1, :, :]
    found = alignment(kernel, arrays["target"])
    return found[..., -1] - found[..., 0]


def exponent(widths, kernel):
    """Return the slope of the NTK's change at the end in the width, and its error."""
    end = change(kernel)[..., -1]

    def fit(samples):
        return slope(widths, [np.exp(np.log(sample).mean()) for sample in samples])

    return fit(list(end)), standard_error(fit, list(end))


def compared(arrays):
    """Return the difference of the change at the outer widths over its standard error."""
    end = change(arrays["ntk"])[[0, -1], :, -1]
    error = np.sqrt((end.var(1, ddof=1) / end.shape[1]).sum())
    return (end[1].mean() - end[0].mean()) / error


def fluctuation(arrays):
    """Return the initial NTK's spread between networks of the larger width, and the mean's error.

    Both in Frobenius norm; the spread over that of the limit, the error over its standard error.
    """
    first, limit = arrays["ntk"][-1, :, 0], arrays["limit"]
    spread = np.sqrt(first.var(0, ddof=1).sum())
    off = np.linalg.norm(first.mean(0) - limit) / (spread / len(first) ** 0.5)
    return spread / np.linalg.norm(limit), off


def identities(arrays):
    """Return the largest asymmetry and the least eigenvalue, relative to the largest of each."""
    size = arrays["target"].size
    kernels = np.concatenate(
        [arrays[name].reshape(-1, size, size) for name in ("ntk", "feature", "tangent")]
    )
    values = np.linalg.eigvalsh((kernels + kernels.swapaxes(1, 2)) / 2)
    apart = np.abs(kernels - kernels.swapaxes(1, 2)).max((1, 2))
    return (apart / values[:, -1]).max(), (values[:, 0] / values[:, -1]).min()


def claims(arrays):
    """Return growth, exponents, the start, and the identities."""
    long, every = ("quick", "paper"), ("smoke", "quick", "paper")
    derived, stated = "derived in the docstring", "exponent -2 r; width: stated requirement"
    rich, rich_error = exponent(arrays["widths"], arrays["ntk"])
    ntp, ntp_error = exponent(arrays["tangent_widths"], arrays["tangent"])
    spread, off = fluctuation(arrays)
    end = change(arrays["ntk"])[-1, :, -1]
    asymmetry, least = identities(arrays)
    found = [
        Claim(f"least growth of the alignment of the {words} in any network",
              grown(arrays, name).min(), None, 0.0, np.inf, derived, long, "grows")
        for name, words in (("feature", "last feature kernel"), ("ntk", "NTK"))
    ]  # fmt: skip
    found += [
        Claim("muP: exponent of the NTK's change in the width", rich, rich_error, -0.2, 0.2, stated,
              long, "0"),
        Claim("muP: difference of the NTK's change at two widths, in standard errors",
              compared(arrays), 1.0, -4.0, 4.0, derived, long, "0"),
        Claim("muP: the NTK's change over the initial fluctuation", end.mean() / spread,
              end.std() / spread / len(end) ** 0.5, 1.0, np.inf, derived, long),
        Claim("NTP: exponent of the NTK's change in the width", ntp, ntp_error, -1.2, -0.8, stated,
              long, "-1"),
        Claim("initial NTK, distance of the mean to the NTK limit, in standard errors", off, 1.0,
              0.0, 4.0, derived, long),
        Claim("largest asymmetry of a kernel", asymmetry, None, 0.0, 1e-12, "exact", every),
        Claim("least eigenvalue of a kernel, over its largest", least, None, -1e-12, 1.0, "exact",
              every),
        Claim("one hidden layer: NTK by order parameters and by Jacobians", arrays["jacobian_gap"],
              None, 0.0, 1e-12, "exact", every),
        Claim("largest status of a simulation", arrays["status"].max(), None, 0.0, 0.0,
              "exact: buffers hold all points of all steps", every),
    ]  # fmt: skip
    return found


def figure(arrays):
    """Draw losses, alignments and changes over steps, and kernels before and after."""
    from experiments import _kernel_evolution_figure

    return _kernel_evolution_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with sizes."""
    from experiments import _kernel_evolution_figure

    return _kernel_evolution_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _kernel_evolution_figure

    return _kernel_evolution_figure.alt(arrays)
