"""Self-distillation: the published table, identities that notice errors, labels and weights."""

import doctest
import importlib
from functools import partial

import jax
import numpy as np
import pytest

from experiments import _claims, self_distillation
from experiments import _self_distillation_digits as digits
from experiments import _self_distillation_toy as toy
from experiments._progress import Progress
from theorylab import predict

SMOKE = self_distillation.PRESETS["smoke"]


@pytest.fixture(scope="module")
def arrays():
    with jax.enable_x64(True):
        found = self_distillation.run(SMOKE, Progress())
    return {name: np.asarray(value) for name, value in found.items()}


def verdicts(arrays, preset):
    return {
        claim.name: _claims.verdict(claim, preset) for claim in self_distillation.claims(arrays)
    }


def test_the_smoke_preset_passes(arrays):
    assert list(verdicts(arrays, "smoke").values()) == ["pass"] * 5 + ["not tested"] * 2


@pytest.mark.parametrize("preset", ["smoke", "quick", "paper"])
def test_a_number_that_is_off_is_one_miss_in_every_preset(arrays, preset):
    losses = arrays["toy_losses"].copy()
    losses[1, 3] += 1.1e-5  # one unit of the fifth decimal
    for field, wrong in (
        ("toy_losses", losses),
        ("identity_generations", 1e-9),
        ("identity_limit", np.nan),
        ("identity_weights", 1e-9),
    ):
        found = verdicts(arrays | {field: np.asarray(wrong)}, preset)
        assert list(found.values()).count("MISS") == 1


def test_the_published_column_belongs_to_another_weight_than_a_quarter(x64):
    losses = ((toy.curves(0.25) - toy.truth()) ** 2).mean(axis=1)
    assert 2e-3 < np.abs(losses - toy.PUBLISHED[1]).max() < 3e-3


def test_labels_are_replaced_at_the_share_asked_for_and_repeat():
    labels = np.arange(4000) % 10
    np.testing.assert_array_equal(digits.replaced(labels, 0.0, 0), labels)
    found = digits.replaced(labels, 0.3, 5)
    assert abs((found != labels).mean() - 0.27) < 0.03
    np.testing.assert_array_equal(digits.replaced(labels, 0.3, 5), found)
    assert (digits.replaced(labels, 0.3, 6) != found).any()
    assert set(digits.replaced(labels, 1.0, 0)) == set(range(10))


def test_validation_images_follow_the_training_images():
    whole = digits.digits(30, 5, 3)
    fewer = digits.digits(20, 10, 3)
    np.testing.assert_array_equal(fewer.x_val, whole.x_train[20:])
    np.testing.assert_array_equal(fewer.y_val, whole.y_train[20:])
    np.testing.assert_array_equal(fewer.x_test, whole.x_test)


@pytest.mark.parametrize("sizes", [(1400, 38, 5), (5, 0, 5), (5, 5, 361)])
def test_sizes_that_do_not_fit_are_refused(sizes):
    with pytest.raises(ValueError, match="train and val must fit into 1437 images"):
        digits.digits(*sizes)


@pytest.fixture
def small(x64):
    used = digits.digits(20, 10, 5)
    return partial(digits.identities, digits.kernels(used), used, used.y_train, SMOKE)


def test_the_identities_notice_another_ridge(small, monkeypatch):
    assert max(small().values()) < 1e-12
    real = predict.self_distillation
    monkeypatch.setattr(
        predict, "self_distillation",
        lambda k, y, *, ridge, **rest: real(k, y, ridge=1.001 * ridge, **rest),
    )  # fmt: skip
    found = small()
    assert min(found["generations"], found["limit"]) > 1e-6


def test_the_identities_notice_weights_that_are_not_the_best(small, monkeypatch):
    real = predict.distillation_weights

    def wrong(*args, **rest):
        found = real(*args, **rest)
        return found._replace(alpha=found.alpha * 0.5)

    monkeypatch.setattr(predict, "distillation_weights", wrong)
    assert small()["weights"] > 1e-6


def test_trouble_is_not_passed_on(monkeypatch):
    monkeypatch.setattr(
        predict, "self_distillation",
        lambda *args, **rest: predict.Distillation(*[None] * 4, predict.Status.NONFINITE, None),
    )  # fmt: skip
    with pytest.raises(ArithmeticError, match="self-distillation reports NONFINITE"):
        toy.curves(0.0)


def test_the_first_generation_is_the_same_for_every_weight_and_the_limit_of_one_is_too(arrays):
    for field in ("train", "val", "test"):
        first = arrays[f"noisy_{field}"][:, :, :1]
        np.testing.assert_allclose(first, np.broadcast_to(first[:, :1], first.shape), rtol=1e-12)
        alone = arrays[f"noisy_{field}"][:, SMOKE.alphas.index(1.0)]
        np.testing.assert_allclose(alone, np.broadcast_to(alone[:, :1], alone.shape), rtol=1e-12)


def test_the_figure_has_words(arrays):
    assert "Eleven noisy points" in self_distillation.caption(arrays)
    assert "Seven panels" in self_distillation.alt(arrays)


def test_the_figure_is_drawn(arrays, tmp_path, monkeypatch):
    from experiments import _figures

    monkeypatch.setattr(_figures, "PNG_DPI", 60)
    _figures.draw(self_distillation, arrays, "Data: digits.", tmp_path)
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["digits", "toy"])
def test_the_examples_are_true(name):
    module = importlib.import_module(f"experiments._self_distillation_{name}")
    assert doctest.testmod(module).failed == 0
