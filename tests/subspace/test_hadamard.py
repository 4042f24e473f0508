"""Stacked Hadamard blocks: the explicit matrix, isometry, and subspaces inside one another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from theorylab import subspace
from theorylab.subspace._hadamard import BLOCKS, COLUMNS, ROWS, HadamardMap
from theorylab.subspace._threefry import signs
from theorylab.subspace._walsh import walsh_hadamard

SEED = jnp.array([3, 5], jnp.uint32)


def explicit(p):
    """P as a matrix (D, d), columns from unit vectors, in float64."""
    columns = jax.vmap(p.apply)(jnp.eye(p.d))
    return np.concatenate(
        [np.asarray(leaf).reshape(p.d, -1) for leaf in jax.tree.leaves(columns)], 1
    ).T.astype(float)


@pytest.mark.parametrize("m", [1, 2, 32, 64, 512, 2048])
@pytest.mark.parametrize("last_first", [True, False])
def test_the_fast_transform_is_sylvesters_matrix(m, last_first):
    x = np.random.default_rng(0).normal(size=(3, m)).astype(np.float32)
    expected = x.astype(float) @ scipy.linalg.hadamard(m)
    found = walsh_hadamard(jnp.asarray(x), last_first)
    np.testing.assert_allclose(found, expected, atol=2e-6 * m)


@pytest.mark.parametrize(("rows", "d"), [(300, 7), (37, 3), (1024, 20), (5000, 300), (600, 550)])
def test_blocks_are_what_the_equation_says(rows, d):
    m = HadamardMap(d, rows)
    size, blocks = m.m, -(-rows // m.m)
    h = scipy.linalg.hadamard(size) / np.sqrt(size)
    b = np.zeros(size)
    b[:d] = signs(SEED, COLUMNS, 0, d, "float32")
    s = np.asarray(signs(SEED, BLOCKS, 0, blocks * size, "float32"), float).reshape(blocks, size)
    r = np.asarray(signs(SEED, ROWS, 0, blocks * size, "float32"), float)[:, None]
    matrix = (r * np.concatenate([h @ np.diag(x) @ h @ np.diag(b) for x in s]))[:rows, :d]
    found = jax.vmap(lambda t: m.forward(SEED, t))(jnp.eye(d)).T
    np.testing.assert_allclose(found, matrix, atol=1e-6)
    flat = np.random.default_rng(1).normal(size=rows).astype(np.float32)
    np.testing.assert_allclose(m.backward(SEED, jnp.asarray(flat)), matrix.T @ flat, atol=3e-5)
    norms = m.squared_norms(SEED, jnp.float32)
    np.testing.assert_allclose(norms, (matrix**2).sum(axis=0), rtol=1e-6, atol=1e-6)


def test_sums_of_whole_blocks_are_independent_of_one_another():
    # Without the signs of the rows they were all the same number but for its sign.
    p = subspace.hadamard(10, like=[jnp.zeros(1024) for _ in range(10)], key=jax.random.key(4))
    sums = explicit(p).reshape(10, 1024, 10).sum(axis=1)
    assert np.linalg.svd(sums, compute_uv=False)[-1] > 1e-3


def test_many_blocks_in_a_loop_and_a_rest_are_one_sum():
    # 2^18 parameters are transformed at a time: this has two such turns, and a rest.
    d, rows = 5, 2 * 2**18 + 3 * 1024 + 17
    p = subspace.hadamard(d, like=jax.ShapeDtypeStruct((rows,), "float32"), key=jax.random.key(0))
    columns = np.asarray(jax.vmap(p.apply)(jnp.eye(d)), float)
    flat = np.random.default_rng(1).normal(size=rows).astype(np.float32)
    np.testing.assert_allclose(p.transpose(jnp.asarray(flat)), columns @ flat, atol=1e-5)
    # P^T P = I but for what the incomplete block of 17 rows adds.
    gram = columns @ columns.T
    assert np.abs(gram - np.eye(d)).max() < 1024 / rows


def test_singular_values_at_the_size_of_the_paper_lie_within_0_005_of_one():
    p = subspace.hadamard(750, like=jnp.zeros(199_210), key=jax.random.key(1))
    gram = jax.jit(
        lambda p: jax.lax.map(lambda e: p.transpose(p.apply(e)), jnp.eye(750), batch_size=50)
    )(p)
    values = np.sqrt(np.linalg.eigvalsh(np.asarray(gram, float)))
    assert np.abs(values - 1).max() <= 0.005
    np.testing.assert_allclose(np.sqrt(np.diagonal(gram)), 1, atol=1e-6)


def test_it_is_an_exact_isometry_where_blocks_are_whole():
    p = subspace.hadamard(600, like=jnp.zeros(4096), key=jax.random.key(1))
    matrix = explicit(p)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(600), atol=1e-6)


def test_a_smaller_subspace_is_the_first_columns_of_a_larger_one():
    like, key = {"w": jnp.zeros((60, 50)), "b": jnp.zeros(50)}, jax.random.key(2)
    large = explicit(subspace.hadamard(900, like=like, key=key))
    small = explicit(subspace.hadamard(30, like=like, key=key))
    np.testing.assert_array_equal(large[:, :30], small)


def test_where_one_block_is_not_whole_columns_still_have_unit_norm():
    with pytest.warns(UserWarning, match="more than half of the D = 40 parameters"):
        p = subspace.hadamard(33, like=jnp.zeros(40), key=jax.random.key(0))
    np.testing.assert_allclose(np.linalg.norm(explicit(p), axis=0), 1, atol=1e-6)


def test_leaves_and_how_they_are_split_do_not_matter_to_a_global_projection():
    whole = subspace.hadamard(9, like=jnp.zeros(3000), key=jax.random.key(3))
    split = subspace.hadamard(9, like=[jnp.zeros(1000), jnp.zeros((40, 50))], key=jax.random.key(3))
    np.testing.assert_array_equal(explicit(whole), explicit(split))
