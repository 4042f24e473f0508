"""Mistakes that programs of SOAP have had: for each an identity that the mistake breaks.

One program for all: a matrix, whose bases turn, and a vector, which has none and is Adam's.
"""

import numpy as np
import pytest

from tests.optim.soap_runs import run

CALLS, LR, B1, B2, FREQUENCY = 10, 0.1, 0.9, 0.8, 3
EVERY = range(1, CALLS)  # calls that move something, from 0
REFRESHED = [call for call in EVERY if call % FREQUENCY == 0]
SHAPES = {"b": (4,), "w": (3, 3)}


def found(grads, eps=1e-8):
    """Our run on these gradients from zeros, without decay."""
    init = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    fed = {name: np.zeros((CALLS, *shape)) for name, shape in SHAPES.items()} | grads
    numbers = {"learning_rate": LR, "b1": B1, "b2": B2, "shampoo_beta": 0.7, "eps": eps}
    return run(init, fed, precondition_frequency=FREQUENCY, weight_decay=0.0, **numbers)


def averages(x, beta):
    """What an average that starts at 0 with call 2 has become after each call, (CALLS, ...)."""
    out = [np.zeros_like(x[0])]
    for value in x[1:]:
        out.append(beta * out[-1] + (1 - beta) * value)
    return np.stack(out)


@pytest.fixture
def gradients():
    return np.random.default_rng(0).normal(size=(CALLS, 3, 3))


def test_v_takes_the_gradient_in_every_call_and_not_at_refreshes_alone(x64, gradients):
    seen = found({"w": gradients})
    left, right = seen.bases[1]
    nu = seen.nu["w"]
    for call in EVERY:
        turned = left[call - 1].T @ gradients[call] @ right[call - 1]
        new = B2 * nu[call - 1] + (1 - B2) * turned**2
        if call in REFRESHED:  # it moves with the columns besides
            assert np.allclose(np.sort(nu[call], None), np.sort(new, None), rtol=0, atol=1e-12)
        else:
            assert np.abs(nu[call] - new).max() <= 1e-12
        assert nu[call].max() > 0.01


def test_the_correction_of_bias_does_not_count_the_call_that_was_skipped(x64):
    # One gradient over and over: corrected averages are g and g^2 from the first of them on.
    g = np.array([3.0, -1.0, 0.5, -0.2])
    path = found({"b": np.tile(g, (CALLS, 1))}).params["b"]
    steps = np.diff(path, axis=0)
    assert np.array_equal(steps[0], np.zeros(4))
    assert np.abs(steps[1:] + LR * np.sign(g)).max() <= 1e-6  # eps = 1e-8, before the correction


def test_eps_is_added_to_the_root_of_v_before_the_correction_and_is_no_floor(x64):
    # eps of the size of sqrt(v): a floor, or eps after the correction, is another number.
    eps = 0.5
    g = np.random.default_rng(1).normal(size=(CALLS, 4))
    steps = np.diff(found({"b": g}, eps).params["b"], axis=0)
    m, v = averages(g, B1), averages(g**2, B2)
    root = np.sqrt(v)
    assert np.any(root[1:] > eps) and np.any(root[1:] < eps)
    for call in EVERY:
        size = LR * np.sqrt(1 - B2**call) / (1 - B1**call)
        assert np.abs(steps[call] + size * m[call] / (root[call] + eps)).max() <= 1e-12


def test_m_is_turned_into_the_new_basis_at_a_refresh(x64, gradients):
    seen = found({"w": gradients})
    left, right = seen.bases[1]
    for call in EVERY:
        plain = left[call] @ seen.mu["w"][call] @ right[call].T
        assert np.abs(plain - averages(gradients, B1)[call]).max() <= 1e-12
    for call in REFRESHED:  # and the basis did turn
        assert np.abs(np.abs(left[call].T @ left[call - 1]) - np.eye(3)).max() > 0.1


def test_v_goes_with_the_columns_of_a_basis_that_is_reordered(x64):
    # Diagonal gradients have unit vectors for eigenvectors, whose order changes as sizes do: SOAP
    # is Adam, one call late.
    growing = np.geomspace([4.0, 1.0, 0.1], [0.1, 1.0, 4.0], 6)[np.minimum(np.arange(CALLS), 5)]
    diagonal = growing * np.random.default_rng(2).choice([-1.0, 1.0], (CALLS, 3))
    seen = found({"w": np.stack([np.diag(d) for d in diagonal])})
    orders = [tuple(np.abs(seen.bases[1][0][call]).argmax(0)) for call in range(CALLS)]
    assert orders[0] == (0, 1, 2) and orders[-1] == orders[-3] == (2, 1, 0)
    m, v = averages(diagonal, B1), averages(diagonal**2, B2)
    steps = np.diff(seen.params["w"], axis=0)
    for call in EVERY:
        size = LR * np.sqrt(1 - B2**call) / (1 - B1**call)
        adam = np.diag(size * m[call] / (np.sqrt(v[call]) + 1e-8))
        assert np.abs(steps[call] + adam).max() <= 1e-12
