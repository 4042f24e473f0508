"""Deep linear networks and their limit: claims that can fail, a figure with words."""

import jax
import numpy as np
import pytest

from experiments import _claims
from experiments import deep_linear_limit as module
from experiments._progress import Progress

CONFIG = module.Config(
    widths=(8, 512), depths=(2,), seeds=3, components=2, steps=2, early=2, rate=0.5
)


@pytest.fixture(scope="module")
def arrays():
    with jax.enable_x64(True):
        found = module.run(CONFIG, Progress())
    return {name: np.asarray(value) for name, value in found.items()}


def laws(slopes=(-0.5, -0.5), mean=0.5):
    """Return arrays in which deviations are powers of the width at the early step alone."""
    widths = np.array([128, 256, 512, 1024])
    single = np.ones((2, 4, 16, 3))
    for place, slope in enumerate(slopes):
        single[place, :, :, 1] = ((widths / 128.0) ** slope)[:, None]
    return {
        "widths": widths,
        "depths": np.array([2, 3]),
        "early": np.asarray(2),
        "single": single,
        "mean": mean * single[:, :, 0],
        "output": np.zeros((2, 4, 16, 4)),
        "limit_output": np.zeros((2, 4)),
        "status": np.zeros(2, int),
        "apart": np.zeros(()),
        "class": np.asarray(0),
    }


def missed(arrays, preset="quick"):
    found = module.claims(arrays)
    return [k for k, claim in enumerate(found) if _claims.verdict(claim, preset) == "MISS"]


def test_the_small_run_passes_its_identities_and_comes_near_the_limit(arrays):
    verdicts = [_claims.verdict(claim, "smoke") for claim in module.claims(arrays)]
    assert verdicts == ["not tested"] * 2 + ["pass"] * 2
    assert arrays["apart"] < 1e-14
    assert arrays["single"].shape == (1, 2, 3, 2) and arrays["mean"].shape == (1, 2, 2)
    narrow, wide = arrays["single"][0, :, :, -1]
    assert wide.max() < narrow.min()
    assert np.abs(arrays["limit_output"][0, -1]) > 0.01


def test_the_mean_is_never_farther_than_single_networks(arrays):
    assert (module.ratios(arrays) <= 1).all()


@pytest.mark.parametrize(
    ("off", "which"),
    [
        ({}, []),
        ({"mean": 0.51}, [2]),  # twice the root of 1 / 16 is 0.5
        ({"slopes": (-0.66, -0.5)}, [0]),
        ({"slopes": (-0.5, -0.39)}, [1]),
    ],
)
def test_a_slope_or_a_mean_that_is_off_is_a_miss(off, which):
    assert missed(laws(**off)) == which


def test_an_identity_that_is_off_is_a_miss():
    for wrong in (1e-11, np.nan):
        assert missed(laws() | {"apart": np.asarray(wrong)}, "smoke") == [3]
    assert missed(laws() | {"status": np.array([0, 1])}, "smoke") == [4]


def test_the_figure_has_words_and_is_drawn(tmp_path, monkeypatch):
    from experiments import _figures

    made = laws(slopes=(-0.45, -0.55))
    assert "16 networks at each width" in module.caption(made)
    assert "-0.45 with 2, -0.55 with 3 hidden layers" in module.alt(made)
    monkeypatch.setattr(_figures, "PNG_DPI", 60)
    _figures.draw(module, made, "Data: digits.", tmp_path)
    assert (tmp_path / "figure.pdf").stat().st_size > 10_000
