"""Nonlinear limits and networks near them: claims that can fail, a figure with words."""

import jax
import numpy as np
import pytest

from experiments import _claims
from experiments import nonlinear_limit as module
from experiments._progress import Progress


def made(one=-0.5, two=-0.5):
    """Arrays with slopes that are known, as `run` gives them."""
    widths, points = np.array([64, 256, 1024]), 3
    rng = np.random.default_rng(0)
    signs = np.array([1.0, -1.0, 1.0, -1.0])[:, None]
    limit = np.linspace(0, 1, 5)[:, None] * np.array([0.5, -0.2, 0.1])
    away = np.power(widths / 4.0, one)[:, None, None, None] * signs[:, None]
    reference = np.array([[0.2, -0.3, 0.4]])
    law = rng.normal(size=(50, points))
    return {
        "widths": widths, "deep_widths": widths, "reference_width": np.asarray(4096),
        "law_width": np.asarray(128), "times": 10 * np.arange(5), "deep_steps": np.asarray(8),
        "target": limit[-1], "linear_gap": np.asarray(0.0), "image_gap": np.asarray(0.0),
        "limit": limit, "refined": np.asarray(1e-6), "outputs": limit + away,
        "deep_outputs": reference + np.power(widths / 4.0, two)[:, None, None] * signs,
        "reference": reference, "law_ours": law, "law_dense": rng.permuted(law, axis=0),
        "status": np.zeros(4, int),
    }  # fmt: skip


def missed(arrays, preset="quick"):
    found = module.claims(arrays)
    return [k for k, claim in enumerate(found) if _claims.verdict(claim, preset) == "MISS"]


def test_slopes_of_one_half_pass_and_others_miss():
    assert missed(made()) == []
    assert missed(made(one=-0.61)) == missed(made(one=-0.39)) == [0, 1]
    assert missed(made(two=-0.61)) == missed(made(two=-0.39)) == [2]


def test_another_law_is_seen_in_its_mean_and_in_its_spread():
    arrays = made()
    ours = arrays["law_ours"]
    # Four standard errors are 4 sqrt(2 / 50) = 0.8 spreads for means, 4 / 7 for their logarithms.
    spread = ours.std(0, ddof=1)
    assert missed(arrays | {"law_ours": ours + 0.79 * spread}) == []
    assert missed(arrays | {"law_ours": ours + 0.81 * spread}) == [3]
    centred = ours - ours.mean(0)
    assert missed(arrays | {"law_ours": ours.mean(0) + np.exp(0.56) * centred}) == []
    assert missed(arrays | {"law_ours": ours.mean(0) + np.exp(0.58) * centred}) == [4]


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [("refined", 1.1e-5, 5), ("linear_gap", 1.1e-9, 6), ("image_gap", 1.1e-12, 7),
     ("status", 1, 8)],
)  # fmt: skip
def test_an_identity_that_is_off_is_a_miss_in_every_preset(name, value, place):
    for preset in ("smoke", "quick", "paper"):
        assert missed(made() | {name: np.asarray(value)}, preset) == [place]


def test_figure_caption_and_words():
    figure = module.figure(made())
    assert len(figure.axes) == 3
    assert "no n x n matrix" in module.caption(made())
    assert "slope \N{MINUS SIGN}0.50" in module.alt(made())


@pytest.mark.slow
def test_the_smoke_preset_passes_its_identities():
    with jax.enable_x64(True):
        found = module.run(module.PRESETS["smoke"], Progress())
    assert set(found) == set(made())
    assert missed({name: np.asarray(value) for name, value in found.items()}, "smoke") == []
