"""Networks of every kind, as ``(f, params, inputs)``, and what of each is recognised.

A case names the leaves that fall back; all other leaves must be recognised.
"""

from typing import Any, NamedTuple

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from theorylab import layers

HIGHEST = lax.Precision.HIGHEST
N1, N2 = 4, 3


class Case(NamedTuple):
    """``f(params, x)``; inputs of N1 + N2 examples; parts of the paths of leaves that fall back."""

    f: Any
    params: Any
    x: Any
    falls_back: tuple[str, ...] = ()


def _normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape) / np.sqrt(shape[0])


def _inputs(*shape):
    return np.random.default_rng(99).normal(size=(N1 + N2, *shape))


def _tokens(length, vocabulary):
    return np.random.default_rng(98).integers(0, vocabulary, size=(N1 + N2, length))


# Plain functions --------------------------------------------------------------------------------


def dense():
    params = {"w1": _normal(0, 5, 7), "b": _normal(1, 7), "w2": _normal(2, 7, 3)}
    return Case(lambda p, x: jnp.tanh(x @ p["w1"] + p["b"]) @ p["w2"], params, _inputs(5))


def ntk_scaling():
    params = {"w1": _normal(0, 5, 7), "w2": _normal(2, 7, 3)}
    scale = 1 / np.sqrt(7)
    return Case(
        lambda p, x: jax.nn.relu(x @ (p["w1"] * 1.4)) @ (p["w2"] * scale), params, _inputs(5)
    )


def _convolution(name, shape, strides=(1, 1), padding="SAME", inside=None, spread=None, groups=1):
    channels = shape[2] * groups
    params = {"conv": _normal(3, *shape), "out": _normal(4, shape[3], 2)}

    def f(p, x):
        z = lax.conv_general_dilated(
            x,
            p["conv"],
            strides,
            padding,
            lhs_dilation=inside,
            rhs_dilation=spread,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=groups,
            precision=HIGHEST,
        )
        return jnp.tanh(z).mean((1, 2)) @ p["out"]

    return Case(f, params, _inputs(6, 7, channels), ("conv",) if groups > 1 else ())


def convolution():
    return _convolution("plain", (3, 3, 2, 4))


def convolution_strided():
    return _convolution("strided", (3, 2, 2, 4), strides=(2, 3), padding="VALID")


def convolution_dilated():
    return _convolution("dilated", (3, 2, 2, 4), spread=(2, 3))


def convolution_padded_oddly():
    return _convolution("padded", (3, 3, 2, 4), strides=(2, 1), padding=((-1, 2), (3, 0)))


def convolution_of_one_position():
    return _convolution("global", (6, 7, 2, 4), padding="VALID")


def convolution_transposed():
    params = {"conv": _normal(3, 3, 3, 2, 4), "out": _normal(4, 4, 2)}

    def f(p, x):
        z = lax.conv_transpose(x, p["conv"], (2, 2), "SAME", precision=HIGHEST)
        return jnp.tanh(z).mean((1, 2)) @ p["out"]

    return Case(f, params, _inputs(3, 4, 2))


def convolution_grouped():
    return _convolution("grouped", (3, 3, 1, 4), groups=2)


def convolution_of_three_dimensions():
    params = {"conv": _normal(3, 2, 3, 2, 2, 3), "out": _normal(4, 3, 2)}

    def f(p, x):
        numbers = ("NDHWC", "DHWIO", "NDHWC")
        z = lax.conv_general_dilated(
            x, p["conv"], (1, 2, 1), "SAME", dimension_numbers=numbers, precision=HIGHEST
        )
        return jnp.tanh(z).mean((1, 2, 3)) @ p["out"]

    return Case(f, params, _inputs(3, 4, 3, 2))


def embedding():
    params = {"table": _normal(5, 11, 4), "out": _normal(6, 4, 3)}
    return Case(lambda p, x: jnp.tanh(p["table"][x]).mean(1) @ p["out"], params, _tokens(6, 11))


