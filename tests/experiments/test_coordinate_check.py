"""The coordinate check of five optimizers: claims that can fail, a figure with words."""

import jax
import numpy as np
import pytest

from experiments import _claims
from experiments import _mup_networks as networks
from experiments import coordinate_check as module
from experiments._progress import Progress


@pytest.fixture(scope="module")
def measured():
    """Adam alone, at three widths."""
    config = module.Config(widths=(64, 80, 96), steps=2, batch=8, seeds=1, optimizers=("Adam",))
    return {k: np.asarray(v) for k, v in module.run(config, Progress()).items()}


def made(mup_slope=0.0, output_slope=0.0, adam_slope=1.0):
    """Arrays with slopes that are known."""
    widths = np.array([64, 128, 256, 512])
    arrays = {"widths": widths, "optimizers": np.array(module.OPTIMIZERS), "apart": np.zeros(())}
    for name in module.OPTIMIZERS:
        for scheme in module.SCHEMES:
            slopes = np.array([mup_slope, mup_slope, output_slope])
            if scheme == "sp":
                slopes = np.array([0.0, adam_slope, adam_slope])
            values = (widths[:, None] / 64) ** slopes
            shaped = np.broadcast_to(values[:, None, None], (4, 2, 6, 3)).copy()
            arrays[f"{name}_{scheme}_change"] = arrays[f"{name}_{scheme}_mean_abs"] = shaped
    return arrays


def missed(arrays, preset="quick"):
    found = module.claims(arrays)
    return [k for k, claim in enumerate(found) if _claims.verdict(claim, preset) == "MISS"]


def test_flat_and_growing_slopes_pass_and_others_miss():
    assert missed(made()) == []
    assert missed(made(mup_slope=0.11)) == [0, 2, 4, 6, 8]
    assert missed(made(mup_slope=-0.11)) == [0, 2, 4, 6, 8]
    assert missed(made(output_slope=0.16)) == [1, 3, 5, 7, 9]
    assert missed(made(adam_slope=0.39)) == [10, 11]
    assert missed(made() | {"apart": np.asarray(1e-9)}) == [12]
    one = made()
    one["Lion_mup_change"][3, :, 2] *= 2  # at the second step alone
    assert missed(one) == [4, 5]


def test_at_the_base_width_both_parametrizations_are_one(measured):
    assert measured["apart"] == 0
    assert missed(measured, "smoke") == []


def test_every_optimizer_moves_the_network_and_has_a_rule():
    weights = networks.start(64)(jax.random.key(0))
    for name in module.OPTIMIZERS:
        chain = networks.chained(module.make(name), 64, "mup", module.RULES[name])
        updates, _ = chain.update(weights, chain.init(weights), weights)
        assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(updates["second"]["kernel"]))


def test_figure_caption_and_words(measured):
    figure = module.figure(measured)
    assert len(figure.axes) == 4
    assert "2 steps" in module.caption(measured)
    assert "muP" in module.alt(measured)
