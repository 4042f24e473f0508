"""wrap, project, init and lr_scale, scales by group, bases drawn again, what is refused."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from theorylab import subspace

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
PARAMS = {
    "dense": {"w": jnp.asarray(RNG.normal(size=(12, 30)), "float32"), "b": jnp.zeros(30)},
    "head": jnp.asarray(RNG.normal(size=(30, 5)) / 5, "float32"),
}
X = jnp.asarray(RNG.normal(size=(8, 12)), "float32")


def loss(params, x):
    hidden = jnp.tanh(x @ params["dense"]["w"] + params["dense"]["b"])
    return jnp.mean((hidden @ params["head"] - 1) ** 2)


def test_training_starts_at_theta0_exactly():
    p = subspace.hadamard(6, like=PARAMS, key=KEY)
    start = subspace.project(p, PARAMS, subspace.init(p))
    jax.tree.map(np.testing.assert_array_equal, start, PARAMS)
    np.testing.assert_array_equal(
        subspace.wrap(loss, p, PARAMS)(subspace.init(p), X), loss(PARAMS, X)
    )


def test_the_gradient_is_the_transpose_of_the_direct_one():
    p = subspace.hadamard(6, like=PARAMS, key=KEY)
    theta = jnp.linspace(-1, 1, 6)
    inside = jax.grad(subspace.wrap(loss, p, PARAMS))(theta, X)
    direct = jax.grad(loss)(subspace.project(p, PARAMS, theta), X)
    np.testing.assert_allclose(inside, p.transpose(direct), rtol=1e-5, atol=1e-7)


def test_second_derivatives_are_those_of_the_explicit_matrix():
    with jax.enable_x64(True):
        params = jax.tree.map(lambda x: x.astype("float64"), PARAMS)
        p = subspace.hadamard(4, like=params, key=KEY)
        inside = subspace.wrap(loss, p, params)
        matrix = jax.vmap(p.apply)(jnp.eye(4))

        def by_matrix(theta, x):
            delta = jax.tree.map(lambda m: jnp.tensordot(theta, m, 1), matrix)
            return loss(jax.tree.map(jnp.add, params, delta), x)

        theta, x = jnp.linspace(-1, 1, 4), X.astype("float64")
        for derive in (
            jax.hessian,
            lambda f: jax.jacfwd(jax.jacfwd(f)),
            lambda f: jax.jacrev(jax.jacrev(f)),
        ):
            np.testing.assert_allclose(
                derive(inside)(theta, x), derive(by_matrix)(theta, x), rtol=1e-9, atol=1e-12
            )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_leaves_are_added_to_in_float32_and_rounded_once(dtype):
    params = {"w": jnp.ones((20, 30), dtype)}
    p = subspace.hadamard(5, like=params, key=KEY)
    theta = 3 * jnp.ones(5)
    moved = subspace.project(p, params, theta)["w"]
    wide = subspace.hadamard(5, like={"w": jnp.ones((20, 30))}, key=KEY).apply(theta)["w"]
    assert moved.dtype == dtype
    np.testing.assert_array_equal(moved, (1 + wide).astype(dtype))
    gradient = jax.grad(subspace.wrap(lambda q: jnp.sum(q["w"].astype("float32")), p, params))(
        theta
    )
    assert gradient.dtype == jnp.float32


def test_what_the_mask_leaves_out_is_not_touched():
    params = {"w": jnp.ones((40, 5)), "step": jnp.array(3), "frozen": jnp.ones(7)}
    p = subspace.hadamard(4, like=params, key=KEY, mask={"w": True, "step": False, "frozen": False})
    moved = subspace.project(p, params, jnp.ones(4))
    assert p.size == 200
    assert moved["step"] is params["step"] and moved["frozen"] is params["frozen"]
    # An entry of P is a sum of signs: by chance, a weight may stay where it is.
    assert float(jnp.mean(moved["w"] != 1)) > 0.9
    delta = p.apply(jnp.ones(4))
    assert int(delta["step"]) == 0 and delta["step"].dtype == params["step"].dtype
    by_function = subspace.hadamard(
        4, like=params, key=KEY, mask=lambda tree: jax.tree.map(lambda x: x.ndim == 2, tree)
    )
    np.testing.assert_array_equal(by_function.apply(jnp.ones(4))["w"], delta["w"])


def test_with_the_scaled_rate_adam_moves_weights_as_far_as_direct_training_does():
    params = jnp.zeros(40_000)
    p = subspace.hadamard(100, like=params, key=KEY)
    rate = 0.01 * subspace.lr_scale(p)
    tx = optax.adam(rate)
    theta = subspace.init(p)
    updates, _ = tx.update(jnp.asarray(RNG.normal(size=100), "float32"), tx.init(theta), theta)
    moved = subspace.project(p, params, updates)
    assert subspace.lr_scale(p) == 20
    np.testing.assert_allclose(jnp.sqrt(jnp.mean(moved**2)), 0.01, rtol=1e-2)


def test_scales_multiply_the_leaves_of_their_group():
    p = subspace.hadamard(12, like=PARAMS, key=KEY)
    groups = {"dense": "hidden", "head": "out"}
    s = subspace.said(p, groups)
    theta = {"theta": jnp.linspace(-1, 1, 10), "lam": jnp.array([2.0, -3.0])}
    plain = p.apply(jnp.pad(theta["theta"], (0, 2)))
    found = s.apply(theta)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, 2 * b, rtol=1e-6), found["dense"], plain["dense"]
    )
    np.testing.assert_allclose(found["head"], -3 * plain["head"], rtol=1e-6)
    assert (s.d, s.count, s.labels) == (12, 2, ("hidden", "out"))
    assert subspace.lr_scale(s) == np.sqrt(p.size / 10)


def test_scales_are_trained_from_one():
    s = subspace.said(subspace.hadamard(12, like=PARAMS, key=KEY))
    theta = subspace.init(s)
    inside = subspace.wrap(loss, s, PARAMS)
    np.testing.assert_array_equal(inside(theta, X), loss(PARAMS, X))
    # At the start the derivative by lambda is zero, then it is not.
    gradient = jax.grad(inside)(theta, X)
    np.testing.assert_array_equal(gradient["lam"], 0)
    theta = jax.tree.map(lambda t, g: t - 0.1 * g, theta, gradient)
    assert float(jnp.abs(jax.grad(inside)(theta, X)["lam"]).max()) > 0
    assert float(inside(theta, X)) < float(loss(PARAMS, X))


def test_a_function_of_paths_may_name_groups():
    p = subspace.hadamard(12, like=PARAMS, key=KEY)
    s = subspace.said(p, lambda path: "dense" if "dense" in path else "head")
    assert s.groups == (0, 0, 1)


def test_bases_drawn_again_depend_on_the_step_alone():
    p = subspace.hadamard(5, like=PARAMS, key=KEY)
    eager = [subspace.redraw(p, step).apply(jnp.ones(5))["head"] for step in (0, 1)]
    _, looped = jax.lax.scan(
        lambda carry, step: (carry, subspace.redraw(p, step).apply(jnp.ones(5))["head"]),
        None,
        jnp.arange(2),
    )
    np.testing.assert_allclose(looped, jnp.stack(eager), atol=1e-7)
    assert float(jnp.abs(eager[0] - eager[1]).max()) > 0.01


def test_projected_updates_are_p_p_transpose_of_the_gradient_at_each_step():
    p = subspace.hadamard(5, like=PARAMS, key=KEY)
    tx = subspace.random_bases(p)
    gradient = jax.grad(loss)(PARAMS, X)
    state = tx.init(PARAMS)
    for step in range(2):
        basis = subspace.redraw(p, step)
        found, state = tx.update(gradient, state)
        expected = basis.apply(basis.transpose(gradient))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-7), found, expected)
    assert int(state.step) == 2


def test_random_bases_train_where_one_basis_of_that_size_cannot():
    # A quadratic of rank 40: from one basis of 5 columns most of it is out of reach.
    target = jnp.asarray(RNG.normal(size=40), "float32")

    def quadratic(x):
        return jnp.sum((x[:40] - target) ** 2)

    params = jnp.zeros(200)
    p = subspace.hadamard(5, like=params, key=KEY)
    tx = optax.chain(subspace.random_bases(p), optax.sgd(0.4))

    def step(carry, _):
        params, state = carry
        updates, state = tx.update(jax.grad(quadratic)(params), state)
        return (optax.apply_updates(params, updates), state), None

    (found, _), _ = jax.lax.scan(step, (params, tx.init(params)), None, length=400)
    matrix = np.asarray(jax.vmap(p.apply)(jnp.eye(5)))[:, :40].T
    best = np.linalg.lstsq(matrix, np.asarray(target), rcond=None)[1][0]
    assert float(quadratic(found)) < 0.01 * best


def test_nothing_is_promoted_by_accident(strict_promotion):
    mixed = {"w": jnp.zeros((20, 5), "bfloat16"), "b": jnp.zeros(5)}
    p = subspace.hadamard(6, like=mixed, key=KEY)
    both = subspace.said(p)
    theta = {"theta": jnp.ones(4), "lam": jnp.ones(2, "bfloat16")}
    for moved in (subspace.project(p, mixed, jnp.ones(6)), subspace.project(both, mixed, theta)):
        assert (moved["w"].dtype, moved["b"].dtype) == ("bfloat16", "float32")
    gradient = jax.grad(subspace.wrap(lambda q: jnp.sum(q["b"]), p, mixed))(jnp.ones(6))
    assert gradient.dtype == "float32"


def test_masks_and_groups_may_be_modules_of_equinox():
    eqx = pytest.importorskip("equinox")
    layer = eqx.filter(eqx.nn.Linear(3, 2, key=KEY), eqx.is_inexact_array)
    p = subspace.hadamard(2, layer, KEY, mask=jax.tree.map(lambda w: w.ndim > 1, layer))
    assert p.size == 6
    whole = subspace.hadamard(4, layer, KEY)
    assert subspace.said(whole, jax.tree.map(lambda w: w.ndim, layer)).groups == (0, 1)


def test_leaves_without_entries_are_not_moved():
    params = {"a": jnp.zeros((0, 3)), "b": jnp.zeros(600)}
    for scope in ("global", "leaf"):
        p = subspace.hadamard(3, like=params, key=KEY, scope=scope)
        moved = subspace.project(p, params, jnp.ones(3))
        assert p.size == 600 and moved["a"].shape == (0, 3)
        assert p.transpose(moved).shape == (3,)


@pytest.mark.parametrize("size", [3, 5, 6, 7])
def test_no_column_vanishes_where_no_block_is_whole(size):
    with pytest.warns(UserWarning, match="saves nothing"):
        projections = [
            subspace.hadamard(size, jnp.zeros(size), jax.random.key(k)) for k in range(20)
        ]
    assert min(float(p.scale.min()) for p in projections) > 0


# What is refused ---------------------------------------------------------------------------------

BAD_ARGUMENTS = [
    (dict(d=0), ValueError, r"d must be from 1 to D = 540, the number of parameters, got 0"),
    (dict(d=541), ValueError, r"d must be from 1 to D = 540"),
    (dict(d=2.0), TypeError, r"d must be an int, got 2.0"),
    (dict(d=np.int64(0)), ValueError, r"d must be from 1 to D = 540"),
    (dict(d=True), TypeError, r"d must be an int, got True"),
    (dict(scope="layer"), ValueError, r"scope must be 'global' or 'leaf', got 'layer'"),
    (dict(like={}), ValueError, r"like must hold parameters, but it has no leaves"),
    (dict(mask=False), ValueError, r"has no leaf that `mask` selects"),
    (
        dict(like={"n": jnp.arange(9)}),
        TypeError,
        r"like\['n'\] must be of real floating point, got int32",
    ),
    (dict(like={"n": jnp.ones(9, bool)}), TypeError, r"like\['n'\] .* got bool"),
    (dict(like={"f": jnp.tanh}), TypeError, r"like\['f'\] must be an array .*eqx.filter"),
    (dict(mask={"dense": True}), ValueError, r"mask must be a prefix of `like`"),
    (dict(mask={"dense": 1, "head": 1}), TypeError, r"mask must hold bools, got 1"),
    (dict(key=jnp.zeros(2, jnp.uint32)), TypeError, r"key must be a typed key"),
    (dict(key=jax.random.split(KEY)), ValueError, r"key must be one key, got an array"),
]


@pytest.mark.parametrize(("changed", "error", "message"), BAD_ARGUMENTS)
def test_bad_arguments_are_named(changed, error, message):
    arguments = {"d": 5, "like": PARAMS, "key": KEY} | changed
    with pytest.raises(error, match=message):
        subspace.hadamard(arguments.pop("d"), **arguments)


def test_more_than_half_of_the_parameters_warns():
    with pytest.warns(UserWarning, match="saves nothing"):
        subspace.hadamard(271, like=PARAMS, key=KEY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        subspace.hadamard(270, like=PARAMS, key=KEY)


def test_coordinates_and_trees_that_do_not_fit_are_named():
    p = subspace.hadamard(5, like=PARAMS, key=KEY)
    with pytest.raises(ValueError, match=r"theta_d must have the shape \(5,\), got \(4,\)"):
        p.apply(jnp.ones(4))
    with pytest.raises(TypeError, match="theta_d must be of real floating point, got int32"):
        p.apply(jnp.arange(5))
    with pytest.raises(ValueError, match=r"it lacks tree\['head'\]"):
        p.transpose({"dense": PARAMS["dense"]})
    with pytest.raises(ValueError, match=r"tree\['more'\] is new"):
        p.transpose(PARAMS | {"more": jnp.ones(3)})
    with pytest.raises(ValueError, match=r"params0\['head'\] must have the shape \(30, 5\)"):
        subspace.project(p, PARAMS | {"head": jnp.ones((30, 6))}, jnp.ones(5))
    for head in (jnp.ones((30, 5), int), jnp.ones((30, 5), complex)):
        with pytest.raises(TypeError, match=r"tree\['head'\] must be of real floating point"):
            p.transpose(PARAMS | {"head": head})
        with pytest.raises(TypeError, match=r"params0\['head'\] must be of real floating point"):
            subspace.project(p, PARAMS | {"head": head}, jnp.ones(5))
    with pytest.raises(TypeError, match="step must be an integer"):
        subspace.redraw(p, 1.5)


def test_bad_groups_and_coordinates_of_scales_are_named():
    p = subspace.hadamard(3, like=PARAMS, key=KEY)
    with pytest.raises(ValueError, match=r"got 3 groups and d = 3"):
        subspace.said(p)
    with pytest.raises(ValueError, match="groups must be a prefix"):
        subspace.said(p, {"dense": 0})
    with pytest.raises(TypeError, match=r"groups must give an int or a str for params\['head'\]"):
        subspace.said(p, {"dense": 0, "head": 1.5})
    with pytest.raises(TypeError, match="projection must be a Projection"):
        subspace.said(subspace.said(p, lambda path: 0))
    one = subspace.said(p, lambda path: 0)
    with pytest.raises(TypeError, match=r"must be \{'theta', 'lam'\}"):
        one.apply(jnp.ones(3))
    with pytest.raises(ValueError, match=r"theta_d\['lam'\] must have the shape \(1,\)"):
        one.apply({"theta": jnp.ones(2), "lam": jnp.ones(2)})