def embedding_with_positions_outside():
    """Gathers that fill drop what lies outside, those that clip move it to the edge."""
    params = {"filled": _normal(5, 11, 4), "clipped": _normal(7, 11, 4), "out": _normal(6, 4, 3)}

    def f(p, x):
        filled = p["filled"].at[x].get(mode="fill", fill_value=0.0)
        clipped = p["clipped"].at[x].get(mode="clip")
        return jnp.tanh(filled + clipped).mean(1) @ p["out"]

    return Case(f, params, _tokens(6, 15) - 2)


def embedding_tied():
    params = {"table": _normal(5, 11, 4), "mix": _normal(6, 4, 4)}

    def f(p, x):
        return (jnp.tanh(p["table"][x] @ p["mix"]) @ p["table"].T).mean(1)

    return Case(f, params, _tokens(6, 11))


def used_twice():
    params = {"w": _normal(0, 5, 5), "out": _normal(1, 5, 3)}
    return Case(lambda p, x: jnp.tanh(jnp.tanh(x @ p["w"]) @ p["w"]) @ p["out"], params, _inputs(5))


def tied_to_its_transpose():
    params = {"w": _normal(0, 5, 6)}
    return Case(lambda p, x: jnp.tanh(x @ p["w"]) @ p["w"].T, params, _inputs(5))


def masked():
    params = {"w": _normal(0, 5, 6), "v": _normal(2, 6, 6), "out": _normal(1, 6, 3)}
    mask = np.random.default_rng(7).uniform(size=(5, 6)) > 0.5
    keep = np.tril(np.ones((6, 6))) > 0

    def f(p, x):
        z = jnp.tanh(x @ (p["w"] * mask))
        return jnp.tanh(z @ jnp.where(keep, p["v"], 0.0)) @ p["out"]

    return Case(f, params, _inputs(5), ("'v'",))


def function_of_the_weight():
    params = {"w": _normal(0, 5, 6), "out": _normal(1, 6, 3)}
    return Case(
        lambda p, x: jnp.tanh(x @ jnp.sin(p["w"]) - x @ p["w"] / 3) @ (-p["out"]),
        params,
        _inputs(5),
    )


def reshaped_weight():
    params = {"w": _normal(0, 5, 2, 3), "out": _normal(1, 6, 3)}
    return Case(lambda p, x: jnp.tanh(x @ p["w"].reshape(5, 6)) @ p["out"], params, _inputs(5))


def weight_norm():
    params = {"v": _normal(0, 5, 6), "g": _normal(3, 6), "out": _normal(1, 6, 3)}

    def f(p, x):
        w = p["g"] * p["v"] / jnp.sqrt((p["v"] ** 2).sum(0))
        return jnp.tanh(x @ w) @ p["out"]

    return Case(f, params, _inputs(5), ("'v'",))


def attention():
    d, heads = 6, 2
    params = {k: _normal(k_, d, heads, 3) for k_, k in enumerate(("q", "k", "v"))}
    params["o"] = _normal(8, heads, 3, d)

    def f(p, x):
        q, k, v = (jnp.einsum("nsd,dhe->nhse", x, p[name], precision=HIGHEST) for name in "qkv")
        scores = jax.nn.softmax(jnp.einsum("nhse,nhte->nhst", q, k, precision=HIGHEST))
        mixed = jnp.einsum("nhst,nhte->nshe", scores, v, precision=HIGHEST)
        return jnp.einsum("nshe,hed->nsd", mixed, p["o"], precision=HIGHEST).mean(1)

    return Case(f, params, _inputs(5, d))


def stacked_experts():
    params = {"w": _normal(0, 3, 5, 6), "out": _normal(1, 3, 6, 2)}

    def f(p, x):
        z = jnp.tanh(jnp.einsum("nd,edf->nef", x, p["w"], precision=HIGHEST))
        return jnp.einsum("nef,efo->no", z, p["out"], precision=HIGHEST)

    return Case(f, params, _inputs(5))


