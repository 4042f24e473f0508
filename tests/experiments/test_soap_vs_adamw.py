"""SOAP beside AdamW: an identity that notices errors, claims that can fail, a search that ends."""

import numpy as np
import pytest

from experiments import _claims, soap_vs_adamw
from experiments import _soap_vs_adamw_runs as runs
from experiments._progress import Progress

SMOKE = soap_vs_adamw.PRESETS["smoke"]


@pytest.fixture(scope="module")
def arrays():
    return soap_vs_adamw.run(SMOKE, Progress())


def verdicts(arrays, preset):
    return {claim.name: _claims.verdict(claim, preset) for claim in soap_vs_adamw.claims(arrays)}


def test_the_smoke_preset_passes_its_identity_and_compares_nothing(arrays):
    found = list(verdicts(arrays, "smoke").values())
    assert found == ["pass"] * 2 + ["not tested"] * 5
    assert arrays["soap_0_training"].shape == (6,)
    assert arrays["adamw_0_training"].shape == (8,)
    # Both see the same first batch with the same parameters.
    assert arrays["soap_0_training"][0] == arrays["adamw_0_training"][0]
    assert arrays["soap_1_training"][0] != arrays["soap_0_training"][0]
    # SOAP's first call moves nothing: the second batch finds the parameters as they were.
    assert "SOAP" in soap_vs_adamw.alt(arrays)
    assert "SHA-256" in soap_vs_adamw.caption(arrays)


def test_a_seed_that_is_worse_or_a_best_rate_at_the_edge_is_a_miss(arrays):
    arrays = dict(arrays)
    for seed in range(2):
        arrays[f"adamw_{seed}_windows"] = np.full(8, 1.6)
        arrays[f"soap_{seed}_windows"] = np.full(8, 1.5)
        for name in ("adamw", "soap"):
            arrays[f"{name}_{seed}_rates"] = np.array([0.01, 0.02, 0.04])
            arrays[f"{name}_{seed}_best"] = np.array(0.02)
    assert "MISS" not in verdicts(arrays, "quick").values()
    worse = arrays | {"soap_1_windows": np.full(8, 1.61)}
    assert [n for n, v in verdicts(worse, "quick").items() if v == "MISS"] == [
        "seed 1: held-out loss, SOAP in 6 steps less AdamW's best in 8"
    ]
    edge = arrays | {"adamw_1_best": np.array(0.04)}
    assert [n for n, v in verdicts(edge, "quick").items() if v == "MISS"] == [
        "searches that end at the edge of their rates"
    ]
    diverged = arrays | {"soap_0_windows": np.full(8, np.nan)}
    assert "MISS" in verdicts(diverged, "quick").values()


@pytest.mark.parametrize(("bottom", "tried"), [(0.02, 4), (0.3, 7), (0.002, 7)])
def test_a_search_goes_on_until_its_best_rate_has_worse_neighbours(bottom, tried):
    def run(rate):
        loss = np.log(rate / bottom) ** 2 if rate < 1 else np.nan
        return {"windows": np.full(3, loss)}

    found, best = runs.searched(run, (0.01, 0.02, 0.04, 0.08))
    assert min(found) < best < max(found)
    assert abs(np.log2(best / bottom)) <= 0.5
    assert len(found) == tried


def test_schedules_rise_and_fall_to_a_tenth():
    rates = runs.schedule(0.02, 200)
    assert rates.argmax() == 10
    np.testing.assert_allclose([rates.max(), rates[-1]], [0.02, 0.002], rtol=1e-3)
    assert (np.diff(rates[:11]) > 0).all() and (np.diff(rates[10:]) < 0).all()
