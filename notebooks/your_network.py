# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your network's NTK in ten lines
#
# The neural tangent kernel of *your* network, at the parameters that it has now: how alike two
# inputs look to a step of gradient descent. Whatever library made the network, all that is needed
# is a function `f(params, x)`.
#
# ## flax nnx

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from flax import nnx

from theorylab import data, empirical, predict


class Network(nnx.Module):
    """Two convolutions, a norm, a dense layer."""

    def __init__(self, rngs):
        self.first = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.second = nnx.Conv(16, 32, (3, 3), strides=2, rngs=rngs)
        self.norm = nnx.LayerNorm(32, rngs=rngs)
        self.out = nnx.Linear(32, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.gelu(self.second(nnx.gelu(self.first(x))))
        return self.out(self.norm(x).mean((1, 2)))


digits = data.digits()
x = jnp.asarray(digits.x_train[:200])[..., None]
y = jax.nn.one_hot(digits.y_train[:200], 10) - 0.1
x_test = jnp.asarray(digits.x_test[:100])[..., None]

# Ten lines, from here:
graph, params = nnx.split(Network(nnx.Rngs(0)))


def f(params, x):
    return nnx.merge(graph, params)(x)


ntk = empirical.ntk(f, params, x)  # mean over the ten outputs
full = empirical.ntk(f, params, x[:20], trace_axes=())  # every pair of outputs
print(ntk.shape, full.shape)  # (200, 200), (20, 20, 10, 10)

# %% [markdown]
# What was done? The product at the end of each leaf's backward pass is found, and its operands are
# contracted in pairs, without the Jacobian of the leaf, wherever that is predicted to be cheaper.
# `explain` says so, leaf by leaf.

# %%
info = empirical.explain(f, params, x, trace_axes=())
print(f"{info.method}: about {info.bytes / 2**20:.0f} MiB beside the result")
for leaf, reason in info.reasons.items():
    print(f"{leaf:30} {reason}")

# %% [markdown]
# Sorted by class, the kernel already shows blocks: images of one digit push the network in similar
# directions, before any training.

# %%
order = np.argsort(digits.y_train[:200], kind="stable")
figure, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
scale = jnp.sqrt(jnp.diag(ntk))
axes[0].imshow((ntk / jnp.outer(scale, scale))[order][:, order], cmap="viridis")
axes[0].set(title="cosine of two gradients", xlabel="image, sorted by digit")
axes[1].semilogy(jnp.linalg.eigvalsh(ntk)[::-1], ".")
axes[1].set(title="spectrum", xlabel="index", ylabel="eigenvalue")
plt.show()

# %% [markdown]
# ## From the kernel to a prediction
#
# The network trained by gradient flow *if it stayed linear in its parameters*: from its own
# outputs, to the end, on images that it has not seen.

# %%
flow = predict.gradient_flow(ntk, y, ridge=1e-3 * float(jnp.trace(ntk)) / len(x))
start = {"f0_train": f(params, x), "f0_test": f(params, x_test)}
trained = flow(jnp.inf, empirical.ntk(f, params, x_test, x), **start)
right = (trained.mean.argmax(1) == digits.y_test[:100]).mean()
print(f"linearised, trained to the end: {float(right):.0%} of 100 test digits")

# %% [markdown]
# ## flax linen
#
# The same with `module.apply`, which is such a function already.

# %%
import flax.linen as nn


class Block(nn.Module):
    """An embedding and attention: any architecture will do."""

    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(50, 32)(tokens)
        x = x + nn.MultiHeadDotProductAttention(4)(nn.LayerNorm()(x))
        return nn.Dense(2)(x.mean(1))


tokens = jax.random.randint(jax.random.key(0), (8, 12), 0, 50)
module = Block()
params = module.init(jax.random.key(1), tokens)
print(empirical.ntk(module.apply, params, tokens, trace_axes=()).shape)
print(empirical.explain(module.apply, params, tokens, method="structured").leaves)

# %% [markdown]
# ## equinox

# %%
import equinox as eqx

model = eqx.nn.MLP(64, 10, 128, 2, activation=jnp.tanh, key=jax.random.key(0))
params, static = eqx.partition(model, eqx.is_inexact_array)


def g(params, x):
    return jax.vmap(eqx.combine(params, static))(x)


flat = x.reshape(len(x), -1)
print(empirical.ntk(g, params, flat).shape)

# %% [markdown]
# ## Without a matrix
#
# Large kernels need not be formed. Products with a vector cost two passes forwards and two back:

# %%
product = empirical.ntk_vp(g, params, flat)
residual = y - g(params, flat)
print(product(residual).shape)  # how one small step of gradient descent changes the outputs

# %% [markdown]
# And how far is the network from the linear one? Take a real step, and the linear one beside it.

# %%
linear = empirical.linearize(g, params)
quadratic = empirical.taylor_expand(g, params, 2)
gradients = jax.grad(lambda p: 0.5 * ((g(p, flat) - y) ** 2).mean())(params)
for rate in (0.1, 1.0, 10.0):
    moved = jax.tree.map(lambda p, d, r=rate: p - r * d, params, gradients)
    after = g(moved, flat)
    apart = [float(jnp.abs(after - h(moved, flat)).max()) for h in (linear, quadratic)]
    print(f"rate {rate:4}: off by {apart[0]:.1e} (linear), {apart[1]:.1e} (quadratic)")