def scan_over_layers():
    params = {"stack": _normal(0, 3, 5, 5), "bias": _normal(2, 3, 5), "out": _normal(1, 5, 3)}

    def f(p, x):
        def layer(h, wb):
            return jnp.tanh(h @ wb[0] + wb[1]), None

        return lax.scan(layer, x, (p["stack"], p["bias"]))[0] @ p["out"]

    return Case(f, params, _inputs(5))


def scan_of_scans():
    params = {"stack": _normal(0, 2, 3, 5, 5), "out": _normal(1, 5, 3)}

    def f(p, x):
        def layer(h, w):
            return jnp.tanh(h @ w), None

        def block(h, ws):
            return lax.scan(layer, h, ws)[0], None

        return lax.scan(block, x, p["stack"])[0] @ p["out"]

    return Case(f, params, _inputs(5))


def recurrent():
    params = {"in": _normal(0, 4, 6), "hidden": _normal(1, 6, 6), "out": _normal(2, 6, 3)}

    def f(p, x):
        def turn(h, x_t):
            return jnp.tanh(h @ p["hidden"] + x_t @ p["in"]), None

        start = jnp.zeros((len(x), 6), x.dtype)
        return lax.scan(turn, start, x.swapaxes(0, 1))[0] @ p["out"]

    return Case(f, params, _inputs(5, 4))


def rematerialised():
    params = {"w": _normal(0, 5, 6), "out": _normal(1, 6, 3)}
    block = jax.checkpoint(lambda w, x: jnp.tanh(x @ w))
    return Case(lambda p, x: jax.jit(block)(p["w"], x) @ p["out"], params, _inputs(5))


@jax.custom_vjp
def _straight_through(w):
    return jnp.sign(w)


_straight_through.defvjp(lambda w: (jnp.sign(w), None), lambda _, g: (g,))


@jax.custom_vjp
def _clipped_gradient(w):
    return w


_clipped_gradient.defvjp(lambda w: (w, None), lambda _, g: (jnp.clip(g, -0.1, 0.1) + 0.01,))


def custom_vjp():
    params = {"w": _normal(0, 5, 6), "out": _normal(1, 6, 3)}
    return Case(lambda p, x: jnp.tanh(x @ _straight_through(p["w"])) @ p["out"], params, _inputs(5))


def custom_vjp_that_is_not_linear():
    params = {"w": _normal(0, 5, 6), "out": _normal(1, 6, 3)}
    return Case(
        lambda p, x: jnp.tanh(x @ _clipped_gradient(p["w"])) @ p["out"],
        params,
        _inputs(5),
        ("'w'",),
    )


def branch():
    params = {"w": _normal(0, 5, 6), "out": _normal(1, 6, 3)}

    def f(p, x):
        w = lax.cond(p["w"][0, 0] > 0, lambda w: w * 2, lambda w: w**2, p["w"])
        return jnp.tanh(x @ w) @ p["out"]

    return Case(f, params, _inputs(5), ("'w'",))


def unused_and_linear():
    params = {"unused": _normal(0, 5, 6), "w": _normal(1, 5, 3), "constant": _normal(2, 2, 3)}
    return Case(lambda p, x: x @ p["w"] + p["constant"].sum(0), params, _inputs(5), ("constant",))


# Libraries --------------------------------------------------------------------------------------


def _linen(module, x, falls_back=()):
    params = jax.eval_shape(module.init, jax.random.key(0), x[:1])
    paths, treedef = jax.tree.flatten(params)
    params = treedef.unflatten([_normal(k, *leaf.shape) for k, leaf in enumerate(paths)])
    return Case(lambda p, x: module.apply(p, x), params, x, falls_back)


class LinenNetwork(nn.Module):
    """Convolutions, normalisation, pooling, dense layers."""

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(4, (3, 3), precision=HIGHEST, param_dtype=float)(x)
        x = nn.relu(nn.GroupNorm(2, param_dtype=float)(x))
        x = nn.Conv(5, (3, 3), (2, 2), "VALID", precision=HIGHEST, param_dtype=float)(x)
        x = nn.gelu(nn.LayerNorm(param_dtype=float)(x)).mean((1, 2))
        return nn.Dense(3, precision=HIGHEST, param_dtype=float)(x)


