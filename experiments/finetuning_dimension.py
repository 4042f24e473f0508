r"""How many dimensions fine-tuning needs, by length of pretraining and by size of the network.

A ReLU network with two hidden layers is pretrained on the digits 0 to 4 for 0, few or many steps.
It gets a fresh read-out, zero at the start, and is fine-tuned on 200 images of the digits 5 to 9:
all parameters, or in a random subspace,

.. math::

    \theta = \theta_0 + P \theta_d \quad \text{(DID)}, \qquad
    \theta_i = \theta_{0,i} + \lambda_i (P \theta_{d-m})_i \quad \text{(SAID, leaf by leaf)},

the read-out being part of it. d90 is where the accuracy on test images, mean over seeds, crosses
0.9 times that of fine-tuning all parameters of the same pretrained network.

The digits lie at random places on a field that is 4 pixels larger, which is what pretraining can
teach about digits never seen. Beside it stands the same with centred digits, about which a random
network knows nearly as much: when a linear read-out of 256 hidden units was fitted to 1,600 images,
it was right in 0.93 of the cases without pretraining and in 0.94 after 4,000 steps; with places up
to 7 pixels off, in 0.29 and 0.64. Few images are what one has when one fine-tunes, and there the
effect is larger: with 1,500 of them, width 64, d90 after 3,000 steps was 0.57 of what it is without
pretraining, with a standard deviation of 0.11 over four seeds, and 0.93 with 0.10 for centred
digits, where it cannot be told from 1.

Every setting has its own rate: the one with the best accuracy on held-out images, mean over seeds,
for each d, network and length of pretraining, and so for full fine-tuning. All make the same number
of steps.

Claimed, the paper's statements in miniature: d90 falls with the length of pretraining, from none to
short, from short to long, and hence from none to long; larger networks have a smaller one after the
same long pretraining. Accepted are ratios of at most 1. Where the grid ends before d90, its last d
stands for d90 in a denominator, which makes the ratio larger, not smaller; a numerator is then NaN,
a miss. Errors are standard deviations over draws of seeds with replacement. Exact: SAID with all
scales at 1 is DID; a masked tail is a smaller subspace.

The claim on size fails here. With widths from 32 to 128 the ratio was 0.89 with a standard
deviation of 0.18 for six seeds and 1.06 with 0.20 for five of them, so the widest network became
256: 1.17 with 0.27. In few dimensions wider networks are better, but full fine-tuning gains as much
from the width, and d90 is relative to it. What does fall is the number of dimensions for one and
the same accuracy, 0.9 times that of the narrowest network; this claim was added when the first had
failed.

Limits. Five classes of small images. The smallest network has 11,621 parameters, and d goes to
4,000.

Differs from the paper:
  1. Digits and fully connected networks, for sentences and Transformers.
  2. P is made of Hadamard blocks, for Fastfood.
  3. SAID has one scale for each leaf, as in a public code by an author; the paper says layer.
  4. d90 is interpolated between points of the grid; the subspaces of one seed are nested.
"""

from dataclasses import dataclass
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from experiments import _halved_digits as digits
from theorylab import subspace

TITLE = "Dimensions needed for fine-tuning after pretraining"
PAPER = "Aghajanyan, Zettlemoyer and Gupta (2020), Intrinsic dimensionality and fine-tuning"
BUDGET = 240
X64 = False

CLASSES = 5
VALIDATION = 500
COPIES = {"pretraining": 8, "validation": 2, "test": 4}  # places of each image


@dataclass(frozen=True)
class Config:
    """Widths, the middle of which is shown; steps of pretraining; dimensions; rates; seeds.

    The last of several widths, which costs most, is run after the longest pretraining alone.
    ``offset`` is how far digits may lie off the centre, in pixels, and ``images`` the number of
    those to fine-tune on; ``steps`` and ``batch`` are of fine-tuning, and ``pretraining_rate`` and
    ``batch`` of pretraining.
    """

    widths: tuple[int, ...] = (32, 64, 256)
    lengths: tuple[int, ...] = (0, 300, 3000)
    ds: tuple[int, ...] = (32, 64, 128, 256, 512, 768, 1024, 1536, 2048, 3000, 4000)
    rates: tuple[float, ...] = (0.001, 0.003, 0.01, 0.03)
    seeds: int = 5
    steps: int = 100
    batch: int = 64
    images: int = 200
    offset: int = 2
    pretraining_rate: float = 0.001


