r"""What the intrinsic dimension depends on: the order of pixels, the labels, the optimizer.

Networks and training are those of ``intrinsic_dimension_mnist`` (``_subspace_training``); the
intrinsic dimension is where the mean accuracy over seeds reaches 0.9 of the network's own baseline,
interpolated, with the bootstrap interval of single runs; 0.90 absolute is given beside it.

*Pixels* (MNIST-5k). One fixed permutation of the 784 pixels of all images. A dense network whose
first kernel has independent entries cannot know: with the rows of the kernel permuted likewise it
is the same function, and permuted kernels (and projections) are as probable as the others. A
convolution can: neighbours are no longer neighbours.

*Labels* (the 8 x 8 digits). The first n training images are learned, with their labels or with
labels drawn at random, and the accuracy on those same images is measured: with random labels there
is nothing but memory.

*Optimizer* (digits). SGD with momentum beside Adam, each with its own best rates, of baselines and
of subspaces, out of a few (best mean accuracy over the seeds on the last 360 training images, of
runs that train on the others; in subspaces with d = 200).

Accepted intervals.

1. The identity of the dense network: logits with permuted pixels and kernel, relative to the
   largest, within 1e-4: sums of 784 products in another order differ by at most 784 units of
   :math:`2^{-24}`, that is 5e-5, of the sum of absolute values, and not by more than twice that in
   the logits of a ReLU network whose second layer does not amplify.
2. Pixels, dense network: the intrinsic dimension changes by under 25 %, as for the widths.
3. Pixels, LeNet: it grows by more than those 25 %; in the paper from 290 to 1400 (absolute). With
   shuffled pixels it may lie beyond the grid: the last d of the grid then stands in for it, and the
   quotient is a lower limit, which is all that this claim needs.
4. Labels: random ones need more dimensions than true ones of the same images, and more images need
   more dimensions; in the paper 190,000 with 50,000 random labels and 90,000 with 5,000.
5. Digits with Adam, rate 0.05 in subspaces and the best one for the baseline: an intrinsic
   dimension from 130 to 260, stated requirement.

Limits. Small data; one permutation; digits by one writer occur on both sides of the split. Of the
optimizers nothing is claimed but the values.

Differs from the paper:
  1. Digits for labels and optimizer, 4,000 images for pixels; the paper uses all of MNIST, and for
     labels networks of five layers with d up to 300,000.
  2. Projections are stacked Hadamard blocks.
"""

import warnings
from dataclasses import dataclass
from functools import partial

import jax.numpy as jnp
import numpy as np

from experiments import _subspace_training as training
from theorylab import data, subspace

TITLE = "What the intrinsic dimension depends on: pixels, labels, optimizer"
PAPER = "Li, Farkhoor, Liu and Yosinski (2018), section 3"
BUDGET = 240
X64 = False

FRACTION = 0.9
DENSE, ORDERS = "FC 2 x 50", ("ordered", "shuffled")
OPTIMIZERS = ("adam", "sgd")
DIGITS = 64
BATCH = 50  # of images whose labels are learned
SHUFFLE, DRAW = 7, 11  # seeds of the permutation and of random labels
HOW = {"direct": "rates", "subspace": "subspace_rates"}
STATED = 0.05  # rate in subspaces of the stated requirement on digits
NEVER = -1  # a label that no answer matches


@dataclass(frozen=True)
class Config:
    """Dimensions, steps, rates and seeds of the three parts.

    ``lenet``: whether LeNet is trained too. ``counts``: images whose labels are learned.
    """

    seeds: int = 3
    steps: int = 930
    dense_ds: tuple[int, ...] = (100, 200, 300, 400, 600, 1000)
    lenet: bool = True
    ordered_ds: tuple[int, ...] = (100, 200, 300)
    shuffled_ds: tuple[int, ...] = (200, 400, 700, 1000)
    rate: float = 1e-3
    subspace_rate: float = 0.05
    counts: tuple[int, ...] = (50, 100, 200)
    label_ds: tuple[int, ...] = (25, 50, 75, 100, 150, 200, 300, 400, 600)
    label_width: int = 100
    label_steps: int = 1500
    optimizer_ds: tuple[int, ...] = (25, 50, 100, 150, 200, 300, 400, 800)
    optimizer_steps: int = 440
    tuning_d: int = 200
    adam_rates: tuple[float, ...] = (1e-3, 3e-3, 0.01, 0.03)
    adam_subspace_rates: tuple[float, ...] = (0.02, 0.05, 0.1)
    sgd_rates: tuple[float, ...] = (0.03, 0.1, 0.3)
    sgd_subspace_rates: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0)