def linen_convolutions():
    return _linen(LinenNetwork(), _inputs(6, 6, 2))


class LinenAttention(nn.Module):
    """An embedding, a block with attention, and the embedding once more."""

    @nn.compact
    def __call__(self, tokens):
        embed = nn.Embed(9, 6, param_dtype=float)
        x = embed(tokens)
        mixed = nn.MultiHeadDotProductAttention(2, precision=HIGHEST, param_dtype=float)
        x = x + mixed(nn.RMSNorm(param_dtype=float)(x))
        h = nn.Dense(8, precision=HIGHEST, param_dtype=float)(nn.LayerNorm(param_dtype=float)(x))
        x = x + nn.Dense(6, precision=HIGHEST, param_dtype=float)(nn.gelu(h))
        return embed.attend(x).mean(1)


def linen_language_model():
    return _linen(LinenAttention(), _tokens(5, 9))


class LinenRecurrent(nn.Module):
    """A gated recurrent unit, its weights shared in time."""

    @nn.compact
    def __call__(self, x):
        h = nn.RNN(nn.GRUCell(4, param_dtype=float, dtype=float))(x)
        return nn.Dense(2, precision=HIGHEST, param_dtype=float)(h[:, -1])


def linen_recurrent():
    return _linen(LinenRecurrent(), _inputs(5, 3))


class LinenBlock(nn.Module):
    """One layer of a stack."""

    @nn.compact
    def __call__(self, x, _):
        return x + nn.tanh(nn.Dense(5, precision=HIGHEST, param_dtype=float)(x)), None


class LinenScan(nn.Module):
    """Layers stacked by ``scan``, each rematerialised."""

    @nn.compact
    def __call__(self, x):
        stack = nn.scan(
            nn.remat(LinenBlock), variable_axes={"params": 0}, split_rngs={"params": True}, length=3
        )
        x, _ = stack()(x, None)
        return nn.Dense(2, precision=HIGHEST, param_dtype=float)(x)


def linen_scan():
    return _linen(LinenScan(), _inputs(5))


class NnxNetwork(nnx.Module):
    """A convolution, a norm and dense layers of flax nnx."""

    def __init__(self, rngs):
        settings = {"rngs": rngs, "param_dtype": float}
        self.conv = nnx.Conv(2, 4, (3, 3), precision=HIGHEST, **settings)
        self.norm = nnx.LayerNorm(4, **settings)
        self.hidden = nnx.Linear(4, 6, precision=HIGHEST, **settings)
        self.out = nnx.Linear(6, 3, precision=HIGHEST, **settings)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.conv(x))).mean((1, 2))
        return self.out(jnp.tanh(self.hidden(x)))


def nnx_network():
    graph, params = nnx.split(NnxNetwork(nnx.Rngs(0)))
    return Case(lambda p, x: nnx.merge(graph, p)(x), params, _inputs(5, 5, 2))


class NnxEmbedding(nnx.Module):
    """An embedding and attention of flax nnx."""

    def __init__(self, rngs):
        settings = {"rngs": rngs, "param_dtype": float}
        self.embed = nnx.Embed(9, 6, **settings)
        self.mix = nnx.MultiHeadAttention(2, 6, decode=False, precision=HIGHEST, **settings)
        self.norm = nnx.RMSNorm(6, **settings)
        self.out = nnx.Linear(6, 3, precision=HIGHEST, **settings)

    def __call__(self, tokens):
        x = self.embed(tokens)
        return self.out(self.norm(x + self.mix(x)).mean(1))


def nnx_attention():
    graph, params = nnx.split(NnxEmbedding(nnx.Rngs(0)))
    return Case(lambda p, x: nnx.merge(graph, p)(x), params, _tokens(5, 9))


def _equinox(model, x):
    params, static = eqx.partition(model, eqx.is_inexact_array)
    return Case(lambda p, x: jax.vmap(eqx.combine(p, static))(x), params, x)


