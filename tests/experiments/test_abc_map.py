"""The map of parametrizations: claims that can fail, and a figure with words."""

import numpy as np
import pytest

from experiments import _claims, abc_map
from experiments._progress import Progress
from theorylab.parametrization import MUP, NTP, regauge

SMOKE = abc_map.PRESETS["smoke"]


@pytest.fixture(scope="module")
def arrays():
    return {k: np.asarray(v) for k, v in abc_map.run(SMOKE, Progress()).items()}


def verdicts(arrays):
    return [_claims.verdict(claim, "smoke") for claim in abc_map.claims(arrays)]


def test_every_claim_binds_and_holds(arrays):
    assert verdicts(arrays) == ["pass"] * 8
    assert (arrays["counts"] > 0).all()


@pytest.mark.parametrize(
    ("name", "claim", "by"),
    [("named_class", 0, 1), ("named_r", 1, 1e-9), ("vertices", 2, 1e-6), ("edge_r", 3, 1e-9),
     ("corner", 4, 1e-6), ("gauge_r", 5, 1e-12), ("gauge_changed", 6, 1), ("broken", 7, 1)],
)  # fmt: skip
def test_a_number_that_is_off_is_a_miss(arrays, name, claim, by):
    wrong = arrays[name].astype(float) + by
    found = verdicts(arrays | {name: wrong})
    assert [k for k, verdict in enumerate(found) if verdict == "MISS"] == [claim]


def test_named_parametrizations_are_gauge_shifts_of_the_points_of_the_planes():
    at_vertex = abc_map.in_plane_a(0.5, 0.0)
    # muP's input weights are larger than the plane's; hidden and output weights are the same
    assert (at_vertex.a[1:], at_vertex.b[1:]) == (MUP.a[1:], MUP.b[1:])
    start = regauge(NTP, (0, -0.5, -0.5))
    assert (start.a[1:], start.b[1:], start.c[1:]) == ((0, 0), (0.5, 0.5), (1, 1))
    plane_b = abc_map.in_plane_b(1, 0)
    assert plane_b == regauge(MUP, (0.5, 0, -0.5))


def test_figure_caption_and_words(arrays):
    assert len(abc_map.figure(arrays).axes) == 3  # and the bar of colours
    assert "random parametrizations" in abc_map.caption(arrays)
    assert "muP" in abc_map.alt(arrays)
