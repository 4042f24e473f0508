"""Controls of the intrinsic dimension: claims that can fail, a figure with words."""

import numpy as np

from experiments import _claims
from experiments import intrinsic_dimension_controls as module

DS = np.array([25, 50, 100, 200, 400, 1000])


def made(scales=None):
    """Arrays of an ideal run: curves that cross their threshold where ``scales`` says."""
    wanted = {
        f"{module.DENSE}, ordered": 400, f"{module.DENSE}, shuffled": 400, "LeNet, ordered": 150,
        "LeNet, shuffled": 450, "true labels, 50": 40, "true labels, 200": 70,
        "random labels, 50": 90, "random labels, 200": 360, "adam": 170, "sgd": 130,
        "stated rate": 165,
    }  # fmt: skip
    wanted |= scales or {}
    arrays = {"apart": np.asarray(1e-6), "counts": np.array([50, 200]), "lenet": np.asarray(True),
              "seeds": np.asarray(3)}  # fmt: skip
    for key, d in wanted.items():
        curves = np.clip(0.9 + 0.3 * np.log10(DS / d), 0.1, 1.0) + np.zeros((3, 1))
        arrays |= module.measured(DS, {"curves": curves, "direct": np.ones(3)}, key)
    for name in module.OPTIMIZERS:
        arrays |= {f"{name}: {how} rate": np.asarray(0.05) for how in module.HOW}
    return arrays


def missed(arrays, preset="quick"):
    found = module.claims(arrays)
    return [claim.name for claim in found if _claims.verdict(claim, preset) == "MISS"]


def test_the_papers_pattern_passes_and_others_miss():
    assert missed(made()) == []
    assert len(missed(made({f"{module.DENSE}, shuffled": 600}))) == 1
    assert len(missed(made({"LeNet, shuffled": 160}))) == 1
    assert len(missed(made({"random labels, 200": 60}))) == 2
    assert len(missed(made({"stated rate": 300}))) == 1
    assert len(missed(made({"sgd": 1e9}))) == 0
    # Beyond the grid the first is at least the grid's end; of the second nothing is known.
    assert missed(made({"LeNet, shuffled": 1e9})) == []
    assert len(missed(made({"LeNet, ordered": 1e9}))) == 1


def test_the_network_cannot_see_an_order_of_the_pixels():
    assert module.identity()["apart"] < 1e-4


def test_images_behind_the_count_are_never_right():
    config = module.PRESETS["smoke"]
    _, _, go = module.labels(config)["true labels, 50"]
    images = go.args[0].args[1]
    assert (np.asarray(images.y_test) == module.NEVER).sum() == 50
    np.testing.assert_array_equal(images.y_test[:50], images.y[:50])


def test_figure_caption_and_words():
    figure = module.figure(made())
    assert [axes.get_title()[:3] for axes in figure.axes] == ["(a)", "(b)", "(c)"]
    assert "beyond the grid" in module.caption(made({"sgd": 1e9}))
    assert "random labels" in module.alt(made())
