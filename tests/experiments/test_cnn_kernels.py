"""Convolutional kernels on small digits: images, identities that notice errors, splits, claims."""

import doctest
import importlib

import numpy as np
import pytest

from experiments import _claims, cnn_kernels
from experiments import _cnn_kernels_networks as networks
from experiments._progress import Progress
from theorylab import data

SMOKE = cnn_kernels.PRESETS["smoke"]


@pytest.fixture(scope="module")
def arrays():
    found = cnn_kernels.run(SMOKE, Progress())
    return {name: np.asarray(value) for name, value in found.items()}


def verdicts(arrays, preset):
    return {claim.name: _claims.verdict(claim, preset) for claim in cnn_kernels.claims(arrays)}


def test_the_smoke_preset_passes(arrays):
    found = verdicts(arrays, "smoke")
    assert list(found.values()) == ["pass"] * 9, found


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *[(f"identity_{name}", value) for name in ("flatten", "gap", "shift")
          for value in (1e-9, np.nan)],
        *[(f"{name}_error", 2e-6) for name in networks.NAMES],
        *[(f"{name}_smallest", -2e-6) for name in networks.NAMES],
    ],
)  # fmt: skip
def test_a_number_that_is_off_is_one_miss_in_every_preset(arrays, field, wrong):
    for preset in ("smoke", "quick", "paper"):
        found = verdicts(arrays | {field: np.asarray(wrong)}, preset)
        assert list(found.values()).count("MISS") == 1


def test_images_are_means_of_nine_pixels_of_the_centre_centred_and_scaled():
    x, labels = networks.images(20)
    used = data.mnist(subset="5k")
    raw = used.x_train.astype(np.float64)
    assert x.shape == (20, 8, 8, 1)
    assert labels.tolist() == used.y_train[:20].tolist()
    row, column = 3, 5  # pixels 2 + 3 * 3 .. and 2 + 3 * 5 .. of the whole image
    means = raw[:, 11:14, 17:20].mean(axis=(1, 2))
    centred = means[:20] - means.mean()
    others = raw[:, 14:17, 14:17].mean(axis=(1, 2))
    ratio = x[:, row, column, 0] / x[:, 4, 4, 0]
    np.testing.assert_allclose(ratio, centred / (others[:20] - others.mean()), rtol=1e-4)
    np.testing.assert_allclose((x.astype(float) ** 2).sum(axis=(1, 2, 3)), 64, rtol=1e-5)


def test_the_identities_notice_a_network_that_sees_all_pixels_at_once(monkeypatch):
    def wrong(filters, padding, layers, end):
        return networks.network("fc", layers)

    monkeypatch.setattr(networks, "convolutional", wrong)
    found = networks.identities(networks.images(3)[0])
    assert min(found.values()) > 1e-6


def test_accuracies_of_a_kernel_that_knows_the_labels_are_perfect_and_splits_repeat():
    labels = networks.images(24)[1]
    known = 10.0 * (labels[:, None] == labels[None]) + np.eye(24)
    kernel = known.astype(np.float32)
    config = cnn_kernels.Config(images=24, sizes=(12,), tested=6, splits=4, checked=2)
    found = cnn_kernels.accuracies(
        {"nngp": kernel, "ntk": np.eye(24, dtype=np.float32)}, labels, config
    )
    again = cnn_kernels.accuracies({"nngp": kernel, "ntk": kernel}, labels, config)
    assert found["nngp"].shape == (1, 4)
    np.testing.assert_array_equal(again["nngp"], again["ntk"])
    np.testing.assert_array_equal(again["nngp"], found["nngp"])
    # A label that no training image has cannot be told.
    generator = np.random.default_rng(config.seed)
    for split in range(config.splits):
        order = generator.permutation(24)
        seen = np.isin(labels[order[-6:]], labels[order[:12]])
        assert found["nngp"][0, split] >= seen.mean() - 1e-9
    assert found["ntk"].mean() < 0.7


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="must fit into 24 images, got 20 and 12"):
        cnn_kernels.run(cnn_kernels.Config(images=24, sizes=(20,), tested=12), Progress())


def test_the_figure_has_words(arrays):
    assert "No order between the networks is claimed" in cnn_kernels.caption(arrays)
    assert "SHA-256" in cnn_kernels.caption(arrays)
    assert "Three panels" in cnn_kernels.alt(arrays)


def test_the_figure_is_drawn(arrays, tmp_path, monkeypatch):
    from experiments import _figures

    monkeypatch.setattr(_figures, "PNG_DPI", 60)
    _figures.draw(cnn_kernels, arrays, "Data: MNIST.", tmp_path)
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000


def test_the_examples_are_true():
    module = importlib.import_module("experiments._cnn_kernels_networks")
    assert doctest.testmod(module).failed == 0
