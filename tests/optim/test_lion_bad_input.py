"""What does not fit is refused with the argument, the rule and the value."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from theorylab import optim
from theorylab.optim import kappas

L1 = kappas.l1()
X = jnp.ones((2, 3))


def loss(x):
    return jnp.sum(x**2)


KAPPA_CALLS = {
    "lp below 1": (lambda: kappas.lp(0.5), ValueError, "p must be at least 1 for a norm, got 0.5"),
    "lp of inf": (
        lambda: kappas.lp(np.inf),
        ValueError,
        "p must be finite, got inf; kappas.linf()",
    ),
    "lp of NaN": (lambda: kappas.lp(np.nan), ValueError, "p must be finite, got nan"),
    "lp of words": (lambda: kappas.lp("2"), TypeError, "p must be a number, got '2' (str)"),
    "lp of an array": (lambda: kappas.lp(jnp.array(2.0)), TypeError, "p must be a number, got"),
    "power of 1": (lambda: kappas.power(1), ValueError, "p must be above 1, got 1; kappas.l1()"),
    "soft of 0": (lambda: kappas.soft(0), ValueError, "e must be positive, got 0"),
    "huber": (lambda: kappas.huber(-1.0), ValueError, "e must be positive, got -1.0"),
    "relativistic": (lambda: kappas.relativistic(np.inf), ValueError, "e must be finite, got inf"),
    "logcosh": (lambda: kappas.logcosh(0.0), ValueError, "b must be positive, got 0.0"),
    "logcosh of True": (lambda: kappas.logcosh(True), TypeError, "b must be a number, got True"),
    "top 0": (lambda: kappas.top_k(0), ValueError, "k must be at least 1, got 0"),
    "top 1.5": (lambda: kappas.top_k(1.5), TypeError, "k must be a whole number, got 1.5 (float)"),
    "group of a name": (
        lambda: kappas.group("rows"),
        TypeError,
        "axis must be a whole number or a",
    ),
    "group of a list": (lambda: kappas.group([0, 1]), TypeError, "a tuple of them, got [0, 1]"),
    "group twice": (lambda: kappas.group((0, 0)), ValueError, "none twice, got (0, 0)"),
    "group of none": (lambda: kappas.group(()), ValueError, "at least one axis and none twice"),
    "group twice in an array": (
        lambda: kappas.group((0, -2)).grad(X),
        ValueError,
        "axis must name no axis twice, got axis=(0, -2) for the shape (2, 3)",
    ),
    "group of an axis that is not there": (
        lambda: kappas.group(2).value(X),
        ValueError,
        "axis must name axes of every array, got axis=2 for the shape (2, 3)",
    ),
    "method": (
        lambda: kappas.nuclear(method="qr"),
        ValueError,
        "'svd' or 'newton_schulz', got 'qr'",
    ),
    "smallest": (
        lambda: kappas.nuclear(method="newton_schulz", smallest=1.0),
        ValueError,
        "smallest must lie in (0, 1), got 1.0",
    ),
    "integers": (
        lambda: L1.grad(np.arange(3)),
        TypeError,
        "the array that a Kappa acts on must be a real floating-point array",
    ),
    "complex numbers": (lambda: L1.value(1j * X), TypeError, "complex dtype complex64"),
    "a Kappa of no functions": (
        lambda: kappas.Kappa(value=1.0, grad=jnp.sign, conjugate=loss),
        TypeError,
        "value of a Kappa must be a function, got 1.0",
    ),
    "a Kappa without conjugate": (
        lambda: kappas.Kappa(value=loss, grad=jnp.sign, conjugate=None),
        TypeError,
        "conjugate of a Kappa must be a function, got None",
    ),
}

LION_CALLS = {
    "kappas.l1 without parentheses": (
        lambda: optim.lion_k(0.1, kappas.l1),
        TypeError,
        "kappa must be a Kappa, got the function l1; call it first, e.g. kappas.l1()",
    ),
    "a name": (
        lambda: optim.scale_by_lion_k("l1"),
        TypeError,
        "kappa must be a Kappa, e.g. kappas.l1(), got 'l1' (str)",
    ),
    "b1": (lambda: optim.lion_k(0.1, L1, 1.0), ValueError, "b1 must lie in [0, 1), got 1.0"),
    "b2": (lambda: optim.lion_k(0.1, L1, b2=-0.1), ValueError, "b2 must lie in [0, 1), got -0.1"),
    "b2 NaN": (
        lambda: optim.lion_k(0.1, L1, b2=np.nan),
        ValueError,
        "b2 must lie in [0, 1), got nan",
    ),
    "b1 None": (lambda: optim.lion_k(0.1, L1, None), TypeError, "b1 must be a number, got None"),
    "b1s": (
        lambda: optim.scale_by_lion_k(L1, np.array([0.9, 0.8])),
        TypeError,
        "b1 must be a number, got an array of float64, shape (2,)",
    ),
    "decay": (
        lambda: optim.lion_k(0.1, L1, weight_decay=-1e-3),
        ValueError,
        "weight_decay must be finite and not negative, got -0.001",
    ),
    "rate": (
        lambda: optim.lion_k(np.inf, L1),
        ValueError,
        "learning_rate must be finite and not negative, got",
    ),
    "no rate": (lambda: optim.lion_k(None, L1), TypeError, "learning_rate must be a number"),
    "mu_dtype": (
        lambda: optim.lion_k(0.1, L1, mu_dtype="int8"),
        ValueError,
        "mu_dtype must be one of bfloat16, float16, float32, float64, got int8",
    ),
    "mu_dtype of no type": (
        lambda: optim.lion_k(0.1, L1, mu_dtype="half a float"),
        TypeError,
        "mu_dtype must be a dtype or None, got 'half a float'",
    ),
    "integer parameters": (
        lambda: optim.lion_k(0.1, L1).init({"a": X, "b": [X, jnp.arange(3)]}),
        TypeError,
        "params['b'][1] must be a real floating-point array, got int32; optax.masked",
    ),
    "complex gradients": (
        lambda: optim.scale_by_lion_k(L1).update({"a": 1j * X}, state_of({"a": X})),
        TypeError,
        "updates['a'] must be a real floating-point array, got complex64",
    ),
    "another tree": (
        lambda: optim.scale_by_lion_k(L1).update({"a": X}, state_of({"b": X})),
        ValueError,
        "the structure of the momentum of the state; missing: updates['b']",
    ),
    "another shape": (
        lambda: optim.scale_by_lion_k(L1).update({"a": X}, state_of({"a": X[0]})),
        ValueError,
        "updates['a'] must have the shape of its twin in the momentum of the state, (3,), got",
    ),
}


def state_of(params):
    return optim.scale_by_lion_k(L1).init(params)


def lyapunov(f=loss, kappa=L1, **changed):
    return optim.lyapunov(f, kappa, **{"b1": 0.9, "b2": 0.99, "weight_decay": 0.5} | changed)


LYAPUNOV_CALLS = {
    "no function": (lambda: lyapunov(f=X), TypeError, "f must be a function of the parameters"),
    "no Kappa": (
        lambda: lyapunov(kappa=kappas.l2),
        TypeError,
        "got the function l2; call it first",
    ),
    "b1": (lambda: lyapunov(b1=1.0), ValueError, "b1 must lie in [0, 1), got 1.0"),
    "b2": (lambda: lyapunov(b2=2), ValueError, "b2 must lie in [0, 1), got 2"),
    "decay": (lambda: lyapunov(weight_decay=-1), ValueError, "weight_decay must be finite and not"),
    "rate": (
        lambda: lyapunov(learning_rate=-1),
        ValueError,
        "learning_rate must be finite and not",
    ),
    "rate times decay": (
        lambda: lyapunov(learning_rate=2.0),
        ValueError,
        "learning_rate times weight_decay must be below 1, got 2.0 and 0.5",
    ),
    "smoothness without rate": (
        lambda: lyapunov(smoothness=1.0),
        ValueError,
        "smoothness needs a learning_rate",
    ),
    "smoothness": (
        lambda: lyapunov(learning_rate=0.1, smoothness=-1.0),
        ValueError,
        "smoothness must be finite and not negative, got -1.0",
    ),
    "another momentum": (
        lambda: lyapunov()(X, X[0]),
        ValueError,
        "m must have the shape of its twin in x, (2, 3), got (3,)",
    ),
    "integers": (
        lambda: lyapunov()(jnp.arange(3), X),
        TypeError,
        "x must be a real floating-point",
    ),
    "objective of no function": (
        lambda: optim.objective(1.0, L1, 0.1),
        TypeError,
        "f must be a function of the parameters, got 1.0",
    ),
    "objective with a negative decay": (
        lambda: optim.objective(loss, L1, -0.1),
        ValueError,
        "weight_decay must be finite and not negative, got -0.1",
    ),
}

CALLS = {
    f"{room}: {name}": call
    for room, calls in (
        ("kappas", KAPPA_CALLS),
        ("lion_k", LION_CALLS),
        ("lyapunov", LYAPUNOV_CALLS),
    )
    for name, call in calls.items()
}


@pytest.mark.parametrize("name", CALLS)
def test_what_does_not_fit_raises_and_says_why(name):
    call, error, message = CALLS[name]
    with pytest.raises(error, match=re.escape(message)):
        call()


def test_under_jit_and_injected_rates_values_are_not_looked_at():
    def moved(b1):
        tx = optim.lion_k(0.1, L1, b1, weight_decay=b1)
        return tx.update(X, tx.init(X), X)[0]

    assert np.isfinite(jax.jit(moved)(0.9)).all()
    injected = optax.inject_hyperparams(optim.lion_k)(0.1, L1)
    assert set(injected.init(X).hyperparams) == {"learning_rate", "b1", "b2", "weight_decay"}


def test_updates_without_parameters_raise_where_something_decays():
    tx = optim.lion_k(0.1, L1)
    with pytest.raises(ValueError, match="params"):
        tx.update(X, tx.init(X))
