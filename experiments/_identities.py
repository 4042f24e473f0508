r"""What must hold exactly at any width, measured in float64: the claims that bind in every preset.

1. The NTK computed layer by layer (``_layerwise``) is the contraction of whole Jacobians, and is
   what NTK-vector products give.
2. The NTK of a linear network is :math:`\sigma^2 x \cdot x' / d` at any width: finite and limit
   alike.
3. A network on pixels and the same network on coordinates in the span of the images remain the same
   in training.
4. Gradient descent on the linearization of a finite network moves its outputs along the closed
   form with the network's own kernel.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import theorylab.kernels as tk
from experiments._layerwise import layerwise_ntk
from experiments._networks import CLASSES, coordinates, descend, keys, mlp, squared_loss
from theorylab import empirical, predict

WIDTH = 48  # of the networks in the first two identities; any will do


def _apart(a, b):
    """Return the largest difference, relative to the largest entry of b."""
    return np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(b)).max()


def kernels_agree(x, seed, family):
    """Return {name: relative difference} of the first two identities for inputs x (n, d)."""
    with jax.enable_x64(True):
        x = jnp.asarray(x, jnp.float64)
        key = keys(seed, family, 0, 0, 1)[0]
        deep = mlp(WIDTH, 2, tk.Relu(), CLASSES)
        params = deep.init(key, x.shape)
        layers = jax.jit(partial(layerwise_ntk, deep))(params, x)
        whole = partial(empirical.ntk, deep.apply, params, x)
        linear = tk.serial(tk.Dense(CLASSES, W_std=1.5))
        finite = empirical.ntk(linear.apply, linear.init(key, x.shape), x)
        known = 1.5**2 * np.asarray(x) @ np.asarray(x).T / x.shape[1]
        return {
            "layers_jacobian": _apart(layers, whole(method="jacobian")),
            "layers_products": _apart(layers, whole(method="vector_product")),
            "linear_finite": _apart(finite, known),
            "linear_limit": _apart(linear.kernel(x).ntk, known),
        }


def spans_agree(x, seed, family):
    """Return {name: relative difference} of the fourth identity for pixels x (n, d)."""
    with jax.enable_x64(True):
        pixels = np.asarray(x, np.float64)
        (inside,) = coordinates(pixels)
        basis = np.linalg.lstsq(inside, pixels, rcond=None)[0].T  # (d, r), times sqrt(d / r)
        basis = basis * np.sqrt(basis.shape[1] / basis.shape[0])
        net = mlp(WIDTH, 2, tk.Relu(), CLASSES)
        params = net.init(keys(seed, family, 0, 0, 1)[0], pixels.shape)
        turned = (
            {"W": jnp.matmul(basis.T, params[0]["W"], precision=jax.lax.Precision.HIGHEST)},
            *params[1:],
        )
        y = jnp.ones((len(pixels), CLASSES))

        @jax.jit
        def trained(params, x):
            loss = squared_loss(lambda p: net.apply(p, x), y)
            end, _ = descend(
                loss, params, learning_rate=0.1, records=1, every=10, observe=lambda p: ()
            )
            return net.apply(end, x), layerwise_ntk(net, end, x)

        on_pixels, in_span = trained(params, pixels), trained(turned, inside)
        return {"span": max(_apart(a, b) for a, b in zip(in_span, on_pixels, strict=True))}


def stepping_agrees(x, x_test, y, *, width, rate, steps, every, seed, family):
    """Return {name: relative difference} of the fourth identity, at training and test points.

    The network has ten outputs that share parameters, so its kernel couples them: it is an
    (m c) x (m c) matrix. The loss averages over the m images alone, whence the factor c in the rate
    of the closed form, which counts m c points.

    Parameters
    ----------
    x, x_test, y
        Training and test images, targets (m, 10).
    width
        Of both hidden layers.
    rate
        Learning rate times the largest eigenvalue of the network's kernel, over m.
    steps, every
        Number of steps, and how often the two are compared.
    seed, family
        Of the network.
    """
    with jax.enable_x64(True):
        x, x_test, y = (jnp.asarray(a, jnp.float64) for a in (x, x_test, y))
        net = mlp(width, 2, tk.Relu(), CLASSES)
        params = net.init(keys(seed, family, 0, 0, 1)[0], x.shape)
        kernel = partial(empirical.ntk, net.apply, params, trace_axes=())
        train, cross = (
            k.transpose(0, 2, 1, 3).reshape(k.shape[0] * CLASSES, -1)
            for k in (kernel(x), kernel(x_test, x))
        )
        learning_rate = rate * len(y) / jnp.linalg.eigvalsh(train)[-1]
        f_lin = empirical.linearize(net.apply, params)
        walk = partial(
            descend,
            squared_loss(lambda p: f_lin(p, x), y),
            learning_rate=learning_rate,
            records=steps // every,
            every=every,
            observe=lambda p: (f_lin(p, x), f_lin(p, x_test)),
        )
        walked, walked_test = (a.reshape(len(a), -1) for a in jax.jit(walk)(params)[1])
        start, start_test = walked[0], walked_test[0]
        closed = predict.gradient_steps(train, y.ravel(), learning_rate=CLASSES * learning_rate)
        times = np.arange(0, steps + 1, every)
        at_train = closed(times, f0_train=start)
        at_test = closed(times, cross, f0_train=start, f0_test=start_test)
        return {
            "identity_train": _apart(walked, at_train.mean),
            "identity_test": _apart(walked_test, at_test.mean),
        }
