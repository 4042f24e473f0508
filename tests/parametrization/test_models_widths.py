"""The property itself: what changes of activations do as real models grow."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.parametrization.models import TOKENS, LinenBlock
from theorylab.parametrization import (
    Rule,
    apply_multipliers,
    infer_specs,
    leaf_scales,
    rescale_init,
    scale_by_parametrization,
)

pytestmark = pytest.mark.slow

X, Y = TOKENS[:, :-1], TOKENS[:, 1:]


def slopes(widths, sizes):
    """Exponents of the width, of geometric means over seeds."""
    means = np.mean(np.log(sizes), axis=1)  # widths, seeds, what is recorded
    return np.polyfit(np.log(widths), means, 1)[0]


def changes(starts, scales, chain, gradients, steps):
    """Root mean squares of what activations have changed by after some steps, for each start."""

    @jax.jit
    def update(by_effective, state, params):
        g = jax.vjp(lambda p: apply_multipliers(p, scales), params)[1](by_effective)[0]
        updates, state = chain.update(g, state, params)
        return optax.apply_updates(params, updates), state

    found = []
    for params in starts:
        params = rescale_init(params, scales)
        state, history = chain.init(params), []
        for _ in range(steps + 1):
            by_effective, seen = gradients(apply_multipliers(params, scales))
            history.append(seen)
            params, state = update(by_effective, state, params)
        pairs = zip(history[-1], history[0], strict=True)
        found.append([float(np.sqrt(np.mean((np.asarray(b) - a) ** 2))) for a, b in pairs])
    return found


# A block of attention with tied embeddings ------------------------------------------------------

WIDTHS = (32, 64, 128, 256)


def block_shapes(width):
    return jax.eval_shape(LinenBlock(width).init, jax.random.key(0), X)


def drawn(shapes, seed):
    """With the deviations of flax's initializers, all of them fan-in here but the embedding's."""
    rng = np.random.default_rng(seed)

    def leaf(path, s):
        name, above = path[-1].key, path[-2].key
        if name in ("bias", "scale"):
            return jnp.full(s.shape, float(name == "scale"))
        if name == "embedding":
            std = s.shape[1] ** -0.5
        elif name == "position":
            std = 1.0
        else:
            fan_in = s.shape[0] if above in ("query", "key", "value") else np.prod(s.shape[:-1])
            std = fan_in**-0.5
        return jnp.asarray(std * rng.normal(size=s.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(leaf, shapes)


def block_gradients(width):
    """Gradients by effective weights, and the last hidden activation and the logits."""

    def loss(w, readout):
        logits, seen = LinenBlock(width).apply(w, X, mutable="intermediates")
        logits = logits * readout
        value = optax.softmax_cross_entropy_with_integer_labels(logits, Y).mean()
        return value, (seen["intermediates"]["last"][0], logits)

    return jax.jit(lambda readout, w: jax.grad(loss, has_aux=True)(w, readout))


@pytest.mark.slow
def test_an_attention_block_with_tied_embeddings_learns_alike_at_every_width():
    """Adam, three steps. Logits keep a part that is random at the start, and shrinks."""
    found = {"mup": [], "sp": []}
    for width in WIDTHS:
        shapes = block_shapes(width)
        specs = infer_specs(
            block_shapes(32), block_shapes(64), shapes, rules=[Rule("embed", tied=True)]
        )
        gradients = block_gradients(width)
        for scheme, sizes in found.items():
            scales = leaf_scales(specs, scheme=scheme)
            readout = scales["params"]["embed"]["embedding"].readout
            chain = optax.chain(optax.adam(1e-2), scale_by_parametrization(scales))
            starts = [drawn(shapes, seed) for seed in range(2)]
            at_scale = functools.partial(gradients, readout)
            sizes.append(changes(starts, scales, chain, at_scale, 3))
    hidden, logits = slopes(WIDTHS, found["mup"])
    assert abs(hidden) <= 0.15
    assert abs(logits) <= 0.15
    hidden, logits = slopes(WIDTHS, found["sp"])
    assert hidden >= 0.4
    assert logits >= 0.3


# A feed-forward width that grows faster ---------------------------------------------------------

GROWING = ((32, 64), (64, 256), (128, 1024))
RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(32, 8)).astype(np.float32)
LABELS = RNG.integers(0, 10, 32)


def mlp_sizes(model, feed):
    return (8, model, feed, model, 10)


def mlp(model, feed, seed=0):
    """Without residuals; kernels by name, in order."""
    rng = np.random.default_rng(seed)
    sizes = mlp_sizes(model, feed)
    return [
        {"kernel": jnp.asarray(rng.normal(size=(i, o)) * i**-0.5, jnp.float32)}
        for i, o in zip(sizes[:-1], sizes[1:], strict=True)
    ]


@jax.jit
def mlp_gradients(w):
    def loss(w):
        x, seen = INPUTS, []
        for layer in w:
            seen.append(x @ layer["kernel"])
            x = jnp.tanh(seen[-1])
        value = optax.softmax_cross_entropy_with_integer_labels(seen[-1], LABELS).mean()
        return value, seen

    return jax.grad(loss, has_aux=True)(w)


@pytest.mark.filterwarnings("ignore:.*holds for equal ratios only:UserWarning")
@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 1.0), ("adam", 2e-2)])
def test_a_feed_forward_width_that_grows_faster_needs_the_spectral_form(optimizer, rate):
    """Changes of the two hidden layers (second and third) after five steps.

    Inputs are few and rates large, so that hidden layers learn by themselves: under SGD the first
    layer learns ever less at first, as its gradient comes through the wide layer, and hands that
    on.
    """
    make = {"sgd": optax.sgd, "adam": optax.adam}[optimizer]
    base, delta = mlp(*GROWING[0]), mlp(33, 67)
    found = {"table3": [], "spectral": []}
    for widths in GROWING:
        specs = infer_specs(base, delta, mlp(*widths))
        for form, sizes in found.items():
            scales = leaf_scales(specs, optimizer=optimizer, form=form)
            chain = optax.chain(make(rate), scale_by_parametrization(scales))
            starts = [mlp(*widths, seed) for seed in range(4)]
            sizes.append(changes(starts, scales, chain, mlp_gradients, 5))
    models = [model for model, _ in GROWING]
    assert np.abs(slopes(models, found["spectral"])[1:3]).max() <= 0.15
    assert np.abs(slopes(models, found["table3"])[1:3]).max() > 0.15