def equinox_mlp():
    return _equinox(eqx.nn.MLP(5, 3, 6, 2, key=jax.random.key(0), dtype=float), _inputs(5))


class EquinoxNetwork(eqx.Module):
    """A convolution, a norm and a linear layer of equinox."""

    conv: eqx.nn.Conv2d
    norm: eqx.nn.GroupNorm
    out: eqx.nn.Linear

    def __init__(self, key):
        first, second = jax.random.split(key)
        self.conv = eqx.nn.Conv2d(2, 4, 3, stride=2, key=first, dtype=float)
        self.norm = eqx.nn.GroupNorm(2, 4, dtype=float)
        self.out = eqx.nn.Linear(4, 3, key=second, dtype=float)

    def __call__(self, x):
        return self.out(jax.nn.relu(self.norm(self.conv(x))).mean((1, 2)))


def equinox_convolution():
    return _equinox(EquinoxNetwork(jax.random.key(0)), _inputs(2, 7, 7))


class EquinoxAttention(eqx.Module):
    """An embedding and attention of equinox."""

    embed: eqx.nn.Embedding
    mix: eqx.nn.MultiheadAttention
    norm: eqx.nn.LayerNorm

    def __init__(self, key):
        first, second = jax.random.split(key)
        self.embed = eqx.nn.Embedding(9, 6, key=first, dtype=float)
        self.mix = eqx.nn.MultiheadAttention(2, 6, key=second, dtype=float)
        self.norm = eqx.nn.LayerNorm(6, dtype=float)

    def __call__(self, tokens):
        x = jax.vmap(self.embed)(tokens)
        return jax.vmap(self.norm)(x + self.mix(x, x, x)).mean(0)


def equinox_attention():
    return _equinox(EquinoxAttention(jax.random.key(0)), _tokens(5, 9))


def _ours(net, x):
    params = net.init(jax.random.key(0), x.shape)
    return Case(
        lambda p, x: net.apply(p, x), jax.tree.map(lambda a: np.asarray(a, float), params), x
    )


def layer_tree_dense():
    tk = layers
    net = tk.serial(
        tk.Dense(6, 1.4, 0.1),
        tk.Relu(),
        tk.Dense(5, parameterization="standard"),
        tk.Erf(),
        tk.Dense(3),
    )
    return _ours(net, _inputs(5))


def layer_tree_convolutions():
    tk = layers
    net = tk.serial(
        tk.Conv(4, (3, 3), padding="SAME", b_std=0.1),
        tk.Relu(),
        tk.LayerNorm(),
        tk.Conv(5, (2, 3), (2, 1), padding="CIRCULAR"),
        tk.AvgPool((2, 2)),
        tk.Flatten(),
        tk.Dense(3, 1.2, 0.3),
    )
    return _ours(net, _inputs(6, 6, 2))


def layer_tree_residual():
    tk = layers
    block = tk.serial(
        tk.FanOut(2),
        tk.parallel(tk.Identity(), tk.serial(tk.Dense(6), tk.Gelu(), tk.Dense(6))),
        tk.FanInSum(),
    )
    return _ours(tk.serial(tk.Dense(6), tk.repeat(block, 3), tk.Dense(3)), _inputs(5))


CASES = {
    make.__name__: make
    for make in (
        dense, ntk_scaling, convolution, convolution_strided, convolution_dilated,
        convolution_padded_oddly, convolution_of_one_position, convolution_transposed,
        convolution_grouped, convolution_of_three_dimensions, embedding,
        embedding_with_positions_outside, embedding_tied, used_twice, tied_to_its_transpose, masked,
        function_of_the_weight, reshaped_weight, weight_norm, attention, stacked_experts,
        scan_over_layers, scan_of_scans, recurrent, rematerialised, custom_vjp,
        custom_vjp_that_is_not_linear, branch, unused_and_linear, linen_convolutions,
        linen_language_model, linen_recurrent, linen_scan, nnx_network, nnx_attention, equinox_mlp,
        equinox_convolution, equinox_attention, layer_tree_dense, layer_tree_convolutions,
        layer_tree_residual,
    )
}  # fmt: skip