PRESETS = {
    "smoke": Config(seeds=2, steps=5, dense_ds=(20, 60), lenet=False, counts=(50, 100),
                    label_ds=(20, 60), label_width=40, label_steps=5, optimizer_ds=(20, 60),
                    optimizer_steps=5, adam_rates=(0.01,), adam_subspace_rates=(0.05,),
                    sgd_rates=(0.1,), sgd_subspace_rates=(1.0,)),
    "quick": Config(),  # four minutes on 2 cores
    # An hour on 2 cores.
    "paper": Config(seeds=10, ordered_ds=(50, 75, 100, 150, 200, 300),
                    shuffled_ds=(100, 200, 300, 400, 500, 600, 700, 800, 1000),
                    counts=(25, 50, 100, 200, 300),
                    label_ds=(15, 25, 50, 75, 100, 150, 200, 300, 400, 500, 600, 800)),
}  # fmt: skip


def datasets(config):
    """Return the fingerprints of both sets of images."""
    return {used.name: used.fingerprint for used in (data.mnist(subset="5k"), data.digits())}


def flat(used, order=slice(None)):
    """Return images as rows of pixels, in another order of the pixels."""
    x, x_test = (part.reshape(len(part), -1)[:, order] for part in (used.x_train, used.x_test))
    return training.Images(*map(jnp.asarray, (x, used.y_train, x_test, used.y_test)))


def permutation():
    """Return the order of the 784 pixels."""
    return np.random.default_rng(SHUFFLE).permutation(training.SIDE**2)


def measured(ds, found, key):
    """Return curves and both intrinsic dimensions as arrays whose names begin with `key`."""
    find = partial(subspace.dint, ds, found["curves"], fraction=FRACTION, rule="interp")
    with warnings.catch_warnings():  # NaN says it, in the arrays
        warnings.filterwarnings("ignore", "the grid ends", UserWarning)
        both = [find(float(baseline)) for baseline in (found["direct"].mean(), 1.0)]
    return {f"{key}: {what}": value for what, value in found.items()} | {
        f"{key}: ds": np.asarray(ds),
        f"{key}: dint": np.asarray([[one.value, one.low, one.high] for one in both]),
    }


def curves(go, ds, seeds, rate, subspace_rate):
    """Return baselines (seeds,) and accuracies (seeds, ds) of ``go(seed, d, rate)``."""
    direct = training.many([partial(go, seed, None, rate) for seed in range(seeds)])["test"]
    runs = [partial(go, seed, d, subspace_rate) for seed in range(seeds) for d in ds]
    return {"direct": direct, "curves": training.many(runs)["test"].reshape(seeds, len(ds))}


def _run(net, images, options, seed, d, rate, **more):
    return training.train(net, images, seed, d, rate, **options, **more)


def pixels(config):
    """Return the part of the pixels, {label: (dimensions, rates, function of seed, d and rate)}."""
    used = data.mnist(subset="5k")
    images = {"ordered": flat(used), "shuffled": flat(used, permutation())}
    grids = {DENSE: dict.fromkeys(ORDERS, config.dense_ds)}
    if config.lenet:
        grids["LeNet"] = {"ordered": config.ordered_ds, "shuffled": config.shuffled_ds}
    options, rates = {"steps": config.steps}, (config.rate, config.subspace_rate)
    return {
        f"{name}, {order}": (
            ds, rates, partial(_run, training.named(name), images[order], options)
        )
        for name, by_order in grids.items()
        for order, ds in by_order.items()
    }  # fmt: skip


def digits(width):
    """Return the network for digits: two hidden layers."""
    return training.fc(2, width, DIGITS)


def labels(config):
    """Return the part of the labels, likewise; the accuracy is on the images that are learned."""
    used = flat(data.digits())
    drawn = np.random.default_rng(DRAW).integers(0, training.CLASSES, len(used.y))
    given = {"true": np.asarray(used.y), "random": drawn.astype(np.int32)}
    most, found = max(config.counts), {}
    for kind, y in given.items():
        for count in config.counts:
            # One program for all counts: behind the first `count` images no answer is right.
            only = np.where(np.arange(most) < count, y[:most], NEVER)
            images = training.Images(used.x, jnp.asarray(y), used.x[:most], jnp.asarray(only))
            options = {"steps": config.label_steps, "batch": BATCH, "first": count}
            go = partial(_run, digits(config.label_width), images, options)
            found[f"{kind} labels, {count}"] = (
                config.label_ds, (config.rate, config.subspace_rate),
                partial(_scaled, go, most / count),
            )  # fmt: skip
    return found


def _scaled(go, factor, seed, d, rate):
    return {name: factor * value for name, value in go(seed, d, rate).items()}


