"""The benchmarks' tables and files, on tiny sizes and without the peer."""

import json

import pytest

from benchmarks import _report, convolutions, import_time, kernels


def record(cpu, mean=1.0):
    return {
        "cpu": [cpu, 2 * cpu, cpu],
        "wall": [cpu],
        "first_cpu": 0.1,
        "peak_mib": 100.0,
        "ntk_mean": mean,
        "versions": {},
    }


def test_the_exponent_of_an_exact_power_law_is_recovered():
    sizes = [500, 1000, 2000, 4000]
    assert _report.growth_exponent(sizes, [3e-7 * n**1.75 for n in sizes]) == pytest.approx(1.75)
    with pytest.raises(ValueError, match="two sizes"):
        _report.growth_exponent([1], [1])


def test_every_line_of_a_table_is_equally_wide():
    text = _report.table(["name", "value"], [["a", "1.0"], ["a longer one", "10"]])
    assert len({len(line) for line in text.splitlines()}) == 1
    with pytest.raises(ValueError, match="2 columns"):
        _report.table(["name", "value"], [["a"]])


def test_ratios_are_of_medians_and_the_verdict_follows_the_target_of_the_call():
    peers = {"peer-both": record(2.0), "peer-ntk": record(1.0)}
    cases = {
        "kernel(x),  no bias": {"ours": record(0.4), **peers},
        "kernel(x1, x2),  no bias": {"ours": record(0.4), **peers},
    }
    lines = kernels.cases_table(cases).splitlines()
    symmetric, general = (line for line in lines if " ours " in line)
    assert "0.200" in symmetric
    assert "0.400" in symmetric
    assert "MISSED (at most 0.33)" in symmetric
    assert "met (at most 0.5)" in general


def test_times_of_different_results_are_refused():
    kernels.check_agreement({"ours": record(1.0, 2.0), "peer-ntk": record(1.0, 2.00001)})
    with pytest.raises(RuntimeError, match="disagree"):
        kernels.check_agreement({"ours": record(1.0, 2.0), "peer-ntk": record(1.0, 2.1)})


def test_without_the_peer_our_times_are_shown_and_how_to_get_the_ratios(tmp_path, capsys):
    tiny = {"n": 12, "d": 5, "biases": (0.1,), "sizes": (4, 8), "rounds": 2}
    path = kernels.main(**tiny, with_peer=False, folder=tmp_path)
    printed = capsys.readouterr().out
    assert "OURS ALONE" in printed
    assert "make oracles" in printed
    stored = json.loads(path.read_text())
    assert set(stored["cases"]["kernel(x),  bias 0.1"]) == {"ours"}
    assert len(stored["growth"]["ours"]) == 2
    assert "jax" in stored["versions"]["ours"]


def test_convolutions_are_timed_beside_their_targets_and_one_pass(tmp_path, capsys):
    cases = {"tiny": ("pooled", (3, 4, 4, 2), 1 / 15, 1 / 10)}
    path = convolutions.main(cases, rounds=1, with_peer=False, folder=tmp_path)
    assert "one pass" in capsys.readouterr().out
    stored = json.loads(path.read_text())
    assert stored["targets"] == {"kernel(x),  tiny": 1 / 15, "kernel(x1, x2),  tiny": 1 / 10}
    assert stored["plans"]["tiny"]["bytes_peak"] > 0
    assert convolutions.numbers_held((3, 4, 4, 2), "pooled", general=False) == 6 * 16**2


def test_the_import_benchmark_writes_what_it_measured(tmp_path, capsys):
    path = import_time.main(rounds=1, statements=("import json",), folder=tmp_path)
    assert "met" in capsys.readouterr().out
    (pairs,) = json.loads(path.read_text())["seconds"].values()
    assert len(pairs) == 1
    assert pairs[0][0] > 0
    page = _report.publish(path, tmp_path).read_text()
    assert page.startswith("## Import time") and "import json" in page and "- ours: jax" in page
