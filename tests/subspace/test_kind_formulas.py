"""Each kind beside its own formula, written out in NumPy, and what is peculiar to it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from tests.subspace.kind_family import KINDS, D, d, images, made, matrix, shapes
from theorylab import subspace
from theorylab.subspace._fastfood import FastfoodMap
from theorylab.subspace._kron import KronMap
from theorylab.subspace._sparse import SparseMap
from theorylab.subspace._threefry import signs

SEED = np.array([5, 6], np.uint32)


def explicit_of(m, state):
    """(rows, d) in float64, of a map by itself."""
    return np.asarray(jax.jit(jax.vmap(m.forward, (None, 0)))(state, jnp.eye(m.d)), "float64").T


# Dense ------------------------------------------------------------------------------------------


def test_normal_entries_have_the_moments_of_a_normal():
    p = subspace.dense_gaussian(8, jax.ShapeDtypeStruct((40_000,), "float32"), jax.random.key(3))
    entries = np.asarray(jax.vmap(p.apply)(jnp.eye(8)), "float64") * 200
    # Standard errors of the mean, and of the second and fourth moments, of 320,000 normals.
    assert abs(entries.mean()) < 4 * 0.0018
    assert abs((entries**4).mean() - 3) < 4 * 0.0174
    assert abs(np.abs(entries).mean() - np.sqrt(2 / np.pi)) < 4 * 0.0011


def test_signs_are_signs():
    np.testing.assert_allclose(np.abs(matrix("dense_rademacher")), D**-0.5, rtol=1e-6)


@pytest.mark.parametrize("kind", ["dense_gaussian", "dense_rademacher"])
def test_singular_values_of_dense_kinds_lie_near_one(kind):
    p = KINDS[kind](64, jax.ShapeDtypeStruct((4096,), "float32"), jax.random.key(0))
    values = np.linalg.svd(np.asarray(jax.vmap(p.apply)(jnp.eye(64))), compute_uv=False)
    assert np.abs(values - 1).max() <= 1.2 * np.sqrt(64 / 4096)


@pytest.mark.parametrize("kind", ["sketch", "rotation"])
def test_disjoint_columns_are_orthonormal_and_a_row_is_one_coordinate(kind):
    explicit = matrix(kind)
    np.testing.assert_array_equal(np.sum(explicit != 0, axis=1), 1)
    np.testing.assert_allclose(explicit.T @ explicit, np.eye(d), atol=2e-7)
    assert 0.4 < np.mean(explicit[explicit != 0] > 0) < 0.6


# Fastfood ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "rows"), [(12, 100), (12, 5), (1, 1)])
def test_fastfood_is_the_product_of_the_paper(dim, rows):
    m = FastfoodMap(dim, rows)
    state = m.draw(jnp.asarray(SEED))
    size = 128 if rows == 100 else 16 if rows == 5 else 1
    h, g = scipy.linalg.hadamard(size), np.asarray(state.normals, "float64")
    b = np.zeros(size)
    b[:dim] = signs(jnp.asarray(SEED), 0, 0, dim, "float32")
    permuted = np.eye(size)[np.asarray(state.order)]
    whole = h @ np.diag(g) @ permuted @ h @ np.diag(b)
    paper = whole[:rows, :dim] / np.sqrt(size * np.sum(g**2)) / np.sqrt(rows / size)
    ours = explicit_of(m, state) / np.sqrt(rows)  # as every kind is divided by squared_norms
    np.testing.assert_allclose(ours, paper, atol=1e-6)
    np.testing.assert_array_equal(np.sort(state.order), np.arange(size))


def test_fastfood_columns_have_unit_norm_in_expectation_and_only_so():
    @jax.jit
    @jax.vmap
    def squares(key):
        p = subspace.fastfood(6, jax.ShapeDtypeStruct((700,), "float32"), key)
        return jnp.sum(jax.vmap(p.apply)(jnp.eye(6)) ** 2, axis=1)

    found = np.asarray(squares(jax.random.split(jax.random.key(0), 64)))
    # Of one key all columns depend on the same G, so that keys are what is independent.
    means = found.mean(axis=1)
    assert abs(means.mean() - 1) < 4 * means.std() / 8 < 0.01
    assert 0.01 < found.std() < 0.1


# Sparse -----------------------------------------------------------------------------------------


def test_a_sparse_entry_is_there_with_the_probability_of_the_paper():
    rows, dim = 20_000, 1200  # two groups of columns
    m = SparseMap(dim, rows)
    state = jax.jit(m.draw)(jnp.asarray(SEED))
    entries = np.asarray(state).reshape(-1, m.room)[:dim]
    at = np.where(entries < 0, ~entries, entries)
    inside = at < rows
    counts, p = inside.sum(axis=1), rows**-0.5
    # Each count is binomial: the mean and the variance of 1200 of them.
    assert abs(counts.mean() - rows * p) < 4 * np.sqrt(rows * p / dim)
    assert abs(counts.var() / (rows * p * (1 - p)) - 1) < 4 * np.sqrt(2 / dim)
    assert counts.max() < m.room and np.all(
        np.diff(np.where(inside, at, rows + np.arange(m.room))) > 0
    )
    # Rows are uniform, the first to the last, and signs are fair.
    share = np.histogram(at[inside], bins=20, range=(0, rows))[0] / inside.sum()
    assert np.abs(share - 0.05).max() < 4 * np.sqrt(0.05 / inside.sum())
    assert abs(np.mean(entries[inside] < 0) - 0.5) < 4 * 0.5 / np.sqrt(inside.sum())
    # Forwards and backwards are adjoint, over groups of columns.
    rng = np.random.default_rng(0)
    theta, g = rng.normal(size=dim).astype("float32"), rng.normal(size=rows).astype("float32")
    image, back = jax.jit(m.forward)(state, theta), jax.jit(m.backward)(state, g)
    assert abs(image @ g - back @ theta) < 1e-6 * np.linalg.norm(image) * np.linalg.norm(g)
    np.testing.assert_array_equal(m.squared_norms(state, jnp.dtype("float32")), counts)


def test_no_column_of_a_sparse_map_is_empty_however_few_rows_there_are():
    for rows in (1, 2, 4, 9):
        m = SparseMap(200, rows)
        counts = m.squared_norms(m.draw(jnp.asarray(SEED)), jnp.dtype("float32"))
        assert counts.min() == 1 and counts.max() <= rows


def test_a_leaf_has_the_density_of_its_own_size():
    filled = matrix("sparse", scope="leaf") != 0
    # Of the leaves with 27 and 600 entries; 4 standard deviations.
    for rows, share in ((27, filled[:27].mean()), (600, filled[27:].mean())):
        p = rows**-0.5
        assert abs(share - p) < 4 * np.sqrt(p / (rows * d))


# Sketch and rotation ----------------------------------------------------------------------------


def test_an_empty_column_of_a_sketch_is_zero_and_so_is_its_scale():
    with pytest.warns(UserWarning, match="more than half"):
        p = subspace.sketch(40, jax.ShapeDtypeStruct((50,), "float32"), jax.random.key(0))
    explicit = np.asarray(jax.vmap(p.apply)(jnp.eye(40)))
    empty = ~explicit.any(axis=1)
    assert empty.any() and np.all(np.isfinite(explicit))
    np.testing.assert_array_equal(np.asarray(p.scale) == 0, empty)
    np.testing.assert_allclose(np.linalg.norm(explicit[~empty], axis=1), 1, rtol=1e-6)


def test_every_block_of_a_rotation_is_theta_rolled_with_signs():
    theta = np.arange(1.0, d + 1)
    p = made("rotation")
    image = np.asarray(p.apply(jnp.asarray(theta, "float32"))["w"]).reshape(-1)
    # w begins at row 27: three rows before the third block of twelve.
    scaled = theta * np.asarray(p.scale)
    shifts = set()
    for block in image[9:].reshape(-1)[: 49 * d].reshape(-1, d):
        rolls = [np.allclose(np.abs(block), np.roll(scaled, -r), rtol=1e-5) for r in range(d)]
        assert sum(rolls) == 1
        shifts.add(rolls.index(True))
    assert len(shifts) == d  # of 49 blocks: one is missing with a probability of 0.17 at most


# Kronecker --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "rows"), [(12, 100), (12, 12), (9, 10), (12, 7), (1, 1), (10, 97)])
def test_kron_is_the_first_rows_of_a_kronecker_product(dim, rows):
    m = KronMap(dim, rows)
    state = m.draw(jnp.asarray(SEED))
    whole = np.kron(np.asarray(state.left, "float64"), np.asarray(state.right, "float64"))
    flips = np.asarray(signs(jnp.asarray(SEED), 0, 0, rows, "float32"), "float64")
    wanted = flips[:, None] * whole[:rows]
    np.testing.assert_allclose(explicit_of(m, state), wanted, atol=1e-6)
    norms = m.squared_norms(state, jnp.dtype("float32"))
    np.testing.assert_allclose(norms, np.sum(wanted**2, axis=0), rtol=1e-5)
    assert whole.shape[0] - rows < m.outer[1]
    if rows >= dim:
        assert np.linalg.matrix_rank(wanted) == dim


@pytest.mark.parametrize(
    ("dim", "nearest"), [(17, 16), (23, 22), (37, 36), (74, 75), (101, 100), (997, 996)]
)
def test_kron_refuses_a_dimension_without_near_factors_and_names_the_next(dim, nearest):
    like = jax.ShapeDtypeStruct((5000,), "float32")
    with pytest.raises(ValueError, match=rf"got {dim}; the nearest that does is {nearest}$"):
        subspace.kron(dim, like, jax.random.key(0))
    small, large = KronMap(nearest, 5000).inner
    assert small * large == nearest and large <= 16 * small


# Records ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_rebuilds_the_same_map(kind):
    again = subspace.rebuild(subspace.record(made(kind)), shapes())
    ours = images(again, np.eye(d + 1, d, dtype="float32"))
    np.testing.assert_array_equal(np.asarray(ours["w"])[:d].reshape(d, -1).T, matrix(kind)[27:])
