"""Processes die and meet: a killed run resumes to the same bits, two runs keep out of the way."""

import os
import signal
import time

import numpy as np

# Holds the run at a given chunk for as long as the file "hold" exists.
HOLDING = """
import pathlib, time
FOLDER = pathlib.Path(__file__).parent
def before_chunk(i):
    with (FOLDER / "seen").open("a") as stream:
        stream.write(f"{i}\\n")
    while i == 2 and (FOLDER / "hold").exists():
        time.sleep(0.02)
"""


def _wait_for(condition, process=None):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, "nothing happened for a minute"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.02)


def _chunks_seen(toy):
    seen = toy.folder / "seen"
    return seen.read_text().split() if seen.exists() else []


def test_a_run_killed_in_the_middle_resumes_to_the_same_bits(toy):
    toy.write("_helper.py", HOLDING)
    toy.write("hold", "")
    killed = toy.start("run", "walk", "--preset", "smoke")
    _wait_for(lambda: "2" in _chunks_seen(toy), killed)
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    parts = next(toy.space.cache.rglob("parts"))
    (parts / ".walk-half-written.npz").write_bytes(b"PK")  # as if killed while writing
    assert killed.returncode == -signal.SIGKILL
    assert not list(toy.space.cache.rglob("data.npz"))
    (toy.folder / "hold").unlink()
    (toy.folder / "seen").unlink()
    resumed = toy.process("run", "walk", "--preset", "smoke")
    assert resumed.code == 0, resumed.err
    assert "going on where an interrupted run stopped" in resumed.err
    assert "2 chunks restored" in resumed.err
    assert _chunks_seen(toy) == ["2", "3"]
    after_kill = toy.arrays()
    drawn = toy.bytes("figure.png", "figure.pdf", "data.npz")
    # An uninterrupted run, in a process of its own too.
    whole = toy.process("run", "walk", "--preset", "smoke", "--force")
    assert _chunks_seen(toy)[2:] == ["0", "1", "2", "3"], whole.err
    for name, array in toy.arrays().items():
        assert array.tobytes() == after_kill[name].tobytes()
        assert array.dtype == after_kill[name].dtype
    assert toy.bytes("figure.png", "figure.pdf", "data.npz") == drawn
    assert not list(toy.space.cache.rglob("parts"))  # unfinished work is cleared away


def test_a_second_run_waits_for_the_first_and_takes_its_result(toy):
    toy.write("_helper.py", HOLDING)
    toy.write("hold", "")
    first = toy.start("run", "walk", "--preset", "smoke")
    _wait_for(lambda: "2" in _chunks_seen(toy), first)
    second = toy.start("run", "walk", "--preset", "smoke")
    said = []
    while "waiting" not in "".join(said):
        line = second.stderr.readline()
        assert line, "the second run ended without waiting"
        said.append(line)
    assert f"process {first.pid} is at it; waiting for its result" in said[-1]
    (toy.folder / "hold").unlink()
    out1, err1 = first.communicate(timeout=60)
    out2, err2 = second.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 0), err1 + err2
    assert "computed in" in out1
    assert "from the cache" in out2
    assert _chunks_seen(toy) == ["0", "1", "2", "3"]  # computed once
    assert np.isfinite(toy.arrays()["end"]).all()


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    from experiments._workspace import replacing, write_text

    path = tmp_path / "record.json"
    write_text(path, "old")
    try:
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["record.json"]
