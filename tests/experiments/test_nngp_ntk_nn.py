"""Kernels and networks by training size: identities that notice errors, protocols, claims."""

import dataclasses
import doctest
import importlib

import numpy as np
import pytest

from experiments import _claims, _networks, nngp_ntk_nn
from experiments import _nngp_ntk_nn_identities as exact
from experiments import _nngp_ntk_nn_networks as networks
from experiments._progress import Progress
from theorylab import predict

SMOKE = nngp_ntk_nn.PRESETS["smoke"]


@pytest.fixture(scope="module")
def arrays():
    found = nngp_ntk_nn.run(SMOKE, Progress())
    return {name: np.asarray(value) for name, value in found.items()}


def verdicts(arrays, preset):
    return {claim.name: _claims.verdict(claim, preset) for claim in nngp_ntk_nn.claims(arrays)}


def ideal(arrays, **changed):
    """Return arrays whose accuracies rise through the paper's numbers."""
    arrays = dict(arrays) | {"sizes": np.array([100, 1000, 4000])}
    for name in nngp_ntk_nn.METHODS:
        middle = changed.get(name, 0.926)
        last = changed.get(f"{name}_last", 0.96)
        arrays[f"{name}_accuracy"] = np.repeat([[0.8], [middle], [last]], 3, axis=1)
    return arrays


def test_the_smoke_preset_passes_its_identities_and_tests_nothing_else(arrays):
    found = verdicts(arrays, "smoke")
    assert sorted(found.values()) == ["not tested"] * 5 + ["pass"] * 5
    assert all(np.isfinite(value).all() for name, value in arrays.items() if name != "data")
    for name in nngp_ntk_nn.METHODS:
        assert arrays[f"{name}_accuracy"].shape == (2, 2)


@pytest.mark.parametrize(
    ("changed", "misses"),
    [({}, 0), ({"nngp": 0.89}, 1), ({"nn": 0.96}, 1), ({"ntk": 0.5}, 0), ({"nn": np.nan}, 1),
     ({"nngp_last": 0.7}, 1), ({"ntk_last": 0.7}, 1), ({"nn_last": 0.7}, 1)],
)  # fmt: skip
def test_claims_bind_in_quick_and_can_fail(arrays, changed, misses):
    found = list(verdicts(ideal(arrays, **changed), "quick").values())
    assert (found.count("MISS"), found.count("pass")) == (misses, 10 - misses)


@pytest.mark.parametrize("name", ["flow", "cholesky", "posterior", "left_out", "readout"])
def test_an_identity_that_is_off_is_a_miss_in_every_preset(arrays, name):
    for preset in ("smoke", "quick", "paper"):
        for wrong in (1e-8, np.nan):
            spoiled = ideal(arrays) | {f"identity_{name}": np.asarray(wrong)}
            assert list(verdicts(spoiled, preset).values()).count("MISS") == 1


def test_the_identities_notice_wrong_predictions(monkeypatch):
    flow, posterior, left_out = predict.gradient_flow, predict.posterior, predict.leave_one_out
    digits = _networks.images(30, 20)
    monkeypatch.setattr(
        exact.predict, "gradient_flow", lambda k, y, *, ridge: flow(k, y, ridge=1.001 * ridge)
    )
    monkeypatch.setattr(
        exact.predict,
        "leave_one_out",
        lambda k, y, *, ridge: y - k @ np.linalg.solve(k + ridge * np.eye(len(k)), y),
    )
    found = exact.identities(digits, 0)
    assert min(found["identity_flow"], found["identity_left_out"]) > 1e-8
    assert max(found["identity_posterior"], found["identity_readout"]) < 1e-10
    monkeypatch.setattr(exact.predict, "leave_one_out", left_out)
    monkeypatch.setattr(
        exact.predict, "posterior", lambda *args, noise: posterior(*args, noise=1.001 * noise)
    )
    found = exact.identities(digits, 0)
    assert min(found["identity_posterior"], found["identity_readout"]) > 1e-8
    assert found["identity_left_out"] < 1e-10


