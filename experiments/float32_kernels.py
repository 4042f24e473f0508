r"""Kernels in float32 on near-duplicates: the textbook recursion, the predecessor, and ours.

Kernel matrices of real data hold pairs that nearly coincide: copies, augmented or rescaled images.
The recursion of the papers carries covariances. Where two inputs differ by a relative distance d,
their covariance differs from their variance by :math:`d^2/2` of it, so float32, with its 6e-8, sees
no angle below about 3e-4, and the NTK, which has a cusp there for ReLU, is wrong by as much at
every layer. The matrix is then no longer positive: its smallest eigenvalue falls far below zero,
where Gaussian processes and ridge regression need it. The library carries half the squared
distance instead (``theorylab.kernels``), which loses nothing.

Measured are, for MNIST digits with copies at distances 1e-3 and 1e-5, exact copies and copies times
2.5, behind 1 .. 30 hidden layers,

* the largest :math:`|K_{ij} - R_{ij}| / \sqrt{R_{ii} R_{jj}}`, with R our kernel in float64, of
  the same float32 inputs and the same float32 hyperparameters;
* the smallest eigenvalue over the largest. Copies make the true one 0.

R is checked against the textbook recursion in NumPy's long double, over pairs of different images,
where the textbook loses nothing. That identity binds in every preset.

Accepted intervals: 1e-6 to depth 10 and 2e-6 to depth 30, -1e-6 of the largest eigenvalue: the
stated requirement, for our kernels. Of the other two nothing is claimed; the figure shows them.

The predecessor is neural-tangents 0.6.5, which needs an older JAX: it ran in an environment of its
own, and its errors and eigenvalues on these very inputs are stored beside this file
(``_float32_kernels_data``).

Limits. Three activations, fully connected networks, one platform's float32. "Textbook" is ours: the
printed formulas in float32, without the repairs that an implementation may bring.

Differs from the reference:
  1. No paper has this figure.
  2. Depths are followed by applying one layer again and again; the deepest network is asked for
     its kernel as a whole too.
"""

import math
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np

import theorylab.kernels as tk
from experiments import Claim
from experiments import _float32_kernels_data as data
from experiments import _float32_kernels_textbook as textbook
from experiments._networks import fingerprints, source

TITLE = "Kernels in float32 on near-duplicate data"
PAPER = "Jacot, Gabriel and Hongler (2018); neural-tangents (Novak et al. 2020)"
BUDGET = 60
X64 = False

ACTIVATIONS = {"relu": tk.Relu(), "erf": tk.Erf(), "gelu": tk.Gelu()}


@dataclass(frozen=True)
class Config:
    """Sizes.

    ``images``: different digits. ``copies``: how many of them are copied, in each of four ways.
    ``depth``: the most hidden layers.
    """

    images: int = 60
    copies: int = 10
    depth: int = 30


PRESETS = {
    "smoke": Config(images=16, copies=4),
    "quick": Config(),
    "paper": Config(images=320, copies=20),
}


def datasets(config):
    """Return the fingerprints of the digits and of the predecessor's stored results."""
    return fingerprints() | {"neural-tangents-0.6.5-float32": data.peer_digest()}


def run(config, progress):
    """Return errors and smallest eigenvalues over depth, for each network and each route."""
    x = data.points(config.images, config.copies)
    weight = 5.0 + 3e-4 * len(x) ** 2
    progress.plan({f"{name}: {part}": weight for name in ACTIVATIONS for part in ("exact", "ours")})
    result = {
        "depth": np.arange(1, config.depth + 1),
        "images": np.asarray(config.images),
        "copies": np.asarray(config.copies),
        "data": np.asarray(source()),
        "peer_versions": np.asarray(data.peer_versions()),
    }
    for name, network in textbook.NETWORKS.items():
        exact = progress.stage(f"{name}: exact", partial(checked, network, x, config))
        found = progress.stage(f"{name}: ours", partial(measured, network, x, config.depth, exact))
        seen = found | {"check": exact["check"]}
        seen |= {f"peer_{k}": v for k, v in data.peer(x, name, config.depth).items()}
        result |= {f"{name}_{field}": value for field, value in seen.items()}
    return result


def ours(network, x, depth):
    """Return {nngp, ntk} behind 1 .. depth hidden layers, (depth, n, n), in the dtype of x."""
    activation = ACTIVATIONS[network.activation]
    # As many channels as inputs, so that one layer after the other is one and the same program.
    affine = tk.Dense(x.shape[1], W_std=network.W_std, b_std=network.b_std)
    hidden, readout = tk.serial(affine, activation), tk.Dense(1)

    @jax.jit
    def behind_each_layer(x):
        def step(state, _):
            state = hidden.propagate(state)
            return state, readout.propagate(state).kernel()[:2]

        return jax.lax.scan(step, tk.input_state(x, x), None, length=depth)[1]

    return dict(zip(("nngp", "ntk"), map(np.asarray, behind_each_layer(x)), strict=True))


