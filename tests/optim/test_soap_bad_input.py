"""What SOAP says to options and gradients that will not do, and what it does with hard ones."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from theorylab import optim

W = jnp.zeros((3, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"b1": 1.0}, r"b1 must lie in \[0, 1\), got 1.0"),
        ({"b2": -0.1}, r"b2 must lie in \[0, 1\), got -0.1"),
        ({"b1": "0.9"}, "b1 must be a number, got '0.9'"),
        ({"b1": float("nan")}, r"b1 must lie in \[0, 1\), got nan"),
        ({"shampoo_beta": 1.5}, r"shampoo_beta must lie in \[0, 1\), got 1.5"),
        ({"shampoo_beta": -1}, r"shampoo_beta must lie in \[0, 1\), got -1"),
        ({"eps": 0.0}, "eps must be finite and positive, got 0.0"),
        ({"precondition_frequency": 0}, "precondition_frequency must be at least 1, got 0"),
        ({"precondition_frequency": 2.5}, "precondition_frequency must be a whole number, got 2.5"),
        ({"max_precond_dim": 0}, "max_precond_dim must be at least 1, got 0"),
        ({"max_precond_dim": 10.0}, "max_precond_dim must be a whole number, got 10.0"),
        (
            {"max_precond_dim": jnp.int32(5)},
            "must be a Python int, got an array; with optax",
        ),
        ({"merge_dims": 1}, "merge_dims must be True or False, got 1"),
        ({"one_sided": True}, "one_sided must be one of False, 'auto', got True"),
        ({"refresh": "QR"}, "refresh must be one of 'qr', 'eigh', 'cholqr', got 'QR'"),
        ({"first_step": "warm"}, "first_step must be one of 'skip', 'adam', got 'warm'"),
        ({"data_format": "NHWC"}, "data_format must be one of 'channels_first', 'channels_last'"),
        ({"mu_dtype": "int8"}, "mu_dtype must be one of bfloat16, .*, got int8"),
        ({"mu_dtype": "floaty"}, "mu_dtype must be a dtype or None, got 'floaty'"),
        ({"precond_dtype": jnp.bfloat16}, "precond_dtype must be one of float32, float64"),
        ({"precond_dtype": "float64"}, "precond_dtype=float64 needs jax.config.update"),
    ],
)
def test_an_option_that_will_not_do_is_named(options, message):
    for make in (optim.scale_by_soap, lambda **o: optim.soap_memory(W, **o)):
        with pytest.raises((ValueError, TypeError), match=message):
            make(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": -1e-3}, "learning_rate must be finite and not negative, got -0.001"),
        ({"weight_decay": -0.1}, "weight_decay must be finite and not negative, got -0.1"),
        (
            {"decay_order": "before"},
            "decay_order must be one of .*, got 'before'",
        ),
        ({"mask": {"w": 1}}, r"mask\['w'\] must be True or False, got 1"),
        ({"eps": -1.0}, "eps must be finite and positive"),
    ],
)
@pytest.mark.parametrize("make", [optim.soap, optim.soap_blocks])
def test_an_option_of_the_whole_that_will_not_do_is_named(make, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make(**({"learning_rate": 1e-3} | options))


def test_blocks_need_a_frequency_that_is_known():
    with pytest.raises(TypeError, match="precondition_frequency decides shapes"):
        optim.soap_blocks(1e-3, precondition_frequency=jnp.int32(3))
    with pytest.raises(TypeError, match="unexpected keyword argument 'one_side'"):
        optim.soap_blocks(1e-3, one_side="auto")


@pytest.mark.parametrize("dtype", ["int32", "complex64", "bool"])
def test_leaves_that_are_not_real_and_floating_are_named(dtype):
    params = {"layer": [W, jnp.zeros(3, dtype)]}
    with pytest.raises(TypeError, match=rf"params\['layer'\]\[1\] must be a real .*, got {dtype}"):
        optim.soap(1e-3).init(params)
    state = optim.scale_by_soap().init({"layer": [W, jnp.zeros(3)]})
    with pytest.raises(
        TypeError,
        match=rf"updates\['layer'\]\[1\] must be a real .*, got {dtype}",
    ):
        optim.scale_by_soap().update(params, state)
    with pytest.raises(TypeError, match="params must be an array, got float"):
        optim.scale_by_soap().init(1.0)


def test_gradients_that_do_not_match_are_named():
    tx = optim.scale_by_soap()
    state = tx.init({"a": W, "b": jnp.zeros(3)})
    with pytest.raises(ValueError, match=r"missing: updates\['b'\]; not known: updates\['c'\]"):
        tx.update({"a": W, "c": jnp.zeros(3)}, state)
    with pytest.raises(
        ValueError,
        match=r"updates\['a'\] must have the shape of .* init, \(3, 2\), got \(2, 3\)",
    ):
        tx.update({"a": W.T, "b": jnp.zeros(3)}, state)
    with pytest.raises(ValueError, match="the state must come from an init with the same options"):
        optim.scale_by_soap(one_sided="auto").update({"a": W, "b": jnp.zeros(3)}, state)


def test_decay_without_the_parameters_says_what_to_pass():
    tx = optim.soap(1e-3)
    with pytest.raises(ValueError, match=r"call update\(gradients, state, params\)"):
        tx.update(W, tx.init(W))
    free = optim.soap(1e-3, weight_decay=0.0)
    free.update(W, free.init(W))


@pytest.mark.parametrize("first_step", ["skip", "adam"])
def test_zeros_thin_gradients_and_odd_leaves_give_numbers(first_step):
    tx = optim.soap(0.1, first_step=first_step, precondition_frequency=1)
    params = {
        "empty": jnp.zeros((0, 3)),
        "scalar": jnp.zeros(()),
        "thin": jnp.zeros((3, 2)),
        "tiny": jnp.zeros((3, 2)),
        "vector": jnp.zeros(3),
        "zero": jnp.zeros((3, 2)),
    }
    grads = jax.tree.map(jnp.ones_like, params) | {"zero": W, "tiny": jnp.full((3, 2), 1e-30)}
    call = jax.jit(tx.update)
    state, here = tx.init(params), params
    for _ in range(4):
        updates, state = call(grads, state, here)
        here = optax.apply_updates(here, updates)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((here, state)))
    assert not here["zero"].any()
    assert (here["scalar"] < 0) and (here["vector"] < 0).all()
    assert tx.update((), tx.init(()), ())[0] == ()


def test_a_gradient_that_is_not_finite_stays_out_of_the_factors():
    tx = optax.apply_if_finite(optim.soap(0.1), max_consecutive_errors=10)
    state, bare = tx.init(W), optim.soap(0.1)
    call = jax.jit(tx.update)
    good = jnp.ones((3, 2))
    for gradient in (good, good.at[0, 1].set(jnp.nan), good.at[1, 1].set(jnp.inf), good):
        updates, state = call(gradient, state, W)
        assert np.isfinite(updates).all()
    assert state.total_notfinite == 2
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.inner_state))
    # Without it one gradient is enough, which is why it is recommended.
    _, spoilt = bare.update(good * jnp.nan, bare.init(W), W)
    assert np.isnan(spoilt[0].factors[0]).all()
