"""The benchmark of optimizers, on tiny sizes and without peers."""

import json

import numpy as np
import pytest

from benchmarks import _optim_problems, _report, optim


def test_a_step_is_nine_calls_without_a_refresh_and_one_with_it():
    seconds = [50.0, *[1.0, 1.5, 1.2], 9.0, *[1.1, 2.0, 1.3], 11.0]
    found = optim.calls_of(seconds, 4)
    assert found == {"plain": 1.0, "refresh": 9.0, "step": 3.0}


def test_verdicts_stand_at_512_alone_and_use_the_least_of_each():
    seconds = {"products": [2.0, 1.0], "plain products": [0.5, 0.8], "adamw": [0.25, 0.25]}
    steps = {512: seconds | {"update": [1.4, 1.6], "plain": [3.0, 1.2]}}
    lines = optim.steps_table(steps | {256: steps[512]}).splitlines()[2:]
    verdicts = ["MISSED" if "MISSED" in line else "met" in line for line in lines]
    assert verdicts == ["MISSED", True, *[False] * 8]
    assert "1.15" in lines[0] and "2.80" in lines[0]  # of turns; over plain products
    shares = optim.refreshes_table({512: {"qr": [5.0], "eigh": [9.0], "plain": [1.0]}})
    assert "50%" in shares and "MISSED (at most 0.4)" in shares and shares.count("most") == 1


def test_gradients_and_parameters_are_the_same_wherever_they_are_made():
    case = "transformer 8"
    one, other = (list(_optim_problems.gradients(case, 3)) for _ in range(2))
    assert all(np.array_equal(a[k], b[k]) for a, b in zip(one, other, strict=True) for k in a)
    assert not np.array_equal(one[0]["head"], one[1]["head"])
    assert {x.dtype for x in _optim_problems.start(case).values()} == {np.dtype(np.float32)}


def test_a_peer_that_is_missing_is_said_to_be(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(optim, "SOAP_PYTHON", tmp_path / "python")
    assert optim.peers_here() == ([], {})
    printed = capsys.readouterr().out
    assert all(f"WITHOUT {optim.NAMES[side]}: `make peers`" in printed for side in optim.PEERS)


def test_without_peers_ours_is_measured_and_meets_the_transcription(tmp_path, capsys):
    tiny = {"sizes": (8,), "refreshed": (8,), "memories": (("8 x 4", {"one_sided": "auto"}),)}
    tiny |= {"methods": ("qr",), "cases": ("8 x 4",), "rounds": 2, "calls": 5, "frequency": 2}
    path = optim.main(**tiny, with_peers=False, folder=tmp_path)
    printed = capsys.readouterr().out
    assert "OURS ALONE" in printed
    stored = json.loads(path.read_text())
    assert set(stored["cases"]["8 x 4"]) == {"ours", "adamw"}
    own = stored["cases"]["8 x 4"]["ours"]
    assert len(own["cpu"]) == 5 and own["distance"] <= 1e-6 < own["moved"]
    memory = stored["memory"]["8 x 4, one_sided='auto'"]
    assert memory["held"] == memory["told"] == pytest.approx(memory["adam"] + 4 * 2 * 4 * 4)
    page = _report.publish(path, tmp_path).read_text()
    assert page.startswith("## SOAP") and "- ours: theorylab" in page
