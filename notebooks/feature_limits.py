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
# # Networks that learn features, at infinite width
#
# In muP, wide networks tend to a limit in which hidden layers still learn: not to a kernel. The
# limits of `theorylab.limits` are three functions, `init`, `step` and `predict`. From each come the
# networks of finite width that tend to it, and the optimizer that trains them likewise.
#
# Digits in eight principal components, one output for each class:

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

from theorylab import data, limits

plt.rcParams.update({"figure.constrained_layout.use": True, "font.size": 9})

digits = data.digits()
x, x_test = (a.reshape(len(a), -1) for a in (digits.x_train, digits.x_test))
centre, directions = x.mean(0), np.linalg.svd(x - x.mean(0), full_matrices=False)[2][:8]
x, x_test = ((a - centre) @ directions.T for a in (x, x_test))
size = np.sqrt((x**2).sum(1).mean())
x, x_test = jnp.asarray(x / size), jnp.asarray(x_test / size)
y, y_test = (jax.nn.one_hot(a, 10) - 0.1 for a in (digits.y_train, digits.y_test))
rows = jnp.asarray(np.random.default_rng(0).integers(len(x), size=(40, 64)))

# %% [markdown]
# ## A limit
#
# A linear network with two hidden layers. Its limit is linear algebra: every hidden vector is a
# list of coordinates in a basis that grows, and nothing is random. How large bases can become is
# known beforehand.

# %%
capacity = limits.deep_linear_capacity(8, 10, depth=2, steps=40)
limit = limits.deep_linear_mup(8, 10, 2, learning_rate=0.2, capacity=capacity)
init, step, predict = limit


@jax.jit
def infinite():
    def one(state, batch):
        state, info = step(state, x[batch], y[batch])
        return state, (predict(state, x_test), info.status)

    return jax.lax.scan(one, init(), rows)[1]


outputs, status = infinite()
print("capacity", capacity, "status", limits.Status(int(status.max())).name)

# %% [markdown]
# ## Its networks
#
# `finite_width_like` draws one of a width, an ordinary tree of weights with its `apply`;
# `optimizer_like` is an optax transformation. The training loop is anyone's. The minibatches are
# those of the limit.


# %%
def finite(limit, width):
    tx = limits.optimizer_like(limit)

    def train(key):
        params, apply = limits.finite_width_like(limit, width, key)

        def loss(params, x, y):
            return ((apply(params, x) - y) ** 2).sum() / (2 * len(x))

        def one(carry, batch):
            params, state = carry
            updates, state = tx.update(jax.grad(loss)(params, x[batch], y[batch]), state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), apply(params, x_test)

        return jax.lax.scan(one, (params, tx.init(params)), rows)[1]

    return jax.jit(lambda keys: jax.lax.map(train, keys))


widths = [32, 128, 512]
keys = jax.random.split(jax.random.key(0), 6)
runs = {width: finite(limit, width)(keys) for width in widths}

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3))
image, label, steps = 0, int(y_test[0].argmax()), range(1, 41)
for width, colour in zip(widths, ("C9", "C2", "C0"), strict=True):
    left.plot(steps, runs[width][:, :, image, label].T, color=colour, lw=0.8)
    left.plot([], [], color=colour, label=f"width {width}")
left.plot(steps, outputs[:, image, label], "k", lw=2, label="the limit")
left.set(xlabel="step", ylabel="one output on a test image")
left.legend(fontsize=8)
apart = np.array([jnp.sqrt(((runs[n][:, 11] - outputs[11]) ** 2).mean((1, 2))) for n in widths])
right.loglog(widths, apart, "o", color="C0", alpha=0.5)
middle = np.sqrt((apart**2).mean(1))
right.loglog(widths, middle, color="C0", label="root mean square")
right.loglog(
    widths, middle[1] * (np.array(widths) / widths[1]) ** -0.5, "k:", label=r"$\propto n^{-1/2}$"
)
right.set(xlabel="width", ylabel="deviation after 12 steps")
right.set_xticks(widths, widths)
right.set_yticks([0.02, 0.04, 0.08], ["0.02", "0.04", "0.08"])
right.minorticks_off()
right.legend(fontsize=8)
plt.show()
print(f"slope {np.polyfit(np.log(widths), np.log(middle), 1)[0]:.2f}")

# %% [markdown]
# ## One hidden layer: the limit is a network
#
# With one hidden layer the limit of a linear network is itself a network, of 8 + 10 hidden units
# that begin orthonormal. Any network that begins orthonormal equals it, at any width:

# %%
flat = limits.linear_mup(8, 10, learning_rate=0.2)
exact, _ = jax.lax.scan(lambda s, b: flat.step(s, x[b], y[b]), flat.init(), rows)
print({name: leaf.shape for name, leaf in exact.params.items()})

params, apply = limits.finite_width_like(flat, 64, jax.random.key(1), orthonormal=True)
tx = limits.optimizer_like(flat)


@jax.jit
def update(carry, batch):
    def loss(params):
        return ((apply(params, x[batch]) - y[batch]) ** 2).sum() / (2 * len(batch))

    updates, state = tx.update(jax.grad(loss)(carry[0]), carry[1], carry[0])
    return (optax.apply_updates(carry[0], updates), state), None


params = jax.lax.scan(update, (params, tx.init(params)), rows)[0][0]
gap = jnp.abs(apply(params, x_test) - flat.predict(exact, x_test)).max()
print(f"width 64 against the limit: {float(gap):.0e}, in float32")

# %% [markdown]
# ## Any width
#
# Between 64 and infinity: training depends on initial weights through their Gram matrix alone,
# which `linear_gram` draws. A width of a million costs what 18 do.


# %%
@jax.jit
def deviation(width):
    def one(key):
        gram = limits.linear_gram(width, 8, 10, learning_rate=0.2)
        state, _ = jax.lax.scan(lambda s, b: gram.step(s, x[b], y[b]), gram.init(key), rows)
        return gram.predict(state, x_test) - flat.predict(exact, x_test)

    return jnp.sqrt((jax.vmap(one)(keys) ** 2).mean())


for exponent in (6, 10, 15, 20):
    print(f"width 2^{exponent}: {float(deviation(2.0**exponent)):.1e}")

# %% [markdown]
# Each factor of four in the width halves the deviation. Where this matters: a figure of a wide
# network's training can have the limit beside it, as a curve without seeds. Adam has no limit of
# this kind, since it acts on each coordinate by itself, and is refused:

# %%
try:
    limits.linear_mup(8, 10, learning_rate=0.2, optimizer="adam")
except ValueError as error:
    print(error)
