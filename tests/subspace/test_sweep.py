"""A sweep equals its runs one by one, in one program, whole or in pieces."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._progress import Progress
from theorylab import subspace

DS = [1, 3, 4, 7]
TARGET = np.random.default_rng(0).standard_normal((7, 7)).astype(np.float32)


def descend(key, mask):
    """Gradient descent in masked coordinates, from a start that depends on the key."""
    start = jnp.cos(jax.random.key_data(key)[-1] * jnp.arange(7.0))

    def loss(theta):
        return jnp.mean((jnp.asarray(TARGET, mask.dtype) @ (theta * mask) - start) ** 2)

    step = jax.grad(loss)
    theta, _ = jax.lax.scan(lambda t, _: (t - 0.1 * step(t), None), jnp.zeros(7), None, length=20)
    return {"loss": loss(theta), "theta": theta * mask, "d": jnp.sum(mask).astype(jnp.int32)}


def one_by_one(seeds, ds=DS):
    mask = (np.arange(max(ds)) < np.array(ds)[:, None]).astype(np.float32)
    run = jax.jit(descend)
    rows = [[run(jax.random.key(seed), jnp.asarray(m)) for m in mask] for seed in seeds]
    return jax.tree.map(lambda *x: np.stack(x).reshape(len(seeds), len(ds), *x[0].shape),
                        *[run for row in rows for run in row])  # fmt: skip


@pytest.mark.parametrize("batch", [None, 1, 5, 100])
def test_a_sweep_equals_its_runs_one_by_one(batch):
    found = subspace.sweep(descend, DS, [3, 4, 5], batch=batch)
    expected = one_by_one([3, 4, 5])
    assert found["theta"].shape == (3, 4, 7)
    assert found["d"].tolist() == [DS] * 3
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6),
                 found, expected)  # fmt: skip
    assert jax.tree.map(lambda a: a.dtype, found) == jax.tree.map(lambda a: a.dtype, expected)
    losses = np.asarray(found["loss"])
    assert (losses[:, 0] > losses[:, -1]).all()  # the masks do something


@pytest.mark.parametrize("batch", [1, 5, 12])
def test_pieces_join_to_the_sweep_and_may_be_run_in_any_order(batch):
    pieces = subspace.sweep_pieces(descend, DS, [3, 4, 5], batch=batch)
    order = np.random.default_rng(1).permutation(pieces.n_pieces)
    parts = {int(i): jax.tree.map(np.asarray, pieces.run(int(i))) for i in order}
    found = pieces.join([parts[i] for i in range(pieces.n_pieces)])
    expected = subspace.sweep(descend, DS, [3, 4, 5], batch=batch)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6),
                 found, expected)  # fmt: skip
    pairs = np.concatenate([pieces.indices(i) for i in range(pieces.n_pieces)])
    assert pairs.tolist() == [[s, d] for s in range(3) for d in range(4)]
    assert all(len(pieces.indices(i)) == len(parts[i]["d"]) <= batch for i in parts)
    again = pieces.run(0)
    assert (np.asarray(again["theta"]) == parts[0]["theta"]).all()


def test_a_masked_theta_is_one_of_a_smaller_projection_of_the_same_key():
    params, theta = jnp.zeros(40), jnp.arange(1.0, 9.0)

    def train(key, mask):
        return subspace.hadamard(8, like=params, key=key).apply(theta * mask)

    found = subspace.sweep(train, [3, 8], [1], batch=1)
    small = subspace.hadamard(3, like=params, key=jax.random.key(1)).apply(theta[:3])
    np.testing.assert_allclose(found[0, 0], small, rtol=1e-5, atol=1e-6)
    assert np.abs(found[0, 1] - found[0, 0]).min() > 1e-4


@pytest.mark.parametrize("kind", [subspace.rotation, subspace.sketch])
def test_a_mask_freezes_weights_where_each_hears_one_coordinate(kind):
    p = kind(8, like=jnp.zeros(400), key=jax.random.key(0))
    moved = np.count_nonzero(p.apply(jnp.where(jnp.arange(8) < 2, 1.0, 0.0)))
    assert abs(moved - 100) < 30  # two of eight; all of them with the other kinds


def test_a_piece_may_be_asked_for_by_any_integer():
    keys = jax.random.wrap_key_data(jnp.zeros((100, 2), jnp.uint32))
    pieces = subspace.sweep_pieces(lambda key, mask: mask, [1, 2], keys, batch=np.int8(100))
    assert pieces.n_pieces == 2
    assert pieces.indices(np.int8(1))[-1].tolist() == [99, 1]  # 200 is no int8


def test_an_interrupted_sweep_goes_on_where_it_stopped_with_the_runners_stages(tmp_path):
    def metrics(progress, stop=None):
        pieces = subspace.sweep_pieces(lambda key, mask: {"d": jnp.sum(mask)}, DS, [0, 1], batch=3)
        parts, ran = [], []
        for i in range(pieces.n_pieces):
            if i == stop:
                return ran
            parts.append(progress.stage(f"runs {i}", lambda i=i: ran.append(i) or pieces.run(i)))
        return ran, pieces.join(parts)

    assert metrics(Progress(tmp_path), stop=2) == [0, 1]
    ran, found = metrics(Progress(tmp_path))
    assert ran == [2]
    assert found["d"].tolist() == [DS, DS]


@pytest.mark.parametrize("how", ["whole", "chunks", "pieces"])
def test_everything_is_traced_once(how):
    traces = []

    def train(key, mask):
        traces.append(mask.shape)
        return jnp.sum(mask)

    if how == "pieces":
        pieces = subspace.sweep_pieces(train, DS, [0, 1], batch=3)
        for i in range(pieces.n_pieces):
            pieces.run(i)
    else:
        subspace.sweep(train, DS, [0, 1], batch={"whole": None, "chunks": 3}[how])
    assert traces == [(7,)]


def test_what_depends_on_the_key_alone_is_not_repeated_for_each_dimension():
    def train(key, mask):
        return jnp.sum(jnp.sin(jnp.full((3,), jax.random.key_data(key)[1], float))) * mask[0]

    def run(keys):
        return subspace.sweep(train, range(1, 8), keys)

    inner = str(jax.make_jaxpr(run)(jax.random.split(jax.random.key(0), 2)))
    assert "f32[2,3] = sin" in inner
    assert "7,3] = sin" not in inner


def test_integers_keys_lists_of_keys_and_traced_keys_are_the_same_seeds():
    def train(key, mask):
        return jax.random.key_data(key)[-1] * mask[-1]

    keys = [jax.random.key(seed) for seed in (5, 9)]
    for seeds in (np.array([5, 9]), keys, jnp.stack(keys)):
        assert subspace.sweep(train, [1, 2], seeds).tolist() == [[0, 5], [0, 9]]
    traced = jax.jit(lambda keys: subspace.sweep(train, [1, 2], keys))(jnp.stack(keys))
    assert traced.tolist() == [[0, 5], [0, 9]]


def test_masks_are_float32_in_double_precision_too(x64):
    assert subspace.sweep(lambda key, mask: mask, [2], [0]).dtype == np.float32
    double = subspace.sweep(lambda key, mask: jnp.float64(1) * mask[0], [2], [0])
    assert double.dtype == np.float64


@pytest.mark.parametrize(
    ("ds", "message"),
    [
        ([0, 10], "ds must be at least 1, got 0.*direct training"),
        ([10, 10], "strictly increasing"),
        ([10, 5], "strictly increasing"),
        ([1.5], "whole numbers"),
        ([np.nan], "whole numbers"),
        ([], "non-empty"),
        ([[1, 2]], "non-empty list"),
        (["a"], "whole numbers"),
    ],
)
def test_grids_that_make_no_sense_are_refused(ds, message):
    with pytest.raises(ValueError, match=message):
        subspace.sweep(lambda key, mask: mask, ds, [0])


def test_other_bad_input_is_refused():
    for seeds in (3, [], [0.5], jax.random.key(0), np.zeros((2, 2), np.uint32)):
        with pytest.raises(ValueError, match="seeds must be"):
            subspace.sweep(lambda key, mask: mask, [1], seeds)
    for batch in (0, 1.5, True):
        with pytest.raises(ValueError, match="batch must be"):
            subspace.sweep(lambda key, mask: mask, [1], [0], batch=batch)
    with pytest.raises(TypeError, match="train must be"):
        subspace.sweep(3, [1], [0])
    pieces = subspace.sweep_pieces(lambda key, mask: mask, [1, 2], [0], batch=1)
    with pytest.raises(ValueError, match="pieces 0 to 1, got 2"):
        pieces.run(2)
    with pytest.raises(ValueError, match="all 2 pieces, got 1"):
        pieces.join([pieces.run(0)])
    with pytest.raises(ValueError, match="2 runs together, got 3"):
        pieces.join([pieces.run(0), np.zeros((2, 2))])