PRESETS = {
    "smoke": Config(widths=(8,), lengths=(0, 20), ds=(16, 32, 64), rates=(0.01, 0.03), seeds=2,
                    steps=10, batch=16, images=50),
    "quick": Config(),  # some three minutes on 2 cores
    # An estimated hour on 2 cores.
    "paper": Config(widths=(32, 64, 128, 256, 512), lengths=(0, 100, 300, 1000, 3000, 10000),
                    seeds=10),
}  # fmt: skip


def datasets(config):
    """Return the fingerprint of the digits."""
    return digits.fingerprint()


def halves(config, field, seed):
    """Return {name: (x, y)}: pretraining, fine-tuning, validation, test, at places of the seed."""
    (x, y), (x_test, y_test) = digits.images()
    order = np.random.default_rng([seed, 0]).permutation(len(y))
    x, y = x[order], y[order]
    new, labels = x[y >= CLASSES], y[y >= CLASSES] - CLASSES
    parts = {
        "pretraining": (x[y < CLASSES], y[y < CLASSES]),
        "tuning": (new[: config.images], labels[: config.images]),
        "validation": (new[-VALIDATION:], labels[-VALIDATION:]),
        "test": (x_test[y_test >= CLASSES], y_test[y_test >= CLASSES] - CLASSES),
    }
    out = {}
    for k, (name, (images, own)) in enumerate(parts.items()):
        if field == "centred":
            pad = (config.offset, config.offset)
            out[name] = np.pad(images, ((0, 0), pad, pad)).reshape(len(images), -1), own
        else:
            copies = COPIES.get(name, 1)
            images = np.concatenate([images] * copies)
            out[name] = digits.placed(images, config.offset, [seed, k]), np.tile(own, copies)
    return out


def pretrained(config, sizes, data, length, seed):
    """Return the parameters after ``length`` steps, with a new read-out of zeros."""
    params = _start(sizes)(jax.random.fold_in(jax.random.key(1), seed))
    x, y = data["pretraining"]
    if length:
        rng = np.random.default_rng([seed, 1])
        batches = rng.integers(0, len(y), (length, config.batch))
        params = _pretrain(params, x, y, batches, config.pretraining_rate)
    return [*params[:-1], jax.tree.map(jnp.zeros_like, params[-1])]


_pretrain = jax.jit(partial(digits.trained, digits.loss))


@lru_cache
def _start(sizes):
    return jax.jit(digits.start(sizes))


def program(config):
    """Return fine-tuning of one seed, compiled: in all dimensions, and of all parameters."""
    rates = jnp.asarray(config.rates)

    def accuracies(params, data):
        return {name: 1 - digits.error(params, *data[name]) for name in ("validation", "test")}

    def train(params0, data, batches, scaled, key, mask):
        """Return accuracies at all rates; SAID where ``scaled`` is 1, DID where it is 0."""
        count = len(jax.tree.leaves(params0))
        columns = subspace.hadamard(len(mask) + count, params0, key)
        projection = subspace.said(columns)
        # SAID's scales are counted in d, DID has none: they stay at 1.
        spent = (jnp.arange(len(mask)) < mask.sum() - scaled * count).astype(mask.dtype)

        def inside(free):
            return {"theta": spent * free["theta"], "lam": 1 + scaled * (free["lam"] - 1)}

        def reached(free, x, y):
            return digits.loss(subspace.project(projection, params0, inside(free)), x, y)

        def run(rate):
            own = rate * jnp.sqrt(projection.size / mask.sum())
            free = subspace.init(projection)
            x, y = data["tuning"]
            free = digits.trained(reached, free, x, y, batches, own)
            return accuracies(subspace.project(projection, params0, inside(free)), data)

        return jax.vmap(run)(rates)

    def whole(params0, data, batches, rate):
        x, y = data["tuning"]
        params = digits.trained(digits.loss, params0, x, y, batches, rate)
        return accuracies(params, data)

    def both(params0, data, batches, scaled, key):
        def one(key, mask):
            return train(params0, data, batches, scaled, key, mask)

        found = subspace.sweep(one, config.ds, key[None])
        full = jax.vmap(lambda rate: whole(params0, data, batches, rate))(rates)
        return {name: leaf[0] for name, leaf in found.items()} | {
            f"full_{name}": leaf for name, leaf in full.items()
        }

    return jax.jit(both)


