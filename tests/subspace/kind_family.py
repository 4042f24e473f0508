"""The kinds of random projection, in one list, and their explicit matrices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from theorylab import subspace

KINDS = {
    "hadamard": subspace.hadamard,
    "dense_gaussian": subspace.dense_gaussian,
    "dense_rademacher": subspace.dense_rademacher,
    "fastfood": subspace.fastfood,
    "sparse": subspace.sparse,
    "sketch": subspace.sketch,
    "rotation": subspace.rotation,
    "kron": subspace.kron,
}
D = 627  # of shapes(); no power of two, and no multiple of d
d = 12


def shapes(dtype="float32"):
    """A small tree of parameters, as shapes."""
    of = {"b": (27,), "w": (30, 20)}
    return {name: jax.ShapeDtypeStruct(shape, dtype) for name, shape in of.items()}


def flat(tree):
    """(..., D): the leaves of a tree, behind leading axes they share."""
    leaves = [np.asarray(tree["b"]), np.asarray(tree["w"])]
    lead = leaves[0].ndim - 1
    return np.concatenate([x.reshape(*x.shape[:lead], -1) for x in leaves], -1)


@functools.cache
def made(kind, seed=0, dtype="float32", **options):
    """A projection of the small tree."""
    with jax.enable_x64(dtype == "float64"):
        return KINDS[kind](d, shapes(dtype), jax.random.key(seed), **options)


@jax.jit
def images(p, thetas):
    """A tree with one axis more: P theta of each row."""
    return jax.vmap(p.apply)(thetas)


def probes(dtype="float32"):
    """(d + 1, d): the unit vectors, and a random theta."""
    theta = np.random.default_rng(0).normal(size=(1, d))
    return np.concatenate([np.eye(d), theta]).astype(dtype)


@functools.cache
def matrix(kind, seed=0, dtype="float32", **options):
    """(D, d): the explicit matrix, a column for every unit vector, in float64."""
    with jax.enable_x64(dtype == "float64"):
        p = made(kind, seed, dtype, **options)
        return flat(images(p, probes(dtype)))[:d].T.astype("float64")


def tree_of(vector, dtype="float32"):
    """A vector (D,) as a small tree."""
    return {
        "b": jnp.asarray(vector[:27], dtype),
        "w": jnp.asarray(vector[27:].reshape(30, 20), dtype),
    }
