"""Results are computed once, come back without JAX, and are made again when damaged."""

import hashlib
import json

import numpy as np
import pytest


def _bytes(toy):
    folder = toy.root / "paper_figures" / "walk"
    return {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("figure.png", "figure.pdf", "data.npz")
    }


def _entry(toy):
    return next(toy.space.cache.glob("walk/*/arrays.json")).parent


def test_a_cached_figure_comes_back_fast_and_without_jax(toy):
    first = toy.process("run", "walk", "--preset", "smoke")
    assert "computed in" in first.out
    assert "jax imported: True" in first.err
    before = _bytes(toy)
    for path in (toy.root / "paper_figures" / "walk").iterdir():
        path.unlink()
    second = toy.process("run", "walk", "--preset", "smoke")
    assert second.code == 0
    assert "from the cache, unchanged" in second.out
    assert "jax imported: False" in second.err
    # The line holds the runner's own time; the interpreter's start comes on top.
    seconds = float(second.out.split("unchanged, in ")[1].split(" s")[0])
    assert seconds < 3.0  # 0.03 s seen; loose, because test machines are shared
    assert _bytes(toy) == before


def test_figures_are_the_same_to_the_byte_when_everything_is_made_again(toy):
    toy.main("run", "walk", "--preset", "smoke")
    before = _bytes(toy)
    again = toy.main("run", "walk", "--preset", "smoke", "--force")
    assert "computed in" in again.out
    assert _bytes(toy) == before


def test_editing_the_figure_redraws_without_computing(toy):
    toy.main("run", "walk", "--preset", "smoke")
    before = _bytes(toy)
    toy.edit("walk.py", 'ax.set_xlabel("step")', 'ax.set_xlabel("time")')
    toy.write("_helper.py", "def before_chunk(i):\n    pass\n")  # the same bytes
    after = toy.main("run", "walk", "--preset", "smoke")
    assert "from the cache, drawn again" in after.out
    assert _bytes(toy)["data.npz"] == before["data.npz"]
    assert _bytes(toy)["figure.png"] != before["figure.png"]


def test_editing_what_run_reaches_computes_again(toy):
    toy.main("run", "walk", "--preset", "smoke")
    toy.write("tools/_factor.py", "FACTOR = 2.0\n")
    assert "computed in" in toy.main("run", "walk", "--preset", "smoke").out


def test_changed_data_compute_again_and_untouched_ones_are_not_read(toy):
    toy.edit("walk.py", 'return {"toy-data"', 'print("READ")\n    return {"toy-data"')
    assert "READ" in toy.main("run", "walk", "--preset", "smoke").out
    assert "READ" not in toy.main("run", "walk", "--preset", "smoke").out
    (toy.root / "data").mkdir()
    (toy.root / "data" / "train.idx").write_bytes(b"new")
    again = toy.main("run", "walk", "--preset", "smoke")
    assert "READ" in again.out  # a file appeared, so the fingerprint is asked for again
    assert "from the cache" in again.out  # and is the same


def test_the_fingerprint_of_the_data_is_part_of_the_key(toy):
    mark = toy.root / "fingerprint"
    mark.write_text("one")
    toy.edit("walk.py", "import numpy as np\n", "import numpy as np\nimport pathlib\n")
    toy.edit("walk.py", '"0123456789abcdef"', f"pathlib.Path({str(mark)!r}).read_text()")
    toy.main("run", "walk", "--preset", "smoke")
    mark.write_text("two")
    (toy.root / "data").mkdir()
    (toy.root / "data" / "train.idx").write_bytes(b"new")
    assert "data toy-data: changed" in toy.main("why", "walk", "--preset", "smoke").out
    assert "computed in" in toy.main("run", "walk", "--preset", "smoke").out


