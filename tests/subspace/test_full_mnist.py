"""Li et al.'s curve on all of MNIST: hours on a CPU, and only where the data are.

``THEORYLAB_DATA=folder python -m pytest tests/subspace/test_full_mnist.py``.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from theorylab import data, subspace

pytestmark = pytest.mark.slow

# Means of three runs, read off the stored results of uber-research/intrinsic-dimension: fully
# connected 784-200-200-10, D = 199,210.
ACCURACIES = {200: 0.758, 500: 0.865, 750: 0.894, 850: 0.903, 1000: 0.907}
WIDTHS = (784, 200, 200, 10)


@pytest.fixture(scope="module")
def mnist():
    try:
        return data.mnist("full")
    except FileNotFoundError:
        pytest.skip("needs the four files of MNIST (THEORYLAB_DATA)")


def glorot(rng):
    """The start of Li et al.: Glorot's uniform kernels, biases zero."""
    return [
        {
            "w": jnp.asarray(rng.uniform(-1, 1, (n, m)) * np.sqrt(6 / (n + m)), jnp.float32),
            "b": jnp.zeros(m),
        }
        for n, m in zip(WIDTHS[:-1], WIDTHS[1:], strict=True)
    ]


def network(params, x):
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ params[-1]["w"] + params[-1]["b"]


def curve(dataset, ds, epochs, seed=0, batch=128, l2=1e-4):
    """Test accuracy after Adam at 1e-3 with the paper's moments; L2 acts on the parameters."""
    rng = np.random.default_rng(seed)
    x, x_test = (jnp.asarray(a.reshape(len(a), -1)) for a in (dataset.x_train, dataset.x_test))
    y, y_test = jnp.asarray(dataset.y_train), jnp.asarray(dataset.y_test)
    params0 = glorot(rng)
    each = len(x) // batch * batch
    orders = [rng.permutation(len(x))[:each].reshape(-1, batch) for _ in range(epochs)]
    adam = optax.adam(1e-3, b1=0.9, b2=0.99, eps=1e-8)

    def loss(params, x, y):
        entropy = optax.softmax_cross_entropy_with_integer_labels(network(params, x), y).mean()
        return entropy + l2 * sum(jnp.sum(w**2) for w in jax.tree.leaves(params))

    def train(key, mask):
        p = subspace.hadamard(ds[-1], like=params0, key=key)
        loss_d = subspace.wrap(loss, p, params0)

        def step(carry, rows):
            theta, state = carry
            gradient = jax.grad(lambda t: loss_d(mask * t, x[rows], y[rows]))(theta)
            updates, state = adam.update(gradient, state)
            return (optax.apply_updates(theta, updates), state), None

        theta = subspace.init(p)
        rows = jnp.asarray(np.concatenate(orders), jnp.int32)
        (theta, _), _ = jax.lax.scan(step, (theta, adam.init(theta)), rows)
        params = subspace.project(p, params0, mask * theta)
        return (network(params, x_test).argmax(1) == y_test).mean()

    return np.asarray(subspace.sweep(train, ds, seeds=[seed], batch=1))[0]


def test_the_curve_of_li_et_al_and_their_seven_hundred_and_fifty(mnist):
    ds = list(ACCURACIES)
    assert len(mnist.x_train) == 60_000
    found = curve(mnist, ds, epochs=100)
    np.testing.assert_allclose(found, list(ACCURACIES.values()), atol=0.02)
    threshold = subspace.dint(ds, found, 1.0, rule="interp").value
    assert 650 <= threshold <= 950
