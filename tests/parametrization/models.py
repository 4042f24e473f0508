"""Small networks of flax linen, flax nnx and equinox, as users write them, and of our own layers.

A case knows its shapes at every width, and how outputs follow from weights; weights are drawn here,
in NumPy, so that nothing is compiled for them.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from theorylab.parametrization import Rule, infer_specs

VOCABULARY, LENGTH = 7, 5
TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, size=(4, LENGTH + 1))
IMAGES = np.random.default_rng(1).normal(size=(3, 4, 4, 2))
VECTORS = np.random.default_rng(2).normal(size=(6, 3))


class Case(NamedTuple):
    """``shapes(width)``; ``apply(weights, x, width)``; inputs; options of ``infer_specs``."""

    shapes: Callable[[int], Any]
    apply: Callable[[Any, Any, int], Any]
    x: Any
    options: dict[str, Any]


def weights(shapes, seed=0, dtype=np.float64):
    """Kernels of unit gain, biases near 0, gains near 1; other leaves as they are."""
    rng = np.random.default_rng(seed)

    def leaf(path, s):
        if not (hasattr(s, "dtype") and jnp.issubdtype(s.dtype, jnp.inexact)):
            return s
        x = rng.normal(size=s.shape)
        if "scale" in jax.tree_util.keystr(path):
            return (1 + 0.1 * x).astype(dtype)
        return (x * (max(s.shape) ** -0.5 if len(s.shape) > 1 else 0.1)).astype(dtype)

    return jax.tree_util.tree_map_with_path(leaf, shapes)


def named_specs(specs):
    """Leaves by the names that rules are searched for in."""
    flat = jax.tree_util.tree_flatten_with_path(specs)[0]
    names = (jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in flat)
    return {name.removesuffix("/value"): leaf for name, (_, leaf) in zip(names, flat, strict=True)}


def specs_of(case, base, target, delta=None):
    shapes = [case.shapes(n) for n in (base, base + 4 if delta is None else delta, target)]
    return infer_specs(*shapes, **case.options)


# flax linen -------------------------------------------------------------------------------------


class LinenMLP(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Dense(self.width)(x))
        x = nn.tanh(nn.Dense(2 * self.width)(x))
        return nn.Dense(2)(nn.LayerNorm()(x))


class LinenCNN(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x):
        x = nn.tanh(nn.Conv(self.width, (3, 3))(x))
        x = nn.tanh(nn.ConvTranspose(2 * self.width, (2, 2))(x))
        x = nn.tanh(nn.Conv(self.width, (3, 3), feature_group_count=2)(x))
        return nn.Dense(3)(x.mean((1, 2)))


class LinenBlock(nn.Module):
    """Attention and a feed-forward layer; the embedding is the read-out as well."""

    width: int
    heads: int = 2

    @nn.compact
    def __call__(self, t):
        table = nn.Embed(VOCABULARY, self.width, name="embed")
        place = self.param("position", nn.initializers.normal(1.0), (1, LENGTH, self.width))
        h = table(t) + place
        norm = nn.LayerNorm(name="norm")(h)
        h = h + nn.MultiHeadDotProductAttention(self.heads, name="attention")(norm)
        h = h + nn.Dense(self.width, name="down")(nn.tanh(nn.Dense(4 * self.width, name="up")(h)))
        self.sow("intermediates", "last", h)
        return table.attend(h)


class LinenCell(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x, _):
        h = nn.MultiHeadDotProductAttention(2, name="attention")(nn.LayerNorm(name="norm")(x))
        return x + nn.Dense(self.width, name="map")(nn.tanh(h)), None


class LinenStack(nn.Module):
    width: int
    depth: int = 3

    @nn.compact
    def __call__(self, x):
        stack = nn.scan(
            LinenCell, variable_axes={"params": 0}, split_rngs={"params": True}, length=self.depth
        )
        x = nn.Dense(self.width, name="first")(x)
        return nn.Dense(2, name="last")(stack(self.width, name="layers")(x, None)[0])


def linen(make, x, *rules):
    def shapes(n):
        return jax.eval_shape(lambda: make(n).init(jax.random.key(0), x))

    def apply(w, x, n):
        return make(n).apply(w, x)

    return Case(functools.cache(shapes), apply, x, {"rules": rules})


# flax nnx ---------------------------------------------------------------------------------------


class NnxMLP(nnx.Module):
    def __init__(self, n, rngs):
        self.layers = nnx.List([nnx.Linear(3, n, rngs=rngs), nnx.Linear(n, 2 * n, rngs=rngs)])
        self.dropout = nnx.Dropout(0.5, deterministic=True, rngs=rngs)
        self.last = nnx.Linear(2 * n, 2, rngs=rngs)

    def __call__(self, x):
        for layer in self.layers:
            x = jnp.tanh(layer(x))
        return self.last(self.dropout(x))


class NnxCNN(nnx.Module):
    def __init__(self, n, rngs):
        self.first = nnx.Conv(2, n, (3, 3), rngs=rngs)
        self.norm = nnx.GroupNorm(n, num_groups=2, rngs=rngs)
        self.second = nnx.Conv(n, n, (3, 3), rngs=rngs)
        self.last = nnx.Linear(n, 3, rngs=rngs)

    def __call__(self, x):
        x = jnp.tanh(self.second(jnp.tanh(self.norm(self.first(x)))))
        return self.last(x.mean((1, 2)))


class NnxBlock(nnx.Module):
    def __init__(self, n, rngs):
        self.embed = nnx.Embed(VOCABULARY, n, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, n, decode=False, rngs=rngs)
        self.norm = nnx.RMSNorm(n, rngs=rngs)
        self.last = nnx.Linear(n, VOCABULARY, use_bias=False, rngs=rngs)

    def __call__(self, t):
        h = self.embed(t)
        return self.last(self.norm(h + self.attention(h)))


def nnx_case(make, x):
    def model(n):
        return nnx.eval_shape(lambda: make(n, nnx.Rngs(0)))

    def apply(w, x, n):
        graph, _, rest = nnx.split(model(n), nnx.Param, ...)
        return nnx.merge(graph, w, rest)(x)

    return Case(functools.cache(lambda n: nnx.state(model(n), nnx.Param)), apply, x, {})


# equinox ----------------------------------------------------------------------------------------


class EqxBlock(eqx.Module):
    embed: eqx.nn.Embedding
    attention: eqx.nn.MultiheadAttention
    norm: eqx.nn.LayerNorm
    mlp: eqx.nn.MLP

    def __init__(self, n):
        key = jax.random.key(0)
        self.embed = eqx.nn.Embedding(VOCABULARY, n, key=key)
        self.attention = eqx.nn.MultiheadAttention(2, n, use_query_bias=True, key=key)
        self.norm = eqx.nn.LayerNorm(n)
        self.mlp = eqx.nn.MLP(n, VOCABULARY, 2 * n, 2, jnp.tanh, key=key)

    def __call__(self, t):
        h = jax.vmap(self.embed)(t)
        h = jax.vmap(self.norm)(h + self.attention(h, h, h))
        return jax.vmap(self.mlp)(h)


class EqxCNN(eqx.Module):
    layers: list
    last: eqx.nn.Linear

    def __init__(self, n):
        key = jax.random.key(0)
        self.layers = [
            eqx.nn.Conv2d(2, n, 3, padding=1, key=key), jnp.tanh,
            eqx.nn.Conv2d(n, 2 * n, 3, padding=1, key=key), jnp.tanh,
        ]  # fmt: skip
        self.last = eqx.nn.Linear(2 * n, 3, key=key)

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.last(x.mean((1, 2)))


def equinox(make, x):
    def apply(w, x, n):
        model = eqx.filter_eval_shape(make, n)
        static = jax.tree.map(lambda s: None if hasattr(s, "shape") else s, model)
        return jax.vmap(eqx.combine(eqx.filter(w, eqx.is_inexact_array), static))(x)

    def shapes(n):
        return eqx.filter_eval_shape(make, n)

    return Case(functools.cache(shapes), apply, x, {"convention": "equinox"})


TIED = Rule("embed", tied=True)
STACKED = Rule("layers", batch=(0,), depth_ratio="batch")
CASES = {
    "linen MLP": linen(LinenMLP, VECTORS),
    "linen CNN": linen(LinenCNN, IMAGES),
    "linen block": linen(LinenBlock, TOKENS[:, :-1], TIED),
    "linen stack": linen(LinenStack, VECTORS[None], STACKED),
    "nnx MLP": nnx_case(NnxMLP, VECTORS),
    "nnx CNN": nnx_case(NnxCNN, IMAGES),
    "nnx block": nnx_case(NnxBlock, TOKENS[:, :-1]),
    "equinox block": equinox(EqxBlock, TOKENS[:, :-1]),
    "equinox CNN": equinox(EqxCNN, IMAGES.transpose(0, 3, 1, 2)),
}
