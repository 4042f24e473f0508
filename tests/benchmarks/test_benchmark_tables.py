"""The benchmarks' tables and files, on tiny sizes and without the peer."""

import json

import pytest

from benchmarks import _report, convolutions, empirical, import_time, kernels


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


def side(cpu, temporaries, growth=0):
    own = {"cpu": [cpu], "temporaries": temporaries, "growth": growth}
    return own | {"compile_cpu": 1.0, "mean": 1.0}


def test_targets_of_empirical_kernels_are_ratios_to_the_right_sides():
    mlp = {"ours-structured": side(1.0, 2**20), "ours-closed": side(1.1, 2**25 + 1)}
    mlp |= {"peer-1": side(50.0, 0), "peer-2": side(9.0, 0), "peer-3": side(0.8, 0)}
    resnet = {"ours-structured": side(1.0, 2**20, 2**21)}
    resnet |= {"ours-vector_product": side(6.0, 2**21), "peer-2": side(4.0, 0, 2**24)}
    resnet |= {"plain-vector_product": side(4.0, 2**23)}
    lines = empirical.targets_table({"MLP": mlp, "ResNet": resnet}).splitlines()[2:]
    missed = ["MISSED" in line for line in lines]
    assert missed[:4] == [True, False, True, True]  # memory, closed, the peer's best and default
    assert missed[4:] == [True, False, False, True, True, False]  # CPU, memory by side
    assert "1.25" in lines[2]
    assert "0.02" in lines[3]
    assert "not told" in empirical.sides_table({"MLP": mlp})


def test_sides_of_empirical_kernels_run_the_same_function(tmp_path, capsys):
    sides = ("ours-structured", "ours-closed", "ours-vector_product", "plain-vector_product")
    cases = {"MLP": ("mlp", 8, 3, sides)}
    path = empirical.main(cases, rounds=1, with_peer=False, folder=tmp_path)
    assert json.loads(path.read_text())["cases"]["MLP"]["ours-structured"]["temporaries"] > 0
    assert "OURS ALONE" in capsys.readouterr().out
