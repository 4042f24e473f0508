"""What nonlinear limits refuse, before anything is traced."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from theorylab import limits

X, Y = np.ones((4, 3), np.float32), np.ones((4, 1), np.float32)


def mean_field(activation=jnp.tanh, d_in=3, d_out=1, **options):
    return limits.mean_field(
        d_in, d_out, activation, **{"learning_rate": 0.1, "order": 4, **options}
    )


def conditioned(activation=jnp.tanh, width=16, depth=2, **options):
    options = {"learning_rate": 0.1, "capacity": 8, **options}
    return limits.conditioned_mlp(width, 3, 1, depth, activation, **options)


BOTH = pytest.mark.parametrize("make", [mean_field, conditioned])


@BOTH
@pytest.mark.parametrize("activation", [None, "tanh", 3.0])
def test_activations_must_be_functions(make, activation):
    with pytest.raises(TypeError, match="activation must be a function"):
        make(activation)


@BOTH
@pytest.mark.parametrize(
    ("activation", "match"),
    [
        (jnp.sign, "derivative is zero everywhere"),
        (jnp.round, "derivative is zero everywhere"),
        (lambda h: h > 0, "shape and dtype"),
        (lambda h: jnp.sum(h), "shape and dtype"),
        (jax.nn.softmax, "by itself"),
        (lambda h: jax.pure_callback(np.tanh, h, h), "derivative that JAX can take"),
    ],
)
def test_activations_must_act_on_entries_and_have_a_derivative(make, activation, match):
    with pytest.raises(ValueError, match=match):
        make(activation)


@pytest.mark.parametrize("optimizer", ["adam", "lion", "sign", "adafactor"])
def test_coordinate_wise_optimizers_are_refused_with_the_reason(optimizer):
    with pytest.raises(ValueError, match=f"{optimizer}.*does not commute with rotations"):
        conditioned(optimizer=optimizer)
    with pytest.raises(ValueError, match=f"{optimizer}.*there is a limit.*is implemented"):
        mean_field(optimizer=optimizer)


@BOTH
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", -1.0),
        ("momentum", 1.0),
        ("weight_decay", "much"),
        ("clip", np.ones(2)),
        ("clip", 0.0),
        ("sigma_u", -0.5),
        ("sigma_v", np.nan),
        ("bias", "yes"),
        ("sigma_b", -1.0),
    ],
)
def test_numbers_out_of_range_are_named(make, name, value):
    with pytest.raises(ValueError, match=name):
        make(**{name: value})


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"d_in": 0}, "d_in must be a positive"),
        ({"d_out": 1.5}, "d_out must be a positive"),
        ({"rule": "simpson"}, "rule must be one of"),
        ({"order": 0}, "order must be a positive"),
        ({"order": 1}, "order must be from 2 to 256"),
        ({"order": 257, "d_in": 1}, "order must be from 2 to 256"),
        ({"order": 65}, "order must be at most 64 in 4 dimensions"),
        ({"points": 1000}, "points must be a power of 2"),
    ],
)
def test_rules_of_the_mean_field_limit_are_checked(options, match):
    with pytest.raises(ValueError, match=match):
        mean_field(**options)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"width": 0}, "width must be a positive"),
        ({"width": 7}, "width must be at least capacity"),
        ({"depth": 0}, "depth must be a positive"),
        ({"capacity": 0}, "capacity must be a positive"),
    ],
)
def test_sizes_of_conditioned_networks_are_checked(options, match):
    with pytest.raises(ValueError, match=match):
        conditioned(**options)


def test_a_key_is_needed_where_the_limit_is_random():
    with pytest.raises(ValueError, match="needs a key"):
        conditioned().init()
    with pytest.raises(ValueError, match="needs a key"):
        mean_field(d_in=4).init()


@BOTH
def test_data_must_be_floating_and_of_the_right_shapes(make):
    limit = make()
    state = limit.init(jax.random.key(0))
    calls = (
        (TypeError, "x must be a real floating", lambda: limit.step(state, X.astype(int), Y)),
        (TypeError, "y must be a real floating", lambda: limit.step(state, X, Y.astype(int))),
        (TypeError, "x must be a real floating", lambda: limit.predict(state, X.astype(int))),
        (TypeError, "x must be", lambda: limits.features(limit, state, X.astype(int))),
        (ValueError, "x must have the shape", lambda: limit.predict(state, X[:, :2])),
        (ValueError, "x must have the shape", lambda: limit.step(state, X[:0], Y[:0])),
        (ValueError, "y must have the shape", lambda: limit.step(state, X, Y[:, 0])),
        (ValueError, "as many rows", lambda: limit.step(state, X, Y[:3])),
    )
    for error, match, call in calls:
        with pytest.raises(error, match=match):
            call()


def test_features_are_those_of_nonlinear_limits_and_kernels_those_of_one_network():
    with pytest.raises(TypeError, match="mean_field or conditioned_mlp"):
        limits.features(limits.linear_mup(3, 1, learning_rate=0.1), None, X)
    found = [
        limits.features(limit, limit.init(), X)[1]
        for limit in (mean_field(order=4), mean_field(order=5))
    ]
    with pytest.raises(ValueError, match="of one network"):
        limits.kernels(*found)
