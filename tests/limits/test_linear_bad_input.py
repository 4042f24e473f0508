"""What the linear limits refuse, and the words they do it with."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from theorylab import limits

MAKERS = {
    "linear_mup": lambda **k: limits.linear_mup(3, 2, **{"learning_rate": 0.1} | k),
    "linear_gram": lambda **k: limits.linear_gram(64, 3, 2, **{"learning_rate": 0.1} | k),
    "deep_linear_mup": lambda **k: limits.deep_linear_mup(3, 2, 2, **{"learning_rate": 0.1} | k),
}
X, Y = jnp.ones((4, 3)), jnp.ones((4, 2))


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("optimizer", ["adam", "lion", "sign_sgd", "adafactor", "LAMB", "yogi"])
def test_coordinate_wise_optimizers_are_refused_with_the_reason(name, optimizer):
    with pytest.raises(ValueError, match=f"{optimizer}.*commute with rotations"):
        MAKERS[name](optimizer=optimizer)


@pytest.mark.parametrize(
    "optimizer", ["adamax", "nadam", "radam", "adabelief", "adadelta", "signum"]
)
def test_other_coordinate_wise_optimizers_are_refused_alike(optimizer):
    with pytest.raises(ValueError, match=f"{optimizer}.*no limit of this kind"):
        MAKERS["linear_mup"](optimizer=optimizer)


@pytest.mark.parametrize("optimizer", ["muon", "Shampoo", "full_shampoo", "soap"])
def test_optimizers_of_whole_matrices_are_refused_as_not_implemented(optimizer):
    with pytest.raises(
        ValueError, match=f"{optimizer}.*not implemented.*could have a limit"
    ) as one:
        MAKERS["linear_mup"](optimizer=optimizer)
    assert "no limit" not in str(one.value)


def test_an_optax_transformation_is_refused_with_both_reasons():
    for optimizer in (optax.adam(0.1), "lars", None):
        with pytest.raises(ValueError, match="no limit of this kind; others, as Muon"):
            MAKERS["linear_mup"](optimizer=optimizer)


def test_muon_as_others_have_it_commutes_with_rotations_of_the_hidden_layer():
    rng = np.random.default_rng(0)
    turn = jnp.asarray(np.linalg.qr(rng.normal(size=(6, 6)))[0], jnp.float32)
    gradients = jnp.asarray(rng.normal(size=(2, 6, 3)), jnp.float32)

    def steps(optimizer, turned):
        """Updates of two steps."""
        state, found = optimizer.init(gradients[0]), []
        for g in gradients:
            update, state = optimizer.update(turned @ g, state, gradients[0])
            found.append(update)
        return jnp.stack(found)

    muon, adam = optax.contrib.muon(0.1), optax.adam(0.1)
    straight, after = (steps(muon, q) for q in (jnp.eye(6), turn))
    assert jnp.abs(straight).max() > 0.01
    np.testing.assert_allclose(after, turn @ straight, atol=1e-5)
    assert jnp.abs(steps(adam, turn) - turn @ steps(adam, jnp.eye(6))).max() > 0.01


@pytest.mark.parametrize("name", MAKERS)
def test_options_out_of_range_are_named(name):
    make = MAKERS[name]
    for option, value in (
        ("learning_rate", -0.1),
        ("learning_rate", float("nan")),
        ("momentum", 1.0),
        ("weight_decay", -1.0),
        ("clip", -1.0),
        ("clip", 0.0),
        ("clip", jnp.zeros(())),
        ("sigma_u", -1.0),
        ("sigma_v", jnp.ones(2)),
        ("optimizer", "muon"),
    ):
        with pytest.raises(ValueError, match=option):
            make(**{option: value})


@pytest.mark.parametrize("name", MAKERS)
def test_data_that_are_no_floats_or_of_another_shape_are_refused(name):
    limit = MAKERS[name]()
    state = jax.jit(limit.init)(jax.random.key(0))
    for x in (jnp.ones((4, 3), int), np.ones((4, 3), complex), np.ones((4, 3), bool)):
        with pytest.raises(TypeError, match="x must be a real floating-point array"):
            limit.step(state, x, Y)
        with pytest.raises(TypeError, match="x must be a real floating-point array"):
            limit.predict(state, x)
    if name != "linear_gram":
        params, apply = limits.finite_width_like(limit, 8, jax.random.key(0))
        with pytest.raises(TypeError, match="x must be a real floating-point array"):
            apply(params, jnp.ones((4, 3), int))
    with pytest.raises(TypeError, match="y must be a real floating-point array"):
        limit.step(state, X, jnp.ones((4, 2), int))
    for x, y, words in (
        (X[:, :2], Y, r"x must have the shape \(n, 3\)"),
        (X[0], Y, r"x must have the shape \(n, 3\)"),
        (X[:0], Y[:0], "n > 0"),
        (X, Y[:, :1], r"y must have the shape \(n, 2\)"),
        (X, Y[:3], "as many rows"),
    ):
        with pytest.raises(ValueError, match=words):
            limit.step(state, x, y)


def test_data_finer_than_the_state_are_refused(x64):
    limit = MAKERS["linear_mup"]()
    state = limit.init(dtype="float32")
    with pytest.raises(TypeError, match=r"x is float64, and the state float32"):
        limit.predict(state, np.ones((4, 3)))
    for dtype in ("float16", "int32"):
        with pytest.raises(ValueError, match="dtype must be float32 or float64"):
            limit.init(dtype=dtype)


def test_widths_below_the_dimension_of_the_data_are_refused():
    for width, bias in ((4, None), (5, 1.0), (0, None), (-3, None)):
        with pytest.raises(ValueError, match="width must"):
            limits.linear_gram(width, 3, 2, learning_rate=0.1, bias=bias)
    limits.linear_gram(5, 3, 2, learning_rate=0.1)
    with pytest.raises(ValueError, match="width must be below 1e308"):
        limits.linear_gram(2**5000, 3, 2, learning_rate=0.1)
    with pytest.raises(ValueError, match="width"):
        limits.linear_gram(float("inf"), 3, 2, learning_rate=0.1)
    for width in (6.5, jnp.asarray(6.5)):
        with pytest.raises(ValueError, match="width must be a whole number, got 6.5"):
            limits.linear_gram(width, 3, 2, learning_rate=0.1)
    limit = MAKERS["linear_mup"]()
    with pytest.raises(ValueError, match="width must be at least 5"):
        limits.finite_width_like(limit, 4, jax.random.key(0), orthonormal=True)
    for width in (0, 2.5, True):
        with pytest.raises(ValueError, match="width must be a positive integer"):
            limits.finite_width_like(limit, width, jax.random.key(0))


def test_dimensions_and_capacities_are_checked():
    for make in (limits.linear_mup, lambda *d, **k: limits.deep_linear_mup(*d, 2, **k)):
        with pytest.raises(ValueError, match="d_in must be a positive integer"):
            make(0, 2, learning_rate=0.1)
        with pytest.raises(ValueError, match="d_out must be a positive integer"):
            make(3, 1.5, learning_rate=0.1)
    with pytest.raises(ValueError, match="depth must be a positive integer"):
        limits.deep_linear_mup(3, 2, 0, learning_rate=0.1)
    with pytest.raises(ValueError, match=r"capacity must be at least d_in \+ d_out = 5"):
        limits.deep_linear_mup(3, 2, 2, learning_rate=0.1, capacity=4)
    for tolerance in (-1e-3, 1.0, jnp.asarray(1e-3)):
        with pytest.raises(ValueError, match="tolerance must"):
            limits.deep_linear_mup(3, 2, 2, learning_rate=0.1, tolerance=tolerance)
    with pytest.raises(ValueError, match="batch must be a positive integer"):
        limits.deep_linear_capacity(3, 2, 2, 5, batch=0)


def test_a_random_limit_needs_its_key():
    with pytest.raises(ValueError, match="key must be given"):
        MAKERS["linear_gram"]().init()


def test_triples_of_others_have_no_finite_network():
    limit = MAKERS["linear_mup"]()
    key = jax.random.key(0)
    for foreign in (tuple(limit), limits.Limit(lambda: 0, limit.step, limit.predict), None):
        with pytest.raises(TypeError, match=r"limit must be one of theorylab\.limits"):
            limits.finite_width_like(foreign, 8, key)
        with pytest.raises(TypeError, match=r"limit must be one of theorylab\.limits"):
            limits.optimizer_like(foreign)
    with pytest.raises(TypeError, match="orthonormal"):
        limits.finite_width_like(MAKERS["deep_linear_mup"](), 8, key, orthonormal=True)


def test_maml_refuses_other_limits_and_tasks_that_do_not_fit():
    limit = MAKERS["linear_mup"]()
    state, tasks = limit.init(), (X[None], Y[None])
    two = jnp.stack([X, X]), jnp.stack([Y, Y])
    for arguments, words in (((tasks, two), "as many tasks"), (((X, Y), tasks), "support must")):
        with pytest.raises(ValueError, match=words):
            limits.maml_step(limit, state, *arguments, inner_rate=0.1)
    for option in ({"inner_rate": -1.0}, {"inner_rate": 0.1, "inner_steps": 0}):
        with pytest.raises(ValueError, match=list(option)[-1]):
            limits.maml_step(limit, state, tasks, tasks, **option)
    with pytest.raises(TypeError, match="limit must be linear_mup or linear_gram"):
        limits.maml_step(MAKERS["deep_linear_mup"](), state, tasks, tasks, inner_rate=0.1)
