"""Dimensions of fine-tuning: claims that can fail, places of digits, a figure with words."""

import dataclasses

import numpy as np
import pytest

from experiments import _claims
from experiments import _finetuning_dimension_claims as measured
from experiments import _halved_digits as digits
from experiments import finetuning_dimension as module
from experiments._progress import Progress

# One small configuration and its program, compiled once for the tests that run it.
CONFIG = dataclasses.replace(module.PRESETS["smoke"], lengths=(0, 2), ds=(6, 20), steps=2)


@pytest.fixture(scope="module")
def tune():
    return module.program(CONFIG)


def made(by_length=(1000.0, 500.0, 250.0), by_width=(1.2, 1.0, 0.8), centred=(300, 290, 280)):
    """Return accuracies that rise to 0.8 and cross 0.72 at d90; three widths, lengths and seeds."""
    ds = np.array([32, 64, 128, 256, 512, 1024, 2048])
    rates = np.array([0.01, 0.1])

    def curves(d90):
        rise = 1 - 0.1 ** (ds / np.asarray(d90, float)[..., None])
        noise = 0.002 * np.array([-1.0, 0.0, 1.0])[:, None, None]
        out = 0.8 * rise[..., None, :, None] + noise
        return np.concatenate([out, out - 0.3], -1)

    def full(shape):
        return np.broadcast_to([0.8, 0.5], (*shape, 3, 2))

    arrays = {
        "widths": np.array([32, 64, 128]),
        "lengths": np.array([0, 300, 3000]),
        "ds": ds,
        "rates": rates,
        "said_apart": np.array(0.0),
        "masked_apart": np.array(0.0),
    }
    cells = {
        "placed_DID": np.outer(by_width, by_length),
        "placed_SAID": 0.9 * np.array([by_length]),
        "centred_DID": np.array([centred], float),
    }
    for name, d90 in cells.items():
        for what in ("validation", "test"):
            arrays[f"{name}_{what}"] = curves(d90)
            arrays[f"{name}_full_{what}"] = full(d90.shape)
    return arrays


def missed(arrays, preset="quick"):
    found = module.claims(arrays)
    return [k for k, claim in enumerate(found) if _claims.verdict(claim, preset) == "MISS"]


def test_d90_that_falls_passes_and_others_miss():
    assert missed(made()) == []
    assert missed(made(by_length=(500.0, 1000.0, 250.0))) == [1]
    assert missed(made(by_length=(500.0, 250.0, 400.0))) == [2]
    assert missed(made(by_length=(500.0, 500.0, 800.0))) == [0, 2, 3]
    assert missed(made(by_width=(0.8, 1.0, 1.2))) == [5, 6]
    better = made(by_width=(0.9, 1.0, 1.2))
    for name in ("test", "validation"):
        better[f"placed_DID_{name}"][2] *= 1.1
        better[f"placed_DID_full_{name}"] = better[f"placed_DID_full_{name}"].copy()
        better[f"placed_DID_full_{name}"][2] *= 1.1
    assert missed(better) == [5]
    assert missed(made(centred=(280, 290, 300))) == [4]
    for place, name in ((7, "said_apart"), (8, "masked_apart")):
        assert missed(made() | {name: np.array(1e-3)}, "smoke") == [place]


def test_d90_is_where_the_curve_crosses_and_beyond_the_grid_it_is_censored():
    arrays = made(by_length=(9000.0, 500.0, 250.0))
    assert np.isnan(measured.d90(arrays, ("placed", "DID", 1, 0)))
    assert measured.d90(arrays, ("placed", "DID", 1, 1)) == pytest.approx(500, rel=0.05)
    # The grid's end stands for a denominator beyond it; a numerator is a miss.
    assert measured.ratio(arrays, ("placed", "DID", 1, 1), ("placed", "DID", 1, 0))[0] < 0.25
    assert missed(arrays) == []
    assert missed(made(by_length=(500.0, 500.0, 9000.0))) == [0, 2, 3, 5, 6]


def test_the_rate_is_chosen_in_validation_and_not_in_the_test():
    arrays = made()
    arrays["placed_DID_test"] = arrays["placed_DID_test"][..., ::-1].copy()
    worse = measured.chosen(arrays, ("placed", "DID", 0, 0))
    assert np.all(worse < measured.chosen(made(), ("placed", "DID", 0, 0)))


def test_places_differ_and_images_do_not():
    (x, _), _ = digits.images()
    flat = digits.placed(x[:20], 2, 0)
    assert flat.shape == (20, 18 * 18)
    np.testing.assert_allclose(flat.sum(1), x[:20].sum((1, 2)), rtol=1e-5)
    config = module.Config()
    data = module.halves(config, "centred", 1)
    assert data["tuning"][0].shape == (config.images, 18 * 18)
    inner = data["test"][0].reshape(-1, 18, 18)
    assert np.all(inner[:, :2] == 0)
    again = module.halves(config, "placed", 1)
    assert np.array_equal(again["tuning"][1], data["tuning"][1])


def test_fine_tuning_and_validation_images_are_apart():
    data = module.halves(module.Config(), "centred", 0)
    rows = [{row.tobytes() for row in data[name][0]} for name in ("tuning", "validation", "test")]
    assert not rows[0] & rows[1]
    assert not (rows[0] | rows[1]) & rows[2]
    assert {int(y) for y in data["pretraining"][1]} == set(range(5))


@pytest.mark.slow
def test_said_in_as_many_dimensions_as_scales_moves_nothing(tune):
    found = module.tuned(CONFIG, ("centred", "SAID", 8, 0), tune, 0)
    # Six scales and no direction: the read-out is zero still, and every image is a 0.
    data = module.halves(CONFIG, "centred", 0)
    assert found["test"][0] == pytest.approx(np.mean(data["test"][1] == 0), abs=1e-6)
    direct = module.tuned(CONFIG, ("centred", "DID", 8, 0), tune, 0)
    assert np.array_equal(direct["full_test"], found["full_test"])
    assert not np.array_equal(direct["test"], found["test"])


@pytest.mark.slow
def test_a_small_run_has_the_shapes_that_claims_and_figure_need(tune, monkeypatch):
    monkeypatch.setattr(module, "program", lambda config: tune)
    arrays = {k: np.asarray(v) for k, v in module.run(CONFIG, Progress()).items()}
    assert arrays["placed_DID_test"].shape == (1, 2, 2, 2, 2)
    assert arrays["placed_SAID_full_test"].shape == (1, 2, 2, 2)
    assert missed(arrays, "smoke") == []
    assert len(module.figure(arrays).axes) == 3


def test_figure_caption_and_words():
    arrays = made()
    figure = module.figure(arrays)
    assert [axes.get_title()[:3] for axes in figure.axes] == ["(a)", "(b)", "(c)"]
    value = f"{measured.d90(arrays, ('placed', 'DID', 1, 2)):.0f}"
    assert value in module.caption(arrays)
    assert value in module.alt(arrays)