def reference(network, x, depth):
    """Return our kernels in float64 of inputs (n, d) in float32."""
    with jax.enable_x64(True):
        return ours(network, jax.numpy.asarray(x, np.float64), depth)


def checked(network, x, config):
    """Return the reference, and its distance from the textbook recursion in long double."""
    exact = reference(network, x, config.depth)
    different = x[: config.images].astype(np.longdouble)
    pairs = ~np.eye(config.images, dtype=bool)
    worst = 0.0
    for field, kernel in zip(
        ("nngp", "ntk"), textbook.kernels(network, different, config.depth), strict=True
    ):
        ours_ = exact[field][:, : config.images, : config.images]
        # Both diagonals are those of our kernel: the textbook's lose digits.
        worst = max(worst, textbook.error(np.where(pairs, kernel, ours_), ours_).max())
    return exact | {"check": np.asarray(worst)}


def measured(network, x, depth, exact):
    """Return errors and smallest eigenvalues of the textbook in float32 and of our kernels.

    ``whole`` is the kernel of the deepest network in one call, ``net.kernel(x)``.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        plain = dict(zip(("nngp", "ntk"), textbook.kernels(network, x, depth), strict=True))
    affine = tk.Dense(1, W_std=network.W_std, b_std=network.b_std)
    layer = tk.serial(affine, ACTIVATIONS[network.activation])
    whole = tk.serial(tk.repeat(layer, depth), tk.Dense(1)).kernel(x)
    found, one_by_one = {}, ours(network, x, depth)
    for field in ("nngp", "ntk"):
        for route, kernel, truth in (
            ("textbook", plain[field], exact[field]),
            ("ours", one_by_one[field], exact[field]),
            ("whole", getattr(whole, field), exact[field][-1]),
        ):
            assert kernel.dtype == np.float32
            found[f"{route}_error_{field}"] = textbook.error(kernel, truth)
            found[f"{route}_smallest_{field}"] = textbook.smallest(kernel)
    return found


def claims(arrays):
    """Return the identity, and the stated accuracy of our kernels for each network."""
    always = ("smoke", "quick", "paper")
    depth, found = arrays["depth"], []

    def worst(name, quantity, route, upto=None):
        """Return all values of NNGP and NTK, to a depth."""
        fields = [arrays[f"{name}_{route}_{quantity}_{field}"] for field in ("nngp", "ntk")]
        return np.concatenate([np.ravel(v)[: None if upto is None else upto] for v in fields])

    for name in ACTIVATIONS:
        found.append(
            Claim(f"{name}: float64 kernel = textbook in long double, different images",
                  arrays[f"{name}_check"], None, 0.0, 1e-12,
                  "stated requirement; exact (the same recursion)", always, "equal"),
        )  # fmt: skip
    requirement = "stated requirement"
    for name in ACTIVATIONS:
        shallow = worst(name, "error", "ours", min(10, len(depth)))
        deep = [worst(name, "error", route) for route in ("ours", "whole")]
        values = np.concatenate([worst(name, "smallest", route) for route in ("ours", "whole")])
        found += [
            Claim(f"{name}: largest error of ours to depth 10", shallow.max(), None, 0.0, 1e-6,
                  requirement, always),
            Claim(f"{name}: largest error of ours to depth {depth[-1]}", np.concatenate(deep).max(),
                  None, 0.0, 2e-6, requirement, always),
            Claim(f"{name}: smallest eigenvalue of ours over the largest", values.min(), None,
                  -1e-6, math.inf, requirement, always),
        ]  # fmt: skip
    missing = sum(int(np.isnan(arrays[f"{name}_peer_smallest_ntk"]).all()) for name in ACTIVATIONS)
    found.append(
        Claim("networks whose stored results of the predecessor are for other inputs", missing,
              None, 0.0, 0.0, "the stored fingerprint is that of the inputs", always),
    )  # fmt: skip
    return found


def figure(arrays):
    """Draw errors and smallest eigenvalues over depth, one column per activation."""
    from experiments import _float32_kernels_figure

    return _float32_kernels_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with data and sizes."""
    from experiments import _float32_kernels_figure

    return _float32_kernels_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _float32_kernels_figure

    return _float32_kernels_figure.alt(arrays)
