"""The benchmarks' tables and files, on tiny sizes and without the peer."""

import json

import pytest

from benchmarks import _report, convolutions, empirical, import_time, kernels, transport


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


def solver(cpu, error=1e-10, iterations=10):
    own = {"cpu": [cpu, cpu / 2, 2 * cpu], "wall": [cpu], "iterations": iterations, "most": 500}
    return own | {"error": error, "converged": error <= 1e-9, "lse": 20, "products": 50}


def raced(ours=1.0, **changed):
    """Every peer at 12 times ours but where it is said."""
    peers = {name: solver(12.0) for name in transport.PEERS}
    return {"ours": solver(ours), transport.PASS: solver(0.01)} | peers | changed


def test_ratios_to_peers_of_transport_show_bounds_and_failures():
    capped, gone = solver(30.0, 1e-3, 500), solver(0.1, float("nan"), 7)
    records = raced(2.0, OTT=capped, **{"POT log": gone, "POT kernel": solver(1.5)})
    line = transport.cases_table({("mixtures 9", 1e-3, 0): records}).splitlines()[-1]
    assert ">15.00" in line and "fails" in line and "0.75 (POT kernel)" in line
    assert " 200 " in line  # passes over the cost matrix
    lines = transport.solvers_table({("mixtures 9", 1e-3, 2): records}).splitlines()
    assert sum("mixtures 9, 0.001, seed 2" in one for one in lines) == 6
    assert any(">30.0000" in one and ">500" in one for one in lines)


def test_targets_of_transport_are_geometric_means_of_the_right_cases():
    cases = {
        ("mixtures 9", 1e-2, 0): raced(**{"OTT": solver(1e-4), "POT kernel": solver(0.69)}),
        ("mixtures 9", 1e-3, 0): raced(**{"OTT": solver(4.0), "POT kernel": solver(1.1)}),
        ("mixtures 9", 5e-4, 0): raced(
            **{"OTT": solver(26.0, 1e-3, 500), "POT kernel": solver(1.9), "regot SSNS": solver(0.9)}
        ),
    }
    lines = transport.targets_table(cases).splitlines()[2:]
    assert ["MISSED" in line for line in lines] == [False, False, False, True, True, True, False]
    assert ">10.20" in lines[0] and "1 of 2 at the cap" in lines[0]
    assert "12.00" in lines[1]
    assert "0.67" in lines[4]
    assert "mixtures 9, 0.01: OTT" in lines[5]
    assert "3 of 3" in lines[6]
    cases["digits 2", 1e-3, 0] = raced() | {"ours": solver(1.0, 1e-8)}
    last = transport.targets_table(cases).splitlines()[-1]
    assert "3 of 4" in last and "MISSED (all)" in last and last.endswith("digits 2, 0.001")


def test_without_peers_ours_is_measured_against_itself(tmp_path, capsys):
    tiny = {"problems": ("mixtures 12",), "epsilons": (0.1,), "rounds": 1}
    tiny |= {"batches": (("mixtures", 12, 2, 0.1),), "gradients": (("mixtures 12", 0.1),)}
    path = transport.main(**tiny, with_peers=False, folder=tmp_path)
    printed = capsys.readouterr().out
    assert "WITHOUT all peers: the extra `interop`" in printed
    assert "1 of 1" in printed
    stored = json.loads(path.read_text())
    records = stored["cases"]["mixtures 12, 0.1"]
    assert set(records) == {"ours", "one pass"}
    assert records["ours"]["converged"] and records["ours"]["error"] <= 1e-9
    assert stored["batches"]["2 mixtures, n = 12, 0.1"]["apart"]["f"] <= 1e-12
    assert set(stored["gradients"]["mixtures 12, 0.1"]["cpu"]) >= {"plan", "value and gradient"}
