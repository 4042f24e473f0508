"""Transfer of learning rates: claims that can fail, a figure with words."""

import dataclasses

import numpy as np
import pytest

from experiments import _claims
from experiments import _mup_networks as networks
from experiments import lr_transfer as module
from experiments._progress import Progress


@pytest.fixture(scope="module")
def arrays():
    config = dataclasses.replace(module.PRESETS["smoke"], widths=(64, 80))
    return {k: np.asarray(v) for k, v in module.run(config, Progress()).items()}


def made(shift, better=0.5):
    """Parabolas with best rates that move by ``shift`` octaves (mup, sp) over three widths."""
    out = {"widths": np.array([64, 256, 1024])}
    for setting in module.SETTINGS:
        rates = np.arange(-12.0, 0.0)
        out[f"{setting}_rates"] = 2**rates
        for scheme, total in zip(("mup", "sp"), shift, strict=True):
            centre = -6 - total * np.array([0, 0.5, 1])[:, None]
            depth = better ** np.arange(3)[:, None]
            losses = depth * np.exp(0.1 * (rates - centre) ** 2)
            if scheme == "sp":
                losses[0] = out[f"{setting}_mup_loss"][0, :, 0]
            name = f"{setting}_{scheme}"
            out[f"{name}_loss"] = np.repeat(losses[:, :, None], 2, 2)
            out[f"{name}_diverged"] = np.zeros((3, 12, 2), bool)
            out[f"{name}_rate"] = 2.0 ** centre[:, 0]
            out[f"{name}_best"] = losses.argmin(1)
    return out


def missed(arrays, preset="quick"):
    found = module.claims(arrays)
    return [k for k, claim in enumerate(found) if _claims.verdict(claim, preset) == "MISS"]


def test_rates_that_stay_pass_and_others_miss():
    assert missed(made((0.4, 1.2))) == []
    assert missed(made((0.6, 1.2))) == [0, 3]
    assert missed(made((0.4, 0.9))) == [1, 4]
    assert missed(made((0.4, 1.2), better=1.1)) == [2, 5]
    apart = made((0.4, 1.2))
    apart["sgd_sp_loss"][0, 3] += 1e-9
    assert missed(apart) == [6]
    nowhere = made((0.4, 1.2))
    nowhere["adam_mup_rate"][1] = np.nan
    assert missed(nowhere) == [0]


def test_the_smoke_preset_passes_its_identity(arrays):
    assert missed(arrays, "smoke") == []
    assert arrays["adam_mup_loss"].shape == (2, 2, 1)


def test_an_output_of_zero_has_the_squared_loss_1():
    _, labels = networks.images()
    zero = np.zeros((len(labels), 10), np.float32)
    np.testing.assert_allclose(module.squared(zero, labels), 1.0, rtol=1e-6)


def test_figure_caption_and_words():
    found = made((0.4, 1.2))
    figure = module.figure(found)
    assert [axes.get_title()[:3] for axes in figure.axes] == ["(a)", "(b)", "(c)", "(d)"]
    assert "1.2 (Adam)" in module.caption(found)
    assert "1.2 octaves" in module.alt(found)
