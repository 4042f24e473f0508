"""The command line names what is wrong with what was typed; the exit code says how claims did."""

import json

import pytest

from experiments import Claim
from experiments._claims import from_json, to_json, verdict


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rnu"], "unknown command 'rnu'; did you mean 'run'?"),
        (["run", "wolk"], "unknown experiment 'wolk'; did you mean 'walk'? Known: walk"),
        (["run", "walk", "--preset", "quik"], "unknown preset 'quik'; did you mean 'quick'?"),
        (["all", "--preset", "smok"], "unknown preset 'smok'; did you mean 'smoke'?"),
        (["verify", "--preset", "papr"], "unknown preset 'papr'; did you mean 'paper'?"),
        (["verify", "wlk"], "unknown experiment 'wlk'; did you mean 'walk'?"),
        (["why", "wal"], "unknown experiment 'wal'; did you mean 'walk'?"),
        (
            ["run", "walk", "--config.chunk", "3"],
            "walk has no config field 'chunk'; did you mean 'chunks'? Known: chunks, name, seed",
        ),
        (["run", "walk", "--config.chunks"], "--config.chunks needs a value"),
        (["all", "--config.chunks", "3"], "--config.FIELD goes with run and why, not all"),
        (["run", "walk", "--perset=smoke"], "unknown option '--perset"),
        (["run", "walk", "--publsh"], "unknown option '--publsh'; did you mean '--publish'?"),
        (["run"], "NAME"),
    ],
)
def test_what_is_unknown_is_named_with_the_nearest_known_word(toy, words, message):
    outcome = toy.main(*words)
    assert outcome.code == 2
    assert message in outcome.err
    assert "Traceback" not in outcome.err
    assert outcome.out == ""


def test_a_value_of_the_wrong_type_exits_2_and_names_the_field(toy, capsys):
    with pytest.raises(SystemExit) as caught:
        toy.main("run", "walk", "--config.chunks", "many")
    assert caught.value.code == 2
    assert "--config.chunks" in capsys.readouterr().err


def test_list_reads_the_cards_without_importing(toy):
    toy.edit("walk.py", "import jax\n", "import a_module_that_is_not_there\n")
    listed = toy.main("list")
    assert listed.code == 0
    assert "walk" in listed.out
    assert "A <random> walk & its end" in listed.out
    assert "30 s" in listed.out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('TITLE = "A', 'HEAD = "A', "walk.py misses TITLE"),
        ('"paper": Config', '"big": Config', "walk.py misses PRESETS['paper']"),
        ("def alt(", "def alternative(", "walk.py misses alt()"),
        ("BUDGET = 30", "BUDGET = 3000", "BUDGET must be in (0, 240] seconds, got 3000"),
        ("X64 = False", "X64 = bool(0)", "X64 must be a literal"),
        ("def alt(", "def alt((", "walk.py, line "),
    ],
)
def test_a_module_that_breaks_the_contract_is_told_which_part(toy, old, new, message):
    toy.edit("walk.py", old, new)
    outcome = toy.main("run", "walk", "--preset", "smoke")
    assert outcome.code == 2
    assert message in outcome.err


def test_every_experiment_needs_an_identity_that_binds_in_smoke(toy):
    toy.edit("walk.py", '("smoke", "quick")', '("quick",)')
    with pytest.raises(ValueError, match="walk: at least one claim must bind in smoke"):
        toy.main("run", "walk", "--preset", "smoke")


def test_a_changed_configuration_passes_nothing(toy):
    outcome = toy.main("run", "walk", "--preset", "smoke", "--config.walkers", "2")
    assert outcome.code == 0
    record = json.loads((toy.root / "paper_figures/walk/record.json").read_text())
    assert {claim["verdict"] for claim in record["claims"]} == {"not tested"}
    assert record["config"]["walkers"] == 2
    assert record["changed"] == {"walkers": "2"}
    assert record["caption"].endswith("Preset smoke with walkers=2.")


def test_an_infinite_value_is_a_configuration_like_any_other(toy):
    toy.edit("walk.py", "seed: int = 0", "seed: int = 0\n    time: float = float('inf')")
    assert toy.main("run", "walk", "--preset", "smoke").code == 0
    assert toy.main("run", "walk", "--preset", "smoke", "--config.time", "1.5").code == 0


def test_a_change_to_the_same_value_is_the_preset_itself(toy):
    toy.main("run", "walk", "--preset", "smoke")
    words = ("--config.widths", "1", "2", "--config.chunks=4")
    outcome = toy.main("run", "walk", "--preset", "smoke", *words)
    assert "from the cache" in outcome.out
    assert "pass" in outcome.out


def test_all_regenerates_everything_and_prints_where_it_is(toy):
    toy.write("tread.py", (toy.folder / "walk.py").read_text())
    outcome = toy.main("all", "--preset", "smoke")
    assert outcome.code == 0
    for name in ("walk", "tread"):
        assert f"paper_figures/{name}/figure.png" in outcome.out
        assert (toy.root / "paper_figures" / name / "figure.pdf").is_file()
    assert "paper_figures/report.html" in outcome.out.splitlines()[-1]
    assert "[2/2] walk: A <random> walk & its end" in outcome.err


