r"""A small transformer that predicts the next character of SciPy's docstrings, and its training.

The text is ``theorylab.data.scipy_docstrings``. Windows of ``context + 1`` consecutive characters
start anywhere in it, across the ends of docstrings too; the model predicts each character but the
first from those before it. Losses are mean cross entropies in nats for each character.

The model (Vaswani et al. 2017, the decoder alone) has residual layers of attention with heads of
size 16 and of two dense maps with a hidden width of four times its own. Its norms divide by the
root mean square and stand in front (Zhang and Sennrich 2019), the activation is the square of ReLU
(So et al. 2021, "Primer"), there are no biases, and readout and embedding are two matrices. Where a
character stands is told by numbers that are learned for each layer, head and distance and are added
to the logits of attention; they begin like those that Press, Smith and Lewis (2022, "Train short,
test long") fix, falling with the distance. Activation and distances were chosen for short runs: a
step takes a tenth less time than with GELU, and with a learned table of positions 400 steps of
AdamW left the model at 2.4 nats and not at 2.0.

Runs of a seed begin with the same parameters and see the same batches in the same order, whatever
the optimizer: the batch of a step depends on the run's key and the number of the step alone.

Layout follows what XLA does fast on CPUs: tokens are rows of one matrix, queries, keys and values
one product.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.lax import Precision

from theorylab import data

HEAD = 16  # size of an attention head; as many as fill the width
HIDDEN = 4  # hidden width of the dense maps over the model's
EPSILON = 1e-6  # in the norms, below the mean square
BATCH = 32
CONTEXT = 64
MASKED = -1e9  # added to the logits of later characters

Params = dict[str, Array]

_dot = partial(jnp.dot, precision=Precision.HIGHEST)
_einsum = partial(jnp.einsum, precision=Precision.HIGHEST)


@lru_cache(maxsize=1)
def text() -> data.Text:
    """Return the text; read once in a process."""
    return data.scipy_docstrings()


def fingerprints() -> dict[str, str]:
    """Return {name: fingerprint} of the text."""
    return {text().name: text().fingerprint}


def source() -> str:
    """Return the name of the text with the first digits of its fingerprint, for captions."""
    return f"{text().name}, SHA-256 {text().fingerprint[:12]}"


def init(
    key: Array, *, layers: int = 2, width: int = 64, context: int = CONTEXT, symbols: int = 98
) -> Params:
    """Draw the parameters of a model.

    Parameters
    ----------
    key
        ``jax.random.key(seed)``.
    layers, width
        Number of layers; their width, a multiple of 16.
    context
        Characters that are seen at most.
    symbols
        Size of the alphabet.

    Returns
    -------
    dict
        By name, float32: matrices (fan in, fan out), what is added for distances (heads, context),
        scales of norms (width,).

    Examples
    --------
    >>> params = init(jax.random.key(0), width=32, context=8)
    >>> params["0.qkv"].shape, sum(p.size for p in params.values())
    ((32, 96), 31040)
    """
    if width % HEAD or width < HEAD:
        raise ValueError(f"width must be a positive multiple of {HEAD}, got {width}")
    shapes = {"embedding": (symbols, width)}
    for i in range(layers):
        shapes |= {
            f"{i}.qkv": (width, 3 * width),
            f"{i}.out": (width, width),
            f"{i}.up": (width, HIDDEN * width),
            f"{i}.down": (HIDDEN * width, width),
        }
    shapes["readout"] = (width, symbols)
    params = _draw(key, tuple(shapes.items()))
    heads = width // HEAD
    # The paper's slopes times 2^(8 / heads), so that the first head begins with its neighbours.
    slopes = 2.0 ** (-8 / heads * np.arange(heads))
    for i in range(layers):
        params[f"{i}.distance"] = jnp.asarray(-slopes[:, None] * np.arange(context), jnp.float32)
    norms = [f"{i}.{part}" for i in range(layers) for part in ("norm_attention", "norm_dense")]
    return params | {name: jnp.ones(width, np.float32) for name in (*norms, "norm_readout")}


@partial(jax.jit, static_argnames="shapes")
def _draw(key: Array, shapes: tuple[tuple[str, tuple[int, int]], ...]) -> Params:
    """Draw all matrices, at once: random numbers of every shape are a program of their own."""
    sizes = [rows * columns for _, (rows, columns) in shapes]
    numbers = jax.random.normal(key, (sum(sizes),), jnp.float32)
    params, start = {}, 0
    for (name, shape), size in zip(shapes, sizes, strict=True):
        scale = 1.0 if name == "embedding" else shape[0] ** -0.5
        params[name] = scale * numbers[start : start + size].reshape(shape)
        start += size
    return params


def loss(params: Params, tokens: Array) -> Array:
    """Return the mean loss, in nats, of windows: codes (n, t + 1), t at most the context."""
    inputs, targets = tokens[:, :-1], tokens[:, 1:].reshape(-1)
    x = params["embedding"][inputs.reshape(-1)]
    layers = sum(name.endswith(".qkv") for name in params)
    for i in range(layers):
        x = x + _attention(params, i, _norm(x, params[f"{i}.norm_attention"]), len(inputs))
        u = _dot(_norm(x, params[f"{i}.norm_dense"]), params[f"{i}.up"])
        x = x + _dot(jnp.square(jax.nn.relu(u)), params[f"{i}.down"])
    logits = _dot(_norm(x, params["norm_readout"]), params["readout"])
    chosen = jnp.take_along_axis(logits, targets[:, None], 1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(logits, 1) - chosen)


def _norm(x: Array, scale: Array) -> Array:
    return x * jax.lax.rsqrt(jnp.mean(x * x, 1, keepdims=True) + EPSILON) * scale


def _attention(params: Params, i: int, x: Array, n: int) -> Array:
    """What causal attention of layer i adds to x, (n * t, width)."""
    t, width = x.shape[0] // n, x.shape[1]
    qkv = _dot(x, params[f"{i}.qkv"]).reshape(n, t, 3 * width // HEAD, HEAD)
    q, k, v = jnp.split(qkv, 3, axis=2)
    back = np.arange(t)[:, None] - np.arange(t)
    # A product where indexing would do: its derivative, a scattered sum, took a tenth of a step.
    at = (back == np.arange(t)[:, None, None]).astype(np.float32)
    added = _einsum("hd,dts->hts", params[f"{i}.distance"][:, :t], at)
    later = np.where(back < 0, np.float32(MASKED), np.float32(0))
    logits = _einsum("nthd,nshd->nhts", q * HEAD**-0.5, k) + (added + later)
    mixed = _einsum("nhts,nshd->nthd", jax.nn.softmax(logits, -1), v)
    return _dot(mixed.reshape(n * t, width), params[f"{i}.out"])


class Trained(NamedTuple):
    """A run: parameters at its end, the training loss of every step (in nats), what was seen.

    ``watched`` and ``observed`` have a leading axis over steps and over observations.
    """

    params: Params
    losses: Array
    watched: Any
    observed: Any


def trainer(
    make: Callable[[optax.Schedule], optax.GradientTransformation],
    *,
    batch: int = BATCH,
    watch: Callable[[Params, Params], Any] | None = None,
    observe: Callable[[Params], Any] | None = None,
    every: int = 1,
) -> Callable[[Params, Array, Any, Array], Trained]:
    """Return a compiled run of an optimizer: all its steps in one scan.

    Parameters
    ----------
    make
        Schedule -> optimizer, as in ``lambda rate: optax.adamw(rate)``.
    batch
        Windows in a batch.
    watch
        (parameters, gradients) -> pytree, called in every step before it is taken.
    observe, every
        parameters -> pytree, called after each ``every`` steps; the steps are a multiple of it.

    Returns
    -------
    Callable
        (params, key, rates, codes) -> `Trained`. ``rates``, (steps,), holds the learning rate of
        every step: runs of equally many steps are compiled once, whatever their rates. ``codes``
        is the text to draw from, (characters,), best ``jnp.asarray(text().train)``. Models of
        several seeds are best trained one after the other: ``vmap`` gains nothing on CPUs.
    """

    @jax.jit
    def run(params: Params, key: Array, rates: Any, codes: Array) -> Trained:
        rates = jnp.asarray(rates, jnp.float32)
        if len(rates) % every:
            raise ValueError(f"every must divide the {len(rates)} steps, got {every}")
        optimizer = make(lambda count: rates[count])
        context = params["0.distance"].shape[1]

        def step(carry: Any, count: Array) -> tuple[Any, Any]:
            here, state = carry
            tokens = windows(jax.random.fold_in(key, count), codes, batch, context)
            value, gradients = jax.value_and_grad(loss)(here, tokens)
            seen = None if watch is None else watch(here, gradients)
            updates, state = optimizer.update(gradients, state, here)
            return (optax.apply_updates(here, updates), state), (value, seen)

        def several(carry: Any, counts: Array) -> tuple[Any, Any]:
            carry, seen = jax.lax.scan(step, carry, counts)
            return carry, (seen, None if observe is None else observe(carry[0]))

        start = params, optimizer.init(params)
        blocks = jnp.arange(len(rates)).reshape(-1, every if observe else len(rates))
        (params, _), ((losses, seen), observed) = jax.lax.scan(several, start, blocks)
        losses, seen = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (losses, seen))
        return Trained(params, losses, seen, observed)

    return run


def windows(key: Array, codes: Array, batch: int, context: int) -> Array:
    """Draw windows, int32 (batch, context + 1), that begin anywhere in the text."""
    starts = jax.random.randint(key, (batch,), 0, len(codes) - context)
    return codes[starts[:, None] + jnp.arange(context + 1)].astype(jnp.int32)


def held_out(count: int = 512, context: int = CONTEXT) -> Array:
    """Return the windows on which models are compared: `count` of them, evenly spaced."""
    codes = text().held_out
    starts = np.linspace(0, len(codes) - context - 1, count).astype(int)
    return jnp.asarray(codes[starts[:, None] + np.arange(context + 1)].astype(np.int32))


@jax.jit
def evaluate(params: Params, tokens: Array) -> Array:
    """Return the mean loss of each window, (n,), of which 32 are computed at once."""
    return jax.lax.map(lambda one: loss(params, one[None]), tokens, batch_size=BATCH)