@pytest.mark.parametrize(
    ("victim", "damage"),
    [
        ("data.npz", "flip"),
        ("data.npz", "empty"),
        ("arrays.json", "flip"),
        ("figure.png", "flip"),
        ("view.json", "empty"),
    ],
)
def test_a_corrupt_cache_file_is_made_again_with_a_warning(toy, victim, damage):
    toy.main("run", "walk", "--preset", "smoke")
    before, arrays = _bytes(toy), toy.arrays()
    path = next(_entry(toy).rglob(victim))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(b"" if damage == "empty" else content)
    again = toy.main("run", "walk", "--preset", "smoke")
    assert again.code == 0
    assert "warning: damaged in the cache, made again" in again.err
    assert victim in again.err
    assert _bytes(toy) == before
    for name, array in toy.arrays().items():
        np.testing.assert_array_equal(array, arrays[name])
    assert "warning" not in toy.main("run", "walk", "--preset", "smoke").err


def test_a_corrupt_note_of_a_request_is_no_crash(toy):
    toy.main("run", "walk", "--preset", "smoke")
    for path in toy.space.cache.glob("walk/requests/*.json"):
        path.write_text('{"witness": 3')
    assert "from the cache" in toy.main("run", "walk", "--preset", "smoke").out


def test_the_record_holds_what_a_reader_needs(toy):
    toy.main("run", "walk", "--preset", "smoke")
    text = (toy.root / "paper_figures" / "walk" / "record.json").read_text()
    record = json.loads(text)
    assert record["config"] == {
        "walkers": 3,
        "chunks": 4,
        "widths": [1, 2],
        "name": None,
        "seed": 0,
    }
    assert record["seeds"] == {"seed": 0}
    assert record["data"] == {"toy-data": "0123456789abcdef"}
    assert {"python", "jax", "jaxlib", "numpy"} <= record["versions"].keys()
    assert record["device"]["platform"]
    assert record["cores"] >= 1
    assert record["wall_time_seconds"] >= 0
    assert record["x64"] is False
    assert record["claims"][0]["verdict"] == "pass"
    assert record["claims"][1]["verdict"] == "not tested"
    assert len(record["hashes"]["arrays"]) == 64
    assert str(toy.root) not in text  # no path of this machine
    assert record["caption"].endswith("Data: toy-data. Preset smoke.")


def test_float64_is_scoped_to_the_run_of_the_experiment_that_asks(toy):
    import jax

    toy.edit("walk.py", "X64 = False", "X64 = True")
    toy.main("run", "walk", "--preset", "smoke")
    assert toy.arrays()["end"].dtype == np.float64
    assert jax.numpy.zeros(1).dtype == np.float32
    toy.edit("walk.py", "X64 = True", "X64 = False")
    with jax.enable_x64(True):
        toy.main("run", "walk", "--preset", "smoke")
    assert toy.arrays()["end"].dtype == np.float32


def test_why_names_the_part_of_the_key_that_changed(toy):
    nothing = toy.main("why", "walk", "--preset", "smoke")
    assert "no run of walk with preset smoke is stored here" in nothing.out
    toy.main("run", "walk", "--preset", "smoke")
    same = toy.main("why", "walk", "--preset", "smoke")
    assert "nothing differs from the last run" in same.out
    assert "the stored result would be used" in same.out
    toy.write("tools/_factor.py", "FACTOR = 2.0\n")
    toy.edit("walk.py", '"smoke": Config()', '"smoke": Config(walkers=5)')
    changed = toy.main("why", "walk", "--preset", "smoke").out
    assert f"code {toy.package}.tools._factor: changed" in changed
    assert f"code {toy.package}.walk: changed" in changed
    assert "config.walkers: 3 -> 5" in changed
    assert "it would be computed again" in changed


def test_why_names_a_version_that_changed(toy, monkeypatch):
    from experiments import _environment

    toy.main("run", "walk", "--preset", "smoke")
    real = _environment.version
    monkeypatch.setattr(_environment, "version", lambda p: "9.9" if p == "jax" else real(p))
    text = toy.main("why", "walk", "--preset", "smoke").out
    assert f'environment jax: "{real("jax")}" -> "9.9"' in text


def test_the_cache_lies_where_the_environment_says(toy, monkeypatch):
    monkeypatch.setenv("THEORYLAB_CACHE", str(toy.root / "elsewhere"))
    toy.main("run", "walk", "--preset", "smoke")
    assert list((toy.root / "elsewhere").rglob("data.npz"))
    assert not (toy.root / ".cache").exists()