def test_quick_prints_the_time_beside_the_budget(toy):
    assert " of a budget of 30 s" in toy.main("run", "walk").out


def test_one_broken_experiment_does_not_stop_the_others(toy):
    text = (toy.folder / "walk.py").read_text()
    toy.write("a_bug.py", text.replace("return step(position, i)", "return 1 / 0"))
    toy.write("a_slip.py", "def run(:")
    outcome = toy.main("all", "--preset", "smoke")
    assert outcome.code == 1
    assert "ZeroDivisionError" in outcome.err
    assert "a_slip.py, line 1: invalid syntax" in outcome.err
    assert "failed: a_bug, a_slip" in outcome.err
    assert "paper_figures/walk/figure.png" in outcome.out


def test_verify_exits_1_on_a_miss_and_prints_every_claim(toy):
    smoke = toy.main("verify", "--preset", "smoke")
    assert smoke.code == 0
    assert "not tested" in smoke.out
    assert "MISS" not in smoke.out
    quick = toy.main("verify")
    assert quick.code == 1
    line = next(line for line in quick.out.splitlines() if "<b>length</b>" in line)
    assert line.split()[-1] == "<paper>"
    assert "30 ± 0.5  [100, 200]  150    MISS" in line
    assert "MISS, walk: <b>length</b> & more" in quick.err
    assert not (toy.root / "paper_figures").exists()  # verifying draws over nobody's figures


def test_verify_as_json_has_every_field(toy):
    claims = json.loads(toy.main("verify", "--json").out)
    assert claims[1] == {
        "experiment": "walk",
        "name": "<b>length</b> & more",
        "preset": "quick",
        "measured": 30.0,
        "error": 0.5,
        "low": 100.0,
        "high": 200.0,
        "paper": "150",
        "source": "a <paper>",
        "verdict": "MISS",
    }


KNOWN = """
[[miss]]
experiment = "walk"
claim = "<b>length</b> & more"
preset = "quick"
measured = {measured}
reason = "the walk is <short>"
"""


def test_a_known_miss_exits_0_and_is_still_a_miss(toy):
    toy.write("known_misses.toml", KNOWN.format(measured=31.0))
    outcome = toy.main("verify")
    assert outcome.code == 0
    assert "MISS" in outcome.out
    assert "known miss, walk: <b>length</b> & more: the walk is <short>" in outcome.err


def test_a_known_miss_does_not_cover_another_value(toy):
    toy.write("known_misses.toml", KNOWN.format(measured=70.0))
    outcome = toy.main("verify")
    assert outcome.code == 1
    assert "known_misses.toml is out of date" in outcome.err
    assert "listed 70, now 30 ± 0.5 (MISS)" in outcome.err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('reason = "the walk is <short>"', 'reason = " "', "entry 1: every text, the reason too"),
        ('reason = "the walk is <short>"', "", "entry 1: fields must be experiment, claim"),
        ("measured = 31.0", 'measured = "31"', "entry 1: measured must be a number"),
        ('"walk"', '"wolk"', "unknown experiment 'wolk'; did you mean 'walk'?"),
        ("[[miss]]", "[[miss]", "known_misses.toml: "),
    ],
)
def test_a_bad_entry_of_known_misses_is_named(toy, old, new, message):
    toy.write("known_misses.toml", KNOWN.format(measured=31.0).replace(old, new))
    outcome = toy.main("verify")
    assert outcome.code == 2
    assert message in outcome.err


def _claim(**changed):
    fields = {"name": "n", "measured": 0.5, "error": None, "low": 0.0, "high": 1.0}
    return Claim(**{**fields, "source": "s", "binds": ("quick",), **changed})


def test_verdicts_are_pass_miss_and_not_tested():
    nan, inf = float("nan"), float("inf")
    assert verdict(_claim(), "quick") == "pass"
    assert verdict(_claim(measured=1.0), "quick") == "pass"
    assert verdict(_claim(measured=1.1), "quick") == "MISS"
    assert verdict(_claim(measured=nan), "quick") == "MISS"
    assert verdict(_claim(measured=inf, high=2.0), "quick") == "MISS"
    assert verdict(_claim(measured=nan), "smoke") == "not tested"
    assert verdict(_claim(), None) == "not tested"


def test_claims_survive_json():
    claim = _claim(low=float("-inf"), error=0.1, paper="-1/2")
    text = json.dumps(to_json(claim, "quick"), allow_nan=False)
    assert from_json(json.loads(text)) == claim


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"low": 2.0}, ValueError, r"low must not exceed high, got \[2.0, 1.0\]"),
        ({"high": float("nan")}, ValueError, "low must not exceed high"),
        ({"binds": "quick"}, TypeError, "binds must be a tuple, got 'quick'"),
        ({"binds": ("quik",)}, ValueError, "binds must name presets out of .* got 'quik'"),
        ({"error": -0.1}, ValueError, "error must be >= 0, got -0.1"),
        ({"source": ""}, ValueError, "needs a name and a source"),
    ],
)
def test_a_claim_that_says_nothing_is_refused(changed, kind, message):
    with pytest.raises(kind, match=message):
        _claim(**changed)