def test_kernel_predictions_are_those_of_solving_with_the_ridge_that_was_chosen():
    digits = _networks.images(100, 100)
    kernel = networks.limit(digits.x_train, digits.x_test)
    config = dataclasses.replace(SMOKE, ridges=(1e-3, 1e-1, 10.0))
    for name in nngp_ntk_nn.KERNELS:
        found = nngp_ntk_nn.regressed(name, kernel, digits, 20, 0, config)
        train = networks.order(100, 0, config)[:20]
        gram = kernel[name][np.ix_(train, train)].astype(float)
        y = np.eye(10)[digits.y_train[train]] - 0.1
        errors = []
        for ridge in config.ridges:
            inverse = np.linalg.inv(gram + ridge * gram.diagonal().mean() * np.eye(20))
            errors.append(np.square(inverse @ y / inverse.diagonal()[:, None]).mean())
            if ridge == found["ridge"]:
                told = kernel[f"{name}_test"][:, train] @ inverse @ y
        best = int(np.argmin(errors))
        assert config.ridges[best] == found["ridge"]
        assert float(found["left_out"]) == pytest.approx(errors[best], rel=1e-4)
        assert found["accuracy"] == np.mean(told.argmax(1) == digits.y_test)
        wanted = np.eye(10)[digits.y_test] - 0.1
        assert float(found["error"]) == pytest.approx(np.square(told - wanted).mean(), rel=1e-4)


def test_training_sets_of_a_seed_are_nested_and_those_of_seeds_differ():
    config = nngp_ntk_nn.Config()
    first, second = (networks.order(100, seed, config) for seed in (0, 1))
    assert sorted(first) == sorted(second) == list(range(100))
    assert (first != second).any()
    np.testing.assert_array_equal(first, networks.order(100, 0, config))


def test_networks_start_from_zero_and_learn_their_training_images():
    digits = _networks.images(100, 100)
    still = networks.trained(digits, 20, 0, dataclasses.replace(SMOKE, rates=(0.0,)))
    assert float(still["error"]) == pytest.approx(0.09, rel=1e-5)  # of the outputs 0
    end = networks.trained(digits, 20, 0, dataclasses.replace(SMOKE, rates=(3e-3,)))
    assert end["train_accuracy"] > 0.9


def test_of_several_rates_the_best_on_held_out_images_is_taken_whatever_the_test_images():
    digits = _networks.images(100, 100)
    config = dataclasses.replace(SMOKE, rates=(10.0, 1e-9))
    found = networks.trained(digits, 100, 0, config)
    assert found["rate"] == 1e-9
    blind = networks.trained(digits._replace(y_test=0 * digits.y_test), 100, 0, config)
    assert blind["rate"] == 1e-9


def test_with_all_images_kernels_are_solved_once(arrays, monkeypatch):
    labels = []

    class Counting(Progress):
        def stage(self, label, fn):
            labels.append(label)
            return super().stage(label, fn)

    cell = {"accuracy": np.ones(()), "error": np.ones(())}
    monkeypatch.setattr(nngp_ntk_nn, "regressed", lambda *args: cell)
    monkeypatch.setattr(nngp_ntk_nn, "trained", lambda *args: cell)
    monkeypatch.setattr(nngp_ntk_nn, "identities", lambda *args: {})
    monkeypatch.setattr(nngp_ntk_nn, "limit", lambda *args: {})
    nngp_ntk_nn.run(SMOKE, Counting())
    assert len(labels) == len(set(labels)) == 2 + 2 * 3 + 4
    assert set(labels) <= set(nngp_ntk_nn._costs(SMOKE))
    assert (arrays["ntk_accuracy"][-1] == arrays["ntk_accuracy"][-1, 0]).all()


def test_sizes_that_do_not_increase_are_refused():
    with pytest.raises(ValueError, match=r"sizes must increase, got \(40, 20\)"):
        nngp_ntk_nn.run(dataclasses.replace(SMOKE, sizes=(40, 20)), Progress())


def test_the_figure_has_words(arrays):
    assert "SHA-256" in nngp_ntk_nn.caption(arrays)
    assert "No order is claimed" in nngp_ntk_nn.caption(arrays)
    assert "Three panels" in nngp_ntk_nn.alt(arrays)


def test_the_figure_is_drawn(arrays, tmp_path, monkeypatch):
    from experiments import _figures

    monkeypatch.setattr(_figures, "PNG_DPI", 60)
    _figures.draw(nngp_ntk_nn, arrays, "Data: MNIST.", tmp_path)
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000


def test_the_numbers_of_the_paper_are_the_same_in_claims_and_figure():
    figure = importlib.import_module("experiments._nngp_ntk_nn_figure")
    assert figure.KNOWN == nngp_ntk_nn.IN_TABLE_1
    assert figure.KNOWN_SIZE == nngp_ntk_nn.PAPER_SIZE


def test_the_examples_are_true():
    assert doctest.testmod(networks).failed == 0
