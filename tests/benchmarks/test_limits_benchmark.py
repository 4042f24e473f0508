"""The benchmark of limits, on tiny sizes."""

import json

from benchmarks import _report, limits


def one(width, steps, wall, first=1.0, status=0):
    times = {"wall": [2 * wall, wall], "cpu": [3 * wall, 2 * wall]}
    return {
        "width": width, "points": 4, "steps": steps, "bytes": 4 * width, "first": 9.0,
        "first_cpu": first, "status": status, "loss": 0.1, **times,
    }  # fmt: skip


def test_verdicts_are_on_the_first_call_in_cpu_seconds_and_a_status_is_a_miss():
    cases = (one(131_072, 8, 2.0, 4.9), one(131_072, 8, 2.0, 5.1), one(131_072, 8, 2.0, 1.0, 1))
    lines = limits.large_table({str(k): case for k, case in enumerate(cases)}).splitlines()[2:]
    assert "137 GB" in lines[0] and "524 kB" in lines[0] and "met (at most 5)" in lines[0]
    assert "MISSED (at most 5)" in lines[1]
    assert "MISSED (status)" in lines[2]


def test_exponents_are_of_the_axis_that_is_asked():
    by_width = {str(n): one(n, 8, 1e-3 * n) for n in (64, 128, 256)}
    assert limits.growth_table("ours", by_width, "width").splitlines()[-1].split() == [
        "exponent", "in", "the", "width", "1.00", "1.00", "1.00"
    ]  # fmt: skip
    by_steps = {str(t): one(64, t, 1e-3 * t**2) for t in (8, 16, 32)}
    assert limits.growth_table("ours", by_steps, "steps").splitlines()[-1].split()[4:] == [
        "2.00", "2.00", "0.00"
    ]  # fmt: skip


def test_the_slope_leaves_out_what_single_precision_cannot_hold():
    away = [max(2.0 ** (-(6 + k) / 2), 2.0**-12) for k in range(27)]
    found = {
        "widths": 27,
        "least": 6,
        "most": 32,
        "draws": 2,
        "steps": 3,
        "first": 1.0,
        "first_cpu": 6.0,
    }
    line = limits.gram_table(found | {"wall": [1.0], "cpu": [1.0], "away": away}).splitlines()[2]
    assert "-0.500" in line and "MISSED (at most 5)" in line


def test_it_runs_on_tiny_sizes_and_ours_comes_near_the_limit(tmp_path, capsys):
    path = limits.main(
        gram={"least": 6, "most": 18, "draws": 20, "steps": 5, "d_in": 3, "d_out": 2},
        large=32,
        widths=(32,),
        dense=(16,),
        steps=(2,),
        step_width=32,
        points=2,
        rounds=1,
        folder=tmp_path,
    )
    assert "conditioned_mlp, by steps" in capsys.readouterr().out
    stored = json.loads(path.read_text())
    assert len(stored["gram"]["away"]) == 13
    # Six powers of 2 of the root: 64, with the fluctuation of twenty draws.
    assert 30 < stored["gram"]["away"][0] / stored["gram"]["away"][-1] < 130
    for kind in ("large", "widths", "dense", "steps"):
        for record in stored[kind].values():
            assert record["status"] == 0 and len(record["wall"]) == 1 and record["loss"] > 0
    page = _report.publish(path, tmp_path).read_text()
    assert page.startswith("## Limits of infinite width") and "- ours: theorylab" in page
