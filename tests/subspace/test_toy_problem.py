"""Problems with a known dimension, solved exactly: no kind may need more of it, or less.

The toy problem is that of Li et al. (2018): 1000 parameters in ten groups of 100, of which each
must have a sum of its own, 1 to 10. Its loss is zero on a plane of dimension 990, and a random
subspace meets this plane if and only if it has ten dimensions.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.subspace.kind_family import KINDS, D, d, matrix

SUMS = np.kron(np.eye(10), np.ones((1, 100)))
TARGETS = np.arange(1.0, 11.0)
KEYS = 8


@functools.cache
def toy_matrices(kind, dim):
    """(keys, 1000, dim): the explicit matrices of eight keys, over two leaves."""
    like = {name: jax.ShapeDtypeStruct((n,), "float32") for name, n in (("a", 400), ("b", 600))}

    @jax.jit
    @jax.vmap
    def columns(key):
        return jax.vmap(KINDS[kind](dim, like, key).apply)(jnp.eye(dim))

    both = columns(jax.random.split(jax.random.key(0), KEYS))
    return np.concatenate([both["a"], both["b"]], -1).swapaxes(1, 2).astype("float64")


def performance(p):
    """exp(-loss) at the least squared error of the ten sums, starting at zero."""
    system = SUMS @ p
    theta = np.linalg.lstsq(system, TARGETS, rcond=None)[0]
    return np.exp(-np.sum((system @ theta - TARGETS) ** 2))


@pytest.mark.parametrize("kind", KINDS)
def test_the_toy_problem_needs_ten_dimensions_and_no_more(kind):
    ten, fifty = toy_matrices(kind, 10), toy_matrices(kind, 50)
    below = [performance(p[:, :k]) for p in ten for k in range(1, 10)]
    at = [performance(p) for p in ten]
    above = [performance(p[:, :k]) for p in fifty for k in range(11, 51)]
    assert max(below) <= 0.999
    # Kinds with few entries in each group of 100 could fail here, but do not for these keys.
    assert min(at) > 0.999
    assert min(above) > 0.999


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", [1, 5, d])
def test_a_quadratic_of_rank_r_is_solved_exactly_from_r_dimensions_on(kind, rank):
    rng = np.random.default_rng(rank)
    root, distance = rng.normal(size=(rank, D)), rng.normal(size=D)
    start = np.sum((root @ distance) ** 2)
    for dim in range(1, d + 1):
        system = root @ matrix(kind)[:, :dim]
        theta = np.linalg.lstsq(system, root @ distance, rcond=None)[0]
        least = np.sum((root @ distance - system @ theta) ** 2) / start
        assert least < 1e-20 if dim >= rank else least > 1e-6
