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
# # A ten-minute tour
#
# You know how to train a network. This tour shows what can be computed about that training *without
# training*: when the layers are very wide, gradient descent becomes a linear process, and one
# matrix, the **neural tangent kernel**, decides everything it does. We compute that matrix for
# handwritten digits, predict a training run from beginning to end, then train real networks and see
# how near they come.
#
# Nothing here needs a GPU; the whole tour runs in well under a minute.

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import theorylab.kernels as tk
from theorylab import data, empirical, predict

plt.rcParams.update(
    {"figure.figsize": (7, 3), "figure.constrained_layout.use": True, "font.size": 9}
)

# %% [markdown]
# ## The data
#
# 1,797 digits of 8 x 8 pixels, which come with scikit-learn. Ten outputs, one for each class; the
# targets are one-hot vectors with their mean removed.

# %%
digits = data.digits()
n = 500
x_train = jnp.asarray(digits.x_train[:n].reshape(n, -1))
x_test = jnp.asarray(digits.x_test.reshape(len(digits.x_test), -1))
y_train = jax.nn.one_hot(digits.y_train[:n], 10) - 0.1
print(digits.name, x_train.shape, x_test.shape)

# %% [markdown]
# ## A network, and its kernel
#
# A network is a small tree of records. Read it as the finite network it describes (512 units in a
# layer), or ask for its limit, in which the width is infinite and the number 512 no longer matters.

# %%
net = tk.serial(
    tk.Dense(512, W_std=1.5, b_std=0.1),
    tk.Relu(),
    tk.Dense(512, W_std=1.5, b_std=0.1),
    tk.Relu(),
    tk.Dense(10, W_std=1.5, b_std=0.1),
)
print(f"the kernel will take {net.plan(x_train.shape).bytes_peak / 1e6:.0f} MB")
kernel = net.kernel(x_train)

# %% [markdown]
# Two matrices came back, one row and column for each image.
#
# - `nngp` $K$: the covariance of the outputs of a random network. The infinitely wide network *is*
#   a Gaussian process with this covariance.
# - `ntk` $\Theta$: the inner products of parameter gradients, $\Theta(x, x') = \nabla_\theta f(x)
#   \cdot \nabla_\theta f(x')$. A gradient step on $x'$ moves the output at $x$ by this much.
#
# Sorted by class, the kernel already sees what a digit is, before any training. (Each entry is
# divided by the geometric mean of its two diagonal entries, so that what remains is the
# similarity.)

# %%
order = np.argsort(digits.y_train[:n], kind="stable")
scale = jnp.sqrt(jnp.diag(kernel.ntk))
similarity = (kernel.ntk / jnp.outer(scale, scale))[order][:, order]

fig, ax = plt.subplots(figsize=(3.6, 3))
image = ax.imshow(similarity, cmap="viridis")
fig.colorbar(image, ax=ax, label="normalised tangent kernel")
edges = np.searchsorted(digits.y_train[:n][order], np.arange(11))
ax.set_xticks((edges[1:] + edges[:-1]) / 2, range(10))
ax.set_yticks((edges[1:] + edges[:-1]) / 2, range(10))
ax.set(xlabel="digit", ylabel="digit", title="What the untrained network finds alike")
plt.show()

# %% [markdown]
# ## How wide is wide?
#
# For a finite network the tangent kernel is random: it depends on the weights that were drawn.
# `empirical.ntk` computes it for any function `f(params, x)`. Its distance from the limit falls
# like one over the square root of the width, as averages do.

# %%
few = x_train[:10]
limit = net.kernel(few).ntk


def of_width(width):
    return tk.serial(
        tk.Dense(width, W_std=1.5, b_std=0.1),
        tk.Relu(),
        tk.Dense(width, W_std=1.5, b_std=0.1),
        tk.Relu(),
        tk.Dense(1, W_std=1.5, b_std=0.1),
    )


def deviations_at(width, keys):
    finite = of_width(width)

    def deviation(key):
        ntk = empirical.ntk(finite.apply, finite.init(key, few.shape), few)
        return jnp.linalg.norm(ntk - limit) / jnp.linalg.norm(limit)

    return jax.lax.map(deviation, keys)


widths = [32, 128, 512]
keys = jax.random.split(jax.random.key(0), 10)
deviations = np.array([deviations_at(width, keys) for width in widths])

typical = np.sqrt(np.mean(deviations**2, axis=1))

fig, ax = plt.subplots(figsize=(4, 3))
ax.loglog(widths, deviations, "o", color="tab:blue", alpha=0.3, markersize=3)
ax.loglog(widths, typical, color="tab:blue", label="root mean square of 10 networks")
ax.loglog(widths, typical[0] * np.sqrt(widths[0] / np.array(widths)), "k:", label="width$^{-1/2}$")
ax.set_xticks(widths, widths)
ax.minorticks_off()
ax.set(xlabel="width", ylabel="relative distance", title="From the finite to the infinite kernel")
ax.legend()
plt.show()

