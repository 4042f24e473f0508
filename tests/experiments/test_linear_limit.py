"""Networks, Gram matrices and their limit: claims that can fail, a figure with words."""

import doctest

import jax
import numpy as np
import pytest

from experiments import _claims, linear_limit
from experiments import _limit_networks as networks
from experiments._progress import Progress
from theorylab import limits

CONFIG = linear_limit.Config(
    widths=(32,), seeds=2, exponents=(5, 20), draws=3, steps=4, batch=4, components=3
)


@pytest.fixture(scope="module")
def arrays():
    with jax.enable_x64(True):
        found = linear_limit.run(CONFIG, Progress())
    return {name: np.asarray(value) for name, value in found.items()}


def laws(arrays, dense=-0.5, gram=-0.5, ratio=1.0):
    """Return the arrays with deviations that are powers of the width, of known slopes."""
    widths, exponents = np.array([32, 64, 128, 256]), np.array([6, 8, 20, 32])
    scatter = np.array([0.9, 1.0, 1.1])
    return dict(arrays) | {
        "widths": widths,
        "exponents": exponents,
        "deviation": ratio * np.outer((widths / 128.0) ** dense, scatter),
        "gram_deviation": np.outer((2.0**exponents / 128.0) ** gram, scatter),
    }


def missed(arrays, preset="quick"):
    found = linear_limit.claims(arrays)
    return [k for k, claim in enumerate(found) if _claims.verdict(claim, preset) == "MISS"]


def test_the_small_run_is_the_limit_where_it_is_exact_and_tests_no_slope(arrays):
    verdicts = [_claims.verdict(claim, "smoke") for claim in linear_limit.claims(arrays)]
    assert verdicts == ["not tested"] * 3 + ["pass"] * 2
    assert 0 < arrays["apart"] < 1e-14  # another way of computing, not the same one
    assert arrays["deviation"].shape == (1, 2) and arrays["gram_deviation"].shape == (2, 3)
    assert (arrays["gram_deviation"][1] < 0.02 * arrays["gram_deviation"][0].min()).all()


@pytest.mark.parametrize(
    ("off", "which"),
    [
        ({}, []),
        ({"dense": -0.57}, [0]),
        ({"dense": -0.43}, [0]),
        ({"gram": -0.506}, [1]),
        ({"gram": -0.494}, [1]),
        ({"ratio": 1.5}, [2]),
    ],
)
def test_a_slope_or_a_law_that_is_off_is_a_miss(arrays, off, which):
    assert missed(laws(arrays, **off)) == which


def test_an_identity_that_is_off_is_a_miss(arrays):
    for wrong in (1e-11, np.nan):
        assert missed(dict(arrays) | {"apart": np.asarray(wrong)}, "smoke") == [3]
    assert missed(dict(arrays) | {"status": np.asarray(2)}, "smoke") == [4]


def test_digits_are_centred_components_of_unit_size():
    x, y, x_test, y_test = networks.digits(5)
    assert x.shape == (1437, 5) and x_test.shape == (360, 5) and y_test.shape == (360, 10)
    np.testing.assert_allclose((x**2).sum(1).mean(), 1.0)
    covariance = x.T @ x
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-10)
    assert (np.diff(np.diag(covariance)) < 0).all()
    np.testing.assert_allclose(x.sum(0), 0.0, atol=1e-10)
    np.testing.assert_allclose(y.sum(1), 0.0, atol=1e-14)


def test_few_points_with_the_moments_of_all_train_alike(x64):
    x, y, x_test, _ = networks.digits(3)
    limit = limits.linear_mup(3, 10, learning_rate=0.3)
    ends = []
    for points in ((x, y), networks.compressed(x, y)):
        batches = [np.broadcast_to(a, (2, *a.shape)) for a in points]
        path, status = networks.limit_path(limit, *batches)()
        assert int(status) == 0
        ends.append(np.asarray(path[-1]))
    np.testing.assert_allclose(*ends, atol=1e-14)
    assert np.abs(ends[0]).max() > 0.05


def test_paths_of_finite_networks_are_those_of_gradient_descent_by_hand(x64):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 4, 2)), rng.normal(size=(2, 4, 3))
    limit = limits.linear_mup(2, 3, learning_rate=0.2)
    key = jax.random.key(1)
    path = networks.network_path(limit, 5, x, y)(key)
    params, _ = limits.finite_width_like(limit, 5, key)
    u, v = np.asarray(params["u"]), np.asarray(params["v"])
    for k in range(2):
        np.testing.assert_allclose(path[k], (v @ u).T, atol=1e-14)
        delta = (x[k] @ (v @ u).T - y[k]).T @ x[k] / 4
        u, v = u - 0.2 * v.T @ delta, v - 0.2 * delta @ u.T
    np.testing.assert_allclose(path[2], (v @ u).T, atol=1e-14)


def test_the_figure_has_words_and_is_drawn(arrays, tmp_path, monkeypatch):
    from experiments import _figures

    with_slopes = laws(arrays) | {"output": np.zeros((4, 3, 5))}
    assert "3 networks at each width from 32 to 256" in linear_limit.caption(with_slopes)
    assert "slope -0.500 for networks" in linear_limit.alt(with_slopes)
    monkeypatch.setattr(_figures, "PNG_DPI", 60)
    _figures.draw(linear_limit, with_slopes, "Data: digits.", tmp_path)
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000


def test_the_examples_are_true():
    assert doctest.testmod(networks).failed == 0
