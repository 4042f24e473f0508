"""Units of work come back from disk as they were stored, and what cannot be stored is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments._progress import Progress


def _walk(progress, n_chunks=4, stop_at=None):
    key = jax.random.key(3)

    def step(carry, i):
        if i == stop_at:
            raise KeyboardInterrupt
        draw = jax.random.normal(jax.random.fold_in(key, i), (2,))
        position = carry["position"] * 1.1 + draw
        # The step count is weakly typed in JAX after this sum.
        return {"position": position, "steps": carry["steps"] + 1}, {"path": position[None]}

    return progress.chunks("walk", step, {"position": jnp.zeros(2), "steps": 0}, n_chunks)


def test_an_interrupted_loop_goes_on_to_the_same_bits(tmp_path):
    carry, outputs = _walk(Progress())
    with pytest.raises(KeyboardInterrupt):
        _walk(Progress(tmp_path), stop_at=2)
    resumed, again = _walk(Progress(tmp_path), stop_at=1)  # chunks 0 and 1 are not run again
    np.testing.assert_array_equal(outputs["path"], again["path"])
    np.testing.assert_array_equal(carry["position"], resumed["position"])
    assert outputs["path"].shape == (4, 2)
    assert resumed["steps"].dtype == carry["steps"].dtype
    assert int(resumed["steps"]) == 4


def test_a_stored_stage_is_not_computed_again(tmp_path):
    first = Progress(tmp_path).stage("a/b", lambda: {"x": np.arange(3.0), "t": np.array(["s"])})
    second = Progress(tmp_path).stage("a/b", lambda: pytest.fail("computed again"))
    assert first.keys() == second.keys()
    np.testing.assert_array_equal(first["x"], second["x"])
    assert second["t"].dtype == first["t"].dtype


@pytest.mark.parametrize("damage", ["truncate", "flip", "outputs", "missing"])
def test_a_damaged_part_is_computed_again_with_a_warning(tmp_path, capsys, damage):
    from experiments._display import Display

    _, outputs = _walk(Progress(tmp_path))
    whole = next(path for path in tmp_path.glob("walk*.npz") if path.name.count(".") == 1)
    part = next(path for path in sorted(tmp_path.glob("walk*.00001.npz")))
    victim = part if damage in ("outputs", "missing") else whole
    content = bytearray(victim.read_bytes())
    if damage == "truncate":
        victim.write_bytes(content[: len(content) // 2])
    elif damage == "missing":
        victim.unlink()
    else:
        content[len(content) // 2] ^= 0xFF
        victim.write_bytes(content)
    with Display("toy") as display:
        _, again = _walk(Progress(tmp_path, display))
    np.testing.assert_array_equal(outputs["path"], again["path"])
    assert "warning:" in capsys.readouterr().err


def test_a_label_can_be_used_once():
    progress = Progress()
    progress.stage("one", dict)
    with pytest.raises(ValueError, match="labels must be unique within a run, got 'one' twice"):
        progress.stage("one", dict)


def test_a_random_key_in_the_carry_is_refused():
    with pytest.raises(TypeError, match=r"no random key; use jax.random.fold_in"):
        Progress().chunks("w", lambda carry, i: (carry, None), jax.random.key(0), 1)


def test_a_carry_that_changes_its_dtype_is_refused():
    with pytest.raises(TypeError, match="must return a carry like the one it got"):
        Progress().chunks("w", lambda carry, i: (carry > 0, None), jnp.zeros(2), 1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"x": jnp.zeros(2, jnp.bfloat16)}, "'x' must be an array of numbers.*bfloat16"),
        ({"x": [object()]}, "'x' must be an array of numbers.*object"),
        (np.zeros(2), "stage 's' must return a dict of named arrays, got ndarray"),
        ({"__meta__": 1.0}, "'__meta__' must be"),
    ],
)
def test_what_npz_cannot_keep_is_refused(value, message):
    with pytest.raises(TypeError, match=message):
        Progress().stage("s", lambda: value)


def test_outputs_need_a_leading_axis_and_loops_a_chunk():
    with pytest.raises(ValueError, match="output 'x' must have a leading axis"):
        Progress().chunks("w", lambda carry, i: (carry, {"x": 1.0}), jnp.zeros(2), 1)
    with pytest.raises(ValueError, match="n_chunks must be at least 1, got 0"):
        Progress().chunks("w", lambda carry, i: (carry, None), jnp.zeros(2), 0)


def test_a_negative_cost_is_refused():
    with pytest.raises(ValueError, match="the cost of 'a' must be >= 0, got -1"):
        Progress().plan({"a": -1})


def test_time_left_counts_only_what_was_computed_now():
    from experiments._display import Display

    display = Display("toy", quiet=True)
    display._clock -= 10.0  # ten seconds ago
    display.advanced(0.5, 0.0)
    assert display.left() is None  # everything so far came from disk
    display.advanced(0.75, 0.25)
    assert display.left() == pytest.approx(10.0, rel=0.01)


def test_a_log_is_not_silent_during_a_long_unit(monkeypatch, capsys):
    import time

    from experiments import _display

    monkeypatch.setattr(_display, "HEARTBEAT", 0.5)
    with _display.Display("toy") as display:
        display.doing("a long product")
        time.sleep(1.3)
    assert "toy: a long product: " in capsys.readouterr().err
