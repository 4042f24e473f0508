"""The benchmark of subspaces, on tiny sizes."""

import json

from benchmarks import _report, subspace


def times(wall):
    return {"wall": [2 * wall, wall], "cpu": [3 * wall, 2 * wall]}


def one(kind, d, forward, back):
    return {"kind": kind, "d": d, "forward": times(forward), "back": times(back), "adjoint": 1e-9}


def group(bits, *ones):
    return {"size": 2**bits, "pass": times(1.0), "maps": {f"{o['kind']} {o['d']}": o for o in ones}}


def test_verdicts_stand_at_four_million_parameters_alone_and_use_the_least_of_each():
    cases = (one("hadamard", 1000, 11.0, 19.0), one("hadamard", 10_000, 20.0, 39.0))
    found = [group(22, *cases, one("kron", 1000, 50.0, 50.0)), group(20, *cases)]
    lines = subspace.maps_table(found).splitlines()
    (small,) = [line for line in lines if line.startswith("22, hadamard, 1000,") or "12)" in line]
    assert "forward met (at most 12), transpose MISSED (at most 18)" in small
    assert "sum met (at most 60)" in lines[4]
    assert sum("at most" in line for line in lines) == 2


def test_peers_are_compared_with_ours_at_their_own_d_and_size():
    slow, fast = one("fastfood", 1000, 30.0, 40.0), one("fastfood", 1000, 5.0, 5.0)
    found = [group(20, one("hadamard", 1000, 8.0, 9.5), peer) for peer in (slow, fast)]
    lines = subspace.peers_table(found).splitlines()[2:]
    assert "4.00" in lines[0] and "met (at least 4)" in lines[0]
    assert "0.57" in lines[1] and "MISSED (at least 4)" in lines[1]


def test_temporaries_are_those_over_the_losss_own_and_compared_with_the_first_d():
    size = 100
    record = {"size": size, "own": 400, "temporaries": {"10": 1200, "20": 1240, "30": 2000}}
    lines = subspace.memory_table({"quadratic, hadamard": record}).splitlines()[2:]
    assert "2.00" in lines[0] and "met (at most 3), / first met" in lines[0]
    assert "2.10" in lines[1] and "/ first met" in lines[1]
    assert "MISSED (at most 3), / first MISSED" in lines[2]


def test_it_runs_on_tiny_sizes_and_ours_is_exact(tmp_path, capsys):
    kinds = ("hadamard", "fastfood", subspace.STORED)
    path = subspace.main(
        maps=((10, 2, [(kind, 16) for kind in kinds]),),
        growth=(10, 11),
        growth_d=16,
        networks=((12, 8, 4),),
        batch=4,
        steps=(("hadamard", 16),),
        memory_ds=(16, 32),
        isometry=((1024, 16, ("hadamard", "dense_gaussian")),),
        rounds=2,
        folder=tmp_path,
    )
    printed = capsys.readouterr().out
    assert "exponent" in printed and "10, fastfood, 16" in printed
    stored = json.loads(path.read_text())
    (found,) = stored["maps"]
    assert set(found["maps"]) == {f"{kind} 16" for kind in kinds}
    assert all(len(m["forward"]["wall"]) == 2 for m in found["maps"].values())
    assert max(m["adjoint"] for m in found["maps"].values()) <= 1e-6
    assert stored["steps"]["12-8-4, batch 4"]["apart"]["hadamard 16"] <= 1e-5
    # D = 1024 is one block, whose columns are orthogonal.
    ours, dense = stored["isometry"].values()
    assert abs(ours["least"] - 1) <= 1e-5 and abs(ours["most"] - 1) <= 1e-5
    assert dense["most"] > 1.05 and dense["norms"] <= 1e-5
    page = _report.publish(path, tmp_path).read_text()
    assert page.startswith("## Random subspaces") and "- ours: theorylab" in page