def optimizers(config):
    """Return the part of the optimizers, likewise, and what chooses the rates of one of them."""
    used, held = flat(data.digits()), len(data.digits().x_test)
    first = len(used.x) - held
    held_out = training.Images(used.x, used.y, used.x[first:], used.y[first:])
    net, steps = digits(config.label_width), {"steps": config.optimizer_steps}

    def choose(name):
        options = steps | {"first": first, "optimizer": name}
        found = {}
        for how, d in (("direct", None), ("subspace", config.tuning_d)):
            rates = getattr(config, f"{name}_{HOW[how]}")
            if len(rates) > 1:
                runs = [
                    partial(_run, net, held_out, options, seed, d, rate)
                    for rate in rates
                    for seed in range(config.seeds)
                ]
                accuracies = training.many(runs)["test"].reshape(len(rates), config.seeds).mean(1)
            else:
                accuracies = np.zeros(1)
            found[f"{how} tuning"] = accuracies
            found[f"{how} rate"] = np.asarray(rates[int(np.argmax(accuracies))])
        return found

    return choose, {
        name: partial(_run, net, used, steps | {"optimizer": name}) for name in OPTIMIZERS
    }


def run(config, progress):
    """Return curves and intrinsic dimensions of all three parts."""
    parts = pixels(config) | labels(config)
    choose, by_optimizer = optimizers(config)
    progress.plan(plan(config, parts))
    result = {f"{k}": np.asarray(getattr(config, k)) for k in ("counts", "seeds", "lenet")}
    result |= progress.stage("identity", identity)
    for label, (ds, rates, go) in parts.items():
        stage = partial(curves, go, ds, config.seeds, *rates)
        result |= measured(ds, progress.stage(label, stage), label)
    for name, go in by_optimizer.items():
        tuned = progress.stage(f"{name}, rates", partial(choose, name))
        rates = [float(tuned[f"{how} rate"]) for how in HOW]
        progress.note(f"{name}: rate {rates[0]:g} directly, {rates[1]:g} in subspaces")
        result |= {f"{name}: {key}": value for key, value in tuned.items()}
        stage = partial(curves, go, config.optimizer_ds, config.seeds, *rates)
        result |= measured(config.optimizer_ds, progress.stage(name, stage), name)
    rates = float(result["adam: direct rate"]), STATED
    fixed = partial(curves, by_optimizer["adam"], config.optimizer_ds, config.seeds, *rates)
    result |= measured(config.optimizer_ds, progress.stage("stated rate", fixed), "stated rate")
    return result


def plan(config, parts):
    """Return the seconds that stages take, roughly, in proportion."""
    found = {"identity": 1.0}
    for label, (ds, _, _) in parts.items():
        learns = "labels" in label
        step = 8e-3 if label.startswith("LeNet") else 4e-4 if learns else 1e-3
        steps = config.label_steps if learns else config.steps
        found[label] = config.seeds * (len(ds) + 1) * steps * step
    one = config.seeds * config.optimizer_steps * 5e-4
    return found | {
        f"{name}{what}": one * count
        for name in OPTIMIZERS
        for what, count in ((", rates", 7), ("", 1 + len(config.optimizer_ds)))
    } | {"stated rate": one * (1 + len(config.optimizer_ds))}  # fmt: skip


def identity():
    """Return how far logits are apart when pixels and the kernel's rows are permuted alike."""
    net, order = training.named(DENSE), permutation()
    x = data.mnist(subset="5k").x_test[:100].reshape(100, -1)
    params = net.init(np.random.default_rng(0))
    there = [params[0] | {"kernel": params[0]["kernel"][order]}, *params[1:]]
    one, other = net.apply(params, x), net.apply(there, x[:, order])
    return {"apart": np.asarray(jnp.abs(one - other).max() / jnp.abs(one).max())}


def claims(arrays):
    """Return what pixels and labels change, the value on digits, and the identity."""
    from experiments import _intrinsic_dimension_controls_claims

    return _intrinsic_dimension_controls_claims.claims(arrays)


def figure(arrays):
    """Draw accuracies against d for pixels, labels and optimizers."""
    from experiments import _intrinsic_dimension_controls_figure

    return _intrinsic_dimension_controls_figure.figure(arrays)


def caption(arrays):
    """Return what is drawn, with numbers."""
    from experiments import _intrinsic_dimension_controls_figure

    return _intrinsic_dimension_controls_figure.caption(arrays)


def alt(arrays):
    """Return the figure in words."""
    from experiments import _intrinsic_dimension_controls_figure

    return _intrinsic_dimension_controls_figure.alt(arrays)
