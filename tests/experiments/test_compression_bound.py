"""Bits and bounds: claims that can fail, a figure with words."""

import dataclasses

import jax
import numpy as np
import pytest

from experiments import _claims
from experiments import compression_bound as module
from experiments._progress import Progress

# One small configuration and its programs, compiled once for the tests that run them.
CONFIG = dataclasses.replace(module.PRESETS["smoke"], seeds=1, steps=3, ds=(5, 40))


@pytest.fixture(scope="module")
def programs():
    return module.programs(CONFIG)


def made(test=0.1, scale=1.0, cost=0.0, memorised=0.85):
    """Return runs whose training error falls with d while bits grow like d (a power of it)."""
    ds, levels, n, runs = 2.0 ** np.arange(4, 11), np.array([3, 7]), 4000, 7 * 2 * 2
    shape = (2, 2, len(ds), len(levels))
    train = np.broadcast_to(0.05 + 0.75 * np.exp(-ds / 100)[:, None], shape).copy()
    train[1] = memorised
    each = 16 * levels + scale * 2 * ds[:, None] ** (1 + cost) * np.array([1.0, 1.2])
    bits = np.broadcast_to(each, shape).round()
    at_test = train * (1 + test)
    at_test[1] = 0.9
    result = {"bits": bits, "train": train, "test": at_test, "raw_train": train[..., 0]}
    return (
        {"ds": ds.astype(int), "levels": levels, "n": np.array(n), "delta": np.array(0.05)}
        | {"runs": np.array(runs), "apart": np.array(0.0), "bytes": np.array(300)}
        | result
        | module.bounds(result, n, 0.05 / runs, ds)
    )


def missed(arrays, preset="quick"):
    found = module.claims(arrays)
    return [k for k, claim in enumerate(found) if _claims.verdict(claim, preset) == "MISS"]


def test_a_trade_off_inside_the_grid_passes_and_others_miss():
    assert missed(made()) == []
    assert missed(made(cost=0.15)) == [4]
    assert 2 in missed(made(scale=0.01))  # bits that cost nothing: the largest d is best
    assert missed(made(memorised=0.4)) == [0, 3]
    above = made()
    above["test"][0, 1, 3, 0] = above["bound"][0, 1, 3, 0] + 1e-3
    assert missed(above) == [0]


@pytest.mark.parametrize(("name", "place"), [("occam", 5), ("bound", 6)])
def test_bounds_that_are_not_those_of_the_formula_miss(name, place):
    wrong = made()
    wrong[name][0, 0, 2, 1] += 1e-6
    assert missed(wrong, "smoke") == [place]


def test_random_labels_keep_how_often_each_occurs():
    _, labels, _, labels_test, _ = module.problem(module.Config())
    for both in (labels, labels_test):
        assert np.array_equal(np.bincount(both[0]), np.bincount(both[1]))
        assert 0.05 < np.mean(both[0] == both[1]) < 0.15


@pytest.mark.slow
def test_coordinates_beyond_d_stay_zero_and_bytes_give_the_network_back(programs):
    key = jax.random.key(4)
    found = module.measured(CONFIG, *programs, key)
    assert np.all(found["theta"][:, 0, 5:] == 0)
    assert np.all(found["theta"][:, 1] != 0)
    assert module.read_back(CONFIG, key, found["theta"][0, 1])["apart"] == 0
    bits = found["bits"]
    assert np.all(np.diff(bits, axis=1) > 0)
    assert np.all(np.diff(bits, axis=2) > 0)
    result = {name: value[:, None] for name, value in found.items()}
    at = module.bounds(result, CONFIG.images, 0.01, np.asarray(CONFIG.ds))
    assert np.all(at["bound"] <= at["occam"] + 0.02)


@pytest.mark.slow
def test_the_plan_covers_all_stages(programs, monkeypatch):
    monkeypatch.setattr(module, "programs", lambda config: programs)
    labels = []

    class Watching(Progress):
        def plan(self, costs):
            self.planned = set(costs)

        def stage(self, label, fn):
            labels.append(label)
            return super().stage(label, fn)

    progress = Watching()
    arrays = module.run(CONFIG, progress)
    assert set(labels) == progress.planned
    assert missed({k: np.asarray(v) for k, v in arrays.items()}, "smoke") == []


def test_figure_caption_and_words():
    arrays = made()
    figure = module.figure(arrays)
    assert [axes.get_title()[:3] for axes in figure.axes] == ["(a)", "(b)", "(c)"]
    smallest = module.best(arrays)[0].min()
    assert f"{smallest:.3f}" in module.caption(arrays)
    assert f"{smallest:.2f}" in module.alt(arrays)