def cells(config):
    """Return (field, kind, width, length) of all that is run; field: whether digits are placed."""
    middle = config.widths[len(config.widths) // 2]
    found = [
        ("placed", "DID", width, length)
        for width in config.widths
        for length in config.lengths
        if width != config.widths[-1] or length == config.lengths[-1] or len(config.widths) == 1
    ]
    found += [("placed", "SAID", middle, n) for n in config.lengths]
    return found + [("centred", "DID", middle, n) for n in config.lengths]


def tuned(config, cell, tune, seed):
    """Return accuracies of one seed: (n_ds, n_rates) in subspaces, (n_rates,) of all parameters."""
    field, kind, width, length = cell
    data = halves(config, field, seed)
    sizes = (data["tuning"][0].shape[1], width, width, CLASSES)
    params0 = pretrained(config, sizes, data, length, seed)
    used = {name: pair for name, pair in data.items() if name != "pretraining"}
    rng = np.random.default_rng([seed, 2])
    batches = rng.integers(0, config.images, (config.steps, config.batch))
    key = jax.random.fold_in(jax.random.key(2), seed)
    found = tune(params0, used, batches, float(kind == "SAID"), key)
    return {name: np.asarray(leaf) for name, leaf in found.items()}


def identities(config):
    """Return how far SAID is from DID at scales of 1, and a masked tail from a smaller d."""
    most = max(config.ds)
    fewer = 3 * most // 4
    theta = np.random.default_rng(0).standard_normal(most).astype(np.float32)
    theta[fewer:] = 0

    @jax.jit
    def trees(key):
        params = digits.start((digits.SIDE**2, max(config.widths), CLASSES))(key)
        large, small = (subspace.hadamard(d, params, key) for d in (most, fewer))
        scaled = subspace.said(large)
        coordinates = subspace.init(scaled) | {"theta": theta[: most - scaled.count]}
        cut = jnp.where(jnp.arange(most) < most - scaled.count, theta, 0)
        return (
            (scaled.apply(coordinates), large.apply(cut)),
            (large.apply(theta), small.apply(theta[:fewer])),
        )

    def apart(a, b):
        leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
        return np.asarray(max(np.abs(np.asarray(x) - np.asarray(y)).max() for x, y in leaves))

    said, masked = trees(jax.random.key(3))
    return {"said_apart": apart(*said), "masked_apart": apart(*masked)}


def run(config, progress):
    """Return accuracies, {field}_{kind}_{what}: (widths, lengths, seeds, n_ds, n_rates).

    What is not run is NaN.
    """
    found = cells(config)
    seeds = range(config.seeds)
    label = "{0}, {1}, width {2}, {3} steps, seed {4}".format
    progress.plan({label(*cell, seed): 20 + cell[2] for cell in found for seed in seeds}
                  | {"identities": 10})  # fmt: skip
    result = {"widths": np.asarray(config.widths), "lengths": np.asarray(config.lengths),
              "ds": np.asarray(config.ds), "rates": np.asarray(config.rates)}  # fmt: skip
    tune = program(config)
    rows: dict = {}
    for cell in found:
        parts = [
            progress.stage(
                label(*cell, seed),
                lambda c=cell, s=seed: tuned(config, c, tune, s),
            )
            for seed in seeds
        ]
        for name in parts[0]:
            key = f"{cell[0]}_{cell[1]}_{name}"
            rows.setdefault(key, {})[cell[2:]] = np.stack([part[name] for part in parts])
    for key, by_cell in rows.items():
        widths = sorted({width for width, _ in by_cell})
        missing = np.full_like(next(iter(by_cell.values())), np.nan)
        result[key] = np.stack(
            [np.stack([by_cell.get((w, n), missing) for n in config.lengths]) for w in widths]
        )
    return result | progress.stage("identities", lambda: identities(config))


def claims(arrays):
    """Return ratios of d90, and the identities."""
    from experiments import _finetuning_dimension_claims

    return _finetuning_dimension_claims.claims(arrays)


def figure(arrays):
    """Draw accuracies against d, and d90 by width and length."""
    from experiments import _finetuning_dimension_figure

    return _finetuning_dimension_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with numbers."""
    from experiments import _finetuning_dimension_figure

    return _finetuning_dimension_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _finetuning_dimension_figure

    return _finetuning_dimension_figure.alt(arrays)