# %% [markdown]
# ## A training run, in closed form
#
# While the kernel stays what it is, gradient flow on the squared loss is a linear differential
# equation, $\dot f = -\Theta (f - y) / n$, and has a closed solution: each eigenvector of $\Theta$
# is learned at its own rate, the large ones first. So the outputs at *any* time can be asked for,
# early or infinite, with no steps between.

# %%
flow = predict.gradient_flow(kernel.ntk, y_train)
k_test = net.kernel(x_test, x_train)
times = jnp.logspace(0, 6, 50)
course = flow(times, k_test.ntk).mean


def accuracy(outputs):
    return jnp.mean(outputs.argmax(-1) == digits.y_test, axis=-1)


fig, axes = plt.subplots(1, 2)
axes[0].semilogx(times, jnp.mean((flow(times).mean - y_train) ** 2, axis=(1, 2)))
axes[0].set(xlabel="time", ylabel="training loss", ylim=(0, None))
axes[1].semilogx(times, accuracy(course))
axes[1].set(xlabel="time", ylabel="test accuracy")
fig.suptitle("Training an infinitely wide network on 500 digits")
plt.show()
print(
    f"trained for ever: {accuracy(flow(jnp.inf, k_test.ntk).mean):.1%} of the test digits are right"
)

# %% [markdown]
# ## Does a real network do that?
#
# Train one of width 512 by plain gradient descent on 100 of the digits. To compare like with like
# the network's initial function is subtracted, as theory then starts from zero too; and
# `predict.gradient_steps` is the closed solution for the same discrete steps.

# %%
x_few, y_few = x_train[:100], y_train[:100]
shown = [1, 3, 4]
x_shown = x_test[jnp.array(shown)]
theta = net.kernel(x_few).ntk
rate = (
    0.2 * 100 / jnp.linalg.eigvalsh(theta)[-1]
)  # a fifth of the inverse of the largest eigenvalue
steps = 150

params0 = net.init(jax.random.key(1), x_few.shape)


def centred(params, x):
    return net.apply(params, x) - net.apply(params0, x)


def loss(params):
    return jnp.sum((centred(params, x_few) - y_few) ** 2) / (2 * len(x_few))


@jax.jit
def descend(params):
    def step(params, _):
        outputs = centred(params, x_shown)
        return jax.tree.map(lambda p, g: p - rate * g, params, jax.grad(loss)(params)), outputs

    return jax.lax.scan(step, params, None, length=steps)


_, trained = descend(params0)
predicted = predict.gradient_steps(theta, y_few, learning_rate=rate)(
    jnp.arange(steps), net.kernel(x_shown, x_few).ntk
).mean

fig, axes = plt.subplots(1, 3, sharey=True)
for i, ax in enumerate(axes):
    for c, colour in zip(range(10), plt.get_cmap("tab10").colors, strict=True):
        ax.plot(trained[:, i, c], color=colour, linewidth=2.5, alpha=0.4)
        ax.plot(predicted[:, i, c], color=colour, linewidth=0.8)
    ax.set(xlabel="step", title=f"test digit {digits.y_test[shown[i]]}")
axes[0].set_ylabel("outputs")
fig.suptitle("Ten outputs at three test images: trained (thick) and predicted (thin)")
plt.show()

# %% [markdown]
# The thin lines were known before the first step. What is left between the two is the price of a
# finite width; `experiments/wide_training_dynamics.py` measures how it falls.
#
# ## Knowing what one does not know
#
# The infinitely wide *Bayesian* network is a Gaussian process with covariance $K$, so it comes with
# error bars. If they mean something, then the digits that it gets wrong are among those it is
# unsure of.

# %%
posterior = predict.posterior(
    kernel, k_test, net.kernel(x_test), y_train, noise=1e-3 * jnp.mean(jnp.diag(kernel.nngp))
)
deviation_at = jnp.sqrt(jnp.diag(posterior.cov))
right = posterior.mean.argmax(-1) == digits.y_test
surest_first = jnp.argsort(deviation_at)
thirds = [int(1000 * jnp.mean(right[part])) / 10 for part in jnp.array_split(surest_first, 3)]
print(f"{jnp.mean(right):.1%} right; by third, from the surest to the least sure: {thirds} %")

fig, axes = plt.subplots(1, 6, figsize=(7, 1.5))
for ax, i in zip(axes, [*surest_first[:3], *surest_first[-3:]], strict=True):
    ax.imshow(x_test[i].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"{digits.y_test[i]} $\\pm$ {deviation_at[i]:.2f}")
    ax.axis("off")
fig.suptitle("The three surest and the three least sure")
plt.show()

# %% [markdown]
# ## Where to go next
#
# - A network is also a pytree whose leaves are its hyperparameters: `jax.grad` of anything computed
#   from its kernel gives the derivative with respect to every `W_std` and `b_std`.
# - `python -m experiments list`: figures of papers, regenerated and checked against what the papers
#   say.
# - The docstrings: every function gives its equation, shapes, limits of validity and source.
# - `docs/api-contract.md`: the names that will not change, and what is planned.
