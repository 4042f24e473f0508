"""Small classifiers of every library, each as (params, loss): what a user would have."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def batch(dtype="float32"):
    """Thirty-two inputs in four classes that a linear map can tell apart."""
    rng = np.random.default_rng(0)
    y = np.arange(32) % 4
    x = rng.normal(size=(32, 12)) + 2 * rng.normal(size=(4, 12))[y]
    return jnp.asarray(x, dtype), jnp.asarray(y, jnp.int32)


def cross_entropy(logits, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def linen():
    """Two dense layers and a norm in flax linen."""
    import flax.linen as nn

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(4)(nn.LayerNorm()(nn.tanh(nn.Dense(16)(x))))

    net = Net()
    params = net.init(jax.random.key(0), batch()[0])
    return params, lambda params, x, y: cross_entropy(net.apply(params, x), y)


def nnx():
    """Two layers in flax nnx, the state that ``nnx.split`` gives."""
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(12, 16, rngs=rngs)
            self.second = nnx.Linear(16, 4, rngs=rngs)

        def __call__(self, x):
            return self.second(nnx.relu(self.first(x)))

    graph, params = nnx.split(Net(nnx.Rngs(0)), nnx.Param)
    return params, lambda params, x, y: cross_entropy(nnx.merge(graph, params)(x), y)


def equinox():
    """An MLP of equinox, its arrays apart from what is static (which leaves None in the tree)."""
    import equinox as eqx

    made = eqx.nn.MLP(12, 4, 16, 1, key=jax.random.key(0))
    params, static = eqx.partition(made, eqx.is_inexact_array)
    return params, lambda params, x, y: cross_entropy(jax.vmap(eqx.combine(params, static))(x), y)


def plain(dtype="float32"):
    """A list of dictionaries, with a scalar beside the matrices."""
    rng = np.random.default_rng(1)

    def drawn(*shape):
        return jnp.asarray(rng.normal(size=shape) / np.sqrt(max(shape[0], 1)), dtype)

    params = [
        {"w": drawn(12, 16), "b": jnp.zeros(16, dtype)},
        {"w": drawn(16, 4), "b": jnp.zeros(4, dtype), "scale": jnp.ones((), dtype)},
    ]

    def loss(params, x, y):
        first, second = params
        h = jnp.tanh(x.astype(dtype) @ first["w"] + first["b"])
        logits = second["scale"] * (h @ second["w"]) + second["b"]
        return cross_entropy(logits.astype(jnp.promote_types(dtype, "float32")), y)

    return params, loss


def bfloat16():
    """The same with parameters in bfloat16."""
    return plain("bfloat16")


def mixed():
    """Matrices in bfloat16, vectors in float32, as mixed precision keeps them."""
    params, loss = plain("float32")
    low = jax.tree.map(lambda p: p.astype("bfloat16") if p.ndim == 2 else p, params)
    return low, lambda params, x, y: loss(jax.tree.map(lambda p: p.astype("float32"), params), x, y)


MODELS = {f.__name__: f for f in (linen, nnx, equinox, plain, bfloat16, mixed)}
